"""What is said of arrivals: their process, its parameters, and what is too little to tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.workload import (
    Arrivals,
    BurstyArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    IntegerMillisecondArrivals,
    PoissonArrivals,
)
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.planning.observe.bursts import Bursts
from perfmodel.planning.observe.dispersion import clock_s, dispersions, exponential_distance
from perfmodel.planning.observe.estimated import Estimated
from perfmodel.planning.observe.traffic import fit_arrivals, summarise
from perfmodel.sim.arrivals import draw_arrivals_s

BURSTY = BurstyArrivals(rate_qps=1000.0, burst_factor=4.0, burst_fraction=0.1, mean_burst_s=0.3)


def drawn(arrivals: Arrivals, num: int = 60_000, seed: int = 1) -> np.ndarray:
    return draw_arrivals_s(arrivals, num, seed=seed)


def test_the_index_of_dispersion_by_hand() -> None:
    # Windows of 10 s hold 1, 3, 1, 3, …: mean 2, variance 1 (n / (n - 1)).
    stamps = [10.0 * index + at for index in range(60) for at in ((0.0, 3.0, 7.0) if index % 2 else (0.0,))]
    found = {each.window_s: each for each in dispersions(np.array(stamps))}
    assert found[10.0].windows == 59
    counts = np.array([1, 3] * 30)[:59]
    assert found[10.0].index == pytest.approx(counts.var(ddof=1) / counts.mean())


@pytest.mark.parametrize("seed", range(5))
def test_a_poisson_process_is_one_and_its_rate_within_its_interval(seed: int) -> None:
    fit = fit_arrivals(drawn(PoissonArrivals(rate_qps=400.0), seed=seed))
    assert fit.process == "poisson"
    assert fit.gap_cv == pytest.approx(1.0, abs=0.02)
    assert fit.rate_qps.low < 404 < 1.03 * fit.rate_qps.high
    assert fit.rate_qps.high - fit.rate_qps.low == pytest.approx(2 * 1.96 * 400 / 60_000**0.5, rel=0.05)


def test_stamps_of_a_coarse_clock_are_still_a_poisson_process() -> None:
    stamps = np.floor(drawn(PoissonArrivals(rate_qps=400.0)) * 1000) / 1000
    assert clock_s(stamps) == 0.001
    assert fit_arrivals(stamps).process == "poisson"


@pytest.mark.thorough
def test_bursts_are_found_with_their_parameters() -> None:
    fit = fit_arrivals(drawn(BURSTY, 150_000))
    assert fit.process == "mmpp"
    assert fit.bursts is not None
    assert fit.bursts.factor.holds(4.0)
    assert fit.bursts.fraction.holds(0.1)
    assert fit.bursts.mean_s.holds(0.3)
    assert fit.rate_qps.holds(1000.0)
    width = fit.bursts.mean_s.high / fit.bursts.mean_s.low
    assert 1.2 < width < 2.5, "too vague to prove anything"


def test_the_index_of_two_rates_agrees_with_its_simulation() -> None:
    exact = Bursts(
        rate_qps=Estimated(1000, 1000, 1000),
        factor=Estimated(4, 4, 4),
        fraction=Estimated(0.1, 0.1, 0.1),
        mean_s=Estimated(0.3, 0.3, 0.3),
        num_bursts=1,
    )
    for each in dispersions(drawn(BURSTY, 2_000_000)):
        assert exact.index(1000.0, each.window_s) == pytest.approx(each.index, rel=0.2)


@pytest.mark.thorough_cases("arrivals2")
@pytest.mark.parametrize(
    "arrivals",
    [
        ConstantArrivals(rate_qps=400.0),
        IntegerMillisecondArrivals(rate_qps=400.0),
        DiurnalArrivals(rate_qps=400.0, amplitude=0.8, period_s=100.0),
    ],
)
def test_what_is_neither_is_replayed(arrivals: Arrivals) -> None:
    fit = fit_arrivals(drawn(arrivals, 40_000))
    assert fit.process == "trace"
    assert fit.why


def test_few_arrivals_tell_no_process() -> None:
    fit = fit_arrivals(drawn(PoissonArrivals(rate_qps=400.0), 500))
    assert fit.process == "trace"
    assert "too few" in fit.why


def test_the_distance_from_an_exponential_law_is_that_of_its_formula() -> None:
    # Gaps 1, 1: law 1 - exp(-1) at both; D = 1 - 0.368 = 0.632; (0.632 - 0.1) (1.414 + 0.26 + 0.354) = 1.079.
    assert exponential_distance(np.array([1.0, 1.0])) == pytest.approx(1.079, abs=0.001)


def test_counts_have_a_rate_and_a_dispersion(tmp_path: Path) -> None:
    header = "HashOwner,HashApp,HashFunction,Trigger," + ",".join(str(minute) for minute in range(1, 61))
    (tmp_path / "minutes.csv").write_text(f"{header}\no,a,f,http," + ",".join(["6", "12"] * 30) + "\n")
    found = summarise(read_recording(tmp_path / "minutes.csv"))
    assert found.rate_qps is not None
    assert found.rate_qps.value == pytest.approx(9 / 60)
    assert found.dispersions[0].index == pytest.approx(9 * 60 / 59 / 9)
    assert found.gap_cv is None
    assert found.fit is None


def test_no_rate_is_below_zero_however_few_arrivals_there_are() -> None:
    rate = fit_arrivals(np.array([0.0, 0.5, 1.0])).rate_qps
    assert (rate.low, rate.value) == (0.0, 2.0)
