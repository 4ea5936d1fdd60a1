"""The log of a node: queries with their arrival, size, start and end, checked before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perfmodel.errors import InputError
from perfmodel.loading.recordings.columns import Role
from perfmodel.loading.recordings.formats import row_error
from perfmodel.loading.recordings.recording import Recording
from perfmodel.loading.recordings.rows import taken
from perfmodel.loading.traffic_files import require_ascending, require_rate
from perfmodel.planning.observe.dispersion import clock_s

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LEAST_ROWS = 100
"""Of a log, and queries in them: of fewer no 99th percentile has one value beyond it."""
LONGEST_SERVICE_S = 1.0
"""Median service time from which seconds are doubted where nothing says seconds: a recommendation is served
in milliseconds. [s]"""
SHORTEST_SERVICE_S = 1e-6
"""And below which, too. [s]"""
_NEAR_STEPS = 5
"""Of the clock, in which near arrivals are counted."""
CLOCKS_APART_S = 60.0
"""Median distance of two stamps of a query from which they are of two clocks, where the log lasts for less
than a third of it: no query waits for minutes, and then not longer than the log. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedLog:
    """Requests that a node served, in order of arrival; a query is one request unless the log says otherwise.

    Attributes
    ----------
    recording : Recording
        The file.
    arrival_s, start_s, end_s : (num_requests,) float
        From the first arrival on. [s]
    num_items : (num_requests,) int
        [items]
    executor : (num_requests,) int or None
        Numbered from 0.
    query_of : (num_requests,) int or None
        Which query a request is part of, numbered in order of arrival; None: each is one.
    clock_s : float
        Resolution of the stamps; 0: too fine to be seen. [s]
    notes : tuple of str
        What a reader of the figures must know.
    """

    recording: Recording
    arrival_s: FloatArray
    start_s: FloatArray
    end_s: FloatArray
    num_items: IntArray
    executor: IntArray | None
    query_of: IntArray | None
    clock_s: float
    notes: tuple[str, ...]

    @property
    def service_s(self) -> FloatArray:
        """How long each request held its executor. [s]"""
        return self.end_s - self.start_s

    @property
    def span_s(self) -> float:
        """From the first arrival to the last. [s]"""
        return float(self.arrival_s.max())  # the last row may be of a query that arrived long before

    @property
    def query_arrival_s(self) -> FloatArray:
        """Arrivals of the queries. [s]"""
        return self.arrival_s if self.query_of is None else self.arrival_s[self._first]

    @property
    def query_items(self) -> IntArray:
        """Sizes of the queries. [items]"""
        if self.query_of is None:
            return self.num_items
        return np.bincount(self.query_of, weights=self.num_items).astype(np.int64)

    @property
    def query_latency_s(self) -> FloatArray:
        """From the arrival of each query to the end of its last request. [s]"""
        if self.query_of is None:
            return self.end_s - self.arrival_s
        ends_s = np.full(int(self.query_of.max()) + 1, -np.inf)
        np.maximum.at(ends_s, self.query_of, self.end_s)
        return ends_s - self.query_arrival_s

    @property
    def _first(self) -> IntArray:
        assert self.query_of is not None
        return np.unique(self.query_of, return_index=True)[1]


