"""A rate that follows the time of day: whole periods, streamed, and the five minutes in which it is worst.

A day is not stationary: its percentile hides the peak, and ten minutes of it say nothing of the rest. So a
whole period is served, chunk by chunk, and of the latencies a histogram by window is kept. The worst window
is then simulated anew, several times and independently: a Poisson process has no memory, so a run may begin
at any time of the day, early enough for the backlog of the hours before to be part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isinf, sqrt
from typing import NamedTuple

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import DiurnalArrivals
from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.arrivals import Periodic, expected_queries, peak_factor, periodic_s
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.outside import draw_outside_s, outside_sampler
from perfmodel.sim.policies import Policy, SplitAndOffload, is_fifo
from perfmodel.sim.query_sizes import CHUNK, size_sampler
from perfmodel.sim.running_clock import RunningClock
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Estimate, Interval, batch_means, controlled_mean, percentile_interval
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import WINDOW_S, Queries, TrafficSource
from perfmodel.sim.utilisation import PoolLoads, pool_time_by_size_s

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
REPEATED_QUERIES = 20_000_000
"""In all repetitions of the worst window, with the time before it: at least `LEAST_REPETITIONS`."""
LEAST_REPETITIONS = 4

CELL_BITS = 43
"""Bits of a latency that a cell of the histogram leaves open: 0.2 % wide at most."""
SHORTEST_S, LONGEST_S = 1e-7, 1e8
"""What the histogram tells apart. [s]"""
CLEARLY_WORSE = 0.8
"""Of the greatest percentile of any window: a peak that has as much is the worst window."""
LASTING = 2.0
"""A backlog lasts through a window where even the fastest twentieth takes so many times the least."""


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
    """

    start_s: float
    end_s: float
    rate_qps: float
    percentiles: dict[float, Interval]
    late_share: Estimate | None
    num_queries: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayResult:
    """Whole periods.

    Attributes
    ----------
    worst : WindowResult
        Where the SLA's percentile is greatest.
    percentiles : mapping of float to Interval
        Over all queries of the period that are served. [s]
    mean_latency : Interval
        Likewise. [s]
    within_share : float or None
        Share of all queries that are served within the SLA's latency; None where no limit was given. [1]
    utilisation : PoolLoads
        Over the period. [1]
    shed_rate : float
        Share of the queries that were shed. [1]
    num_queries : int
        Simulated, without the repetitions of the worst window.
    ends_in_backlog : bool
        Whether the backlog of the day has not drained when the next one begins.
    notes : tuple of str
        What was left out.
    """

    worst: WindowResult
    percentiles: dict[float, Interval]
    mean_latency: Interval
    within_share: float | None
    utilisation: PoolLoads
    shed_rate: float
    num_queries: int
    ends_in_backlog: bool
    notes: tuple[str, ...]


def simulate_day(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    settings: SimulationSettings,
    *,
    percentile: float,
    wanted: Sequence[float],
    latency_s: float | None,
    engine: EngineName = "auto",
    replication: int = 0,
) -> DayResult:
    """Simulate whole periods, and the worst window again until its percentile is precise enough.

    Parameters
    ----------
    traffic : TrafficSource
        What `has_days` accepts.
    service, policy, settings, engine, replication
        See `run_until_precise`.
    percentile, wanted : float, sequence of float
        The SLA's, and all to be reported, ascending.
    latency_s : float or None
        The SLA's limit. [s]
    """
    day = _Day(traffic, service, policy, settings.seed, engine)
    histogram, busy, notes = day.whole(settings.min_queries, replication, latency_s)
    worst = histogram.worst_window(percentile, day.peak_window)
    begin = histogram.quiet_before(worst)
    if day.can_repeat(worst, begin):
        window = day.repeated(worst, begin, settings, percentile, wanted, latency_s, replication)
    else:
        window = day.once(worst, begin, histogram, wanted)
    return DayResult(
        worst=window,
        percentiles={fraction: histogram.interval(fraction) for fraction in wanted},
        mean_latency=histogram.mean_interval(),
        within_share=None if latency_s is None else 1.0 - histogram.late_share,
        utilisation=busy,
        shed_rate=histogram.shed_share,
        num_queries=histogram.num_queries,
        ends_in_backlog=histogram.ends_in_backlog,
        notes=notes,
    )


