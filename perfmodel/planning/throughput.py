"""Latency-bounded throughput: the greatest arrival rate whose percentile meets the SLA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import ConstantArrivals, PoissonArrivals
from perfmodel.sim.arrays import IntArray
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

if TYPE_CHECKING:
    from perfmodel.sim.probes import Probe

PROBE_QUERIES = 200_000
"""Queries in each probe up to p95, beyond it up to five times as many: 0.6 % standard error of the rate."""

INTERPRETED_PROBE_QUERIES = 20_000
"""The same for a policy that no engine can compile, at a tenth of the patience: 2 % standard error."""

RATES_AT_A_TIME = 8
RATE_TOLERANCE = 0.005
IDLE_FRACTION = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSearch:
    """What is searched over: one traffic, rescaled in time; one node; one policy; one SLA.

    Every probe rescales the same unit-rate arrivals and reuses the same sizes (common random numbers), so
    that the answer to "does this rate meet the SLA?" changes once, up to the noise of one sample.
    """

    traffic: TrafficSource
    service: ServiceTimes
    policy: Policy
    sla: SlaTarget
    seed: int
    engine: EngineName = "auto"
    tolerance: float = RATE_TOLERANCE
    probe_queries: int = PROBE_QUERIES

    def meets(self, rate_qps: float) -> bool:
        """Say whether the SLA's percentile of one probe is within its bound at this rate."""
        return _Prober(self).meets(rate_qps)

    def saturation_qps(self) -> float:
        """Rate at which the busier pool is full, each request served without contention. [queries/s]"""
        loads = offered_utilisation(self.traffic.at_rate(1.0), self.service, self.policy, contended=False)
        return 1.0 / max(loads)

    def idle_node_meets(self) -> bool:
        """Say whether the SLA holds where every query finds the node idle: exact, by the law of sizes."""
        law = self.traffic.size_pmf
        longest_s = float(self.service.cpu_s.max()) * law.max_items
        if self.service.accelerator_s is not None:
            longest_s += float(self.service.accelerator_s.max())
        joining = [lane.joining for lane in self.policy.lanes]
        longest_s += max((join.wait_s for join in joining if join is not None), default=0.0)
        queries = Queries(longest_s * np.arange(len(law.values), dtype=np.float64), law.values)
        record = simulate(queries, self.service, self.policy, engine=self.engine)
        late = record.latency_s > self.sla.latency_s + record.rounding_s
        return float(law.probabilities[late].sum()) <= 1.0 - self.sla.percentile + 1e-9

    def greatest_rate_qps(self) -> float | None:
        """Return the greatest rate that meets the SLA, None where no rate does. [queries/s]

        A grid of rates up to the one that fills an executor pool without any contention; then finer grids
        between the last rate that meets the SLA and the next, until they differ by the tolerance.
        """
        if not self.idle_node_meets():
            return None
        limit_qps = self.saturation_qps()
        prober = _Prober(self)
        rates = [limit_qps * IDLE_FRACTION, *_grid(0.0, limit_qps, RATES_AT_A_TIME - 1)[1:]]
        index = prober.first_failing(rates)
        if index == 0:
            return None
        if index == len(rates):
            return limit_qps
        low, high = rates[index - 1], rates[index]
        while high - low > self.tolerance * high:
            rates = _grid(low, high, RATES_AT_A_TIME + 1)
            index = prober.first_failing(rates[1:-1])
            low, high = rates[index], rates[index + 1]
        return low


