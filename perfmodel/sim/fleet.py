"""Many nodes behind a router: what they are, and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.fleet import Routing
from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray, frozen_ints
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Policy, Pool, SplitAndOffload, check_covers, executors_of, is_fifo
from perfmodel.sim.records import LargeCores, RunRecord
from perfmodel.sim.routing import draw_candidates
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeKind:
    """Nodes that serve alike: their service times, and what each does with its queries."""

    service: ServiceTimes
    policy: Policy

    @property
    def is_fifo(self) -> bool:
        """Whether the compiled recursion knows its nodes: split and offload, times by size alone."""
        return is_fifo(self.service, self.policy)

    @property
    def streams_s(self) -> FloatArray:
        """Times of an offloaded query of s items beside n - 1 busy streams: [s - 1, n - 1]. [s]"""
        copies = max(1, self.service.num_accelerators)
        return np.repeat(self.service.accelerator_by_streams_s, copies, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Nodes in index order: the nodes of the first kind, then those of the next.

    Attributes
    ----------
    kinds : tuple of NodeKind
        At least one.
    num_nodes_of : tuple of int
        How many nodes there are of each kind, at least one.
    """

    kinds: tuple[NodeKind, ...]
    num_nodes_of: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.kinds or len(self.kinds) != len(self.num_nodes_of) or min(self.num_nodes_of) < 1:
            raise InputError(
                f"fleet: expected a number of nodes >= 1 for each of {len(self.kinds)} kinds, "
                f"got {list(self.num_nodes_of)}"
            )

    @property
    def num_nodes(self) -> int:
        """All nodes."""
        return sum(self.num_nodes_of)

    @property
    def kind_of_node(self) -> IntArray:
        """Index into `kinds` of each node."""
        return np.repeat(np.arange(len(self.kinds)), self.num_nodes_of)

    def weights(self, of_kind: Sequence[float]) -> FloatArray:
        """Give every node the weight of its kind."""
        return np.repeat(np.asarray(of_kind, dtype=np.float64), self.num_nodes_of)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetRecord:
    """One run, query by query in order of arrival.

    Attributes
    ----------
    fleet : Fleet
        Who served.
    arrival_s, finish_s : (num_queries,) float
        Scheduled arrival, and the end of the last request; a query that was shed never ends: inf. [s]
    num_items : (num_queries,) int
        Sizes. [items]
    node : (num_queries,) int
        Who served the query.
    cpu_busy_s, accelerator_busy_s : (num_nodes,) float
        Service times of all requests of the pool, summed. [s]
    others : OtherPolicies or None
        What else there is to say where nodes do more than split and offload; None: they do not.
    """

    fleet: Fleet
    arrival_s: FloatArray
    num_items: IntArray
    finish_s: FloatArray
    node: IntArray
    cpu_busy_s: FloatArray
    accelerator_busy_s: FloatArray
    others: OtherPolicies | None = None

    @property
    def served(self) -> BoolArray:
        """Which queries were served, all of their items; computed anew at each call."""
        return np.ones(len(self.node), dtype=np.bool_) if self.others is None else ~self.others.shed

    @property
    def latency_s(self) -> FloatArray:
        """From the scheduled arrival to the end of the last request; computed anew at each call. [s]"""
        return self.finish_s - self.arrival_s

    def of_kind(self, kind: int) -> RunRecord:
        """Return what the nodes of one kind did, as if they were one node."""
        nodes: BoolArray = self.fleet.kind_of_node == kind
        service, policy = self.fleet.kinds[kind].service, self.fleet.kinds[kind].policy
        served = nodes[self.node]
        num_items = self.num_items[served]
        count = self.fleet.num_nodes_of[kind]
        record = RunRecord(
            arrival_s=self.arrival_s[served],
            num_items=num_items,
            finish_s=self.finish_s[served],
            offloaded=np.zeros(len(num_items), np.bool_),
            cpu_busy_s=float(self.cpu_busy_s[nodes].sum()),
            accelerator_busy_s=float(self.accelerator_busy_s[nodes].sum()),
            num_executors=count * service.num_executors,
            num_accelerators=count * service.num_streams,
        )
        if self.others is not None:
            return self.others.added(record, served, nodes, self.fleet.kinds[kind], count)
        if isinstance(policy, SplitAndOffload) and policy.offload_threshold_items is not None:
            return replace(record, offloaded=num_items >= policy.offload_threshold_items)
        return record


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OtherPolicies:
    """What a run shows of nodes that do more than split and offload.

    Attributes
    ----------
    offloaded, in_large, shed : (num_queries,) bool
        Which queries ran on the accelerator, on cores set apart for large ones, or were shed.
    large_busy_s, end_s : (num_nodes,) float
        Busy time of those cores, and when the node's last launch ended. [s]
    """

    offloaded: BoolArray
    in_large: BoolArray
    shed: BoolArray
    large_busy_s: FloatArray
    end_s: FloatArray

    @staticmethod
    def none_yet(num_queries: int, num_nodes: int) -> OtherPolicies:
        """Nothing has happened."""
        offloaded, in_large, shed = (np.zeros(num_queries, dtype=np.bool_) for _ in range(3))
        return OtherPolicies(
            offloaded=offloaded,
            in_large=in_large,
            shed=shed,
            large_busy_s=np.zeros(num_nodes),
            end_s=np.zeros(num_nodes),
        )

    def add(self, node: int, own: IntArray, record: RunRecord) -> None:
        """Write down what a node did with its queries."""
        self.offloaded[own] = record.offloaded
        if record.shed is not None:
            self.shed[own] = record.shed
        if record.large is not None:
            self.in_large[own] = record.large.serves
            self.large_busy_s[node] = record.large.busy_s
        self.end_s[node] = record.makespan_s

    def added(
        self, record: RunRecord, served: BoolArray, nodes: BoolArray, kind: NodeKind, count: int
    ) -> RunRecord:
        """A record of a kind of node with what is known beside it."""
        large = next((lane for lane in kind.policy.lanes if lane.pool is Pool.CPU_LARGE), None)
        return replace(
            record,
            offloaded=self.offloaded[served],
            shed=None if kind.policy.shedding is None else self.shed[served],
            last_end_s=float(self.end_s[nodes].max(initial=0.0)),
            large=None
            if large is None
            else LargeCores(
                serves=self.in_large[served],
                busy_s=float(self.large_busy_s[nodes].sum()),
                num_executors=count * executors_of(large, kind.policy, kind.service),
            ),
        )


