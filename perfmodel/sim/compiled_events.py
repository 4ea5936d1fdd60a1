"""The fast engine for every policy beyond `compiled_engine`'s: one event loop, compiled by numba.

It reads a policy's lanes as tables and serves them as `simpy_engine` does, to the last bit. Three things
make it fast: a queue holds queries and cuts requests off the one at its head, pending completions of a
group of executors are a sorted window, and completions that nobody waits for are not events.
A policy that looks at the node as well is a function pointer, so that the loop is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.compiled_loop import (
    BAD,
    BAD_DECISION,
    DECIDED,
    END_GROUP,
    FIRST_GROUP,
    FULL,
    GROUP_STATES,
    HEAD,
    IDLE,
    IDLE_END_S,
    LANE,
    LANE_STATES,
    LAST_END_S,
    LAUNCHES,
    RUN_STATES,
    RUN_TIMES,
    by_size,
    serve_events,
)
from perfmodel.sim.compiled_scatter import draw_of, loop_factors
from perfmodel.sim.policies import WHOLE, Lane, Policy, Pool, executors_of
from perfmodel.sim.records import LargeCores, RunRecord
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries
from perfmodel.sim.user_decisions import UserPolicy, bad_decision
from perfmodel.sim.user_policy import shown

Rows = TypeVar("Rows", IntArray, FloatArray)

FIRST_CAPACITY = 256


class _Queues:
    """The waiting queries of each lane, one row a lane: a ring where FIFO, else a heap.

    `left` items of a query still wait, to be cut into requests of `piece` items.
    """

    def __init__(self, num_lanes: int) -> None:
        self.query = np.empty((num_lanes, FIRST_CAPACITY), dtype=np.int64)
        self.left = np.empty_like(self.query)
        self.piece = np.empty_like(self.query)
        self.key = np.empty(self.query.shape)

    def double(self, lane_states: IntArray) -> None:
        """Make room for as many again; a ring then starts at its row's beginning."""
        heads: list[int] = lane_states[:, HEAD].tolist()
        self.query, self.left = _doubled(self.query, heads), _doubled(self.left, heads)
        self.piece, self.key = _doubled(self.piece, heads), _doubled(self.key, heads)
        lane_states[:, HEAD] = 0


def _doubled(rows: Rows, heads: list[int]) -> Rows:
    """Return twice as long rows, each turned so that it starts at its head."""
    longer = np.empty_like(rows, shape=(len(rows), 2 * rows.shape[1]))
    for row, turned, head in zip(rows, longer, heads, strict=True):
        turned[: len(row)] = np.roll(row, -head)
    return longer


def simulate_events(
    queries: Queries, service: ServiceTimes, policy: Policy, decide: Callable[..., int] | None = None
) -> RunRecord:
    """Serve every query and return what happened, without a log of requests.

    Parameters
    ----------
    queries, service, policy
        What arrives, how long it takes, and the lanes.
    decide : compiled function of the signature `DECISION`, optional
        Places each query; None: the lanes' sizes do.

    Raises
    ------
    InputError
        If the policy breaks a rule.
    """
    lanes, rates, executors = _lane_tables(policy, service)
    num_queries, num_lanes = len(queries), len(lanes)
    shedding = policy.shedding
    limit = None if shedding is None else shedding.queue_limit_requests
    deadline_s = None if shedding is None else shedding.deadline_s
    by_query = service.by_query
    served = _Served(num_queries, num_lanes)
    queues = _Queues(num_lanes)
    lane_states = np.zeros((num_lanes, LANE_STATES), dtype=np.int64)
    group_states = np.ones((len(executors), GROUP_STATES), dtype=np.int64)
    for lane, row in enumerate(lanes):
        groups = slice(row[FIRST_GROUP], row[END_GROUP])
        lane_states[lane, IDLE] = executors[groups].sum()
        group_states[groups, LANE] = lane
    window_s = np.empty((len(executors), 4 * max(executors, default=1) + 512))
    window_s[:, 0], window_s[:, 1] = -np.inf, np.inf
    run_states, run_times = np.zeros(RUN_STATES, dtype=np.int64), np.zeros(RUN_TIMES)
    tables = (service.cpu_scatter, service.accelerator_scatter)
    scattered, draw = loop_factors(tables), draw_of(queries.luck, *tables)
    while True:
        try:
            outcome = serve_events(
                *(queries.arrival_s, queries.num_items),
                *(service.cpu_s, service.accelerator_by_streams_s),
                *(lanes, rates),
                *(*scattered, draw),
                *_query_tables(service, num_queries, queries.luck),
                by_query is not None and by_query.shares_work,
                WHOLE if limit is None else limit,
                np.inf if deadline_s is None else deadline_s,
                decide is not None,
                by_size if decide is None else decide,
                *(queues.query, queues.left, queues.piece, queues.key),
                *(lane_states, group_states, window_s, run_states, run_times),
                *(served.finish_s, served.lane_of, served.shed, served.busy_s),
            )
        except Exception as error:  # of a user's decision: nothing else in there raises
            query = run_states[DECIDED]
            raise InputError(f"policy {policy.name}: query {query}: decide: {shown(error)}") from error
        if outcome != FULL:
            break
        queues.double(lane_states)
    if outcome == BAD:
        assert isinstance(policy, UserPolicy), "sizes alone never decide badly"
        query = int(run_states[DECIDED])
        raise bad_decision(policy, query, int(queries.num_items[query]), int(run_states[BAD_DECISION]))
    ends_s = float(run_times[LAST_END_S]), float(run_times[IDLE_END_S])
    return _record(queries, service, policy, served, lane_states[:, LAUNCHES], ends_s)


