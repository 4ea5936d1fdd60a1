"""The largest load within an SLA against closed forms: the rate where the exact percentile is the bound."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.rate.interval import GreatestRate, greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.queueing.closed_forms import mmc_greatest_rate_qps, mmc_latency_percentile_s
from perfmodel.queueing.deterministic import mdc_greatest_rate_qps, solve_mdc
from perfmodel.units import MS
from tests.textbook import TextbookQueue, deterministic_queue, exponential_queue

NUM_QUERIES = 1_000_000
"""M/M/4 at 70 % is known to 0.8 % from so many: few executors make noisy percentiles."""


def largest_load(
    queue: TextbookQueue, latency_s: float, *, percentile: float = 0.95, seed: int = 1, precision: float = inf
) -> GreatestRate:
    search = RateSearch(
        traffic=queue.traffic,
        service=queue.service,
        policy=queue.policy,
        sla=SlaTarget(percentile=percentile, latency_ms=latency_s / MS),
        seed=seed,
    )
    found = greatest_rate(search, num_queries=NUM_QUERIES, precision=precision, most_queries=8 * NUM_QUERIES)
    assert found is not None
    return found


def assert_within_a_per_cent(found: GreatestRate, exact_qps: float) -> None:
    assert found.rate_qps == pytest.approx(exact_qps, rel=0.01)
    assert 0.0 < found.relative_half_width < 0.012, "too vague to prove anything"
    assert found.ci95_qps is not None
    assert found.ci95_qps[0] < found.rate_qps < found.ci95_qps[1]


@pytest.mark.thorough
@pytest.mark.parametrize(("executors", "bound_s"), [(4, 4.5), (40, 3.5)])
def test_the_largest_load_of_mmc_is_that_of_the_closed_form(executors: int, bound_s: float) -> None:
    exact_qps = mmc_greatest_rate_qps(0.95, bound_s, 1.0, executors)
    found = largest_load(exponential_queue(0.5, executors), bound_s, precision=0.006)
    assert_within_a_per_cent(found, exact_qps)


@pytest.mark.by_default("1-2.5")
@pytest.mark.parametrize(("executors", "bound_s"), [(1, 2.5), (1, 12.0), (4, 1.6)])
def test_the_largest_load_of_mdc_is_that_of_the_closed_form(executors: int, bound_s: float) -> None:
    exact_qps = mdc_greatest_rate_qps(0.95, bound_s, 1.0, executors)
    found = largest_load(deterministic_queue(0.5, executors), bound_s, precision=0.006)
    assert_within_a_per_cent(found, exact_qps)


@pytest.mark.thorough_cases("0.99", "0.5")
@pytest.mark.parametrize("percentile", [0.5, 0.99])
def test_any_percentile_may_bind(percentile: float) -> None:
    exact_qps = mmc_greatest_rate_qps(percentile, 6.0, 1.0, 1)
    found = largest_load(exponential_queue(0.5, 1), 6.0, percentile=percentile)
    assert found.rate_qps == pytest.approx(exact_qps, rel=0.02)


@pytest.mark.parametrize(
    ("rate_of", "latency_of"),
    [
        (mmc_greatest_rate_qps, lambda rate: mmc_latency_percentile_s(0.95, rate, 1.0, 4)),
        (mdc_greatest_rate_qps, lambda rate: 1.0 + solve_mdc(rate, 1.0, 4).wait_percentile_s(0.95)),
    ],
)
def test_the_closed_forms_of_the_rate_invert_those_of_the_percentile(
    rate_of: Callable[[float, float, float, int], float], latency_of: Callable[[float], float]
) -> None:
    assert rate_of(0.95, latency_of(2.8), 1.0, 4) == pytest.approx(2.8, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("utilisation", [0.7, 0.9])
def test_intervals_of_the_largest_load_hold_the_truth_as_often_as_they_say(utilisation: float) -> None:
    # Three standard errors of 200 repetitions at 95 % are 4.6 points.
    bound_s = 1.0 + solve_mdc(utilisation, 1.0, 1).wait_percentile_s(0.95)
    queue = deterministic_queue(0.5, 1)
    held = 0
    for seed in range(200):
        interval = largest_load(queue, bound_s, seed=seed).ci95_qps
        assert interval is not None
        held += interval[0] <= utilisation <= interval[1]
    assert held / 200 >= 0.904
