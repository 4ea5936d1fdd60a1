"""The greatest rate that meets the SLA, with its interval: a short search, then long runs around it.

At every rate the share of late queries is known up to an error, which batch means tell as they do for a
percentile (`perfmodel.sim.statistics`). The rate lies where the share crosses what the SLA allows; its
interval ends where the share plus, and minus, its error does. All runs share their random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, floor, inf, log, sqrt
from statistics import fmean, stdev

import numpy as np

from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import (
    BurstyArrivals,
    ConstantArrivals,
    IntegerMillisecondArrivals,
    PoissonArrivals,
)
from perfmodel.errors import UndecidedError
from perfmodel.loading.words import duration
from perfmodel.planning.rate.late import DrawnTraffic, LateInWorstWindow, LateQueries, at_peak
from perfmodel.planning.rate.search import IDLE_FRACTION, RateSearch
from perfmodel.queueing.heavy_traffic import late_share_deviation
from perfmodel.sim.arrivals import Periodic, cycle_queries
from perfmodel.sim.run_length import MIN_CYCLES
from perfmodel.sim.statistics import NORMAL_QUANTILE
from perfmodel.sim.traffic import WINDOW_S, has_days
from perfmodel.units import plain

PILOT_QUERIES = 50_000
PILOT_TOLERANCE = 0.01

NEARLY_FULL = 0.99
"""Of the rate that fills the executors, from which on the grid of rates is finer. [1]"""

FINEST = 0.125
"""Of a step, to which it is halved there: a twentieth of a per cent of the rate. [1]"""

STEP = log(1.004)
"""Rates lie on one grid for all searches, this far apart: so a looser SLA never gets a smaller rate. [ln]"""

RATES = 8
FURTHER_RATES = 4
"""Rates tried around the pilot's answer, and beyond them where the interval does not end within."""

DAYS = 8
"""Independent repetitions of the time around a day's peak."""

AROUND_WORST = 4
"""Windows that are simulated around the worst one, it among them."""

MOST_AROUND_WORST = 20_000_000
"""Queries in these, at most, where the windows of a long period are longer than five minutes."""

GROWTH = 10.0**0.5
"""Of a run that is not enough: few lengths, since between two of them the random numbers are others. [1]"""

LEAST_GROWTH = 1.5
"""Beyond the next length: where the longest is not so much longer, it is the next. [1]"""

MOST_SHARE_ERROR = 0.5
"""Error of the share of late queries over what the SLA allows, beyond which runs go on: few long episodes
decide then, and a run that has seen fewer than usual also takes their number to be better known. [1]"""

