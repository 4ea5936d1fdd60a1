"""Many nodes behind a router: what they are, and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.fleet import Routing
from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray, frozen_ints
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload, check_covers
from perfmodel.sim.records import RunRecord
from perfmodel.sim.routing import draw_candidates
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeKind:
    """Nodes that serve alike: their service times, and how each splits and offloads its queries."""

    service: ServiceTimes
    policy: SplitAndOffload

    def __post_init__(self) -> None:
        if self.policy.shedding is not None:
            raise InputError("policy.shedding: the nodes of a fleet serve every query; expected null")
        if self.service.by_query is not None:
            raise InputError(
                "fleet: its nodes know times by size alone; expected no traffic.lengths, and no "
                "policy.share_query_work"
            )
        if self.service.num_accelerators > 1 and self.service.streams_per_accelerator > 1:
            raise InputError(
                "fleet: expected one accelerator a node where it serves several requests at once"
            )

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
        Scheduled arrival, and the end of the last request. [s]
    num_items : (num_queries,) int
        Sizes. [items]
    node : (num_queries,) int
        Who served the query.
    cpu_busy_s, accelerator_busy_s : (num_nodes,) float
        Service times of all requests of the pool, summed. [s]
    """

    fleet: Fleet
    arrival_s: FloatArray
    num_items: IntArray
    finish_s: FloatArray
    node: IntArray
    cpu_busy_s: FloatArray
    accelerator_busy_s: FloatArray

    @property
    def latency_s(self) -> FloatArray:
        """From the scheduled arrival to the end of the last request; computed anew at each call. [s]"""
        return self.finish_s - self.arrival_s

    def of_kind(self, kind: int) -> RunRecord:
        """Return what the nodes of one kind did, as if they were one node."""
        nodes: BoolArray = self.fleet.kind_of_node == kind
        service, policy = self.fleet.kinds[kind].service, self.fleet.kinds[kind].policy
        served = nodes[self.node]
        num_items, threshold = self.num_items[served], policy.offload_threshold_items
        count = self.fleet.num_nodes_of[kind]
        return RunRecord(
            arrival_s=self.arrival_s[served],
            num_items=num_items,
            finish_s=self.finish_s[served],
            offloaded=np.zeros(len(num_items), np.bool_) if threshold is None else num_items >= threshold,
            cpu_busy_s=float(self.cpu_busy_s[nodes].sum()),
            accelerator_busy_s=float(self.accelerator_busy_s[nodes].sum()),
            num_executors=count * service.num_executors,
            num_accelerators=count * service.num_streams,
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
            "pauses are not simulated where the router looks at the nodes; expected random or round-robin",
            ("node", "pauses"),
        )
    if len(queries):
        for kind in fleet.kinds:
            check_covers(kind.service, kind.policy, int(queries.num_items.max()))
    candidates = draw_candidates(
        routing, len(queries), fleet.num_nodes, seed=seed, replication=replication, weights=weights
    )
    if engine == "simpy":
        from perfmodel.sim.simpy_fleet import serve_routed_simpy

        return serve_routed_simpy(queries, fleet, candidates)
    if candidates is not None and candidates.shape[1] == 1:
        if any(
            kind.service.is_scattered for kind in fleet.kinds
        ):  # factors are drawn by the index at the router
            from perfmodel.sim.compiled_fleet import serve_routed

            return serve_routed(queries, fleet, frozen_ints(np.repeat(candidates, 2, axis=1)))
        return _serve_split(queries, fleet, frozen_ints(candidates[:, 0]))
    # Imported on use: numba takes half a second.
    from perfmodel.sim.compiled_fleet import serve_routed

    return serve_routed(queries, fleet, candidates)


def _serve_split(queries: Queries, fleet: Fleet, node: IntArray) -> FleetRecord:
    """Serve queries whose nodes are settled: each node is a run of its own."""
    finish_s = np.empty(len(queries))
    busy_s = np.zeros((2, fleet.num_nodes))
    # NumPy sorts 16-bit numbers by radix, five times as fast.
    by_node = np.argsort(node.astype(np.uint16) if fleet.num_nodes < 2**16 else node, kind="stable")
    bounds = np.searchsorted(node[by_node], np.arange(fleet.num_nodes + 1))
    for index, kind in enumerate(fleet.kind_of_node.tolist()):
        own = by_node[bounds[index] : bounds[index + 1]]
        mine = Queries(queries.arrival_s[own], queries.num_items[own])
        record = simulate(mine, fleet.kinds[kind].service, fleet.kinds[kind].policy, engine="compiled")
        finish_s[own] = record.finish_s
        busy_s[:, index] = record.cpu_busy_s, record.accelerator_busy_s
    return FleetRecord(
        fleet=fleet,
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=finish_s,
        node=node,
        cpu_busy_s=busy_s[0],
        accelerator_busy_s=busy_s[1],
    )
