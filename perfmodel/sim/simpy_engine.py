"""The reference engine: any policy, one event after another, on SimPy's event core.

What happens at one instant, in this order: completions release their executors, arrivals join in index
order, then idle executors take requests one at a time, lane after lane. The number of busy executors that
a launch sees counts itself and those whose completion lies later. A timer of a batch only wakes the
dispatcher: what arrives at the very instant of a timeout is part of that batch.

Callbacks on events rather than a process for each request: four times as fast, and a process reads the
number of busy executors when it resumes, so all requests of one query would see the same number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.pauses import CORE_PAUSES, PauseEvents
from perfmodel.sim.policies import NodeView, Placement, Policy, Pool, Request
from perfmodel.sim.records import LargeCores, RequestLog, RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.simpy_clock import ARRIVE, RELEASE, Clock
from perfmodel.sim.simpy_lanes import Group, LaneState, Tables, Views, lay_out
from perfmodel.sim.traffic import Queries

# Order within an instant, after releases and arrivals.
WAKE = 2

ALL_USERS = 2.0**40
"""More than there can be: their numbers over it order the arrivals of an instant."""


def simulate_simpy(
    queries: Queries, service: ServiceTimes, policy: Policy, *, log_requests: bool = False
) -> RunRecord:
    """Serve every query and return what happened.

    Parameters
    ----------
    queries : Queries
        What arrives.
    service : ServiceTimes
        How long requests hold an executor.
    policy : Policy
        Where queries go, and in which order requests are taken.
    log_requests : bool, default False
        Whether to record every request too.

    Raises
    ------
    InputError
        If the policy breaks a rule: it loses items, serves them twice, or names what does not exist.
    """
    if service.core_pauses and log_requests:
        raise InputError("engine simpy: logs no requests where single executors are paused")
    run = NodeRun(queries, service, policy.for_run(), log_requests=log_requests)
    run.execute()
    return run.record()


class _LogEntry(NamedTuple):
    query: int
    num_items: int
    start_s: float
    finish_s: float
    executor: int
    num_busy: int
    on_accelerator: bool
    launch: int


@dataclass(slots=True, eq=False)
class _Running:
    """A launch while it runs, or a pause of an idle executor: when it ends, which pauses put off."""

    finish_s: float
    number: int  # in the order in which ends were settled
    lane: LaneState
    group: Group
    executor: int
    launched: Sequence[Request]


class QueryStates:
    """What becomes of each query; nodes that share the queries of a fleet share it."""

    def __init__(self, queries: Queries) -> None:
        self.arrival_s: list[float] = queries.arrival_s.tolist()
        self.num_items: list[int] = queries.num_items.tolist()
        self.open_items = list(self.num_items)  # not yet served or dropped
        self.unstarted_items = list(self.num_items)
        self.finish_s = [float("inf")] * len(queries)
        self.pool: list[Pool] = [Pool.CPU] * len(queries)
        self.shed = [False] * len(queries)


class NodeRun:
    """The one owner of a node's state while a run lasts; nodes of a fleet share the clock and the queries."""

    def __init__(
        self,
        queries: Queries,
        service: ServiceTimes,
        policy: Policy,
        *,
        log_requests: bool = False,
        clock: Clock | None = None,
        states: QueryStates | None = None,
        tables: Tables | None = None,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.queries = queries
        self.service = service
        self.policy = policy
        self.luck = queries.luck
        by_query = service.by_query
        self.kinds: list[int] | None = None
        if by_query is not None:
            self.kinds = by_query.kinds_of(len(queries), queries.luck).tolist()
        self.shares_work = by_query is not None and by_query.shares_work
        shedding = policy.shedding
        self.queue_limit = None if shedding is None else shedding.queue_limit_requests
        self.deadline_s = None if shedding is None else shedding.deadline_s
        of = QueryStates(queries) if states is None else states
        self.arrival_s, self.num_items, self.finish_s = of.arrival_s, of.num_items, of.finish_s
        self.open_items, self.unstarted_items = of.open_items, of.unstarted_items
        self.pool, self.shed = of.pool, of.shed
        self.arrived = 0
        self.users = queries.users
        self.user_of: list[int] = []
        self.running_requests = 0
        self.last_end_s = self.idle_end_s = 0.0
        self.log: list[_LogEntry] | None = [] if log_requests else None
        self.running: set[_Running] = set()
        self.settled = self.open_queries = 0
        self.open_queries = len(queries)
        self.pauses: PauseEvents | None = None
        self.paused = 0
        self.paused_s = 0.0
        if service.core_pauses:
            cores = service.num_executors
            self.pauses = PauseEvents(service.core_pauses, queries.luck, CORE_PAUSES, executors=cores)
        self.lanes = lay_out(policy, service, tables)
        self.view: NodeView = Views(self.lanes)

    def execute(self) -> None:
        """Let everything happen."""
        if self.users is None:
            self._expect_next_arrival()
        else:
            for user, first_s in enumerate(self.users.first_s.tolist()):
                self._expect_user(user, first_s)
        self._expect_next_pause()
        self.clock.run()
        lost = next((query for query, items in enumerate(self.open_items) if items), None)
        if lost is not None:
            raise self._broken(lost, f"{self.open_items[lost]} items were never served: a queue lost them")

    def _expect_user(self, user: int, time_s: float) -> None:
        """At one instant users ask in the order of their numbers."""
        self.clock.call_at(time_s, ARRIVE + user / ALL_USERS, partial(self._ask, user))

    def _ask(self, user: int) -> None:
        """A user who has thought asks, unless all queries of the run have been asked."""
        if self.arrived < len(self.arrival_s):
            self.arrival_s[self.arrived] = self.clock.now
            self.user_of.append(user)
            self._arrive()
        else:
            self._end_of_instant()

    def _answered(self, query: int) -> None:
        """Whoever asked a query thinks, and asks again."""
        if self.users is not None:
            self._expect_user(self.user_of[query], self.clock.now + float(self.users.think_s[query]))

    def _expect_next_arrival(self) -> None:
        if self.users is None and self.arrived < len(self.arrival_s):
            self.clock.call_at(self.arrival_s[self.arrived], ARRIVE, self._arrive)

    def _expect_next_pause(self) -> None:
        if self.pauses is not None and self.open_queries:
            while self.paused >= len(self.pauses.start_s):
                self.pauses.cover(2.0 * self.clock.now + 1.0)
            self.clock.call_at(float(self.pauses.start_s[self.paused]), ARRIVE, self._pause)

    def _pause(self) -> None:
        """A core drawn at random is paused: places are those of `compiled_pauses`, idle cores first."""
        assert self.pauses is not None
        pick, length_s = float(self.pauses.pick[self.paused]), float(self.pauses.length_s[self.paused])
        self.paused += 1
        self.paused_s += length_s
        lane = self.lanes[Pool.CPU]
        struck = min(lane.num_executors - 1, int(pick * lane.num_executors)) - lane.num_idle
        if struck < 0:
            group = lane.groups[0]
            executor = heappop(group.idle)
            lane.num_idle -= 1
            group.contention.num_busy += 1
            self._run(_Running(self.clock.now + length_s, 0, lane, group, executor, ()))
        else:
            on_cores = (each for each in self.running if each.lane is lane)
            running = sorted(on_cores, key=lambda each: (each.finish_s, each.number))[struck]
            running.finish_s += length_s  # its completion finds that it has been put off
            running.number = self.settled = self.settled + 1
            if running.launched:
                self.last_end_s = max(self.last_end_s, running.finish_s)
        self._expect_next_pause()
        self._end_of_instant()

    def _run(self, running: _Running) -> None:
        """Let something run until it ends."""
        running.number = self.settled = self.settled + 1
        self.running.add(running)
        self.clock.call_at(running.finish_s, RELEASE, partial(self._complete, running))

    def _arrive(self) -> None:
        """A query arrives: the policy places it, its requests join the queue."""
        query = self.arrived
        self.arrived += 1
        self._expect_next_arrival()
        self.join(query)
        self._end_of_instant()

    def join(self, query: int) -> None:
        """Let a query join that has just arrived."""
        self._enqueue(query, self.policy.place_query(query, self.num_items[query], self.clock.now, self.view))

    @property
    def num_requests(self) -> int:
        """Requests, queued or running."""
        return self.running_requests + sum(lane.queued_requests for lane in self.lanes.values())

    def _enqueue(self, query: int, placement: Placement) -> None:
        lane = self._checked_lane(query, placement)
        self.pool[query] = placement.pool
        waiting = lane.queued_requests - lane.num_idle
        if self.queue_limit is not None and waiting >= self.queue_limit:
            self.shed[query] = True
            self.open_items[query] = self.unstarted_items[query] = 0
            self._answered(query)
            return
        for num_items in placement.request_items:
            lane.join(Request(query, num_items, self.num_items[query], self.arrival_s[query]))

    def _checked_lane(self, query: int, placement: Placement) -> LaneState:
        """The lane of a placement, if that conserves the items and a service time exists."""
        lane = self.lanes.get(placement.pool)
        if lane is None or lane.num_executors == 0:
            raise self._broken(query, f"sent to {placement.pool}, which the node does not have")
        sizes = placement.request_items
        if sum(sizes) != self.num_items[query] or min(sizes, default=0) < 1:
            raise self._broken(
                query, f"cut into requests of {sizes} items, expected {self.num_items[query]} in all"
            )
        if max(sizes) > len(lane.service_s):
            raise self._broken(
                query, f"a request of {max(sizes)} items, service times exist up to {len(lane.service_s)}"
            )
        return lane

    def _complete(self, running: _Running) -> None:
        """A launch ends: its executor is idle again, and queries may be served; unless it was put off."""
        if running.finish_s > self.clock.now:
            self.clock.call_at(running.finish_s, RELEASE, partial(self._complete, running))
            self._end_of_instant()
            return
        self.running.remove(running)
        heappush(running.group.idle, running.executor)
        running.lane.num_idle += 1
        running.group.contention.num_busy -= 1
        self.running_requests -= len(running.launched)
        for request in running.launched:
            query = request.query
            self.open_items[query] -= request.num_items
            if self.open_items[query] == 0:
                self.open_queries -= 1
                self._answered(query)
            if self.open_items[query] == 0 and not self.shed[query]:
                self.finish_s[query] = self.clock.now
                self.policy.served(query, self.clock.now - self.arrival_s[query])
        self._end_of_instant()

    def _end_of_instant(self) -> None:
        """Dispatch once nothing else can happen at this instant."""
        if self.clock.instant_is_over():
            self.dispatch()

    def dispatch(self) -> None:
        """Idle executors take requests."""
        for lane in self.lanes.values():
            while lane.num_idle and lane.queued_requests and self._next_is_ready(lane):
                self._launch(lane)

    def _next_is_ready(self, lane: LaneState) -> bool:
        """Say whether an idle executor should take what is next, once overdue requests are dropped."""
        while (head := lane.next_request()) is not None:
            if self.deadline_s is None or self.clock.now - self.arrival_s[head.query] <= self.deadline_s:
                break
            self._drop(lane.take())
        joining = lane.rules.joining
        if head is None or joining is None or joining.wait_s == 0.0 or lane.queued_items >= joining.max_items:
            return head is not None
        timeout_s = self.arrival_s[head.query] + joining.wait_s
        if timeout_s > self.clock.now and timeout_s != lane.wakes_at_s:
            lane.wakes_at_s = timeout_s
            self.clock.call_at(timeout_s, WAKE, self._end_of_instant)
        return timeout_s <= self.clock.now

    def _drop(self, request: Request) -> None:
        """A request is overdue: its query is shed, though other requests of it may have been served."""
        self._start_items(request)
        self.shed[request.query] = True
        self.open_items[request.query] -= request.num_items
        if self.open_items[request.query] == 0:
            self._answered(request.query)

    def _launch(self, lane: LaneState) -> None:
        """An idle executor takes what is next; its service time is settled now."""
        launched = [lane.take()]
        num_items = launched[0].num_items
        joining = lane.rules.joining
        if joining is not None:
            while (more := lane.next_request()) and num_items + more.num_items <= joining.max_items:
                launched.append(lane.take())
                num_items += more.num_items
        head, left = launched[0].query, self.unstarted_items[launched[0].query]
        kind, works = self._work_of(launched)
        for request in launched:
            self._start_items(request)
        group = lane.groups[0]
        if len(lane.groups) > 1:  # the accelerator with the fewest busy streams
            group = max(lane.groups, key=lambda group: len(group.idle))
        executor = heappop(group.idle)
        lane.num_idle -= 1
        group.contention.num_busy += 1
        num_busy = group.contention.num_busy
        self.running_requests += len(launched)
        service_s = lane.service_s[num_items - 1][num_busy - 1]
        if lane.by_query is not None:
            service_s = lane.by_query.seconds(kind, num_items, works, num_busy)
        if lane.scatter is not None:
            service_s *= lane.scatter.factor(self.luck, head, left, num_items)
        lane.busy_s += service_s
        lane.launches += 1
        finish_s = self.clock.now + service_s
        if self.arrived == len(self.arrival_s):  # a launch waited for queries that do not come
            self.idle_end_s += max(0.0, self.clock.now - max(self.last_end_s, self.arrival_s[-1]))
        self.last_end_s = max(self.last_end_s, finish_s)
        self._run(_Running(finish_s, 0, lane, group, executor, launched))
        if self.log is not None:
            self._log(lane, launched, finish_s, executor, num_busy)

    def _work_of(self, launched: Sequence[Request]) -> tuple[int, int]:
        """Last kind of the queries that are launched, and whose work is done: all, or those that begin."""
        if self.kinds is None:
            return 0, 1
        begins = [self.unstarted_items[one.query] == self.num_items[one.query] for one in launched]
        works, begun = 0, set[int]()
        for request, is_first in zip(launched, begins, strict=True):
            works += not self.shares_work or (is_first and request.query not in begun)
            begun.add(request.query)
        return max(self.kinds[request.query] for request in launched), works

    def _start_items(self, request: Request) -> None:
        """Count what leaves a queue, which may be a user's: never more than joined."""
        query = request.query
        self.unstarted_items[query] -= request.num_items
        if self.unstarted_items[query] < 0 or request.num_items < 1:
            raise self._broken(query, "a queue handed out a request twice, or one that never joined")

    def _log(
        self, lane: LaneState, launched: Sequence[Request], finish_s: float, executor: int, num_busy: int
    ) -> None:
        assert self.log is not None
        launch = sum(other.launches for other in self.lanes.values()) - 1
        on_accelerator = lane.rules.pool is Pool.ACCELERATOR
        for request in launched:
            self.log.append(
                _LogEntry(
                    request.query,
                    request.num_items,
                    self.clock.now,
                    finish_s,
                    executor,
                    num_busy,
                    on_accelerator,
                    launch,
                )
            )

    def _broken(self, query: int, what: str) -> InputError:
        return InputError(f"policy {self.policy.name}: query {query}: {what}")

    def record(self) -> RunRecord:
        """Return what happened."""
        cpu, large, accelerator = (self.lanes.get(pool) for pool in Pool)
        on_cpu = [lane for lane in (cpu, large) if lane is not None]
        in_large = None
        if large is not None:
            in_large = LargeCores(
                serves=np.array([pool is Pool.CPU_LARGE for pool in self.pool], dtype=np.bool_),
                busy_s=large.busy_s,
                num_executors=large.num_executors,
            )
        return RunRecord(
            arrival_s=np.array(self.arrival_s, dtype=np.float64),
            num_items=self.queries.num_items,
            finish_s=np.array(self.finish_s, dtype=np.float64),
            offloaded=np.array([pool is Pool.ACCELERATOR for pool in self.pool], dtype=np.bool_),
            cpu_busy_s=sum(lane.busy_s for lane in on_cpu),
            accelerator_busy_s=accelerator.busy_s if accelerator else 0.0,
            num_executors=self.service.num_executors,
            num_accelerators=self.service.num_streams,
            requests=None if self.log is None else _request_log(self.log),
            shed=None if self.policy.shedding is None else np.array(self.shed, dtype=np.bool_),
            last_end_s=self.last_end_s,
            idle_end_s=self.idle_end_s,
            cpu_launches=sum(lane.launches for lane in on_cpu),
            large=in_large,
            engine="simpy",
            running_share=self._running_share(),
        )

    def _running_share(self) -> float:
        """Share of the cores' time in which they were not paused."""
        cores_s = self.service.num_executors * (self.last_end_s - self.idle_end_s)
        return max(0.0, 1.0 - self.paused_s / cores_s) if cores_s else 1.0


def _request_log(entries: list[_LogEntry]) -> RequestLog:
    columns = list(zip(*entries, strict=True)) or [()] * len(_LogEntry._fields)
    query, num_items, start_s, finish_s, executor, num_busy, on_accelerator, launch = columns
    return RequestLog(
        query=np.array(query, dtype=np.int64),
        num_items=np.array(num_items, dtype=np.int64),
        start_s=np.array(start_s, dtype=np.float64),
        finish_s=np.array(finish_s, dtype=np.float64),
        executor=np.array(executor, dtype=np.int64),
        num_busy=np.array(num_busy, dtype=np.int64),
        on_accelerator=np.array(on_accelerator, dtype=np.bool_),
        launch=np.array(launch, dtype=np.int64),
    )
