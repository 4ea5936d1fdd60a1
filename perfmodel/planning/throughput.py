"""Latency-bounded throughput: the greatest arrival rate whose percentile meets the SLA."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.node import ServingNode
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

PROBE_QUERIES = 200_000
"""Queries in each probe: 0.5 % of the greatest rate at p95, by the prototype's error law."""

WARM_UP_QUERIES = 4_000
RATE_TOLERANCE = 0.005
IDLE_FRACTION = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSearch:
    """What is searched over: one traffic, rescaled; one node; one policy; one SLA.

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
        """Say whether the SLA's percentile of the probe is within its latency at this rate."""
        recorded = self.traffic.num_recorded
        num_queries = PROBE_QUERIES if recorded is None else min(PROBE_QUERIES, recorded)
        warm_up = min(WARM_UP_QUERIES, num_queries // 10)
        queries = self.traffic.at_rate(rate_qps).draw(num_queries, seed=self.seed)
        latency_s = simulate(queries, self.service, self.policy, engine=self.engine).latency_s[warm_up:]
        allowed = len(latency_s) - ceil(self.sla.percentile * len(latency_s))
        return int((latency_s > self.sla.latency_s).sum()) <= allowed

    def greatest_rate_qps(self) -> float | None:
        """Bisect to the greatest rate that meets the SLA; None where not even an idle node does. [queries/s]

        The bracket is closed from above by the rate that fills an executor pool without any contention.
        """
        limit_qps = self.saturation_qps()
        if not self.meets(limit_qps * IDLE_FRACTION):
            return None
        low, high = limit_qps * IDLE_FRACTION, limit_qps
        if self.meets(high):
            return high
        while high - low > RATE_TOLERANCE * high:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.meets(middle) else (low, middle)
        return low

    def saturation_qps(self) -> float:
        """Rate at which the busier pool is fully used, each request served without contention. [queries/s]"""
        at_one = offered_utilisation(
            self.traffic.at_rate(1.0), self.service, self.policy, contended=False
        )
        return 1.0 / max(at_one)


def latency_bounded_qps(
    node: ServingNode,
    traffic: TrafficSource,
    policy: Policy,
    sla: SlaTarget,
    *,
    service: ServiceTimes,
    seed: int,
    engine: EngineName = "auto",
) -> float | None:
    ...
