"""Traffic drawn once, and what it is at any rate: the same random numbers for all that is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perfmodel.domain.workload import ConstantArrivals, PoissonArrivals
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.balanced import draw_balanced
from perfmodel.sim.controls import load_controls
from perfmodel.sim.policies import Policy
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NUM_BATCHES, warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource

if TYPE_CHECKING:
    from perfmodel.sim.probes import Probe


class DrawnTraffic:
    """Queries whose arrivals a rate stretches; two rates, nodes or policies then differ by what they do.

    After the warm-up all sizes occur as often as their law says, and the arrivals take the time that their
    rate says (`perfmodel.sim.balanced`): how much arrives is not left to luck.

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
    num_queries : int
        Queries of every run.
    warm_up : int
        The first of them, which do not count: none of a recorded trace. The others make whole batches.
    """

    def __init__(self, source: TrafficSource, num_queries: int, *, seed: int, replication: int = 0) -> None:
        self.source, self._seed, self._replication = source, seed, replication
        recorded = source.num_recorded
        self.num_queries = num_queries if recorded is None else min(num_queries, recorded)
        self.warm_up = 0
        if recorded is None:
            counted = self.num_queries - warm_up_queries(self.num_queries)
            self.warm_up = self.num_queries - counted // NUM_BATCHES * NUM_BATCHES
        # Other processes have a time scale of their own, which a rate does not stretch.
        self._rescales = isinstance(source.arrivals, PoissonArrivals | ConstantArrivals)
        self._unit = self._draw(1.0)

    @property
    def num_items(self) -> IntArray:
        """Sizes in order of arrival, the same at every rate. [items]"""
        return self._unit.num_items

    @property
    def counted(self) -> int:
        """Queries after the warm-up."""
        return self.num_queries - self.warm_up

    def at(self, rate_qps: float) -> Queries:
        """Return the queries as they arrive at this mean rate."""
        if not self._rescales:
            return self._draw(rate_qps)
        return Queries(self._unit.arrival_s / rate_qps, self._unit.num_items)

    def probes(self, rates_qps: Sequence[float]) -> list[Probe]:
        """Return the arrivals at these rates as the loops that serve several side by side take them."""
        # Imported on use, as the engines are: numba takes a third of a second.
        from perfmodel.sim.probes import Probe

        if self._rescales:
            return [Probe(self._unit.arrival_s, rate_qps) for rate_qps in rates_qps]
        return [Probe(self._draw(rate_qps).arrival_s) for rate_qps in rates_qps]

    def controls(self, rate_qps: float, service: ServiceTimes, policy: Policy) -> FloatArray | None:
        """What each batch asked of the pools beyond the mean (`perfmodel.sim.controls`); None: not known."""
        known = load_controls(self.source.at_rate(rate_qps), service, policy)
        return None if known is None else known.by_batch(self.at(rate_qps), self.warm_up, NUM_BATCHES)

    def _draw(self, rate_qps: float) -> Queries:
        traffic = self.source.at_rate(rate_qps)
        return draw_balanced(
            traffic, self.num_queries, self.warm_up, seed=self._seed, replication=self._replication
        )