MOST_EXPECTED_ERROR = 1.8
"""Of the share of late queries over what the SLA allows: beyond, a run is too short to say anything. [1]"""

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
        Its 95 % confidence interval, which holds it; None where nothing is drawn, or one search alone ran.
        [queries/s]
    num_queries : int
        Queries of each run behind it.
    share_error : float
        Half-width of the interval of the share of late queries there, over the share that the SLA allows. [1]
    """

    rate_qps: float
    ci95_qps: tuple[float, float] | None
    num_queries: int
    share_error: float = 0.0

    @property
    def relative_half_width(self) -> float:
        """Half the width of the interval over the rate; 0 without one. [1]"""
        if self.ci95_qps is None:
            return 0.0
        return 0.5 * (self.ci95_qps[1] - self.ci95_qps[0]) / self.rate_qps

    def is_known_to(self, precision: float, *, rate_alone: bool = False) -> bool:
        """Whether the interval is narrow enough, and the share of late queries known well enough to say so.

        What few episodes decide has an error that is itself known to a factor only: about as many times
        larger as the share of late queries is known less well than it should be. Where the rate alone is
        asked for, an interval that stays narrow enough with that factor will do.

        Examples
        --------
        >>> near_the_cliff = GreatestRate(1000.0, (998.0, 1002.0), 900_000, share_error=1.0)
        >>> near_the_cliff.is_known_to(0.005), near_the_cliff.is_known_to(0.005, rate_alone=True)
        (False, True)
        >>> near_the_cliff.is_known_to(0.003, rate_alone=True)
        False
        """
        unsure = self.share_error / MOST_SHARE_ERROR
        if rate_alone:
            return self.relative_half_width * max(1.0, unsure) <= precision
        return self.relative_half_width <= precision and unsure <= 1.0


def greatest_rate(
    search: RateSearch,
    *,
    num_queries: int,
    precision: float = inf,
    most_queries: int = 0,
    repetitions: int = 1,
    near_qps: float | None = None,
    rate_alone: bool = False,
) -> GreatestRate | None:
    """Find the greatest rate that meets the SLA and its interval; None where no rate does.

    Parameters
    ----------
    search : RateSearch
        What is searched over. Its `probe_queries` and `tolerance` play no part where batch means apply.
    num_queries : int
        Queries in a run to begin with at p95 and below; up to 2.5 times as many beyond.
    precision : float, default inf
        Half the interval's width over the rate that is enough. [1]
    most_queries : int, default 0
        Runs grow up to it where that is not reached, or the share of late queries is hardly known.
    repetitions : int, default 1
        Independent searches where batch means do not apply: of a trace, of a rate that follows the time of
        day, and of policies that no engine compiles. One gives no interval.
    near_qps : float, optional
        Where to look first, in place of a short search. [queries/s]
    rate_alone : bool
        Whether the rate has to be known and nothing else of that load. Where the share of late queries is
        known less well than it should be, an interval is then enough if it is narrower by as much.
    """
    if not batch_means_apply(search):
        return _repeated(search, repetitions)
    pilot = near_qps is None
    if near_qps is None:
        near_qps = replace(search, probe_queries=PILOT_QUERIES, tolerance=PILOT_TOLERANCE).greatest_rate_qps()
        if near_qps is None:
            return None
    elif not search.load_may_shorten_latencies and not search.idle_node_meets():
        return None
    if has_days(search.traffic):
        return _in_worst_window(search, near_qps)
    wanted = search.affordable(queries_at(search.sla, num_queries))
    wanted = max(wanted, queries_for_bursts(search, near_qps))
    most_queries = search.affordable(most_queries) if most_queries else 0
    rates = RATES if pilot else FURTHER_RATES
    while True:
        found = _curve(search, wanted, rates).around(near_qps)
        if found.is_known_to(precision, rate_alone=rate_alone) or wanted >= most_queries:
            return found
        near_qps, wanted = found.rate_qps, _next_queries(wanted, most_queries)


def _next_queries(wanted: int, most_queries: int) -> int:
    longer = ceil(GROWTH * wanted)
    return most_queries if LEAST_GROWTH * longer > most_queries else longer


def _curve(search: RateSearch, num_queries: int, rates: int) -> LateCurve:
    drawn = DrawnTraffic(search.traffic, num_queries, seed=search.seed)
    return LateCurve(search, search.late(drawn), num_queries, rates=rates)


def _in_worst_window(search: RateSearch, near_qps: float) -> GreatestRate:
    """The rate of a day whose worst five minutes meet the SLA, near that of its peak if that lasted.

    Raises
    ------
    UndecidedError
        Where a long period has such long windows that those around the worst one are too many queries.
    """
    from perfmodel.sim.day_run import MAX_WINDOWS  # few loads follow the time of day

    _, peak = at_peak(search.traffic)
    arrivals = search.traffic.arrivals
    assert isinstance(arrivals, Periodic)
    longest_s = MAX_WINDOWS * max(WINDOW_S, MOST_AROUND_WORST / (AROUND_WORST * peak * near_qps))
    if arrivals.period_s > longest_s * (1 + 1e-9):
        raise UndecidedError(
            f"cannot tell the largest load: near {plain(near_qps)} queries/s, the windows around the worst "
            f"one of a period of {duration(arrivals.period_s)} hold too many queries; expected at most "
            f"{duration(longest_s)}"
        )
    late = LateInWorstWindow(
        search.traffic,
        search.service,
        search.policy,
        search.sla,
        seed=search.seed,
        replications=DAYS,
        engine=search.engine,
    )
    num_queries = ceil(DAYS * peak * near_qps * WINDOW_S)
    return LateCurve(search, late, num_queries, rates=FURTHER_RATES).around(near_qps)


def queries_for_bursts(search: RateSearch, rate_qps: float) -> int:
    """Queries in which traffic that comes in bursts has enough of them; 0 for other traffic.

    Raises
    ------
    UndecidedError
        Where they would be too many.
    """
    cycle = cycle_queries(search.traffic.at_rate(rate_qps).arrivals)
    needed = 0 if cycle is None else ceil(MIN_CYCLES * cycle)
    if needed > search.most_queries:
        raise UndecidedError(
            f"cannot tell the largest load: near {plain(rate_qps)} queries/s, {MIN_CYCLES} bursts take "
            f"{needed:,} queries a run; --set simulation.max_queries={needed} allows it"
        )
    return needed


def queries_at(sla: SlaTarget, num_queries: int) -> int:
    """Queries for a percentile: as many as asked for up to p95, up to 2.5 times as many beyond."""
    return ceil(num_queries * min(2.5, max(1.0, 0.05 / (1.0 - sla.percentile))))


def batch_means_apply(search: RateSearch) -> bool:
    """Say whether runs can tell their own error: traffic that is drawn, and a policy that compiles."""
    stationary = PoissonArrivals | ConstantArrivals | BurstyArrivals | IntegerMillisecondArrivals
    known = isinstance(search.traffic.arrivals, stationary) or has_days(search.traffic)
    return search.policy.why_not_compiled is None and known


def _repeated(search: RateSearch, repetitions: int) -> GreatestRate | None:
    """Mean of independent searches with Student's interval; equal rates were not drawn at random."""
    first = search.greatest_rate_qps()
    if first is None:
        return None
    others = [replace(search, seed=search.seed + more).greatest_rate_qps() for more in range(1, repetitions)]
    rates = [first, *(rate for rate in others if rate is not None)]
    mean, spread = fmean(rates), stdev(rates) if len(rates) > 1 else 0.0
    recorded = search.traffic.num_recorded
    num_queries = search.queries_in_a_probe if recorded is None else recorded
    if spread == 0.0:
        return GreatestRate(mean, None, num_queries)
    half = STUDENT_T[len(rates)] * spread / sqrt(len(rates))
    return GreatestRate(mean, (max(0.0, mean - half), mean + half), num_queries)


