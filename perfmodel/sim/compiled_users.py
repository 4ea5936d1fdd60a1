"""The recursion of `compiled_engine` for closed users: what is asked next is the earliest of their next.

FIFO settles when a query ends as soon as it arrives, and so when whoever asked it asks again: users wait in a
heap by that time, equal ones by their number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.compiled_engine import ANY_SIZE, _pop, _push, draw_for, fifo_pools
from perfmodel.sim.compiled_scatter import Draw, factor_of
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.records import RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

START_S, BUSY_S = range(2)
"""Of a pool: its last start, and all its service times."""


def serve_users(queries: Queries, service: ServiceTimes, policy: SplitAndOffload) -> RunRecord:
    """Serve what closed users ask, under a policy that `is_fifo` accepts on a node without pauses."""
    users = queries.users
    assert users is not None, "checked by the caller"
    pools = fifo_pools(service, policy)
    threshold = ANY_SIZE if policy.offload_threshold_items is None else policy.offload_threshold_items
    arrival_s, finish_s = np.empty(len(queries)), np.empty(len(queries))
    cores_s, cards_s = np.zeros(2), np.zeros(2)
    _serve(
        users.first_s.copy(),
        users.think_s,
        queries.num_items,
        pools[0],
        pools[-1],
        threshold,
        draw_for(queries, service),
        np.empty(pools[0].num_executors),
        np.empty(pools[-1].num_executors),
        np.zeros(2, dtype=np.int64),
        cores_s,
        cards_s,
        arrival_s,
        finish_s,
    )
    return RunRecord(
        arrival_s=arrival_s,
        num_items=queries.num_items,
        finish_s=finish_s,
        offloaded=queries.num_items >= threshold,
        cpu_busy_s=float(cores_s[BUSY_S]),
        accelerator_busy_s=float(cards_s[BUSY_S]),
        num_executors=service.num_executors,
        num_accelerators=service.num_streams,
    )


@compiled
def _serve(
    next_s: FloatArray,
    think_s: FloatArray,
    num_items: IntArray,
    cores: Any,
    cards: Any,
    threshold: int,
    draw: Draw,
    core_ends_s: FloatArray,
    card_ends_s: FloatArray,
    pending: IntArray,
    cores_s: FloatArray,
    cards_s: FloatArray,
    arrival_s: FloatArray,
    finish_s: FloatArray,
) -> None:
    """Let the user who is next ask, and say when each query ends."""
    heap = np.argsort(next_s, kind="mergesort")  # ascending is a heap; equal times stay in order
    for query in range(len(num_items)):
        user = heap[0]
        now_s, items = next_s[user], num_items[query]
        arrival_s[query] = now_s
        if items >= threshold:
            end_s = _serve_query(cards, query, items, now_s, draw, card_ends_s, pending[1:], cards_s)
        else:
            end_s = _serve_query(cores, query, items, now_s, draw, core_ends_s, pending[:1], cores_s)
        finish_s[query] = end_s
        next_s[user] = end_s + think_s[query]
        _sift_down(heap, next_s)


@compiled
def _serve_query(
    share: Any,
    query: int,
    num_items: int,
    now_s: float,
    draw: Draw,
    ends_s: FloatArray,
    pending: IntArray,
    state_s: FloatArray,
) -> float:
    """Queue a query's requests; return when the last of them ends: `_serve_with_heap` for one query."""
    _, _, batch_size, table_s, num_executors, _, scatter = share
    start_s, last_s = max(state_s[START_S], now_s), 0.0
    remaining, running = num_items, pending[0]
    while remaining > 0:
        batch = min(remaining, batch_size)
        factor = factor_of(scatter, draw, query, remaining, batch)
        remaining -= batch
        if running == num_executors:
            start_s = max(start_s, ends_s[0])
        while running > 0 and ends_s[0] <= start_s:
            running = _pop(ends_s, running)
        time_s = table_s[(batch - 1) * num_executors + running] * factor
        state_s[BUSY_S] += time_s
        end_s = start_s + time_s
        last_s = max(last_s, end_s)
        running = _push(ends_s, running, end_s)
    state_s[START_S], pending[0] = start_s, running
    return last_s


@compiled
def _sift_down(heap: IntArray, next_s: FloatArray) -> None:
    """Move the first user, whose time is later now, to the place in the heap that it has then."""
    size, user = len(heap), heap[0]
    slot, child = 0, 1
    while child < size:
        other = child + 1
        if other < size and (
            next_s[heap[other]] < next_s[heap[child]]
            or (next_s[heap[other]] == next_s[heap[child]] and heap[other] < heap[child])
        ):
            child = other
        if next_s[user] < next_s[heap[child]] or (next_s[user] == next_s[heap[child]] and user < heap[child]):
            break
        heap[slot] = heap[child]
        slot, child = child, 2 * child + 1
    heap[slot] = user
