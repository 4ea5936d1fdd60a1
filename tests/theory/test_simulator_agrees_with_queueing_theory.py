"""The simulator against closed forms, within its own confidence intervals, whose width is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.queueing.closed_forms import (
    littles_law_mean_number,
    mg1_mean_wait_s,
    mmc_latency_percentile_s,
    mmc_mean_wait_s,
)
from perfmodel.queueing.deterministic import solve_mdc
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.records import RunRecord
from perfmodel.sim.statistics import Interval, mean_interval, percentile_interval, warm_up_queries
from tests.textbook import TextbookQueue, deterministic_queue, exponential_queue, general_queue

# Student's t with 19 degrees of freedom, 99.9 % over 95 %: some forty claims are tested at once.
SAFETY = 3.883 / 2.093

# The reference engine is 200 times slower, and equal to the compiled one to the last bit (tests/property).
RUNS: list[tuple[EngineName, float, int]] = [
    ("compiled", 0.3, 500_000),
    ("compiled", 0.7, 1_000_000),
    ("compiled", 0.9, 4_000_000),
    ("simpy", 0.5, 200_000),
]
by_load = pytest.mark.parametrize(("engine", "utilisation", "num_queries"), RUNS)
# Loads of seconds are slow where another law is tested with them by default.
by_short_load = pytest.mark.parametrize(
    ("engine", "utilisation", "num_queries"),
    [*RUNS[:2], *(pytest.param(*run, marks=pytest.mark.slow) for run in RUNS[2:])],
)


def run(queue: TextbookQueue, engine: EngineName, num_queries: int, *, seed: int = 1) -> RunRecord:
    queries = queue.traffic.draw(num_queries, seed=seed)
    return simulate(queries, queue.service, queue.policy, engine=engine)


def stationary_s(record: RunRecord) -> np.ndarray:
    return record.latency_s[warm_up_queries(record.num_queries) :]


def assert_agrees(measured: Interval, expected_s: float, *, offset_s: float = 0.0) -> None:
    """The closed form lies within the simulation's interval, and that is narrow."""
    half_width_s = SAFETY * (measured.high_s - measured.low_s) / 2
    assert half_width_s < 0.1 * expected_s, "too noisy to prove anything"
    assert measured.value_s - offset_s == pytest.approx(expected_s, abs=half_width_s)


@pytest.mark.parametrize("executors", [1, 4, 40])
@by_short_load
def test_mmc_latency_agrees_in_mean_and_percentiles(
    engine: EngineName, utilisation: float, num_queries: int, executors: int
) -> None:
    latency_s = stationary_s(run(exponential_queue(utilisation, executors), engine, num_queries))
    load = (utilisation * executors, 1.0, executors)
    assert_agrees(mean_interval(latency_s), 1.0 + mmc_mean_wait_s(*load))
    for percentile in (0.5, 0.95, 0.99):
        expected_s = mmc_latency_percentile_s(percentile, *load)
        assert_agrees(percentile_interval(latency_s, percentile), expected_s)


@pytest.mark.parametrize("executors", [1, 4])
@by_short_load
def test_mdc_wait_agrees_in_mean_and_percentiles(
    engine: EngineName, utilisation: float, num_queries: int, executors: int
) -> None:
    record = run(deterministic_queue(utilisation, executors), engine, num_queries)
    wait_s = stationary_s(record) - 1.0
    exact = solve_mdc(utilisation * executors, 1.0, executors)
    assert_agrees(mean_interval(wait_s), exact.mean_wait_s)
    for percentile in (0.95, 0.99):
        if exact.wait_percentile_s(percentile) > 0:
            assert_agrees(percentile_interval(wait_s, percentile), exact.wait_percentile_s(percentile))


@pytest.mark.parametrize(("long_items", "long_share"), [(10, 0.1), (20, 0.05)])
@by_short_load
def test_mg1_mean_wait_agrees_with_pollaczek_khinchine(
    engine: EngineName, utilisation: float, num_queries: int, long_items: int, long_share: float
) -> None:
    law = SizePmf(np.array([1, long_items]), np.array([1 - long_share, long_share]))
    queue = general_queue(utilisation, 1, law, np.arange(1.0, long_items + 1))
    mean_s = law.expect(lambda items: items)
    scv = law.expect(lambda items: (items - mean_s) ** 2) / mean_s**2
    latency_s = stationary_s(run(queue, engine, num_queries))
    expected_s = mean_s + mg1_mean_wait_s(queue.traffic.rate_qps, mean_s, scv)
    assert_agrees(mean_interval(latency_s), expected_s)


@pytest.mark.by_default("compiled-0.3-500000", "compiled-0.7-1000000")
@by_load
def test_time_average_of_queries_present_obeys_littles_law(
    engine: EngineName, utilisation: float, num_queries: int
) -> None:
    queue = exponential_queue(utilisation, 4)
    record = run(queue, engine, num_queries)
    begin_s, end_s = record.arrival_s[[num_queries // 50, -1]]
    # Looked at from outside, at evenly spaced instants: the arrived less the finished.
    instants_s = np.linspace(begin_s, end_s, 200_000)
    arrived = np.searchsorted(record.arrival_s, instants_s, side="right")
    finished = np.searchsorted(np.sort(record.finish_s), instants_s, side="right")
    rate_qps = utilisation * 4
    latency_s = 1.0 + mmc_mean_wait_s(rate_qps, 1.0, 4)
    present = mean_interval((arrived - finished).astype(np.float64))
    assert_agrees(present, littles_law_mean_number(rate_qps, latency_s))


@pytest.mark.parametrize("utilisation", [0.3, 0.9])
def test_busy_time_agrees_with_the_offered_utilisation(utilisation: float) -> None:
    record = run(exponential_queue(utilisation, 4), "compiled", 1_000_000)
    # Both the services and the rate are sample means of a million exponentials: 4 sqrt(2 / N).
    assert record.cpu_utilisation == pytest.approx(utilisation, rel=4 * (2 / 1_000_000) ** 0.5)
