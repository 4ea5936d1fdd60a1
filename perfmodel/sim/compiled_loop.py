"""The event loop of `compiled_events`, in the part of Python that numba compiles.

Its state is in arrays that it never replaces, since each replacement would cost a reference count at every
step: where a queue is full, the loop stops, is handed longer arrays, and goes on.
"""

from __future__ import annotations

import numpy as np

from perfmodel.sim.compiled_scatter import Draw, index_of
from perfmodel.sim.machine_code import compiled_as, tuple_type, types
from perfmodel.sim.user_policy import OFFLOAD

# Columns of the tables that describe a lane: whole numbers, and seconds and rates.
FROM, PIECE, JOIN, ON_ACCELERATOR, FIRST_GROUP, END_GROUP = range(6)
WAIT_S, AGEING = range(2)
# Columns of what changes while the run lasts: of a lane, of a group, and of the run.
HEAD, WAITING, REQUESTS, ITEMS, IDLE, LAUNCHES, LANE_STATES = range(7)
BEGIN, END, LANE, GROUP_STATES = range(4)
ARRIVED, CORES_BUSY, DECIDED, BAD_DECISION, RUN_STATES = range(5)
NOW_S, LAST_END_S, IDLE_END_S, RUN_TIMES = range(4)
# How the loop ends.
DONE, FULL, BAD = range(3)

ACCELERATOR_LANE = 1
"""Of a policy that decides query by query: lane 0 is the cores, lane 1 the accelerator."""

DECISION = types.int64(
    types.int64,  # query
    types.int64,  # its items
    types.float64,  # now [s]
    *(types.int64,) * 8,  # cores, then accelerator streams: executors, busy, queued requests, queued items
)
"""Signature of a decision: items of the largest request on the cores, or `OFFLOAD`."""

