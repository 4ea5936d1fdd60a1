"""Queues whose service times scatter: Pollaczek and Khinchine on one executor, bounds on several."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.domain.unsteady import LogNormalScatter
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.queueing.closed_forms import mg1_mean_wait_s
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.scatter import scatter_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Interval, mean_interval, warm_up_queries
from perfmodel.sim.traffic import TrafficSource

NUM_QUERIES = 1_000_000
SERVICE_S = 1e-3


def mean_wait(executors: int, utilisation: float, relative_std: float) -> Interval:
    """Of queries of one item, each of which holds an executor for 1 ms in the mean. [s]"""
    rate_qps = executors * utilisation / SERVICE_S
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=pmf_of_list([1]))
    service = ServiceTimes(
        cpu_s=np.full((1, executors), SERVICE_S),
        cpu_scatter=scatter_of(LogNormalScatter(relative_std=relative_std)),
    )
    queries = traffic.draw(NUM_QUERIES, seed=11)
    latency_s = simulate(queries, service, SplitAndOffload(batch_size=1)).latency_s
    found = mean_interval(latency_s[warm_up_queries(NUM_QUERIES) :])
    return Interval(*(value_s - SERVICE_S for value_s in (found.value_s, found.low_s, found.high_s)))


@pytest.mark.parametrize("relative_std", [0.3, 1.0])
@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_the_mean_wait_on_one_executor_is_that_of_pollaczek_and_khinchine(
    utilisation: float, relative_std: float
) -> None:
    found = mean_wait(1, utilisation, relative_std)
    expected_s = mg1_mean_wait_s(utilisation / SERVICE_S, SERVICE_S, relative_std**2)
    assert found.relative_half_width < 0.05, "too noisy to prove anything"
    assert abs(found.value_s - expected_s) < 1.5 * (found.high_s - found.low_s) / 2
    assert expected_s > 1.04 * mg1_mean_wait_s(utilisation / SERVICE_S, SERVICE_S, 0.0)


@pytest.mark.parametrize("relative_std", [0.3, 1.0])
@pytest.mark.parametrize("executors", [2, 8])
def test_the_mean_wait_on_several_executors_lies_within_its_bounds(
    executors: int, relative_std: float
) -> None:
    """Lower: S. Brumelle, Operations Research 19, 1971; upper: J. Kingman, J. Royal Stat. Soc. B 32, 1970."""
    utilisation, k, square = 0.85, executors, SERVICE_S**2 * (1.0 + relative_std**2)
    rate_qps = k * utilisation / SERVICE_S
    found = mean_wait(k, utilisation, relative_std)
    as_one_s = rate_qps * square / k**2 / (2.0 * (1.0 - utilisation))
    lower_s = as_one_s - (k - 1) * square / (2.0 * k * SERVICE_S)
    spread = 1.0 / rate_qps**2 + (square - SERVICE_S**2) / k + (1.0 - 1.0 / k) * SERVICE_S**2 / k
    upper_s = rate_qps * spread / (2.0 * (1.0 - utilisation))
    assert lower_s < found.low_s
    assert found.high_s < upper_s
