"""The same system in other forms: SimPy as its manual writes it, the fastest SimPy, plain Python, Ciw.

Every function serves queries split into requests on k executors, first come, first served, with contention
by the number of busy executors, and returns the finish of each query, but for Ciw's (see there).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Generator
from heapq import heappush

import simpy

from perfmodel.sim.policies import split_query
from perfmodel.sim.traffic import Queries, TrafficSource

Table = list[list[float]]


def simpy_textbook(queries: Queries, table_s: Table, batch_size: int) -> list[float]:
    """A `Resource`, and a process for each request and each query.

    A process reads the number of busy executors when it resumes, so that all requests of a query see the
    same number: the latencies are those of another contention.
    """
    env = simpy.Environment()
    executors = simpy.Resource(env, capacity=len(table_s[0]))
    finish_s = [0.0] * len(queries)

    def serve_request(num_items: int) -> Generator[simpy.Event, None, None]:
        with executors.request() as turn:
            yield turn
            yield env.timeout(table_s[num_items - 1][executors.count - 1])

    def serve_query(query: int, num_items: int) -> Generator[simpy.Event, None, None]:
        yield env.all_of([env.process(serve_request(part)) for part in split_query(num_items, batch_size)])
        finish_s[query] = env.now

    def arrive() -> Generator[simpy.Event, None, None]:
        arrivals = zip(queries.arrival_s.tolist(), queries.num_items.tolist(), strict=True)
        for query, (arrival_s, num_items) in enumerate(arrivals):
            yield env.timeout(arrival_s - env.now)
            env.process(serve_query(query, num_items))

    env.process(arrive())
    env.run()
    return finish_s


class _Happening(simpy.Event):
    """An event at a known time with one callback, put into SimPy's queue without a detour."""

    __slots__ = ("query",)

    def __init__(
        self, env: simpy.Environment, time_s: float, order: int, callback: Callable[[simpy.Event], None]
    ) -> None:
        self.env = env
        self.callbacks = [callback]
        self._value = None
        self._ok = True
        self._defused = False
        heappush(env._queue, (time_s, order, next(env._eid), self))


def simpy_callbacks(queries: Queries, table_s: Table, batch_size: int) -> list[float]:
    """Callbacks on events: no process, no `Resource`, no delays; equal to the compiled engine."""
    env = simpy.Environment()
    arrival_s, sizes = queries.arrival_s.tolist(), queries.num_items.tolist()
    finish_s = [0.0] * len(arrival_s)
    waiting: deque[tuple[int, int]] = deque()
    idle, executors, arrived = len(table_s[0]), len(table_s[0]), 0
    pending = env._queue

    def dispatch() -> None:
        """Start what can start, once nothing else can happen at this instant."""
        nonlocal idle
        now_s = env._now
        if pending and pending[0][0] <= now_s:
            return
        while idle and waiting:
            query, num_items = waiting.popleft()
            idle -= 1
            end_s = now_s + table_s[num_items - 1][executors - idle - 1]
            if end_s > finish_s[query]:
                finish_s[query] = end_s
            _Happening(env, end_s, 0, complete)

    def complete(_: simpy.Event) -> None:
        nonlocal idle
        idle += 1
        if waiting:
            dispatch()

    def arrive(_: simpy.Event) -> None:
        nonlocal arrived
        query = arrived
        arrived += 1
        if arrived < len(arrival_s):
            _Happening(env, arrival_s[arrived], 1, arrive)
        remaining = sizes[query]
        while remaining > batch_size:
            waiting.append((query, batch_size))
            remaining -= batch_size
        waiting.append((query, remaining))
        dispatch()

    _Happening(env, arrival_s[0], 1, arrive)
    env.run()
    return finish_s


def plain_python(queries: Queries, table_s: Table, batch_size: int) -> list[float]:
    """The recursion of `compiled_engine` on a sorted list; equal to it."""
    finish_s = []
    completions_s: list[float] = []  # pending ones, ascending
    executors = len(table_s[0])
    start_s = 0.0
    for arrival_s, size in zip(queries.arrival_s.tolist(), queries.num_items.tolist(), strict=True):
        if arrival_s > start_s:
            start_s = arrival_s
        remaining, last_s = size, 0.0
        while remaining > 0:
            num_items = batch_size if remaining > batch_size else remaining
            remaining -= num_items
            if len(completions_s) == executors and completions_s[0] > start_s:
                start_s = completions_s[0]
            if completions_s and completions_s[0] <= start_s:
                del completions_s[: bisect_right(completions_s, start_s)]
            end_s = start_s + table_s[num_items - 1][len(completions_s)]
            insort(completions_s, end_s)
            if end_s > last_s:
                last_s = end_s
        finish_s.append(last_s)
    return finish_s


def ciw_whole_queries(source: TrafficSource, service_s: list[float], executors: int, queries: int) -> int:
    """Ciw on the nearest system that it has: no splitting, no contention; returns how many queries ended.

    Poisson arrivals, one service by the law of the sizes, k servers.
    """
    import ciw  # needed here only, and slow to import

    assert source.sizes is not None
    law = source.sizes
    times_s = [service_s[num_items - 1] for num_items in law.values.tolist()]
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=source.rate_qps)],
        service_distributions=[ciw.dists.Pmf(times_s, law.probabilities.tolist())],
        number_of_servers=[executors],
    )
    ciw.seed(1)
    run = ciw.Simulation(network)
    run.simulate_until_max_customers(queries, method="Finish")
    return len(run.get_all_records())