def simulate_fleet(
    queries: Queries,
    fleet: Fleet,
    routing: Routing,
    *,
    seed: int,
    replication: int = 0,
    weights: FloatArray | None = None,
    engine: Literal["compiled", "simpy"] = "compiled",
) -> FleetRecord:
    """Route and serve every query; the engines agree to the last bit.

    Parameters
    ----------
    queries : Queries
        What arrives at the router, which takes no time.
    fleet : Fleet
        Who serves.
    routing : Routing
        How a node is chosen, at the instant of arrival.
    seed, replication : int
        Choose the random stream "routing".
    weights : (num_nodes,) float, optional
        See `draw_candidates`.
    engine : {"compiled", "simpy"}
        "simpy" is the reference.

    Examples
    --------
    Two nodes of one core, 10 ms a query, three queries at once: the third waits behind the first.

    >>> kind = NodeKind(service=ServiceTimes(cpu_s=np.array([[0.010]])), policy=SplitAndOffload(batch_size=1))
    >>> queries = Queries(np.zeros(3), np.ones(3, dtype=int))
    >>> record = simulate_fleet(queries, Fleet((kind,), (2,)), Routing.JOIN_SHORTEST_QUEUE, seed=1)
    >>> record.node.tolist(), record.latency_s.tolist()
    ([0, 1, 0], [0.01, 0.01, 0.02])
    """
    if any(kind.service.is_paused for kind in fleet.kinds):
        raise ValueErrorAt(
            "pauses are not simulated where the router looks at the nodes, or replays a trace; expected "
            "random or round-robin routing of drawn arrivals",
            ("node", "pauses"),
        )
    if len(queries):
        for kind in fleet.kinds:
            check_covers(kind.service, kind.policy, int(queries.num_items.max()))
    candidates = draw_candidates(
        routing, len(queries), fleet.num_nodes, seed=seed, replication=replication, weights=weights
    )
    if engine == "simpy":
        return _by_events(queries, fleet, candidates)
    settled = candidates is not None and candidates.shape[1] == 1
    # Factors, and kinds of queries, are drawn by the index at the router.
    if settled and not any(kind.service.is_scattered or kind.service.by_query for kind in fleet.kinds):
        assert candidates is not None, "one each"
        return _serve_split(queries, fleet, frozen_ints(candidates[:, 0]))
    if not all(kind.is_fifo for kind in fleet.kinds):
        return _by_events(queries, fleet, candidates)
    # Imported on use: numba takes half a second.
    from perfmodel.sim.compiled_fleet import serve_routed

    if settled:
        assert candidates is not None, "one each"
        return serve_routed(queries, fleet, frozen_ints(np.repeat(candidates, 2, axis=1)))
    return serve_routed(queries, fleet, candidates)


def _by_events(queries: Queries, fleet: Fleet, candidates: IntArray | None) -> FleetRecord:
    from perfmodel.sim.simpy_fleet import serve_routed_simpy

    return serve_routed_simpy(queries, fleet, candidates)


def _serve_split(queries: Queries, fleet: Fleet, node: IntArray) -> FleetRecord:
    """Serve queries whose nodes are settled: each node is a run of its own."""
    finish_s = np.empty(len(queries))
    busy_s = np.zeros((2, fleet.num_nodes))
    others = None
    if not all(kind.is_fifo for kind in fleet.kinds):
        others = OtherPolicies.none_yet(len(queries), fleet.num_nodes)
    # NumPy sorts 16-bit numbers by radix, five times as fast.
    by_node = np.argsort(node.astype(np.uint16) if fleet.num_nodes < 2**16 else node, kind="stable")
    bounds = np.searchsorted(node[by_node], np.arange(fleet.num_nodes + 1))
    kind_of_node = fleet.kind_of_node
    for index in np.flatnonzero(np.diff(bounds)).tolist():
        own = by_node[bounds[index] : bounds[index + 1]]
        kind = fleet.kinds[kind_of_node[index]]
        mine = Queries(queries.arrival_s[own], queries.num_items[own])
        record = simulate(mine, kind.service, kind.policy)
        finish_s[own] = record.finish_s
        busy_s[:, index] = record.cpu_busy_s, record.accelerator_busy_s
        if others is not None:
            others.add(index, own, record)
    return FleetRecord(
        fleet=fleet,
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=finish_s,
        node=node,
        cpu_busy_s=busy_s[0],
        accelerator_busy_s=busy_s[1],
        others=others,
    )
