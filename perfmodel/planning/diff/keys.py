"""The keys in which two scenarios differ, and scenarios with one of them changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perfmodel.loading.asked_paths import with_paths
from perfmodel.loading.scenario_file import LoadedScenario, load_scenario

KINDS = ("name", "process", "distribution")
"""Keys that say what the others of their section mean: where these differ, the section differs as a whole."""

_ALTERNATIVES = ("service_times", "qps", "peak_qps", "file")
"""Keys of which a node, or a demand, has one: where another one is there, the section differs as a whole."""

_BY_NUMBER = "stages"
"""The list whose entries are sections with keys of their own, by number."""

_SAYS_NOTHING = ("description", "simulation")
"""Sections that are no part of what is compared: both sides are simulated by A's settings."""


@dataclass(frozen=True, slots=True)
class DifferingKey:
    """A key and its values in both scenarios."""

    key: str
    a: Any
    b: Any


def differing_keys(a: LoadedScenario, b: LoadedScenario) -> list[DifferingKey]:
    """Return the keys in which two scenarios differ, defaults included, in the order of a scenario file."""
    return differences_of(_said(a), _said(b))


def differences_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[DifferingKey]:
    """Return the keys in which two documents differ."""
    return list(_differing(a, b, ""))


def with_key(base: LoadedScenario, key: DifferingKey, value: Any) -> LoadedScenario:
    """Return a scenario with the other's value of a key.

    Raises
    ------
    InputError
        If the value is of no use there by itself.
    """
    return load_scenario(base, [f"{key.key}={json.dumps(value)}"])


def all_but_load(loaded: LoadedScenario) -> str:
    """What a scenario says, defaults included, but the rate of its arrivals and its software stack, as text.

    Where two say the same, and their stack is the same, the same loads meet their SLA.
    """
    document = _said(loaded)
    document["node"].pop("stack", None)
    document["traffic"]["arrivals"].pop("rate_qps", None)
    return json.dumps(document, sort_keys=True)


def _said(loaded: LoadedScenario) -> dict[str, Any]:
    document = loaded.scenario.model_dump(mode="json")
    for section in _SAYS_NOTHING:
        document.pop(section, None)
    if document.get("pipeline") is not None:
        document["pipeline"].pop("candidates")  # where a stage might be put says nothing of where it is
    said: dict[str, Any] = with_paths(document, lambda path: loaded.source.directory_of(*path))
    return said


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str) -> Iterator[DifferingKey]:
    for name in {**a, **b}:
        one, other = a.get(name), b.get(name)
        if one == other:
            continue
        path = f"{prefix}{name}"
        if name == _BY_NUMBER and one is not None and other is not None and len(one) == len(other):
            one, other = dict(enumerate(one)), dict(enumerate(other))
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            same_kind = all(one.get(kind) == other.get(kind) for kind in KINDS)
            same_kind &= all((one.get(key) is None) == (other.get(key) is None) for key in _ALTERNATIVES)
            if same_kind:
                yield from _differing(one, other, f"{path}.")
                continue
        yield DifferingKey(path, one, other)
