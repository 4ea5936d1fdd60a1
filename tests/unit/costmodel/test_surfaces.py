"""A surface by hand: what its law charges, how far its points reach, and the product of both."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest

from perfmodel.costmodel.places import Place
from perfmodel.costmodel.surfaces import law_seconds, matern, residual, surface_seconds
from perfmodel.domain.surface import Surface

AT = Place(("call", "row"), np.array([[1.0, 1.0], [4.0, 9.0]]), np.array([[2.0, 0.0], [6.0, 3.0]]))
"""Two calls, of 4 and of 9 rows."""
SURFACE = Surface(
    law={"row": 1e-6, "call": 10e-6},  # in another order than the amounts
    scales=np.array([2.0, 3.0]),
    amplitude=0.5,
    noise=0.1,
    noise_s=0.0,
    points=np.array([[0.0, 3.0], [4.0, 3.0]]),
    weights=np.array([0.8, -0.4]),
    low=np.zeros(2),
    high=np.ones(2),
    relative_error=0.05,
)


def correlation(squared: float) -> float:
    """Matern 5/2 of points whose scaled distance has this square."""
    d = sqrt(5.0 * squared)
    return (1.0 + d + d * d / 3.0) * exp(-d)


# (2, 6) lies one scale from either point in both coordinates; (0, 3) is the first, two scales from the second
CORRELATIONS = [[correlation(2.0), correlation(2.0)], [1.0, correlation(4.0)]]


def test_correlation_falls_with_distances_in_scales_of_each_coordinate() -> None:
    assert matern(AT.coordinates.T, SURFACE.points, SURFACE.scales) == pytest.approx(np.array(CORRELATIONS))


def test_a_law_charges_each_amount_by_its_name() -> None:
    assert law_seconds(SURFACE.law, AT) == pytest.approx([14e-6, 19e-6])


def test_a_law_that_lacks_a_term_charges_nothing_at_all() -> None:
    with pytest.raises(KeyError, match="row"):
        law_seconds({"call": 1e-6}, AT)


def test_a_time_is_the_law_times_the_exponential_of_the_residual() -> None:
    logs = [0.25 * (0.8 * near - 0.4 * other) for near, other in CORRELATIONS]
    assert residual(SURFACE, AT.coordinates) == pytest.approx(logs)
    assert surface_seconds(SURFACE, AT) == pytest.approx([14e-6 * exp(logs[0]), 19e-6 * exp(logs[1])])
