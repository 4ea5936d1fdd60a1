"""A hardware profile as YAML text: tables of numbers as blocks, entries with a source on one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_ON_ONE_LINE = ({"value", "source"}, {"scale", "low", "high"})
"""Keys of sections that are short."""


class _Dumper(yaml.SafeDumper):
    """Safe YAML in the style of the shipped profiles."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _mapping(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.MappingNode:
    entries = {int(key) if str(key).isdecimal() else key: each for key, each in value.items()}
    flow = set(value) in _ON_ONE_LINE or all(isinstance(key, int) for key in entries)
    return dumper.represent_mapping("tag:yaml.org,2002:map", entries.items(), flow_style=flow)


def _sequence(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.SequenceNode:
    flow = all(isinstance(entry, (int, float, str)) for entry in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _sequence)


def profile_text(values: Mapping[str, Any]) -> str:
    """Write a profile's plain values as YAML, keys in the order given.

    Examples
    --------
    >>> power = {"value": 90.0, "source": "assumed: as its peer"}
    >>> print(profile_text({"name": "here", "tdp_w": power}), end="")
    name: here
    tdp_w: {value: 90.0, source: 'assumed: as its peer'}
    """
    return str(yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, width=2**16, allow_unicode=True))
