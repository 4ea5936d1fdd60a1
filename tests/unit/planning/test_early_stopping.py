"""LoadGen's early stopping against its published counts and against the binomial law, term by term."""

from fractions import Fraction
from math import comb

import pytest

from perfmodel.errors import InputError
from perfmodel.planning.early_stopping import least_queries, most_late


def probability_of_so_few(late: int, num_queries: int, percentile: Fraction) -> Fraction:
    """At most so many late ones among so many queries, each late with the probability that is left; exact."""
    miss = 1 - percentile
    return sum(
        (
            comb(num_queries, each) * miss**each * percentile ** (num_queries - each)
            for each in range(late + 1)
        ),
        Fraction(0),
    )


def test_the_published_counts_of_p99() -> None:
    assert [least_queries(late, 0.99) for late in (0, 1, 2)] == [459, 662, 838]


@pytest.mark.thorough_cases("5-0.999")
@pytest.mark.parametrize("percentile", ["0.9", "0.95", "0.97", "0.99", "0.999"])
@pytest.mark.parametrize("late", [0, 1, 2, 5])
def test_counts_are_the_first_for_which_the_binomial_law_is_sure(percentile: str, late: int) -> None:
    found, exact = least_queries(late, float(percentile)), Fraction(percentile)
    assert probability_of_so_few(late, found, exact) < Fraction(1, 100)
    assert probability_of_so_few(late, found - 1, exact) >= Fraction(1, 100)


def test_table_of_other_percentiles() -> None:
    table = {
        percentile: [least_queries(late, percentile) for late in range(4)]
        for percentile in (0.9, 0.95, 0.97, 0.999)
    }
    assert table == {
        0.9: [44, 64, 81, 97],
        0.95: [90, 130, 165, 198],
        0.97: [152, 219, 277, 332],
        0.999: [4603, 6636, 8403, 10042],
    }


@pytest.mark.parametrize("num_queries", [459, 661, 662, 5_000, 24_576, 270_336, 7_000_000])
def test_the_most_late_queries_are_just_those_that_fit(num_queries: int) -> None:
    late = most_late(num_queries, 0.99)
    assert late is not None
    assert least_queries(late, 0.99) <= num_queries < least_queries(late + 1, 0.99)


def test_a_run_too_short_to_tell_is_never_valid() -> None:
    assert most_late(458, 0.99) is None


@pytest.mark.parametrize("percentile", [0.0, 1.0, 99.0, float("nan")])
def test_percentiles_are_fractions(percentile: float) -> None:
    with pytest.raises(InputError, match="percentile: expected a fraction"):
        least_queries(0, percentile)
