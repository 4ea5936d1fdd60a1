"""One node that several services share: each with its own policy and service times, on the same executors.

Services that split and offload, and nothing else, have one queue together: there the engines of one node
serve them. They know one law of times by size, and so the "size" of a request is its row in the tables of all
services, one under the other: queries are cut into requests beforehand, each of which the engine serves as a
query of its own, and a query ends with its last. Requests that come at one instant queue in their order, as
those of one query do, so that a service by itself is served as `simulate` serves it, to the last bit.

Any other policy keeps its own queues beside the others' (`shared_lanes`). A request beside others of another
service takes as long as beside as many of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, sqrt
from typing import Literal, NamedTuple

import numpy as np

from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import Arrivals
from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.arrivals import cycle_queries, mean_rate_qps
from perfmodel.sim.backlog import SATURATED_FROM, grew, overloaded_pool
from perfmodel.sim.engines import require_pausable, simulate
from perfmodel.sim.fleet_latency import LatencyMixture, LatencySample, sample_of
from perfmodel.sim.node_arrivals import node_arrivals_s
from perfmodel.sim.outside import OutsideLaw, draw_outside_s
from perfmodel.sim.policies import Policy, Pool, SizedPolicy, SplitAndOffload, check_covers, is_fifo
from perfmodel.sim.query_sizes import SizePmf, draw_num_items
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run_length import MIN_QUERIES_BEYOND, MOST_RECORDED, STEADY_CYCLES
from perfmodel.sim.running_clock import RunningClock
from perfmodel.sim.scatter import NUM_FACTORS, Luck, ScatterTable
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.shared_lanes import layout_of
from perfmodel.sim.statistics import MIN_QUERIES, of_served, warm_up_queries
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries, TrafficSource

STREAMS = 1000
"""Of random numbers that a run has for itself: more than a node has services."""

MOST_QUERIES = 1_500_000
"""Of all services of a node in a run, unless bursts ask for more: the rarest has what the others leave it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneOfSeveral:
    """A service on a node that it shares.

    Attributes
    ----------
    times : ServiceTimes
        Of its requests, with so many executors busy, whoever's requests they serve.
    policy : Policy
        Where its queries go and how they are cut: one that comes with perfplan.
    max_items : int
        Its largest query. [items]
    """

    times: ServiceTimes
    policy: Policy
    max_items: int

    @property
    def is_fifo(self) -> bool:
        """Whether it has no queue of its own: first in, first out, split and offloaded by size."""
        return is_fifo(self.times, self.policy)

    @property
    def split(self) -> SplitAndOffload:
        """The policy of a service without a queue of its own."""
        assert isinstance(self.policy, SplitAndOffload), "what is_fifo accepts"
        return self.policy

    @property
    def cpu_rows(self) -> int:
        """Requests of different size on a core, without a queue of its own. [items]"""
        threshold = self.split.offload_threshold_items
        largest = self.max_items if threshold is None else min(self.max_items, threshold - 1)
        return max(1, min(self.split.batch_size, largest))

    @property
    def offloads(self) -> bool:
        """Whether any of its queries goes to the accelerator."""
        return self.policy.largest_launch_items(Pool.ACCELERATOR, self.max_items) > 0


def why_not_shared(services: Sequence[OneOfSeveral]) -> str | None:
    """Why one run cannot serve these services side by side; None: it can."""
    for each in services:
        if not isinstance(each.policy, SizedPolicy):
            return f"policy {each.policy.name} looks at more than a query's size"
        if len(services) > 1 and each.times.pipeline is not None:
            return "one of its services has several stages, which have machines of their own"
    if len({each.times.num_executors for each in services}) > 1:
        return "its services take different numbers of cores a request"
    pauses = {(each.times.node_pauses, each.times.core_pauses) for each in services}
    if len(pauses) > 1:
        return "its services know of different pauses of one node"
    if services[0].times.core_pauses and not all(each.is_fifo for each in services):
        return "single cores pause, which is simulated where all of its services split and do no more"
    streams = {
        (each.times.num_accelerators, each.times.streams_per_accelerator)
        for each in services
        if each.offloads
    }
    if len(streams) > 1:
        return "its services launch differently on the accelerators"
    return None


