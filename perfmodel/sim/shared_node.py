"""One node that serves several services: their requests in one queue, each with its own service times.

The engines know one law of times by size. Here the "size" of a request is its row in the tables of all
services, one under the other: queries are cut into requests beforehand, each of which the engine serves as a
query of its own, and a query ends with its last. Requests that come at one instant queue in their order, as
those of one query do, so that a service by itself is served as `simulate` serves it, to the last bit.

A request beside others of another service takes as long as beside as many of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np

from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import Arrivals
from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.arrivals import cycle_queries, mean_rate_qps
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet_latency import LatencyMixture, LatencySample, sample_of
from perfmodel.sim.node_arrivals import node_arrivals_s
from perfmodel.sim.outside import OutsideLaw, draw_outside_s
from perfmodel.sim.policies import SplitAndOffload, is_fifo
from perfmodel.sim.query_sizes import SizePmf, draw_num_items
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run_length import MIN_QUERIES_BEYOND, STEADY_CYCLES
from perfmodel.sim.scatter import NUM_FACTORS, Luck, ScatterTable
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import MIN_QUERIES, warm_up_queries
from perfmodel.sim.traffic import Queries

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
    policy : SplitAndOffload
        How its queries are cut.
    max_items : int
        Its largest query. [items]
    """

    times: ServiceTimes
    policy: SplitAndOffload
    max_items: int

    @property
    def cpu_rows(self) -> int:
        """Requests of different size on a core. [items]"""
        threshold = self.policy.offload_threshold_items
        largest = self.max_items if threshold is None else min(self.max_items, threshold - 1)
        return max(1, min(self.policy.batch_size, largest))

    @property
    def offloads(self) -> bool:
        """Whether any of its queries goes to the accelerator."""
        threshold = self.policy.offload_threshold_items
        return threshold is not None and threshold <= self.max_items


def why_not_shared(services: Sequence[OneOfSeveral]) -> str | None:
    """Why one run cannot serve these services side by side; None: it can."""
    for each in services:
        if not is_fifo(each.times, each.policy):
            return f"policy {each.policy.name} does more than split and offload, or times depend on the query"
        if each.times.is_paused:
            return "its executors pause"
    if len({each.times.num_executors for each in services}) > 1:
        return "its services take different numbers of cores a request"
    streams = {(each.times.num_accelerators, each.times.streams_per_accelerator) for each in services}
    if any(each.offloads for each in services) and len(streams) > 1:
        return "its services launch differently on the accelerators"
    return None


