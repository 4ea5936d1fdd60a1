"""Queries become the requests that the policy says, and policies that the runtime lacks are refused."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.serving.paced import paced_requests
from calibration.serving.requests import requests_of, require_servable, trace_of
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.sim.policies import Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.query_times import LaunchTimes, QueryTimes
from perfmodel.sim.traffic import Queries, TrafficSource

TRAFFIC = TrafficSource(arrivals=PoissonArrivals(rate_qps=100.0), sizes=pmf_of_list([10, 70, 200]))


def test_full_batches_come_first_and_the_remainder_last() -> None:
    queries = Queries(np.array([0.0, 1.0]), np.array([150, 64]))
    listed = requests_of(queries, SplitAndOffload(batch_size=64))
    assert listed.num_items.tolist() == [64, 64, 22, 64]
    assert listed.arrival_s.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_queries_from_the_threshold_on_go_to_the_accelerator_whole() -> None:
    queries = Queries(np.array([0.0, 1.0]), np.array([150, 149]))
    listed = requests_of(queries, SplitAndOffload(batch_size=100, offload_threshold_items=150))
    assert listed.num_items.tolist() == [150, 100, 49]
    assert listed.offloaded.tolist() == [True, False, False]


def test_a_policy_that_sheds_is_refused() -> None:
    with pytest.raises(InputError, match="sheds"):
        require_servable(SplitAndOffload(batch_size=8, shedding=Shedding(queue_limit_requests=5)))


def test_requests_have_the_history_that_the_simulation_gives_their_query() -> None:
    shares, policy = np.array([0.5, 0.3, 0.2]), SplitAndOffload(batch_size=64)
    queries = TRAFFIC.draw(2000, seed=7, replication=3)
    table = LaunchTimes(with_s=np.ones((3, 1, 1)), without_s=np.ones((3, 1, 1)), more_s=np.zeros((3, 1, 1)))
    simulated = QueryTimes(shares=shares, cpu=table).kinds_of(2000, queries.luck)
    listed = requests_of(queries, policy, shares)
    np.testing.assert_array_equal(listed.kind, simulated[listed.query])
    assert np.bincount(simulated) / 2000 == pytest.approx(shares, abs=0.05)
    np.testing.assert_array_equal(
        requests_of(queries.first(100), policy, shares).kind, listed.kind[listed.query < 100]
    )


def test_two_rates_see_the_same_unit_rate_trace() -> None:
    slow, fast = (trace_of(TRAFFIC.at_rate(rate), 1000.0 / rate, seed=3) for rate in (10.0, 40.0))
    assert len(slow) == len(fast) == 1000
    np.testing.assert_allclose(slow.arrival_s, 4.0 * fast.arrival_s)
    np.testing.assert_array_equal(slow.num_items, fast.num_items)


def test_the_pauses_of_a_paced_loop_leave_the_worker_busy_for_the_share_asked() -> None:
    listed, pause_s = paced_requests(
        TRAFFIC, SplitAndOffload(batch_size=64), 40_000, utilisation=0.6, mean_service_s=2e-3, seed=1
    )
    busy_s = 2e-3 * len(listed)
    assert busy_s / (busy_s + pause_s.sum()) == pytest.approx(0.6, abs=0.01)


def test_a_paced_loop_serves_the_mixture_of_sizes_of_the_split_queries() -> None:
    listed, _ = paced_requests(
        TRAFFIC, SplitAndOffload(batch_size=64), 30_000, utilisation=0.5, mean_service_s=1e-3, seed=1
    )
    # Sizes 10, 70, 200 equally often: requests of 10; 64, 6; 64, 64, 64, 8: seven for three queries.
    shares = {size: float(np.mean(listed.num_items == size)) for size in (10, 64, 6, 8)}
    assert shares == pytest.approx({10: 1 / 7, 64: 4 / 7, 6: 1 / 7, 8: 1 / 7}, abs=0.01)


def test_a_paced_loop_has_offloaded_queries_too_as_the_card_beside_busy_cores_is_what_is_asked() -> None:
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=200)
    listed, _ = paced_requests(TRAFFIC, policy, 30_000, utilisation=0.5, mean_service_s=1e-3, seed=1)
    # 10; 64, 6; 200 whole: one of four.
    assert float(np.mean(listed.offloaded)) == pytest.approx(1 / 4, abs=0.01)
    assert set(listed.num_items[listed.offloaded]) == {200}