def checked_log(recording: Recording, *, duplicates: str = "refuse") -> ServedLog:
    """Check a recording as the log of a node.

    Parameters
    ----------
    recording : Recording
        With arrivals, sizes, starts and ends.
    duplicates : {"refuse", "drop", "keep"}
        What to do with rows that are the same in all columns.

    Raises
    ------
    InputError
        One line: a column is missing, a query ends before it starts or starts before it arrives, rows are
        unsorted or twice there, clocks are mixed, or the unit of time was taken wrongly.
    """
    arrival_s, sizes = recording.arrival_s, recording.num_items
    start_s, end_s = recording.start_s, recording.end_s
    columns = {"arrival": arrival_s, "size": sizes, "start": start_s, "end": end_s}
    if missing := [name for name, column in columns.items() if column is None]:
        raise InputError(
            f"{recording.path}:1:1: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}: "
            f"looks like {recording.format}; a log has arrival, size, start, end, perhaps executor and query"
        )
    assert arrival_s is not None
    assert sizes is not None
    assert start_s is not None
    assert end_s is not None
    if len(arrival_s) < LEAST_ROWS:
        raise InputError(
            f"{recording.path}:1:1: expected a log of at least {LEAST_ROWS} queries, found {len(arrival_s)}"
        )
    _require_one_clock(recording, arrival_s, start_s, end_s)
    require_ascending(recording)
    _require_ends(recording, end_s - start_s)
    some = slice(None, None, max(1, len(arrival_s) // 1000))
    clock = clock_s(np.concatenate([arrival_s[some], start_s[some], end_s[some]]))
    _require_order(recording, arrival_s, start_s, end_s, clock)
    _require_plausible(recording, end_s - start_s)
    recording, dropped = _without_duplicates(recording, duplicates, clock)
    assert recording.arrival_s is not None
    require_rate(recording.path, recording.arrival_s)
    log = _log_of(recording, clock, dropped)
    if log.query_of is not None:
        _require_queries(log)
    return log


def _log_of(recording: Recording, clock: float, dropped: int) -> ServedLog:
    assert recording.arrival_s is not None
    assert recording.start_s is not None
    assert recording.end_s is not None
    assert recording.num_items is not None
    origin_s = recording.arrival_s[0]
    query_of = None
    if recording.query is not None:
        first = np.unique(recording.query, return_index=True, return_inverse=True)
        if len(first[0]) < len(recording.query):
            rank = np.argsort(np.argsort(first[1], kind="stable"), kind="stable")
            query_of = rank[first[2]].astype(np.int64)
    notes = [f"{dropped} rows that were twice there were dropped"] if dropped else []
    arrival_s = recording.arrival_s - origin_s
    if query_of is not None:  # a query arrives once
        arrival_s = np.minimum.reduceat(arrival_s[np.argsort(query_of, kind="stable")], _bounds(query_of))[
            query_of
        ]
    return ServedLog(
        recording=recording,
        arrival_s=arrival_s,
        start_s=recording.start_s - origin_s,
        end_s=recording.end_s - origin_s,
        num_items=recording.num_items,
        executor=recording.executor,
        query_of=query_of,
        clock_s=clock,
        notes=tuple(notes),
    )


def _require_queries(log: ServedLog) -> None:
    """Refuse rows of too few queries, or of queries that all arrive at once."""
    arrival_s, path = log.query_arrival_s, log.recording.path
    if len(arrival_s) < LEAST_ROWS:
        raise InputError(
            f"{path}:1:1: query: expected a log of at least {LEAST_ROWS} queries, found {len(arrival_s)} in "
            f"{len(log.arrival_s)} rows"
        )
    require_rate(path, arrival_s)


def _bounds(query_of: IntArray) -> IntArray:
    counts = np.bincount(query_of)
    return np.concatenate([[0], np.cumsum(counts)[:-1]])


def _require_one_clock(
    recording: Recording, arrival_s: FloatArray, start_s: FloatArray, end_s: FloatArray
) -> None:
    """Refuse stamps that lie hours apart in the median, longer than the log itself lasts."""
    span_s = float(np.ptp(arrival_s))
    for name, other, base_name, base in (
        ("start", start_s, "arrival", arrival_s),
        ("end", end_s, "start", start_s),
    ):
        apart_s = float(np.median(other - base))
        if abs(apart_s) > max(CLOCKS_APART_S, 3.0 * span_s):
            raise InputError(
                f"{recording.path}:1:1: mixed clocks: {name} lies {apart_s:.6g} s from {base_name} in the "
                f"median, and the log lasts {span_s:.4g} s; times were taken for {recording.time_unit} "
                f"({recording.time_reason})"
            )


def _require_order(
    recording: Recording, arrival_s: FloatArray, start_s: FloatArray, end_s: FloatArray, clock: float
) -> None:
    """Refuse a start before its arrival, and an end before its start, by more than half a step of the clock.

    Stamps of one clock, cut or rounded alike, never change places.
    """
    slack_s = 0.5 * clock + 1e-9 + 4.0 * float(np.spacing(np.abs(arrival_s).max()))
    for role, before, name, other, other_name in (
        (Role.START, start_s, "starts", arrival_s, "arrives"),
        (Role.END, end_s, "ends", start_s, "starts"),
    ):
        early = before < other - slack_s
        share = float(early.mean())
        if not early.any():
            continue
        row = int(np.argmax(early))
        short_ms = 1e3 * float(other[row] - before[row])
        if share > 0.2:
            raise InputError(
                f"{recording.path}:1:1: mixed clocks: {100 * share:.0f} % of the queries {name[:-1]} before "
                f"they {other_name[:-1]}, by {1e3 * float(np.median((other - before)[early])):.4g} ms in the "
                "median"
            )
        raise row_error(recording, row, role, f"{name} {short_ms:.4g} ms before it {other_name}, at {{got}}")


MOST_SERVICE_S = 1e9
"""Of one request: thirty years. Longer is a damaged stamp, of which no mean or square exists."""


def _require_ends(recording: Recording, service_s: FloatArray) -> None:
    """Refuse a request that takes longer than any machine runs."""
    if float(service_s.max()) > MOST_SERVICE_S:
        row = int(np.argmax(service_s))
        raise row_error(recording, row, Role.END, f"ends {service_s[row]:.4g} s after it starts, at {{got}}")


def _require_plausible(recording: Recording, service_s: FloatArray) -> None:
    """Refuse a unit of time under which queries take seconds, or no time, where nothing says so."""
    median_s = float(np.median(service_s))
    said = f"times were taken for {recording.time_unit}: {recording.time_reason}"
    if median_s <= 0.0:
        raise InputError(
            f"{recording.path}:1:1: the median service time is 0: the clock is too coarse, or "
            f"{said}; --time-unit"
        )
    assumed = "gives no unit" in recording.time_reason
    if assumed and not SHORTEST_SERVICE_S <= median_s <= LONGEST_SERVICE_S:
        units = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}
        likely = next((unit for unit, size in units.items() if median_s * size <= 0.5), "ns")
        raise InputError(
            f"{recording.path}:1:1: {said}; then the median service time is {median_s:.4g} s, which is none "
            f"of a recommendation: say --time-unit {likely}, or --time-unit s if it is"
        )


def _by_chance(recording: Recording, clock: float) -> int:
    """How many rows may be the same in all columns, since the clock steps and times are few.

    About as many arrivals fall on one step as lie one step apart, two, and so on; how many of these are alike
    in all else is seen in pairs of rows drawn at random.
    """
    assert recording.arrival_s is not None
    assert recording.start_s is not None
    assert recording.end_s is not None
    assert recording.num_items is not None
    number = len(recording.arrival_s)
    rng = np.random.default_rng(1)
    one, other = rng.integers(number, size=(2, 200_000))
    alike = one != other
    columns = [recording.start_s - recording.arrival_s, recording.end_s - recording.arrival_s]
    for column in columns:
        alike &= np.abs(column[one] - column[other]) < 1.5 * clock
    alike &= recording.num_items[one] == recording.num_items[other]
    if recording.executor is not None:
        alike &= recording.executor[one] == recording.executor[other]
    gaps = np.diff(recording.arrival_s)
    near = int(((gaps > 0.5 * clock) & (gaps < (_NEAR_STEPS + 0.5) * clock)).sum())
    expected = near / _NEAR_STEPS * float(alike.mean())
    return int(3.0 * expected + 3.0) if expected > 0.05 else 0


def _without_duplicates(recording: Recording, duplicates: str, clock: float) -> tuple[Recording, int]:
    """Rows that are the same in all columns: refused, dropped or kept."""
    if duplicates == "keep":
        return recording, 0
    columns = [
        column
        for column in (
            recording.arrival_s,
            recording.start_s,
            recording.end_s,
            recording.num_items,
            recording.executor,
            recording.query,
        )
        if column is not None
    ]
    assert recording.arrival_s is not None
    same_arrival = recording.arrival_s[1:] == recording.arrival_s[:-1]
    if not same_arrival.any():
        return recording, 0
    order = np.lexsort(tuple(reversed(columns)))
    again = np.ones(len(order) - 1, dtype=np.bool_)
    for column in columns:
        again &= column[order][1:] == column[order][:-1]
    if not again.any():
        return recording, 0
    rows = np.sort(order[1:][again])
    if duplicates == "refuse" and len(rows) <= _by_chance(recording, clock):
        return recording, 0
    if duplicates == "drop":
        kept = np.ones(len(order), dtype=np.bool_)
        kept[rows] = False
        return taken(recording, kept), len(rows)
    raise row_error(
        recording,
        int(rows[0]),
        Role.ARRIVAL,
        f"the row is there twice, as are {len(rows) - 1} others (--duplicates drop, or keep): {{got}}",
    )
