"""A policy's lanes while a run of the reference engine lasts: executors, queues, and what may be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from perfmodel.sim.policies import Lane, Policy, Pool, PoolView, Request, executors_of
from perfmodel.sim.query_times import LaunchTimes
from perfmodel.sim.scatter import ScatterTable
from perfmodel.sim.service import ServiceTimes


class Group:
    """Executors that are alike in everything: the cores of a lane, the streams of one accelerator."""

    def __init__(self, executors: range, contention: Contention) -> None:
        self.num_executors = len(executors)
        self.idle = list(executors)  # a heap: the lowest idle executor is next
        self.contention = contention


class Contention:
    """Executors that slow each other down: the cores of the node, the streams of one accelerator."""

    def __init__(self) -> None:
        self.num_busy = 0


class LaneState:
    """A lane's executors and its queue."""

    def __init__(
        self,
        lane: Lane,
        policy: Policy,
        groups: Sequence[Group],
        service_s: list[list[float]],
        scatter: ScatterTable | None,
        by_query: LaunchTimes | None,
    ) -> None:
        self.rules = lane
        self.queue = policy.new_queue(lane.pool)
        self.groups = groups
        self.service_s = service_s  # [items - 1][busy - 1]
        self.scatter = scatter
        self.by_query = by_query  # where times depend on the query too
        self.num_executors = sum(group.num_executors for group in groups)
        self.num_idle = self.num_executors
        self.head: Request | None = None  # taken from the queue, but not yet launched
        self.queued_requests = 0
        self.queued_items = 0
        self.busy_s = 0.0
        self.launches = 0
        self.wakes_at_s = -1.0

    def view(self) -> PoolView:
        """What a policy may know."""
        busy = self.num_executors - self.num_idle
        return PoolView(self.num_executors, busy, self.queued_requests, self.queued_items)

    def join(self, request: Request) -> None:
        """Let a request join."""
        self.queue.append(request)
        self.queued_requests += 1
        self.queued_items += request.num_items

    def next_request(self) -> Request | None:
        """Look at the request that is next."""
        if self.head is None and len(self.queue):
            self.head = self.queue.popleft()
        return self.head

    def take(self) -> Request:
        """Take the request that is next."""
        request = self.next_request()
        assert request is not None
        self.head = None
        self.queued_requests -= 1
        self.queued_items -= request.num_items
        return request


class Views:
    """The node as policies see it: read-only, the present only."""

    __slots__ = ("_view",)

    def __init__(self, lanes: dict[Pool, LaneState]) -> None:
        def view(pool: Pool) -> PoolView:
            return lanes[pool].view() if pool in lanes else PoolView(0)

        self._view = view

    def __getitem__(self, pool: Pool) -> PoolView:
        return self._view(pool)


class Tables(NamedTuple):
    """Service times as lists, `[items - 1][busy - 1]`: nodes that serve alike share them."""

    cpu_s: list[list[float]]
    accelerator_s: list[list[float]]

    @staticmethod
    def of(service: ServiceTimes) -> Tables:
        """Those of a node."""
        return Tables(service.cpu_s.tolist(), service.accelerator_by_streams_s.tolist())


def lay_out(policy: Policy, service: ServiceTimes, tables: Tables | None = None) -> dict[Pool, LaneState]:
    """The lanes of a policy on a node, in order; cores of different lanes slow each other down."""
    lanes: dict[Pool, LaneState] = {}
    tables = Tables.of(service) if tables is None else tables
    by_query = service.by_query
    cores, first_core = Contention(), 0
    for lane in policy.lanes:
        num_executors = executors_of(lane, policy, service)
        if lane.pool is Pool.ACCELERATOR:
            streams = service.streams_per_accelerator
            groups = [
                Group(range(index * streams, (index + 1) * streams), Contention())
                for index in range(service.num_accelerators)
            ]
            of_card = None if by_query is None else by_query.accelerator
            scatter = service.accelerator_scatter
            lanes[lane.pool] = LaneState(lane, policy, groups, tables.accelerator_s, scatter, of_card)
        else:
            group = Group(range(first_core, first_core + num_executors), cores)
            first_core += num_executors
            of_cores = None if by_query is None else by_query.cpu
            lanes[lane.pool] = LaneState(lane, policy, [group], tables.cpu_s, service.cpu_scatter, of_cores)
    return lanes
