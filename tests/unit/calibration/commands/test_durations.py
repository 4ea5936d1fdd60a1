"""Durations are numbers with a unit, within bounds; anything else is one line that names the option."""

from __future__ import annotations

import pytest

from calibration.commands.durations import seconds_of
from perfmodel.errors import InputError


def test_durations_are_read_with_their_unit() -> None:
    found = [seconds_of(text, "--duration") for text in ("30s", "2m", "500ms", "1.5h", "1M")]
    assert found == [30.0, 120.0, 0.5, 5400.0, 60.0]


@pytest.mark.parametrize("text", ["", "30", "s", "-3s", "0s", "fast", "1d", "infs", "nans"])
def test_a_duration_without_a_unit_or_a_positive_number_is_refused(text: str) -> None:
    expected = "^--duration: expected a time such as 30s or 2m, got "
    with pytest.raises(InputError, match=expected):
        seconds_of(text, "--duration")


def test_a_number_alone_is_in_the_unit_of_the_option() -> None:
    assert seconds_of("90", "--budget", unit="s") == 90.0
    assert seconds_of("2m", "--budget", unit="s") == 120.0


def test_bounds_are_allowed_and_what_lies_beyond_is_refused() -> None:
    def bounded(text: str) -> float:
        return seconds_of(text, "--budget", least_s=10.0, most_s=3600.0, expected="a time from 10s to 60m")

    assert [bounded(text) for text in ("10s", "60m")] == [10.0, 3600.0]
    for text in ("9.9s", "60.1m"):
        with pytest.raises(InputError, match=r"^--budget: expected a time from 10s to 60m, got "):
            bounded(text)
