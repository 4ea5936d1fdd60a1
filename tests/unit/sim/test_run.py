from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.bounds import LEAST_RATE_QPS
from perfmodel.domain.serving import DynamicBatchingPolicy, SimulationSettings
from perfmodel.domain.workload import BurstyArrivals, ConstantArrivals, PoissonArrivals, TraceArrivals
from perfmodel.errors import InputError
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Pool, Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.records import RunRecord, broken_rules
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_length import STEADY_CYCLES
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation
from tests.textbook import TextbookQueue, deterministic_queue, exponential_queue

ONE_ITEM = pmf_of_list([1])
UNSPLIT = SplitAndOffload(batch_size=1)


def settings(precision: float = 0.02, fewest: int = 20_000, most: int = 2_000_000) -> SimulationSettings:
    return SimulationSettings(seed=1, precision=precision, min_queries=fewest, max_queries=most)


def run(queue: TextbookQueue, how: SimulationSettings, percentile: float = 0.95) -> RunResult:
    return run_until_precise(queue.traffic, queue.service, queue.policy, how, percentile=percentile)


@pytest.mark.thorough
def test_a_run_goes_on_until_it_is_precise() -> None:
    coarse, fine = (run(exponential_queue(0.7, 4), settings(precision)) for precision in (0.1, 0.01))
    assert coarse.num_queries == 111_112  # a hundred beyond the p99.9, and the warm-up
    assert fine.num_queries >= 2 * coarse.num_queries
    assert fine.precision_reached
    assert fine.notes == ()
    interval = fine.percentiles[0.95]
    assert interval.relative_half_width <= 0.01
    assert mmc_latency_percentile_s(0.95, 2.8, 1.0, 4) == pytest.approx(interval.value_s, rel=0.02)
    assert fine.record is not None
    assert fine.record.num_queries == fine.num_queries
    assert broken_rules(fine.record) == []


def test_the_cap_ends_a_run_with_a_note_and_its_true_precision() -> None:
    result = run(exponential_queue(0.9, 4), settings(0.001, most=50_000))
    assert result.num_queries == 50_000
    assert not result.precision_reached
    assert "max_queries ended the run after 50000 queries" in result.notes[0]
    assert result.percentiles[0.95].relative_half_width > 0.001


def test_at_least_a_hundred_queries_lie_beyond_every_percentile_reported() -> None:
    result = run(exponential_queue(0.5, 4), settings(0.5, fewest=1000))
    assert (result.num_queries - result.warm_up_queries) * 0.01 >= 100


def test_the_sla_percentile_is_reported_with_the_usual_ones() -> None:
    result = run(exponential_queue(0.5, 4), settings(0.5), percentile=0.9)
    assert list(result.percentiles) == [0.5, 0.9, 0.95, 0.99, 0.999]
    values_s = [interval.value_s for interval in result.percentiles.values()]
    assert values_s == sorted(values_s)


@pytest.mark.thorough
def test_same_seed_same_result() -> None:
    first, second = (run(exponential_queue(0.7, 4), settings()) for _ in range(2))
    assert first.percentiles == second.percentiles
    assert first.mean_latency == second.mean_latency


def test_an_overload_is_refused_before_anything_is_simulated() -> None:
    result = run(deterministic_queue(1.25, 4), settings())
    assert result.overloaded is Pool.CPU
    assert not result.is_stable
    assert result.percentiles == {}
    assert result.mean_latency is None
    assert result.record is None
    assert "1.25 times" in result.notes[0]


def contended_queue(alone: float, contended: float) -> TextbookQueue:
    """Four executors at the given utilisations with one and with all of them busy."""
    cpu_s = np.linspace(alone, contended, 4)[None, :]
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=4.0), sizes=ONE_ITEM)
    return TextbookQueue(traffic=traffic, service=ServiceTimes(cpu_s=cpu_s), policy=UNSPLIT)