def worst_window_late_share(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    latency_s: float,
    rates_qps: Sequence[float],
    *,
    seed: int,
    replications: int = REPLICATIONS,
    engine: EngineName = "auto",
) -> FloatArray:
    """Share of late queries in the worst five minutes at each mean rate, in independent repetitions. [1]

    Only the time around the peak is simulated: the window before it, the two after it, and half an hour
    before, or three quarters of a period where that is less. That is enough up to the rates at which some
    queries are late; beyond, where a backlog grows for hours, nearly all are, and a longer start would not
    change it. The same random numbers at every rate. The mean over the repetitions has the error that their
    scatter shows: `controlled_mean`.

    Returns
    -------
    (len(rates_qps), replications) float
        Of the window whose mean over the repetitions is greatest.
    """
    shares = []
    for rate_qps in rates_qps:
        day = _Day(traffic.at_rate(rate_qps), service, policy, seed, engine)
        start = max(0, day.peak_window - 1)
        begin_s = max(day.start_s(start) - PEAK_LEAD_S, day.start_s(start) - 0.75 * day.period_s)
        end = day.peak_window + 2
        by_window = np.empty((replications, end - start))
        for repetition in range(replications):
            first_s = day.start_s(start)
            queries_s, served_s = day.span(begin_s, day.start_s(end), 1 + repetition, from_s=first_s)
            late = served_s > latency_s
            bounds = np.searchsorted(queries_s, [day.start_s(index) for index in range(start, end + 1)])
            for index in range(end - start):
                inside = late[bounds[index] : bounds[index + 1]]
                by_window[repetition, index] = inside.mean() if len(inside) else 0.0
        shares.append(by_window[:, int(by_window.mean(axis=0).argmax())])
    return np.array(shares)


PEAK_LEAD_S = 600.0
"""Before the windows around the peak: many times what a queue that is not overloaded remembers. [s]"""


class _Day:
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
        self._streams = engine != "simpy" and _can_stream(service, policy)

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
    ) -> tuple[_Histogram, PoolLoads, tuple[str, ...]]:
        """Serve whole periods, of which `min_queries` are part, or what can be served of one."""
        in_period = self._traffic.rate_qps * self.period_s
        periods = max(1, ceil(min_queries / in_period))
        histogram = _Histogram(self.num_windows, self.window_s, latency_s)
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

    def can_repeat(self, window: int, begin: int) -> bool:
        """Say whether a window can be simulated several times over, each time from another one on."""
        queries = self._expected(self.start_s(begin), self.start_s(window + 1))
        return queries * LEAST_REPETITIONS <= REPEATED_QUERIES

    def once(self, window: int, begin: int, histogram: _Histogram, wanted: Sequence[float]) -> WindowResult:
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
        values_s = {fraction: counts.quantile(fraction) for fraction in wanted}
        return WindowResult(
            start_s=start_s,
            end_s=end_s,
            rate_qps=self._expected(start_s, end_s) / (end_s - start_s),
            percentiles={
                fraction: Interval(value_s, max(0.0, value_s - error_s), value_s + error_s)
                for fraction, value_s in values_s.items()
            },
            late_share=counts.late_share,
            num_queries=counts.num_queries,
        )

    def repeated(
        self,
        window: int,
        begin: int,
        settings: SimulationSettings,
        percentile: float,
        wanted: Sequence[float],
        latency_s: float | None,
        replication: int,
    ) -> WindowResult:
        """Repeat a window, each time from another one on, until the percentile is precise enough."""
        start_s, end_s = self.start_s(window), self.start_s(window + 1)
        begin_s = start_s - self.window_s * (window - begin)
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
            result = self._window_result(found_s, (start_s, end_s), wanted, latency_s)
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
            server = _Server(self._service, self._policy, Luck(self._seed, repetition))
            found = []
            for arrival_s, num_items in chunks:
                latency_s = server.serve(arrival_s - begin_s, num_items)
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
        late = None if latency_s is None else controlled_mean(batch_means(all_s > latency_s, len(found_s)))
        served_s = all_s if served.all() else all_s[served]
        return WindowResult(
            start_s=bounds_s[0],
            end_s=bounds_s[1],
            rate_qps=self._expected(*bounds_s) / (bounds_s[1] - bounds_s[0]),
            percentiles={fraction: _across(found_s, served_s, fraction) for fraction in wanted},
            late_share=late,
            num_queries=len(all_s),
        )

    def _streamed(
        self, histogram: _Histogram, periods: int, expected: float, replication: int
    ) -> tuple[_Histogram, PoolLoads, tuple[str, ...]]:
        """Serve whole periods chunk by chunk; of very long ones every n-th window, the backlog carried on."""
        server = _Server(self._service, self._policy, Luck(self._seed, replication))
        outside = None
        if self._outside is not None:
            outside = outside_sampler(self._outside, seed=self._seed, replication=replication)

        def add(arrival_s: FloatArray, num_items: IntArray) -> None:
            latency_s = server.serve(arrival_s, num_items)
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

    def _chunks(self, begin_s: float, end_s: float, repetition: int) -> Iterator[tuple[FloatArray, IntArray]]:
        """Draw what arrives in a stretch of time; from 0 on what `TrafficSource.draw` draws. [s], [items]"""
        gaps = stream(self._seed, "arrivals", repetition)
        sizes = size_sampler(self._sizes, seed=self._seed, replication=repetition)
        last_point, last_s = self._expected(0.0, begin_s), begin_s
        while True:
            points = gaps.standard_exponential(CHUNK)
            points[0] += last_point
            np.cumsum(points, out=points)
            last_point = points[-1]
            arrival_s = np.maximum(periodic_s(self._arrivals, points), last_s)
            last_s = float(arrival_s[-1])
            num_items = np.empty(CHUNK, dtype=np.int64)
            sizes(num_items)
            inside = int(np.searchsorted(arrival_s, end_s))
            yield frozen_floats(arrival_s[:inside]), frozen_ints(num_items[:inside])
            if inside < CHUNK:
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


