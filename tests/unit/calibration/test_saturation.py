"""The constants of memory saturation that all server profiles share."""

from __future__ import annotations

import pytest

from calibration.published.profiles import HARDWARE, PLATFORMS
from calibration.published.saturation import fit_saturation, reached_gb_per_s


@pytest.mark.parametrize("server", PLATFORMS)
def test_the_profiles_hold_what_the_fit_gives(server: str) -> None:
    fraction, sharpness = fit_saturation()
    assert HARDWARE[server]["memory_random_fraction"][0] == pytest.approx(fraction, rel=1e-3)
    assert HARDWARE[server]["memory_saturation_sharpness"][0] == pytest.approx(sharpness, rel=1e-3)


def test_one_thread_reaches_its_own_rate() -> None:
    assert reached_gb_per_s(1, 6.1, 0.8, 2.0) == pytest.approx(6.1)


def test_many_threads_reach_the_random_fraction_of_the_peak() -> None:
    assert reached_gb_per_s(10_000, 6.1, 0.5, 4.0) == pytest.approx(0.5 * 76.8, rel=0.01)