def test_contention_that_overloads_the_node_is_found_by_its_backlog() -> None:
    result = run(contended_queue(0.8, 1.1), settings())
    assert result.overloaded is Pool.CPU
    assert result.alone.cpu == pytest.approx(0.8)
    assert result.contended.cpu == pytest.approx(1.1)
    assert "backlog grew" in result.notes[0]
    assert result.percentiles == {}
    assert result.record is not None


def test_a_run_that_only_a_burst_would_tip_over_is_called_metastable() -> None:
    traffic = TrafficSource(arrivals=ConstantArrivals(rate_qps=2.0), sizes=ONE_ITEM)
    service = ServiceTimes(cpu_s=np.array([[0.4, 1.5]]))
    result = run_until_precise(traffic, service, UNSPLIT, settings(), percentile=0.95)
    assert result.is_stable
    assert result.percentiles[0.95].value_s == pytest.approx(0.4)
    assert "metastable" in result.notes[0]


@pytest.mark.thorough
@pytest.mark.parametrize("utilisation", [0.9, 0.98])
def test_a_heavy_but_stable_load_is_no_overload(utilisation: float) -> None:
    for replication in range(20):
        queue = exponential_queue(utilisation, 4)
        queries = queue.traffic.draw(50_000, seed=5, replication=replication)
        assert overloaded_pool(simulate(queries, queue.service, queue.policy)) is None


@pytest.mark.thorough
def test_a_clear_overload_is_always_found() -> None:
    for replication in range(20):
        queue = exponential_queue(1.1, 4)
        queries = queue.traffic.draw(50_000, seed=5, replication=replication)
        assert overloaded_pool(simulate(queries, queue.service, queue.policy)) is Pool.CPU


def test_an_overloaded_accelerator_is_found_beside_an_idle_cpu() -> None:
    sizes = pmf_of_list([1] * 19 + [2])
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=10.0), sizes=sizes)
    service = ServiceTimes(cpu_s=np.full((1, 4), 0.1), accelerator_s=np.array([1.0, 2.2]), num_accelerators=1)
    policy = SplitAndOffload(batch_size=1, offload_threshold_items=2)
    record = simulate(traffic.draw(50_000, seed=1), service, policy)
    assert overloaded_pool(record) is Pool.ACCELERATOR
    refused = run_until_precise(traffic, service, policy, settings(), percentile=0.95)
    assert refused.overloaded is Pool.ACCELERATOR


def test_offered_utilisation_adds_up_requests_of_each_pool() -> None:
    # 3 items: 2 + 1 of 0.2 + 0.1 s; 1 item: 0.1 s; 4 items: the accelerator, 0.5 s; a third each.
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=6.0), sizes=pmf_of_list([3, 1, 4]))
    service = ServiceTimes(
        cpu_s=np.array([[0.1, 0.2], [0.2, 0.4]]), accelerator_s=np.full(4, 0.5), num_accelerators=2
    )
    policy = SplitAndOffload(batch_size=2, offload_threshold_items=4)
    alone = offered_utilisation(traffic, service, policy, contended=False)
    assert alone == pytest.approx(PoolLoads(cpu=6 * (0.3 + 0.1) / 3 / 2, accelerator=6 * 0.5 / 3 / 2))
    contended = offered_utilisation(traffic, service, policy, contended=True)
    assert contended.cpu == pytest.approx(2 * alone.cpu)
    assert contended.accelerator == alone.accelerator


@pytest.mark.parametrize("threshold", [None, 1, 5, 9])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_many_sizes_at_once_add_up_to_what_each_adds(threshold: int | None, batch_size: int) -> None:
    class Alike(SplitAndOffload):
        """The same placement, size by size."""

    rng = np.random.default_rng(1)
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=2.0), sizes=pmf_of_list([1, 2, 2, 5, 8]))
    service = ServiceTimes(
        cpu_s=rng.random((8, 3)) + 0.1, accelerator_s=rng.random((8, 2)) + 0.1, num_accelerators=2
    )
    for contended in (False, True):
        loads = [
            offered_utilisation(
                traffic,
                service,
                kind(batch_size=batch_size, offload_threshold_items=threshold),
                contended=contended,
            )
            for kind in (SplitAndOffload, Alike)
        ]
        assert tuple(loads[0]) == pytest.approx(tuple(loads[1]), rel=1e-14)