class LateCurve:
    """Share of late queries against the arrival rate, with its error, from one run at each rate tried.

    Rates are `exp(STEP * k)`, k whole, up to the one that fills the node. Where the node is nearly full the
    share may go from nothing to all within a step: the steps that matter are halved there, whatever the SLA.
    No answer is more than what fills the loaded node, though runs may end before a small overload shows.
    """

    def __init__(
        self,
        search: RateSearch,
        late: LateQueries | LateInWorstWindow,
        num_queries: int,
        *,
        rates: int = RATES,
    ) -> None:
        self._search, self._late, self._num_queries, self._width = search, late, num_queries, rates
        self._allowed = 1.0 - search.sla.percentile + 1e-12
        limit_qps = search.limit_qps(num_queries)
        self._limit_qps, self._last = limit_qps, floor(log(limit_qps) / STEP) + 1
        self._first = ceil(log(limit_qps * IDLE_FRACTION) / STEP)
        self._shares: dict[float, tuple[float, float]] = {}
        has_end = not has_days(search.traffic) and search.policy.shedding is None
        self._full_qps = search.full_qps() if has_end else inf
        self._has_known_load = has_end and isinstance(
            search.traffic.arrivals, PoissonArrivals | ConstantArrivals
        )
        self._finer_from_qps = NEARLY_FULL * (inf if has_days(search.traffic) else search.full_qps())

    def around(self, rate_qps: float) -> GreatestRate:
        """Find where the share crosses what is allowed, and where its error lets it, near a rate."""
        self._reach(rate_qps, self._ends)
        self._refine(self._allowed)
        rate = self._rate_at(self._allowed)
        for end in self._ends():
            self._refine(end)
        low, high = map(self._rate_at, self._ends())
        rate, low, high = (min(each, self._full_qps) for each in (rate, low, high))
        ci95_qps = (min(low, rate), max(high, rate)) if low < high else None
        return GreatestRate(rate, ci95_qps, self._num_queries, self._error() / self._allowed)

    def crossing_qps(self, rate_qps: float) -> float:
        """Find where the share crosses what is allowed, near a rate, and no interval. [queries/s]"""
        self._reach(rate_qps, lambda: (self._allowed, self._allowed), errors=False)
        self._refine(self._allowed, errors=False)
        return self._rate_at(self._allowed)

    def _reach(
        self, rate_qps: float, shares: Callable[[], tuple[float, float]], *, errors: bool = True
    ) -> None:
        """Try rates around one, and further ones until both shares lie between those that they have."""
        half = self._width // 2
        middle = min(round(log(rate_qps) / STEP), self._last - half + 1)
        self._try(range(middle - half, middle + half), errors)
        stride = 1
        while self._crossing(shares()[0]) == 0 and self._lowest > self._first:
            self._try(range(self._lowest - FURTHER_RATES * stride, self._lowest, stride), errors)
            stride *= 2
        stride = 1
        while self._crossing(shares()[1]) == len(self._shares) and self._highest < self._last:
            self._try(
                range(self._highest + stride, self._highest + FURTHER_RATES * stride + 1, stride), errors
            )
            stride *= 2

    def _refine(self, share: float, *, errors: bool = True) -> None:
        """Halve the step within which a share is crossed, to the finest, where the node is nearly full."""
        while True:
            tried, index = sorted(self._shares), self._crossing(share)
            if index in (0, len(tried)) or self._rate(tried[index]) < self._finer_from_qps:
                return
            below, above = tried[index - 1], tried[index]
            if above - below <= FINEST or self._rate(below) == self._rate(above):
                return
            self._try(self._between(below, above), errors)

    def _between(self, below: float, above: float) -> list[float]:
        """What to try next between two rates: the middle, or more where one leaves lanes idle."""
        if not self._late.runs_side_by_side:
            return [0.5 * (below + above)]
        step = max(FINEST, (above - below) / RATES)
        return [float(index) for index in np.arange(below + step, above, step)]

    @property
    def _lowest(self) -> int:
        return round(min(self._shares))

    @property
    def _highest(self) -> int:
        return round(max(self._shares))

    def _points(self) -> list[tuple[float, float, float]]:
        """Rate, share and its error of what was tried, by ascending rates. [queries/s], [1], [1]"""
        return [(self._rate(index), *self._shares[index]) for index in sorted(self._shares)]

    def _rate(self, index: float) -> float:
        return min(exp(STEP * index), self._limit_qps)

    def _crossing(self, share: float) -> int:
        """Index of the first rate with a larger share of late queries; the number of rates where none has.

        Where load shortens latencies, the first beyond one with few enough; a share other than what is
        allowed is crossed near there, or at the load with the fewest late, and not where loads are too light.
        """
        found = [found for _, found, _ in self._points()]
        if not self._search.load_may_shorten_latencies:
            return _first_over(found, share)
        index = _first_over(found, self._allowed, _first_within(found, self._allowed))
        if share > self._allowed:
            return _first_over(found, share, index)
        fewest = max(share, min(found))
        while index > 0 and found[index - 1] > fewest:
            index -= 1
        return index

    def _rate_at(self, share: float) -> float:
        """Rate at which so large a share is late. [queries/s]

        Between two rates the share grows about exponentially; where it is not positive, a straight line.
        """
        points = self._points()
        index = self._crossing(share)
        if index in (0, len(points)):
            return points[min(index, len(points) - 1)][0]
        (start, below, _), (end, above, _) = points[index - 1], points[index]
        part = (share - below) / (above - below)
        if below > 0.0 and share > 0.0:
            part = log(share / below) / log(above / below)
        return start + part * (end - start)

    def _ends(self) -> tuple[float, float]:
        """Shares at which the interval ends: the square root of what is allowed, less and plus its error. [1]

        Late queries come in episodes, whose number scatters like its square root where they are few: the
        square root of the share is what is known to the same error whatever the share.
        """
        error = 0.5 * self._error() / self._allowed
        return self._allowed * max(0.0, 1.0 - error) ** 2, self._allowed * (1.0 + error) ** 2

    def _error(self) -> float:
        """The error of the share where it is what is allowed, between those of its neighbours. [1]

        Where the node is nearly full, a run that has seen few episodes takes their number to be better known
        than it is. How well it can be known is known there, and no run knows it better.
        """
        rates, _, errors = zip(*self._points(), strict=True)
        rate_qps = self._rate_at(self._allowed)
        found = float(np.interp(rate_qps, rates, errors))
        return max(found, self._expected_error(rate_qps))

    def _expected_error(self, rate_qps: float) -> float:
        """The error of the share that a run of a nearly full node has by theory; 0 elsewhere. [1]

        None of a rate that fills the node: a run that lets it pass is too short to see an overload. Nearly
        all that a late query waits for is backlog: its bound is taken to be the SLA's latency.
        """
        if not (self._has_known_load and self._finer_from_qps <= rate_qps < self._full_qps):
            return 0.0
        sla = self._search.sla
        deviation = late_share_deviation(
            self._allowed,
            wait_s=sla.latency_s,
            arrival_rate_qps=rate_qps,
            utilisation=rate_qps / self._full_qps,
            num_queries=self._num_queries,
        )
        return self._allowed * min(MOST_EXPECTED_ERROR, NORMAL_QUANTILE * deviation)

    def _try(self, indices: Iterable[float], errors: bool) -> None:
        """Run at further rates; without errors, where nobody asks for them."""
        inside = [max(self._first, min(index, self._last)) for index in indices]
        new = [index for index in dict.fromkeys(inside) if index not in self._shares]
        found = self._late.shares([self._rate(index) for index in new], errors=errors)
        self._shares.update(
            (index, (share.mean, share.half_width)) for index, share in zip(new, found, strict=True)
        )


def _first_over(found: Sequence[float], share: float, start: int = 0) -> int:
    """Index of the first from a start on that is more than a share; their number where none is."""
    return next((index for index in range(start, len(found)) if found[index] > share), len(found))


def _first_within(found: Sequence[float], share: float) -> int:
    """Index of the first that is not; 0 where all are more."""
    return next((index for index, each in enumerate(found) if each <= share), 0)
