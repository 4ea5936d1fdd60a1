"""Controls: what a stretch of a run asked for beyond the mean that is known exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import perfmodel.sim.controls as controls_module
from perfmodel.domain.workload import ConstantArrivals, DiurnalArrivals, PoissonArrivals, TraceArrivals
from perfmodel.sim.controls import LoadControls, load_controls
from perfmodel.sim.policies import Pool, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from tests.textbook import exponential_queue

NODE = ServiceTimes(cpu_s=np.ones((2, 2)), accelerator_s=np.full(4, 3.0), num_accelerators=1)
SPLIT = SplitAndOffload(batch_size=2, offload_threshold_items=4)


def controls_of(traffic: TrafficSource, service: ServiceTimes, policy: SplitAndOffload) -> LoadControls:
    controls = load_controls(traffic, service, policy)
    assert controls is not None
    return controls


def test_each_pool_has_its_own_excess() -> None:
    # 2 items: one second of one of two cores; 4 items: three seconds of the accelerator.
    traffic = TrafficSource(arrivals=ConstantArrivals(rate_qps=0.25), sizes=pmf_of_list([2, 4]))
    controls = controls_of(traffic, NODE, SPLIT)
    assert controls.pools == (Pool.CPU, Pool.ACCELERATOR)
    assert controls.time_s[:, [2, 4]].tolist() == [[0.5, 0.0], [0.0, 3.0]]
    queries = Queries(np.array([4.0, 8.0, 12.0, 16.0]), np.array([2, 4, 4, 4]))
    # Arrivals are as regular as they should be; two batches, and the one before them as it was.
    assert controls.by_batch(queries, 2, 2).tolist() == [[-0.25, 1.5, -0.25, 1.5]] * 2


def test_a_batch_that_comes_sooner_asks_for_more() -> None:
    traffic = TrafficSource(arrivals=ConstantArrivals(rate_qps=1.0), sizes=pmf_of_list([1]))
    controls = controls_of(traffic, ServiceTimes(cpu_s=np.ones((1, 4))), SplitAndOffload(batch_size=1))
    queries = Queries(np.array([1.0, 1.5, 2.0, 6.0]), np.ones(4, dtype=np.int64))
    assert controls.by_batch(queries, 0, 2).tolist() == [[0.25, 0.0], [-1.25, 0.25]]


def test_the_backlog_is_that_of_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls_module, "LONG_RUN", 0.0)
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=0.5), sizes=pmf_of_list([1]))
    controls = controls_of(traffic, ServiceTimes(cpu_s=np.ones((1, 1))), SplitAndOffload(batch_size=1))
    assert controls.mean_backlog_s.tolist() == [0.5]  # 0.5 x 1 / 2 (1 - 0.5)
    queries = Queries(np.array([0.5, 1.0, 1.25, 5.0]), np.ones(4, dtype=np.int64))
    # They find 0, 0.5, 1.25 and 0 s.
    assert controls.by_batch(queries, 0, 4)[:, 1].tolist() == [-0.5, 0.0, 0.75, -0.5]


def test_a_run_in_parts_has_the_same_backlog() -> None:
    queue = exponential_queue(0.9, 4)
    controls = controls_of(queue.traffic, queue.service, queue.policy)
    queries = queue.traffic.draw(1200, seed=1)
    whole, _ = controls.sums_by_block_s(queries.arrival_s, queries.num_items, 100, controls.nothing_carried)
    parts, carried = [], controls.nothing_carried
    for part in (slice(0, 500), slice(500, 600), slice(600, 1200)):
        sums_s, carried = controls.sums_by_block_s(
            queries.arrival_s[part], queries.num_items[part], 100, carried
        )
        parts.append(sums_s)
    np.testing.assert_allclose(np.concatenate(parts, axis=2), whole, atol=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize("long_run", [0.0, np.inf])
def test_controls_have_expectation_zero(monkeypatch: pytest.MonkeyPatch, long_run: float) -> None:
    monkeypatch.setattr(controls_module, "LONG_RUN", long_run)
    queue = exponential_queue(0.8, 4)
    controls = controls_of(queue.traffic, queue.service, queue.policy)
    runs = np.array(
        [
            controls.by_batch(queue.traffic.draw(4000, seed=3, replication=run), 400, 10).mean(axis=0)
            for run in range(400)
        ]
    )
    assert runs.shape == (400, 2)
    assert np.all(np.abs(runs.mean(axis=0)) < 3.0 * runs.std(axis=0) / 20)
    assert np.all(runs.std(axis=0) > 0.0)


def test_a_pool_that_is_full_has_no_mean_backlog() -> None:
    queue = exponential_queue(1.05, 4)
    controls = controls_of(queue.traffic, queue.service, queue.policy)
    assert np.isnan(controls.mean_backlog_s).all()
    assert np.isfinite(controls.by_batch(queue.traffic.draw(1000, seed=1), 100, 10)).all()


def test_what_nobody_knows_beforehand_is_no_control() -> None:
    recorded = TrafficSource(
        arrivals=TraceArrivals(file=Path("trace.csv")),
        trace_s=np.arange(4.0),
        trace_num_items=np.ones(4, dtype=np.int64),
    )
    assert load_controls(recorded, NODE, SPLIT) is None
    day = TrafficSource(arrivals=DiurnalArrivals(rate_qps=1.0, amplitude=0.5), sizes=pmf_of_list([1, 4]))
    controls = load_controls(day, NODE, SPLIT)
    assert controls is not None
    assert controls.mean_gap_s is None
