from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy.special import stdtrit

from perfmodel.errors import InputError
from perfmodel.sim.statistics import (
    CONFIDENCE,
    NUM_BATCHES,
    Interval,
    batch_means,
    controlled_mean,
    mean_interval,
    order_statistic,
    percentile_interval,
    student_t,
    warm_up_queries,
)


@pytest.mark.parametrize(
    ("fraction", "value"),
    [(0.95, 95.0), (0.951, 96.0), (0.99, 99.0), (0.5, 50.0), (0.001, 1.0), (1.0, 100.0)],
)
def test_percentile_is_the_nearest_rank(fraction: float, value: float) -> None:
    assert order_statistic(np.arange(1.0, 101.0), fraction) == value


def test_rounding_never_shifts_the_rank() -> None:
    # 0.29 x 100 is 28.999999999999996, and 0.07 x 100 is 7.000000000000001.
    sorted_s = np.arange(1.0, 101.0)
    assert [order_statistic(sorted_s, percent / 100) for percent in range(1, 101)] == sorted_s.tolist()


def test_warm_up_leaves_at_least_nine_tenths() -> None:
    assert [warm_up_queries(n) for n in (0, 1000, 50_000, 250_000, 1_000_000)] == [0, 100, 5000, 5000, 20_000]


def test_batches_are_successive_and_equally_long() -> None:
    assert batch_means(np.arange(41.0), 20).tolist() == [1.5 + 2 * batch for batch in range(20)]


def test_equal_latencies_have_an_interval_of_no_width() -> None:
    latency_s = np.full(1000, 0.25)
    assert mean_interval(latency_s) == Interval(0.25, 0.25, 0.25)
    assert percentile_interval(latency_s, 0.99) == Interval(0.25, 0.25, 0.25)


def test_interval_of_independent_latencies_has_the_textbook_width() -> None:
    latency_s = np.random.default_rng(1).standard_exponential(400_000)
    mean = mean_interval(latency_s)
    assert mean.high_s - mean.low_s == pytest.approx(2 * 2.093 / 400_000**0.5, rel=0.5)
    median = percentile_interval(latency_s, 0.5)
    assert np.log(2) in median
    assert median.high_s - median.low_s == pytest.approx(2 * 2.093 / 400_000**0.5, rel=0.5)


def test_autocorrelation_widens_the_interval() -> None:
    independent = np.random.default_rng(1).standard_exponential(20_000)
    alike = np.repeat(independent, 20)
    widths = [percentile_interval(x, 0.95).relative_half_width for x in (alike, np.tile(independent, 20))]
    assert widths[0] > 3 * widths[1]


def test_an_atom_at_the_percentile_does_not_hide_what_lies_beside_it() -> None:
    # Half of the latencies are 1 and the rest larger: the median is 1, but a few fewer and it is not.
    rng = np.random.default_rng(2)
    latency_s = np.where(rng.random(20_000) < 0.5, 1.0, 1.0 + rng.random(20_000))
    interval = percentile_interval(latency_s, 0.5)
    assert interval.low_s == 1.0
    assert 1.0 < interval.high_s < 1.1


def test_rounding_of_time_stamps_belongs_to_the_interval() -> None:
    noise_s = np.random.default_rng(3).uniform(-1e-12, 1e-12, 20_000)
    interval = percentile_interval(0.25 + noise_s, 0.95, rounding_s=2e-12)
    assert 0.25 in interval
    assert interval.relative_half_width < 1e-10


def test_too_few_queries_beyond_a_percentile_leave_it_unbounded() -> None:
    latency_s = np.random.default_rng(4).standard_exponential(300)
    assert percentile_interval(latency_s, 0.999).high_s == inf
    assert percentile_interval(latency_s, 0.999).relative_half_width == inf


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        mean_interval(np.ones(199))
    with pytest.raises(InputError, match="fraction"):
        percentile_interval(np.ones(1000), 95)


def test_the_interval_moves_with_its_data() -> None:
    latency_s = np.random.default_rng(5).gamma(2.0, size=50_000)
    one, doubled = (percentile_interval(factor * latency_s, 0.99) for factor in (1.0, 2.0))
    assert doubled == Interval(2 * one.value_s, 2 * one.low_s, 2 * one.high_s)


@pytest.mark.parametrize("degrees", [10, 19, 25, 29, 200])
def test_the_quantile_of_students_t_is_that_of_its_degrees_of_freedom(degrees: int) -> None:
    assert stdtrit(degrees, 0.5 + 0.5 * CONFIDENCE) == pytest.approx(student_t(degrees), rel=1e-5)


def test_without_controls_the_mean_is_plain_and_its_error_that_of_independent_batches() -> None:
    means = np.array([1.0, -1.0] * 10)  # a negative correlation is no reason for a narrower interval
    estimate = controlled_mean(means)
    assert estimate.mean == pytest.approx(0.0)
    assert estimate.standard_error == pytest.approx(means.std(ddof=1) / 20**0.5)
    assert estimate.degrees == 19


def test_a_control_takes_off_what_it_explains() -> None:
    rng = np.random.default_rng(6)
    held, narrower = 0, []
    for _ in range(400):
        control = rng.normal(size=(NUM_BATCHES, 2))
        means = 5.0 + control @ [3.0, -1.0] + rng.normal(size=NUM_BATCHES)
        estimate = controlled_mean(means, control)
        held += abs(estimate.mean - 5.0) <= estimate.half_width
        narrower.append(estimate.half_width / controlled_mean(means).half_width)
    assert 0.92 <= held / 400 <= 0.985
    assert np.median(narrower) < 0.5  # 1 / sqrt(1 + 9 + 1), and what the autocorrelation factor adds


def test_controls_that_say_nothing_change_nothing() -> None:
    means = np.random.default_rng(7).normal(size=NUM_BATCHES)
    control = np.random.default_rng(8).normal(size=(NUM_BATCHES, 1))
    alone, twice = (controlled_mean(means, np.hstack([control] * copies)) for copies in (1, 2))
    assert twice.mean == pytest.approx(alone.mean)
    assert twice.half_width == pytest.approx(alone.half_width)
    plain = controlled_mean(means)
    assert controlled_mean(means, np.zeros((NUM_BATCHES, 2))) == plain
    assert controlled_mean(means, np.full((NUM_BATCHES, 1), 3.0)) == plain
    assert controlled_mean(means[:12], np.random.default_rng(9).normal(size=(12, 4))) == controlled_mean(
        means[:12]
    )


def test_the_weights_of_the_batches_depend_on_the_controls_alone() -> None:
    rng = np.random.default_rng(10)
    one, other, control = rng.normal(size=(3, NUM_BATCHES))
    summed = controlled_mean(one + other, control[:, None]).mean
    assert summed == pytest.approx(
        controlled_mean(one, control[:, None]).mean + controlled_mean(other, control[:, None]).mean
    )
