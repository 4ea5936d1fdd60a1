"""The reference for fleets: one event after another, on SimPy's event core.

At one instant completions release their executors on all nodes, then arrivals are routed and join in
index order, each seeing those before it, then every node's idle executors take requests one at a time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.fleet import Fleet, FleetRecord, NodeKind
from perfmodel.sim.policies import Pool, Request, split_query
from perfmodel.sim.scatter import ScatterTable
from perfmodel.sim.simpy_clock import ARRIVE, RELEASE, Clock
from perfmodel.sim.traffic import Queries


def serve_routed_simpy(queries: Queries, fleet: Fleet, candidates: IntArray | None) -> FleetRecord:
    """Route each query to the candidate with the fewest requests, the first of equal ones, and serve it.

    Parameters
    ----------
    queries : Queries
        What arrives.
    fleet : Fleet
        Who serves.
    candidates : (num_queries, d) int or None
        The nodes that the router looks at; None: all, in index order.
    """
    run = _FleetRun(queries, fleet, candidates)
    run.expect_next_arrival()
    run.clock.run()
    return FleetRecord(
        fleet=fleet,
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=np.array(run.finish_s, dtype=np.float64),
        node=np.array(run.node_of, dtype=np.int64),
        cpu_busy_s=np.array([node[Pool.CPU].busy_s for node in run.nodes]),
        accelerator_busy_s=np.array([node[Pool.ACCELERATOR].busy_s for node in run.nodes]),
    )


@dataclass(slots=True)
class _PoolState:
    """The executors of one pool of one node, and their queue."""

    service_s: FloatArray  # [items - 1, busy - 1]
    scatter: ScatterTable | None
    queue: deque[Request] = field(default_factory=deque)
    num_busy: int = 0
    busy_s: float = 0.0

    @property
    def num_requests(self) -> int:
        return len(self.queue) + self.num_busy


_Node = dict[Pool, _PoolState]


class _FleetRun:
    """The one owner of the state while a run lasts."""

    def __init__(self, queries: Queries, fleet: Fleet, candidates: IntArray | None) -> None:
        self.clock = Clock()
        self.queries = queries
        self.candidates = candidates
        self.kinds = [fleet.kinds[kind] for kind in fleet.kind_of_node.tolist()]
        self.nodes = [_idle_node(kind) for kind in self.kinds]
        self.node_of: list[int] = []
        self.open_requests: list[int] = []
        self.unstarted_items: list[int] = []
        self.finish_s = [float("nan")] * len(queries)

    def expect_next_arrival(self) -> None:
        """Queries arrive one after another."""
        if len(self.node_of) < len(self.queries):
            self.clock.call_at(float(self.queries.arrival_s[len(self.node_of)]), ARRIVE, self._arrive)

    def _arrive(self) -> None:
        query, num_items = len(self.node_of), int(self.queries.num_items[len(self.node_of)])
        node = self._route(query)
        self.node_of.append(node)
        self.expect_next_arrival()
        policy = self.kinds[node].policy
        offloads = policy.offloads(num_items)
        requests = [num_items] if offloads else split_query(num_items, policy.batch_size)
        pool = self.nodes[node][Pool.ACCELERATOR if offloads else Pool.CPU]
        pool.queue.extend(Request(query, items) for items in requests)
        self.open_requests.append(len(requests))
        self.unstarted_items.append(num_items)
        self._end_of_instant()

    def _route(self, query: int) -> int:
        """Return the candidate with the fewest requests; `min` returns the first of equal ones."""
        looked_at = range(len(self.nodes)) if self.candidates is None else self.candidates[query].tolist()
        return min(looked_at, key=lambda node: sum(pool.num_requests for pool in self.nodes[node].values()))

    def _complete(self, pool: _PoolState, query: int) -> None:
        pool.num_busy -= 1
        self.open_requests[query] -= 1
        if self.open_requests[query] == 0:
            self.finish_s[query] = self.clock.now
        self._end_of_instant()

    def _end_of_instant(self) -> None:
        """Dispatch once nothing else can happen at this instant."""
        if self.clock.instant_is_over():
            for node in self.nodes:
                for pool in node.values():
                    while pool.queue and pool.num_busy < pool.service_s.shape[1]:
                        self._start(pool, pool.queue.popleft())

    def _start(self, pool: _PoolState, request: Request) -> None:
        """An idle executor takes a request; its service time is settled now."""
        pool.num_busy += 1
        service_s = float(pool.service_s[request.num_items - 1, pool.num_busy - 1])
        if pool.scatter is not None:
            left = self.unstarted_items[request.query]
            service_s *= pool.scatter.factor(self.queries.luck, request.query, left, request.num_items)
        self.unstarted_items[request.query] -= request.num_items
        pool.busy_s += service_s
        self.clock.call_at(self.clock.now + service_s, RELEASE, partial(self._complete, pool, request.query))


def _idle_node(kind: NodeKind) -> _Node:
    service = kind.service
    return {
        Pool.CPU: _PoolState(service.cpu_s, service.cpu_scatter),
        Pool.ACCELERATOR: _PoolState(kind.streams_s, service.accelerator_scatter),
    }
