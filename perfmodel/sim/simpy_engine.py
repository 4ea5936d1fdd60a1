"""The reference engine: any policy, one event after another, on SimPy's event core.

What happens at one instant, in this order: completions release their executors, arrivals join in index
order, then idle executors take requests one at a time. The number of busy executors that a request
sees counts itself and those whose completion lies later.

Callbacks on events rather than a process for each request: four times as fast, and a process reads the
number of busy executors when it resumes, so all requests of one query would see the same number.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import simpy

from perfmodel.sim.policies import Placement, Policy, Pool, Request, RequestQueue
from perfmodel.sim.records import RequestLog, RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

# Order within an instant.
RELEASE, ARRIVE = 0, 1


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
    """
    run = _Run(queries, service, policy, log_requests=log_requests)
    run.execute()
    return run.record()


class _Clock(simpy.Environment):
    """SimPy's environment, with events at absolute times.

    SimPy adds delays to the present time, and `now + (arrival - now)` is not always `arrival`.
    """

    def schedule_at(self, event: simpy.Event, time_s: float, order: int) -> None:
        """Let the event happen at `time_s`; at one instant the lower order comes first."""
        heappush(self._queue, (time_s, order, next(self._eid), event))  # type: ignore[misc]


class _Happening(simpy.Event):
    """An event that is certain to happen at a known time, like SimPy's `Timeout`."""

    def __init__(
        self, clock: _Clock, time_s: float, order: int, callback: Callable[[simpy.Event], None]
    ) -> None:
        self.env = clock
        self.callbacks = [callback]
        self._value = None
        self._ok = True
        self._defused = False
        clock.schedule_at(self, time_s, order)


class _Completion(_Happening):
    """The end of a request."""

    pool: _PoolState
    executor: int
    query: int


class _LogEntry(NamedTuple):
    query: int
    num_items: int
    start_s: float
    finish_s: float
    executor: int
    num_busy: int
    on_accelerator: bool


class _PoolState:
    """The executors of one pool and their queue; policies see it as a `PoolView`."""

    def __init__(self, pool: Pool, service_s: list[list[float]], queue: RequestQueue) -> None:
        self.pool = pool
        self.service_s = service_s  # [items - 1][busy - 1]
        self.num_executors = len(service_s[0])
        self.idle = list(range(self.num_executors))  # a heap: the lowest idle executor is next
        self.queue = queue
        self.queued_items = 0
        self.busy_s = 0.0

    @property
    def num_busy(self) -> int:
        return self.num_executors - len(self.idle)

    @property
    def queued_requests(self) -> int:
        return len(self.queue)


class _Run:
    """The one owner of the state while a run lasts."""

    def __init__(
        self, queries: Queries, service: ServiceTimes, policy: Policy, *, log_requests: bool
    ) -> None:
        self.clock = _Clock()
        self.queries = queries
        self.policy = policy
        self.arrival_s: list[float] = queries.arrival_s.tolist()
        self.num_items: list[int] = queries.num_items.tolist()
        self.arrived = 0
        self.open_requests = [0] * len(queries)
        self.finish_s = [float("nan")] * len(queries)
        self.offloaded = [False] * len(queries)
        self.log: list[_LogEntry] | None = [] if log_requests else None
        self.pools = {Pool.CPU: _PoolState(Pool.CPU, service.cpu_s.tolist(), policy.new_queue(Pool.CPU))}
        if service.accelerator_s is not None:
            rows = [[time_s] * service.num_accelerators for time_s in service.accelerator_s.tolist()]
            self.pools[Pool.ACCELERATOR] = _PoolState(
                Pool.ACCELERATOR, rows, policy.new_queue(Pool.ACCELERATOR)
            )

    def execute(self) -> None:
        """Let everything happen."""
        self._expect_next_arrival()
        self.clock.run()

    def _expect_next_arrival(self) -> None:
        if self.arrived < len(self.arrival_s):
            _Happening(self.clock, self.arrival_s[self.arrived], ARRIVE, self._arrive)

    def _arrive(self, _: simpy.Event) -> None:
        """A query arrives: the policy places it, its requests join the queue."""
        query = self.arrived
        self.arrived += 1
        self._expect_next_arrival()
        self._enqueue(query, self.policy.place(self.num_items[query], self.pools))
        self._end_of_instant()

    def _enqueue(self, query: int, placement: Placement) -> None:
        pool = self.pools[placement.pool]
        self.offloaded[query] = placement.pool is Pool.ACCELERATOR
        self.open_requests[query] = len(placement.request_items)
        for num_items in placement.request_items:
            pool.queue.append(Request(query, num_items))
            pool.queued_items += num_items

    def _complete(self, event: simpy.Event) -> None:
        """A request ends: its executor is idle again, and its query may be served."""
        assert isinstance(event, _Completion)
        heappush(event.pool.idle, event.executor)
        self.open_requests[event.query] -= 1
        if self.open_requests[event.query] == 0:
            self.finish_s[event.query] = self.clock.now
        self._end_of_instant()

    def _end_of_instant(self) -> None:
        """Dispatch once nothing else can happen at this instant."""
        if self.clock.peek() > self.clock.now:
            for pool in self.pools.values():
                while pool.idle and pool.queue:
                    self._start(pool, pool.queue.popleft())

    def _start(self, pool: _PoolState, request: Request) -> None:
        """The lowest idle executor takes a request; its service time is settled now."""
        executor = heappop(pool.idle)
        pool.queued_items -= request.num_items
        service_s = pool.service_s[request.num_items - 1][pool.num_busy - 1]
        pool.busy_s += service_s
        finish_s = self.clock.now + service_s
        completion = _Completion(self.clock, finish_s, RELEASE, self._complete)
        completion.pool, completion.executor, completion.query = pool, executor, request.query
        if self.log is not None:
            on_accelerator = pool.pool is Pool.ACCELERATOR
            self.log.append(
                _LogEntry(*request, self.clock.now, finish_s, executor, pool.num_busy, on_accelerator)
            )

    def record(self) -> RunRecord:
        """Return what happened."""
        accelerator = self.pools.get(Pool.ACCELERATOR)
        return RunRecord(
            arrival_s=self.queries.arrival_s,
            num_items=self.queries.num_items,
            finish_s=np.array(self.finish_s),
            offloaded=np.array(self.offloaded, dtype=np.bool_),
            cpu_busy_s=self.pools[Pool.CPU].busy_s,
            accelerator_busy_s=accelerator.busy_s if accelerator else 0.0,
            num_executors=self.pools[Pool.CPU].num_executors,
            num_accelerators=accelerator.num_executors if accelerator else 0,
            requests=None if self.log is None else _request_log(self.log),
        )


def _request_log(entries: list[_LogEntry]) -> RequestLog:
    columns = list(zip(*entries, strict=True)) or [()] * len(_LogEntry._fields)
    query, num_items, start_s, finish_s, executor, num_busy, on_accelerator = columns
    return RequestLog(
        query=np.array(query, dtype=np.int64),
        num_items=np.array(num_items, dtype=np.int64),
        start_s=np.array(start_s, dtype=np.float64),
        finish_s=np.array(finish_s, dtype=np.float64),
        executor=np.array(executor, dtype=np.int64),
        num_busy=np.array(num_busy, dtype=np.int64),
        on_accelerator=np.array(on_accelerator, dtype=np.bool_),
    )
