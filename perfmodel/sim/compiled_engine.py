"""The fast engine: FIFO split-join with offload and contention, compiled by numba.

FIFO needs no event loop. Over requests in queue order

    start = max(arrival, previous start, earliest completion if all executors are busy)
    n     = 1 + completions after the start

which is exact for contention settled at the start, and equal to `simpy_engine` to the last bit. The two
pools never wait for each other, so each is a pass of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats
from perfmodel.sim.compiled_scatter import Draw, Factors, draw_of, factor_of, factors_of
from perfmodel.sim.completions import (
    LANES,
    all_idle,
    blocks_for,
    count_after,
    earliest_s,
    next_start_s,
    sorted_in,
)
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.records import RunRecord
from perfmodel.sim.scatter import ScatterTable
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

# Up to here sorting in vector registers beats sifting a heap (measured: benchmarks/engines.py).
MAX_VECTOR_EXECUTORS = 256
ANY_SIZE = 2**62


class FifoPool(NamedTuple):
    """What a pool serves of the traffic, and how fast.

    Attributes
    ----------
    smallest, largest : int
        Sizes of the queries that it serves. [items]
    batch_size : int
        Largest request. [items]
    table_s : (max_request * num_executors,) float
        Time of a request of b items beside n - 1 busy executors, at (b - 1) num_executors + n - 1. [s]
    num_executors : int
        Executors of the pool.
    blocks : tuple
        See `blocks_for`.
    scatter : Factors or None
        Factors on the times; None compiles to none.
    """

    smallest: int
    largest: int
    batch_size: int
    table_s: FloatArray
    num_executors: int
    blocks: tuple[int, ...]
    scatter: Factors | None = None


def fifo_pools(service: ServiceTimes, policy: SplitAndOffload) -> tuple[FifoPool, ...]:
    """Return what the cores serve, and the accelerators where a threshold sends them queries."""
    threshold = policy.offload_threshold_items
    largest_on_cpu = ANY_SIZE if threshold is None else threshold - 1
    cores = _fifo_pool(1, largest_on_cpu, policy.batch_size, service.cpu_s, service.cpu_scatter)
    if threshold is None:
        return (cores,)
    table_s = service.accelerator_by_streams_s
    if service.num_accelerators > 1:
        table_s = frozen_floats(np.repeat(table_s, service.num_accelerators, axis=1))
    return cores, _fifo_pool(threshold, ANY_SIZE, ANY_SIZE, table_s, service.accelerator_scatter)


def _fifo_pool(
    smallest: int, largest: int, batch_size: int, service_s: FloatArray, scatter: ScatterTable | None
) -> FifoPool:
    num_executors = int(service_s.shape[1])
    blocks = blocks_for(num_executors)
    factors = factors_of(scatter)
    return FifoPool(smallest, largest, batch_size, service_s.ravel(), num_executors, blocks, factors)


def draw_for(queries: Queries, service: ServiceTimes) -> Draw:
    """Return what chooses the factors of queries on a node."""
    return draw_of(queries.luck, service.cpu_scatter, service.accelerator_scatter)


def simulate_compiled(
    queries: Queries, service: ServiceTimes, policy: SplitAndOffload, *, finish_s: FloatArray | None = None
) -> RunRecord:
    """Serve every query and return what happened, without a log of requests.

    Parameters
    ----------
    queries : Queries
        What arrives.
    service : ServiceTimes
        How long requests hold an executor.
    policy : SplitAndOffload
        Batch size and offload threshold.
    finish_s : (num_queries,) float, optional
        A buffer to write the record's `finish_s` into, for searches that simulate again and again.
    """
    assert not service.core_pauses, "those are served by compiled_pauses"
    finish_s = np.empty(len(queries)) if finish_s is None else finish_s
    draw, shares = draw_for(queries, service), fifo_pools(service, policy)
    busy_s = [serve_pool(queries, share, draw, finish_s) for share in shares]
    return fifo_record(queries, service, policy, finish_s, busy_s)


def fifo_record(
    queries: Queries,
    service: ServiceTimes,
    policy: SplitAndOffload,
    finish_s: FloatArray,
    busy_s: Sequence[float],
    *,
    running_share: float = 1.0,
) -> RunRecord:
    """The record of a run whose queries ended then, with the service times of each pool summed."""
    threshold = policy.offload_threshold_items
    return RunRecord(
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=finish_s,
        offloaded=np.zeros(len(queries), dtype=np.bool_)
        if threshold is None
        else queries.num_items >= threshold,
        cpu_busy_s=busy_s[0],
        accelerator_busy_s=sum(busy_s[1:]),
        num_executors=service.num_executors,
        num_accelerators=service.num_streams,
        running_share=running_share,
    )


def serve_pool(queries: Queries, share: FifoPool, draw: Draw, finish_s: FloatArray) -> float:
    """Serve the queries of one pool; return the sum of its service times. [s]"""
    if share.num_executors <= MAX_VECTOR_EXECUTORS:
        state_s = idle_state_s(share)
        return float(serve_sorted(queries.arrival_s, queries.num_items, share, draw, state_s, finish_s))
    heap_s = np.empty(share.num_executors)
    return float(_serve_with_heap(queries.arrival_s, queries.num_items, share, draw, heap_s, finish_s))


def idle_state_s(share: FifoPool) -> FloatArray:
    """Return the state of a pool that has never worked: see `serve_sorted`."""
    state_s = np.full(2 + share.num_executors, -np.inf)
    state_s[0] = 0.0
    return state_s


@compiled
def take_request(pool: Any, last_end_s: float, from_s: float, table_s: FloatArray, row: int) -> Any:
    """Start a request from `from_s` on; return the completions without its own, its start, and its time."""
    start_s = next_start_s(pool, last_end_s, from_s)
    others = count_after(pool, start_s) + np.uintp(last_end_s > start_s)
    return sorted_in(pool, last_end_s), start_s, table_s[np.uintp(row) + others]


@compiled
def serve_sorted(
    arrival_s: FloatArray,
    num_items: IntArray,
    share: FifoPool,
    draw: Draw,
    state_s: FloatArray,
    finish_s: FloatArray,
) -> float:
    """Serve with the completions sorted in vector registers; return the sum of the service times. [s]

    `state_s` holds the last start, the last end, and the completions before that, ascending: `idle_state_s`
    at first, and afterwards what the next queries of the same run go on from.
    """
    smallest, largest, batch_size, table_s, num_executors, blocks, scatter = share
    pool = all_idle(blocks, num_executors)
    for completion_s in state_s[2:]:
        pool = sorted_in(pool, completion_s)
    slots_beyond = len(blocks) * LANES - num_executors
    start_s, end_s, busy_s = state_s[0], state_s[1], 0.0
    for query in range(len(arrival_s)):
        remaining = num_items[query]
        if remaining < smallest or remaining > largest:
            continue
        start_s = max(start_s, arrival_s[query])
        last_s = 0.0
        while remaining > 0:
            batch = min(remaining, batch_size)
            factor = factor_of(scatter, draw, query, remaining, batch)
            remaining -= batch
            row = (batch - 1) * num_executors - slots_beyond
            pool, start_s, time_s = take_request(pool, end_s, start_s, table_s, row)
            time_s *= factor
            busy_s += time_s
            end_s = start_s + time_s
            last_s = max(last_s, end_s)
        finish_s[query] = last_s
    state_s[0], state_s[1] = start_s, end_s
    for slot in range(2, len(state_s)):
        state_s[slot] = earliest_s(pool)
        pool = sorted_in(pool, np.inf)
    return busy_s


@compiled
def _serve_with_heap(
    arrival_s: FloatArray,
    num_items: IntArray,
    share: FifoPool,
    draw: Draw,
    heap_s: FloatArray,
    finish_s: FloatArray,
) -> float:
    """Serve with the pending completions in a binary heap."""
    smallest, largest, batch_size, table_s, num_executors, _, scatter = share
    pending = 0
    start_s, busy_s = 0.0, 0.0
    for query in range(len(arrival_s)):
        remaining = num_items[query]
        if remaining < smallest or remaining > largest:
            continue
        start_s = max(start_s, arrival_s[query])
        last_s = 0.0
        while remaining > 0:
            batch = min(remaining, batch_size)
            factor = factor_of(scatter, draw, query, remaining, batch)
            remaining -= batch
            if pending == num_executors:
                start_s = max(start_s, heap_s[0])
            while pending > 0 and heap_s[0] <= start_s:
                pending = _pop(heap_s, pending)
            time_s = table_s[(batch - 1) * num_executors + pending] * factor
            busy_s += time_s
            end_s = start_s + time_s
            last_s = max(last_s, end_s)
            pending = _push(heap_s, pending, end_s)
        finish_s[query] = last_s
    return busy_s


@compiled
def _push(heap_s: FloatArray, size: int, value_s: float) -> int:
    """Add a value to the heap; return the new size."""
    slot = size
    while slot > 0 and heap_s[(slot - 1) >> 1] > value_s:
        heap_s[slot] = heap_s[(slot - 1) >> 1]
        slot = (slot - 1) >> 1
    heap_s[slot] = value_s
    return size + 1


@compiled
def _pop(heap_s: FloatArray, size: int) -> int:
    """Drop the smallest value of the heap; return the new size."""
    size -= 1
    value_s = heap_s[size]
    slot, child = 0, 1
    while child < size:
        if child + 1 < size and heap_s[child + 1] < heap_s[child]:
            child += 1
        if heap_s[child] >= value_s:
            break
        heap_s[slot] = heap_s[child]
        slot, child = child, 2 * child + 1
    heap_s[slot] = value_s
    return size
