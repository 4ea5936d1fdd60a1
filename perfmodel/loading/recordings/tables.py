"""From the columns of a table, whatever file held it, to a recording: one clock, in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perfmodel.errors import InputError
from perfmodel.loading.recordings.columns import TIMES, Column, Role
from perfmodel.loading.recordings.recording import FloatArray, Frequencies, Recording
from perfmodel.loading.recordings.stamps import WORDS, TimeUnit, epoch_unit, since_first_s, unit_of

MOST_NAMED = 8
"""Columns that a note names; of more it says how many. """


def recording_of(
    path: Path,
    format: str,
    columns: Mapping[Role, npt.NDArray[Any]],
    known: Mapping[Role, Column],
    *,
    names: Sequence[str],
    dated: Sequence[Role],
    asked: str | None,
    place: str,
    first_line: int = 0,
) -> Recording:
    """Make a recording of columns.

    Parameters
    ----------
    path, format
        The file, and what it is, in words.
    columns : mapping of Role to array
        As `read_columns` gives them: times as numbers, or nanoseconds since 1970 where they are `dated`.
    known : mapping of Role to Column
        The names and units of these columns.
    names : sequence of str
        All columns of the file.
    dated : sequence of Role
        Columns of times that were dates.
    asked : str or None
        The unit of times that the user gives.
    place : str
        Where the columns are named, for errors: `file:line:column`.
    first_line : int
        Line of the first row; 0 where rows are no lines.

    Raises
    ------
    InputError
        If a column's name and its values give two units.
    """
    used = {column.position for column in known.values()}
    ignored = [name or "a column without a name" for index, name in enumerate(names) if index not in used]
    if len(ignored) > MOST_NAMED:
        ignored = [*ignored[:MOST_NAMED], f"{len(ignored) - MOST_NAMED} columns more"]
    times, unit = _in_seconds(columns, known, dated=dated, asked=asked, place=place)
    lead_is_dated = bool(times) and next(iter(times)) in dated
    sizes, counts = columns.get(Role.SIZE), columns.get(Role.COUNT)
    frequencies = None
    if sizes is not None and counts is not None and Role.ARRIVAL not in columns:
        frequencies = frequencies_of(sizes, counts)
    elif counts is not None:
        ignored.append(known[Role.COUNT].name)
    return Recording(
        path=path,
        format=format,
        arrival_s=times.get(Role.ARRIVAL),
        num_items=None if frequencies is not None else sizes,
        start_s=times.get(Role.START),
        end_s=times.get(Role.END),
        executor=columns.get(Role.EXECUTOR),
        query=columns.get(Role.QUERY),
        sizes=frequencies,
        time_unit="" if unit is None else "date" if lead_is_dated else unit.unit,
        time_reason="" if unit is None else unit.reason,
        ignored=tuple(ignored),
        first_line=first_line,
    )


def frequencies_of(values: npt.NDArray[Any], counts: npt.NDArray[Any] | None = None) -> Frequencies | None:
    """How often each value comes; None where there is none, or none counts."""
    if not len(values) or (counts is not None and not counts.sum() > 0):
        return None
    distinct, group = np.unique(values, return_inverse=True)
    weights = None if counts is None else counts.astype(np.float64)
    return Frequencies(distinct.astype(np.float64), np.bincount(group, weights=weights).astype(np.float64))


def _in_seconds(
    columns: Mapping[Role, npt.NDArray[Any]],
    known: Mapping[Role, Column],
    *,
    dated: Sequence[Role],
    asked: str | None,
    place: str,
) -> tuple[dict[Role, FloatArray], TimeUnit | None]:
    """All times as seconds from one origin, and what those of the first column were taken for."""
    units: dict[Role, TimeUnit] = {}
    for role in TIMES:
        if role not in columns or not len(columns[role]):
            continue
        name, first = known[role].name, float(columns[role][0])
        if role in dated:
            units[role] = TimeUnit("ns", True, f"{name} holds dates")
            continue
        unit = unit_of(name, known[role].unit, first, asked=asked)
        of_size = epoch_unit(first)
        if asked is None and known[role].unit is not None and of_size not in (None, unit.unit):
            assert of_size is not None
            raise InputError(
                f"{place}: {name}: its name says {WORDS[unit.unit]}, but {first:.0f} looks like "
                f"{WORDS[of_size]} since 1970; rename the column, or say --time-unit"
            )
        if not unit.epoch and known[role].unit is None and asked is None and units:
            lead = next(iter(units.values()))  # of columns without a unit all are taken as the first is
            unit = unit if lead.epoch else lead
        units[role] = unit
    if not units:  # a header, and no row
        return {role: np.empty(0) for role in TIMES if role in columns}, None
    lead_role, lead = next(iter(units.items()))
    epochs = all(unit.epoch for unit in units.values())
    # Of large stamps the digits after the point are few: the origin goes before the unit is changed.
    origin_ns = _origin_ns(columns[lead_role], lead) if epochs else 0
    return {role: _seconds(columns[role], unit, origin_ns) for role, unit in units.items()}, lead


def _origin_ns(values: npt.NDArray[Any], unit: TimeUnit) -> int:
    return int(float(values[0]) * unit.seconds) * 10**9 if values.dtype != np.int64 else int(values[0])


def _seconds(values: npt.NDArray[Any], unit: TimeUnit, origin_ns: int) -> FloatArray:
    if values.dtype == np.int64:  # dates
        return since_first_s(values, origin_ns)
    if origin_ns:
        return (values - origin_ns * 1e-9 / unit.seconds) * unit.seconds
    return values if unit.unit == "s" else values * unit.seconds