@dataclass(frozen=True, eq=False)  # no slots: the tables are joined once
class SharedNode:
    """A node, and the services on it, of which `why_not_shared` knows nothing against."""

    services: tuple[OneOfSeveral, ...]

    def __post_init__(self) -> None:
        if why := why_not_shared(self.services):
            raise InputError(f"a shared node: {why}")
        for each in self.services:
            check_covers(each.times, each.policy, each.max_items)
            if each.times.is_paused:
                require_pausable(each.times, each.policy)

    @property
    def has_one_queue(self) -> bool:
        """Whether no service has a queue of its own."""
        return all(each.is_fifo for each in self.services)

    @cached_property
    def _offsets(self) -> tuple[IntArray, IntArray]:
        """Rows before those of each service, of requests on the cores and on the accelerator."""
        rows = np.array([each.cpu_rows for each in self.services])
        large = np.array([each.max_items if each.offloads else 0 for each in self.services])
        return np.cumsum(rows) - rows, rows.sum() + np.cumsum(large) - large

    @cached_property
    def times(self) -> ServiceTimes:
        """All tables as one, by row."""
        cpu_s = np.concatenate([each.times.cpu_s[: each.cpu_rows] for each in self.services])
        first = next((each for each in self.services if each.offloads), self.services[0]).times
        scatter = _joined([(each.times.cpu_scatter, each.cpu_rows) for each in self.services])
        if not any(each.offloads for each in self.services):
            return ServiceTimes(
                cpu_s=cpu_s,
                cpu_scatter=scatter,
                node_pauses=first.node_pauses,
                core_pauses=first.core_pauses,
            )
        launches = [(each, each.max_items) for each in self.services if each.offloads]
        unused = np.ones((len(cpu_s), first.streams_per_accelerator))  # rows of requests on the cores
        tables = [each.times.accelerator_by_streams_s[:most] for each, most in launches]
        laws = [(each.times.accelerator_scatter, most) for each, most in launches]
        return ServiceTimes(
            cpu_s=cpu_s,
            accelerator_s=np.concatenate([unused, *tables]),
            num_accelerators=first.num_accelerators,
            cpu_scatter=scatter,
            accelerator_scatter=_joined([(None, len(cpu_s)), *laws]),
            node_pauses=first.node_pauses,
            core_pauses=first.core_pauses,
        )

    @cached_property
    def policy(self) -> SplitAndOffload:
        """Serves every request whole, where its row belongs."""
        rows = len(self.times.cpu_s)
        return SplitAndOffload(
            batch_size=rows,
            offload_threshold_items=rows + 1 if self.times.num_accelerators else None,
        )

    def serve(
        self,
        arrival_s: FloatArray,
        num_items: IntArray,
        service: IntArray,
        luck: Luck,
        *,
        engine: Literal["compiled", "simpy"] = "compiled",
    ) -> Served:
        """Serve queries of several services, in order of arrival; `service` is the index of each one's.

        Parameters
        ----------
        engine : {"compiled", "simpy"}
            Which engine; they agree to the last bit.
        """
        if self.has_one_queue:
            rows, first = self._requests(num_items, service)
            of_query = np.repeat(np.arange(len(num_items)), np.diff(np.append(first, len(rows))))
            queries = Queries(arrival_s[of_query], rows, luck)
            record = simulate(queries, self.times, self.policy, engine=engine)
            return Served(np.maximum.reduceat(record.finish_s, first), *_of_record(record))
        if len(self.services) == 1:
            (alone,) = self.services
            record = simulate(Queries(arrival_s, num_items, luck), alone.times, alone.policy, engine=engine)
            return Served(record.finish_s, *_of_record(record, sheds=alone.policy.shedding is not None))
        return self._by_lanes(arrival_s, num_items, service, luck, engine)

    def _by_lanes(
        self, arrival_s: FloatArray, num_items: IntArray, service: IntArray, luck: Luck, engine: str
    ) -> Served:
        """Serve each service from its own queues; pauses of the node stop its clock."""
        pauses = self.services[0].times.node_pauses
        clock = RunningClock.of(pauses, luck) if pauses else None
        running_s = arrival_s if clock is None else clock.running_s(arrival_s)
        pairs = [(replace(each.times, node_pauses=()), each.policy) for each in self.services]
        layout = layout_of(pairs)
        if engine == "simpy":
            from perfmodel.sim.simpy_shared import serve_simpy as serve  # the reference, for tests
        else:
            from perfmodel.sim.compiled_shared import serve_compiled as serve  # numba takes half a second
        served = serve(running_s, num_items, service, layout, pairs, luck, self._kinds(service, luck))
        lane_of = layout.lane_of(num_items, service)
        ended_s = max(served.last_end_s - served.idle_end_s, 1e-300)
        full = served.busy_s / np.array(layout.executors) / ended_s >= SATURATED_FROM
        latency_s = served.finish_s - running_s
        overloaded = any(
            full[lane.first_group : lane.end_group].all()
            and pairs[lane.service][1].shedding is None
            and grew(latency_s, lane_of == index)
            for index, lane in enumerate(layout.lanes)
        )
        finish_s = served.finish_s if clock is None else clock.wall_s(served.finish_s)
        return Served(finish_s, overloaded, 2.0 * float(np.spacing(served.last_end_s)))

    def _kinds(self, service: IntArray, luck: Luck) -> IntArray:
        """Kinds of queries whose times depend on them, as each service alone would draw its own."""
        kinds = np.zeros(len(service), np.int64)
        for index, each in enumerate(self.services):
            if each.times.by_query is not None:
                own = service == index
                drawn = Luck(luck.seed, luck.replication * STREAMS + index)
                kinds[own] = each.times.by_query.kinds_of(int(own.sum()), drawn)
        return kinds

    def _requests(self, num_items: IntArray, service: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of all requests, in the order in which they queue, and the index of each query's first."""
        batch = np.array([each.split.batch_size for each in self.services])[service]
        cpu, large = (offsets[service] for offsets in self._offsets)
        offloaded = self._offloaded(num_items, service)
        full, rest = np.divmod(num_items, batch)
        full, rest = np.where(offloaded, 0, full), np.where(offloaded, num_items, rest)
        counts = full + (rest > 0)
        first = np.cumsum(counts) - counts
        of_query = np.repeat(np.arange(len(num_items)), counts)
        is_full = np.arange(len(of_query)) - first[of_query] < full[of_query]
        size = np.where(is_full, batch[of_query], rest[of_query])
        return size + np.where(offloaded, large, cpu)[of_query], first

    def _offloaded(self, num_items: IntArray, service: IntArray) -> BoolArray:
        most = np.iinfo(np.int64).max
        of_service = [each.split.offload_threshold_items or most for each in self.services]
        found: BoolArray = num_items >= np.array(of_service)[service]
        return found


class Served(NamedTuple):
    """When each query ended, inf where shed; whether a backlog grew; rounding of times. [s], [], [s]"""

    finish_s: FloatArray
    is_overloaded: bool
    rounding_s: float


def _of_record(record: RunRecord, *, sheds: bool = False) -> tuple[bool, float]:
    return not sheds and overloaded_pool(record) is not None, record.rounding_s


def _joined(laws: Sequence[tuple[ScatterTable | None, int]]) -> ScatterTable | None:
    """Scatter of tables one under the other, each of so many rows; None where none scatters."""
    if all(law is None for law, _ in laws):
        return None
    factors, classes, before = [], [], 0
    for law, rows in laws:
        own = np.ones((1, NUM_FACTORS)) if law is None else law.factors
        of_row = np.zeros(rows, np.int64)
        if law is not None:
            of_row = law.class_of[np.minimum(np.arange(rows), len(law.class_of) - 1)]
        factors.append(own)
        classes.append(before + of_row)
        before += len(own)
    return ScatterTable(np.concatenate(factors), np.concatenate(classes))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedTraffic:
    """What a node gets of a service behind a router that draws one at random.

    Attributes
    ----------
    arrivals : Arrivals
        At the router, at all of its rate.
    share : float
        Of them, for this node. [1]
    sizes : SizePmf
        The law of the sizes.
    percentile : float
        That has to be known, as a fraction.
    outside : OutsideLaw or None
        Time that a query spends outside the node; None: none does.
    trace_s, trace_num_items : (num_recorded,) arrays or None
        Of recorded arrivals, and of recorded sizes. [s], [items]
    first_share : float
        Of recorded queries the router draws one number each in [0, 1): the group's first node gets those from
        this one on up to `share` more, the next node those up to `share` more than that. [1]
    """

    arrivals: Arrivals
    share: float
    sizes: SizePmf
    percentile: float
    outside: OutsideLaw | None = None
    trace_s: FloatArray | None = None
    trace_num_items: IntArray | None = None
    first_share: float = 0.0

    @property
    def rate_qps(self) -> float:
        """Of this node. [queries/s]"""
        return self.share * mean_rate_qps(self.arrivals, self.trace_s)

    @property
    def period_s(self) -> float | None:
        """How long what was recorded lasts, the gap after its last query included; None: nothing was. [s]"""
        if self.trace_s is None:
            return None
        return len(self.trace_s) / mean_rate_qps(self.arrivals, self.trace_s)

    def replayed(self, index: int, node: int, length_s: float, seed: int) -> Drawn:
        """What a node of the group gets of what was recorded, which begins again where it is too short."""
        assert self.trace_s is not None, "it was recorded"
        assert self.period_s is not None, "it was recorded"
        source = TrafficSource(
            arrivals=self.arrivals,
            sizes=self.sizes if self.trace_num_items is None else None,
            outside=self.outside,
            trace_s=self.trace_s,
            trace_num_items=self.trace_num_items,
        )
        low = self.first_share + node * self.share
        parts = []
        for turn in range(max(1, ceil(length_s / self.period_s - 1e-9))):
            own = turn * STREAMS + index
            queries = source.draw(len(self.trace_s), seed=seed, replication=own)
            number = stream(seed, "routing", own).random(len(queries))
            gets = (number >= low) & (number < low + self.share)
            gets &= queries.arrival_s + turn * self.period_s <= length_s
            outside_s = None if queries.outside_s is None else queries.outside_s[gets]
            parts.append(
                Drawn(queries.arrival_s[gets] + turn * self.period_s, queries.num_items[gets], outside_s)
            )
        return _one_after_the_other(parts)


class Drawn(NamedTuple):
    """What a node gets of a service: arrivals, sizes, and times outside, None where none are. [s], [items]"""

    arrival_s: FloatArray
    num_items: IntArray
    outside_s: FloatArray | None

    def until(self, end_s: float) -> Drawn:
        """What comes up to a time."""
        count = int(np.searchsorted(self.arrival_s, end_s, side="right"))
        outside_s = None if self.outside_s is None else self.outside_s[:count]
        return Drawn(self.arrival_s[:count], self.num_items[:count], outside_s)


def _one_after_the_other(parts: Sequence[Drawn]) -> Drawn:
    arrival_s, num_items = (np.concatenate([each[column] for each in parts]) for column in (0, 1))
    outside = [each.outside_s for each in parts if each.outside_s is not None]
    return Drawn(arrival_s, num_items.astype(np.int64), np.concatenate(outside) if outside else None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedStretch:
    """What nodes show of their services.

    Attributes
    ----------
    samples : tuple of LatencySample
        Of each service's served queries, without the warm-up; empty where the node is overloaded.
    is_stable : bool
        Whether it serves the load.
    precision_reached : bool
        Whether every percentile is known as the settings ask.
    shed_rates : tuple of float
        Share of each service's queries that were refused or dropped. [1]
    """

    samples: tuple[LatencySample, ...]
    is_stable: bool
    precision_reached: bool = True
    shed_rates: tuple[float, ...] = ()


UNSTABLE = SharedStretch(samples=(), is_stable=False)


def simulate_shared(
    node: SharedNode,
    traffic: Sequence[SharedTraffic],
    settings: SimulationSettings,
    *,
    replication: int = 0,
    num_nodes: int = 1,
) -> SharedStretch:
    """Simulate nodes until the percentile of each service is known to `settings.precision`.

    One node stands for all, unless a service replays what was recorded: then nodes are simulated one after
    the other, each with what it gets of that, until all are, or as many as there is time for.

    Parameters
    ----------
    node : SharedNode
        What serves.
    traffic : sequence of SharedTraffic
        By service, each with a rate > 0.
    settings : SimulationSettings
        Seed and precision; how long a run is follows from the precision alone.
    replication : int
        Chooses the random streams.
    num_nodes : int
        Nodes of this kind.

    Raises
    ------
    InputError
        Where the rarest service has too few queries beside the others.
    """
    if any(each.trace_s is not None for each in traffic):
        return _replayed(node, traffic, settings, replication, num_nodes)
    rates_qps = np.array([each.rate_qps for each in traffic])
    fewest = ceil(MIN_QUERIES_BEYOND / 0.01 / 0.9)
    for each in traffic:
        cycle = cycle_queries(each.arrivals)
        if cycle is not None:
            fewest = max(fewest, ceil(STEADY_CYCLES * cycle * each.share))
    most = max(MOST_QUERIES, fewest)
    length_s = min(fewest / float(rates_qps.min()), most / float(rates_qps.sum()))
    while True:
        drawn = [
            _drawn(each, length_s, settings.seed, replication * STREAMS + index)
            for index, each in enumerate(traffic)
        ]
        end_s = min(float(each.arrival_s[-1]) for each in drawn)
        ran = _run(node, [each.until(end_s) for each in drawn], Luck(settings.seed, replication))
        if ran is None:
            return UNSTABLE
        excess = _excess(ran.samples, traffic, settings)
        at_most_s = most / float(rates_qps.sum())
        if excess <= 1.0 or length_s >= at_most_s:
            return replace(ran, precision_reached=excess <= 1.0)
        length_s = min(at_most_s, length_s * max(2.0, 1.1 * excess**2))


def _excess(
    samples: Sequence[LatencySample], traffic: Sequence[SharedTraffic], settings: SimulationSettings
) -> float:
    """How much wider than asked for the widest interval is. [1]"""
    return max(
        LatencyMixture([sample]).interval(each.percentile).relative_half_width / settings.precision
        for sample, each in zip(samples, traffic, strict=True)
    )


def _replayed(
    node: SharedNode,
    traffic: Sequence[SharedTraffic],
    settings: SimulationSettings,
    replication: int,
    num_nodes: int,
) -> SharedStretch:
    """Replay what was recorded once, the longest of it if several services have; all nodes together.

    Of recorded queries all count, of others those after the warm-up of each node.
    """
    length_s = max(each.period_s for each in traffic if each.period_s is not None)
    a_node = length_s * sum(each.rate_qps for each in traffic)
    if a_node > MOST_RECORDED:
        raise InputError(
            f"a node gets {a_node:,.0f} queries of its services while the trace is replayed; expected at "
            f"most {MOST_RECORDED:,}: a shorter trace, or other services apart from it"
        )
    nodes = min(num_nodes, max(1, ceil(MOST_QUERIES / a_node)))
    parts: list[list[tuple[FloatArray, FloatArray]]] = [[] for _ in traffic]
    rounding_s = 0.0
    for each in range(nodes):
        drawn = [
            service.replayed(index, each, length_s, settings.seed)
            if service.trace_s is not None
            else _drawn(
                service, length_s, settings.seed, (replication * nodes + each) * STREAMS + index, whole=True
            )
            for index, service in enumerate(traffic)
        ]
        found = _latencies(node, drawn, Luck(settings.seed, replication * nodes + each))
        if found is None:
            return UNSTABLE
        rounding_s = max(rounding_s, found.rounding_s)
        for own, service, queries, latency_s in zip(parts, traffic, drawn, found.latency_s, strict=True):
            begin = 0 if service.trace_s is not None else warm_up_queries(len(latency_s))
            own.append((queries.arrival_s[begin:], latency_s[begin:]))
    samples, shed_rates = [], []
    for own in parts:
        arrival_s, latency_s = (np.concatenate(column) for column in zip(*own, strict=True))
        in_time = latency_s[np.argsort(arrival_s, kind="stable")]
        served = np.isfinite(in_time)
        shed_rates.append(1.0 - float(served.mean()))
        samples.append(sample_of(of_served(in_time, served), 1.0 - shed_rates[-1], rounding_s=rounding_s))
    return SharedStretch(
        samples=tuple(samples),
        is_stable=True,
        precision_reached=_excess(samples, traffic, settings) <= 1.0,
        shed_rates=tuple(shed_rates),
    )


class _Latencies(NamedTuple):
    """Of each service's queries, inf where shed, with what is outside; rounding of all. [s]"""

    latency_s: list[FloatArray]
    rounding_s: float


def _latencies(node: SharedNode, drawn: Sequence[Drawn], luck: Luck) -> _Latencies | None:
    """Serve what a node gets of each service; None where a backlog grew."""
    arrival_s, num_items = (np.concatenate([each[column] for each in drawn]) for column in (0, 1))
    counts = [len(each.arrival_s) for each in drawn]
    service = np.repeat(np.arange(len(drawn)), counts)
    order = np.argsort(arrival_s, kind="stable")
    if not len(order):
        return _Latencies([np.zeros(0) for _ in drawn], 0.0)
    served = node.serve(arrival_s[order], num_items[order], service[order], luck)
    if served.is_overloaded:
        return None
    latency_s = np.empty(len(order))
    latency_s[order] = served.finish_s - arrival_s[order]
    own_s = np.split(latency_s, np.cumsum(counts)[:-1])
    whole_s = [
        each_s if each.outside_s is None else each_s + each.outside_s
        for each_s, each in zip(own_s, drawn, strict=True)
    ]
    return _Latencies(whole_s, served.rounding_s)


def _run(node: SharedNode, drawn: Sequence[Drawn], luck: Luck) -> SharedStretch | None:
    """What a run shows of each service; None where a backlog grew."""
    counts = [len(each.arrival_s) for each in drawn]
    if min(counts) * 0.9 < MIN_QUERIES:
        raise InputError(f"a service has {min(counts)} queries beside {sum(counts)} of others: too few")
    found = _latencies(node, drawn, luck)
    if found is None:
        return None
    samples, shed_rates = [], []
    for latency_s in found.latency_s:
        after_s = latency_s[warm_up_queries(len(latency_s)) :]
        served: BoolArray = np.isfinite(after_s)
        shed_rates.append(1.0 - float(served.mean()))
        samples.append(
            sample_of(of_served(after_s, served), 1.0 - shed_rates[-1], rounding_s=found.rounding_s)
        )
    return SharedStretch(samples=tuple(samples), is_stable=True, shed_rates=tuple(shed_rates))


def _drawn(
    traffic: SharedTraffic, length_s: float, seed: int, replication: int, *, whole: bool = False
) -> Drawn:
    """Arrivals of about so long, or of exactly that, their sizes, and their time outside."""
    count = max(MIN_QUERIES, ceil(traffic.rate_qps * length_s))
    while True:
        if whole:  # some more than the mean number, and more of them where that is too few
            count = ceil(count + 6.0 * sqrt(count))
        arrival_s = node_arrivals_s(
            traffic.arrivals,
            count,
            routing=Routing.RANDOM,
            share=traffic.share,
            num_nodes=1,
            seed=seed,
            replication=replication,
        )
        if not whole or arrival_s[-1] >= length_s:
            break
    num_items = draw_num_items(traffic.sizes, count, seed=seed, replication=replication)
    outside_s = draw_outside_s(traffic.outside, count, seed=seed, replication=replication)
    drawn = Drawn(arrival_s, num_items, outside_s)
    return drawn.until(length_s) if whole else drawn
