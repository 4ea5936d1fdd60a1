"""Traffic files of a scenario: arrival traces and lists of query sizes, from whatever holds them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perfmodel.domain.bounds import LEAST_RATE_QPS, MOST_RATE_QPS
from perfmodel.errors import InputError, Note
from perfmodel.loading.published_sizes import SizeFrequencies
from perfmodel.loading.recordings.cells import Cell, cells_of, separator_of
from perfmodel.loading.recordings.source import Source, open_source
from perfmodel.loading.words import nearest, quoted

if TYPE_CHECKING:  # on use: most scenarios name no file of traffic, and the formats are many
    from perfmodel.loading.recordings.recording import Counts, Recording

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SPREAD_SEED = 20
"""Of the random numbers that place counted queries within their stretch of time: any would do."""
MOST_SPREAD = 20_000_000
"""Queries that counts are turned into: 160 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Recorded queries in order of arrival.

    Attributes
    ----------
    arrival_s : (num_queries,) float
        Ascending, from any origin. [s]
    num_items : (num_queries,) int or None
        Sizes; None where the trace records none. [items]
    """

    arrival_s: FloatArray
    num_items: IntArray | None


def read_sizes(path: Path) -> SizeFrequencies:
    """Read query sizes: a list, a table of sizes and counts, or the sizes of recorded queries.

    A size listed twice is twice as likely. Blank lines and what follows a `#` are left out.

    Raises
    ------
    InputError
        At the first bad line, `file:line:column: …`; or if the file gives no sizes.
    """
    from perfmodel.loading.recordings.formats import read_recording

    recording = read_recording(path)
    if recording.num_items is not None and len(recording.num_items):
        values, counts = np.unique(recording.num_items, return_counts=True)
        return SizeFrequencies(values, counts / len(recording.num_items))
    if recording.sizes is not None:
        probabilities = recording.sizes.counts / recording.sizes.counts.sum()
        return SizeFrequencies(recording.sizes.values.astype(np.int64), probabilities)
    raise _cannot_give(recording, "query sizes", "a list of whole numbers, or a column num_items")


def read_trace(path: Path) -> Trace:
    """Read arrivals [s] and, where they are recorded, sizes [items].

    Counts by time become arrivals at random within each stretch: of a Poisson process, given its counts,
    they are just there. A note says so.

    Raises
    ------
    InputError
        At the first bad line, `file:line:column: …`: a missing or bad value, a time before the one above it;
        if the file gives no arrivals, there are fewer than two, or their mean rate is that of no traffic.
    """
    from perfmodel.loading.recordings.formats import read_recording

    recording = read_recording(path)
    if recording.arrival_s is not None:
        trace = Trace(recording.arrival_s, recording.num_items)
        require_ascending(recording)
    elif recording.counts is not None:
        _note_spread(recording)
        trace = Trace(spread_counts(recording.path, recording.counts), None)
    elif recording.num_items is not None:
        raise InputError(
            f"{path}:1:1: missing column 'arrival_s': looks like {recording.format}, which gives "
            f"{' and '.join(recording.gives)}, but no arrival times"
        )
    else:
        raise _cannot_give(recording, "arrival times", "a header with arrival_s, num_items")
    require_rate(path, trace.arrival_s)
    return trace


def read_by_hour(path: Path, column: str) -> dict[int, float]:
    """Read a value for each hour from a CSV file with the columns `hour` (a whole number) and another.

    Raises
    ------
    InputError
        At the first bad line: an hour that is no whole number or stands there twice, a value below 0; or if
        there is no line.
    """
    values: dict[int, float] = {}
    for row in _rows(open_source(path), ("hour", column)):
        hour = row["hour"]
        if not (hour.text.isascii() and hour.text.isdecimal() and len(hour.text) <= 6):
            raise hour.unexpected("a whole number >= 0")
        if int(hour.text) in values:
            raise hour.error(f"hour {int(hour.text)} is given twice")
        values[int(hour.text)] = row[column].number()
        if values[int(hour.text)] < 0.0 or values[int(hour.text)] > MOST_RATE_QPS:
            raise row[column].unexpected(f"a number from 0 to {MOST_RATE_QPS:g}")
    if not values:
        raise InputError(f"{path}:1:1: expected a line for each hour, found none")
    return values


def _rows(source: Source, names: tuple[str, ...]) -> Iterator[dict[str, Cell]]:
    """Lines of a small table with just these columns, in any order."""
    columns: list[str] = []
    separator = ","
    for line in source.content():
        if not columns:
            separator = separator_of(line.text)
            header = cells_of(line, separator)
            columns = [cell.text for cell in header]
            for cell in header:
                if cell.text not in names:
                    hint = nearest(cell.text, names) or f"; expected a header with {', '.join(names)}"
                    raise cell.error(f"unknown column {quoted(cell.text)}{hint}")
                if columns.count(cell.text) > 1:
                    raise cell.error(f"column {cell.text!r} is given twice")
            if missing := [name for name in names if name not in columns]:
                raise line.error(f"missing column {missing[0]!r}")
            continue
        cells = cells_of(line, separator)
        if len(cells) != len(columns):
            raise line.error(f"expected {len(columns)} values ({', '.join(columns)}), got {len(cells)}")
        yield {name: cell._replace(column=name) for name, cell in zip(columns, cells, strict=True)}
    if not columns:
        raise source.error(f"expected a header with {', '.join(names)}, found an empty file")


def require_ascending(recording: Recording) -> None:
    """Refuse arrivals that go back, at the first that does."""
    arrival_s = recording.arrival_s
    assert arrival_s is not None
    back = arrival_s[1:] < arrival_s[:-1]
    if back.any():
        from perfmodel.loading.recordings.columns import Role
        from perfmodel.loading.recordings.formats import row_error

        row = int(np.argmax(back)) + 1
        before = float(arrival_s[row - 1])
        expected = f"a time >= {before!r}" if recording.time_unit == "s" else "a time not before"
        message = f"expected {expected}, that of the query before, got {{got}}"
        raise row_error(recording, row, Role.ARRIVAL, message)


def require_rate(path: Path, arrival_s: FloatArray) -> None:
    """Refuse arrivals without a rate that traffic may have."""
    if len(arrival_s) < 2:
        raise InputError(f"{path}:1:1: expected a trace of at least 2 queries, found {len(arrival_s)}")
    with np.errstate(over="ignore"):
        lasts_s = float(arrival_s[-1] - arrival_s[0])
    if lasts_s == 0.0:
        raise InputError(f"{path}:1:1: arrival_s: all times are equal, so there is no rate")
    rate_qps = (len(arrival_s) - 1) / lasts_s
    if not LEAST_RATE_QPS <= rate_qps <= MOST_RATE_QPS:
        allowed = f"expected a mean rate from {LEAST_RATE_QPS:g} to {MOST_RATE_QPS:g} queries/s"
        raise InputError(f"{path}:1:1: arrival_s: {allowed}, got {rate_qps:.3g}")


def spread_counts(path: Path, counts: Counts) -> FloatArray:
    """Place counted queries at random within their stretches of time. [s]

    Of fractions, as rates give them, the cumulative sum is rounded, so that none is lost on the way.
    """
    cumulative = np.rint(np.cumsum(counts.queries))
    if not len(cumulative) or cumulative[-1] < 2:
        raise InputError(f"{path}:1:1: expected at least 2 queries, found {int(cumulative[-1:].sum())}")
    if cumulative[-1] > MOST_SPREAD:
        most = f"at most {MOST_SPREAD:_} queries, which are placed one by one"
        raise InputError(f"{path}:1:1: expected {most}, found {int(cumulative[-1]):_}; cut the file")
    whole = np.diff(cumulative, prepend=0.0).astype(np.int64)
    rng = np.random.default_rng(SPREAD_SEED)
    inside = rng.random(int(cumulative[-1])) * np.repeat(counts.width_s, whole)
    arrival_s: FloatArray = np.repeat(counts.start_s, whole) + inside
    arrival_s.sort()
    return arrival_s


def _note_spread(recording: Recording) -> None:
    assert recording.counts is not None
    width_s = float(np.median(recording.counts.width_s))
    warnings.warn(
        Note(
            f"{recording.path.name}: {recording.format}: counts by {width_s:g} s, no stamp of a query; "
            "arrivals are placed at random within each, so that bursts that are shorter do not show"
        ),
        stacklevel=3,
    )


def _cannot_give(recording: Recording, wanted: str, expected: str) -> InputError:
    gives = (
        f"which gives {' and '.join(recording.gives)}, but no {wanted}"
        if recording.gives
        else f"without {wanted}"
    )
    return InputError(f"{recording.path}:1:1: looks like {recording.format}, {gives}; expected {expected}")
