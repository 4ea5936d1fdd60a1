"""Latency-bounded throughput: the greatest arrival rate whose percentile meets the SLA."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.rate.bracket import greatest
from perfmodel.planning.rate.late import DrawnTraffic, LateQueries, is_late
from perfmodel.planning.run_cost import affordable_queries, requests_in_all_stages
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

PROBE_QUERIES = 200_000
"""Queries in each probe up to p95, beyond it up to five times as many: 0.6 % standard error of the rate."""

INTERPRETED_PROBE_QUERIES = 20_000
"""The same for a policy that no engine can compile, at a tenth of the patience: 2 % standard error."""

MOST_QUERIES = 10_000_000
"""Of a run, where bursts ask for long ones."""

FEWEST_QUERIES = 20_000
MOST_REQUESTS = 40_000_000
"""Of a run of a search, which makes some dozens, with at least so many queries: half a second each."""

RATES_AT_A_TIME = 8
RATE_TOLERANCE = 0.005
IDLE_FRACTION = 1e-3
"""Of the rate that fills the node: where that little load misses the SLA, every load does. [1]"""

MOST_UNSEEN = 0.01
"""By how much a rate may overload a node without a run's backlog reaching the SLA's latency: beyond, an SLA
is so long that runs cannot tell an overload, and rates that fill the loaded node are not tried. [1]"""

IDLE_QUERIES = 40_000
"""Served by an idle node where times are scattered: 5 % of them late are known to 0.3 %."""

SIZES_AT_ONCE = 4096
"""Of a law, served by an idle node before it is asked whether the others matter."""

FROM_ABOVE = 0.8
"""Rates tried from the fullest node down, each over the one before, where load may shorten latencies. [1]"""


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
    most_queries: int = MOST_QUERIES

    def late(self, drawn: DrawnTraffic) -> LateQueries:
        """What is late of queries drawn from the traffic."""
        return LateQueries(drawn, self.service, self.policy, self.sla, engine=self.engine)

    def meets(self, rate_qps: float) -> bool:
        """Say whether the SLA's percentile of one probe is within its bound at this rate."""
        return self._probe().meets(rate_qps)

    def _probe(self) -> LateQueries:
        return self.late(DrawnTraffic(self.traffic, self.queries_in_a_probe, seed=self.seed))

    @property
    def queries_in_a_probe(self) -> int:
        """Queries that a probe draws: more beyond p95, fewer where only SimPy can serve them."""
        compiles = self.policy.why_not_compiled is None
        plain = self.probe_queries if compiles else INTERPRETED_PROBE_QUERIES
        return self.affordable(ceil(plain * min(5.0, max(1.0, 0.05 / (1.0 - self.sla.percentile)))))

    def affordable(self, num_queries: int) -> int:
        """As many queries as asked for, unless a run may not be so long, or has too many requests."""
        requests = requests_in_all_stages(self.service, self.policy, self.traffic.size_pmf)
        wanted = min(num_queries, self.most_queries)
        return affordable_queries(wanted, requests, fewest=FEWEST_QUERIES, most_requests=MOST_REQUESTS)

    @property
    def load_may_shorten_latencies(self) -> bool:
        """Whether an executor waits for more queries to join, which come the sooner the more arrive."""
        policies = [self.policy]
        if self.service.pipeline is not None:
            from perfmodel.sim.pipeline import stages_of  # few nodes are the first of several

            policies = [policy for _, policy in stages_of(self.service, self.policy)]
        joining = [lane.joining for policy in policies for lane in policy.lanes]
        return any(join is not None and join.wait_s > 0.0 for join in joining)

    def saturation_qps(self) -> float:
        """Rate at which the busier pool is full, each request served without contention. [queries/s]"""
        loads = offered_utilisation(self.traffic.at_rate(1.0), self.service, self.policy, contended=False)
        return 1.0 / max(loads)

    def full_qps(self) -> float:
        """The rate that keeps all executors of the busier pool busy, beside each other. [queries/s]"""
        loads = offered_utilisation(self.traffic.at_rate(1.0), self.service, self.policy, contended=True)
        return 1.0 / max(loads)

    def limit_qps(self, num_queries: int) -> float:
        """Greatest rate that is tried with runs of so many queries. [queries/s]"""
        alone_qps = self.saturation_qps()
        if self.policy.shedding is not None or self.traffic.num_recorded is not None:
            return alone_qps
        return greatest_seen_qps(alone_qps, self.full_qps(), self.sla, num_queries)

    def idle_node_meets(self) -> bool:
        """Say whether the SLA holds where every query finds the node idle: exact, by the law of sizes.

        Where times are scattered, each size is served often enough for the share of late queries to be known
        within three standard errors, which are granted.
        """
        law = self.traffic.size_pmf
        times = ceil(IDLE_QUERIES / len(law.values)) if self.service.is_scattered else 1
        allowed = 1.0 - self.sla.percentile
        by_chance = 0.0
        if times > 1:
            by_chance = 3.0 * sqrt(allowed * (1.0 - allowed) / (times * len(law.values)))
        most, late, left = allowed + by_chance + 1e-9, 0.0, 1.0
        # Small sizes first, and no further than decides: of a long tail the rest is most of the work.
        first, end = 0, SIZES_AT_ONCE
        while first < len(law.values) and late <= most < late + left:
            part = slice(first, end)
            late += float(law.probabilities[part] @ self._late_alone(law.values[part], times))
            left -= float(law.probabilities[part].sum())
            first, end = end, 2 * end
        return late <= most

    def _late_alone(self, sizes: IntArray, times: int) -> FloatArray:
        """Share of the queries of each size that are late where each finds the node idle. [1]"""
        longest_s = self.service.longest_query_s(int(sizes[-1]))
        joining = [lane.joining for lane in self.policy.lanes]
        longest_s += max((join.wait_s for join in joining if join is not None), default=0.0)
        num_items = np.tile(sizes, times)
        queries = Queries(longest_s * np.arange(len(num_items), dtype=np.float64), num_items)
        record = simulate(queries, self.service, self.policy, engine=self.engine)
        late = is_late(record, self.sla.latency_s).astype(np.float64)
        if (outside := self.traffic.outside) is not None:
            late = outside.exceeds(self.sla.latency_s + record.rounding_s - record.node_latency_s)
        by_size: FloatArray = late.reshape(times, -1).mean(axis=0)
        return by_size

    def greatest_rate_qps(self) -> float | None:
        """Return the greatest rate that meets the SLA, None where no rate does. [queries/s]

        A grid of rates up to the one that fills an executor pool without any contention; then finer grids
        between the last rate that meets the SLA and the next, until they differ by the tolerance. Where load
        may shorten latencies, an idle node says nothing: rates are tried from above until one meets the SLA.
        """
        if not self.load_may_shorten_latencies and not self.idle_node_meets():
            return None
        late = self._probe()
        limit_qps = self.limit_qps(self.queries_in_a_probe)
        guesses = [limit_qps * IDLE_FRACTION, *np.linspace(0.0, limit_qps, RATES_AT_A_TIME).tolist()[1:]]
        if self.load_may_shorten_latencies:
            guesses = _bracket_from_above(late, limit_qps)
        return greatest(
            late.first_failing, guesses, limit_qps, tolerance=self.tolerance, at_a_time=RATES_AT_A_TIME
        )


