"""The reference engine of a node that several services share, on SimPy's event core.

An instant goes as in `simpy_engine`: completions, arrivals in index order, then idle executors take requests
one at a time. `shared_lanes` says whose turn it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.policies import AgedQueue, Policy, Pool, Request, split_query
from perfmodel.sim.query_times import LaunchTimes
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.shared_lanes import LanesServed, Layout, SharedLane
from perfmodel.sim.simpy_clock import ARRIVE, RELEASE, Clock

WAKE = 2


def serve_simpy(
    arrival_s: FloatArray,
    num_items: IntArray,
    service: IntArray,
    layout: Layout,
    services: Sequence[tuple[ServiceTimes, Policy]],
    luck: Luck,
    kinds: IntArray,
) -> LanesServed:
    """Serve queries of several services, in order of arrival.

    Parameters
    ----------
    arrival_s, num_items, service : (num_queries,) arrays
        When each comes, its size, and whose it is. [s], [items]
    layout : Layout
        Of the services.
    services : sequence of (ServiceTimes, Policy)
        By index.
    luck : Luck
        What chooses the factors of scattered times.
    kinds : (num_queries,) int
        Kind of each query, where times of its service depend on that.
    """
    run = _Run(arrival_s, num_items, layout, services, luck, kinds)
    run.lane_of = layout.lane_of(num_items, service).tolist()
    run.expect_next()
    run.clock.run()
    return run.served()


class _Waiting:
    """The queue of a lane."""

    def __init__(self, lane: SharedLane) -> None:
        ageing = lane.rules.ageing_items_per_s
        self.queue: deque[Request] | AgedQueue = deque() if ageing is None else AgedQueue(ageing)
        self.items = 0
        self.wakes_at_s = -1.0

    def join(self, request: Request) -> None:
        self.queue.append(request)
        self.items += request.num_items

    def next(self) -> Request | None:
        """Look at the request that is next: a shorter query may still come before it."""
        if not len(self.queue):
            return None
        return self.queue.first if isinstance(self.queue, AgedQueue) else self.queue[0]

    def take(self) -> Request:
        request = self.queue.popleft()
        self.items -= request.num_items
        return request


class _Run:
    """State of a run."""

    def __init__(
        self,
        arrival_s: FloatArray,
        num_items: IntArray,
        layout: Layout,
        services: Sequence[tuple[ServiceTimes, Policy]],
        luck: Luck,
        kinds: IntArray,
    ) -> None:
        self.clock = Clock()
        self.arrival_s, self.num_items = arrival_s.tolist(), num_items.tolist()
        self.kinds = kinds.tolist()
        self.layout, self.services, self.luck = layout, services, luck
        self.lane_of: list[int] = []
        self.waiting = [_Waiting(lane) for lane in layout.lanes]
        self.idle = list(layout.executors)
        self.busy_s = [0.0] * len(layout.executors)
        self.open_items = list(self.num_items)
        self.unstarted = list(self.num_items)
        self.finish_s = [np.inf] * len(self.num_items)
        self.shed = [False] * len(self.num_items)
        self.arrived = 0
        self.last_end_s = self.idle_end_s = 0.0

    def expect_next(self) -> None:
        if self.arrived < len(self.arrival_s):
            self.clock.call_at(self.arrival_s[self.arrived], ARRIVE, self._arrive)

    def _arrive(self) -> None:
        query = self.arrived
        self.arrived += 1
        self.expect_next()
        index = self.lane_of[query]
        lane, waiting = self.layout.lanes[index], self.waiting[index]
        shedding = self.services[lane.service][1].shedding
        limit = None if shedding is None else shedding.queue_limit_requests
        if limit is not None and len(waiting.queue) - self._idle_of(lane) >= limit:
            self.shed[query] = True
        else:
            for items in split_query(self.num_items[query], lane.rules.request_items):
                waiting.join(Request(query, items, self.num_items[query], self.arrival_s[query]))
        self._end_of_instant()

    def _idle_of(self, lane: SharedLane) -> int:
        return sum(self.idle[lane.first_group : lane.end_group])

    def _end_of_instant(self) -> None:
        if self.clock.instant_is_over():
            while (index := self._whose_turn()) is not None:
                self._launch(index)

    def _whose_turn(self) -> int | None:
        """The lane whose next query came first, of those that are ready and have an idle executor."""
        ready = []
        for index, lane in enumerate(self.layout.lanes):
            if self._idle_of(lane) and (head := self._ready(index)) is not None:
                ready.append((head.query, index))
        return min(ready)[1] if ready else None

    def _ready(self, index: int) -> Request | None:
        """What a lane would launch next, once overdue requests are dropped; None: nothing now."""
        lane, waiting = self.layout.lanes[index], self.waiting[index]
        shedding = self.services[lane.service][1].shedding
        deadline_s = None if shedding is None else shedding.deadline_s
        while (head := waiting.next()) is not None:
            if deadline_s is None or self.clock.now - head.arrival_s <= deadline_s:
                break
            dropped = waiting.take()
            self.shed[dropped.query] = True
            self.unstarted[dropped.query] -= dropped.num_items
        joining = lane.rules.joining
        if head is None or joining is None or joining.wait_s == 0.0 or waiting.items >= joining.max_items:
            return head
        timeout_s = head.arrival_s + joining.wait_s
        if timeout_s > self.clock.now and timeout_s != waiting.wakes_at_s:
            waiting.wakes_at_s = timeout_s
            self.clock.call_at(timeout_s, WAKE, self._end_of_instant)
        return head if timeout_s <= self.clock.now else None

    def _launch(self, index: int) -> None:
        lane, waiting = self.layout.lanes[index], self.waiting[index]
        launched = [waiting.take()]
        items = launched[0].num_items
        joining = lane.rules.joining
        if joining is not None:
            while (more := waiting.next()) and items + more.num_items <= joining.max_items:
                launched.append(waiting.take())
                items += more.num_items
        group = max(range(lane.first_group, lane.end_group), key=self.idle.__getitem__)
        self.idle[group] -= 1
        service_s = self._service_s(lane, launched, items, self._busy_beside(lane, group))
        for request in launched:
            self.unstarted[request.query] -= request.num_items
        self.busy_s[group] += service_s
        finish_s = self.clock.now + service_s
        if self.arrived == len(self.arrival_s):
            self.idle_end_s += max(0.0, self.clock.now - max(self.last_end_s, self.arrival_s[-1]))
        self.last_end_s = max(self.last_end_s, finish_s)
        self.clock.call_at(finish_s, RELEASE, partial(self._complete, group, launched))

    def _busy_beside(self, lane: SharedLane, group: int) -> int:
        """Executors that slow each other down, this one included: all cores, or one accelerator's streams."""
        groups = [group] if lane.on_accelerator else range(self.layout.core_groups)
        return sum(self.layout.executors[each] - self.idle[each] for each in groups)

    def _service_s(self, lane: SharedLane, launched: Sequence[Request], items: int, busy: int) -> float:
        times = self.services[lane.service][0]
        on_card = lane.rules.pool is Pool.ACCELERATOR
        table_s = times.accelerator_by_streams_s if on_card else times.cpu_s
        service_s = float(table_s[items - 1, busy - 1])
        if times.by_query is not None:
            law = times.by_query.accelerator if on_card else times.by_query.cpu
            assert law is not None, "there is a card"
            service_s = self._by_query_s(law, launched, items, busy, shares=times.by_query.shares_work)
        scatter = times.accelerator_scatter if on_card else times.cpu_scatter
        if scatter is not None:
            head = launched[0].query
            service_s *= scatter.factor(self.luck, head, self.unstarted[head], items)
        return service_s

    def _by_query_s(
        self, law: LaunchTimes, launched: Sequence[Request], items: int, busy: int, *, shares: bool
    ) -> float:
        begun, works = set[int](), 0
        for request in launched:
            begins = self.unstarted[request.query] == self.num_items[request.query]
            works += not shares or (begins and request.query not in begun)
            begun.add(request.query)
        return law.seconds(max(self.kinds[each.query] for each in launched), items, works, busy)

    def _complete(self, group: int, launched: Sequence[Request]) -> None:
        self.idle[group] += 1
        for request in launched:
            self.open_items[request.query] -= request.num_items
            if self.open_items[request.query] == 0:
                self.finish_s[request.query] = self.clock.now
        self._end_of_instant()

    def served(self) -> LanesServed:
        """Return what happened."""
        return LanesServed(
            np.array(self.finish_s),
            np.array(self.shed, dtype=np.bool_),
            np.array(self.busy_s),
            self.last_end_s,
            self.idle_end_s,
        )
