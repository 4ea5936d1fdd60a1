"""Searches for the greatest value for which a claim holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perfmodel.planning.rate.bracket import bisecting, greatest, narrow


class Counting:
    """A claim that holds up to a limit, and how often it was asked."""

    def __init__(self, limit: float) -> None:
        self.limit, self.asked = limit, 0

    def holds(self, value: float) -> bool:
        self.asked += 1
        return value <= self.limit

    def first_failing(self, values: Sequence[float]) -> int:
        self.asked += 1
        return next((index for index, value in enumerate(values) if value > self.limit), len(values))


@pytest.mark.parametrize("index", range(9))
def test_a_bisection_finds_the_first_that_fails_in_few_questions(index: int) -> None:
    values = [float(number) for number in range(8)]
    claim = Counting(index - 0.5)
    assert bisecting(claim.holds)(values) == index
    assert claim.asked <= 4  # the binary logarithm of the nine answers, rounded up


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.77, 0.999])
@pytest.mark.parametrize("at_a_time", [1, 3, 8])
@pytest.mark.parametrize("tolerance", [0.05, 0.001])
def test_what_is_found_holds_and_lies_below_the_limit_by_the_tolerance_at_most(
    limit: float, at_a_time: int, tolerance: float
) -> None:
    claim = Counting(limit)
    found = greatest(
        claim.first_failing, [0.001, 0.25, 0.5, 0.75], 1.0, tolerance=tolerance, at_a_time=at_a_time
    )
    assert found is not None
    assert limit * (1.0 - 1.001 * tolerance) <= found <= limit


def test_more_values_at_a_time_take_fewer_rounds() -> None:
    rounds = []
    for at_a_time in (1, 3, 8):
        claim = Counting(0.3)
        narrow(claim.first_failing, 0.0, 1.0, tolerance=1e-4, at_a_time=at_a_time)
        rounds.append(claim.asked)
    assert rounds == sorted(rounds, reverse=True)
    assert len(set(rounds)) == 3


def test_a_claim_that_never_holds_has_no_greatest_value() -> None:
    assert greatest(Counting(0.0).first_failing, [0.001, 0.5], 1.0, tolerance=0.01) is None


def test_no_value_beyond_the_limit_is_of_interest() -> None:
    claim = Counting(2.0)
    assert greatest(claim.first_failing, [0.001, 0.5, 1.0], 1.0, tolerance=0.01) == 1.0
    assert claim.asked == 1
