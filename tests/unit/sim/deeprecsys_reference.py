"""DeepRecSys's controller with its queues, engines and events spelled out: what the loop has to equal.

Nothing is computed ahead: a put that finds the queue full waits in the generator until an engine takes a
request, engines take from the queue when they fall idle, and a query ends when its last piece does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import numpy as np

END, PUT = 0, 1


@dataclass
class Server:
    """One queue before equal engines."""

    table_s: Any
    bound: int | None
    queue: deque = field(default_factory=deque)
    busy_until: list = field(default_factory=list)

    def is_full(self) -> bool:
        return self.bound is not None and len(self.queue) >= self.bound

    def start_what_can(self, now_s: float) -> Iterator[tuple[float, Any]]:
        self.busy_until = [end_s for end_s in self.busy_until if end_s > now_s]
        while self.queue and len(self.busy_until) < self.table_s.shape[1]:
            query, batch = self.queue.popleft()
            end_s = now_s + float(self.table_s[batch - 1, len(self.busy_until)])
            self.busy_until.append(end_s)
            yield end_s, query


def pieces(num_items, batch_size, threshold):
    if threshold is not None and num_items >= threshold:
        return True, [num_items]
    full, rest = divmod(num_items, batch_size)
    return False, [batch_size] * full + [rest] * (rest > 0)


def play(num_queries, size_of, gap_after, cpu, accelerator, batch_size, threshold, before_query=None):
    """Run the generator and the engines; return stamps and ends of all queries put before it was stopped.

    `gap_after(query, put_s)` is the instant of the next query; `before_query(now_s, ended)` may stop the
    generator, `ended` being the (finish, query) of all queries that have ended by then, in order.
    """
    stamps, left, ends, ended = {}, {}, {}, []
    events: list = []  # (time, kind, number, what)
    number = 0
    waiting: deque = deque()  # pieces of the current query that are not put yet
    current, server, stopped = -1, cpu, False

    def schedule(time_s, kind, what):
        nonlocal number
        heappush(events, (time_s, kind, number, what))
        number += 1

    def settle(now_s):
        """Put, start, put what a start made room for, and so on; then let the generator sleep."""
        while True:
            for each in (cpu, accelerator):
                for end_s, query in each.start_what_can(now_s) if each is not None else ():
                    schedule(end_s, END, query)
            if not waiting or server.is_full():
                break
            server.queue.append((current, waiting.popleft()))
            if not waiting:
                for end_s, query in server.start_what_can(now_s):
                    schedule(end_s, END, query)
                if current + 1 < num_queries:
                    schedule(gap_after(current, now_s), PUT, None)

    schedule(gap_after(-1, 0.0), PUT, None)
    while events:
        now_s, kind, _, query = heappop(events)
        if kind == END:
            left[query] -= 1
            if left[query] == 0:
                ends[query] = now_s
                ended.append((now_s, query))
            if not events or events[0][:2] != (now_s, END):
                settle(now_s)
        elif not stopped:
            current += 1
            if before_query is not None and before_query(now_s, sorted(ended), stamps):
                stopped = True
                continue
            stamps[current] = now_s
            offloaded, sizes = pieces(size_of(current), batch_size, threshold)
            server = accelerator if offloaded else cpu
            left[current] = len(sizes)
            waiting.extend(sizes)
            settle(now_s)
    count = len(stamps)
    return np.array([stamps[q] for q in range(count)]), np.array([ends[q] for q in range(count)])
