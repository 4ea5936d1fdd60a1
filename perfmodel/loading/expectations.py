"""What a type accepts at each key, in words: read off its JSON Schema, for error messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perfmodel.loading.yaml_tree import Key, KeyPath, Node, Scalar, Section, child

Schema = Mapping[str, Any]  # a JSON Schema is untyped data

MOST_KEYS = 8
"""Of a section that is described: enough to know it by."""

_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
_COUNTS = {
    "minItems": ("at least", "entry", "entries"),
    "maxItems": ("at most", "entry", "entries"),
    "minLength": ("at least", "character", "characters"),
    "maxLength": ("at most", "character", "characters"),
}
_TYPES = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True, slots=True)
class Expectations:
    """The JSON Schema of a type, and how to look up what it accepts at a place in a document.

    Where a type is a union, the discriminator in the document chooses the branch; without one, all
    branches count.

    Examples
    --------
    >>> schema = {"type": "object", "properties": {"rate_qps": {"type": "number", "exclusiveMinimum": 0}}}
    >>> rate = Expectations(schema).at(("rate_qps",), document=None)
    >>> describe(rate)
    'a number > 0'
    """

    schema: Schema

    def at(self, path: KeyPath, document: Node | None) -> list[Schema]:
        """Return the schemas that a value at this key path may match; none where the path is unknown."""
        schemas = self.branches([self.schema], document)
        for key in path:
            document = child(document, key) if document is not None else None
            schemas = self.branches([inner for schema in schemas for inner in _inner(schema, key)], document)
        return schemas

    def branches(self, schemas: Iterable[Schema], document: Node | None) -> list[Schema]:
        """Follow references, and replace each union by its branches."""
        found: list[Schema] = []
        for schema in schemas:
            if "$ref" in schema:
                found += self.branches([self._referred(schema["$ref"])], document)
            elif inner := schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf"):
                found += self.branches(self._chosen(schema, document) or inner, document)
            else:
                found.append(schema)
        return found

    def _chosen(self, schema: Schema, document: Node | None) -> list[Schema]:
        """The branch that the document's discriminator names, as a list; empty where it names none."""
        discriminator = schema.get("discriminator", {})
        match child(document, discriminator.get("propertyName", "")) if document is not None else None:
            case Scalar(value=str() as name) if name in discriminator.get("mapping", {}):
                return [{"$ref": discriminator["mapping"][name]}]
            case _:
                return []

    def _referred(self, reference: str) -> Schema:
        definition: Schema = self.schema["$defs"][reference.rsplit("/", 1)[-1]]
        return definition


def keys_of(schemas: Iterable[Schema]) -> list[str]:
    """Keys that any of the schemas knows, in their order."""
    return list(dict.fromkeys(key for schema in schemas for key in schema.get("properties", {})))


def choices_of(schemas: Iterable[Schema]) -> list[str]:
    """Texts that the schemas accept, where they accept only some."""
    return list(dict.fromkeys(choice for schema in schemas for choice in _choices(schema)))


def describe(schemas: Iterable[Schema]) -> str:
    """Say what the schemas accept, such as `a number > 0 or null`; empty where they do not say."""
    schemas = list(schemas)
    choices = choices_of(schemas)
    sections = [schema for schema in schemas if _is_section(schema)]
    phrases = [_section_phrase(sections)] if sections else []
    phrases += [_phrase(schema) for schema in schemas if schema not in sections]
    phrases = [phrase for phrase in dict.fromkeys(phrases) if phrase]
    if choices:
        phrases.insert(0, f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0])
    return " or ".join(phrases)


def _choices(schema: Schema) -> list[str]:
    options = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return ["true" if option is True else "false" if option is False else str(option) for option in options]


def _is_section(schema: Schema) -> bool:
    return schema.get("type") == "object"


def _section_phrase(sections: Sequence[Schema]) -> str:
    """Describe sections by the keys that all of them know."""
    common = [key for key in keys_of(sections) if all(key in keys_of([section]) for section in sections)]
    more = ", …" if len(common[:MOST_KEYS]) < len(keys_of(sections)) else ""
    return f"a section with {', '.join(common[:MOST_KEYS])}{more}" if common else "a section (key: value)"


def _phrase(schema: Schema) -> str:
    """Describe one schema that is no union, section or list of choices."""
    if _choices(schema):
        return ""
    kind = schema.get("type", "")
    if kind == "array":
        items = schema.get("prefixItems")
        return f"a list of {len(items)}" if items else "a list" + _counted(schema)
    if kind == "string":
        words = "a file name" if schema.get("format") in ("path", "file-path") else "text"
        like = f" like {schema['pattern']}" if "pattern" in schema else ""
        return words + like + _counted(schema)
    return _TYPES.get(kind, "") + _bounded(schema)


def _bounded(schema: Schema) -> str:
    bounds = [f"{sign} {schema[name]:g}" for name, sign in _BOUNDS.items() if name in schema]
    return f" {' and '.join(bounds)}" if bounds else ""


def _counted(schema: Schema) -> str:
    counts = [
        f"{bound} {schema[name]} {one if schema[name] == 1 else many}"
        for name, (bound, one, many) in _COUNTS.items()
        if name in schema
    ]
    return f" of {' and '.join(counts)}" if counts else ""


def _inner(schema: Schema, key: Key) -> list[Schema]:
    """Schemas of one entry of a section or a list."""
    if isinstance(key, int):
        prefix = schema.get("prefixItems", [])
        inner = prefix[key] if key < len(prefix) else schema.get("items")
    else:
        inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
    return [inner] if isinstance(inner, Mapping) else []


def unknown_keys(section: Node | None, schemas: Iterable[Schema]) -> list[str]:
    """Keys of a section that none of the schemas knows."""
    known = set(keys_of(schemas))
    return [key for key in section.entries if key not in known] if isinstance(section, Section) else []
