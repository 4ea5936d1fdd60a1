"""A log served again: the table's service times, the log's arrivals; and at another rate, by the minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perfmodel.planning.observe.log import ServedLog
from perfmodel.planning.rate.late import is_late
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.traffic import Queries

FloatArray = npt.NDArray[np.float64]

PERCENTILES = (0.5, 0.95, 0.99)
MOST_WINDOWS = 12
BEYOND = 20
"""Queries beyond a percentile, of which it is told in a window."""
A_WINDOW = 2000
"""Queries of a window in the mean: its p99 has twenty beyond it."""
MINUTE_S = 60.0
A_MINUTE = 20
"""Queries from which a minute is judged."""


@dataclass(frozen=True, slots=True)
class WindowErrors:
    """One stretch of a log, measured and served again.

    Attributes
    ----------
    from_s, to_s : float
        Since the first arrival. [s]
    queries : int
        That arrived in it.
    measured_s, simulated_s : tuple of float or None
        Mean, then the percentiles; None where too few lie beyond. [s]
    """

    from_s: float
    to_s: float
    queries: int
    measured_s: tuple[float | None, ...]
    simulated_s: tuple[float | None, ...]

    @property
    def errors(self) -> tuple[float | None, ...]:
        """Simulated over measured, less one, with its sign. [1]"""
        pairs = zip(self.measured_s, self.simulated_s, strict=True)
        return tuple(None if real is None or made is None else made / real - 1.0 for real, made in pairs)


@dataclass(frozen=True, slots=True)
class Backtest:
    """The log's arrivals at another rate, judged by the minute.

    Attributes
    ----------
    rate_qps : float
        To which they were brought, all gaps shortened or stretched alike. [queries/s]
    minutes, missed : int
        Judged, and those whose percentile was beyond the SLA's limit.
    percentile_s : float
        Of all queries. [s]
    """

    rate_qps: float
    minutes: int
    missed: int
    percentile_s: float


def replay(log: ServedLog, service: ServiceTimes, batch_size: int, *, seed: int) -> FloatArray:
    """Serve the log's queries again. [s]"""
    queries = Queries(log.query_arrival_s, log.query_items, Luck(seed))
    return simulate(queries, service, SplitAndOffload(batch_size=batch_size)).latency_s


def compare(log: ServedLog, simulated_s: FloatArray) -> tuple[WindowErrors, ...]:
    """Compare latencies window by window of equal length; the first entry is the whole log."""
    arrival_s, measured_s = log.query_arrival_s, log.query_latency_s
    number = int(np.clip(len(arrival_s) // A_WINDOW, 1, MOST_WINDOWS))
    ends_s = np.linspace(0.0, log.span_s, number + 1)
    bounds = np.searchsorted(arrival_s, ends_s)
    bounds[-1] = len(arrival_s)
    spans = [(0, len(arrival_s), 0.0, log.span_s)]
    if number > 1:
        spans += [
            (int(bounds[i]), int(bounds[i + 1]), float(ends_s[i]), float(ends_s[i + 1]))
            for i in range(number)
        ]
    return tuple(
        WindowErrors(
            from_s, to_s, last - first, _figures(measured_s[first:last]), _figures(simulated_s[first:last])
        )
        for first, last, from_s, to_s in spans
    )


def _figures(latency_s: FloatArray) -> tuple[float | None, ...]:
    if not len(latency_s):
        return (None,) * (1 + len(PERCENTILES))
    ordered = np.sort(latency_s)
    found: list[float | None] = [float(ordered.mean())]
    for percentile in PERCENTILES:
        enough = (1.0 - percentile) * len(ordered) >= BEYOND
        found.append(order_statistic(ordered, percentile) if enough else None)
    return tuple(found)


def backtest(
    log: ServedLog,
    service: ServiceTimes,
    batch_size: int,
    *,
    rate_qps: float,
    percentile: float,
    latency_s: float,
    seed: int,
) -> Backtest:
    """Bring the log's arrivals to a rate, serve them, and count the minutes beyond the limit.

    Minutes are those of the shortened log: at twice the rate it lasts half as long.
    """
    arrival_s = log.query_arrival_s * ((len(log.query_arrival_s) - 1) / log.span_s / rate_qps)
    queries = Queries(arrival_s, log.query_items, Luck(seed))
    record = simulate(queries, service, SplitAndOffload(batch_size=batch_size))
    late = is_late(record, latency_s)
    minute = (arrival_s // MINUTE_S).astype(np.int64)
    counts = np.bincount(minute)
    judged = counts >= A_MINUTE
    # The nearest-rank percentile is beyond the limit where more than n - ceil(p n) queries are.
    allowed = counts - np.ceil(percentile * counts - 1e-9).astype(np.int64)
    missed = judged & (np.bincount(minute, weights=late, minlength=len(counts)) > allowed)
    return Backtest(
        rate_qps, int(judged.sum()), int(missed.sum()), order_statistic(np.sort(record.latency_s), percentile)
    )


def mean_error(windows: Sequence[WindowErrors], at: int) -> float | None:
    """Mean of the absolute errors of one figure over the windows. [1]"""
    found = [abs(error) for window in windows if (error := window.errors[at]) is not None]
    return float(np.mean(found)) if found else None
