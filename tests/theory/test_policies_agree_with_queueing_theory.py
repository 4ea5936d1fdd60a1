"""Priorities and losses against their closed forms."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from perfmodel.domain.serving import SizePriorityPolicy
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.builtin_policies import SizePriority
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from tests.textbook import exponential_queue

REPLICATIONS = 20
STUDENT_T99 = 2.861  # 19 degrees of freedom, 99 %


def half_width(values: FloatArray) -> float:
    return STUDENT_T99 * float(values.std(ddof=1)) / sqrt(REPLICATIONS)


@pytest.mark.thorough
@pytest.mark.parametrize("utilisation", [0.6, 0.85])
def test_waits_of_two_priorities_agree_with_cobham(utilisation: float) -> None:
    # M/G/1, shorter first, not interrupted: W_1 = W_0 / (1 - r_1), W_2 = W_1 / (1 - r_1 - r_2), where
    # W_0 = sum of l_i s_i^2 / 2 (A. Cobham, Operations Research 2(1), 1954). Sizes of 1 and 6, 3 to 1.
    sizes, shares = np.array([1, 6]), np.array([0.75, 0.25])
    rate = utilisation / float(shares @ sizes)
    residual = 0.5 * rate * float(shares @ sizes**2)
    short_load = rate * 0.75
    expected = residual / (1 - short_load), residual / (1 - short_load) / (1 - utilisation)

    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=rate), sizes=SizePmf(sizes, shares))
    service = ServiceTimes(cpu_s=np.arange(1.0, 7.0)[:, None])
    policy = SizePriority(SizePriorityPolicy(batch_size=6, ageing_items_per_s=0.0))
    waits = np.empty((REPLICATIONS, 2))
    for replication in range(REPLICATIONS):
        queries = traffic.draw(60_000, seed=11, replication=replication)
        wait = (simulate(queries, service, policy).latency_s - queries.num_items)[5000:]
        large = queries.num_items[5000:] == 6
        waits[replication] = wait[~large].mean(), wait[large].mean()
    for measured, theory in zip(waits.T, expected, strict=True):
        assert half_width(measured) < 0.1 * theory, "too noisy to prove anything"
        assert measured.mean() == pytest.approx(theory, abs=half_width(measured))


@pytest.mark.thorough_cases("4-0.8", "4-1.5", "4-1.0")
@pytest.mark.parametrize("utilisation", [0.8, 1.0, 1.5])
@pytest.mark.parametrize("limit", [1, 4])
def test_the_shed_rate_at_a_queue_limit_agrees_with_mm1k(utilisation: float, limit: int) -> None:
    # M/M/1/K with one served and `limit` waiting: P_K = r^K / (1 + r + … + r^K), PASTA.
    places = limit + 1
    expected = utilisation**places / sum(utilisation**n for n in range(places + 1))
    queue = exponential_queue(utilisation, 1)
    policy = SplitAndOffload(
        batch_size=queue.policy.batch_size, shedding=Shedding(queue_limit_requests=limit)
    )
    shed = np.array(
        [
            simulate(queue.traffic.draw(60_000, seed=5, replication=index), queue.service, policy).shed_rate
            for index in range(REPLICATIONS)
        ]
    )
    assert half_width(shed) < 0.03 * expected, "too noisy to prove anything"
    assert shed.mean() == pytest.approx(expected, abs=half_width(shed))