class DrawnTraffic:
    """Queries drawn once, and what they are at any rate: the same random numbers (common random numbers)."""

    def __init__(self, traffic: TrafficSource, num_queries: int, *, seed: int) -> None:
        self._traffic = traffic
        self._seed = seed
        recorded = traffic.num_recorded
        self.num_queries = num_queries if recorded is None else min(num_queries, recorded)
        # Other processes have a time scale of their own, which a rate does not stretch.
        rescales = isinstance(traffic.arrivals, PoissonArrivals | ConstantArrivals)
        self._unit = self._draw(1.0) if rescales else None

    def at(self, rate_qps: float) -> Queries:
        """Return the queries as they arrive at this mean rate."""
        if self._unit is None:
            return self._draw(rate_qps)
        return Queries(self._unit.arrival_s / rate_qps, self._unit.num_items)

    def probes(self, rates_qps: Sequence[float]) -> tuple[list[Probe], IntArray]:
        """Return probes of these rates, and the sizes that they share."""
        # Imported on use, as the engines are: numba takes a third of a second.
        from perfmodel.sim.probes import Probe

        if self._unit is not None:
            return [Probe(self._unit.arrival_s, rate_qps) for rate_qps in rates_qps], self._unit.num_items
        drawn = [self._draw(rate_qps) for rate_qps in rates_qps]
        return [Probe(queries.arrival_s) for queries in drawn], drawn[0].num_items

    def _draw(self, rate_qps: float) -> Queries:
        return self._traffic.at_rate(rate_qps).draw(self.num_queries, seed=self._seed)


def queries_in_a_probe(search: RateSearch) -> int:
    """Queries that a probe draws: more beyond p95, fewer where only SimPy can serve them."""
    compiles = search.policy.why_not_compiled is None
    plain = search.probe_queries if compiles else INTERPRETED_PROBE_QUERIES
    return ceil(plain * min(5.0, max(1.0, 0.05 / (1.0 - search.sla.percentile))))


def runs_side_by_side(search: RateSearch) -> bool:
    """Say whether the compiled recursion can try several rates in step."""
    if search.engine == "simpy" or not isinstance(search.policy, SplitAndOffload):
        return False
    from perfmodel.sim.compiled_engine import is_fifo

    return is_fifo(search.service, search.policy)


class _Prober:
    """Traffic drawn once, and what it takes to try it at any rate."""

    def __init__(self, search: RateSearch) -> None:
        self._search = search
        traffic, sla = search.traffic, search.sla
        self._drawn = DrawnTraffic(traffic, queries_in_a_probe(search), seed=search.seed)
        num_queries = self._drawn.num_queries
        self._warm_up = warm_up_queries(num_queries) if traffic.num_recorded is None else 0
        counted = num_queries - self._warm_up
        self._allowed = counted - ceil(sla.percentile * counted)

    def meets(self, rate_qps: float) -> bool:
        """Simulate one rate."""
        search = self._search
        record = simulate(self._drawn.at(rate_qps), search.service, search.policy, engine=search.engine)
        late = record.latency_s[self._warm_up :] > search.sla.latency_s
        return int(np.count_nonzero(late)) <= self._allowed

    def first_failing(self, rates_qps: Sequence[float]) -> int:
        """Bisect ascending rates for the first that misses the SLA; their number where none does.

        The compiled engine tries all rates side by side, the others only those that the bisection asks for.
        """
        meets = self._tried_together(rates_qps) or (lambda index: self.meets(rates_qps[index]))
        low, high = 0, len(rates_qps)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if meets(middle) else (low, middle)
        return low

    def _tried_together(self, rates_qps: Sequence[float]) -> Callable[[int], bool] | None:
        """Look-up of what all rates gave, or None where they cannot be tried side by side."""
        search = self._search
        if not runs_side_by_side(search):
            return None
        from perfmodel.sim.probes import LateLimit, count_late

        assert isinstance(search.policy, SplitAndOffload)
        probes, num_items = self._drawn.probes(rates_qps)
        limit = LateLimit(search.sla.latency_s, self._warm_up, self._allowed)
        late = count_late(probes, num_items, search.service, search.policy, limit)
        return lambda index: late[index] <= self._allowed


def _grid(low: float, high: float, intervals: int) -> list[float]:
    """Return the ends of equal intervals, exact at both ends."""
    step = (high - low) / intervals
    return [low + index * step for index in range(intervals)] + [high]
