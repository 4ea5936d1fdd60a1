"""The fast engine of a node that several services share: one event loop, compiled by numba.

It serves the lanes of `shared_lanes` as `simpy_shared` does, to the last bit. As in `compiled_loop`, queues
hold queries and cut requests off the one at the head, and completions that nobody waits for are not events.
The queue of a lane is a part of one array, as long as the lane has queries: in order of arrival, or a heap
where they age.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats
from perfmodel.sim.compiled_scatter import Draw, draw_of, index_of, loop_factors
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.policies import WHOLE, Policy
from perfmodel.sim.query_times import LaunchTimes
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.shared_lanes import LanesServed, Layout, SharedLane

# Columns of the tables that describe a lane: whole numbers, and seconds and rates.
PIECE, JOIN, ON_CARD, FIRST, END, LIMIT, ROW, KINDS, SHARES, KIND_ROWS, KIND_ROW, MORE_ROWS, MORE_ROW = range(
    13
)
WAIT_S, AGEING, DEADLINE_S = range(3)


class LaneTables(NamedTuple):
    """Lanes and times as the loop takes them.

    Attributes
    ----------
    lanes, rates : (lanes, columns) arrays
        What the columns above name; `ROW` is where a lane's times begin in `times_s`.
    times_s : (rows, busy) float
        Of all lanes, one below the other; columns beyond a device's executors are not looked at. [s]
    by_kind_s, more_s : (rows, busy) float
        As `LaunchTimes.as_rows_s` and `more_rows_s`. [s]
    """

    lanes: IntArray
    rates: FloatArray
    times_s: FloatArray
    by_kind_s: FloatArray
    more_s: FloatArray


def serve_compiled(
    arrival_s: FloatArray,
    num_items: IntArray,
    service: IntArray,
    layout: Layout,
    services: Sequence[tuple[ServiceTimes, Policy]],
    luck: Luck,
    kinds: IntArray,
) -> LanesServed:
    """Serve queries of several services, in order of arrival; parameters are those of `serve_simpy`."""
    lane_of = layout.lane_of(num_items, service)
    counts = np.bincount(lane_of, minlength=len(layout.lanes))
    tables = _tables(layout, services)
    laws = [
        services[lane.service][0].accelerator_scatter
        if lane.on_accelerator
        else services[lane.service][0].cpu_scatter
        for lane in layout.lanes
    ]
    factors, first_factor, scattered = loop_factors(laws)
    finish_s, shed = np.zeros(len(arrival_s)), np.zeros(len(arrival_s), np.bool_)
    busy_s, ends_s = np.zeros(len(layout.executors)), np.zeros(2)
    _serve(
        np.ascontiguousarray(arrival_s),
        np.ascontiguousarray(num_items),
        lane_of,
        kinds,
        tables,
        np.array(layout.executors),
        layout.core_groups,
        factors,
        first_factor,
        np.array(scattered),
        draw_of(luck, None, *laws),
        np.cumsum(counts) - counts,
        finish_s,
        shed,
        busy_s,
        ends_s,
    )
    finish_s[shed] = np.inf
    return LanesServed(finish_s, shed, busy_s, float(ends_s[0]), float(ends_s[1]))


def _tables(layout: Layout, services: Sequence[tuple[ServiceTimes, Policy]]) -> LaneTables:
    rows, rates = list[list[int]](), list[list[float]]()
    times, by_kind, more = list[FloatArray](), list[FloatArray](), list[FloatArray]()
    for lane in layout.lanes:
        own, policy = services[lane.service]
        rules, shedding = lane.rules, policy.shedding
        limit = None if shedding is None else shedding.queue_limit_requests
        deadline_s = None if shedding is None else shedding.deadline_s
        join, wait_s = (0, 0.0) if rules.joining is None else (rules.joining.max_items, rules.joining.wait_s)
        table_s = own.accelerator_by_streams_s if lane.on_accelerator else own.cpu_s
        law = _law(own, lane)
        shares = own.by_query is not None and own.by_query.shares_work
        kinds = [0, 0, 0, 0, 0, 0]
        if law is not None:
            count, items, _ = law.with_s.shape
            kinds = [
                *(count, int(shares)),
                *(items, sum(map(len, by_kind))),
                *(law.more_s.shape[1], sum(map(len, more))),
            ]
            by_kind.append(law.as_rows_s)
            more.append(law.more_rows_s)
        rows.append(
            [
                *(min(rules.request_items, WHOLE), join, int(lane.on_accelerator)),
                *(lane.first_group, lane.end_group),
                *(WHOLE if limit is None else limit, sum(map(len, times))),
                *kinds,
            ]
        )
        ageing = np.nan if rules.ageing_items_per_s is None else rules.ageing_items_per_s
        rates.append([wait_s, ageing, np.inf if deadline_s is None else deadline_s])
        times.append(table_s)
    return LaneTables(
        np.array(rows, dtype=np.int64), np.array(rates), _below(times), _below(by_kind), _below(more)
    )


def _law(own: ServiceTimes, lane: SharedLane) -> LaunchTimes | None:
    """Times by kind of query, where they depend on it."""
    if own.by_query is None:
        return None
    return own.by_query.accelerator if lane.on_accelerator else own.by_query.cpu


def _below(tables: Sequence[FloatArray]) -> FloatArray:
    """Tables one below the other, the narrower ones filled up."""
    if not tables:
        return frozen_floats(np.zeros((1, 1)))
    width = max(each.shape[1] for each in tables)
    return frozen_floats(
        np.concatenate([np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in tables])
    )


@compiled
def _is_before(one: int, other: int, ageing: float, arrival_s: FloatArray, num_items: IntArray) -> bool:
    """Whether a query goes before another in a queue whose queries age."""
    first, second = num_items[one] + ageing * arrival_s[one], num_items[other] + ageing * arrival_s[other]
    return bool(first < second or (first == second and one < other))


@compiled
def _join_aged(
    queue: IntArray,
    start: int,
    size: int,
    query: int,
    ageing: float,
    arrival_s: FloatArray,
    num_items: IntArray,
) -> None:
    slot = size
    while slot > 0:
        parent = (slot - 1) >> 1
        if not _is_before(query, queue[start + parent], ageing, arrival_s, num_items):
            break
        queue[start + slot] = queue[start + parent]
        slot = parent
    queue[start + slot] = query


@compiled
def _drop_aged(
    queue: IntArray, start: int, size: int, ageing: float, arrival_s: FloatArray, num_items: IntArray
) -> None:
    """Take the first out of a heap that has `size` others."""
    query = queue[start + size]
    slot, child = 0, 1
    while child < size:
        if child + 1 < size and _is_before(
            queue[start + child + 1], queue[start + child], ageing, arrival_s, num_items
        ):
            child += 1
        if not _is_before(queue[start + child], query, ageing, arrival_s, num_items):
            break
        queue[start + slot] = queue[start + child]
        slot, child = child, 2 * child + 1
    queue[start + slot] = query


@compiled
def _expect(ends_s: FloatArray, size: int, end_s: float) -> None:
    """Add a completion to a heap of so many."""
    slot = size
    while slot > 0 and ends_s[(slot - 1) >> 1] > end_s:
        ends_s[slot] = ends_s[(slot - 1) >> 1]
        slot = (slot - 1) >> 1
    ends_s[slot] = end_s


@compiled
def _ended(ends_s: FloatArray, size: int) -> None:
    """Drop the earliest completion of a heap of so many."""
    last_s = ends_s[size - 1]
    slot, child = 0, 1
    while child < size - 1:
        if child + 1 < size - 1 and ends_s[child + 1] < ends_s[child]:
            child += 1
        if ends_s[child] >= last_s:
            break
        ends_s[slot] = ends_s[child]
        slot, child = child, 2 * child + 1
    ends_s[slot] = last_s


@compiled
def _most_idle(lanes: IntArray, lane: int, executors: IntArray, busy: IntArray) -> Any:
    """The group with the most idle executors of a lane, the first of equal ones, and how many are idle."""
    group, most = lanes[lane, FIRST], -1
    for each in range(lanes[lane, FIRST], lanes[lane, END]):
        if executors[each] - busy[each] > most:
            group, most = each, executors[each] - busy[each]
    return group, most


@compiled
def _joined(
    rules: IntArray,
    queue: IntArray,
    at: int,
    end: int,
    left: IntArray,
    num_items: IntArray,
    kinds: IntArray,
) -> Any:
    """Items of the next launch of a queue, the queries whose work it does, and the last kind among them."""
    query = queue[at]
    joined = min(left[query], rules[PIECE])
    rest = left[query] - joined
    kind = kinds[query]
    works = 0 if rules[SHARES] > 0 and left[query] < num_items[query] else 1
    while rules[JOIN] > 0:
        if rest == 0:
            at += 1
            if at == end:
                break
            query = queue[at]
            rest = left[query]
        more = min(rest, rules[PIECE])
        if joined + more > rules[JOIN]:
            break
        kind = max(kind, kinds[query])
        if not (rules[SHARES] > 0 and rest < num_items[query]):
            works += 1
        joined += more
        rest -= more
    return joined, works, kind


@compiled
def _serve(  # one loop, so that its state is local
    arrival_s: FloatArray,
    num_items: IntArray,
    lane_of: IntArray,
    kinds: IntArray,
    tables: LaneTables,
    executors: IntArray,
    core_groups: int,
    factors: FloatArray,
    first_factor: IntArray,
    scattered: IntArray,
    draw: Draw,
    starts: IntArray,
    finish_s: FloatArray,
    shed: Any,
    busy_s: FloatArray,
    ends_of_run_s: FloatArray,
) -> None:
    lanes, rates, times_s, by_kind_s, more_s = tables
    num_queries, num_lanes, num_groups = len(arrival_s), len(lanes), len(executors)
    queue = np.empty(num_queries, np.int64)
    left = num_items.copy()
    at, end = starts.copy(), starts.copy()
    requests, items = np.zeros(num_lanes, np.int64), np.zeros(num_lanes, np.int64)
    busy = np.zeros(num_groups, np.int64)
    ends_s = np.full((num_groups, executors.max() + 1), np.inf)
    arrived = waiting = cores_busy = 0
    last_end_s = idle_end_s = 0.0
    while arrived < num_queries or waiting > 0:
        now_s = arrival_s[arrived] if arrived < num_queries else np.inf
        if waiting > 0:
            for lane in range(num_lanes):
                if end[lane] > at[lane]:
                    _, idle = _most_idle(lanes, lane, executors, busy)
                    if idle > 0:  # waits for a full launch
                        now_s = min(now_s, arrival_s[queue[at[lane]]] + rates[lane, WAIT_S])
                    else:
                        for group in range(lanes[lane, FIRST], lanes[lane, END]):
                            now_s = min(now_s, ends_s[group, 0])
        for group in range(num_groups):
            while busy[group] > 0 and ends_s[group, 0] <= now_s:
                _ended(ends_s[group], busy[group])
                ends_s[group, busy[group] - 1] = np.inf
                busy[group] -= 1
                if group < core_groups:
                    cores_busy -= 1
        while arrived < num_queries and arrival_s[arrived] == now_s:
            query, lane = arrived, lane_of[arrived]
            arrived += 1
            idle = 0
            for group in range(lanes[lane, FIRST], lanes[lane, END]):
                idle += executors[group] - busy[group]
            if requests[lane] - idle >= lanes[lane, LIMIT]:
                shed[query] = True
                continue
            if np.isnan(rates[lane, AGEING]):
                queue[end[lane]] = query
            else:
                size = end[lane] - at[lane]
                _join_aged(queue, at[lane], size, query, rates[lane, AGEING], arrival_s, num_items)
            end[lane] += 1
            waiting += 1
            items[lane] += num_items[query]
            piece = lanes[lane, PIECE]
            requests[lane] += 1 if num_items[query] <= piece else (num_items[query] + piece - 1) // piece
        while waiting > 0:
            turn, first = -1, num_queries
            for lane in range(num_lanes):
                if end[lane] == at[lane]:
                    continue
                _, idle = _most_idle(lanes, lane, executors, busy)
                if idle == 0:
                    continue
                aged, piece = not np.isnan(rates[lane, AGEING]), lanes[lane, PIECE]
                while end[lane] > at[lane]:  # overdue: drop all that is left of it
                    query = queue[at[lane]]
                    if now_s - arrival_s[query] <= rates[lane, DEADLINE_S]:
                        break
                    shed[query] = True
                    items[lane] -= left[query]
                    requests[lane] -= (left[query] - 1) // piece + 1
                    waiting -= 1
                    if aged:
                        end[lane] -= 1
                        size = end[lane] - at[lane]
                        _drop_aged(queue, at[lane], size, rates[lane, AGEING], arrival_s, num_items)
                    else:
                        at[lane] += 1
                if end[lane] == at[lane]:
                    continue
                query = queue[at[lane]]
                wait_s = rates[lane, WAIT_S]
                if wait_s > 0.0 and items[lane] < lanes[lane, JOIN] and arrival_s[query] + wait_s > now_s:
                    continue
                if query < first:
                    turn, first = lane, query
            if turn < 0:
                break
            lane, rules = turn, lanes[turn]
            joined, works, kind = _joined(rules, queue, at[lane], end[lane], left, num_items, kinds)
            group, _ = _most_idle(lanes, lane, executors, busy)
            beside = busy[group] if rules[ON_CARD] > 0 else cores_busy
            if rules[KINDS] > 0:
                row = (kind if works > 0 else rules[KINDS] + kind) * rules[KIND_ROWS] + joined - 1
                more = kind * rules[MORE_ROWS] + max(works, 1) - 1
                time_s = by_kind_s[rules[KIND_ROW] + row, beside] + more_s[rules[MORE_ROW] + more, beside]
            else:
                time_s = times_s[rules[ROW] + joined - 1, beside]
            if scattered[lane] > 0:
                row = first_factor[lane, min(joined, scattered[lane]) - 1]
                time_s *= factors[row + np.int64(index_of(draw, first, left[first]))]
            if arrived == num_queries:  # a launch waited for queries that do not come
                idle_end_s += max(0.0, now_s - max(last_end_s, arrival_s[num_queries - 1]))
            end_s = now_s + time_s
            last_end_s = max(last_end_s, end_s)
            busy_s[group] += time_s
            _expect(ends_s[group], busy[group], end_s)
            busy[group] += 1
            if rules[ON_CARD] == 0:
                cores_busy += 1
            items[lane] -= joined
            while joined > 0:
                query = queue[at[lane]]
                size = min(left[query], rules[PIECE])
                finish_s[query] = max(finish_s[query], end_s)
                requests[lane] -= 1
                left[query] -= size
                joined -= size
                if left[query] == 0:
                    waiting -= 1
                    if np.isnan(rates[lane, AGEING]):
                        at[lane] += 1
                    else:
                        end[lane] -= 1
                        rest = end[lane] - at[lane]
                        _drop_aged(queue, at[lane], rest, rates[lane, AGEING], arrival_s, num_items)
    ends_of_run_s[0], ends_of_run_s[1] = last_end_s, idle_end_s
