"""Closed users against the machine repairman, M/M/k//N, and Little's law."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfmodel.domain.workload import ClosedArrivals
from perfmodel.queueing.finite import repairman
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.statistics import mean_interval
from perfmodel.sim.users_run import throughput_of
from tests.textbook import exponential_queue

SAFETY = 3.883 / 2.093
"""Student's t with 19 degrees of freedom, 99.9 % over 95 %."""

WARM_UP = 20_000


@pytest.mark.thorough_cases("simpy-100000-4-12-1.0")
@pytest.mark.parametrize(
    ("executors", "users", "think_s"), [(1, 5, 4.0), (1, 40, 4.0), (4, 12, 1.0), (40, 60, 0.3)]
)
@pytest.mark.parametrize(("engine", "num_queries"), [("compiled", 400_000), ("simpy", 100_000)])
def test_latency_and_throughput_are_those_of_the_repairman(
    executors: int, users: int, think_s: float, engine: EngineName, num_queries: int
) -> None:
    if engine == "simpy" and executors != 4:
        pytest.skip("the engines are equal to the last bit: one case of the slow one is enough")
    queue = exponential_queue(0.5, executors)
    traffic = replace(queue.traffic, arrivals=ClosedArrivals(users=users, think_s=think_s))
    record = simulate(traffic.draw(num_queries, seed=3), queue.service, queue.policy, engine=engine)
    expected = repairman(users, think_s, 1.0, executors)
    latency_s = record.latency_s[WARM_UP:]
    found = mean_interval(latency_s)
    half_width_s = SAFETY * (found.high_s - found.low_s) / 2
    assert half_width_s < 0.1 * expected.mean_latency_s, "too noisy to prove anything"
    assert found.value_s == pytest.approx(expected.mean_latency_s, abs=half_width_s)
    throughput_qps = throughput_of(record, WARM_UP)
    assert throughput_qps == pytest.approx(expected.throughput_qps, rel=0.01)
    # Little's law of a round: users = throughput x (think + latency), thoughts being those that were drawn.
    think_drawn_s = float(traffic.draw(num_queries, seed=3).users.think_s[WARM_UP:].mean())
    assert users == pytest.approx(throughput_qps * (think_drawn_s + float(latency_s.mean())), rel=0.005)


@pytest.mark.parametrize("users", [1, 2, 7, 50])
def test_the_closed_form_is_that_of_mean_value_analysis(users: int) -> None:
    # Reiser and Lavenberg, JACM 27(2), 1980: one executor, S = 0.3 s, Z = 2 s, one user more at a time.
    waiting = latency_s = throughput_qps = 0.0
    for number in range(1, users + 1):
        latency_s = 0.3 * (1.0 + waiting)
        throughput_qps = number / (2.0 + latency_s)
        waiting = throughput_qps * latency_s
    assert repairman(users, 2.0, 0.3, 1) == pytest.approx((throughput_qps, latency_s))
