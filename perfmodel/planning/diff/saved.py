"""Saved answers held against each other: their numbers, by the names that they have in the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import hypot
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.inputs import input_files
from perfmodel.loading.words import cut, cut_path
from perfmodel.planning.diff.answer import Diff, KeyShare
from perfmodel.planning.diff.keys import differences_of
from perfmodel.planning.diff.side import Difference
from perfmodel.units import MS

_NO_METRICS = (
    "schema.",
    "_ci95",
    "ci95_",
    "_band",
    "sensitivity.",
    "simulated_queries",
    "batch_size",
    "inputs",
)
"""Parts of the names of numbers that say how an answer was found, or how well, and not what it is."""

_ASKED = ("asked.", "node_types.", "provision.")
"""Sections that say the question again: what differs there are keys, and no figures."""

_QUESTION = frozenset(
    (
        *("node.cores", "node.num_accelerators", "node.num_machines"),
        *("sla.percentile", "sla.latency_ms", "sla.outside_ms", "sla.confidence"),
    )
)
"""Numbers of the question that an answer repeats for its reader: likewise."""

_SEED = "asked.simulation.seed"

_IN_UNITS_OF_THE_OBJECTIVE = ("objective_value", "lower_bound")


def diff_saved(names: tuple[str, str], a: Mapping[str, Any], b: Mapping[str, Any]) -> Diff:
    """Compare two answers of one command.

    Raises
    ------
    InputError
        If they are answers of different commands.
    """
    kinds = [each["schema"]["name"] for each in (a, b)]
    if kinds[0] != kinds[1]:
        a_path, b_path = (cut_path(Path(name)) for name in names)
        a_kind, b_kind = map(cut, kinds)
        raise InputError(f"{b_path}:1:1: expected an answer of {a_kind}, as {a_path} is, got one of {b_kind}")
    one, other = dict(numbers_of(a)), dict(numbers_of(b))
    metrics = [
        name
        for name in comparable(one, other, a.get("objective"), b.get("objective"))
        if not name.startswith(_ASKED)
        and name not in _QUESTION
        and not any(part in name for part in _NO_METRICS)
    ]
    asked = ({**(one.get("asked") or {}), "description": ""} for one in (a, b))  # words change no answer
    keys = differences_of(*asked)
    differences = tuple(_difference(metric, one, other) for metric in metrics)
    return Diff(
        a=names[0],
        b=names[1],
        differences=differences,
        keys=tuple(KeyShare(key=key, from_a=(), from_b=()) for key in keys),
        inputs=input_files(map(Path, names)),
        asked=(a.get("asked"), b.get("asked")),
        notes=(
            *_of_luck(differences, one.get(_SEED), other.get(_SEED)),
            *_other_versions(a, b),
        ),
    )


def _of_luck(differences: Sequence[Difference], a_seed: float | None, b_seed: float | None) -> Iterator[str]:
    """What the intervals of the differences take for granted, where there are any."""
    if all(each.ci95 is None for each in differences):
        return
    taken = "their random numbers are taken to have nothing in common"
    if a_seed is not None and a_seed == b_seed:
        yield (
            f"saved answers: {taken}, although seed {a_seed:g} drew both: intervals are too wide as a rule; "
            "diff of the scenarios takes off what both had of luck"
        )
    else:
        yield f"saved answers: {taken}"


def _other_versions(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """What is to be said of answers that different versions gave."""
    programs = [str(each.get("perfplan", "one that it does not say")) for each in (a, b)]
    documents = [str(each["schema"].get("version")) for each in (a, b)]
    notes = []
    if programs[0] != programs[1]:
        notes.append(
            f"A is of perfplan {programs[0]}, B of {programs[1]}: some of a difference may be theirs"
        )
    if documents[0] != documents[1]:
        notes.append(
            f"documents of versions {documents[0]} and {documents[1]}: a figure may mean another thing in B"
        )
    return tuple(notes)


def comparable(
    one: Mapping[str, float], other: Mapping[str, float], a_objective: object, b_objective: object
) -> list[str]:
    """Metrics of both, without those that are watts in one plan, say, and money in the other."""
    same = a_objective == b_objective
    return [name for name in {**one, **other} if same or name not in _IN_UNITS_OF_THE_OBJECTIVE]


def value_of(metric: str, numbers: Mapping[str, float]) -> float | None:
    """A figure; of nodes of a kind that a plan has none of, 0.

    Examples
    --------
    >>> plan = {"static.num_nodes": 7.0, "static.nodes.feed.broadwell": 7.0}
    >>> value_of("static.nodes.feed.skylake", plan), value_of("static.power_w", plan)
    (0.0, None)
    """
    section, _, kind = metric.partition(".nodes.")
    if kind and f"{section}.num_nodes" in numbers:
        return numbers.get(metric, 0.0)
    return numbers.get(metric)


def _difference(metric: str, one: Mapping[str, float], other: Mapping[str, float]) -> Difference:
    a, b = value_of(metric, one), value_of(metric, other)
    value = None if a is None or b is None else b - a
    halves = [_half_width(metric, each) for each in (one, other)]
    ci95 = None
    if value is not None and halves[0] is not None and halves[1] is not None:
        half = hypot(halves[0], halves[1])
        ci95 = (value - half, value + half)
    unit = MS if "_ms" in metric else 1.0
    return Difference(
        metric=metric,
        a=None if a is None else a * unit,
        b=None if b is None else b * unit,
        value=None if value is None else value * unit,
        ci95=None if ci95 is None else (ci95[0] * unit, ci95[1] * unit),
    )


def _half_width(metric: str, numbers: Mapping[str, float]) -> float | None:
    """Of the interval that stands beside a number: `latency_ci95_ms.p95` of `latency_ms.p95`, say."""
    section, point, key = metric.rpartition(".")
    for name in (f"{metric}_ci95", f"{section.removesuffix('_ms')}_ci95_ms{point}{key}"):
        low, high = numbers.get(f"{name}.0"), numbers.get(f"{name}.1")
        if low is not None and high is not None:
            return 0.5 * (high - low)
    return None


def numbers_of(value: Any, prefix: str = "") -> list[tuple[str, float]]:
    """All numbers of a document by their paths; of lists, those of numbers alone."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [(prefix, float(value))]
    if isinstance(value, Mapping):
        return [
            found
            for key, inner in value.items()
            for found in numbers_of(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list) and all(isinstance(each, int | float | None) for each in value):
        return [found for index, each in enumerate(value) for found in numbers_of(each, f"{prefix}.{index}")]
    return []


def is_saved(name: str) -> bool:
    """Whether this names a saved answer, and no scenario."""
    return Path(name).suffix.lower() == ".json"