_FLOATS = types.Array(types.float64, 1, "C", readonly=True)
_FLOATS_2D = types.Array(types.float64, 2, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C", readonly=True)
_INTS_2D = types.Array(types.int64, 2, "C", readonly=True)
_DRAW = tuple_type((types.uint64, types.int64), Draw)
_SIZES = tuple_type((types.int64, types.int64))


@compiled_as(DECISION)
def by_size(_0, num_items, _2, _3, _4, _5, _6, _7, _8, _9, _10):  # type: ignore[no-untyped-def]
    """Stand in for a decision where sizes alone decide; never called."""
    return num_items


@compiled_as()
def _move(key, query, left, piece, lane, source, target):  # type: ignore[no-untyped-def]
    """Copy an entry of a queue."""
    key[lane, target] = key[lane, source]
    query[lane, target] = query[lane, source]
    left[lane, target] = left[lane, source]
    piece[lane, target] = piece[lane, source]


@compiled_as()
def _sift_up(key, query, left, piece, lane, slot):  # type: ignore[no-untyped-def]
    """Move the newest entry of a heap, of the smallest (key, query), to its place."""
    k, q, items, size = key[lane, slot], query[lane, slot], left[lane, slot], piece[lane, slot]
    while slot > 0:
        parent = (slot - 1) >> 1
        if key[lane, parent] < k or (key[lane, parent] == k and query[lane, parent] < q):
            break
        _move(key, query, left, piece, lane, parent, slot)
        slot = parent
    key[lane, slot], query[lane, slot], left[lane, slot], piece[lane, slot] = k, q, items, size


@compiled_as()
def _drop_first(key, query, left, piece, lane, size):  # type: ignore[no-untyped-def]
    """Take the first entry out of a heap of `size` others."""
    k, q = key[lane, size], query[lane, size]
    slot, child = 0, 1
    while child < size:
        other = child + 1
        if other < size and (
            key[lane, other] < key[lane, child]
            or (key[lane, other] == key[lane, child] and query[lane, other] < query[lane, child])
        ):
            child = other
        if k < key[lane, child] or (k == key[lane, child] and q < query[lane, child]):
            break
        _move(key, query, left, piece, lane, child, slot)
        slot, child = child, 2 * child + 1
    _move(key, query, left, piece, lane, size, slot)


@compiled_as()
def _next_dispatch_s(  # type: ignore[no-untyped-def]
    arrival_s, lanes, rates, queue_query, lane_states, group_states, window_s
):
    """When an executor can next take what waits: a full lane's first completion, or a timeout."""
    next_s = np.inf
    for lane in range(len(lanes)):
        if lane_states[lane, WAITING] > 0:
            if lane_states[lane, IDLE] > 0:  # waits for a full launch
                oldest_s = arrival_s[queue_query[lane, lane_states[lane, HEAD]]]
                next_s = min(next_s, oldest_s + rates[lane, WAIT_S])
            else:
                for group in range(lanes[lane, FIRST_GROUP], lanes[lane, END_GROUP]):
                    next_s = min(next_s, window_s[group, group_states[group, BEGIN]])
    return next_s


@compiled_as()
def _release(now_s, lanes, lane_states, group_states, window_s):  # type: ignore[no-untyped-def]
    """Let what has been completed go; return how many cores that were."""
    cores = 0
    for group in range(len(group_states)):
        first = group_states[group, BEGIN]
        if window_s[group, first] <= now_s:
            begin = first
            while window_s[group, first] <= now_s:
                first += 1
            group_states[group, BEGIN] = first
            lane = group_states[group, LANE]
            lane_states[lane, IDLE] += first - begin
            if not lanes[lane, ON_ACCELERATOR]:
                cores += first - begin
    return cores


@compiled_as()
def _joined_items(join, size, left, lefts, pieces, at, waiting):  # type: ignore[no-untyped-def]
    """Items of the requests that fit one launch, from the one of `size` items at the head of a ring on."""
    mask = len(lefts) - 1
    joined, ahead, ahead_left = size, 0, left - size
    while True:
        if ahead_left == 0:
            ahead += 1
            if ahead == waiting:
                return joined
            ahead_left = lefts[(at + ahead) & mask]
        more = min(ahead_left, pieces[(at + ahead) & mask])
        if joined + more > join:
            return joined
        joined += more
        ahead_left -= more


@compiled_as()
def _joined_work(  # type: ignore[no-untyped-def]
    join, size, query, left, lefts, pieces, queries, num_items, kinds, shares_work, at, waiting
):
    """Queries whose work a launch from the head of a ring on does, and the last kind among them."""
    mask = len(lefts) - 1
    joined, ahead, ahead_left = size, 0, left - size
    kind = kinds[query]
    works = 0 if shares_work and left < num_items[query] else 1
    while True:
        if ahead_left == 0:
            ahead += 1
            if ahead == waiting:
                return works, kind
            ahead_left, query = lefts[(at + ahead) & mask], queries[(at + ahead) & mask]
        more = min(ahead_left, pieces[(at + ahead) & mask])
        if joined + more > join:
            return works, kind
        kind = max(kind, kinds[query])
        if not (shares_work and ahead_left < num_items[query]):
            works += 1
        joined += more
        ahead_left -= more


@compiled_as()
def _expect_completion(group_states, window_s, group, end_s):  # type: ignore[no-untyped-def]
    """Put a completion in its place, which nearly always is one of the last."""
    tail = group_states[group, END]
    if tail + 2 > window_s.shape[1]:  # slide back to the left end, with a past completion
        shift = group_states[group, BEGIN] - 1
        for slot in range(shift, tail):
            window_s[group, slot - shift] = window_s[group, slot]
        group_states[group, BEGIN] = 1
        tail -= shift
    slot = tail
    while window_s[group, slot - 1] > end_s:
        window_s[group, slot] = window_s[group, slot - 1]
        slot -= 1
    window_s[group, slot] = end_s
    window_s[group, tail + 1] = np.inf
    group_states[group, END] = tail + 1


@compiled_as(
    types.int64(
        *(_FLOATS, _INTS, _FLOATS_2D, _FLOATS_2D, _INTS_2D, _FLOATS_2D),
        *(_FLOATS, _INTS_2D, _SIZES, _DRAW),
        *(_INTS, types.int64, _FLOATS_2D, _FLOATS_2D, _FLOATS_2D, _FLOATS_2D, types.boolean),
        *(types.int64, types.float64, types.boolean, types.FunctionType(DECISION)),
        *(types.int64[:, ::1], types.int64[:, ::1], types.int64[:, ::1], types.float64[:, ::1]),
        *(types.int64[:, ::1], types.int64[:, ::1], types.float64[:, ::1]),
        *(types.int64[::1], types.float64[::1]),
        *(types.float64[::1], types.uint8[::1], types.boolean[::1], types.float64[::1]),
    )
)
def serve_events(  # type: ignore[no-untyped-def]  # one loop, so that its state stays in registers
    arrival_s,
    num_items,
    cpu_s,
    accelerator_s,
    lanes,
    rates,
    factors,
    first_factor,
    scattered_items,
    draw,
    kinds,
    num_kinds,
    cpu_by_kind_s,
    cpu_more_s,
    accelerator_by_kind_s,
    accelerator_more_s,
    shares_work,
    queue_limit,
    deadline_s,
    decides,
    decide,
    queue_query,
    queue_left,
    queue_piece,
    queue_key,
    lane_states,
    group_states,
    window_s,
    run_states,
    run_times,
    finish_s,
    lane_of,
    shed,
    busy_s,
):
    """Serve queries until all are (DONE), a queue is FULL, or a decision is BAD; then FULL goes on.

    Service times are scattered by `factors`, where `first_factor` of a device, the cores or the accelerators,
    says where those of a launch of so many items begin, up to `scattered_items`; 0: they are not.
    With `num_kinds`, times depend on the query too: see `perfmodel.sim.query_times`.
    Completions of a group are sorted in `window_s[group, begin:end]`, which slides to the right; what lies
    beside is a past completion and inf, so that no loop has to test its bounds.
    """
    num_queries, num_lanes = len(arrival_s), len(lanes)
    mask = queue_query.shape[1] - 1
    last_lane = num_lanes - 1
    num_cores = num_streams = 0
    if decides:
        num_cores = len(cpu_s[0])
        if num_lanes > 1:
            num_streams = accelerator_s.shape[1] * (len(group_states) - lanes[last_lane, FIRST_GROUP])
    arrived, cores_busy = run_states[ARRIVED], run_states[CORES_BUSY]
    now_s, last_end_s, idle_end_s = run_times[NOW_S], run_times[LAST_END_S], run_times[IDLE_END_S]
    waits = False  # whether any lane has a queue
    for lane in range(num_lanes):
        waits = waits or lane_states[lane, WAITING] > 0
    while arrived < num_queries or waits:
        # The next event. It is not before the last one, which may have been interrupted by a full queue.
        next_s = arrival_s[arrived] if arrived < num_queries else np.inf
        if waits:
            next_s = min(
                next_s,
                _next_dispatch_s(arrival_s, lanes, rates, queue_query, lane_states, group_states, window_s),
            )
        now_s = max(now_s, next_s)
        cores_busy -= _release(now_s, lanes, lane_states, group_states, window_s)
        # Arrivals join.
        while arrived < num_queries and arrival_s[arrived] == now_s:
            query = arrived
            size = num_items[query]
            if decides:
                run_states[DECIDED] = query
                busy = requests = items = 0
                if num_streams > 0:
                    busy = num_streams - lane_states[last_lane, IDLE]
                    requests, items = lane_states[last_lane, REQUESTS], lane_states[last_lane, ITEMS]
                decision = decide(
                    query,
                    size,
                    now_s,
                    num_cores,
                    cores_busy,
                    lane_states[0, REQUESTS],
                    lane_states[0, ITEMS],
                    num_streams,
                    busy,
                    requests,
                    items,
                )
                if decision == OFFLOAD and num_streams > 0 and size <= len(accelerator_s):
                    lane, piece = ACCELERATOR_LANE, size
                elif decision >= 1 and min(decision, size) <= lanes[0, PIECE]:
                    lane, piece = 0, decision
                else:
                    run_states[BAD_DECISION] = decision
                    return BAD
            else:
                lane = last_lane
                while size < lanes[lane, FROM]:
                    lane -= 1
                piece = lanes[lane, PIECE]
            if lane_states[lane, WAITING] > mask:
                run_states[ARRIVED], run_states[CORES_BUSY] = arrived, cores_busy
                run_times[NOW_S], run_times[LAST_END_S], run_times[IDLE_END_S] = now_s, last_end_s, idle_end_s
                return FULL
            arrived += 1
            lane_of[query] = lane
            if lane_states[lane, REQUESTS] - lane_states[lane, IDLE] >= queue_limit:
                shed[query] = True
                continue
            slot = (lane_states[lane, HEAD] + lane_states[lane, WAITING]) & mask
            queue_query[lane, slot], queue_left[lane, slot], queue_piece[lane, slot] = query, size, piece
            ageing = rates[lane, AGEING]
            if not np.isnan(ageing):
                queue_key[lane, slot] = size + ageing * arrival_s[query]
                _sift_up(queue_key, queue_query, queue_left, queue_piece, lane, slot)
            lane_states[lane, WAITING] += 1
            lane_states[lane, ITEMS] += size
            lane_states[lane, REQUESTS] += 1 if size <= piece else (size + piece - 1) // piece
        # Idle executors take requests.
        waits = False
        for lane in range(num_lanes):
            waiting, idle = lane_states[lane, WAITING], lane_states[lane, IDLE]
            if waiting == 0:
                continue
            if idle == 0:
                waits = True
                continue
            at, items, requests = (
                lane_states[lane, HEAD],
                lane_states[lane, ITEMS],
                lane_states[lane, REQUESTS],
            )
            join, wait_s = lanes[lane, JOIN], rates[lane, WAIT_S]
            on_accelerator = lanes[lane, ON_ACCELERATOR] != 0
            fifo = np.isnan(rates[lane, AGEING])
            first_group, end_group = lanes[lane, FIRST_GROUP], lanes[lane, END_GROUP]
            while waiting > 0 and idle > 0:
                query, left, piece = queue_query[lane, at], queue_left[lane, at], queue_piece[lane, at]
                if now_s - arrival_s[query] > deadline_s:  # overdue: drop all that is left of it
                    shed[query] = True
                    items -= left
                    requests -= (left + piece - 1) // piece
                    waiting -= 1
                    if fifo:
                        at = (at + 1) & mask
                    else:
                        _drop_first(queue_key, queue_query, queue_left, queue_piece, lane, waiting)
                    continue
                if wait_s > 0.0 and items < join and arrival_s[query] + wait_s > now_s:
                    break
                # How many items: one request, or as many as fit.
                size = min(left, piece)
                joined = size
                if join > 0:
                    joined = _joined_items(join, size, left, queue_left[lane], queue_piece[lane], at, waiting)
                kind, works = 0, 1
                if num_kinds > 0:
                    kind = kinds[query]
                    if shares_work and left < num_items[query]:
                        works = 0
                    if join > 0:
                        works, kind = _joined_work(
                            join,
                            size,
                            query,
                            left,
                            queue_left[lane],
                            queue_piece[lane],
                            queue_query[lane],
                            num_items,
                            kinds,
                            shares_work,
                            at,
                            waiting,
                        )
                # Which executor, and beside how many others.
                group = first_group
                if on_accelerator:
                    fewest = group_states[group, END] - group_states[group, BEGIN]
                    for other in range(first_group + 1, end_group):
                        busy = group_states[other, END] - group_states[other, BEGIN]
                        if busy < fewest:
                            group, fewest = other, busy
                    time_s = accelerator_s[joined - 1, fewest]
                    if num_kinds > 0:
                        row = (kind if works > 0 else num_kinds + kind) * len(accelerator_s) + joined - 1
                        more = kind * (len(accelerator_more_s) // num_kinds) + max(works, 1) - 1
                        time_s = accelerator_by_kind_s[row, fewest] + accelerator_more_s[more, fewest]
                else:
                    time_s = cpu_s[joined - 1, cores_busy]
                    if num_kinds > 0:
                        row = (kind if works > 0 else num_kinds + kind) * len(cpu_s) + joined - 1
                        more = kind * (len(cpu_more_s) // num_kinds) + max(works, 1) - 1
                        time_s = cpu_by_kind_s[row, cores_busy] + cpu_more_s[more, cores_busy]
                    cores_busy += 1
                device = 1 if on_accelerator else 0
                if scattered_items[device] > 0:
                    row = first_factor[device, min(joined, scattered_items[device]) - 1]
                    time_s *= factors[row + np.int64(index_of(draw, query, left))]
                idle -= 1
                lane_states[lane, LAUNCHES] += 1
                busy_s[lane] += time_s
                if arrived == num_queries:  # a launch waited for queries that do not come
                    idle_end_s += max(0.0, now_s - max(last_end_s, arrival_s[num_queries - 1]))
                end_s = now_s + time_s
                last_end_s = max(last_end_s, end_s)
                _expect_completion(group_states, window_s, group, end_s)
                # The requests leave the queue.
                items -= joined
                while True:
                    finish_s[query] = max(finish_s[query], end_s)
                    requests -= 1
                    left -= size
                    joined -= size
                    if left > 0:
                        queue_left[lane, at] = left
                    else:
                        waiting -= 1
                        if fifo:
                            at = (at + 1) & mask
                        else:
                            _drop_first(queue_key, queue_query, queue_left, queue_piece, lane, waiting)
                    if joined == 0:
                        break
                    query, left = queue_query[lane, at], queue_left[lane, at]
                    size = min(left, queue_piece[lane, at])
            lane_states[lane, HEAD], lane_states[lane, WAITING], lane_states[lane, IDLE] = at, waiting, idle
            lane_states[lane, ITEMS], lane_states[lane, REQUESTS] = items, requests
            waits = waits or waiting > 0
    run_times[LAST_END_S], run_times[IDLE_END_S] = last_end_s, idle_end_s
    return DONE
