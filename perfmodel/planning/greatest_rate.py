"""The greatest rate that meets the SLA, with its interval: a short search, then long runs around it.

At every rate the share of late queries is known up to an error, which batch means tell as they do for a
percentile (`perfmodel.sim.statistics`). The rate lies where the share crosses what the SLA allows; its
interval ends where the share plus, and minus, its error does. All runs share their random numbers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil, inf, log, sqrt
from statistics import fmean, stdev

import numpy as np

from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import (
    BurstyArrivals,
    ConstantArrivals,
    IntegerMillisecondArrivals,
    PoissonArrivals,
)
from perfmodel.planning.throughput import (
    IDLE_FRACTION,
    DrawnTraffic,
    RateSearch,
    queries_in_a_probe,
    runs_side_by_side,
)
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.statistics import NUM_BATCHES, batch_means, error_of_mean, warm_up_queries

PILOT_QUERIES = 50_000
PILOT_TOLERANCE = 0.01

RATES = 8
SPREAD = 0.025
"""Rates tried around the pilot's answer, and how far they reach to either side of it. [1], relative"""

GROWTH = (2.0, 6.0)
STUDENT_T = {2: 12.706205, 3: 4.302653, 4: 3.182446}
"""Student's t of a 95 % interval from so many independent repetitions."""


@dataclass(frozen=True, slots=True)
class GreatestRate:
    """A latency-bounded throughput.

    Attributes
    ----------
    rate_qps : float
        The rate. [queries/s]
    ci95_qps : (float, float) or None
        Its 95 % confidence interval; None where nothing is drawn, or one search alone ran. [queries/s]
    num_queries : int
        Queries of each run behind it.
    """

    rate_qps: float
    ci95_qps: tuple[float, float] | None
    num_queries: int

    @property
    def relative_half_width(self) -> float:
        """Half the width of the interval over the rate; 0 without one. [1]"""
        if self.ci95_qps is None:
            return 0.0
        return 0.5 * (self.ci95_qps[1] - self.ci95_qps[0]) / self.rate_qps


def greatest_rate(
    search: RateSearch,
    *,
    num_queries: int,
    precision: float = inf,
    most_queries: int = 0,
    repetitions: int = 1,
    near_qps: float | None = None,
) -> GreatestRate | None:
    """Find the greatest rate that meets the SLA and its interval; None where no rate does.

    Parameters
    ----------
    search : RateSearch
        What is searched over. Its `probe_queries` and `tolerance` play no part where batch means apply.
    num_queries : int
        Queries in a run to begin with at p95 and below; up to 2.5 times as many beyond.
    precision : float, default inf
        Runs grow until half the interval's width over the rate is within it. [1]
    most_queries : int, default 0
        Runs do not grow beyond it.
    repetitions : int, default 1
        Independent searches where batch means do not apply: of a trace, of a rate that follows the time of
        day, and of policies that no engine compiles. One gives no interval.
    near_qps : float, optional
        Where to look first, in place of a short search. [queries/s]
    """
    if not batch_means_apply(search):
        return _repeated(search, repetitions)
    if near_qps is None:
        near_qps = replace(search, probe_queries=PILOT_QUERIES, tolerance=PILOT_TOLERANCE).greatest_rate_qps()
        if near_qps is None:
            return None
    elif not search.idle_node_meets():
        return None
    wanted = queries_at(search.sla, num_queries)
    while True:
        curve = _LateCurve(search, wanted)
        curve.try_around(near_qps)
        found = curve.answer()
        excess = found.relative_half_width / precision
        if excess <= 1.0 or wanted >= most_queries:
            return found
        near_qps = found.rate_qps
        wanted = min(most_queries, ceil(wanted * max(GROWTH[0], min(GROWTH[1], 1.1 * excess**2))))


def queries_at(sla: SlaTarget, num_queries: int) -> int:
    """Queries for a percentile: as many as asked for up to p95, up to 2.5 times as many beyond."""
    return ceil(num_queries * min(2.5, max(1.0, 0.05 / (1.0 - sla.percentile))))


def batch_means_apply(search: RateSearch) -> bool:
    """Say whether one long run can tell its own error: stationary traffic, and a policy that compiles."""
    stationary = PoissonArrivals | ConstantArrivals | BurstyArrivals | IntegerMillisecondArrivals
    return search.policy.why_not_compiled is None and isinstance(search.traffic.arrivals, stationary)


def _repeated(search: RateSearch, repetitions: int) -> GreatestRate | None:
    """Mean of independent searches with Student's interval; equal rates were not drawn at random."""
    first = search.greatest_rate_qps()
    if first is None:
        return None
    others = [replace(search, seed=search.seed + more).greatest_rate_qps() for more in range(1, repetitions)]
    rates = [first, *(rate for rate in others if rate is not None)]
    mean, spread = fmean(rates), stdev(rates) if len(rates) > 1 else 0.0
    recorded = search.traffic.num_recorded
    num_queries = queries_in_a_probe(search) if recorded is None else recorded
    if spread == 0.0:
        return GreatestRate(mean, None, num_queries)
    half = STUDENT_T[len(rates)] * spread / sqrt(len(rates))
    return GreatestRate(mean, (mean - half, mean + half), num_queries)


