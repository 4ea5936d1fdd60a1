"""The tables of keys in the pages about files, made of the schemas.

`python -m tests.contract.file_pages` rewrites what follows the heading "Every key" of each page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import perfmodel
from perfmodel.cli.schema import _TYPES, FileKind

DOCS = Path(perfmodel.__file__).parent.parent / "docs"
PAGES = {
    "scenarios.md": FileKind.SCENARIO,
    "models.md": FileKind.MODEL,
    "profiles.md": FileKind.PROFILE,
}
HEADING = "\n## Every key\n"


def sections(kind: FileKind) -> Iterator[tuple[str, str, Mapping[str, Any], list[str]]]:
    """Name, first line, properties and required keys of each type of a file, its own first."""
    schema = _TYPES[kind].model_json_schema(mode="validation")
    for name, each in {f"the {kind.value}": schema, **schema.get("$defs", {})}.items():
        if "properties" in each and not name.startswith("Sourced"):
            first = str(each.get("description", "")).partition("\n")[0]
            yield name, first, each["properties"], each.get("required", [])


def tables(kind: FileKind) -> str:
    """The tables of a kind of file."""
    parts = []
    for name, first, properties, required in sections(kind):
        rows = [
            f"| `{key}` | {_form(each)} | {_default(key, each, required)} | {_words(each)} |"
            for key, each in properties.items()
        ]
        head = "| key | value | default | meaning |\n|---|---|---|---|"
        parts.append(f"### {name}\n\n{_cell(first)}\n\n{head}\n" + "\n".join(rows))
    return HEADING + "\n" + "\n\n".join(parts) + "\n"


def _form(each: Mapping[str, Any]) -> str:
    if "const" in each:
        return f"`{each['const']}`"
    if "enum" in each:
        return ", ".join(f"`{value}`" for value in each["enum"])
    if "$ref" in each:
        name = str(each["$ref"]).rpartition("/")[2]
        return "a number with its source" if name.startswith("Sourced") else f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in each:
            return " or ".join(dict.fromkeys(_form(branch) for branch in each[key]))
    kinds = {"integer": "whole number", "string": "text", "boolean": "true, false", "null": "null"}
    if each.get("type") == "array":
        return f"list of {_form(each['items'])}" if "items" in each else "list"
    if each.get("type") == "object":
        inner = each.get("additionalProperties")
        return f"section: name to {_form(inner)}" if isinstance(inner, Mapping) else "section"
    bounds = [f"{sign} {each[key]:g}" for key, sign in _BOUNDS.items() if key in each]
    return " ".join(
        [kinds.get(str(each.get("type")), str(each.get("type", "any"))), ", ".join(bounds)]
    ).strip()


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _default(key: str, each: Mapping[str, Any], required: list[str]) -> str:
    if key in required:
        return "needed"
    value = each.get("default")
    if isinstance(value, dict):
        return "as below"
    return "null" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _words(each: Mapping[str, Any]) -> str:
    return _cell(each.get("description", ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def whole(page: str) -> str:
    """A page with its tables made anew."""
    prose = (DOCS / page).read_text(encoding="utf-8").partition(HEADING)[0].rstrip("\n") + "\n"
    return prose + tables(PAGES[page])


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(whole(page), encoding="utf-8")
