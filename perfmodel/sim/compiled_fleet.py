"""The fast engine for routings that look at the nodes' queues, compiled by numba.

A request's completion is known as soon as it is queued, since nodes are FIFO. Each pool of each node keeps
its completions sorted; those after the present instant are its requests, queued or running, and those
after its last start are its busy executors. Nodes and service times are handed over as flat arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.compiled_scatter import Draw, draw_of, index_of, loop_factors
from perfmodel.sim.fleet import Fleet, FleetRecord
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.scatter import Luck
from perfmodel.sim.traffic import Queries

ANY_SIZE = 2**62


class _Pools(NamedTuple):
    """Row 2 i is the CPU of node i, row 2 i + 1 its accelerator; `table_s` holds all service times.

    A request of b items beside n - 1 busy executors takes table_s[offset + (b - 1) executors + n - 1], where
    its row is scattered times one of the factors from first_factor[row, min(b, scattered[row]) - 1] on.
    """

    executors: IntArray
    batch_size: IntArray
    smallest_offload: IntArray  # of the node; [items]
    offset: IntArray
    table_s: FloatArray
    factors: FloatArray
    first_factor: IntArray
    scattered: IntArray
    draw: Draw


class _State(NamedTuple):
    """Completions of row r, ascending: `window_s[r, present[r]:tail[r]]` are yet to come."""

    present: IntArray  # first completion after the present instant
    busy: IntArray  # first completion after the last start
    tail: IntArray
    start_s: FloatArray  # last start
    busy_s: FloatArray


def serve_routed(queries: Queries, fleet: Fleet, candidates: IntArray | None) -> FleetRecord:
    """Route each query to the candidate with the fewest requests, the first of equal ones, and serve it.

    Parameters
    ----------
    queries : Queries
        What arrives.
    fleet : Fleet
        Who serves.
    candidates : (num_queries, 2) int or None
        The nodes that the router looks at; None: all, in index order.
    """
    pools = _pools(fleet, queries.luck)
    rows = len(pools.executors)
    state = _State(
        present=np.ones(rows, dtype=np.int64),
        busy=np.ones(rows, dtype=np.int64),
        tail=np.ones(rows, dtype=np.int64),
        start_s=np.zeros(rows),
        busy_s=np.zeros(rows),
    )
    window_s = np.empty((rows, 4 * int(pools.executors.max()) + 16))
    window_s[:, 0], window_s[:, 1] = -np.inf, np.inf
    node = np.empty(len(queries), dtype=np.int64)
    finish_s = np.empty(len(queries))
    arrays = (queries.arrival_s, queries.num_items)
    if candidates is None:
        _join_shortest(*arrays, pools, state, window_s, node, finish_s)
    else:
        _join_shorter_of_two(*arrays, candidates, pools, state, window_s, node, finish_s)
    return FleetRecord(
        fleet=fleet,
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=finish_s,
        node=node,
        cpu_busy_s=state.busy_s[0::2],
        accelerator_busy_s=state.busy_s[1::2],
    )


def _pools(fleet: Fleet, luck: Luck) -> _Pools:
    columns: list[tuple[int, ...]] = []
    tables_s: list[FloatArray] = []
    offset = 0
    for kind in fleet.kinds:
        policy = kind.policy
        assert isinstance(policy, SplitAndOffload), "all else is not FIFO"
        smallest_offload = policy.offload_threshold_items or ANY_SIZE
        for table_s, batch_size in ((kind.service.cpu_s, policy.batch_size), (kind.streams_s, ANY_SIZE)):
            columns.append((table_s.shape[1], batch_size, smallest_offload, offset))
            tables_s.append(table_s.ravel())
            offset += table_s.size
    rows = np.column_stack([2 * fleet.kind_of_node, 2 * fleet.kind_of_node + 1]).ravel()
    executors, batch_size_of, smallest, offsets = np.array(columns, dtype=np.int64)[rows].T.copy()
    scatter = [
        table
        for kind in fleet.kinds
        for table in (kind.service.cpu_scatter, kind.service.accelerator_scatter)
    ]
    factors, first_factor, scattered = loop_factors(scatter)
    return _Pools(
        executors,
        batch_size_of,
        smallest,
        offsets,
        np.concatenate(tables_s),
        factors,
        first_factor[rows],
        np.array(scattered, dtype=np.int64)[rows],
        draw_of(luck, *scatter),
    )


@compiled
def _join_shorter_of_two(
    arrival_s: FloatArray,
    num_items: IntArray,
    candidates: IntArray,
    pools: _Pools,
    state: _State,
    window_s: FloatArray,
    node: IntArray,
    finish_s: FloatArray,
) -> None:
    """Bring only the two nodes that are looked at up to the present."""
    for query in range(len(arrival_s)):
        first, second = candidates[query, 0], candidates[query, 1]
        chosen = first
        if _requests(second, arrival_s[query], state, window_s) < _requests(
            first, arrival_s[query], state, window_s
        ):
            chosen = second
        node[query] = chosen
        row = _row(chosen, num_items[query], pools)
        window_s = _with_room(row, num_items[query], pools, state, window_s)
        finish_s[query] = _serve(row, arrival_s[query], query, num_items[query], pools, state, window_s)


@compiled
def _join_shortest(
    arrival_s: FloatArray,
    num_items: IntArray,
    pools: _Pools,
    state: _State,
    window_s: FloatArray,
    node: IntArray,
    finish_s: FloatArray,
) -> None:
    """Look at every node's next completion and number of requests, side by side in two short arrays.

    Up to a thousand nodes this is faster than tournament trees, which follow every completion.
    """
    num_nodes = len(pools.executors) // 2
    next_s = np.full(num_nodes, np.inf)
    load = np.zeros(num_nodes, dtype=np.int32)
    for query in range(len(arrival_s)):
        now_s = arrival_s[query]
        for index in range(num_nodes):
            if next_s[index] <= now_s:
                load[index] = _requests(index, now_s, state, window_s)
                next_s[index] = _next_completion_s(index, state, window_s)
        least = load[0]
        for index in range(num_nodes):
            least = min(least, load[index])
        chosen = 0
        while load[chosen] != least:
            chosen += 1
        node[query] = chosen
        row = _row(chosen, num_items[query], pools)
        window_s = _with_room(row, num_items[query], pools, state, window_s)
        tail = state.tail[row]
        finish_s[query] = _serve(row, now_s, query, num_items[query], pools, state, window_s)
        load[chosen] += state.tail[row] - tail
        next_s[chosen] = _next_completion_s(chosen, state, window_s)


@compiled
def _next_completion_s(node: int, state: _State, window_s: FloatArray) -> float:
    """When the node's next request ends."""
    row = 2 * node
    next_s: float = min(window_s[row, state.present[row]], window_s[row + 1, state.present[row + 1]])
    return next_s