class _LateCurve:
    """Share of late queries against the arrival rate, with its error, from one run at each rate tried."""

    def __init__(self, search: RateSearch, num_queries: int) -> None:
        self._search = search
        self._drawn = DrawnTraffic(search.traffic, num_queries, seed=search.seed)
        counted = num_queries - warm_up_queries(num_queries)
        self._warm_up = num_queries - counted // NUM_BATCHES * NUM_BATCHES
        self._allowed = 1.0 - search.sla.percentile + 1e-12
        self._limit_qps = search.saturation_qps()
        self._rates = np.empty(0)
        self._shares = np.empty(0)
        self._errors = np.empty(0)

    def try_around(self, rate_qps: float) -> None:
        """Try rates around one, and further ones until the interval's ends lie among them."""
        highest = min(self._limit_qps, rate_qps * (1.0 + SPREAD))
        lowest = highest - 2.0 * SPREAD * rate_qps
        self._try(np.linspace(lowest, highest, RATES))
        step = 2.0 * SPREAD * rate_qps
        floor = self._limit_qps * IDLE_FRACTION
        while self._first_late(+1.0) == 0 and self._rates[0] > floor:
            self._try(np.linspace(max(floor, self._rates[0] - step), self._rates[0], RATES // 2 + 1)[:-1])
            step *= 2.0
        while self._first_late(-1.0) == len(self._rates) and self._rates[-1] < self._limit_qps:
            upper = min(self._limit_qps, self._rates[-1] + step)
            self._try(np.linspace(self._rates[-1], upper, RATES // 2 + 1)[1:])
            step *= 2.0

    def answer(self) -> GreatestRate:
        """Where the share of late queries crosses what the SLA allows, and where its error lets it."""
        rate, low, high = (self._crossing_qps(errors) for errors in (0.0, +1.0, -1.0))
        return GreatestRate(rate, (low, high) if low < high else None, self._drawn.num_queries)

    def _first_late(self, errors: float) -> int:
        """Index of the first rate with too many late queries; the number of rates where none has."""
        late = self._shares + errors * self._errors > self._allowed
        return int(np.argmax(late)) if late.any() else len(late)

    def _crossing_qps(self, errors: float) -> float:
        """Rate at which the share plus so many errors crosses what is allowed. [queries/s]

        Between two rates the share grows about exponentially; where it is not positive, a straight line.
        """
        index = self._first_late(errors)
        if index in (0, len(self._rates)):
            return float(self._rates[min(index, len(self._rates) - 1)])
        below, above = (float(self._shares[i] + errors * self._errors[i]) for i in (index - 1, index))
        part = (self._allowed - below) / (above - below)
        if below > 0.0:
            part = log(self._allowed / below) / log(above / below)
        start, end = float(self._rates[index - 1]), float(self._rates[index])
        return start + part * (end - start)

    def _try(self, rates_qps: FloatArray) -> None:
        """Run at further rates; keep all in ascending order."""
        means = self._late_shares(rates_qps.tolist())
        rates = np.concatenate([self._rates, rates_qps])
        shares = np.concatenate([self._shares, [mean.mean() for mean in means]])
        errors = np.concatenate([self._errors, [error_of_mean(mean) for mean in means]])
        order = np.argsort(rates)
        self._rates, self._shares, self._errors = rates[order], shares[order], errors[order]

    def _late_shares(self, rates_qps: list[float]) -> list[FloatArray]:
        """Share of late queries in each batch of a run at each rate."""
        search = self._search
        if not runs_side_by_side(search):
            with ThreadPoolExecutor(max_workers=2) as threads:
                return list(threads.map(self._late_shares_alone, rates_qps))
        from perfmodel.sim.probes import LateLimit, count_late_by_batch

        assert isinstance(search.policy, SplitAndOffload)
        num_queries = self._drawn.num_queries
        probes, num_items = self._drawn.probes(rates_qps)
        # Stamps are rounded, and with them the latencies of queries that take exactly what is allowed.
        rounding_s = 4.0 * float(np.spacing(probes[0].points[-1] / probes[0].rate_qps))
        limit = LateLimit(search.sla.latency_s + rounding_s, self._warm_up, num_queries)
        counts = count_late_by_batch(probes, num_items, search.service, search.policy, limit, NUM_BATCHES)
        batch_queries = (num_queries - self._warm_up) // NUM_BATCHES
        return [np.asarray(late / batch_queries, dtype=np.float64) for late in counts]

    def _late_shares_alone(self, rate_qps: float) -> FloatArray:
        search = self._search
        record = simulate(self._drawn.at(rate_qps), search.service, search.policy, engine=search.engine)
        late = record.latency_s[self._warm_up :] > search.sla.latency_s + record.rounding_s
        return batch_means(late)
