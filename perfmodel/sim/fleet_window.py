"""A stretch of a fleet's traffic: one window of a day, at a constant rate, or all of other traffic.

Where the router does not look at the nodes, one node of each kind tells the whole fleet, with the part of the
arrivals that it gets (`perfmodel.sim.node_arrivals`). Otherwise, and where arrivals were recorded, all nodes
are simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import Arrivals, PoissonArrivals
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.arrivals import cycle_queries
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.fleet_latency import LatencyMixture, LatencySample, sample_of
from perfmodel.sim.node_arrivals import is_split_by_law, node_arrivals_s
from perfmodel.sim.outside import OutsideLaw, draw_outside_s
from perfmodel.sim.query_sizes import SizePmf, draw_num_items
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run_length import MIN_CYCLES, MIN_QUERIES_BEYOND, MOST_RECORDED, STEADY_CYCLES
from perfmodel.sim.scatter import Luck
from perfmodel.sim.statistics import of_served, warm_up_queries
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
        Mean rate of the arrivals at the router. [queries/s]
    sizes : SizePmf
        The law of the query sizes.
    routing : Routing
        How a node is chosen.
    outside : OutsideLaw or None
        Time that a query spends outside the nodes; None: none does.
    arrivals : Arrivals or None
        The process at the router, at that rate; None: Poisson.
    trace_s, trace_num_items : (num_recorded,) arrays or None
        Of recorded arrivals, and of recorded sizes. [s], [items]
    """

    rate_qps: float
    sizes: SizePmf
    routing: Routing
    outside: OutsideLaw | None = None
    arrivals: Arrivals | None = None
    trace_s: FloatArray | None = None
    trace_num_items: IntArray | None = None

    @property
    def source(self) -> TrafficSource:
        """What arrives at the router."""
        return TrafficSource(
            arrivals=PoissonArrivals(rate_qps=self.rate_qps) if self.arrivals is None else self.arrivals,
            sizes=self.sizes if self.trace_num_items is None else None,
            outside=self.outside,
            trace_s=self.trace_s,
            trace_num_items=self.trace_num_items,
        )


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
    shed_rate : float
        Share of the queries that were refused or dropped. [1]
    cycles : float or None
        Bursts, or periods, that the run of a node holds in the mean; None where there are none. [1]
    """

    samples: tuple[LatencySample, ...]
    node_samples: tuple[LatencySample, ...]
    shares: tuple[float, ...]
    utilisation: tuple[PoolLoads, ...]
    is_stable: bool
    precision_reached: bool
    num_queries: int
    contended: float
    shed_rate: float = 0.0
    cycles: float | None = None

    @property
    def holds_too_few(self) -> bool:
        """Whether the run holds too few bursts, or periods, to say what is usual."""
        return self.cycles is not None and self.cycles < MIN_CYCLES


def no_traffic(fleet: Fleet) -> Stretch:
    """A stretch in which nothing arrives."""
    share = 1.0 / len(fleet.kinds)
    return Stretch(
        samples=(),
        node_samples=(),
        shares=tuple(share for _ in fleet.kinds),
        utilisation=tuple(PoolLoads(0.0, 0.0) for _ in fleet.kinds),
        is_stable=True,
        precision_reached=True,
        num_queries=0,
        contended=0.0,
    )


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
    # What a node cannot serve it refuses, where it sheds.
    sheds = [kind.policy.shedding is not None for kind in fleet.kinds]
    if any(max(load) >= 1.0 and not shed for load, shed in zip(offered, sheds, strict=True)):
        return _unstable(shares, offered, contended, num_queries=0)
    source = traffic.source
    one_each = is_split_by_law(source.arrivals, traffic.routing)
    cycle = _cycle_queries(fleet, traffic, shares, one_each=one_each)
    # Over many bursts, or periods, a load below 1 drains, though one run may end in a burst.
    may_overload = cycle is None or contended >= 1.0
    num_queries, most = _bounds(fleet, traffic, settings, cycle, one_each=one_each)
    while True:
        if one_each:
            records = _one_node_of_each(fleet, traffic, shares, num_queries, settings.seed, replication)
            samples, node_samples = _samples(records, shares)
        else:
            records, samples, node_samples = _all_nodes(
                fleet, source, traffic.routing, shares, num_queries, settings.seed, replication
            )
            shares = tuple(record.num_queries / num_queries for record in records)
        loads = tuple(PoolLoads(r.cpu_utilisation, r.accelerator_utilisation or 0.0) for r in records)
        simulated = sum(record.num_queries for record in records)
        if may_overload and any(
            not shed and overloaded_pool(record) is not None
            for record, shed in zip(records, sheds, strict=True)
        ):
            return _unstable(shares, loads, contended, num_queries=simulated)
        excess = LatencyMixture(samples).interval(percentile).relative_half_width / settings.precision
        if excess <= 1.0 or num_queries >= most:
            break
        enough = min(float(most), 1.1 * num_queries * excess**2)
        num_queries = min(most, max(2 * num_queries, ceil(enough)))
    cycles = None if cycle is None else num_queries / cycle
    return Stretch(
        samples=tuple(samples),
        node_samples=tuple(node_samples),
        shares=shares,
        utilisation=loads,
        is_stable=True,
        precision_reached=excess <= 1.0 and (cycles is None or cycles >= MIN_CYCLES),
        num_queries=simulated,
        contended=contended,
        shed_rate=sum(share * record.shed_rate for share, record in zip(shares, records, strict=True)),
        cycles=cycles,
    )


def _cycle_queries(
    fleet: Fleet, traffic: FleetTraffic, shares: tuple[float, ...], *, one_each: bool
) -> float | None:
    """Mean number of queries from one burst to the next, in a run: of the node that gets most, or of all."""
    cycle = cycle_queries(traffic.source.arrivals)
    if cycle is None or not one_each:
        return cycle
    return cycle * max(share / count for share, count in zip(shares, fleet.num_nodes_of, strict=True))


def _bounds(
    fleet: Fleet, traffic: FleetTraffic, settings: SimulationSettings, cycle: float | None, *, one_each: bool
) -> tuple[int, int]:
    """The fewest and the most queries to simulate; what was recorded is replayed once, whole."""
    if traffic.trace_s is not None:
        return len(traffic.trace_s), len(traffic.trace_s)
    most = max(settings.min_queries, min(settings.max_queries, MOST_RECORDED))
    fewest = max(settings.min_queries, ceil(MIN_QUERIES_BEYOND / 0.01 / 0.9))
    if cycle is not None:
        fewest = max(fewest, ceil(min(float(most), STEADY_CYCLES * cycle)))
    num_queries = min(most, fewest)
    return num_queries if one_each else max(num_queries, QUERIES_PER_NODE * fleet.num_nodes), most


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
        arrival_s = node_arrivals_s(
            traffic.source.arrivals,
            num_queries,
            routing=traffic.routing,
            share=shares[index] / fleet.num_nodes_of[index],
            num_nodes=fleet.num_nodes,
            seed=seed,
            replication=own,
        )
        num_items = draw_num_items(traffic.sizes, num_queries, seed=seed, replication=own)
        outside_s = draw_outside_s(traffic.outside, num_queries, seed=seed, replication=own)
        queries = Queries(arrival_s, num_items, Luck(seed, own), outside_s)
        records.append(simulate(queries, kind.service, kind.policy))
    return records


def _all_nodes(
    fleet: Fleet,
    source: TrafficSource,
    routing: Routing,
    shares: tuple[float, ...],
    num_queries: int,
    seed: int,
    replication: int,
) -> tuple[list[RunRecord], list[LatencySample], list[LatencySample]]:
    """Simulate every node; return what each kind did, and all latencies, with what is outside and without."""
    queries = source.draw(num_queries, seed=seed, replication=replication)
    of_node = [share / count for share, count in zip(shares, fleet.num_nodes_of, strict=True)]
    record = simulate_fleet(
        queries, fleet, routing, seed=seed, replication=replication, weights=fleet.weights(of_node)
    )
    warm_up = 0  # of what was recorded: it started that way too
    if source.num_recorded is None:
        warm_up = max(warm_up_queries(num_queries), WARM_UP_PER_NODE * fleet.num_nodes)
    rounding_s = _rounding_s(record.finish_s)
    served = record.served[warm_up:]
    node_s = of_served(record.latency_s[warm_up:], served)
    alone = sample_of(node_s, rounding_s=rounding_s)
    whole = alone
    if queries.outside_s is not None:
        whole = sample_of(node_s + queries.outside_s[warm_up:][served], rounding_s=rounding_s)
    return [record.of_kind(kind) for kind in range(len(fleet.kinds))], [whole], [alone]


def _samples(
    records: Sequence[RunRecord], shares: Sequence[float]
) -> tuple[list[LatencySample], list[LatencySample]]:
    """Latencies of one node of each kind without the warm-up: with what is outside, and of the node alone."""

    def sample(record: RunRecord, latency_s: FloatArray, share: float) -> LatencySample:
        warm_up = warm_up_queries(record.num_queries)
        served: BoolArray = record.served[warm_up:]
        counts = share * (1.0 - record.shed_rate)
        return sample_of(
            of_served(latency_s[warm_up:], served), counts, rounding_s=_rounding_s(record.finish_s)
        )

    pairs = list(zip(records, shares, strict=True))
    whole = [sample(record, record.latency_s, share) for record, share in pairs]
    if all(record.outside_s is None for record in records):
        return whole, whole
    return whole, [sample(record, record.node_latency_s, share) for record, share in pairs]


def _rounding_s(finish_s: FloatArray) -> float:
    return 2.0 * float(np.spacing(finish_s[np.isfinite(finish_s)].max(initial=0.0)))


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
