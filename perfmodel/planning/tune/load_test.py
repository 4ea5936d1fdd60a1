"""Load tests of one node: at what rate does a batch size with an offload threshold stop meeting an SLA?

Everything that is tuned is tried on the same arrivals and sizes (common random numbers), drawn once: two
configurations then differ by what they do and not by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.node import AnyNode
from perfmodel.planning.rate.bracket import FirstFailing, greatest, narrow
from perfmodel.planning.rate.late import DrawnTraffic, LateQueries
from perfmodel.planning.rate.search import IDLE_FRACTION, greatest_seen_qps
from perfmodel.planning.service_times import times_of
from perfmodel.planning.tune.question import Configuration
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf, mean_requests
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

PILOT_QUERIES = 100_000
"""Queries of a comparison: with common random numbers, 0.3 % between neighbouring configurations."""

FINAL_QUERIES = 1_000_000
"""Queries behind a reported rate."""

PILOT_REQUESTS = 1_500_000
LEAST_PILOT_QUERIES = 20_000

PILOT_TOLERANCE = 0.004
FINAL_TOLERANCE = 0.002
FINAL_WINDOW = (-0.015, -0.005, 0.005, 0.015)
"""Where the long sample looks first, relative to what the pilot found."""

RATES_AT_A_TIME = 4
"""Rates that share one compiled loop."""


class SharedTraffic:
    """Traffic drawn once for each length of a test, for any number of nodes and rates.

    Parameters
    ----------
    source : TrafficSource
        What arrives; its rate plays no part.
    seed : int
        Of all random numbers.
    final_queries, least_queries : int
        The longest test, and the shortest.
    """

    def __init__(
        self,
        source: TrafficSource,
        *,
        seed: int,
        final_queries: int = FINAL_QUERIES,
        least_queries: int = LEAST_PILOT_QUERIES,
    ) -> None:
        self.source, self._seed = source, seed
        recorded = source.num_recorded
        self.num_queries = final_queries if recorded is None else min(final_queries, recorded)
        self.least_queries = min(least_queries, self.num_queries)
        self._drawn: dict[int, DrawnTraffic] = {}

    def of(self, num_queries: int) -> DrawnTraffic:
        """So many queries, at any rate."""
        if num_queries not in self._drawn:
            self._drawn[num_queries] = DrawnTraffic(self.source, num_queries, seed=self._seed)
        return self._drawn[num_queries]


class LoadTest:
    """One node under one traffic and one SLA, asked about configurations; service times tabulated once.

    Parameters
    ----------
    node : ServingNode or TableNode
        What serves.
    traffic : SharedTraffic
        What arrives.
    sla : SlaTarget
        What has to hold.
    service : ServiceTimes or callable, optional
        The node's, for requests of any size that occurs, or what gives them for a policy: by default those
        of `ServiceTables`.
    rates_at_a_time : int
        Rates of a probe; more than four are shared out over the machine's cores.
    """

    def __init__(
        self,
        node: AnyNode,
        traffic: SharedTraffic,
        sla: SlaTarget,
        *,
        service: ServiceTimes | Callable[[Policy], ServiceTimes] | None = None,
        rates_at_a_time: int = RATES_AT_A_TIME,
    ) -> None:
        self.node, self.sla = node, sla
        self._traffic = traffic
        self._law = traffic.source.size_pmf
        self._service_of = _by_policy(ServiceTables(node, self._law).of if service is None else service)
        self._rates_at_a_time = rates_at_a_time
        longer = min(5.0, max(1.0, 0.05 / (1.0 - sla.percentile)))
        pilot = max(ceil(PILOT_QUERIES * longer), traffic.least_queries)
        self._pilot_queries = min(pilot, traffic.num_queries)
        self.simulated_queries = 0

    @property
    def final_queries(self) -> int:
        """Queries of the long sample."""
        return self._traffic.num_queries

    def saturation_qps(self, configuration: Configuration, *, contended: bool) -> float:
        """Rate that fills the busier pool: exact, by the law of sizes; no rate above is carried. [queries/s]

        Parameters
        ----------
        configuration : Configuration
            Batch size and threshold.
        contended : bool
            Whether every request finds all executors busy, or none.
        """
        policy = configuration.policy
        unit = self._traffic.source.at_rate(1.0)
        return 1.0 / max(offered_utilisation(unit, self._service_of(policy), policy, contended=contended))

    def pilot_qps(self, configuration: Configuration, *, above_qps: float = 0.0) -> float | None:
        """Greatest rate that meets the SLA, to 0.4 % of one short sample. [queries/s]

        Parameters
        ----------
        configuration : Configuration
            What to try.
        above_qps : float
            Only a rate above this one is of interest: mostly a single probe then says that there is none.

        Returns
        -------
        float or None
            None: no rate above `above_qps` meets the SLA.
        """
        limit_qps = self._limit_qps(configuration, self._pilot_length(configuration))
        low = max(above_qps, IDLE_FRACTION * limit_qps)
        if low >= limit_qps:
            return None
        first = _from_low_on(low, self.saturation_qps(configuration, contended=True), limit_qps)
        return greatest(
            self._first_failing(configuration, self._pilot_length(configuration)),
            first,
            limit_qps,
            tolerance=PILOT_TOLERANCE,
            at_a_time=self._rates_at_a_time,
        )

    def final_qps(self, configuration: Configuration, about_qps: float) -> float | None:
        """Greatest rate that meets the SLA, to 0.2 % of the long sample. [queries/s]

        Parameters
        ----------
        configuration : Configuration
            What to try.
        about_qps : float
            What a pilot found. [queries/s]

        Returns
        -------
        float or None
            None: the long sample has no rate that meets the SLA.
        """
        first_failing = self._first_failing(configuration, self._traffic.num_queries)
        limit_qps = self._limit_qps(configuration, self._traffic.num_queries)
        least_qps = IDLE_FRACTION * limit_qps
        window = [about_qps * (1.0 + offset) for offset in FINAL_WINDOW]
        index = first_failing(window)
        low = window[index - 1] if index else least_qps
        high = window[index] if index < len(window) else max(limit_qps, low)
        found = narrow(first_failing, low, high, tolerance=FINAL_TOLERANCE, at_a_time=self._rates_at_a_time)
        return None if found <= least_qps else min(found, limit_qps)

    def _limit_qps(self, configuration: Configuration, num_queries: int) -> float:
        """Greatest rate that is tried with so many queries. [queries/s]"""
        alone_qps, full_qps = (
            self.saturation_qps(configuration, contended=contended) for contended in (False, True)
        )
        if self._traffic.source.num_recorded is not None:
            return alone_qps
        return greatest_seen_qps(alone_qps, full_qps, self.sla, num_queries)

    def _pilot_length(self, configuration: Configuration) -> int:
        """Queries of a pilot; halved where each makes very many requests, as only bad configurations do."""
        requests = mean_requests(self._law, configuration.batch_size)
        length = self._pilot_queries
        while length * requests > PILOT_REQUESTS and length // 2 >= self._traffic.least_queries:
            length //= 2
        return length

    def _first_failing(self, configuration: Configuration, num_queries: int) -> FirstFailing:
        """Try ascending rates on so many queries."""
        policy = configuration.policy
        late = LateQueries(self._traffic.of(num_queries), self._service_of(policy), policy, self.sla)

        def first_failing(rates_qps: Sequence[float]) -> int:
            before = late.simulated_queries
            index = late.first_failing(rates_qps)
            self.simulated_queries += late.simulated_queries - before
            return index

        return first_failing


def _by_policy(
    service: ServiceTimes | Callable[[Policy], ServiceTimes],
) -> Callable[[Policy], ServiceTimes]:
    """Service times as a function of the policy, also where they are the same for all."""
    return (lambda _: service) if isinstance(service, ServiceTimes) else service


def _from_low_on(low: float, contended: float, limit: float) -> list[float]:
    """Return rates from `low` on, where the answer is likely: below what fills the loaded node.

    Where `low` is already close to that, or beyond, close above it: what is tried is mostly about as good.
    """
    if low < 0.6 * contended:
        return [low, 0.7 * contended, 0.88 * contended, min(0.99 * contended, limit)]
    return [low + (limit - low) * step for step in (0.0, 0.02, 0.1, 0.3)]


class ServiceTables:
    """Tables made once: one for all policies, or where calls were measured one for each.

    Measured calls take longer the more of the caches the requests before have taken, and those are of
    other sizes under every policy.

    Parameters
    ----------
    node : ServingNode or TableNode
        What serves.
    law : SizePmf
        Sizes of the queries.
    """

    def __init__(self, node: AnyNode, law: SizePmf) -> None:
        self._node, self._law = node, law
        self._every: dict[bool, ServiceTimes] = {}
        self._own: dict[Policy, ServiceTimes] = {}
        self._joined: dict[tuple[object, ...], ServiceTimes] = {}

    def of(self, policy: Policy) -> ServiceTimes:
        """The table to serve a policy's requests by; of batches it does not depend on what they wait."""
        if not isinstance(policy, SplitAndOffload):
            key = tuple((lane.pool, lane.request_items) for lane in policy.lanes)
            if key not in self._joined:
                self._joined[key] = times_of(self._node, policy, self._law).table
            return self._joined[key]
        if self._node.is_measured_by_call:
            if policy not in self._own:
                self._own[policy] = self._node.service_times(policy, self._law.max_items, self._law)
            return self._own[policy]
        shares = policy.share_query_work
        if shares not in self._every:
            self._every[shares] = service_of(self._node, self._law.max_items, shares_work=shares)
        return self._every[shares]


def service_of(node: AnyNode, max_items: int, *, shares_work: bool = False) -> ServiceTimes:
    """Tabulate a node's service times for requests of all sizes up to `max_items`, on every pool."""
    return node.service_times(SplitAndOffload(batch_size=max_items, share_query_work=shares_work), max_items)
