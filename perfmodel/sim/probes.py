"""The probes of a search side by side: one traffic at several arrival rates, only its late queries counted.

Four rates share a compiled loop, since their requests are the same and only the times differ: the processor
works on one rate while another waits for its arithmetic. More than four are shared out over threads. A loop
ends early once all its rates have too many late queries to meet an SLA. Every count is that of `simulate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.compiled_engine import (
    MAX_VECTOR_EXECUTORS,
    FifoPool,
    fifo_pools,
    simulate_compiled,
    take_request,
)
from perfmodel.sim.compiled_scatter import Draw, draw_of, factor_of
from perfmodel.sim.completions import LANES, all_idle
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.policies import SplitAndOffload, is_fifo
from perfmodel.sim.scatter import NO_LUCK, Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries
from perfmodel.threads import side_by_side

SIDE_BY_SIDE = 4


class Probe(NamedTuple):
    """Arrivals at one rate: query i arrives at `points[i] / rate_qps`.

    Attributes
    ----------
    points : (num_queries,) float
        Ascending; shared by the probes of traffic that only rescales.
    rate_qps : float
        1 where `points` are times. [queries/s]
    """

    points: FloatArray
    rate_qps: float = 1.0


class LateLimit(NamedTuple):
    """Which queries count as late, and from how many on it does not matter.

    Attributes
    ----------
    latency_s : float
        A query is late where it takes longer. [s]
    warm_up : int
        The first queries, which do not count.
    allowed : int
        Counting may end beyond it.
    """

    latency_s: float
    warm_up: int
    allowed: int


def count_late(
    probes: Sequence[Probe],
    num_items: IntArray,
    service: ServiceTimes,
    policy: SplitAndOffload,
    limit: LateLimit,
    luck: Luck = NO_LUCK,
) -> list[int]:
    """Count the late queries of each probe; a count beyond `limit.allowed` may be too small, but is beyond.

    Parameters
    ----------
    probes : sequence of Probe
        When queries arrive.
    num_items : (num_queries,) int
        Their sizes, the same in all probes. [items]
    service, policy
        A policy that `is_fifo` accepts on a node without pauses.
    limit : LateLimit
        What counts.
    luck : Luck
        What else happens to the queries by chance, the same in all probes.
    """
    whole = max(1, len(num_items) - limit.warm_up)
    return [int(counts.sum()) for counts in _counts(probes, num_items, service, policy, limit, luck, whole)]


def count_late_by_batch(
    probes: Sequence[Probe],
    num_items: IntArray,
    service: ServiceTimes,
    policy: SplitAndOffload,
    limit: LateLimit,
    num_batches: int,
    luck: Luck = NO_LUCK,
) -> list[IntArray]:
    """Count the late queries of each probe in batches of successive queries, equally many in each.

    As `count_late`, with `num_batches` counts a probe, of which the queries that count are a multiple.
    """
    counted = len(num_items) - limit.warm_up
    assert counted % num_batches == 0, "the caller's warm-up leaves whole batches"
    return _counts(probes, num_items, service, policy, limit, luck, counted // num_batches)


def _counts(
    probes: Sequence[Probe],
    num_items: IntArray,
    service: ServiceTimes,
    policy: SplitAndOffload,
    limit: LateLimit,
    luck: Luck,
    batch_queries: int,
) -> list[IntArray]:
    """Late queries of each probe in each batch after the warm-up."""
    assert is_fifo(service, policy), "checked by the caller"
    assert not service.is_paused, "checked by the caller"
    if service.num_executors > MAX_VECTOR_EXECUTORS or service.num_streams > MAX_VECTOR_EXECUTORS:
        return [
            _count_alone(probe, num_items, service, policy, limit, luck, batch_queries) for probe in probes
        ]
    shares = fifo_pools(service, policy)
    draw = draw_of(luck, service.cpu_scatter, service.accelerator_scatter)
    groups = [probes[first : first + SIDE_BY_SIDE] for first in range(0, len(probes), SIDE_BY_SIDE)]
    counts = side_by_side(
        lambda group: _count_group(group, num_items, shares, draw, limit, batch_queries), groups
    )
    return [count for group in counts for count in group]


def _count_group(
    group: Sequence[Probe],
    num_items: IntArray,
    shares: Sequence[FifoPool],
    draw: Draw,
    limit: LateLimit,
    batch_queries: int,
) -> list[IntArray]:
    """Count up to four probes in one loop; where there are fewer, the last one fills it up."""
    filled = [*group, *[group[-1]] * (SIDE_BY_SIDE - len(group))]
    points, rates_qps = zip(*filled, strict=True)
    num_batches = max(1, (len(num_items) - limit.warm_up) // batch_queries)
    late = np.zeros((num_batches, SIDE_BY_SIDE), dtype=np.int64)
    for share in shares:
        # The sum is handed in: numba takes longer to compile it than all of the loop.
        _count_four(points, rates_qps, num_items, share, draw, limit, batch_queries, late, late.sum(axis=0))
    return [late[:, lane].copy() for lane in range(len(group))]


def _count_alone(
    probe: Probe,
    num_items: IntArray,
    service: ServiceTimes,
    policy: SplitAndOffload,
    limit: LateLimit,
    luck: Luck,
    batch_queries: int,
) -> IntArray:
    queries = Queries(probe.points / probe.rate_qps, num_items, luck)
    late = simulate_compiled(queries, service, policy).latency_s[limit.warm_up :] > limit.latency_s
    counts: IntArray = np.count_nonzero(late.reshape(-1, batch_queries), axis=1)
    return counts


@compiled
def _count_four(
    points: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    rates_qps: tuple[float, float, float, float],
    num_items: IntArray,
    share: FifoPool,
    draw: Draw,
    limit: LateLimit,
    batch_queries: int,
    late: IntArray,
    totals: IntArray,
) -> None:
    """Serve one pool at four rates, a to d, in step, and add to `late`, batch by batch, the queries that are.

    `totals` are those of all batches in the pools before; afterwards, at the start of the last batch.
    A loop that ends early leaves the counts of the batches it did not reach as they were.
    """
    smallest, largest, batch_size, table_s, num_executors, blocks, scatter = share
    latency_s, warm_up, allowed = limit
    points_a, points_b, points_c, points_d = points
    pool_a = pool_b = pool_c = pool_d = all_idle(blocks, num_executors)
    start_a = start_b = start_c = start_d = 0.0
    end_a = end_b = end_c = end_d = -np.inf
    late_a, late_b, late_c, late_d = totals[0], totals[1], totals[2], totals[3]
    batch_index, batch_end = 0, warm_up + batch_queries
    slots_beyond = len(blocks) * LANES - num_executors
    for query in range(len(num_items)):
        if query == batch_end:
            _close_batch(late[batch_index], totals, late_a, late_b, late_c, late_d)
            batch_index += 1
            batch_end += batch_queries
        remaining = num_items[query]
        if remaining < smallest or remaining > largest:
            continue
        arrival_a = points_a[query] / rates_qps[0]
        arrival_b = points_b[query] / rates_qps[1]
        arrival_c = points_c[query] / rates_qps[2]
        arrival_d = points_d[query] / rates_qps[3]
        start_a, start_b = max(start_a, arrival_a), max(start_b, arrival_b)
        start_c, start_d = max(start_c, arrival_c), max(start_d, arrival_d)
        last_a = last_b = last_c = last_d = 0.0
        while remaining > 0:
            batch = min(remaining, batch_size)
            factor = factor_of(scatter, draw, query, remaining, batch)
            remaining -= batch
            row = (batch - 1) * num_executors - slots_beyond
            pool_a, start_a, time_a = take_request(pool_a, end_a, start_a, table_s, row)
            pool_b, start_b, time_b = take_request(pool_b, end_b, start_b, table_s, row)
            pool_c, start_c, time_c = take_request(pool_c, end_c, start_c, table_s, row)
            pool_d, start_d, time_d = take_request(pool_d, end_d, start_d, table_s, row)
            end_a, end_b = start_a + time_a * factor, start_b + time_b * factor
            end_c, end_d = start_c + time_c * factor, start_d + time_d * factor
            last_a, last_b = max(last_a, end_a), max(last_b, end_b)
            last_c, last_d = max(last_c, end_c), max(last_d, end_d)
        if query >= warm_up:
            late_a += last_a - arrival_a > latency_s
            late_b += last_b - arrival_b > latency_s
            late_c += last_c - arrival_c > latency_s
            late_d += last_d - arrival_d > latency_s
            if late_a > allowed and late_b > allowed and late_c > allowed and late_d > allowed:
                break
    _close_batch(late[batch_index], totals, late_a, late_b, late_c, late_d)


@compiled
def _close_batch(
    counts: IntArray, totals: IntArray, late_a: int, late_b: int, late_c: int, late_d: int
) -> None:
    """Add to a batch's counts what the totals have grown by, and remember the totals."""
    counts[0] += late_a - totals[0]
    counts[1] += late_b - totals[1]
    counts[2] += late_c - totals[2]
    counts[3] += late_d - totals[3]
    totals[0], totals[1], totals[2], totals[3] = late_a, late_b, late_c, late_d