@dataclass(frozen=True, eq=False)  # no slots: the tables are joined once
class SharedNode:
    """A node, and the services on it, of which `why_not_shared` knows nothing against."""

    services: tuple[OneOfSeveral, ...]

    def __post_init__(self) -> None:
        if why := why_not_shared(self.services):
            raise InputError(f"a shared node: {why}")

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
        first = self.services[0].times
        scatter = _joined([(each.times.cpu_scatter, each.cpu_rows) for each in self.services])
        if not any(each.offloads for each in self.services):
            return ServiceTimes(cpu_s=cpu_s, cpu_scatter=scatter)
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
        )

    @cached_property
    def policy(self) -> SplitAndOffload:
        """Serves every request whole, where its row belongs."""
        rows = len(self.times.cpu_s)
        return SplitAndOffload(
            batch_size=rows,
            offload_threshold_items=rows + 1 if self.times.num_accelerators else None,
        )

    def serve(self, arrival_s: FloatArray, num_items: IntArray, service: IntArray, luck: Luck) -> Served:
        """Serve queries of several services, in order of arrival; `service` is the index of each one's."""
        rows, first = self._requests(num_items, service)
        of_query = np.repeat(np.arange(len(num_items)), np.diff(np.append(first, len(rows))))
        record = simulate(Queries(arrival_s[of_query], rows, luck), self.times, self.policy)
        return Served(np.maximum.reduceat(record.finish_s, first), record)

    def _requests(self, num_items: IntArray, service: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of all requests, in the order in which they queue, and the index of each query's first."""
        batch = np.array([each.policy.batch_size for each in self.services])[service]
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
        of_service = [each.policy.offload_threshold_items or most for each in self.services]
        found: BoolArray = num_items >= np.array(of_service)[service]
        return found


class Served(NamedTuple):
    """When each query ended, and the run of all requests as the engine saw it. [s]"""

    finish_s: FloatArray
    requests: RunRecord


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
    """

    arrivals: Arrivals
    share: float
    sizes: SizePmf
    percentile: float
    outside: OutsideLaw | None = None

    @property
    def rate_qps(self) -> float:
        """Of this node. [queries/s]"""
        return self.share * mean_rate_qps(self.arrivals)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedStretch:
    """What a node shows of its services.

    Attributes
    ----------
    samples : tuple of LatencySample
        Of each service, without the warm-up; empty where the node is overloaded.
    is_stable : bool
        Whether it serves the load.
    precision_reached : bool
        Whether every percentile is known as the settings ask.
    """

    samples: tuple[LatencySample, ...]
    is_stable: bool
    precision_reached: bool = True


def simulate_shared(
    node: SharedNode, traffic: Sequence[SharedTraffic], settings: SimulationSettings, *, replication: int = 0
) -> SharedStretch:
    """Simulate a node until the percentile of each service is known to `settings.precision`.

    Parameters
    ----------
    node : SharedNode
        What serves.
    traffic : sequence of SharedTraffic
        By service, each with a rate > 0, none recorded.
    settings : SimulationSettings
        Seed and precision; how long a run is follows from the precision alone.
    replication : int
        Chooses the random streams.

    Raises
    ------
    InputError
        Where the rarest service has too few queries beside the others.
    """
    rates_qps = np.array([each.rate_qps for each in traffic])
    fewest = ceil(MIN_QUERIES_BEYOND / 0.01 / 0.9)
    for each in traffic:
        cycle = cycle_queries(each.arrivals)
        if cycle is not None:
            fewest = max(fewest, ceil(STEADY_CYCLES * cycle * each.share))
    most = max(MOST_QUERIES, fewest)
    length_s = min(fewest / float(rates_qps.min()), most / float(rates_qps.sum()))
    while True:
        samples = _run(node, traffic, length_s, settings.seed, replication)
        if samples is None:
            return SharedStretch(samples=(), is_stable=False)
        excess = max(
            LatencyMixture([sample]).interval(each.percentile).relative_half_width / settings.precision
            for sample, each in zip(samples, traffic, strict=True)
        )
        at_most_s = most / float(rates_qps.sum())
        if excess <= 1.0 or length_s >= at_most_s:
            return SharedStretch(samples=tuple(samples), is_stable=True, precision_reached=excess <= 1.0)
        length_s = min(at_most_s, length_s * max(2.0, 1.1 * excess**2))


def _run(
    node: SharedNode, traffic: Sequence[SharedTraffic], length_s: float, seed: int, replication: int
) -> list[LatencySample] | None:
    """Latencies of each service of one run; None where a backlog grew."""
    drawn = [
        _drawn(each, length_s, seed, replication * STREAMS + index) for index, each in enumerate(traffic)
    ]
    end_s = min(float(arrival_s[-1]) for arrival_s, _, _ in drawn)
    counts = [int(np.searchsorted(arrival_s, end_s, side="right")) for arrival_s, _, _ in drawn]
    if min(counts) * 0.9 < MIN_QUERIES:
        raise InputError(f"a service has {min(counts)} queries beside {sum(counts)} of others: too few")
    arrival_s = np.concatenate([each[0][:count] for each, count in zip(drawn, counts, strict=True)])
    num_items = np.concatenate([each[1][:count] for each, count in zip(drawn, counts, strict=True)])
    service = np.repeat(np.arange(len(traffic)), counts)
    order = np.argsort(arrival_s, kind="stable")
    served = node.serve(arrival_s[order], num_items[order], service[order], Luck(seed, replication))
    if overloaded_pool(served.requests) is not None:
        return None
    latency_s = np.empty(len(order))
    latency_s[order] = served.finish_s - arrival_s[order]
    samples, before = [], 0
    for (_, _, outside_s), count in zip(drawn, counts, strict=True):
        own_s = latency_s[before : before + count]
        before += count
        whole_s = own_s if outside_s is None else own_s + outside_s[:count]
        samples.append(sample_of(whole_s[warm_up_queries(count) :], rounding_s=served.requests.rounding_s))
    return samples


def _drawn(
    traffic: SharedTraffic, length_s: float, seed: int, replication: int
) -> tuple[FloatArray, IntArray, FloatArray | None]:
    """Arrivals of about so long, their sizes, and their time outside. [s], [items], [s]"""
    count = max(MIN_QUERIES, ceil(traffic.rate_qps * length_s))
    arrival_s = node_arrivals_s(
        traffic.arrivals,
        count,
        routing=Routing.RANDOM,
        share=traffic.share,
        num_nodes=1,
        seed=seed,
        replication=replication,
    )
    num_items = draw_num_items(traffic.sizes, count, seed=seed, replication=replication)
    return (
        arrival_s,
        num_items,
        draw_outside_s(traffic.outside, count, seed=seed, replication=replication),
    )
