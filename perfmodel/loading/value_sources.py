"""Where every value of a profile comes from: its source, in the words that profiles use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.errors import InputError
from perfmodel.loading.yaml_source import read_yaml

KINDS = ("measured", "published", "fitted", "datasheet", "derived", "assumed")
"""What a source begins with, from what was seen to what nobody saw."""


class ValueSource(NamedTuple):
    """A value of a profile, and who says so."""

    key: str
    value: str
    kind: str
    source: str


class StackValues(NamedTuple):
    """A software stack of a profile: what is in its times, their error on what no fit saw [1], its values."""

    describes: str
    relative_error: float | None
    values: tuple[ValueSource, ...]


class ProfileValues(NamedTuple):
    """A profile: its hardware's values, those that it changes of its base, and its stacks by name."""

    name: str
    base: str | None
    values: tuple[ValueSource, ...]
    stacks: Mapping[str, StackValues]


def profile_values(path: Path) -> ProfileValues | None:
    """Values with a source, and the stacks in words; None: the file is no profile, or cannot be read.

    Examples
    --------
    >>> from perfmodel.loading.shipped import find_file
    >>> found = profile_values(find_file("profile", "skylake"))
    >>> {each.kind for each in found.values} <= set(KINDS) | {"other"}
    True
    >>> found.stacks["hpca2020"].relative_error
    0.2235
    """
    try:
        data: Any = read_yaml(path).data()
    except InputError:
        return None
    if not isinstance(data, dict) or not data.keys() & {"hardware", "base"}:
        return None
    stacks = data.pop("stacks", None) or {}
    return ProfileValues(
        name=str(data.get("name") or path.stem),
        base=data.get("base"),
        values=tuple(_walk(data, "")),
        stacks={name: _stack(section) for name, section in stacks.items()},
    )


def _stack(section: Mapping[str, Any]) -> StackValues:
    error = section.get("relative_error")
    return StackValues(
        describes=str(section.get("describes") or section.get("description") or ""),
        relative_error=float(error["value"]) if isinstance(error, Mapping) else None,
        values=tuple(_walk(section, "")),
    )


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
