"""The fast engine: FIFO split-join with offload and contention, compiled by numba.

FIFO needs no event loop. Over requests in queue order

    start = max(arrival, previous start, earliest completion if all executors are busy)
    n     = 1 + completions after the start

which is exact for contention settled at the start, and equal to `simpy_engine` to the last bit. The two
pools never wait for each other, so each is a pass of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.records import RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

# Up to here shifting completions in a sorted window beats sifting a heap (measured: benchmarks/engines.py).
MAX_WINDOW_EXECUTORS = 128
ANY_SIZE = 2**62

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def _compiled(function: Kernel) -> Kernel:
    """Compile on first use, keep the machine code on disk, run without the GIL."""
    return cast(Kernel, numba.njit(cache=True, nogil=True)(function))


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
    finish_s = np.empty(len(queries)) if finish_s is None else finish_s
    threshold = policy.offload_threshold_items
    largest_on_cpu = ANY_SIZE if threshold is None else threshold - 1
    cpu_busy_s = _serve_pool(queries, (1, largest_on_cpu), policy.batch_size, service.cpu_s, finish_s)
    accelerator_busy_s = 0.0
    if threshold is None:
        offloaded = np.zeros(len(queries), dtype=np.bool_)
    else:
        offloaded = queries.num_items >= threshold
        assert service.accelerator_s is not None, "checked by simulate()"
        table_s = np.repeat(service.accelerator_s[:, None], service.num_accelerators, axis=1)
        accelerator_busy_s = _serve_pool(queries, (threshold, ANY_SIZE), ANY_SIZE, table_s, finish_s)
    return RunRecord(
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=finish_s,
        offloaded=offloaded,
        cpu_busy_s=cpu_busy_s,
        accelerator_busy_s=accelerator_busy_s,
        num_executors=service.num_executors,
        num_accelerators=service.num_accelerators,
    )


def _serve_pool(
    queries: Queries,
    sizes_served: tuple[int, int],
    batch_size: int,
    service_s: FloatArray,
    finish_s: FloatArray,
) -> float:
    """Serve the queries of one pool; return the sum of its service times. [s]"""
    num_executors = service_s.shape[1]
    few = num_executors <= MAX_WINDOW_EXECUTORS
    serve = _serve_with_window if few else _serve_with_heap
    completions_s = np.empty(4 * num_executors + 512 if few else num_executors)
    arrays = (queries.arrival_s, queries.num_items)
    return float(serve(*arrays, *sizes_served, batch_size, service_s, completions_s, finish_s))


@_compiled
def _serve_with_window(
    arrival_s: FloatArray,
    num_items: IntArray,
    smallest: int,
    largest: int,
    batch_size: int,
    service_s: FloatArray,
    window_s: FloatArray,
    finish_s: FloatArray,
) -> float:
    """Serve with the pending completions sorted in `window_s[head:tail]`, which slides to the right.

    The slots on both sides hold -inf or a past completion, and +inf: no loop needs to test its bounds.
    """
    num_executors = service_s.shape[1]
    head, tail = 1, 1
    window_s[0], window_s[1] = -np.inf, np.inf
    start_s, busy_s = 0.0, 0.0
    for query in range(len(arrival_s)):
        remaining = num_items[query]
        if remaining < smallest or remaining > largest:
            continue
        start_s = max(start_s, arrival_s[query])
        last_s = 0.0
        while remaining > 0:
            batch = min(remaining, batch_size)
            remaining -= batch
            while window_s[head] <= start_s:
                head += 1
            if tail - head == num_executors:
                start_s = window_s[head]
                while window_s[head] <= start_s:
                    head += 1
            time_s = service_s[batch - 1, tail - head]
            busy_s += time_s
            end_s = start_s + time_s
            last_s = max(last_s, end_s)
            if tail + 2 > len(window_s):  # slide back to the left end, with the past completion
                for slot in range(head - 1, tail):
                    window_s[slot - head + 1] = window_s[slot]
                tail -= head - 1
                head = 1
            slot = tail
            while window_s[slot - 1] > end_s:  # nearly always the newest completion is the last
                window_s[slot] = window_s[slot - 1]
                slot -= 1
            window_s[slot] = end_s
            tail += 1
            window_s[tail] = np.inf
        finish_s[query] = last_s
    return busy_s


@_compiled
def _serve_with_heap(
    arrival_s: FloatArray,
    num_items: IntArray,
    smallest: int,
    largest: int,
    batch_size: int,
    service_s: FloatArray,
    heap_s: FloatArray,
    finish_s: FloatArray,
) -> float:
    """Serve with the pending completions in a binary heap."""
    num_executors = service_s.shape[1]
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
            remaining -= batch
            if pending == num_executors:
                start_s = max(start_s, heap_s[0])
            while pending > 0 and heap_s[0] <= start_s:
                pending = _pop(heap_s, pending)
            time_s = service_s[batch - 1, pending]
            busy_s += time_s
            end_s = start_s + time_s
            last_s = max(last_s, end_s)
            pending = _push(heap_s, pending, end_s)
        finish_s[query] = last_s
    return busy_s


@_compiled
def _push(heap_s: FloatArray, size: int, value_s: float) -> int:
    """Add a value to the heap; return the new size."""
    slot = size
    while slot > 0 and heap_s[(slot - 1) >> 1] > value_s:
        heap_s[slot] = heap_s[(slot - 1) >> 1]
        slot = (slot - 1) >> 1
    heap_s[slot] = value_s
    return size + 1


@_compiled
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
