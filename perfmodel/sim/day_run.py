"""A node under a rate that follows a sine, or stages: whole periods, and single windows over and over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, isinf, sqrt

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import DiurnalArrivals
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.arrivals import Periodic, expected_queries, peak_factor, periodic_s
from perfmodel.sim.chunks import Chunk, ChunkServer, ChunkTraffic, serves_chunks
from perfmodel.sim.day_counts import LEAST_REPETITIONS, DayCounts
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.outside import draw_outside_s, outside_sampler
from perfmodel.sim.policies import Policy
from perfmodel.sim.records import rounding_at
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Estimate, Interval, batch_means, controlled_mean, percentile_interval
from perfmodel.sim.traffic import WINDOW_S, Queries, TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation, pool_time_by_size_s

MAX_WINDOWS = 2016
"""In a period: a week of five minutes. Those of a longer period are longer."""

STREAMED_QUERIES = 200_000_000
"""A longer period is simulated in some of its windows only."""
WHOLE_QUERIES = 4_000_000
"""The same where a run cannot be streamed; it takes about 60 bytes a query."""

REPLICATIONS = 8
MOST_REPLICATIONS = 64
LEAST_WINDOW_QUERIES = 400
"""Of all replications of the worst window together."""

LEAST_BEYOND = 50
"""Queries beyond the percentile of one repetition, that its percentile be worth an average."""
_STARTS = 65
"""Of a part of a window, from which the busiest is taken."""
REPEATED_QUERIES = 20_000_000
"""In all repetitions of the worst window, with the time before it: at least `LEAST_REPETITIONS`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowResult:
    """A stretch of the period, known from independent repetitions.

    Attributes
    ----------
    start_s, end_s : float
        Since the period began, at the mean rate and rising. [s]
    rate_qps : float
        Mean arrival rate in it. [queries/s]
    percentiles : mapping of float to Interval
        Of the latencies of the queries that arrive in it and are served. [s]
    late_share : Estimate or None
        Share of its queries that take longer than the SLA allows, or are shed, with its error; None where no
        limit was given. [1]
    num_queries : int
        In all repetitions of the window.
    of_asked : Interval or None
        The SLA's percentile of all queries, those turned away taking for ever; None where none was. [s]
    """

    start_s: float
    end_s: float
    rate_qps: float
    percentiles: dict[float, Interval]
    late_share: Estimate | None
    num_queries: int
    of_asked: Interval | None = None


