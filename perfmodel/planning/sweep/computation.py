"""A sweep: what is finished already, the backend for the rest, and the rows in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from perfmodel.planning.sweep.answer import ANSWERED
from perfmodel.planning.sweep.backends import Ask, Backend
from perfmodel.planning.sweep.journal import Finished, Journal, Row
from perfmodel.planning.sweep.points import Point

Progress = Callable[[int, int, bool], None]
"""Told how many points are finished, how many of them before this run, and whether the last one failed."""


class Answered(NamedTuple):
    """What was set and what was found, in the points' order; and the files that were read for it."""

    rows: list[tuple[Row, Row]]
    files: tuple[Path, ...]


def answer_points(
    points: Sequence[Point],
    ask: Ask,
    backend: Backend,
    *,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Answered:
    """Answer every point once; what a journal has of them is not asked again."""
    by_name = {point.name: point for point in points}
    found: dict[str, Finished] = {}
    if journal is not None:
        found = {name: each for name, each in journal.finished().items() if name in by_name}
    before = len(found)
    tell = progress or _silent
    tell(before, before, False)
    for finished in backend(ask, [point for point in points if point.name not in found]):
        if journal is not None:
            journal.keep(finished)
        found[finished["point"]] = finished
        tell(len(found), before, finished["row"]["exit_code"] not in ANSWERED)
    files = dict.fromkeys(file for each in found.values() for file in sorted(each["files"]))
    rows = [(_swept(point), found[point.name]["row"]) for point in points]
    return Answered(rows, tuple(Path(file) for file in files))


def _silent(finished: int, before: int, failed: bool) -> None:
    """Tell nobody."""


def _swept(point: Point) -> Row:
    return {key: value.shown for key, value in zip(point.keys, point.values, strict=True)}