def greatest_seen_qps(alone_qps: float, full_qps: float, sla: SlaTarget, num_queries: int) -> float:
    """The greatest rate of which a run can tell whether it meets the SLA. [queries/s]

    At a rate (1 + e) times the one that fills the loaded node, the query at the percentile p of a run of N
    waits behind e p N others. Where that takes less than the SLA's latency, an overload of e goes unseen:
    the run ends too soon. Then a rate is tried only up to where the loaded node is full.

    Parameters
    ----------
    alone_qps, full_qps : float
        That fill the busier pool, each request beside idle executors and beside busy ones. [queries/s]
    sla : SlaTarget
        What has to hold.
    num_queries : int
        Of a run.

    Examples
    --------
    >>> [greatest_seen_qps(2000.0, 1000.0, SlaTarget(percentile=0.95, latency_ms=ms), 200_000)
    ...  for ms in (100.0, 1e6)]
    [2000.0, 1000.0]
    """
    unseen = sla.latency_s * full_qps / (sla.percentile * num_queries)
    return alone_qps if unseen <= MOST_UNSEEN else min(alone_qps, full_qps)


def _bracket_from_above(late: LateQueries, limit_qps: float) -> list[float]:
    """Return the greatest of falling rates that meets the SLA, and the one above it; the least one alone."""
    rate_qps = limit_qps
    while rate_qps > IDLE_FRACTION * limit_qps and not late.meets(rate_qps):
        rate_qps *= FROM_ABOVE
    return [rate_qps] if rate_qps == limit_qps else [rate_qps, min(limit_qps, rate_qps / FROM_ABOVE)]
