"""The engines of a fleet, and which of them serves a run."""

from __future__ import annotations

from typing import Literal

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.fleet import Routing
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray, frozen_ints
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet import Fleet, FleetRecord, NodeKind, OtherPolicies
from perfmodel.sim.policies import check_covers
from perfmodel.sim.routing import draw_candidates
from perfmodel.sim.scatter import Luck
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries


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

    >>> from perfmodel.sim.fleet import NodeKind
    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> from perfmodel.sim.service import ServiceTimes
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
    staged = any(kind.service.pipeline is not None for kind in fleet.kinds)
    if staged and (candidates is None or candidates.shape[1] > 1 or engine == "simpy"):
        raise InputError("routing: expected random or round-robin for several stages")
    if engine == "simpy":
        return _by_events(queries, fleet, candidates)
    settled = candidates is not None and candidates.shape[1] == 1
    # Factors, and kinds of queries, are drawn by the index at the router.
    if settled and (staged or not any(k.service.is_scattered or k.service.by_query for k in fleet.kinds)):
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
    from perfmodel.sim.simpy_fleet import (
        serve_routed_simpy,
    )  # on use: SimPy is for what the loops do not serve

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
        mine = Queries(queries.arrival_s[own], queries.num_items[own], _luck(queries.luck, index, kind))
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


def _luck(luck: Luck, node: int, kind: NodeKind) -> Luck:
    """What happens by chance on a node with several stages; on others it is drawn at the router."""
    if kind.service.pipeline is None:
        return luck
    return Luck(int(stream(luck.seed, f"node {node}", luck.replication).integers(2**62)), luck.replication)
