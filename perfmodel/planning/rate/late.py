"""Traffic drawn once, and what is late of it at any rate: one rule, for every search and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import ConstantArrivals, PoissonArrivals
from perfmodel.planning.rate.bracket import bisecting
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.arrivals import Periodic, peak_factor
from perfmodel.sim.balanced import draw_balanced
from perfmodel.sim.controls import load_controls
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.outside import ConstantOutside
from perfmodel.sim.policies import Policy, SplitAndOffload, is_fifo
from perfmodel.sim.records import RunRecord
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NUM_BATCHES, Estimate, batch_means, controlled_mean, warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource, has_days
from perfmodel.threads import side_by_side

if TYPE_CHECKING:
    from perfmodel.sim.probes import LateLimit, Probe


RUNS_AT_A_TIME = 2
"""Simulations side by side, each with the records of all its queries in memory."""


class DrawnTraffic:
    """Queries whose arrivals a rate stretches; two rates, nodes or policies then differ by what they do.

    After the warm-up all sizes occur as often as their law says, and Poisson arrivals take the time that
    their rate says (`perfmodel.sim.balanced`): how much arrives is not left to luck. Of a rate that follows
    the time of day, what arrives at its peak, as if that lasted.

    Parameters
    ----------
    source : TrafficSource
        What arrives; its rate plays no part.
    num_queries : int
        How many; a recorded trace has no more than it has.
    seed, replication : int
        Of all random numbers.

    Attributes
    ----------
    source : TrafficSource
        As given.
    num_queries : int
        Queries of every run.
    warm_up : int
        The first of them, which do not count: none of a recorded trace. The others make whole batches.
    is_balanced : bool
        Whether nothing of the load is left to luck.
    """

    def __init__(self, source: TrafficSource, num_queries: int, *, seed: int, replication: int = 0) -> None:
        self.source, self._seed, self._replication = source, seed, replication
        self._steady, self._peak = at_peak(source)
        recorded = source.num_recorded
        self.num_queries = num_queries if recorded is None else min(num_queries, recorded)
        self.warm_up = 0
        if recorded is None:
            counted = self.num_queries - warm_up_queries(self.num_queries)
            self.warm_up = self.num_queries - counted // NUM_BATCHES * NUM_BATCHES
        # Other processes have a time scale of their own, which a rate does not stretch.
        self.is_balanced = isinstance(self._steady.arrivals, PoissonArrivals | ConstantArrivals)
        self._unit = self._draw(1.0)

    @property
    def num_items(self) -> IntArray:
        """Sizes in order of arrival, the same at every rate. [items]"""
        return self._unit.num_items

    @property
    def luck(self) -> Luck:
        """What else happens to the queries by chance, the same at every rate."""
        return self._unit.luck

    @property
    def counted(self) -> int:
        """Queries after the warm-up."""
        return self.num_queries - self.warm_up

    def at(self, rate_qps: float) -> Queries:
        """Return the queries as they arrive at this mean rate."""
        rate_qps *= self._peak
        if not self.is_balanced:
            return self._draw(rate_qps)
        unit = self._unit
        return Queries(unit.arrival_s / rate_qps, unit.num_items, self.luck, unit.outside_s)

    def probes(self, rates_qps: Sequence[float]) -> list[Probe]:
        """Return the arrivals at these rates as the loops that serve several side by side take them."""
        # Imported on use, as the engines are: numba takes a third of a second.
        from perfmodel.sim.probes import Probe

        if self.is_balanced:
            return [Probe(self._unit.arrival_s, self._peak * rate_qps) for rate_qps in rates_qps]
        return [Probe(self._draw(self._peak * rate_qps).arrival_s) for rate_qps in rates_qps]

    def controls(self, rate_qps: float, service: ServiceTimes, policy: Policy) -> FloatArray | None:
        """What each batch asked of the pools beyond the mean (`perfmodel.sim.controls`); None: not known.

        Of balanced traffic in this batch and the one before, which over a whole run comes to nothing: what is
        found without them is what they would make of it, and they only tell how well it is known.
        """
        known = load_controls(self._steady.at_rate(self._peak * rate_qps), service, policy)
        if known is None:
            return None
        controls = known.by_batch(self.at(rate_qps), self.warm_up, NUM_BATCHES)
        if not self.is_balanced:
            return controls
        excess_s = controls[:, : len(known.pools)]
        before_s = np.concatenate([np.zeros((1, len(known.pools))), excess_s[:-1]])
        return np.concatenate([excess_s, before_s], axis=1)

    def _draw(self, rate_qps: float) -> Queries:
        traffic = self._steady.at_rate(rate_qps)
        return draw_balanced(
            traffic, self.num_queries, self.warm_up, seed=self._seed, replication=self._replication
        )


def at_peak(source: TrafficSource) -> tuple[TrafficSource, float]:
    """Return steady traffic like that at the peak of the day, and how many times the mean rate that is.

    Traffic of any other kind is returned as it is, and 1.

    Examples
    --------
    >>> from perfmodel.domain.workload import DiurnalArrivals
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> day = DiurnalArrivals(rate_qps=500.0, amplitude=0.8)
    >>> steady, peak = at_peak(TrafficSource(arrivals=day, sizes=pmf_of_list([1])))
    >>> steady.arrivals.process, peak
    ('poisson', 1.8)
    """
    arrivals = source.arrivals
    if not isinstance(arrivals, Periodic) or not has_days(source):
        return source, 1.0
    return replace(source, arrivals=PoissonArrivals(rate_qps=source.rate_qps)), peak_factor(arrivals)


def is_late(record: RunRecord, latency_s: float) -> BoolArray:
    """Say of each query whether it took longer, beyond what rounding of the stamps does; shed ones are late.

    A query that takes exactly what is allowed is not: on an idle node many take the same time, and whether an
    SLA of just that is met must not hang on the last bit of a clock.
    """
    late: BoolArray = record.latency_s > latency_s + record.rounding_s
    return late


def allowed_late(percentile: float, num_queries: int) -> int:
    """How many queries may be late where the nearest-rank percentile is to be within its bound.

    Examples
    --------
    >>> allowed_late(0.95, 200_000), allowed_late(0.95, 19)
    (10000, 0)
    """
    return int((1.0 - percentile) * num_queries + 1e-6)


class LateQueries:
    """One node and policy under drawn traffic and an SLA, asked at any rate.

    Parameters
    ----------
    drawn : DrawnTraffic
        What arrives.
    service, policy
        How long it takes, where it goes.
    sla : SlaTarget
        Which queries are late, and how many may be.
    engine : {"auto", "compiled", "simpy"}
        What simulates.

    Attributes
    ----------
    simulated_queries : int
        In all runs so far.
    """

    def __init__(
        self,
        drawn: DrawnTraffic,
        service: ServiceTimes,
        policy: Policy,
        sla: SlaTarget,
        *,
        engine: EngineName = "auto",
    ) -> None:
        self._drawn, self._service, self._policy, self._sla = drawn, service, policy, sla
        self._engine: EngineName = engine
        self._allowed = allowed_late(sla.percentile, drawn.counted)
        self._controls: FloatArray | None = None
        self.simulated_queries = 0

    def meets(self, rate_qps: float) -> bool:
        """Say whether no more queries are late at this rate than may be."""
        return int(np.count_nonzero(self._late(rate_qps))) <= self._allowed

    def first_failing(self, rates_qps: Sequence[float]) -> int:
        """Index of the first of ascending rates that misses the SLA; their number where none does.

        The compiled recursion tries all of them side by side, other engines those that a bisection asks for.
        """
        if not self.runs_side_by_side:
            return bisecting(self.meets)(rates_qps)
        from perfmodel.sim.probes import count_late  # on use, as above

        probes, limit = self._probes(rates_qps)
        assert isinstance(self._policy, SplitAndOffload)
        late = count_late(probes, self._drawn.num_items, self._service, self._policy, limit, self._drawn.luck)
        return next((index for index, count in enumerate(late) if count > self._allowed), len(late))

    def shares(self, rates_qps: Sequence[float], *, errors: bool = True) -> list[Estimate]:
        """Share of late queries at each rate, with its error where that is asked for. [1]"""
        if not errors:
            return [
                Estimate(float(shares.mean()), 0.0, NUM_BATCHES - 1)
                for shares in self.batch_shares(rates_qps)
            ]
        return [
            self._estimate(rate_qps, by_batch)
            for rate_qps, by_batch in zip(rates_qps, self.batch_shares(rates_qps), strict=True)
        ]

    def batch_shares(self, rates_qps: Sequence[float]) -> list[FloatArray]:
        """Share of late queries in each batch of a run at each rate: (NUM_BATCHES,) each. [1]"""
        if not self.runs_side_by_side:
            return side_by_side(
                lambda rate_qps: batch_means(self._late(rate_qps)), rates_qps, most=RUNS_AT_A_TIME
            )
        from perfmodel.sim.probes import count_late_by_batch  # on use, as above

        probes, limit = self._probes(rates_qps)
        assert isinstance(self._policy, SplitAndOffload)
        counts = count_late_by_batch(
            probes,
            self._drawn.num_items,
            self._service,
            self._policy,
            limit._replace(allowed=self._drawn.num_queries),
            NUM_BATCHES,
            self._drawn.luck,
        )
        length = self._drawn.counted // NUM_BATCHES
        return [np.asarray(late / length, dtype=np.float64) for late in counts]

    def _estimate(self, rate_qps: float, by_batch: FloatArray) -> Estimate:
        """The mean over the batches; where luck has a part in the load, less what that explains."""
        if not self._drawn.is_balanced:
            return controlled_mean(by_batch, self._drawn.controls(rate_qps, self._service, self._policy))
        if self._controls is None:  # of one rate for all: they are the same but for what a rate stretches
            self._controls = self._drawn.controls(rate_qps, self._service, self._policy)
        return controlled_mean(by_batch, self._controls)._replace(mean=float(by_batch.mean()))

    def _late(self, rate_qps: float) -> BoolArray:
        """Of each query after the warm-up."""
        self.simulated_queries += self._drawn.num_queries
        record = simulate(self._drawn.at(rate_qps), self._service, self._policy, engine=self._engine)
        return is_late(record, self._sla.latency_s)[self._drawn.warm_up :]

    @property
    def runs_side_by_side(self) -> bool:
        """Whether several rates are served in step by one loop, which one rate alone would not fill."""
        if self._engine == "simpy" or not isinstance(self._policy, SplitAndOffload):
            return False
        if not isinstance(self._drawn.source.outside, ConstantOutside | None):
            return False  # the loops know one limit for all queries
        return is_fifo(self._service, self._policy) and not self._service.is_paused

    def _probes(self, rates_qps: Sequence[float]) -> tuple[list[Probe], LateLimit]:
        """What several loops in step serve, and what is late there: by the rule of `is_late`."""
        from perfmodel.sim.probes import LateLimit  # on use, as above

        self.simulated_queries += self._drawn.num_queries * len(rates_qps)
        probes = self._drawn.probes(rates_qps)
        last_s = max(float(probe.points[-1] / probe.rate_qps) for probe in probes)
        outside = self._drawn.source.outside
        outside_s = 0.0 if outside is None else outside.mean_s  # the same for all: see above
        limit_s = self._sla.latency_s - outside_s + 4.0 * float(np.spacing(last_s))
        return probes, LateLimit(limit_s, self._drawn.warm_up, self._allowed)


class LateInWorstWindow:
    """The same of a rate that follows the time of day: in the five minutes in which most queries are late.

    Parameters
    ----------
    traffic : TrafficSource
        Which `has_days` accepts.
    service, policy, sla, seed, engine
        See `LateQueries`.
    replications : int
        Independent repetitions of the time around the peak.
    """

    def __init__(
        self,
        traffic: TrafficSource,
        service: ServiceTimes,
        policy: Policy,
        sla: SlaTarget,
        *,
        seed: int,
        replications: int,
        engine: EngineName = "auto",
    ) -> None:
        self._traffic, self._service, self._policy, self._sla = traffic, service, policy, sla
        self._seed, self._replications = seed, replications
        self._engine: EngineName = engine

    @property
    def runs_side_by_side(self) -> bool:
        """Whether several rates cost little more than one."""
        return False

    def shares(self, rates_qps: Sequence[float], *, errors: bool = True) -> list[Estimate]:  # noqa: ARG002
        """Share of late queries at each mean rate, with the error that the repetitions show. [1]"""
        from perfmodel.sim.day import worst_window_late_share  # few loads follow the time of day

        def share(rate_qps: float) -> Estimate:
            found = worst_window_late_share(
                self._traffic,
                self._service,
                self._policy,
                self._sla.latency_s,
                [rate_qps],
                seed=self._seed,
                replications=self._replications,
                engine=self._engine,
            )
            return controlled_mean(found[0])

        return side_by_side(share, rates_qps, most=RUNS_AT_A_TIME)
