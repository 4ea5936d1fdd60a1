"""Traffic drawn once, and what it is at any rate: the same random numbers for all that is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.domain.workload import ConstantArrivals, DiurnalArrivals, PoissonArrivals
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.balanced import draw_balanced
from perfmodel.sim.controls import load_controls
from perfmodel.sim.day import has_days
from perfmodel.sim.policies import Policy
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NUM_BATCHES, warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource

if TYPE_CHECKING:
    from perfmodel.sim.probes import Probe


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
    def counted(self) -> int:
        """Queries after the warm-up."""
        return self.num_queries - self.warm_up

    def at(self, rate_qps: float) -> Queries:
        """Return the queries as they arrive at this mean rate."""
        rate_qps *= self._peak
        if not self.is_balanced:
            return self._draw(rate_qps)
        return Queries(self._unit.arrival_s / rate_qps, self._unit.num_items)

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
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> day = DiurnalArrivals(rate_qps=500.0, amplitude=0.8)
    >>> steady, peak = at_peak(TrafficSource(arrivals=day, sizes=pmf_of_list([1])))
    >>> steady.arrivals.process, peak
    ('poisson', 1.8)
    """
    arrivals = source.arrivals
    if not isinstance(arrivals, DiurnalArrivals) or not has_days(source):
        return source, 1.0
    return replace(source, arrivals=PoissonArrivals(rate_qps=arrivals.rate_qps)), 1.0 + arrivals.amplitude