class DayRun:
    """A node under a rate that follows a sine, or stages."""

    def __init__(
        self,
        traffic: TrafficSource,
        service: ServiceTimes,
        policy: Policy,
        seed: int,
        engine: EngineName,
    ) -> None:
        assert isinstance(traffic.arrivals, Periodic)
        assert traffic.sizes is not None, "recorded sizes come with recorded arrivals"
        self._arrivals, self._sizes = traffic.arrivals, traffic.sizes
        self._traffic, self._service, self._policy = traffic, service, policy
        self._seed, self._engine = seed, engine
        self._outside = traffic.outside
        self.period_s = traffic.arrivals.period_s
        self.num_windows = min(MAX_WINDOWS, max(1, int(self.period_s / WINDOW_S)))
        self.window_s = self.period_s / self.num_windows
        self._streams = engine != "simpy" and serves_chunks(service, policy)

    @property
    def _sheds(self) -> bool:
        return self._policy.shedding is not None

    @property
    def peak_window(self) -> int:
        """The window that begins with the peak, or holds it; of stages, the one in which most arrives."""
        if isinstance(self._arrivals, DiurnalArrivals):
            return int(0.25 * self.num_windows)
        windows = range(self.num_windows)
        return max(windows, key=lambda window: self._expected(self.start_s(window), self.start_s(window + 1)))

    @property
    def _peak_s(self) -> float:
        """The time around which most arrives. [s]"""
        if isinstance(self._arrivals, DiurnalArrivals):
            return 0.25 * self.period_s
        return self.start_s(self.peak_window) + 0.5 * self.window_s

    def start_s(self, window: int) -> float:
        """When a window begins. [s]"""
        return window * self.window_s

    def whole(
        self, min_queries: int, replication: int, latency_s: float | None
    ) -> tuple[DayCounts, PoolLoads, tuple[str, ...]]:
        """Serve whole periods, of which `min_queries` are part, or what can be served of one."""
        in_period = self._traffic.rate_qps * self.period_s
        periods = max(1, ceil(min_queries / in_period))
        histogram = DayCounts(self.num_windows, self.window_s, latency_s)
        if self._streams:
            return self._streamed(histogram, periods, in_period * periods, replication)
        notes: tuple[str, ...] = ()
        begin_s, end_s = 0.0, periods * self.period_s
        if in_period * periods > WHOLE_QUERIES:
            # The peak, and as much before it as after it: a backlog takes as long to drain as to grow.
            peak_qps = self._traffic.rate_qps * peak_factor(self._arrivals)
            half_s = 0.5 * max(3.0 * self.window_s, WHOLE_QUERIES / peak_qps)
            middle_s = self._peak_s
            begin_s, end_s = max(0.0, middle_s - half_s), middle_s + half_s
            notes = (
                f"approximate: of the period's {in_period:.3g} queries those of "
                f"{(end_s - begin_s) / 3600:.2g} h around the peak were simulated; "
                f"policy {self._policy.name} is not streamed",
            )
        arrival_s, served_s = self.span(begin_s, end_s, replication)
        histogram.add(arrival_s, served_s)
        loads = _mean_loads(self._traffic, self._service, self._policy)
        return histogram, loads, notes

    def can_repeat(self, begin_s: float, end_s: float) -> bool:
        """Say whether a stretch of time can be simulated several times over."""
        return self._expected(begin_s, end_s) * LEAST_REPETITIONS <= REPEATED_QUERIES

    def busiest_part_s(self, window: int) -> tuple[float, float]:
        """The part of a window in which most arrives, short enough to be repeated with as much before it."""
        start_s, end_s = self.start_s(window), self.start_s(window + 1)
        affordable = REPEATED_QUERIES / (2.0 * LEAST_REPETITIONS)
        length_s = (end_s - start_s) * min(1.0, 0.9 * affordable / self._expected(start_s, end_s))
        starts_s = np.linspace(start_s, end_s - length_s, _STARTS)
        starts_s = starts_s[np.argsort(np.abs(starts_s - starts_s.mean()), kind="stable")]  # the middle first
        first_s = max(starts_s.tolist(), key=lambda first_s: self._expected(first_s, first_s + length_s))
        return first_s, first_s + length_s

    def once(
        self, window: int, begin: int, histogram: DayCounts, percentile: float, wanted: Sequence[float]
    ) -> WindowResult:
        """Take a window as the whole period showed it, after a backlog that has lasted for hours.

        The executors have been busy all that time, so that the backlog is the work of all that came less a
        time that is certain: its variance is the mean number of queries times the mean square of their work.
        """
        start_s, end_s = self.start_s(window), self.start_s(window + 1)
        pool_times_s = pool_time_by_size_s(self._sizes, self._service, self._policy, contended=True)
        busiest_s = max(pool_times_s, key=lambda pool_s: float(self._sizes.probabilities @ pool_s))
        mean_square = float(self._sizes.probabilities @ busiest_s**2)
        error_s = 1.96 * sqrt(self._expected(self.start_s(begin), end_s) * mean_square)
        counts = histogram.of_window(window)

        def known_to_that(value_s: float) -> Interval:
            return Interval(value_s, max(0.0, value_s - error_s), value_s + error_s)

        return WindowResult(
            start_s=start_s,
            end_s=end_s,
            rate_qps=self._expected(start_s, end_s) / (end_s - start_s),
            percentiles={fraction: known_to_that(counts.quantile(fraction)) for fraction in wanted},
            late_share=counts.late_share,
            num_queries=counts.num_queries,
            of_asked=known_to_that(counts.of_asked(percentile)) if self._sheds else None,
        )

    def repeated(
        self,
        bounds_s: tuple[float, float],
        begin_s: float,
        settings: SimulationSettings,
        percentile: float,
        wanted: Sequence[float],
        latency_s: float | None,
        replication: int,
    ) -> WindowResult:
        """Repeat a stretch of time, with what is before it, until the percentile is precise enough."""
        start_s, end_s = bounds_s
        expected = self._expected(start_s, end_s)
        affordable = int(REPEATED_QUERIES / max(1.0, self._expected(begin_s, end_s)))
        wished = max(REPLICATIONS, ceil(LEAST_WINDOW_QUERIES / max(1.0, expected)))
        repetitions, most = min(affordable, wished), min(affordable, MOST_REPLICATIONS)
        found_s: list[FloatArray] = []
        while True:
            for repetition in range(len(found_s), repetitions):
                arrival_s, served_s = self.span(
                    begin_s, end_s, 1 + repetition + MOST_REPLICATIONS * replication
                )
                found_s.append(served_s[np.searchsorted(arrival_s, start_s) :])
            result = self._window_result(found_s, (start_s, end_s), percentile, wanted, latency_s)
            excess = result.percentiles[percentile].relative_half_width / settings.precision
            if excess <= 1.0 or repetitions >= most:
                return result
            growth = 4.0 if isinf(excess) else min(4.0, 1.1 * excess**2)
            repetitions = min(most, ceil(repetitions * growth))

    def span(
        self, begin_s: float, end_s: float, repetition: int, *, from_s: float | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Serve what arrives in a stretch of time, the node idle at first.

        Returns
        -------
        (n,) float, (n,) float
            Arrivals and latencies, inf where shed, of what arrives from `from_s` on. [s]
        """
        first_s = begin_s if from_s is None else from_s
        chunks = self._chunks(begin_s, end_s, repetition)
        if self._streams:
            server = ChunkServer(self._service, self._policy, Luck(self._seed, repetition))
            found = []
            for arrival_s, num_items in chunks:
                latency_s = np.empty(len(arrival_s))
                server.serve(arrival_s - begin_s, num_items, latency_s)
                start = int(np.searchsorted(arrival_s, first_s))
                found.append((arrival_s[start:], latency_s[start:]))
        else:
            drawn = list(chunks)
            arrival_s = np.concatenate([arrivals for arrivals, _ in drawn])
            # From 0 on: rounding is that of the stretch, not that of a time of day.
            luck = Luck(self._seed, repetition)
            queries = Queries(arrival_s - begin_s, np.concatenate([sizes for _, sizes in drawn]), luck)
            latency_s = simulate(queries, self._service, self._policy, engine=self._engine).latency_s
            start = int(np.searchsorted(arrival_s, first_s))
            found = [(arrival_s[start:], latency_s[start:])]
        all_s = np.concatenate([latencies for _, latencies in found])
        outside_s = draw_outside_s(self._outside, len(all_s), seed=self._seed, replication=repetition)
        if outside_s is not None:
            all_s += outside_s
        return np.concatenate([arrivals for arrivals, _ in found]), all_s

    def _window_result(
        self,
        found_s: Sequence[FloatArray],
        bounds_s: tuple[float, float],
        percentile: float,
        wanted: Sequence[float],
        latency_s: float | None,
    ) -> WindowResult:
        shortest = min(map(len, found_s))
        if shortest == 0 or shortest * len(found_s) < LEAST_WINDOW_QUERIES // 2:
            raise ValueErrorAt(
                f"{sum(map(len, found_s))} queries in {len(found_s)} repetitions of the "
                f"peak's {self.window_s:g} s are too few for a percentile; expected a higher rate",
                ("traffic", "arrivals"),
            )
        all_s = np.concatenate([latencies_s[:shortest] for latencies_s in found_s])
        served = np.isfinite(all_s)
        late = None
        if latency_s is not None:
            late_ones = all_s > latency_s + rounding_at(bounds_s[1])
            late = controlled_mean(batch_means(late_ones, len(found_s)))
        served_s = all_s if served.all() else all_s[served]
        return WindowResult(
            start_s=bounds_s[0],
            end_s=bounds_s[1],
            rate_qps=self._expected(*bounds_s) / (bounds_s[1] - bounds_s[0]),
            percentiles={fraction: _across(found_s, served_s, fraction) for fraction in wanted},
            late_share=late,
            num_queries=len(all_s),
            of_asked=percentile_interval(all_s, percentile, num_batches=len(found_s))
            if self._sheds
            else None,
        )

    def _streamed(
        self, histogram: DayCounts, periods: int, expected: float, replication: int
    ) -> tuple[DayCounts, PoolLoads, tuple[str, ...]]:
        """Serve whole periods chunk by chunk; of very long ones every n-th window, the backlog carried on."""
        server = ChunkServer(self._service, self._policy, Luck(self._seed, replication))
        outside = None
        if self._outside is not None:
            outside = outside_sampler(self._outside, seed=self._seed, replication=replication)

        def add(arrival_s: FloatArray, num_items: IntArray) -> None:
            latency_s = np.empty(len(arrival_s))
            server.serve(arrival_s, num_items, latency_s)
            histogram.add(arrival_s, latency_s if outside is None else latency_s + outside(len(latency_s)))

        every = ceil(expected / STREAMED_QUERIES)
        if every == 1:
            for arrival_s, num_items in self._chunks(0.0, periods * self.period_s, replication):
                add(arrival_s, num_items)
            return histogram, server.utilisation(periods * self.period_s), ()
        pool_times_s = pool_time_by_size_s(self._sizes, self._service, self._policy, contended=True)
        means_s = [float(self._sizes.probabilities @ pool_s) for pool_s in pool_times_s]
        for window in range(self.peak_window % every, self.num_windows, every):
            start_s, end_s = self.start_s(window), self.start_s(window + 1)
            for arrival_s, num_items in self._chunks(start_s, end_s, replication * MAX_WINDOWS + window):
                add(arrival_s, num_items)
            skipped_s = self.start_s(every - 1)
            load_qps = self._expected(end_s, end_s + skipped_s) / skipped_s
            server.skip(skipped_s, [load_qps * mean_s for mean_s in means_s])
        note = (
            f"approximate: of the period's {expected:.3g} queries those of one window in {every}, of "
            f"{self.window_s:g} s were simulated; the backlog was carried on at the mean rate in between"
        )
        return histogram, server.utilisation(histogram.num_windows_seen * self.window_s), (note,)

    def _chunks(self, begin_s: float, end_s: float, repetition: int) -> Iterator[Chunk]:
        """Draw what arrives in a stretch of time; from 0 on what `TrafficSource.draw` draws. [s], [items]"""
        traffic = ChunkTraffic(
            partial(periodic_s, self._arrivals),
            self._sizes,
            seed=self._seed,
            replication=repetition,
            first_point=self._expected(0.0, begin_s),
            first_s=begin_s,
        )
        while True:
            arrival_s, num_items = traffic.draw()
            inside = int(np.searchsorted(arrival_s, end_s))
            yield arrival_s[:inside], num_items[:inside]
            if inside < len(arrival_s):
                return

    def _expected(self, begin_s: float, end_s: float) -> float:
        """Expected arrivals between two times."""
        return expected_queries(self._arrivals, begin_s, end_s)


def _across(found_s: Sequence[FloatArray], served_s: FloatArray, fraction: float) -> Interval:
    """Percentile of independent repetitions, with the interval of their own percentiles.

    Where they are too short for percentiles of their own, that of all together, as of batches.
    """
    each_s = [latencies_s[np.isfinite(latencies_s)] for latencies_s in found_s]
    if min(map(len, each_s)) * (1.0 - fraction) < LEAST_BEYOND:
        return percentile_interval(served_s, fraction, num_batches=len(found_s))
    estimate = controlled_mean(np.array([np.quantile(one_s, fraction, method="higher") for one_s in each_s]))
    low_s = max(0.0, estimate.mean - estimate.half_width)
    return Interval(estimate.mean, low_s, estimate.mean + estimate.half_width)


def _mean_loads(traffic: TrafficSource, service: ServiceTimes, policy: Policy) -> PoolLoads:
    loads = offered_utilisation(traffic, service, policy, contended=True)
    return PoolLoads(min(1.0, loads.cpu), min(1.0, loads.accelerator))
