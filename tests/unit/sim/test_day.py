"""Rates that follow the time of day: whole periods, and the worst five minutes."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from perfmodel.domain.serving import DynamicBatchingPolicy, SimulationSettings
from perfmodel.domain.workload import DiurnalArrivals
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s
from perfmodel.sim import day_run
from perfmodel.sim.builtin_policies import DynamicBatching
from perfmodel.sim.day import worst_window_late_share
from perfmodel.sim.day_run import WindowResult
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.traffic import TrafficSource, has_days
from tests.textbook import exponential_queue

SETTINGS = SimulationSettings(seed=1, precision=0.05, min_queries=20_000, max_queries=400_000)
ONE = SplitAndOffload(batch_size=1)


def traffic_of(rate_qps: float, amplitude: float, period_s: float) -> TrafficSource:
    arrivals = DiurnalArrivals(rate_qps=rate_qps, amplitude=amplitude, period_s=period_s)
    return TrafficSource(arrivals=arrivals, sizes=pmf_of_list([1]))


def node(time_s: float, cores: int = 4) -> ServiceTimes:
    return ServiceTimes(cpu_s=np.full((1, cores), time_s))


def run(traffic: TrafficSource, service: ServiceTimes, latency_s: float | None = None) -> RunResult:
    return run_until_precise(traffic, service, ONE, SETTINGS, percentile=0.95, latency_s=latency_s)


def test_the_whole_day_is_what_the_engine_makes_of_its_queries() -> None:
    traffic, service = traffic_of(20.0, 0.8, 3600.0), node(0.12)
    result = run(traffic, service, 0.2)
    queries = traffic.draw(80_000, seed=1)
    inside = queries.arrival_s < 3600.0
    latency_s = simulate(queries, service, ONE).latency_s[inside]
    assert result.num_queries == inside.sum()
    assert result.within_share == pytest.approx((latency_s <= 0.2).mean(), abs=1e-12)
    for percentile, interval in result.percentiles.items():
        assert interval.value_s == pytest.approx(order_statistic(np.sort(latency_s), percentile), rel=2e-3)
    assert result.mean_latency is not None
    assert result.mean_latency.value_s == pytest.approx(latency_s.mean(), rel=1e-9)


@pytest.mark.thorough
def test_the_worst_five_minutes_are_those_of_the_peak() -> None:
    # Slow against the queue: at the peak it is M/M/4 at 90 % load.
    queue = exponential_queue(0.5, 4)
    arrivals = DiurnalArrivals(rate_qps=50.0, amplitude=0.8, period_s=14_400.0)
    service = ServiceTimes(cpu_s=queue.service.cpu_s * 0.04)
    traffic = TrafficSource(arrivals=arrivals, sizes=queue.traffic.sizes)
    result = run_until_precise(traffic, service, queue.policy, SETTINGS, percentile=0.95, latency_s=0.2)
    assert result.worst is not None
    assert result.worst.start_s in (3300.0, 3600.0)
    assert result.worst.rate_qps == pytest.approx(90.0, rel=0.01)
    expected_s = 0.04 * mmc_latency_percentile_s(0.95, 4 * 0.9, 1.0, 4)
    found = result.worst.percentiles[0.95]
    assert found.value_s == pytest.approx(
        expected_s, abs=max(2.0 * (found.high_s - found.value_s), 0.05 * expected_s)
    )
    assert result.percentiles[0.95].value_s < 0.8 * found.value_s
    assert result.worst.late_share is not None
    assert result.worst.late_share.mean > 1.0 - (result.within_share or 0.0)


@pytest.mark.thorough
def test_a_backlog_of_the_rush_hours_is_part_of_the_worst_window() -> None:
    # 80 queries/s are carried. Above that from 30 to 150 degrees of the sine: the backlog is its integral.
    traffic, service = traffic_of(60.0, 2.0 / 3.0, 7200.0), node(0.05)
    result = run(traffic, service, 1.0)
    assert result.is_stable  # it drains each night
    assert result.worst is not None
    backlog = 40.0 * 7200.0 / (2.0 * np.pi) * sqrt(3.0) - 20.0 * 7200.0 / 3.0
    assert result.worst.percentiles[0.5].value_s == pytest.approx(backlog / 80.0, rel=0.05)
    assert result.worst.end_s == pytest.approx(7200.0 * 150.0 / 360.0, abs=300.0)
    assert result.worst.late_share is not None
    assert result.worst.late_share.mean == 1.0


@pytest.mark.thorough
def test_a_backlog_too_long_to_repeat_has_the_interval_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = exponential_queue(0.5, 4)
    arrivals = DiurnalArrivals(rate_qps=60.0, amplitude=2.0 / 3.0, period_s=7200.0)
    service = ServiceTimes(cpu_s=queue.service.cpu_s * 0.05)
    traffic = TrafficSource(arrivals=arrivals, sizes=queue.traffic.sizes)
    repeated = run_until_precise(traffic, service, queue.policy, SETTINGS, percentile=0.95).worst
    monkeypatch.setattr(day_run, "REPEATED_QUERIES", 100_000)
    once = run_until_precise(traffic, service, queue.policy, SETTINGS, percentile=0.95).worst
    assert repeated is not None
    assert once is not None
    one, other = repeated.percentiles[0.95], once.percentiles[0.95]
    assert one.low_s < other.high_s
    assert other.low_s < one.high_s
    assert 0.005 < other.relative_half_width < 0.1


@pytest.mark.thorough
@pytest.mark.parametrize("streamed", [400_000, 50_000])  # whole, or one window in three
def test_a_window_too_long_to_repeat_is_known_from_its_busiest_part(
    monkeypatch: pytest.MonkeyPatch, streamed: int
) -> None:
    """Without a backlog; 100 queries/s at the peak where 4 executors carry 400."""
    queue = exponential_queue(0.5, 4)
    arrivals = DiurnalArrivals(rate_qps=60.0, amplitude=2.0 / 3.0, period_s=7200.0)
    service = ServiceTimes(cpu_s=queue.service.cpu_s * 0.01)
    traffic = TrafficSource(arrivals=arrivals, sizes=queue.traffic.sizes)

    def worst(repeated: int) -> WindowResult:
        monkeypatch.setattr(day_run, "REPEATED_QUERIES", repeated)
        found = run_until_precise(traffic, service, queue.policy, SETTINGS, percentile=0.95).worst
        assert found is not None
        return found

    whole = worst(20_000_000)
    monkeypatch.setattr(day_run, "STREAMED_QUERIES", streamed)
    part = worst(80_000)
    assert part.end_s - part.start_s < 0.5 * (whole.end_s - whole.start_s)
    assert part.percentiles[0.95].value_s == pytest.approx(whole.percentiles[0.95].value_s, rel=0.03)
    assert part.percentiles[0.95].relative_half_width < 0.05


def test_a_load_that_never_drains_is_unstable() -> None:
    cpu_s = np.full((1, 4), 0.1) * np.array([0.5, 0.6, 0.8, 1.0])
    result = run_until_precise(
        traffic_of(45.0, 0.5, 1800.0), ServiceTimes(cpu_s=cpu_s), ONE, SETTINGS, percentile=0.95
    )
    assert not result.is_stable


def test_policies_that_are_not_streamed_answer_around_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_run, "WHOLE_QUERIES", 50_000)
    traffic, service = traffic_of(20.0, 0.8, 14_400.0), node(0.02)
    policy = DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=1, timeout_ms=0.0))
    result = run_until_precise(traffic, service, policy, SETTINGS, percentile=0.95, latency_s=1.0)
    assert "approximate" in result.notes[0]
    assert result.worst is not None
    assert result.worst.start_s in (3300.0, 3600.0)
    assert result.num_queries < 60_000


@pytest.mark.thorough
def test_very_long_periods_are_thinned_and_the_backlog_is_carried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic, service = traffic_of(60.0, 2.0 / 3.0, 14_400.0), node(0.05)
    whole = run(traffic, service)
    monkeypatch.setattr(day_run, "STREAMED_QUERIES", 300_000)
    thinned = run(traffic, service)
    assert whole.notes == ()
    assert "one window in 3" in thinned.notes[0]
    assert thinned.num_queries < 0.4 * whole.num_queries
    assert thinned.worst is not None
    assert whole.worst is not None
    worst = [result.percentiles[0.95].value_s for result in (thinned.worst, whole.worst)]
    assert worst[0] == pytest.approx(worst[1], rel=0.1)


def test_shed_queries_of_a_day_are_late_and_have_no_latency() -> None:
    policy = SplitAndOffload(batch_size=1, shedding=Shedding(deadline_s=0.1))
    result = run_until_precise(
        traffic_of(60.0, 2.0 / 3.0, 3600.0), node(0.05), policy, SETTINGS, percentile=0.95, latency_s=0.2
    )
    assert result.within_share is not None
    assert 0.7 < result.within_share < 0.99
    assert result.throughput_qps == pytest.approx(60.0 * result.within_share, rel=0.01)
    assert result.worst is not None
    assert result.worst.percentiles[0.99].high_s < 0.2
    assert "were shed" in result.notes[-1]


@pytest.mark.thorough
def test_the_share_of_late_queries_around_the_peak_grows_with_the_rate() -> None:
    queue = exponential_queue(0.5, 4)
    arrivals = DiurnalArrivals(rate_qps=1.0, amplitude=0.5, period_s=86400.0)
    traffic = TrafficSource(arrivals=arrivals, sizes=queue.traffic.sizes)
    service = ServiceTimes(cpu_s=queue.service.cpu_s * 0.1)
    limit_s = 0.1 * mmc_latency_percentile_s(0.95, 4 * 0.75, 1.0, 4)
    shares = worst_window_late_share(
        traffic, service, queue.policy, limit_s, [15.0, 20.0, 22.0], seed=1, replications=16
    )
    assert shares.shape == (3, 16)
    means = shares.mean(axis=1)
    assert np.all(np.diff(means) > 0.0)
    # At a mean of 20 the peak is 30 a second, 75 % load; of three windows the worst.
    assert means[1] == pytest.approx(0.05, abs=4.0 * shares[1].std() / 4.0)


def test_a_short_period_has_no_worst_five_minutes() -> None:
    assert not has_days(traffic_of(10.0, 0.5, 300.0))
    assert has_days(traffic_of(10.0, 0.5, 301.0))
    assert run(traffic_of(20.0, 0.5, 10.0), node(0.05)).worst is None