@compiled
def _advance(row: int, now_s: float, state: _State, window_s: FloatArray) -> None:
    """Leave the completions up to the present behind."""
    head = state.present[row]
    while window_s[row, head] <= now_s:
        head += 1
    state.present[row] = head


@compiled
def _requests(node: int, now_s: float, state: _State, window_s: FloatArray) -> int:
    """Requests of a node, queued or running, after this instant's completions."""
    total = 0
    for row in range(2 * node, 2 * node + 2):
        _advance(row, now_s, state, window_s)
        total += state.tail[row] - state.present[row]
    return total


@compiled
def _row(node: int, num_items: int, pools: _Pools) -> int:
    """Return the row of the pool that takes a query of this size."""
    row = 2 * node
    return row + 1 if num_items >= pools.smallest_offload[row] else row


@compiled
def _with_room(row: int, num_items: int, pools: _Pools, state: _State, window_s: FloatArray) -> FloatArray:
    """Slide a row to the left, and copy all to a wider window, where the query's requests do not fit."""
    requests = (num_items - 1) // pools.batch_size[row] + 1
    if state.tail[row] + requests + 2 <= window_s.shape[1]:
        return window_s
    shift = state.present[row] - 1
    for slot in range(shift, state.tail[row] + 1):
        window_s[row, slot - shift] = window_s[row, slot]
    state.present[row] -= shift
    state.busy[row] = max(1, state.busy[row] - shift)
    state.tail[row] -= shift
    if 2 * (state.tail[row] + requests + 2) <= window_s.shape[1]:
        return window_s
    wider_s = np.empty((window_s.shape[0], 2 * (window_s.shape[1] + requests)))
    wider_s[:, : window_s.shape[1]] = window_s
    return wider_s


@compiled
def _serve(
    row: int, now_s: float, query: int, num_items: int, pools: _Pools, state: _State, window_s: FloatArray
) -> float:
    """Queue a query's requests; return when the last of them ends. The recursion of `compiled_engine`."""
    busy, tail = state.busy[row], state.tail[row]
    start_s = max(state.start_s[row], now_s)
    last_s, busy_s = 0.0, 0.0
    remaining = num_items
    while remaining > 0:
        batch = min(remaining, pools.batch_size[row])
        left = remaining
        remaining -= batch
        while window_s[row, busy] <= start_s:
            busy += 1
        if tail - busy == pools.executors[row]:
            start_s = window_s[row, busy]
            while window_s[row, busy] <= start_s:
                busy += 1
        at = pools.offset[row] + (batch - 1) * pools.executors[row] + tail - busy
        time_s = pools.table_s[at]
        if pools.scattered[row] > 0:
            first = pools.first_factor[row, min(batch, pools.scattered[row]) - 1]
            time_s *= pools.factors[first + np.int64(index_of(pools.draw, query, left))]
        busy_s += time_s
        end_s = start_s + time_s
        last_s = max(last_s, end_s)
        slot = tail
        while window_s[row, slot - 1] > end_s:
            window_s[row, slot] = window_s[row, slot - 1]
            slot -= 1
        window_s[row, slot] = end_s
        tail += 1
        window_s[row, tail] = np.inf
    state.busy[row], state.tail[row], state.start_s[row] = busy, tail, start_s
    state.busy_s[row] += busy_s
    return last_s
