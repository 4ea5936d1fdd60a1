"""DeepRecSys's serving loop, compiled: a generator that bounded queues block, and the walk over its rates.

A queue of at most B requests lets request i in once request i - B has been taken, so the generator needs no
event loop either: over requests in FIFO order

    put   = max(generator's clock, start of request i - B)
    start = max(put, previous start, earliest completion if all executors are busy)

The clock goes on from the last put: what blocks the generator delays every later query.
"""

from __future__ import annotations

import heapq

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.machine_code import compiled

EARLIER_S, LAST_START_S = 0, 1


@compiled
def put_request(
    clock_s: float,
    batch: int,
    table_s: FloatArray,
    free_s: FloatArray,
    taken_s: FloatArray,
    state: FloatArray,
) -> tuple[float, float]:
    """Put one request into a pool's queue; return when that was possible, and when it will be served.

    Parameters
    ----------
    clock_s : float
        When the generator wants to put it. [s]
    batch : int
        Its items.
    table_s : (max_batch, num_executors) float
        Service times, by busy executors. [s]
    free_s : (num_executors,) float
        When each executor becomes free, ascending; updated. [s]
    taken_s : (bound,) float
        When the last requests were taken, a ring; empty: the queue is unbounded. Updated. [s]
    state : (2,) float
        Requests put so far, and the last start; updated.
    """
    put_s = clock_s
    earlier = int(state[EARLIER_S])
    if len(taken_s) > 0:
        put_s = max(put_s, taken_s[earlier % len(taken_s)])
    start_s = max(max(put_s, state[LAST_START_S]), free_s[0])
    executors = len(free_s)
    busy, slot = 1, executors - 1
    while slot >= 0 and free_s[slot] > start_s:
        busy += 1
        slot -= 1
    end_s = start_s + table_s[batch - 1, busy - 1]
    slot = 0
    while slot + 1 < executors and free_s[slot + 1] < end_s:
        free_s[slot] = free_s[slot + 1]
        slot += 1
    free_s[slot] = end_s
    if len(taken_s) > 0:
        taken_s[earlier % len(taken_s)] = start_s
    state[EARLIER_S] = earlier + 1
    state[LAST_START_S] = start_s
    return put_s, end_s


@compiled
def put_query(
    clock_s: float,
    num_items: int,
    batch_size: int,
    threshold: int,
    cpu: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    accelerator: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
) -> tuple[float, float]:
    """Put a query, whole or in pieces; return the clock afterwards and the end of its last piece."""
    if num_items >= threshold:
        return put_request(clock_s, num_items, *accelerator)
    finish_s = -np.inf
    remaining = num_items
    while remaining > 0:
        batch = min(remaining, batch_size)
        remaining -= batch
        clock_s, end_s = put_request(clock_s, batch, *cpu)
        finish_s = max(finish_s, end_s)
    return clock_s, finish_s


@compiled
def serve_scheduled(
    arrival_s: FloatArray,
    num_items: IntArray,
    batch_size: int,
    threshold: int,
    cpu: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    accelerator: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    stamp_s: FloatArray,
    finish_s: FloatArray,
) -> None:
    """Serve queries whose schedule is known; write when each was stamped, and when it ended."""
    delay_s = 0.0
    for query in range(len(arrival_s)):
        clock_s = arrival_s[query] + delay_s
        stamp_s[query] = clock_s
        put_s, finish_s[query] = put_query(clock_s, num_items[query], batch_size, threshold, cpu, accelerator)
        delay_s += put_s - clock_s


@compiled
def window_percentile_s(window_s: FloatArray, fraction: float) -> float:
    """Percentile with the linear interpolation of `np.percentile`. [s]"""
    ordered = np.sort(window_s)
    position = fraction * (len(ordered) - 1)
    low = int(position)
    if low + 1 >= len(ordered):
        return float(ordered[-1])
    part, step_s = position - low, ordered[low + 1] - ordered[low]
    # From the nearer neighbour, as numpy does.
    return float(ordered[low] + step_s * part if part < 0.5 else ordered[low + 1] - step_s * (1.0 - part))


@compiled
def next_rate(index: int, reading_s: float, last: int, target_s: float, margin: float) -> int:
    """One step on the grid of gaps: longer where late, shorter where early by the margin, else the same."""
    if reading_s > target_s:
        return min(last, index + 1)
    if reading_s < target_s / (1.0 + margin):
        return max(0, index - 1)
    return index


@compiled
def walk(
    uniform: FloatArray,
    num_items: IntArray,
    mean_gap_s: FloatArray,
    first_ms: IntArray,
    gap_cdf: FloatArray,
    first_index: int,
    window: int,
    fraction: float,
    target_s: float,
    margin: float,
    batch_size: int,
    threshold: int,
    cpu: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    accelerator: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    tried: IntArray,
) -> int:
    """Walk on the grid of gaps, a step a reading, until `tried` is full or the random numbers end.

    Returns how many steps `tried` holds. `gap_cdf` has a row for each gap of the grid, of whole
    milliseconds from `first_ms` on; without columns the gaps are exponential. The sizes start over where
    they end. A reading covers `window` queries in the order in which they ended; the generator takes one
    reading at most before each query.
    """
    # A typed start for lists that numba cannot infer when empty.
    pending = [(np.inf, 0, 0.0)]
    readings = [0.0]
    read, filled, steps = 1, 0, 0
    window_s = np.empty(window)
    index, clock_s = first_index, 0.0
    for query in range(len(uniform)):
        while pending[0][0] <= clock_s:
            window_s[filled] = heapq.heappop(pending)[2]
            filled += 1
            if filled == window:
                readings.append(window_percentile_s(window_s, fraction))
                filled = 0
        if read < len(readings):
            index = next_rate(index, readings[read], len(mean_gap_s) - 1, target_s, margin)
            read += 1
            tried[steps] = index
            steps += 1
            if steps == len(tried):
                break
        stamp_s = clock_s
        items = num_items[query % len(num_items)]
        clock_s, finish_s = put_query(clock_s, items, batch_size, threshold, cpu, accelerator)
        heapq.heappush(pending, (finish_s, query, finish_s - stamp_s))
        if gap_cdf.shape[1] > 0:
            whole_ms = first_ms[index] + np.searchsorted(gap_cdf[index], uniform[query], side="right")
            clock_s += whole_ms / 1000.0
        else:
            clock_s += -np.log1p(-uniform[query]) * mean_gap_s[index]
    return steps
