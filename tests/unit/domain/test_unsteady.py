"""Settings of scatter and pauses: what they mean, and what they refuse."""

from __future__ import annotations

from math import exp

import pytest
from pydantic import ValidationError

from perfmodel.domain.unsteady import P99_DEVIATIONS, ListedScatter, LogNormalScatter, PauseSettings


def test_a_log_normal_law_is_given_by_its_spread_or_by_two_of_its_percentiles() -> None:
    sigma = LogNormalScatter(p99_over_p50=2.0).sigma
    assert exp(P99_DEVIATIONS * sigma) == pytest.approx(2.0)
    std = (exp(sigma**2) - 1.0) ** 0.5  # of a log-normal of mean 1
    assert LogNormalScatter(relative_std=std).sigma == pytest.approx(sigma)


@pytest.mark.parametrize("given", [{}, {"relative_std": 0.2, "p99_over_p50": 1.5}])
def test_exactly_one_width_is_expected(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected exactly one of relative_std, p99_over_p50"):
        LogNormalScatter(**given)


@pytest.mark.parametrize("factors", [(1.0,), (1.0, 0.0), (1.0, -2.0)])
def test_factors_are_several_and_positive(factors: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        ListedScatter(factors=factors)


def test_a_node_that_mostly_stands_still_is_refused() -> None:
    assert PauseSettings(rate_per_s=1.0, length_ms=500.0, scope="node").load == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"at most 0.5 of the time.* is 0.6"):
        PauseSettings(rate_per_s=1.0, length_ms=600.0, scope="node")
