"""What is kept of whole periods: latencies by window, in cells so narrow that percentiles can be read off."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf, sqrt
from typing import NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.records import rounding_at
from perfmodel.sim.statistics import Estimate, Interval, level_among_served

LEAST_REPETITIONS = 4
"""Of the worst window; where even so many are too long, it is known from one draw alone."""

CELL_BITS = 43
"""Bits of a latency that a cell of the histogram leaves open: 0.2 % wide at most."""
SHORTEST_S, LONGEST_S = 1e-7, 1e8
"""What the histogram tells apart. [s]"""
CLEARLY_WORSE = 0.8
"""Of the greatest percentile of any window: a peak that has as much is the worst window."""
LASTING = 2.0
"""A backlog lasts through a window where even the fastest twentieth takes so many times the least."""


class WindowCounts(NamedTuple):
    """What the whole period showed of one window; `of_asked` counts those turned away as taking for ever."""

    quantile: Callable[[float], float]
    of_asked: Callable[[float], float]
    late_share: Estimate | None
    num_queries: int


class DayCounts:
    """Latencies by window of the period, in cells of 0.2 %, and what else is summed over them."""

    def __init__(self, num_windows: int, window_s: float, latency_s: float | None) -> None:
        self._window_s, self._latency_s = window_s, latency_s
        self._first = _cell_of(SHORTEST_S)
        self._counts = np.zeros((num_windows, _cell_of(LONGEST_S) - self._first + 1), dtype=np.int64)
        self._sums_s = np.zeros(num_windows)
        self._late = np.zeros(num_windows, dtype=np.int64)
        self._shed = np.zeros(num_windows, dtype=np.int64)
        self._last_window = 0

    def add(self, arrival_s: FloatArray, latency_s: FloatArray) -> None:
        """Count queries, in order of arrival."""
        if not len(arrival_s):
            return
        last_s = float(arrival_s[-1]) if len(arrival_s) else 0.0
        late = latency_s > (np.inf if self._latency_s is None else self._latency_s + rounding_at(last_s))
        served = np.isfinite(latency_s)
        index = (arrival_s / self._window_s).astype(np.int64)
        starts = np.flatnonzero(np.diff(index, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(index)], strict=True):
            window = int(index[start]) % len(self._counts)
            inside_s = latency_s[start:end][served[start:end]]
            cells = (np.clip(inside_s, SHORTEST_S, LONGEST_S).view(np.int64) >> CELL_BITS) - self._first
            if len(cells):
                lowest = int(cells.min())
                counts = np.bincount(cells - lowest)
                self._counts[window, lowest : lowest + len(counts)] += counts
            self._sums_s[window] += inside_s.sum()
            self._late[window] += np.count_nonzero(late[start:end])
            self._shed[window] += end - start - len(inside_s)
            self._last_window = window

    @property
    def num_served(self) -> int:
        """Queries that were served."""
        return int(self._counts.sum())

    @property
    def num_queries(self) -> int:
        """All queries."""
        return self.num_served + int(self._shed.sum())

    @property
    def num_windows_seen(self) -> int:
        """Windows in which queries arrived."""
        return int(np.count_nonzero(self._counts.any(axis=1)))

    @property
    def late_share(self) -> float:
        """Share of all queries that took longer than the limit, or were shed. [1]"""
        return int(self._late.sum()) / max(1, self.num_queries)

    @property
    def shed_share(self) -> float:
        """Share of all queries that were shed. [1]"""
        return int(self._shed.sum()) / max(1, self.num_queries)

    def of_window(self, window: int) -> WindowCounts:
        """Return what there is to know of a window."""
        queries = int(self._counts[window].sum() + self._shed[window])
        share = int(self._late[window]) / max(1, queries)
        # Nothing between none and all can be told from one draw of a backlog that lasts for hours.
        error = 0.0 if share in (0.0, 1.0) else sqrt(share * (1.0 - share))
        return WindowCounts(
            lambda fraction: self._quantile(self._counts[window], fraction),
            lambda fraction: self._of_asked(window, fraction),
            None if self._latency_s is None else Estimate(share, error, LEAST_REPETITIONS - 1),
            queries,
        )

    def worst_window(self, percentile: float, peak: int) -> int:
        """Return the window whose percentile of all queries is greatest; the peak, unless far from it.

        Windows around the peak differ by chance in one draw, and the worst of a draw is not the worst.
        """
        values_s = [self._of_asked(window, percentile) for window in range(len(self._counts))]
        worst = int(np.argmax(values_s))
        return peak if values_s[peak] >= CLEARLY_WORSE * values_s[worst] else worst

    def quiet_before(self, window: int) -> int:
        """The last window before one through which no backlog lasted; negative: of the period before.

        Windows that were left out between two through which none lasted had none either.
        """
        fastest_s = self._fastest_s()
        seen = fastest_s > 0.0
        quiet = seen & (fastest_s <= LASTING * fastest_s[seen].min())
        for back in range(1, len(fastest_s)):
            if quiet[window - back] or (quiet[window] and not seen[window - back]):
                return window - back
            if seen[window - back]:
                quiet[window] = False  # what was left out before that may have been busy, too
        return window - len(fastest_s)

    def is_quiet(self, window: int) -> bool:
        """Whether no backlog lasted through a window."""
        fastest_s = self._fastest_s()
        return bool(0.0 < fastest_s[window] <= LASTING * fastest_s[fastest_s > 0.0].min())

    @property
    def ends_in_backlog(self) -> bool:
        """Whether a backlog lasted through the last window."""
        fastest_s = self._fastest_s()
        return bool(fastest_s[self._last_window] > LASTING * fastest_s[fastest_s > 0.0].min())

    def interval(self, percentile: float) -> Interval:
        """Percentile over the period, with its 95 % interval.

        The error of a share comes from the differences between successive windows: what changes slowly over
        the day falls out of them (von Neumann's estimator).
        """
        total = self._counts.sum(axis=0)
        value_s = self._quantile(total, percentile)
        above = self._first + np.arange(len(total)) > _cell_of(value_s)
        by_window = self._counts[:, above].sum(axis=1)
        error = 2.0 * float(np.sqrt(0.5 * (np.diff(by_window) ** 2).sum())) / max(1, int(total.sum()))
        low_s = self._quantile(total, max(0.0, percentile - error))
        high_s = self._quantile(total, min(1.0, percentile + error))
        width = 2.0 ** -(52 - CELL_BITS)
        return Interval(value_s, low_s * (1.0 - width), high_s * (1.0 + width))

    def mean_interval(self) -> Interval:
        """Mean over the period, with its 95 % interval, likewise. [s]"""
        served = max(1, self.num_served)
        mean_s = float(self._sums_s.sum()) / served
        excess_s = self._sums_s - mean_s * self._counts.sum(axis=1)
        error_s = 2.0 * float(np.sqrt(0.5 * (np.diff(excess_s) ** 2).sum())) / served
        return Interval(mean_s, max(0.0, mean_s - error_s), mean_s + error_s)

    def _fastest_s(self) -> FloatArray:
        return np.array([self._quantile(counts, 0.05) for counts in self._counts])

    def _of_asked(self, window: int, fraction: float) -> float:
        """The same of all queries of a window, inf where it is one that was turned away. [s]"""
        counts, shed = self._counts[window], int(self._shed[window])
        if not shed:
            return self._quantile(counts, fraction)
        served = level_among_served(fraction, shed / (shed + int(counts.sum())))
        return inf if served is None else self._quantile(counts, served)

    def _quantile(self, counts: IntArray, fraction: float) -> float:
        """Middle of the cell that holds it; 0 without queries. [s]"""
        reached = np.cumsum(counts)
        if not reached[-1]:
            return 0.0
        cell = int(np.searchsorted(reached, max(1, ceil(fraction * int(reached[-1]) - 1e-6))))
        edges = (np.array([cell, cell + 1], dtype=np.int64) + self._first) << CELL_BITS
        return float(edges.view(np.float64).mean())


def _cell_of(value_s: float) -> int:
    return int(np.float64(value_s).view(np.int64)) >> CELL_BITS
