"""The recursion of `compiled_engine` on cores that are paused one by one.

A pause strikes a core drawn at random, idle or busy. An idle one takes no request until its end; a busy one
ends its request so much later. Which core that is needs no identity: cores are alike, so that a place drawn
among the sorted completions, idle cores first, is a core drawn at random. Pauses that strike one core at
once add up. A paused core counts among the busy ones where others ask how many slow them down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.compiled_engine import FifoPool, draw_for, fifo_pools, fifo_record, serve_pool
from perfmodel.sim.compiled_scatter import Draw, factor_of
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.pauses import CORE_PAUSES, PauseEvents
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.records import RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

NOBODY = -1
"""Whose request a paused idle core serves."""


def simulate_with_pauses(queries: Queries, service: ServiceTimes, policy: SplitAndOffload) -> RunRecord:
    """Serve every query on a node whose cores are paused, and return what happened."""
    finish_s = np.empty(len(queries))
    draw, (cores, *others) = draw_for(queries, service), fifo_pools(service, policy)
    events = PauseEvents(service.core_pauses, queries.luck, CORE_PAUSES, executors=service.num_executors)
    on_cores_s, paused_s = _serve_cores(queries, cores, draw, events, finish_s)
    busy_s = [on_cores_s, *(serve_pool(queries, share, draw, finish_s) for share in others)]
    makespan_s = float(finish_s.max()) if len(queries) else 0.0
    share = max(0.0, 1.0 - paused_s / (service.num_executors * makespan_s)) if makespan_s else 1.0
    return fifo_record(queries, service, policy, finish_s, busy_s, running_share=share)


def _serve_cores(
    queries: Queries, share: FifoPool, draw: Draw, events: PauseEvents, finish_s: FloatArray
) -> tuple[float, float]:
    """Serve the queries of a pool of cores; return the sums of its service times and of its pauses. [s]"""
    until_s = float(queries.arrival_s[-1]) if len(queries) else 0.0
    num_executors = share.num_executors
    while True:
        events.cover(until_s)
        finish_s[(queries.num_items >= share.smallest) & (queries.num_items <= share.largest)] = 0.0
        window_s = np.empty(4 * num_executors + 512)
        window_s[0], window_s[1] = -np.inf, np.inf
        owner = np.full(len(window_s), NOBODY, dtype=np.int64)
        busy_s, paused_s, last_s = _serve(
            *(queries.arrival_s, queries.num_items, share, draw),
            *(events.start_s, events.length_s, events.pick),
            *(window_s, owner, finish_s),
        )
        if not len(events.start_s) or last_s <= events.start_s[-1]:
            return float(busy_s), float(paused_s)
        until_s = 2.0 * last_s


@compiled
def _serve(
    arrival_s: FloatArray,
    num_items: IntArray,
    share: FifoPool,
    draw: Draw,
    pause_s: FloatArray,
    length_s: FloatArray,
    pick: FloatArray,
    window_s: FloatArray,
    owner: IntArray,
    finish_s: FloatArray,
) -> Any:
    """Completions yet to come are `window_s[begin:tail]`, ascending, `owner` whose they are."""
    smallest, largest, batch_size, table_s, num_executors, _, scatter = share
    begin = tail = 1
    pause, next_s = 0, (pause_s[0] if len(pause_s) else np.inf)
    start_s = busy_s = paused_s = 0.0
    for query in range(len(arrival_s)):
        remaining = num_items[query]
        if remaining < smallest or remaining > largest:
            continue
        start_s = max(start_s, arrival_s[query])
        while remaining > 0:
            batch = min(remaining, batch_size)
            factor = factor_of(scatter, draw, query, remaining, batch)
            remaining -= batch
            while True:
                free_s = start_s
                if tail - begin == num_executors:
                    free_s = max(free_s, window_s[begin])
                if next_s > free_s:
                    break
                begin, tail = _strike(
                    next_s,
                    length_s[pause],
                    pick[pause],
                    begin,
                    tail,
                    num_executors,
                    window_s,
                    owner,
                    finish_s,
                )
                paused_s += length_s[pause]
                pause += 1
                next_s = pause_s[pause] if pause < len(pause_s) else np.inf
            start_s = free_s
            while window_s[begin] <= start_s:
                begin += 1
            time_s = table_s[(batch - 1) * num_executors + tail - begin] * factor
            busy_s += time_s
            end_s = start_s + time_s
            finish_s[query] = max(finish_s[query], end_s)
            begin, tail = _expect(end_s, query, begin, tail, window_s, owner)
    while begin < tail and next_s < window_s[tail - 1]:
        begin, tail = _strike(
            next_s, length_s[pause], pick[pause], begin, tail, num_executors, window_s, owner, finish_s
        )
        paused_s += length_s[pause]
        pause += 1
        next_s = pause_s[pause] if pause < len(pause_s) else np.inf
    return busy_s, paused_s, max(start_s, window_s[tail - 1])


@compiled
def _strike(
    now_s: float,
    length_s: float,
    pick: float,
    begin: int,
    tail: int,
    num_executors: int,
    window_s: FloatArray,
    owner: IntArray,
    finish_s: FloatArray,
) -> Any:
    """Pause one core; return the new bounds of the completions yet to come."""
    while window_s[begin] <= now_s:
        begin += 1
    idle = num_executors - (tail - begin)
    struck = min(num_executors - 1, int(pick * num_executors))
    if struck < idle:
        return _expect(now_s + length_s, NOBODY, begin, tail, window_s, owner)
    slot = begin + struck - idle
    end_s, whose = window_s[slot] + length_s, owner[slot]
    for later in range(slot + 1, tail + 1):  # infinity at the tail included
        window_s[later - 1], owner[later - 1] = window_s[later], owner[later]
    if whose != NOBODY:
        finish_s[whose] = max(finish_s[whose], end_s)
    return _expect(end_s, whose, begin, tail - 1, window_s, owner)


@compiled
def _expect(end_s: float, whose: int, begin: int, tail: int, window_s: FloatArray, owner: IntArray) -> Any:
    """Put a completion in its place; return the new bounds."""
    if tail + 2 > len(window_s):
        shift = begin - 1
        for slot in range(shift, tail):
            window_s[slot - shift], owner[slot - shift] = window_s[slot], owner[slot]
        begin, tail = 1, tail - shift
    slot = tail
    while slot > begin and window_s[slot - 1] > end_s:
        window_s[slot], owner[slot] = window_s[slot - 1], owner[slot - 1]
        slot -= 1
    window_s[slot], owner[slot] = end_s, whose
    window_s[tail + 1] = np.inf
    return begin, tail + 1