def test_offered_utilisation_refuses_queries_without_a_service_time() -> None:
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([3]))
    with pytest.raises(InputError, match="no accelerator"):
        offered_utilisation(
            traffic,
            ServiceTimes(cpu_s=np.ones((3, 1))),
            SplitAndOffload(batch_size=3, offload_threshold_items=2),
            contended=True,
        )


def test_a_trace_is_replayed_once_and_whole() -> None:
    trace_s = np.cumsum(np.random.default_rng(1).exponential(1.0, 2000))
    traffic = TrafficSource(arrivals=TraceArrivals(file=Path("trace.csv")), sizes=ONE_ITEM, trace_s=trace_s)
    service = ServiceTimes(cpu_s=np.full((1, 1), 0.8))
    result = run_until_precise(traffic, service, UNSPLIT, settings(), percentile=0.95)
    assert result.num_queries == 2000
    assert result.warm_up_queries == 0
    assert "the trace ended the run" in result.notes[0]


def bursty(mean_burst_s: float) -> TrafficSource:
    """1.9 executors of 4 at work in the mean, 10 in a burst."""
    arrivals = BurstyArrivals(rate_qps=1.9, burst_factor=10.0, burst_fraction=0.1, mean_burst_s=mean_burst_s)
    return TrafficSource(arrivals=arrivals, sizes=ONE_ITEM)


@pytest.mark.thorough
def test_a_run_with_few_bursts_says_how_many_and_what_it_would_take() -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 4)))
    for seed in range(5):  # most runs never see a burst, and some are little else
        limits = SimulationSettings(seed=seed, precision=0.05, min_queries=20_000, max_queries=100_000)
        result = run_until_precise(bursty(10_000.0), service, UNSPLIT, limits, percentile=0.95)
        assert result.is_stable
        assert not result.precision_reached
        assert result.num_queries == 100_000
        assert result.cycles == pytest.approx(100_000 / 190_000)
        assert result.needed_queries == 30 * 190_000
        assert "simulation.max_queries=5700000" in result.notes[0]


def test_a_run_with_some_bursts_says_that_its_intervals_are_too_narrow() -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 4)))
    limits = SimulationSettings(seed=1, precision=0.9, min_queries=20_000, max_queries=60_000)
    # 1.9 queries/s and a burst of 60 s every 600 s: 1,140 queries from one to the next.
    result = run_until_precise(bursty(60.0), service, UNSPLIT, limits, percentile=0.95)
    assert result.needed_queries is None
    assert any("holds 52.6 bursts" in note and "max_queries=342000" in note for note in result.notes)


@pytest.mark.thorough
def test_intervals_see_the_variation_between_bursts() -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 4)))
    limits = SimulationSettings(seed=3, precision=0.9, min_queries=20_000, max_queries=4_000_000)
    runs = [
        run_until_precise(bursty(30.0), service, UNSPLIT, limits, percentile=0.95, replication=replication)
        for replication in range(30)
    ]
    assert {result.needed_queries for result in runs} == {None}
    assert min(result.cycles or 0.0 for result in runs) >= STEADY_CYCLES
    intervals = [result.percentiles[0.95] for result in runs]
    truth_s = np.mean([interval.value_s for interval in intervals])
    # Of 30 intervals at 95 % fewer than 25 hold the truth in 0.3 % of cases.
    assert sum(truth_s in interval for interval in intervals) >= 25


