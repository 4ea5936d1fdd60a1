"""Two fleet files held against each other: their plans, and each differing key by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.asked_paths import with_paths
from perfmodel.loading.fleet_file import LoadedFleet, load_fleet
from perfmodel.loading.inputs import InputFile
from perfmodel.planning.diff.answer import Diff, KeyShare
from perfmodel.planning.diff.computation import MOST_KEYS
from perfmodel.planning.diff.keys import DifferingKey, differences_of
from perfmodel.planning.diff.saved import comparable, numbers_of, value_of
from perfmodel.planning.diff.side import Difference
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.report.documents.plan import plan_document
from perfmodel.threads import Tell, untold

_SECTIONS = ("static", "objective_value", "lower_bound", "baselines", "capacity_qps")
"""Of a plan's document, what is compared."""

_NAMES = ("name", "description")
"""Keys of a fleet file that say nothing about it."""

Numbers = Mapping[str, float]


def compare_fleets(
    a: str,
    b: str,
    *,
    overrides: Sequence[str] = (),
    overrides_b: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
    tell: Tell = untold,
) -> Diff:
    """Plan both fleets, and A and B with each key of the other; `overrides_b` change B alone.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    InputError
        If a fleet cannot be read, or they differ in too much.
    """
    sides = ((a, overrides), (b, [*overrides, *overrides_b]))
    fleets = [load_fleet(path, settings) for path, settings in sides]
    keys = differences_of(*(_said(fleet) for fleet in fleets))
    if len(keys) > MOST_KEYS:
        raise InputError(f"diff: expected at most {MOST_KEYS} keys that differ, got {len(keys)}")

    read: dict[InputFile, None] = {}
    plans = 0

    def planned(fleet: LoadedFleet) -> Numbers:
        nonlocal plans
        tell(plans / (2 + 2 * len(keys)))
        plans += 1
        question = plan_question(fleet, mixed_stacks=mixed_stacks, extrapolate=extrapolate)
        read.update(dict.fromkeys(question.inputs))
        document: Mapping[str, Any] = {**plan_document(plan(question))}
        return dict(numbers_of({key: document[key] for key in _SECTIONS if key in document}))

    one, other = (planned(fleet) for fleet in fleets)
    names = [fleet.name for fleet in fleets]
    shares = [_share(key, sides, (one, other), planned) for key in keys]
    objectives = [fleet.fleet.provision.objective for fleet in fleets]
    notes = ["plans before simulation; an interval of no width: the programme's answer for these capacities"]
    if objectives[0] != objectives[1]:
        notes.append(f"no objective_value: that of A is {objectives[0]}, that of B {objectives[1]}")
    return Diff(
        a=names[0],
        b=names[1] if names[1] != names[0] else f"{names[1]} (B)",
        differences=_differences(one, other, comparable(one, other, *objectives)),
        keys=tuple(shares),
        inputs=tuple(read),
        asked=(_text(fleets[0]), _text(fleets[1])),
        notes=tuple(notes),
    )


def _share(
    key: DifferingKey,
    sides: Sequence[tuple[str, Sequence[str]]],
    both: tuple[Numbers, Numbers],
    planned: Any,
) -> KeyShare:
    found: list[Numbers | PerfplanError] = []
    for (path, settings), value in zip(sides, (key.b, key.a), strict=True):
        try:
            found.append(planned(load_fleet(path, [*settings, f"{key.key}={json.dumps(value)}"])))
        except PerfplanError as error:
            found.append(error)
    changed_a, changed_b = found
    objective = key.a if key.key == "provision.objective" else None
    metrics = comparable(*both, objective, key.b if objective else None)
    problems = [str(each) for each in found if isinstance(each, PerfplanError)]
    return KeyShare(
        key=key,
        from_a=() if isinstance(changed_a, PerfplanError) else _differences(both[0], changed_a, metrics),
        from_b=() if isinstance(changed_b, PerfplanError) else _differences(changed_b, both[1], metrics),
        why_not=problems[0] if problems else None,
    )


def _differences(one: Numbers, other: Numbers, metrics: Sequence[str]) -> tuple[Difference, ...]:
    found = []
    for metric in metrics:
        a, b = value_of(metric, one), value_of(metric, other)
        value = None if a is None or b is None else b - a
        ci95 = None if value is None else (value, value)
        found.append(Difference(metric=metric, a=a, b=b, value=value, ci95=ci95))
    return tuple(found)


def _text(fleet: LoadedFleet) -> dict[str, Any]:
    data = fleet.source.data()
    assert isinstance(data, dict), "the top level of a fleet is a section"
    return data


def _said(fleet: LoadedFleet) -> dict[str, Any]:
    document = {key: value for key, value in fleet.fleet.model_dump(mode="json").items() if key not in _NAMES}
    said: dict[str, Any] = with_paths(document, lambda path: fleet.source.directory_of(*path))
    return said
