"""Fits recover what the points were made of, and fall back to the law where there are no points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.measure import fit
from calibration.measure.fit import (
    Points,
    fit_law,
    fit_surface,
    held_out_seconds,
    least_squares_from_zero,
    predicted_seconds,
)


def made_points(count: int, *, bend: float, disturbed: int = 0) -> Points:
    """Calls of 2 us and 3 ns a unit, times a bend that depends on the size; a few of them disturbed."""
    rng = np.random.default_rng(3)
    size = np.exp(rng.uniform(0.0, 10.0, count))
    seconds = (2e-6 + 3e-9 * size) * np.exp(bend * np.sin(np.log(size)))
    seconds[:disturbed] *= 20.0
    return Points(
        terms=("call", "unit"),
        amounts=np.column_stack([np.ones(count), size]),
        coordinates=np.log(size)[:, None],
        seconds=seconds,
        groups=np.arange(count),
        passes=np.arange(count),
        counts=np.ones(count, int),
    )


def test_the_law_finds_the_coefficients_it_was_made_with() -> None:
    law = fit_law(made_points(60, bend=0.0))
    assert law == pytest.approx({"call": 2e-6, "unit": 3e-9}, rel=1e-6)


def test_no_coefficient_exceeds_the_most_that_it_may_be_and_the_rest_make_up_for_it() -> None:
    points = replace(made_points(60, bend=0.0), most={"unit": 2e-9})
    law = fit_law(points)
    assert law["unit"] == pytest.approx(2e-9)
    free = fit_law(replace(points, amounts=points.amounts[:, :1], terms=("call",)))
    assert 2e-6 < law["call"] < free["call"]


def test_a_bound_that_nothing_reaches_changes_nothing() -> None:
    points = made_points(60, bend=0.0)
    assert fit_law(replace(points, most={"unit": 4e-9})) == fit_law(points)


def test_coefficients_are_found_where_the_exact_search_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    amounts = rng.random((50, 4)) * np.array([1.0, 1e6, 1e-3, 0.0])
    wanted = amounts @ np.array([2.0, 3e-6, 4e3, 0.0])

    def gives_up(*_: object, **__: object) -> None:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(fit, "nnls", gives_up)
    found = least_squares_from_zero(amounts, wanted)
    assert found[:3] == pytest.approx([2.0, 3e-6, 4e3], rel=1e-4)
    assert found[3] >= 0.0


def test_the_law_hardly_notices_a_few_disturbed_calls() -> None:
    law = fit_law(made_points(60, bend=0.0, disturbed=3))
    assert law == pytest.approx({"call": 2e-6, "unit": 3e-9}, rel=0.1)


@pytest.mark.thorough
def test_the_residual_follows_what_the_law_cannot() -> None:
    points = made_points(150, bend=0.3)
    surface = fit_surface(points)
    law_alone = points.charged_seconds(surface.law)
    assert np.mean(np.abs(law_alone / points.seconds - 1.0)) > 0.1
    assert np.mean(np.abs(predicted_seconds(surface, points) / points.seconds - 1.0)) < 0.02


@pytest.mark.thorough
def test_held_out_errors_are_larger_than_those_of_the_fit_and_small_where_points_are_dense() -> None:
    points = made_points(150, bend=0.3)
    surface = fit_surface(points)
    held_out = np.abs(held_out_seconds(surface, points) / points.seconds - 1.0)
    fitted = np.abs(predicted_seconds(surface, points) / points.seconds - 1.0)
    assert fitted.mean() < held_out.mean() < 0.05


@pytest.mark.thorough
def test_far_from_all_points_the_law_remains() -> None:
    points = made_points(80, bend=0.3)
    surface = fit_surface(points)
    far = replace(points, coordinates=points.coordinates + 1000.0)
    assert predicted_seconds(surface, far) == pytest.approx(far.charged_seconds(surface.law))