class _Server:
    """The compiled recursion, from chunk to chunk."""

    def __init__(self, service: ServiceTimes, policy: Policy, luck: Luck) -> None:
        from perfmodel.sim.compiled_engine import fifo_pools, idle_state_s
        from perfmodel.sim.compiled_scatter import draw_of

        assert isinstance(policy, SplitAndOffload)
        self._pools = [(share, idle_state_s(share)) for share in fifo_pools(service, policy)]
        self._draw = draw_of(luck, service.cpu_scatter, service.accelerator_scatter)
        self._clock = RunningClock.of(service.node_pauses, luck) if service.node_pauses else None
        self._busy_s = np.zeros(len(self._pools))
        # Where windows are skipped, the node's own clock stands still.
        self._has_accelerator = len(self._pools) > 1

    def serve(self, arrival_s: FloatArray, num_items: IntArray) -> FloatArray:
        """Return the latencies of the next queries. [s]"""
        from perfmodel.sim.compiled_engine import serve_sorted

        latency_s = np.empty(len(arrival_s))
        running_s = arrival_s if self._clock is None else self._clock.running_s(arrival_s)
        for index, (share, state_s) in enumerate(self._pools):
            self._busy_s[index] += serve_sorted(running_s, num_items, share, self._draw, state_s, latency_s)
        self._draw = self._draw._replace(first=self._draw.first + len(arrival_s))
        if self._clock is not None:
            latency_s = self._clock.wall_s(latency_s)
        latency_s -= arrival_s
        return latency_s

    def skip(self, time_s: float, loads: Sequence[float]) -> None:
        """Let time pass in which each pool is offered such a load: what is left to do moves with it.

        Executors that were busy until now are so, after it, for what came in beyond what they could do; at a
        load below 1 they have caught up, or come nearer to it.
        """
        for (_, state_s), load in zip(self._pools, (loads[0], loads[-1]), strict=False):
            state_s += load * time_s

    def utilisation(self, time_s: float) -> PoolLoads:
        """Busy time over all time, of the cores and of the accelerators. [1]"""
        shares = [
            float(busy_s) / (share.num_executors * time_s)
            for busy_s, (share, _) in zip(self._busy_s, self._pools, strict=True)
        ]
        return PoolLoads(shares[0], shares[1] if self._has_accelerator else 0.0)


class _WindowCounts(NamedTuple):
    """What the whole period showed of one window."""

    quantile: Callable[[float], float]
    late_share: Estimate | None
    num_queries: int


class _Histogram:
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
        late = latency_s > (np.inf if self._latency_s is None else self._latency_s)
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

    def of_window(self, window: int) -> _WindowCounts:
        """Return what there is to know of a window."""
        queries = int(self._counts[window].sum() + self._shed[window])
        share = int(self._late[window]) / max(1, queries)
        # Nothing between none and all can be told from one draw of a backlog that lasts for hours.
        error = 0.0 if share in (0.0, 1.0) else sqrt(share * (1.0 - share))
        return _WindowCounts(
            lambda fraction: self._quantile(self._counts[window], fraction),
            None if self._latency_s is None else Estimate(share, error, LEAST_REPETITIONS - 1),
            queries,
        )

    def worst_window(self, percentile: float, peak: int) -> int:
        """Return the window whose percentile is greatest; the peak, unless another is clearly worse.

        Windows around the peak differ by chance in one draw, and the worst of a draw is not the worst.
        """
        values_s = [self._quantile(counts, percentile) for counts in self._counts]
        worst = int(np.argmax(values_s))
        return peak if values_s[peak] >= CLEARLY_WORSE * values_s[worst] else worst

    def quiet_before(self, window: int) -> int:
        """The last window before one through which no backlog lasted; negative: of the period before."""
        fastest_s = self._fastest_s()
        seen_s = fastest_s[fastest_s > 0.0]
        for back in range(1, len(fastest_s)):
            if 0.0 < fastest_s[window - back] <= LASTING * seen_s.min():
                return window - back
        return window - len(fastest_s)

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


def _can_stream(service: ServiceTimes, policy: Policy) -> bool:
    from perfmodel.sim.compiled_engine import MAX_VECTOR_EXECUTORS

    few = max(service.num_executors, service.num_streams) <= MAX_VECTOR_EXECUTORS
    return is_fifo(service, policy) and few and not service.core_pauses


def _mean_loads(traffic: TrafficSource, service: ServiceTimes, policy: Policy) -> PoolLoads:
    from perfmodel.sim.utilisation import offered_utilisation

    loads = offered_utilisation(traffic, service, policy, contended=True)
    return PoolLoads(min(1.0, loads.cpu), min(1.0, loads.accelerator))