@pytest.mark.parametrize("rate_qps", [1e-2, 1e-4, LEAST_RATE_QPS])
def test_a_node_that_is_nearly_always_idle_has_its_own_latency(rate_qps: float) -> None:
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=pmf_of_list([1, 2]))
    service = ServiceTimes(cpu_s=np.array([[0.005] * 2, [0.009] * 2]))
    policy = SplitAndOffload(batch_size=2)
    result = run_until_precise(traffic, service, policy, settings(), percentile=0.95)
    interval = result.percentiles[0.95]
    assert interval.value_s == pytest.approx(0.009, rel=1e-4)
    assert 0.0 <= interval.low_s <= interval.value_s <= interval.high_s
    assert interval.relative_half_width < 1e-3
    assert result.throughput_qps == pytest.approx(rate_qps)
    assert result.throughput_items_per_s == pytest.approx(1.5 * rate_qps)
    assert result.utilisation is not None
    assert result.utilisation.cpu == pytest.approx(rate_qps * 0.007 / 2, rel=0.05)
    assert result.goodput_qps(0.007) == pytest.approx(rate_qps / 2, rel=0.05)


@pytest.mark.parametrize("slower", [1.35, 1.82, 2.7])
def test_the_rate_that_stands_for_a_slower_one_is_sought_once(slower: float) -> None:
    # Rounding leaves the load at that rate a hair below the limit, which asked for another one for ever.
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1e-6), sizes=pmf_of_list([1, 2, 3]))
    service = ServiceTimes(cpu_s=np.repeat(np.array([[0.002], [0.004], [0.006]]) * slower, 7, axis=1))
    result = run_until_precise(traffic, service, SplitAndOffload(batch_size=3), settings(), percentile=0.95)
    assert result.percentiles[0.95].value_s == pytest.approx(0.006 * slower, rel=1e-4)


@pytest.mark.parametrize("rate_qps", [1e-6, 1e-4, 1e-3])
def test_a_launch_that_nobody_joins_waits_its_time_however_idle_the_node(rate_qps: float) -> None:
    # 100 s of waiting, 1 ms of service. Another query comes meanwhile with probability 1 - exp(-100 rate), at
    # most 9.5 %; the first of the two waits as long then, and the median is that of those who are alone.
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=ONE_ITEM)
    service = ServiceTimes(cpu_s=np.full((4, 2), 0.001))
    batching = DynamicBatchingPolicy(name="dynamic-batching", max_batch_items=4, timeout_ms=100_000.0)
    result = run_until_precise(traffic, service, policy_from(batching), settings(), percentile=0.95)
    assert result.percentiles[0.5].value_s == pytest.approx(100.001, rel=1e-6)
    assert result.throughput_qps == pytest.approx(rate_qps, rel=0.05)


@pytest.mark.thorough
def test_throughput_is_the_same_with_a_limit_that_sheds_nothing() -> None:
    queue = exponential_queue(0.7, 4)
    never = replace(queue.policy, shedding=Shedding(queue_limit_requests=10**9))
    plain, limited = (
        run_until_precise(queue.traffic, queue.service, policy, settings(), percentile=0.95)
        for policy in (queue.policy, never)
    )
    assert plain.throughput_qps == limited.throughput_qps == queue.traffic.rate_qps
    offered = queue.traffic.rate_qps * queue.traffic.size_pmf.mean_items
    assert plain.throughput_items_per_s == limited.throughput_items_per_s == pytest.approx(offered)


@pytest.mark.thorough
def test_utilisation_is_that_of_the_law_and_not_of_the_draw() -> None:
    queue = exponential_queue(0.8, 4)
    for replication in range(3):
        limits = settings(0.5)
        result = run_until_precise(
            queue.traffic, queue.service, queue.policy, limits, percentile=0.95, replication=replication
        )
        assert result.record is not None
        assert result.utilisation is not None
        # Without contention it is exact; what was drawn is off by half a per cent.
        assert result.utilisation.cpu == pytest.approx(0.8, rel=1e-9)
        assert abs(result.record.cpu_utilisation - 0.8) > 1e-5


def test_a_broken_record_names_the_rules_it_breaks() -> None:
    queries = Queries(np.array([0.0, 1.0]), np.array([1, 1]))
    lost = RunRecord(
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=np.array([0.5, np.nan]),
        offloaded=np.zeros(2, dtype=np.bool_),
        cpu_busy_s=0.5,
        accelerator_busy_s=0.0,
        num_executors=1,
        num_accelerators=0,
    )
    assert "every query is served" in broken_rules(lost)
