from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.workload import (
    BurstyArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    LogNormalSizes,
    NormalSizes,
    PoissonArrivals,
    RateStage,
    StagedArrivals,
    TraceArrivals,
)
from perfmodel.errors import InputError
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.sim.arrivals import draw_arrivals_s, expected_queries, mean_rate_qps, peak_factor
from perfmodel.sim.query_sizes import SizePmf, item_share_from, mean_requests, pmf_of, pmf_of_list
from perfmodel.sim.traffic import TrafficSource

RECORDED = TraceArrivals(file=Path("trace.csv"))


def production_sizes() -> SizePmf:
    sizes = named_sizes("deeprecsys-production")
    return SizePmf(sizes.num_items, sizes.probabilities)


@pytest.mark.parametrize(("batch_size", "requests"), [(128, 2.33), (256, 1.33), (512, 1.08), (1024, 1.0)])
def test_production_queries_split_into_as_many_requests_as_counted_by_hand(
    batch_size: int, requests: float
) -> None:
    assert mean_requests(production_sizes(), batch_size) == pytest.approx(requests, abs=1e-9)


@pytest.mark.parametrize(("threshold_items", "percent"), [(1, 100.0), (128, 92.1), (256, 49.2), (879, 0.0)])
def test_large_production_queries_hold_most_items(threshold_items: int, percent: float) -> None:
    assert 100 * item_share_from(production_sizes(), threshold_items) == pytest.approx(percent, abs=0.05)


def test_production_queries_have_the_published_range() -> None:
    law = production_sizes()
    assert (law.values[0], law.max_items) == (3, 878)
    assert len(law.probabilities) < 100  # a hundred sizes, some listed more than once
    assert law.probabilities.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_clipped_law_puts_the_tails_on_its_limits() -> None:
    law = pmf_of(NormalSizes(mean_items=5.0, std_items=100.0, min_items=1, max_items=9))
    assert law.probabilities[0] == pytest.approx(law.probabilities[-1])
    assert law.probabilities[0] > 0.48


