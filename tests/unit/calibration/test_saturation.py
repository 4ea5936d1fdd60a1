"""The constants of memory saturation that all server profiles share."""

from __future__ import annotations

import pytest

from calibration.published.observations import read_rows
from calibration.published.profiles import HARDWARE, PLATFORMS
from calibration.published.saturation import (
    BATCHES,
    FIGURE,
    Calls,
    called_gb_per_s,
    fit_calls,
    fit_saturation,
    reached_gb_per_s,
)


@pytest.mark.parametrize("server", PLATFORMS)
def test_the_profiles_hold_what_the_fit_gives(server: str) -> None:
    fraction, sharpness = fit_saturation()
    assert HARDWARE[server]["memory_random_fraction"][0] == pytest.approx(fraction, rel=1e-3)
    assert HARDWARE[server]["memory_saturation_sharpness"][0] == pytest.approx(sharpness, rel=1e-3)


def test_one_thread_reaches_its_own_rate() -> None:
    assert reached_gb_per_s(1, 6.1, 0.8, 2.0) == pytest.approx(6.1)


def test_many_threads_reach_the_random_fraction_of_the_peak() -> None:
    assert reached_gb_per_s(10_000, 6.1, 0.5, 4.0) == pytest.approx(0.5 * 76.8, rel=0.01)


def test_without_a_cost_calls_reach_what_their_lines_do() -> None:
    free = Calls(one_gb_per_s=6.1, call_items=0.0, growth=0.3)
    for threads in (1, 12, 36):
        reached = reached_gb_per_s(threads, 6.1, 0.8, 2.0)
        assert called_gb_per_s(threads, 8, free, 0.8, 2.0) == pytest.approx(reached)


def test_a_call_that_costs_as_much_as_its_lines_halves_the_rate_of_a_thread() -> None:
    dear = Calls(one_gb_per_s=6.0, call_items=8.0, growth=0.0)
    assert called_gb_per_s(1, 8, dear, 0.8, 2.0) == pytest.approx(3.0)


def test_small_calls_are_within_20_percent_at_every_number_of_threads() -> None:
    # RecNMP Fig. 6; calls of 256 items within 6 % on average, 13 % low at 12 threads
    saturation = fit_saturation()
    calls = fit_calls(*saturation)
    assert 0.2 < calls.growth < 0.4
    errors: dict[int, list[float]] = {8: [], 256: []}
    for row in read_rows(FIGURE):
        if batch_size := BATCHES.get(row["workload"]):
            predicted = called_gb_per_s(float(row["threads"]), batch_size, calls, *saturation)
            errors[batch_size].append(abs(predicted / float(row["bandwidth_gb_per_s"]) - 1.0))
    assert max(errors[8]) < 0.20
    assert sum(errors[256]) / len(errors[256]) < 0.06
