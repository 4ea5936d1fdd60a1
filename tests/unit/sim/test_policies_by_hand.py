"""Each policy on cases small enough to follow by hand; both engines give the same numbers."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from perfmodel.domain.serving import (
    DynamicBatchingPolicy,
    FusionPolicy,
    SeparateQueuesPolicy,
    SheddingSettings,
    SizePriorityPolicy,
    SplitPolicy,
)
from perfmodel.errors import InputError
from perfmodel.sim.builtin_policies import (
    DynamicBatching,
    Fusion,
    SeparateQueues,
    SizePriority,
    policy_from,
)
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy, Pool, Shedding, SplitAndOffload
from perfmodel.sim.records import RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

both_engines = pytest.mark.parametrize("engine", ["simpy", "compiled"])


def run(
    engine: EngineName, arrival_s: list[float], num_items: list[int], service: ServiceTimes, policy: Policy
) -> RunRecord:
    return simulate(Queries(np.array(arrival_s), np.array(num_items)), service, policy, engine=engine)


def cores(num_cores: int, *, rows: int = 8) -> ServiceTimes:
    """One second an item, no contention; accelerators with 1 s a launch of any size."""
    items_s = np.arange(1.0, rows + 1)
    return ServiceTimes(
        cpu_s=np.repeat(items_s[:, None], num_cores, axis=1), accelerator_s=np.ones(rows), num_accelerators=1
    )


@both_engines
def test_shorter_queries_overtake(engine: EngineName) -> None:
    policy = SizePriority(SizePriorityPolicy(batch_size=8, ageing_items_per_s=0.0))
    # The core is busy until 4; then the queries of 1, 2 and 3 items follow, whatever their arrival.
    record = run(engine, [0, 1, 2, 3], [4, 3, 1, 2], cores(1), policy)
    assert record.finish_s.tolist() == [4, 10, 5, 7]


@both_engines
def test_a_shorter_query_overtakes_between_two_requests_of_a_longer_one(engine: EngineName) -> None:
    policy = SizePriority(SizePriorityPolicy(batch_size=2, ageing_items_per_s=0.0))
    # Six items are three requests of 2 s; the query of one item goes between the first and the second.
    assert run(engine, [0, 1], [6, 1], cores(1), policy).finish_s.tolist() == [7, 3]


@both_engines
def test_waiting_makes_up_for_size(engine: EngineName) -> None:
    # Keys are s + 2 t: 4, 3 + 2, 2 + 6 and 1 + 7. Of the two equal keys the earlier arrival goes first.
    policy = SizePriority(SizePriorityPolicy(batch_size=8, ageing_items_per_s=2.0))
    record = run(engine, [0, 1, 3, 3.5], [4, 3, 2, 1], cores(1), policy)
    assert record.finish_s.tolist() == [4, 7, 9, 10]


@both_engines
def test_small_and_large_queries_do_not_wait_for_each_other_but_slow_each_other_down(
    engine: EngineName,
) -> None:
    service = ServiceTimes(cpu_s=np.array([[1.0, 2.0, 3.0]] * 4))
    policy = SeparateQueues(
        SeparateQueuesPolicy(large_from_items=3, small_cores=1, small_batch_size=2, large_batch_size=4)
    )
    # Small: 0-1 alone, then 1-4 beside the two large ones. Large: two cores, seeing 2 and 3 busy; the third
    # waits for one of them while nobody small waits.
    record = run(engine, [0, 0.5, 0.5, 0.5, 0.75], [1, 4, 3, 3, 2], service, policy)
    assert record.finish_s.tolist() == [1.0, 2.5, 3.5, 5.5, 4.0]
    assert record.large is not None
    assert record.large.serves.tolist() == [False, True, True, True, False]
    assert (record.large.num_executors, record.large.busy_s) == (2, 8.0)
    # In 5.5 s the small core runs from 0 to 1 and from 1 to 4, the two large ones 3 + 3 + 2 s; no card.
    small, large, card = record.shares
    assert (small.pool, large.pool, card.pool) == (Pool.CPU, Pool.CPU_LARGE, Pool.ACCELERATOR)
    assert small.queries.tolist() == [True, False, False, False, True]
    assert large.queries.tolist() == [False, True, True, True, False]
    assert not card.queries.any()
    assert (small.utilisation, large.utilisation) == (4.0 / 5.5, 8.0 / 11.0)
    assert card.utilisation == 0.0


@both_engines
def test_every_query_is_of_one_pool(engine: EngineName) -> None:
    settings = SeparateQueuesPolicy(
        large_from_items=3, small_cores=1, small_batch_size=2, large_batch_size=4, offload_threshold_items=6
    )
    record = run(engine, [0, 0, 0], [1, 3, 6], cores(3), SeparateQueues(settings))
    assert record.finish_s.tolist() == [1, 3, 1]  # a launch of the card takes 1 s
    small, large, card = record.shares
    assert [share.queries.tolist() for share in (small, large, card)] == np.eye(3, dtype=bool).tolist()
    # In 3 s: 1 s of one core, 3 s of two cores, and 1 s of the card.
    assert [share.utilisation for share in (small, large, card)] == [1 / 3, 1 / 2, 1 / 3]


@both_engines
def test_a_batch_starts_when_it_is_full(engine: EngineName) -> None:
    policy = DynamicBatching(DynamicBatchingPolicy(pool="accelerator", max_batch_items=4, timeout_ms=10000.0))
    # 2 + 1 items wait; the query of 2 does not fit any more, so the batch is as full as it gets.
    record = run(engine, [0, 1, 2], [2, 1, 2], cores(1), policy)
    assert record.finish_s.tolist() == [3.0, 3.0, 13.0]


@both_engines
def test_a_batch_starts_when_its_oldest_query_has_waited_for_the_timeout(engine: EngineName) -> None:
    policy = DynamicBatching(DynamicBatchingPolicy(pool="accelerator", max_batch_items=8, timeout_ms=2000.0))
    # What arrives at the very instant of the timeout is part of the batch; what comes later waits anew.
    record = run(engine, [1, 2, 3, 3.5], [1, 1, 1, 1], cores(1), policy)
    assert record.finish_s.tolist() == [4.0, 4.0, 4.0, 6.5]


@both_engines
def test_a_query_larger_than_a_batch_is_cut_and_ends_with_its_last_piece(engine: EngineName) -> None:
    policy = DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=4, timeout_ms=1000.0))
    # Six items: 4 at once on the first core, 0-4; the other 2 with the 2 of the next query, 0.5-4.5.
    record = run(engine, [0, 0.5], [6, 2], cores(2), policy)
    assert record.finish_s.tolist() == [4.5, 4.5]
    assert record.cpu_launches == 2


@both_engines
def test_a_free_stream_takes_as_many_whole_queries_as_fit(engine: EngineName) -> None:
    policy = Fusion(FusionPolicy(batch_size=8, offload_threshold_items=2, max_fused_items=5))
    # 0-1 the first alone; 1-2 queries of 2 and 3 items; 2-3 the one of 2, since 6 are too many for one launch
    # with it; 3-4 the one of 6, which runs alone. The query of one item is for the core.
    record = run(engine, [0, 0.1, 0.2, 0.3, 0.4, 0.5], [2, 2, 3, 2, 6, 1], cores(1), policy)
    assert record.finish_s.tolist() == [1.0, 2.0, 2.0, 3.0, 4.0, 1.5]
    assert record.offloaded.tolist() == [True] * 5 + [False]


@both_engines
def test_streams_of_one_accelerator_slow_each_other_down(engine: EngineName) -> None:
    service = ServiceTimes(
        cpu_s=np.ones((1, 1)), accelerator_s=np.array([[1.0, 3.0]] * 4), num_accelerators=2
    )
    policy = Fusion(FusionPolicy(batch_size=1, offload_threshold_items=1, max_fused_items=4, streams=2))
    # One on each accelerator first, 1 s each; then the second stream of each, 3 s.
    record = run(engine, [0, 0.1, 0.2, 0.3], [4, 4, 4, 4], service, policy)
    assert record.finish_s.tolist() == [1.0, 1.1, 3.2, 3.3]
    assert record.num_accelerators == 4


@both_engines
def test_a_query_is_refused_at_the_queue_limit(engine: EngineName) -> None:
    policy = SplitAndOffload(batch_size=8, shedding=Shedding(queue_limit_requests=2))
    # One is served, two wait, and the last two of this instant are refused; at 2 the queue is short again.
    record = run(engine, [0, 0, 0, 0, 0, 2], [2, 2, 2, 2, 2, 1], cores(1), policy)
    assert record.finish_s.tolist() == [2, 4, 6, inf, inf, 7]
    assert record.shed_rate == pytest.approx(1 / 3)
    assert record.throughput_qps == 4 / 7
    assert record.goodput_qps(within_s=4.0) == 2 / 7


@both_engines
def test_what_would_start_after_the_deadline_is_dropped(engine: EngineName) -> None:
    policy = SplitAndOffload(batch_size=2, shedding=Shedding(deadline_s=3.0))
    # The first query is two requests, 0-2 and 2-4. The second, of t = 1, starts at 4: not later than 3 s
    # after its arrival. The third would start at 5, the fourth starts then.
    record = run(engine, [0, 1, 1.5, 2], [4, 1, 1, 1], cores(1), policy)
    assert record.finish_s.tolist() == [4, 5, inf, 6]
    assert record.makespan_s == 6


@both_engines
def test_a_query_whose_rest_is_overdue_is_shed_though_part_of_it_was_served(engine: EngineName) -> None:
    policy = SplitAndOffload(batch_size=2, shedding=Shedding(deadline_s=1.0))
    record = run(engine, [0], [4], cores(1), policy)
    assert record.shed is not None
    assert record.shed.tolist() == [True]
    assert (record.cpu_busy_s, record.makespan_s, record.throughput_qps) == (2.0, 2.0, 0.0)


def test_settings_become_policies() -> None:
    assert policy_from(
        SplitPolicy(batch_size=4, shedding=SheddingSettings(queue_limit_requests=3, deadline_ms=20.0))
    ) == SplitAndOffload(batch_size=4, shedding=Shedding(queue_limit_requests=3, deadline_s=0.02))
    fusion = FusionPolicy(batch_size=4, offload_threshold_items=9, max_fused_items=99, streams=3)
    assert policy_from(fusion).streams == 3


@pytest.mark.parametrize(
    ("policy", "largest"),
    [
        (SplitAndOffload(batch_size=64, offload_threshold_items=50), (49, 0, 300)),
        (SplitAndOffload(batch_size=64, offload_threshold_items=1), (0, 0, 300)),
        (SplitAndOffload(batch_size=64, offload_threshold_items=301), (64, 0, 0)),
        (
            SeparateQueues(
                SeparateQueuesPolicy(
                    large_from_items=9, small_cores=1, small_batch_size=64, large_batch_size=200
                )
            ),
            (8, 200, 0),
        ),
        (
            DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=999, timeout_ms=0.0)),
            (999, 0, 0),
        ),
        (Fusion(FusionPolicy(batch_size=64, offload_threshold_items=50, max_fused_items=999)), (49, 0, 999)),
        (Fusion(FusionPolicy(batch_size=64, offload_threshold_items=50, max_fused_items=60)), (49, 0, 300)),
    ],
)
def test_the_largest_launch_that_needs_a_service_time(policy: Policy, largest: tuple[int, int, int]) -> None:
    assert tuple(policy.largest_launch_items(pool, 300) for pool in Pool) == largest


def test_cores_that_are_set_apart_leave_some() -> None:
    policy = policy_from(
        SeparateQueuesPolicy(large_from_items=3, small_cores=2, small_batch_size=2, large_batch_size=4)
    )
    with pytest.raises(InputError, match=r"small_cores: expected fewer than the 2 cores, got 2"):
        run("auto", [0], [1], cores(2), policy)


def test_batching_on_an_accelerator_needs_one() -> None:
    policy = DynamicBatching(DynamicBatchingPolicy(pool="accelerator", max_batch_items=1, timeout_ms=0.0))
    with pytest.raises(InputError, match=r"policy\.pool: the node has no accelerator"):
        run("auto", [0], [1], ServiceTimes(cpu_s=np.ones((1, 1))), policy)


@both_engines
@pytest.mark.parametrize("timeout_s", [100.0, 1e6])
def test_throughput_is_not_divided_by_a_timeout_after_the_last_query(
    engine: EngineName, timeout_s: float
) -> None:
    policy = DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=8, timeout_ms=1e3 * timeout_s))
    # A full launch runs from 1 to 9; the query of 2 items at 3 waits until 3 + the timeout for six more.
    record = run(engine, [0, 1, 3], [4, 4, 2], cores(1), policy)
    assert record.finish_s.tolist() == [9, 9, 3 + timeout_s + 2]
    # Nothing ran from 9 on until it began: 8 s and 2 s of work in 11 s.
    assert record.makespan_s == 11
    assert record.throughput_qps == 3 / 11
    assert record.cpu_utilisation == 10 / 11


@both_engines
def test_a_timeout_between_queries_is_part_of_the_run(engine: EngineName) -> None:
    policy = DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=8, timeout_ms=5000.0))
    record = run(engine, [0, 20], [1, 8], cores(1), policy)
    assert record.finish_s.tolist() == [6, 28]
    assert record.makespan_s == 28
