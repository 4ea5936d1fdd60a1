"""A stationary stretch of a fleet's traffic: one window of a day, at a constant rate.

Where the router does not look at the nodes, one node of each kind tells the whole fleet. Random routing
splits a Poisson stream into independent Poisson streams ([1]_, section 5.1), and round-robin hands every
N-th query to a node: independent gaps, each the sum of N exponentials. Otherwise all nodes are simulated.

References
----------
.. [1] J. F. C. Kingman, "Poisson Processes", Oxford University Press, 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet import Fleet, NodeKind, simulate_fleet
from perfmodel.sim.fleet_latency import LatencyMixture, LatencySample, sample_of
from perfmodel.sim.outside import OutsideLaw, draw_outside_s
from perfmodel.sim.query_sizes import SizePmf, draw_num_items
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run import MIN_QUERIES_BEYOND
from perfmodel.sim.scatter import Luck
from perfmodel.sim.statistics import warm_up_queries
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation

# A fleet simulated whole starts with all nodes empty: this many queries a node are left out, and as
# many again, times three, are kept.
WARM_UP_PER_NODE = 500
QUERIES_PER_NODE = 4 * WARM_UP_PER_NODE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetTraffic:
    """What arrives at the router, and how it is spread.

    Attributes
    ----------
    rate_qps : float
        Rate of the Poisson arrivals at the router. [queries/s]
    sizes : SizePmf
        The law of the query sizes.
    routing : Routing
        How a node is chosen.
    outside : OutsideLaw or None
        Time that a query spends outside the nodes; None: none does.
    """

    rate_qps: float
    sizes: SizePmf
    routing: Routing
    outside: OutsideLaw | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """What a stationary stretch shows.

    Attributes
    ----------
    samples : tuple of LatencySample
        Latencies without the warm-up, with the share of the queries; empty where overloaded.
    node_samples : tuple of LatencySample
        The same of the nodes alone, without what queries spend outside.
    shares : tuple of float
        Fraction of the queries that the nodes of each kind serve. [1]
    utilisation : tuple of PoolLoads
        Of each kind; offered, without contention, where nothing was simulated. [1]
    is_stable : bool
        Whether every kind of node serves its load.
    precision_reached : bool
        Whether the interval at the percentile asked for is as narrow as the settings ask.
    num_queries : int
        Queries simulated.
    contended : float
        Utilisation that the load would need of the fullest nodes with all executors busy; from 1 up, a
        queue that has once formed never drains. [1]
    """

    samples: tuple[LatencySample, ...]
    node_samples: tuple[LatencySample, ...]
    shares: tuple[float, ...]
    utilisation: tuple[PoolLoads, ...]
    is_stable: bool
    precision_reached: bool
    num_queries: int
    contended: float


def capacity_qps(kind: NodeKind, sizes: SizePmf, *, contended: bool) -> float:
    """Rate that fills the busier pool of one node, with or without contention. [queries/s]"""
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=sizes)
    return 1.0 / max(offered_utilisation(traffic, kind.service, kind.policy, contended=contended))


def expected_shares(fleet: Fleet, traffic: FleetTraffic) -> tuple[float, ...]:
    """Fraction of the queries for each kind: by capacity under random routing, else by number of nodes. [1]

    For a routing that looks at queues only a first guess.
    """
    weights = [float(count) for count in fleet.num_nodes_of]
    if traffic.routing is Routing.RANDOM:
        capacities_qps = [capacity_qps(kind, traffic.sizes, contended=True) for kind in fleet.kinds]
        weights = [count * qps for count, qps in zip(weights, capacities_qps, strict=True)]
    return tuple(weight / sum(weights) for weight in weights)


def simulate_stretch(
    fleet: Fleet, traffic: FleetTraffic, settings: SimulationSettings, *, percentile: float, replication: int
) -> Stretch:
    """Simulate until the relative half-width at `percentile` is at most `settings.precision`.

    A stretch that is not precise enough is simulated again, at least twice as long, from the same random
    streams, up to `settings.max_queries`.
    """
    shares = expected_shares(fleet, traffic)
    offered = _offered(fleet, traffic, shares, contended=False)
    contended = max(max(loads) for loads in _offered(fleet, traffic, shares, contended=True))
    if max(max(loads) for loads in offered) >= 1.0:
        return _unstable(shares, offered, contended, num_queries=0)
    most = max(settings.min_queries, settings.max_queries)
    num_queries = min(most, max(settings.min_queries, ceil(MIN_QUERIES_BEYOND / 0.01 / 0.9)))
    if traffic.routing.looks_at_queues:
        num_queries = max(num_queries, QUERIES_PER_NODE * fleet.num_nodes)
    while True:
        if traffic.routing.looks_at_queues:
            records, samples, node_samples = _all_nodes(
                fleet, traffic, num_queries, settings.seed, replication
            )
            shares = tuple(record.num_queries / num_queries for record in records)
        else:
            records = _one_node_of_each(fleet, traffic, shares, num_queries, settings.seed, replication)
            samples, node_samples = _samples(records, shares)
        loads = tuple(PoolLoads(r.cpu_utilisation, r.accelerator_utilisation or 0.0) for r in records)
        simulated = sum(record.num_queries for record in records)
        if any(overloaded_pool(record) is not None for record in records):
            return _unstable(shares, loads, contended, num_queries=simulated)
        excess = LatencyMixture(samples).interval(percentile).relative_half_width / settings.precision
        if excess <= 1.0 or num_queries >= most:
            break
        enough = min(float(most), 1.1 * num_queries * excess**2)
        num_queries = min(most, max(2 * num_queries, ceil(enough)))
    return Stretch(
        samples=tuple(samples),
        node_samples=tuple(node_samples),
        shares=shares,
        utilisation=loads,
        is_stable=True,
        precision_reached=excess <= 1.0,
        num_queries=simulated,
        contended=contended,
    )


def _offered(
    fleet: Fleet, traffic: FleetTraffic, shares: tuple[float, ...], *, contended: bool
) -> tuple[PoolLoads, ...]:
    """Utilisation of each kind's nodes; where queues decide, as if spread in proportion to capacity."""
    rates_qps = [
        traffic.rate_qps * share / count for share, count in zip(shares, fleet.num_nodes_of, strict=True)
    ]
    if traffic.routing.looks_at_queues:
        limits_qps = [capacity_qps(kind, traffic.sizes, contended=contended) for kind in fleet.kinds]
        total_qps = sum(count * qps for count, qps in zip(fleet.num_nodes_of, limits_qps, strict=True))
        rates_qps = [qps * traffic.rate_qps / total_qps for qps in limits_qps]
    return tuple(
        offered_utilisation(
            TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=traffic.sizes),
            kind.service,
            kind.policy,
            contended=contended,
        )
        for kind, rate_qps in zip(fleet.kinds, rates_qps, strict=True)
    )