def test_lognormal_law_has_the_moments_of_its_parameters() -> None:
    law = pmf_of(LogNormalSizes(mu=5.1, sigma=0.2))  # the published comparison
    assert law.mean_items == pytest.approx(np.exp(5.1 + 0.02), rel=1e-4)
    assert law.expect(lambda items: np.log(items)) == pytest.approx(5.1, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "probabilities", "message"),
    [
        ([], [], "at least one"),
        ([1, 2], [1.0], "as many values"),
        ([0], [1.0], "at least 1 item"),
        ([2, 1], [0.5, 0.5], "ascending"),
        ([1, 2], [0.5, 0.6], "sum 1"),
        ([1, 2], [1.0, 0.0], "positive"),
    ],
)
def test_impossible_laws_are_refused(values: list[int], probabilities: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SizePmf(np.array(values), np.array(probabilities))


def test_recorded_times_count_from_the_first() -> None:
    trace_s = np.array([1000.0, 1000.5, 1002.0])
    assert draw_arrivals_s(RECORDED, 3, seed=1, trace_s=trace_s).tolist() == [0.0, 0.5, 2.0]


def test_a_trace_is_stretched_to_the_rate_asked_for() -> None:
    # Two gaps in 2 s are 1 query/s; at 4 queries/s everything comes four times as early.
    trace = TraceArrivals(file=Path("trace.csv"), rate_qps=4.0)
    trace_s = np.array([1000.0, 1000.5, 1002.0])
    assert draw_arrivals_s(trace, 3, seed=1, trace_s=trace_s).tolist() == [0.0, 0.125, 0.5]


def test_recorded_sizes_stay_with_their_queries() -> None:
    source = TrafficSource(
        arrivals=RECORDED, trace_s=np.array([0.0, 0.5, 2.0]), trace_num_items=np.array([7, 300, 7])
    )
    assert source.draw(2, seed=1).num_items.tolist() == [7, 300]
    assert source.size_pmf.values.tolist() == [7, 300]
    assert source.num_recorded == 3
    assert source.rate_qps == 1.0
    assert source.at_rate(5.0).rate_qps == 5.0


@pytest.mark.parametrize(
    ("trace_s", "message"),
    [
        (None, "at least two"),
        ([0.0], "at least two"),
        ([0.0, 2.0, 1.0], "ascending"),
        ([0.0, np.nan], "finite"),
        ([1.0, 1.0], "no rate"),
        ([0.0, 1.0], "fewer than the 3"),
    ],
)
def test_unusable_traces_are_refused(trace_s: list[float] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_arrivals_s(RECORDED, 3, seed=1, trace_s=None if trace_s is None else np.array(trace_s))


def test_bursts_too_short_to_list_are_refused() -> None:
    blink = BurstyArrivals(rate_qps=1.0, burst_factor=2.0, burst_fraction=0.5, mean_burst_s=1e-6)
    with pytest.raises(InputError, match="mean_burst_s"):
        draw_arrivals_s(blink, 1000, seed=1)


def test_diurnal_arrivals_solve_the_integrated_rate() -> None:
    process = DiurnalArrivals(rate_qps=50.0, amplitude=0.9, period_s=20.0)
    arrival_s = draw_arrivals_s(process, 10_000, seed=1)
    unit_points = 50.0 * draw_arrivals_s(PoissonArrivals(rate_qps=50.0), 10_000, seed=1)
    per_rad_s = 20.0 / (2 * np.pi)
    integrated = 50.0 * (arrival_s + 0.9 * per_rad_s * (1 - np.cos(arrival_s / per_rad_s)))
    np.testing.assert_allclose(integrated, unit_points, rtol=1e-9, atol=1e-6)


SPIKE = StagedArrivals(
    stages=(
        RateStage(duration_s=5.0, rate_qps=10.0, to_qps=40.0),
        RateStage(duration_s=1.0, rate_qps=300.0),
        RateStage(duration_s=2.0, rate_qps=0.0),
        RateStage(duration_s=4.0, rate_qps=40.0, to_qps=0.0),
    )
)
"""A ramp of 125 queries, a spike of 300, a pause, and a ramp down of 80: 505 in 12 s."""


@pytest.mark.thorough
def test_staged_arrivals_solve_the_integrated_rate() -> None:
    arrival_s = draw_arrivals_s(SPIKE, 20_000, seed=1)
    unit_points = draw_arrivals_s(PoissonArrivals(rate_qps=1.0), 20_000, seed=1)
    integrated = [expected_queries(SPIKE, 0.0, float(time_s)) for time_s in arrival_s]
    np.testing.assert_allclose(integrated, unit_points, rtol=1e-9, atol=1e-6)
    assert np.all(np.diff(arrival_s) >= 0.0)
    np.testing.assert_array_equal(draw_arrivals_s(SPIKE, 5_000, seed=1), arrival_s[:5_000])


def test_each_stage_gets_what_its_rate_says_and_a_pause_nothing() -> None:
    arrival_s = draw_arrivals_s(SPIKE, 505 * 400, seed=2)
    within_s = arrival_s[arrival_s < 12.0 * 390] % 12.0
    counts, _ = np.histogram(within_s, bins=[0.0, 5.0, 6.0, 8.0, 12.0])
    expected = np.array([125.0, 300.0, 0.0, 80.0]) * 390
    assert counts[2] == 0
    assert np.all(np.abs(counts - expected) <= 4.0 * np.sqrt(expected))
    rising, _ = np.histogram(within_s, bins=[0.0, 2.5, 5.0])
    assert rising[1] / rising[0] == pytest.approx((25.0 + 40.0) / (10.0 + 25.0), rel=0.03)


def test_another_mean_rate_scales_every_stage() -> None:
    twice = SPIKE.model_copy(update={"rate_qps": 2.0 * 505 / 12})
    assert mean_rate_qps(SPIKE) == pytest.approx(505 / 12)
    assert expected_queries(twice, 5.0, 6.0) == pytest.approx(600.0)
    assert peak_factor(twice) == peak_factor(SPIKE) == pytest.approx(300.0 * 12 / 505)
    # As of every process, two rates see the same random numbers.
    unit = draw_arrivals_s(PoissonArrivals(rate_qps=1.0), 1000, seed=1)
    found = [expected_queries(twice, 0.0, float(time_s)) for time_s in draw_arrivals_s(twice, 1000, seed=1)]
    np.testing.assert_allclose(found, unit, rtol=1e-9, atol=1e-6)


def test_stages_in_which_nothing_arrives_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a rate > 0"):
        StagedArrivals(stages=(RateStage(duration_s=1.0, rate_qps=0.0),))


def test_a_source_needs_sizes() -> None:
    with pytest.raises(InputError, match="query_sizes"):
        TrafficSource(arrivals=ConstantArrivals(rate_qps=1.0))


def test_a_list_of_sizes_counts_repetitions() -> None:
    law = pmf_of_list([5, 5, 5, 1])
    assert (law.values.tolist(), law.probabilities.tolist()) == ([1, 5], [0.25, 0.75])
    assert law.mean_items == 4.0
