"""The reference for fleets: nodes of the reference engine on one clock, behind a router.

At one instant completions release their executors on all nodes, then arrivals are routed and join in
index order, each seeing those before it, then every node's idle executors take requests one at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perfmodel.sim.arrays import IntArray
from perfmodel.sim.fleet import Fleet, FleetRecord, NodeKind, OtherPolicies
from perfmodel.sim.policies import Pool
from perfmodel.sim.simpy_clock import ARRIVE, Clock
from perfmodel.sim.simpy_engine import NodeRun, QueryStates
from perfmodel.sim.simpy_lanes import Tables
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
    return run.record()


class _Node(NodeRun):
    """A node whose idle executors wait until nothing else can happen on any node."""

    def __init__(
        self,
        queries: Queries,
        kind: NodeKind,
        tables: Tables,
        *,
        clock: Clock,
        states: QueryStates,
        settle: Callable[[_Node], None],
    ) -> None:
        super().__init__(
            queries, kind.service, kind.policy.for_run(), clock=clock, states=states, tables=tables
        )
        self._settle = settle

    def _end_of_instant(self) -> None:
        self._settle(self)


class _FleetRun:
    """The one owner of the state while a run lasts."""

    def __init__(self, queries: Queries, fleet: Fleet, candidates: IntArray | None) -> None:
        self.clock = Clock()
        self.queries, self.fleet, self.candidates = queries, fleet, candidates
        self.states = QueryStates(queries)
        tables = [Tables.of(kind.service) for kind in fleet.kinds]
        self.nodes = [
            _Node(
                queries,
                fleet.kinds[kind],
                tables[kind],
                clock=self.clock,
                states=self.states,
                settle=self._end_of_instant,
            )
            for kind in fleet.kind_of_node.tolist()
        ]
        self.node_of: list[int] = []
        self.touched: dict[_Node, None] = {}

    def expect_next_arrival(self) -> None:
        """Queries arrive one after another."""
        if len(self.node_of) < len(self.queries):
            self.clock.call_at(self.states.arrival_s[len(self.node_of)], ARRIVE, self._arrive)

    def _arrive(self) -> None:
        query = len(self.node_of)
        chosen = self._route(query)
        self.node_of.append(chosen)
        self.expect_next_arrival()
        self.nodes[chosen].join(query)
        self._end_of_instant(self.nodes[chosen])

    def _route(self, query: int) -> int:
        """Return the candidate with the fewest requests; `min` returns the first of equal ones."""
        looked_at = range(len(self.nodes)) if self.candidates is None else self.candidates[query].tolist()
        return min(looked_at, key=lambda node: self.nodes[node].num_requests)

    def _end_of_instant(self, node: _Node) -> None:
        """Dispatch on all nodes to which something happened, once nothing else can at this instant."""
        self.touched[node] = None
        if self.clock.instant_is_over():
            for each in self.touched:
                each.dispatch()
            self.touched.clear()

    def record(self) -> FleetRecord:
        """Return what happened."""
        on = [{pool: lane.busy_s for pool, lane in node.lanes.items()} for node in self.nodes]
        cpu_busy_s = [
            sum(busy_s for pool, busy_s in node.items() if pool is not Pool.ACCELERATOR) for node in on
        ]
        pools = self.states.pool
        return FleetRecord(
            fleet=self.fleet,
            arrival_s=self.queries.arrival_s,
            num_items=self.queries.num_items,
            finish_s=np.array(self.states.finish_s, dtype=np.float64),
            node=np.array(self.node_of, dtype=np.int64),
            cpu_busy_s=np.array(cpu_busy_s),
            accelerator_busy_s=np.array([node.get(Pool.ACCELERATOR, 0.0) for node in on]),
            others=OtherPolicies(
                offloaded=np.array([pool is Pool.ACCELERATOR for pool in pools], dtype=np.bool_),
                in_large=np.array([pool is Pool.CPU_LARGE for pool in pools], dtype=np.bool_),
                shed=np.array(self.states.shed, dtype=np.bool_),
                large_busy_s=np.array([node.get(Pool.CPU_LARGE, 0.0) for node in on]),
                end_s=np.array([node.last_end_s - node.idle_end_s for node in self.nodes]),
            ),
        )
