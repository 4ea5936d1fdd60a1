"""Drawn traffic: prefixes, independent streams, common random numbers, and the laws themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.domain.workload import (
    Arrivals,
    BurstyArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    FixedSizes,
    IntegerMillisecondArrivals,
    LogNormalSizes,
    NormalSizes,
    PoissonArrivals,
    TraceArrivals,
)
from perfmodel.sim.arrivals import draw_arrivals_s, mean_rate_qps
from perfmodel.sim.query_sizes import SizePmf, draw_num_items, pmf_of, pmf_of_list
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import TrafficSource
from tests.examples import examples

TRACE_S = 1e9 + np.cumsum(np.random.default_rng(5).exponential(0.3, 3000))

TRACE = TraceArrivals(file=Path("unused.csv"), rate_qps=170.0)
PROCESSES: list[Arrivals] = [
    PoissonArrivals(rate_qps=170.0),
    IntegerMillisecondArrivals(rate_qps=170.0),
    IntegerMillisecondArrivals(rate_qps=4000.0),
    ConstantArrivals(rate_qps=170.0),
    BurstyArrivals(rate_qps=170.0, burst_factor=6.0, burst_fraction=0.2, mean_burst_s=0.5),
    BurstyArrivals(rate_qps=170.0, burst_factor=6.0, burst_fraction=0.7, mean_burst_s=0.004),
    DiurnalArrivals(rate_qps=170.0, amplitude=0.6, period_s=5.0),
    DiurnalArrivals(rate_qps=170.0, amplitude=1.0, period_s=5.0),
    TRACE,
]
LAWS = [
    pmf_of(LogNormalSizes(mu=5.1, sigma=0.6)),
    pmf_of(NormalSizes(mean_items=200.0, std_items=80.0, min_items=1, max_items=300)),
    pmf_of(FixedSizes(num_items=7)),
    pmf_of_list([3, 3, 1000, 2]),
    SizePmf(np.array([1, 2]), np.array([1 - 1e-7, 1e-7])),
]
by_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.process)
by_law = pytest.mark.parametrize("law", LAWS)


def draw(process: Arrivals, num_queries: int, *, seed: int = 1, replication: int = 0) -> np.ndarray:
    return draw_arrivals_s(process, num_queries, seed=seed, replication=replication, trace_s=TRACE_S)


@by_process
@examples(25)
@given(first=st.integers(0, 1200), more=st.integers(0, 1200), seed=st.integers(0, 1000))
def test_drawing_more_queries_leaves_the_first_as_they_were(
    process: Arrivals, first: int, more: int, seed: int
) -> None:
    longer_s = draw(process, first + more, seed=seed)
    assert longer_s.shape == (first + more,)
    np.testing.assert_array_equal(draw(process, first, seed=seed), longer_s[:first])


@by_law
@examples(10)
@given(first=st.integers(0, 140_000), more=st.integers(0, 140_000), seed=st.integers(0, 1000))
def test_drawing_more_sizes_leaves_the_first_as_they_were(
    law: SizePmf, first: int, more: int, seed: int
) -> None:
    longer = draw_num_items(law, first + more, seed=seed)
    np.testing.assert_array_equal(draw_num_items(law, first, seed=seed), longer[:first])


@by_process
def test_arrivals_are_ascending_and_never_before_the_start(process: Arrivals) -> None:
    arrival_s = draw(process, 3000)
    assert arrival_s[0] >= 0
    assert np.all(np.diff(arrival_s) >= 0)


@by_process
def test_seed_and_replication_choose_the_stream(process: Arrivals) -> None:
    same = draw(process, 500, seed=2)
    np.testing.assert_array_equal(same, draw(process, 500, seed=2))
    if process.process not in ("constant", "trace"):
        assert np.any(same != draw(process, 500, seed=3))
        assert np.any(same != draw(process, 500, seed=2, replication=1))


@pytest.mark.parametrize("process", [PROCESSES[0], PROCESSES[3], TRACE], ids=lambda process: process.process)
def test_a_rate_change_rescales_the_same_arrivals(process: Arrivals) -> None:
    faster = process.model_copy(update={"rate_qps": 2 * 170.0})
    np.testing.assert_allclose(2 * draw(faster, 3000), draw(process, 3000), rtol=1e-12)


@by_process
def test_every_query_of_a_higher_rate_comes_earlier(process: Arrivals) -> None:
    faster = process.model_copy(update={"rate_qps": 1.2 * mean_rate_qps(process)})
    assert np.all(draw(faster, 3000) <= draw(process, 3000))


@pytest.mark.thorough_cases("mmpp1")
@pytest.mark.parametrize("process", PROCESSES[:-1], ids=lambda process: process.process)
def test_mean_rate_is_kept(process: Arrivals) -> None:
    num_queries = 400_000
    rates_qps = [num_queries / draw(process, num_queries, replication=r)[-1] for r in range(10)]
    half_width_qps = 3.25 * np.std(rates_qps, ddof=1) / 10**0.5  # Student t, 9 degrees of freedom, 99 %
    expected_qps = mean_rate_qps(process)
    assert half_width_qps < 0.02 * expected_qps
    assert np.mean(rates_qps) == pytest.approx(expected_qps, abs=half_width_qps + 1e-3 * expected_qps)


@pytest.mark.parametrize("rate_qps", [50.0, 400.0, 4000.0])
def test_integer_gaps_are_whole_milliseconds_of_poisson_variance(rate_qps: float) -> None:
    gaps_ms = np.diff(draw(IntegerMillisecondArrivals(rate_qps=rate_qps), 200_000)) * 1000
    np.testing.assert_allclose(gaps_ms, np.rint(gaps_ms), atol=1e-6)
    assert gaps_ms.mean() == pytest.approx(1000 / rate_qps, rel=0.02)
    assert gaps_ms.var() == pytest.approx(1000 / rate_qps, rel=0.02)


def test_bursts_hold_their_share_of_time_and_of_queries() -> None:
    process = BurstyArrivals(rate_qps=1000.0, burst_factor=10.0, burst_fraction=0.1, mean_burst_s=5.0)
    arrival_s = draw(process, 4_000_000)
    counts = np.bincount(arrival_s.astype(np.int64))[:-1]
    # Calm is 1000 / 1.9 = 526 queries/s and a burst ten times that: seconds fall to either side of 1600.
    assert (counts > 1600).mean() == pytest.approx(0.1, abs=0.02)
    assert counts[counts > 1600].sum() / counts.sum() == pytest.approx(10 / 19, abs=0.06)


@pytest.mark.parametrize("amplitude", [0.5, 1.0])
def test_diurnal_counts_follow_the_sine(amplitude: float) -> None:
    process = DiurnalArrivals(rate_qps=1000.0, amplitude=amplitude, period_s=100.0)
    arrival_s = draw(process, 1_000_000)
    counts = np.histogram(arrival_s % 100.0, bins=20, range=(0.0, 100.0))[0]
    edges = np.linspace(0.0, 2 * np.pi, 21)
    expected = (np.diff(edges) - amplitude * np.diff(np.cos(edges))) / (2 * np.pi) * 1_000_000
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected) + 1000 * 0.05 * 20)


def test_sizes_never_shift_arrivals_and_arrivals_never_shift_sizes() -> None:
    poisson, bursty = PROCESSES[0], PROCESSES[4]
    one = TrafficSource(arrivals=poisson, sizes=LAWS[0]).draw(2000, seed=4)
    other_sizes = TrafficSource(arrivals=poisson, sizes=LAWS[1]).draw(2000, seed=4)
    other_arrivals = TrafficSource(arrivals=bursty, sizes=LAWS[0]).draw(2000, seed=4)
    np.testing.assert_array_equal(one.arrival_s, other_sizes.arrival_s)
    np.testing.assert_array_equal(one.num_items, other_arrivals.num_items)


def test_streams_of_different_names_are_uncorrelated() -> None:
    names = ["arrivals", "query sizes", "burst states"]
    draws = np.array([stream(1, name).standard_normal(100_000) for name in names])
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 4 / 100_000**0.5


@by_law
def test_sizes_are_drawn_with_their_probabilities(law: SizePmf) -> None:
    num_queries = 1_000_000
    counts = np.bincount(draw_num_items(law, num_queries, seed=1), minlength=law.max_items + 1)
    assert counts.sum() == counts[law.values].sum()
    expected = law.probabilities * num_queries
    # Pearson's statistic over values that are common enough, five standard deviations above its mean.
    common = expected > 20
    statistic = ((counts[law.values] - expected)[common] ** 2 / expected[common]).sum()
    assert statistic < common.sum() + 5 * (2 * common.sum()) ** 0.5


def test_a_law_of_larger_sizes_gives_every_query_a_larger_size() -> None:
    small, large = (pmf_of(LogNormalSizes(mu=mu, sigma=0.6)) for mu in (4.5, 4.9))
    assert np.all(draw_num_items(large, 50_000, seed=1) >= draw_num_items(small, 50_000, seed=1))
