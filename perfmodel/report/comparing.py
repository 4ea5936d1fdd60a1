"""Whatever two things are compared: scenarios, fleets, or answers that were saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.loading.text_file import read_json
from perfmodel.loading.words import cut_path
from perfmodel.planning.diff.answer import Diff
from perfmodel.planning.diff.computation import diff
from perfmodel.planning.diff.saved import diff_saved, is_saved
from perfmodel.report.asking import is_fleet

MOST_BYTES = 200_000_000
"""Of a saved answer."""


def compare(
    a: ScenarioLike,
    b: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> Diff:
    """Compare two scenarios, two fleets or two saved answers; `overrides` change both files.

    Raises
    ------
    InputError
        If one is a scenario and the other an answer, or either cannot be read.
    """
    saved = [isinstance(each, str | Path) and is_saved(str(each)) for each in (a, b)]
    fleets = [isinstance(each, str | Path) and is_fleet(str(each)) for each in (a, b)]
    if all(fleets):
        from perfmodel.report.comparing_fleets import compare_fleets  # on use: it loads the solver

        return compare_fleets(
            str(a), str(b), overrides=overrides, mixed_stacks=mixed_stacks, extrapolate=extrapolate
        )
    kinds = [
        "a fleet" if f else "a saved answer" if s else "a scenario"
        for f, s in zip(fleets, saved, strict=True)
    ]
    if kinds[0] != kinds[1]:
        both = "two scenarios, two fleets or two saved answers"
        raise InputError(f"diff: expected {both}, got {kinds[0]} and {kinds[1]}")
    if not any(saved):
        return diff(
            load_scenario(a, overrides),
            load_scenario(b, overrides),
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
        )
    if overrides:
        raise InputError("--set: expected scenarios; a saved answer cannot be changed")
    paths = Path(str(a)), Path(str(b))
    return diff_saved((str(a), str(b)), *(_read(path) for path in paths))


def _read(path: Path) -> dict[str, Any]:
    document = read_json(path, most_bytes=MOST_BYTES)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        raise InputError(f"{cut_path(path)}: expected an answer that --json printed: it has no schema")
    return dict(document)
