"""The page about what Python users call, made of the docstrings and of the documents' types.

`python -m tests.contract.api` rewrites it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import perfmodel
from perfmodel.library.shown import Shown
from perfmodel.report.documents.schemas import KINDS, document_schema

PAGE = Path(perfmodel.__file__).parent.parent / "docs" / "api.md"

INTRODUCTION = """\
# From Python

This page is made of the docstrings; `python -m tests.contract.api` rewrites it.

```python
{example}
```

Every question of the command line is a function, its options are the arguments, and its answer is the same.
A scenario may be a shipped name, the path of a file, what such a file says as a mapping, a `Scenario`, or
what `load_scenario` returned; `overrides` change it as `--set` does. `import perfmodel` alone is light.
What cannot be accepted raises an error of one line; an overload, a missed SLA and "cannot tell" are answers.
"""
EXAMPLE = """\
>>> import perfmodel
>>> quick = ["simulation.min_queries=50000", "simulation.max_queries=50000"]
>>> answer = perfmodel.predict("rm3_skylake", overrides=[*quick, "traffic.arrivals.rate_qps=800"])
>>> answer.verdict, round(answer.to_dict()["latency_ms"]["p95"], 1)
('meets_sla', 13.2)
>>> loaded = perfmodel.load_scenario("rm3_skylake", quick)     # or made in Python, or a mapping, or a path
>>> for batch_size in (64, 128, 256):
...     found = perfmodel.capacity(loaded, overrides=[f"policy.batch_size={batch_size}"])
...     print(batch_size, round(found.plan_for_qps, -2))
64 700.0
128 1100.0
256 1500.0"""
"""A test runs it."""

_ENTRY = re.compile(r"^(\S[^\n]*)\n((?:    [^\n]*\n?|\n)*)", flags=re.MULTILINE)


def page() -> str:
    """The whole page."""
    public = [(name, getattr(perfmodel, name)) for name in perfmodel.__all__]
    functions = [name for name, found in public if inspect.isfunction(found)]
    answers = [name for name, found in public if isinstance(found, type) and issubclass(found, Shown)]
    errors = [name for name, found in public if isinstance(found, type) and issubclass(found, Exception)]
    asks = [name for name in KINDS if name in functions]
    others = sorted({name for name, _ in public} - {*asks, *answers, *errors}, key=str.lower)
    parts = [INTRODUCTION.format(example=EXAMPLE), "## Questions\n"]
    parts += [_function(name) for name in asks]
    parts += ["## Answers\n", "What every answer can do:\n", *_methods(Shown)]
    parts += [_class(name) for name in answers]
    parts += ["## Scenarios, lists and schemas\n"]
    parts += [_function(name) if name in functions else _class(name) for name in others]
    parts += ["## Errors\n", *_errors(errors)]
    parts += ["## Documents\n", *_documents()]
    return "\n".join(parts)


def _doc(name: str) -> str:
    return inspect.getdoc(getattr(perfmodel, name)) or ""


def _function(name: str) -> str:
    found = getattr(perfmodel, name)
    signature = inspect.signature(found)
    arguments: list[str] = []
    for each in signature.parameters.values():
        if each.kind is each.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        default = "" if each.default is each.empty else f" = {_default(each.default)}"
        arguments.append(f"{each.name}: {each.annotation}{default}")
    inner = "".join(f"\n    {argument}," for argument in arguments) + "\n" if arguments else ""
    code = f"```python\nperfmodel.{name}({inner}) -> {signature.return_annotation}\n```\n"
    return f"### {name}\n\n{code}\n{markdown(_doc(name))}"


def _default(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _class(name: str) -> str:
    """A class, what it inherits from the planning's answer, and its properties in a line each."""
    found = getattr(perfmodel, name)
    kinds = [kind for kind in found.__mro__ if kind is found or is_dataclass(kind)]
    texts = [markdown(inspect.getdoc(kind) or "") for kind in kinds]
    texts = [text for index, text in enumerate(texts) if text not in texts[:index]]
    lines = [
        f"- `{key}`: {(inspect.getdoc(value) or '').partition(chr(10))[0]}"
        for kind in kinds
        for key, value in vars(kind).items()
        if isinstance(value, property) and not key.startswith("_")
    ]
    also = "Also:\n\n" + "\n".join(lines) + "\n" if lines else ""
    return f"### {name}\n\n" + "\n".join([*texts, also] if also else texts)


def _methods(kind: type) -> Iterator[str]:
    for name, found in vars(kind).items():
        if inspect.isfunction(found) and not name.startswith("_"):
            arguments = [
                each.name + ("" if each.default is each.empty else f"={each.default!r}")
                for each in inspect.signature(found).parameters.values()
                if each.name != "self"
            ]
            yield f"**`answer.{name}({', '.join(arguments)})`** {markdown(inspect.getdoc(found) or '')}"
    yield "**`print(answer)`** " + markdown((inspect.getdoc(kind) or "").partition("\n\n")[2])


def _errors(names: list[str]) -> Iterator[str]:
    for name in names:
        found = getattr(perfmodel, name)
        code = getattr(found, "exit_code", None)
        ends = "" if code is None else f" (exit code {code})"
        yield f"- `{name}`{ends}: {_doc(name).partition(chr(10))[0]}"
    yield ""


def markdown(docstring: str) -> str:
    """A numpydoc docstring as Markdown: sections in bold, their entries as a list, examples as code."""
    text, *sections = re.split(r"^(\w+)\n-{3,}\n", docstring, flags=re.MULTILINE)
    parts = [text.strip() + "\n"] if text.strip() else []
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title == "Examples":
            parts.append(f"```python\n{body.strip()}\n```\n")
            continue
        parts.append(f"**{title}**\n\n{''.join(map(_entry, _ENTRY.findall(body)))}")
    return "\n".join(parts)


def _entry(found: tuple[str, str]) -> str:
    names, colon, kind = found[0].partition(" : ")
    about = " ".join(found[1].split())
    return f"- `{names}`" + (f" ({kind})" if colon else "") + (f": {about}" if about else "") + "\n"


def _documents() -> Iterator[str]:
    """The types of the documents, each once."""
    yield (
        "`answer.to_dict()` is the document that the command prints with `--json`. Under `schema` stand\n"
        "its name and the version: keys may be added to a version, the next one begins where a key goes or\n"
        "changes its meaning. `perfplan schema --of NAME` prints the schema as JSON. All keys are always\n"
        "there; what does not exist is null.\n"
    )
    seen: set[str] = set()
    for name, kind in KINDS.items():
        schema = document_schema(name)
        yield f"### Document {name}\n\nOf `{kind.command}`, version {kind.version}.\n\n```"
        if "properties" in schema:
            yield from _type(kind.type.__name__, schema)
        for title, definition in schema["$defs"].items():
            if title not in seen and "properties" in definition:
                seen.add(title)
                yield from _type(title, definition)
        yield "```\n"


def _type(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"{title}: {schema['description']}"
    yield from (f"    {key}: {kind_of(inner)}" for key, inner in schema["properties"].items())


def kind_of(schema: Mapping[str, Any]) -> str:
    """A type in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind_of(branch) for branch in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f'"{value}"' for value in schema["enum"])
    if schema["type"] == "array":
        return "[low, high]" if schema.get("maxItems") == 2 else f"list of {kind_of(schema['items'])}"
    if "patternProperties" in schema:
        ((pattern, inner),) = schema["patternProperties"].items()
        return f"section of keys {pattern}: {kind_of(inner)}"
    return str(schema["type"])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