def _one_node_of_each(
    fleet: Fleet,
    traffic: FleetTraffic,
    shares: tuple[float, ...],
    num_queries: int,
    seed: int,
    replication: int,
) -> list[RunRecord]:
    """Simulate a node of each kind under the part of the stream that routing gives it."""
    records = []
    for index, kind in enumerate(fleet.kinds):
        own = replication * len(fleet.kinds) + index
        rng = stream(seed, "arrivals", own)
        if traffic.routing is Routing.RANDOM:
            gaps_s = rng.standard_exponential(num_queries)
            gaps_s *= fleet.num_nodes_of[index] / (shares[index] * traffic.rate_qps)
        else:
            gaps_s = rng.standard_gamma(fleet.num_nodes, num_queries) / traffic.rate_qps
        num_items = draw_num_items(traffic.sizes, num_queries, seed=seed, replication=own)
        outside_s = draw_outside_s(traffic.outside, num_queries, seed=seed, replication=own)
        queries = Queries(np.cumsum(gaps_s, out=gaps_s), num_items, Luck(seed, own), outside_s)
        records.append(simulate(queries, kind.service, kind.policy, engine="compiled"))
    return records


def _all_nodes(
    fleet: Fleet, traffic: FleetTraffic, num_queries: int, seed: int, replication: int
) -> tuple[list[RunRecord], list[LatencySample], list[LatencySample]]:
    """Simulate every node; return what each kind did, and all latencies, with what is outside and without."""
    arrivals = PoissonArrivals(rate_qps=traffic.rate_qps)
    source = TrafficSource(arrivals=arrivals, sizes=traffic.sizes, outside=traffic.outside)
    queries = source.draw(num_queries, seed=seed, replication=replication)
    record = simulate_fleet(queries, fleet, traffic.routing, seed=seed, replication=replication)
    warm_up = max(warm_up_queries(num_queries), WARM_UP_PER_NODE * fleet.num_nodes)
    rounding_s = _rounding_s(record.finish_s)
    node_s = record.latency_s[warm_up:]
    alone = sample_of(node_s, rounding_s=rounding_s)
    whole = alone
    if queries.outside_s is not None:
        whole = sample_of(node_s + queries.outside_s[warm_up:], rounding_s=rounding_s)
    return [record.of_kind(kind) for kind in range(len(fleet.kinds))], [whole], [alone]


def _samples(
    records: Sequence[RunRecord], shares: Sequence[float]
) -> tuple[list[LatencySample], list[LatencySample]]:
    """Latencies of one node of each kind without the warm-up: with what is outside, and of the node alone."""

    def sample(record: RunRecord, latency_s: FloatArray, share: float) -> LatencySample:
        warm_up = warm_up_queries(record.num_queries)
        return sample_of(latency_s[warm_up:], share, rounding_s=_rounding_s(record.finish_s))

    pairs = list(zip(records, shares, strict=True))
    whole = [sample(record, record.latency_s, share) for record, share in pairs]
    if all(record.outside_s is None for record in records):
        return whole, whole
    return whole, [sample(record, record.node_latency_s, share) for record, share in pairs]


def _rounding_s(finish_s: FloatArray) -> float:
    return 2.0 * float(np.spacing(finish_s.max()))


def _unstable(
    shares: tuple[float, ...], utilisation: tuple[PoolLoads, ...], contended: float, *, num_queries: int
) -> Stretch:
    return Stretch(
        samples=(),
        node_samples=(),
        shares=shares,
        utilisation=utilisation,
        is_stable=False,
        precision_reached=False,
        num_queries=num_queries,
        contended=contended,
    )
