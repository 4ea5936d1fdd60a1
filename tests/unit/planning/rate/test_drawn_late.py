"""Traffic drawn once for all rates, and what is late of it at each: one rule for all engines."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import (
    BurstyArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    LogNormalSizes,
    PoissonArrivals,
    TraceArrivals,
)
from perfmodel.planning.rate.late import DrawnTraffic, LateQueries, allowed_late, at_peak, is_late
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of, pmf_of_list
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NUM_BATCHES
from perfmodel.sim.traffic import Queries, TrafficSource

LAW = pmf_of(LogNormalSizes(mu=log(120), sigma=0.8, max_items=1024))
SERVICE = ServiceTimes(cpu_s=np.linspace(1e-3, 2e-3, 64)[:, None] * np.linspace(1.0, 1.5, 8))
POLICY = SplitAndOffload(batch_size=64)
SLA = SlaTarget(percentile=0.95, latency_ms=6.1)  # 6.0 is twice 3.0, what 64 items take on a full node
POISSON = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=LAW)
BURSTS = BurstyArrivals(rate_qps=1.0, burst_factor=4, burst_fraction=0.1, mean_burst_s=0.05)


def test_two_rates_differ_by_nothing_but_their_time() -> None:
    drawn = DrawnTraffic(POISSON, 5000, seed=1)
    slow, fast = drawn.at(10.0), drawn.at(40.0)
    assert np.array_equal(slow.num_items, fast.num_items)
    np.testing.assert_allclose(slow.arrival_s, 4.0 * fast.arrival_s, rtol=1e-14)
    counted_s = fast.arrival_s[-1] - fast.arrival_s[drawn.warm_up - 1]
    assert counted_s == pytest.approx(drawn.counted / 40.0, rel=1e-12)


def test_whole_batches_follow_the_warm_up() -> None:
    for num_queries in (1000, 5003, 20_011):
        drawn = DrawnTraffic(POISSON, num_queries, seed=1)
        assert drawn.counted % NUM_BATCHES == 0
        assert drawn.counted + drawn.warm_up == num_queries
        assert 0 < drawn.warm_up < 0.2 * num_queries


def test_bursts_are_as_long_at_any_rate() -> None:
    drawn = DrawnTraffic(TrafficSource(arrivals=BURSTS, sizes=LAW), 5000, seed=1)
    assert not drawn.is_balanced
    slow, fast = drawn.at(10.0), drawn.at(40.0)
    assert np.abs(slow.arrival_s / fast.arrival_s - 4.0).max() > 0.01
    assert np.array_equal(slow.num_items, fast.num_items)


def test_a_trace_is_drawn_whole_and_without_a_warm_up() -> None:
    trace_s = np.cumsum(np.random.default_rng(1).exponential(1.0, 700))
    source = TrafficSource(arrivals=TraceArrivals(file=Path("unused.csv")), sizes=LAW, trace_s=trace_s)
    drawn = DrawnTraffic(source, 5000, seed=1)
    assert (drawn.num_queries, drawn.warm_up, drawn.counted) == (700, 0, 700)


def test_a_day_is_drawn_as_if_its_peak_lasted() -> None:
    day = TrafficSource(arrivals=DiurnalArrivals(rate_qps=1.0, amplitude=0.6, period_s=3600.0), sizes=LAW)
    drawn, steady = (DrawnTraffic(source, 5000, seed=1) for source in (day, POISSON))
    assert at_peak(day)[1] == 1.6
    np.testing.assert_allclose(drawn.at(10.0).arrival_s, steady.at(16.0).arrival_s, rtol=1e-14)


@pytest.mark.thorough
def test_shares_are_those_of_single_runs_by_either_engine() -> None:
    drawn = DrawnTraffic(POISSON, 3000, seed=1)
    rates_qps = [300.0, 500.0, 700.0]
    by_hand = []
    for rate_qps in rates_qps:
        record = simulate(drawn.at(rate_qps), SERVICE, POLICY)
        by_hand.append(float((record.latency_s[drawn.warm_up :] > SLA.latency_s).mean()))
    assert 0.0 < by_hand[0] < by_hand[1] < by_hand[2]
    engines: tuple[EngineName, ...] = ("auto", "simpy")
    for engine in engines:
        late = LateQueries(drawn, SERVICE, POLICY, SLA, engine=engine)
        assert [share.mean for share in late.shares(rates_qps)] == pytest.approx(by_hand, rel=1e-12)
        assert late.simulated_queries == 3 * 3000
        meets = [share <= 0.05 for share in by_hand]
        assert [late.meets(rate_qps) for rate_qps in rates_qps] == meets
        assert late.first_failing(rates_qps) == meets.index(False)


def test_shares_without_errors_are_the_same_shares() -> None:
    late = LateQueries(DrawnTraffic(POISSON, 3000, seed=1), SERVICE, POLICY, SLA)
    with_errors, without = (late.shares([500.0], errors=errors)[0] for errors in (True, False))
    assert with_errors.mean == without.mean
    assert with_errors.standard_error > without.standard_error == 0.0


def test_as_many_queries_may_be_late_as_leave_the_nearest_rank_percentile_within_its_bound() -> None:
    for percentile in (0.5, 0.9, 0.95, 0.99, 0.999):
        for num_queries in (1, 19, 20, 100, 999, 30_000):
            allowed = allowed_late(percentile, num_queries)
            rank = int(np.ceil(round(percentile * num_queries, 9)))  # of the percentile, from below
            assert allowed == num_queries - rank


def test_a_query_that_takes_exactly_what_is_allowed_is_not_late() -> None:
    # A stamp of a million seconds resolves 1e-10 s; the latency is off by that, and no more.
    queries = Queries(1e6 + 10.0 * np.arange(1.0, 50.0), np.ones(49, dtype=np.int64))
    record = simulate(queries, ServiceTimes(cpu_s=np.array([[0.3]])), SplitAndOffload(batch_size=1))
    assert not is_late(record, 0.3).any()
    assert is_late(record, 0.3 - 1e-6).all()


def test_equal_gaps_leave_nothing_to_luck() -> None:
    source = TrafficSource(arrivals=ConstantArrivals(rate_qps=1.0), sizes=pmf_of_list([1]))
    drawn = DrawnTraffic(source, 2000, seed=1)
    assert drawn.is_balanced
    service = ServiceTimes(cpu_s=np.full((1, 1), 1.0))
    late = LateQueries(
        drawn,
        service,
        SplitAndOffload(batch_size=1),
        SlaTarget(percentile=0.95, latency_ms=1000.0),
    )
    shares = late.shares([0.5, 0.99, 1.1])
    assert [share.mean for share in shares] == [0.0, 0.0, 1.0]
    assert [share.half_width for share in shares] == [0.0, 0.0, 0.0]
