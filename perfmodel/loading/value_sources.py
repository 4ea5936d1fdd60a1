"""Where every value of a profile comes from: its source, in the words that profiles use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.loading.yaml_source import read_yaml

KINDS = ("measured", "published", "fitted", "datasheet", "derived", "assumed")
"""What a source begins with, from what was seen to what nobody saw."""


class ValueSource(NamedTuple):
    """A value of a profile, and who says so."""

    key: str
    value: str
    kind: str
    source: str


def value_sources(path: Path, stack: str) -> tuple[ValueSource, ...]:
    """Values with a source: those of the hardware, and those of one software stack.

    Examples
    --------
    >>> from perfmodel.loading.shipped import find_file
    >>> found = value_sources(find_file("profile", "skylake"), "hpca2020")
    >>> {each.kind for each in found} <= set(KINDS) | {"other"}
    True
    """
    data: Any = read_yaml(path).data()
    stacks = data.pop("stacks", {})
    return (*_walk(data, ""), *_walk(stacks.get(stack, {}), ""))


def _walk(section: object, prefix: str) -> Iterator[ValueSource]:
    if not isinstance(section, Mapping):
        return
    if {"value", "source"} <= section.keys():
        kind, _, rest = str(section["source"]).partition(":")
        known = kind.strip() in KINDS
        yield ValueSource(
            prefix.removesuffix("."),
            str(section["value"]),
            kind.strip() if known else "other",
            rest.strip() if known else str(section["source"]),
        )
        return
    for key, inner in section.items():
        yield from _walk(inner, f"{prefix}{key}.")
