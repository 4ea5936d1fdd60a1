from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
import pytest
from scipy.signal import lfilter

from perfmodel.errors import InputError
from perfmodel.sim.fleet_latency import POINTS, LatencyMixture, sample_of
from perfmodel.sim.statistics import NUM_BATCHES, percentile_interval

RNG = np.random.default_rng(1)


def test_weights_shift_percentiles() -> None:
    fast, slow = np.linspace(0.5, 1.5, 20_001), np.linspace(9.5, 10.5, 20_001)
    mixture = LatencyMixture([sample_of(fast, 9.0), sample_of(slow, 1.0)])
    assert mixture.percentile_s(0.45) == pytest.approx(1.0, abs=0.06)  # the 0.5 of nine tenths
    assert mixture.percentile_s(0.95) == pytest.approx(10.0, abs=0.06)


def test_thinning_moves_no_percentile_by_much() -> None:
    latency_s = RNG.standard_exponential(2_000_000)
    sample = sample_of(latency_s)
    assert sample.batches_s.shape == (NUM_BATCHES, POINTS)
    mixture, ordered_s = LatencyMixture([sample]), np.sort(latency_s)
    for percentile in (0.5, 0.95, 0.99):
        exact_s = ordered_s[int(percentile * len(ordered_s)) - 1]
        assert mixture.percentile_s(percentile) == pytest.approx(exact_s, rel=2e-3)


@pytest.mark.parametrize("memory", [0.9, 0.9999])
@pytest.mark.parametrize("percentile", [0.5, 0.95])
def test_one_run_has_the_interval_of_the_run(percentile: float, memory: float) -> None:
    # An autoregression: latencies resemble each other, within a batch and beyond it.
    noise = np.random.default_rng(5).standard_normal(300_000) * (1 - memory**2) ** 0.5
    latency_s = np.exp(0.5 * lfilter([1.0], [1.0, -memory], noise))
    single, mixed = percentile_interval(latency_s, percentile), LatencyMixture([sample_of(latency_s)])
    interval = mixed.interval(percentile)
    assert interval.value_s == pytest.approx(single.value_s, rel=1e-3)
    assert interval.relative_half_width == pytest.approx(single.relative_half_width, rel=0.1)


@pytest.mark.thorough
def test_intervals_of_a_mixture_cover_the_truth() -> None:
    # Exponentials of means 1 and 2 in equal parts: 0.5 y^2 + 0.5 y = 0.05 with y = exp(-t / 2).
    truth_s = -2 * log((sqrt(1.4) - 1) / 2)
    held = 0
    for _ in range(200):
        samples = [sample_of(scale * RNG.standard_exponential(4000)) for scale in (1.0, 2.0)]
        held += truth_s in LatencyMixture(samples).interval(0.95)
    assert 180 <= held <= 198  # 190 expected; beyond these in 0.5 % of cases


def test_equal_latencies_that_rounding_moves_are_one_value() -> None:
    late = 1e6 + np.sort(RNG.random(20_000)) * 1e3
    latency_s = np.where(RNG.random(20_000) < 0.9, (late + 0.1) - late, 0.3)
    interval = LatencyMixture([sample_of(latency_s, rounding_s=2 * np.spacing(1.001e6))]).interval(0.5)
    assert interval.relative_half_width < 1e-7


def test_a_percentile_beyond_the_sample_has_no_upper_bound() -> None:
    assert LatencyMixture([sample_of(RNG.standard_exponential(400))]).interval(0.999).high_s == inf


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        sample_of(np.ones(199))
