"""Balanced traffic: a whole run is what its law says, and its queries are as random as any."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from perfmodel.domain.workload import BurstyArrivals, LogNormalSizes, PoissonArrivals
from perfmodel.planning.rate.late import DrawnTraffic
from perfmodel.sim.balanced import draw_balanced
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of, pmf_of_list
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NUM_BATCHES, batch_means, controlled_mean
from perfmodel.sim.traffic import TrafficSource

LAW = pmf_of(LogNormalSizes(mu=log(120), sigma=0.8, max_items=1024))
RATE_QPS = 50.0
TRAFFIC = TrafficSource(arrivals=PoissonArrivals(rate_qps=RATE_QPS), sizes=LAW)
WARM_UP = 100


def counts(num_queries: int, seed: int) -> np.ndarray:
    """How often each size of the law occurs after the warm-up."""
    num_items = draw_balanced(TRAFFIC, WARM_UP + num_queries, WARM_UP, seed=seed).num_items[WARM_UP:]
    return np.bincount(num_items, minlength=LAW.max_items + 1)[LAW.values]


@pytest.mark.parametrize("num_queries", [1, 37, 5000])
def test_every_size_occurs_as_often_as_its_law_has_it_within_one(num_queries: int) -> None:
    for seed in range(20):
        found = counts(num_queries, seed)
        assert found.sum() == num_queries
        expected = num_queries * LAW.probabilities
        assert np.all(np.abs(found - expected) < 1.0)
        assert np.all(np.abs(np.cumsum(found) - np.cumsum(expected)) < 1.0)


@pytest.mark.thorough
def test_over_seeds_no_size_is_favoured() -> None:
    seeds, num_queries = 500, 300
    mean = np.mean([counts(num_queries, seed) for seed in range(seeds)], axis=0)
    expected = num_queries * LAW.probabilities
    # A count is one of two neighbours: its variance is f (1 - f), f the fraction of what is expected.
    fraction = expected - np.floor(expected)
    errors = (mean - expected) / np.sqrt(np.maximum(fraction * (1.0 - fraction), 1e-3) / seeds)
    assert np.abs(errors).max() < 5.0  # of a thousand sizes


@pytest.mark.parametrize("warm_up", [0, 1, WARM_UP])
def test_arrivals_take_exactly_their_mean_time_from_the_end_of_the_warm_up(warm_up: int) -> None:
    for seed in range(10):
        arrival_s = draw_balanced(TRAFFIC, warm_up + 500, warm_up, seed=seed).arrival_s
        start_s = arrival_s[warm_up - 1] if warm_up else 0.0
        assert arrival_s[-1] - start_s == pytest.approx(500 / RATE_QPS, rel=1e-12)
        assert np.all(np.diff(arrival_s) > 0.0)


def test_the_warm_up_is_that_of_any_other_draw() -> None:
    plain, balanced = TRAFFIC.draw(600, seed=4), draw_balanced(TRAFFIC, 600, WARM_UP, seed=4)
    assert np.array_equal(plain.num_items[:WARM_UP], balanced.num_items[:WARM_UP])
    assert np.array_equal(plain.arrival_s[:WARM_UP], balanced.arrival_s[:WARM_UP])


def test_bursts_keep_their_own_times() -> None:
    bursts = BurstyArrivals(rate_qps=RATE_QPS, burst_factor=4, burst_fraction=0.1, mean_burst_s=0.5)
    traffic = TrafficSource(arrivals=bursts, sizes=LAW)
    plain, balanced = traffic.draw(600, seed=4), draw_balanced(traffic, 600, WARM_UP, seed=4)
    assert np.array_equal(plain.arrival_s, balanced.arrival_s)
    assert not np.array_equal(plain.num_items[WARM_UP:], balanced.num_items[WARM_UP:])


def test_within_a_run_sizes_and_arrivals_are_not_evened_out() -> None:
    """Variances over windows of a hundredth are those of independent draws, but for that hundredth."""
    num_queries, window, runs = 20_000, 200, 20
    items, arrived = [], []
    for seed in range(runs):
        queries = draw_balanced(TRAFFIC, num_queries, 0, seed=seed)
        items.append(queries.num_items.reshape(-1, window).sum(axis=1))
        edges_s = np.linspace(0.0, num_queries / RATE_QPS, num_queries // window + 1)
        arrived.append(np.histogram(queries.arrival_s, edges_s)[0])
    law_variance = LAW.probabilities @ (LAW.values - LAW.mean_items) ** 2
    windows = runs * num_queries // window
    rest = 1.0 - window / num_queries
    # Of a variance from so many windows, four standard errors; sums of two hundred are nearly normal.
    tolerance = 4.0 * sqrt(2.0 / windows)
    squares = np.mean((np.concatenate(items) - window * LAW.mean_items) ** 2)
    assert squares == pytest.approx(window * law_variance * rest, rel=tolerance)
    assert np.mean((np.concatenate(arrived) - window) ** 2) == pytest.approx(window * rest, rel=tolerance)


def share_of_intervals_with_the_mean_wait(seeds: int, num_queries: int) -> float:
    """M/G/1 at 70 %: how often is the exact mean within the interval of a run of balanced queries? [1]"""
    sizes, service_s = np.array([1, 1, 1, 5]), np.arange(1.0, 6.0)
    rate_qps = 0.7 / sizes.mean()
    source = TrafficSource(
        arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([int(size) for size in sizes])
    )
    service, policy = ServiceTimes(cpu_s=service_s[:, None]), SplitAndOffload(batch_size=5)
    exact_s = rate_qps * float(np.mean(sizes**2)) / (2.0 * (1.0 - 0.7)) + float(sizes.mean())
    held = 0
    for seed in range(seeds):
        drawn = DrawnTraffic(source, num_queries, seed=seed)
        record = simulate(drawn.at(rate_qps), service, policy)
        by_batch = batch_means(record.latency_s[drawn.warm_up :], NUM_BATCHES)
        # As searches do: the mean as it is, its error that which the load of the batches does not explain.
        error_s = controlled_mean(by_batch, drawn.controls(rate_qps, service, policy)).half_width
        held += abs(float(by_batch.mean()) - exact_s) <= error_s
    return held / seeds


@pytest.mark.thorough
def test_most_intervals_of_balanced_queries_hold_the_mean_wait_of_pollaczek_and_khinchine() -> None:
    # Of 60 intervals at 95 % fewer than 52 hold it in 0.8 % of cases.
    assert share_of_intervals_with_the_mean_wait(60, 30_000) >= 52 / 60


@pytest.mark.slow
def test_intervals_of_balanced_queries_hold_the_mean_wait_in_95_percent() -> None:
    assert 0.93 <= share_of_intervals_with_the_mean_wait(500, 200_000) <= 0.97
