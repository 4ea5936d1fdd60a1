"""Latency-bounded throughput: the greatest arrival rate whose percentile meets the SLA."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from perfmodel.domain.serving import SlaTarget
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import warm_up_queries
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

PROBE_QUERIES = 200_000
"""Queries in each probe; the rate's sampling error is then below 1 % at p95."""

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

    def meets(self, rate_qps: float) -> bool:
        """Say whether the SLA's percentile of one probe is within its bound at this rate."""
        recorded = self.traffic.num_recorded
        num_queries = PROBE_QUERIES if recorded is None else min(PROBE_QUERIES, recorded)
        warm_up = warm_up_queries(num_queries) if recorded is None else 0
        queries = self.traffic.at_rate(rate_qps).draw(num_queries, seed=self.seed)
        latency_s = simulate(queries, self.service, self.policy, engine=self.engine).latency_s[warm_up:]
        allowed = len(latency_s) - ceil(self.sla.percentile * len(latency_s))
        return int((latency_s > self.sla.latency_s).sum()) <= allowed

    def saturation_qps(self) -> float:
        """Rate at which the busier pool is full, each request served without contention. [queries/s]"""
        loads = offered_utilisation(self.traffic.at_rate(1.0), self.service, self.policy, contended=False)
        return 1.0 / max(loads)

    def greatest_rate_qps(self) -> float | None:
        """Bisect to the greatest rate that meets the SLA; None where not even an idle node does. [queries/s]

        From above the bracket is closed by the rate that fills an executor pool without any contention.
        """
        limit_qps = self.saturation_qps()
        low, high = limit_qps * IDLE_FRACTION, limit_qps
        if not self.meets(low):
            return None
        if self.meets(high):
            return high
        while high - low > RATE_TOLERANCE * high:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.meets(middle) else (low, middle)
        return low
