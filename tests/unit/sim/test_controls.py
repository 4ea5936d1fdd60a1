"""Controls: what a stretch of a run asked for beyond the mean that is known exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.workload import ConstantArrivals, DiurnalArrivals, PoissonArrivals, TraceArrivals
from perfmodel.sim.controls import load_controls
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.textbook import exponential_queue
from perfmodel.sim.traffic import Queries, TrafficSource

NODE = ServiceTimes(cpu_s=np.ones((2, 2)), accelerator_s=np.full(4, 3.0), num_accelerators=1)
SPLIT = SplitAndOffload(batch_size=2, offload_threshold_items=4)


def test_each_pool_has_its_own_excess() -> None:
    # 2 items: one second of one of two cores; 4 items: three seconds of the accelerator.
    traffic = TrafficSource(arrivals=ConstantArrivals(rate_qps=0.25), sizes=pmf_of_list([2, 4]))
    controls = load_controls(traffic, NODE, SPLIT)
    assert controls is not None
    assert controls.excess_s[:, [2, 4]].tolist() == [[0.25, -0.25], [-1.5, 1.5]]
    queries = Queries(np.array([4.0, 8.0, 12.0, 16.0]), np.array([2, 4, 4, 4]))
    # Arrivals are as regular as they should be; two batches after the first two queries.
    assert controls.by_batch(queries, 2, 2).tolist() == [[-0.25, 1.5, -0.25, 1.5]] * 2


def test_a_batch_that_comes_sooner_asks_for_more() -> None:
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([1]))
    controls = load_controls(traffic, ServiceTimes(cpu_s=np.ones((1, 4))), SplitAndOffload(batch_size=1))
    assert controls is not None
    queries = Queries(np.array([1.0, 1.5, 2.0, 6.0]), np.ones(4, dtype=np.int64))
    assert controls.by_batch(queries, 0, 2)[:, 0].tolist() == [0.25, -1.25]


def test_the_load_before_the_first_batch_is_what_there_was() -> None:
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([1]))
    controls = load_controls(traffic, ServiceTimes(cpu_s=np.ones((1, 4))), SplitAndOffload(batch_size=1))
    assert controls is not None
    queries = Queries(np.array([0.5, 2.0, 3.0, 4.0, 5.0]), np.ones(5, dtype=np.int64))
    assert controls.by_batch(queries, 1, 2).tolist() == [[-0.25, 0.25], [0.0, -0.25]]


def test_controls_have_expectation_zero() -> None:
    queue = exponential_queue(0.8, 4)
    controls = load_controls(queue.traffic, queue.service, queue.policy)
    assert controls is not None
    runs = [
        controls.by_batch(queue.traffic.draw(2000, seed=3, replication=run), 200, 10).mean()
        for run in range(400)
    ]
    assert np.mean(runs) == pytest.approx(0.0, abs=3.0 * np.std(runs) / 20)
    assert np.std(runs) > 0.0


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