def _query_tables(
    service: ServiceTimes, num_queries: int, luck: Luck
) -> tuple[IntArray, int, *tuple[FloatArray, ...]]:
    """Kind of each query, how many there are, and times by kind; 0 where times depend on sizes alone."""
    none = np.zeros((1, 1))
    by_query = service.by_query
    if by_query is None:
        return np.zeros(1, dtype=np.int64), 0, none, none, none, none
    card = by_query.accelerator
    return (
        by_query.kinds_of(num_queries, luck),
        len(by_query.shares),
        *(by_query.cpu.as_rows_s, by_query.cpu.more_rows_s),
        *((none, none) if card is None else (card.as_rows_s, card.more_rows_s)),
    )


class _Served:
    """What the loop finds: of each query, and of each lane."""

    def __init__(self, num_queries: int, num_lanes: int) -> None:
        self.finish_s = np.zeros(num_queries)
        self.lane_of = np.zeros(num_queries, dtype=np.uint8)
        self.shed = np.zeros(num_queries, dtype=np.bool_)
        self.busy_s = np.zeros(num_lanes)


def _lane_tables(policy: Policy, service: ServiceTimes) -> tuple[IntArray, FloatArray, IntArray]:
    """Lanes as whole numbers and rates, and the executors of each group.

    A group is executors that are alike in everything: the cores of a lane, the streams of an accelerator.
    """
    rows, rates, executors = list[list[int]](), list[list[float]](), list[int]()
    for lane in policy.lanes:
        first = len(executors)
        executors += _groups(lane, policy, service)
        join, wait_s = (0, 0.0) if lane.joining is None else (lane.joining.max_items, lane.joining.wait_s)
        on_accelerator = int(lane.pool is Pool.ACCELERATOR)
        rows.append([lane.from_items, lane.request_items, join, on_accelerator, first, len(executors)])
        rates.append([wait_s, np.nan if lane.ageing_items_per_s is None else lane.ageing_items_per_s])
    return np.array(rows, dtype=np.int64), np.array(rates), np.array(executors, dtype=np.int64)


def _groups(lane: Lane, policy: Policy, service: ServiceTimes) -> list[int]:
    if lane.pool is Pool.ACCELERATOR:
        return [service.streams_per_accelerator] * service.num_accelerators
    return [executors_of(lane, policy, service)]


def _record(
    queries: Queries,
    service: ServiceTimes,
    policy: Policy,
    served: _Served,
    launches: IntArray,
    ends_s: tuple[float, float],
) -> RunRecord:
    finish_s, lane_of, shed, busy_s = served.finish_s, served.lane_of, served.shed, served.busy_s
    if policy.shedding is not None:
        finish_s[shed] = np.inf
    pools = [lane.pool for lane in policy.lanes]
    on_accelerator = np.array([pool is Pool.ACCELERATOR for pool in pools])
    large = None
    if Pool.CPU_LARGE in pools:
        index = pools.index(Pool.CPU_LARGE)
        cores = executors_of(policy.lanes[index], policy, service)
        large = LargeCores(serves=lane_of == index, busy_s=float(busy_s[index]), num_executors=cores)
    return RunRecord(
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=finish_s,
        offloaded=on_accelerator[lane_of],
        cpu_busy_s=float(busy_s[~on_accelerator].sum()),
        accelerator_busy_s=float(busy_s[on_accelerator].sum()),
        num_executors=service.num_executors,
        num_accelerators=service.num_streams,
        shed=None if policy.shedding is None else shed,
        last_end_s=ends_s[0],
        idle_end_s=ends_s[1],
        cpu_launches=int(launches[~on_accelerator].sum()),
        large=large,
    )
