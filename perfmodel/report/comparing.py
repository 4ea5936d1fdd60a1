"""Whatever two things are compared: scenarios, fleets, or answers that were saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.diff.answer import Diff
from perfmodel.planning.diff.computation import diff
from perfmodel.planning.diff.saved import diff_saved, is_saved
from perfmodel.report.asking import is_fleet
from perfmodel.report.saved import as_printed, read_saved
from perfmodel.threads import Tell, untold


def compare(
    a: ScenarioLike,
    b: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    overrides_b: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
    tell: Tell = untold,
) -> Diff:
    """Compare two scenarios, two fleets or two saved answers; `overrides` change both, `overrides_b` B alone.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    InputError
        If one is a scenario and the other an answer, or either cannot be read.
    """
    saved = [isinstance(each, str | Path) and is_saved(str(each)) for each in (a, b)]
    fleets = [isinstance(each, str | Path) and is_fleet(str(each)) for each in (a, b)]
    if all(fleets):
        from perfmodel.report.comparing_fleets import compare_fleets  # on use: it loads the solver

        found = compare_fleets(
            str(a),
            str(b),
            overrides=overrides,
            overrides_b=overrides_b,
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
            tell=tell,
        )
        return _saying(found, overrides, overrides_b)
    kinds = [
        "a fleet" if f else "a saved answer" if s else "a scenario"
        for f, s in zip(fleets, saved, strict=True)
    ]
    if kinds[0] != kinds[1]:
        both = "two scenarios, two fleets or two saved answers"
        raise InputError(f"diff: expected {both}, got {kinds[0]} and {kinds[1]}")
    if not any(saved):
        found = diff(
            load_scenario(a, overrides),
            load_scenario(b, [*overrides, *overrides_b]),
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
            tell=tell,
        )
        return _saying(found, overrides, overrides_b)
    if overrides or overrides_b:
        option = "--set" if overrides else "--set-b"
        raise InputError(f"{option}: expected scenarios; a saved answer cannot be changed")
    if mixed_stacks or extrapolate:
        option = "--mixed-stacks" if mixed_stacks else "--extrapolate"
        raise InputError(f"{option}: expected scenarios; saved answers say what they were asked with")
    paths = Path(str(a)), Path(str(b))
    with as_printed(*paths):
        return diff_saved((str(a), str(b)), *map(read_saved, paths))


def _saying(found: Diff, overrides: Sequence[str], overrides_b: Sequence[str]) -> Diff:
    """The comparison, with what was set on which side."""
    if overrides_b:
        found = replace(found, b=f"{found.b} with {', '.join(overrides_b)}")
    if overrides:
        note = f"set in A and in B: {', '.join(overrides)}; --set-b sets it in B alone"
        found = replace(found, notes=(note, *found.notes))
    return found
