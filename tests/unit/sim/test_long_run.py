"""Runs that keep latencies only, and order statistics that sort next to nothing: the same to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.unsteady import LogNormalScatter
from perfmodel.domain.workload import (
    BurstyArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    LogNormalSizes,
    PoissonArrivals,
)
from perfmodel.sim import run
from perfmodel.sim.engines import simulate
from perfmodel.sim.long_run import LongRun, can_be_long
from perfmodel.sim.policies import Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import CHUNK, pmf_of
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.scatter import scatter_by_size, scatter_of
from perfmodel.sim.selection import RankedBatches
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import SortedBatches
from perfmodel.sim.traffic import TrafficSource

TRAFFIC = TrafficSource(
    arrivals=PoissonArrivals(rate_qps=1500.0), sizes=pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
)
NODE = ServiceTimes(
    cpu_s=np.linspace(1e-3, 2e-3, 64)[:, None] * np.linspace(1.0, 1.5, 12),
    accelerator_s=np.linspace(1e-3, 2e-3, 1024),
    num_accelerators=2,
)


SCATTERED = replace(
    NODE,
    cpu_scatter=scatter_by_size(np.linspace(0.5, 0.2, 64)),
    accelerator_scatter=scatter_of(LogNormalScatter(relative_std=0.1)),
)


@pytest.mark.thorough_cases("stops0-None-scattered")
@pytest.mark.parametrize("node", [NODE, SCATTERED], ids=["even", "scattered"])
@pytest.mark.parametrize("threshold", [None, 300])
@pytest.mark.parametrize("stops", [(10,), (CHUNK,), (10, CHUNK + 1, 3 * CHUNK + 5)])
def test_a_long_run_is_the_whole_run_wherever_it_stops(
    node: ServiceTimes, threshold: int | None, stops: tuple[int, ...]
) -> None:
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=threshold)
    long_run = LongRun(TRAFFIC, node, policy, seed=5, replication=2, most=stops[-1])
    for stop in stops:
        whole = simulate(TRAFFIC.draw(stop, seed=5, replication=2), node, policy)
        np.testing.assert_array_equal(long_run.node_latency_s(stop), whole.latency_s)


@pytest.mark.parametrize(
    "arrivals",
    [
        BurstyArrivals(rate_qps=1000.0, burst_factor=3.0, burst_fraction=0.2, mean_burst_s=0.5),
        BurstyArrivals(rate_qps=1000.0, burst_factor=3.0, burst_fraction=0.2, mean_burst_s=1000.0),
        DiurnalArrivals(rate_qps=1000.0, amplitude=0.9, period_s=20.0),
    ],
)
def test_other_processes_are_drawn_in_parts_too(arrivals: BurstyArrivals | DiurnalArrivals) -> None:
    traffic = TrafficSource(arrivals=arrivals, sizes=TRAFFIC.sizes)
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=300)
    long_run = LongRun(traffic, NODE, policy, seed=5, replication=2, most=3 * CHUNK)
    for stop in (CHUNK, 3 * CHUNK):
        whole = simulate(traffic.draw(stop, seed=5, replication=2), NODE, policy)
        np.testing.assert_array_equal(long_run.node_latency_s(stop), whole.latency_s)


def test_only_what_the_recursion_serves_can_be_long() -> None:
    split = SplitAndOffload(batch_size=64)
    sheds = SplitAndOffload(batch_size=64, shedding=Shedding(deadline_s=1.0))
    constant = TrafficSource(arrivals=ConstantArrivals(rate_qps=1.0), sizes=TRAFFIC.sizes)
    assert can_be_long(TRAFFIC, NODE, split)
    assert not can_be_long(TRAFFIC, NODE, sheds)
    assert not can_be_long(constant, NODE, split)


@pytest.mark.thorough
def test_a_run_that_becomes_long_gives_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SimulationSettings(seed=1, precision=1e-4, min_queries=20_000, max_queries=300_000)
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=300)
    whole = run_until_precise(TRAFFIC, NODE, policy, settings, percentile=0.95)
    monkeypatch.setattr(run, "RECORDED_QUERIES", 100_000)
    monkeypatch.setattr(run, "GROWTH_CONTINUED", run.GROWTH_AFRESH)
    long = run_until_precise(TRAFFIC, NODE, policy, settings, percentile=0.95)
    assert whole.record is not None
    assert long.record is not None
    assert long.record.num_queries < whole.record.num_queries == whole.num_queries == long.num_queries
    assert long.notes == whole.notes
    for percentile, interval in whole.percentiles.items():
        assert long.percentiles[percentile].value_s == interval.value_s
        assert long.percentiles[percentile].high_s == pytest.approx(interval.high_s, rel=1e-9)
    assert whole.mean_latency is not None
    assert long.mean_latency is not None
    assert long.mean_latency.value_s == pytest.approx(whole.mean_latency.value_s, rel=1e-12)
    assert long.mean_latency.high_s == pytest.approx(whole.mean_latency.high_s, rel=1e-9)
    assert long.utilisation is not None
    assert tuple(whole.utilisation or ()) == pytest.approx(tuple(long.utilisation), rel=2e-3)


@pytest.mark.parametrize("num_values", [7, 10_000])
@pytest.mark.parametrize("equal", [True, False])
def test_ranked_batches_are_those_that_are_sorted(num_values: int, equal: bool) -> None:
    rng = np.random.default_rng(num_values)
    values = rng.lognormal(sigma=2.0, size=num_values) * (rng.random(num_values) > 0.2)  # zeros and all sizes
    values[: num_values // 3] = 0.125
    ranked, batches = RankedBatches(values, 3), SortedBatches(values, 3)
    assert ranked.num_values == batches.num_values == num_values // 3 * 3
    weights = np.full(3, 1 / 3) if equal else np.array([0.9, -0.15, 0.25])
    for level in (1e-6, 0.2, 1 / 3, 0.5, 0.77, 0.99, 1.0):
        value = batches.quantile(level, weights)
        assert ranked.quantile(level, weights) == value
        for near in (value, np.nextafter(value, 0.0), np.nextafter(value, 9.0), -value, 2.0 * value):
            np.testing.assert_array_equal(ranked.shares_below(near), batches.shares_below(near))
            np.testing.assert_array_equal(ranked.shares_above(near), batches.shares_above(near))


def test_a_weighted_quantile_is_where_the_weighted_share_gets_there() -> None:
    batches = SortedBatches(np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0]), 2)
    assert batches.quantile(0.5, np.array([0.5, 0.5])) == 3.0
    assert batches.quantile(0.5, np.array([0.25, 0.75])) == 10.0
    assert batches.quantile(0.51, np.array([0.25, 0.75])) == 20.0
    assert batches.quantile(1.0, np.array([0.25, 0.75])) == 30.0
