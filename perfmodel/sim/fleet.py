"""Many nodes behind a router: what they are, and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.pipeline import stages_of
from perfmodel.sim.policies import Policy, Pool, SplitAndOffload, executors_of, is_fifo
from perfmodel.sim.records import LargeCores, RunRecord
from perfmodel.sim.service import ServiceTimes


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
        stages = list(stages_of(service, policy))
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
            num_executors=count * sum(own.num_executors for own, _ in stages),
            num_accelerators=count * sum(own.num_streams for own, _ in stages),
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
