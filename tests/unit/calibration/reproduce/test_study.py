"""How gains are put together, and what a study does not have."""

from __future__ import annotations

import pytest

from calibration.reproduce.study import StudyPlan, geometric_mean, run_study
from perfmodel.errors import InputError


def test_models_without_a_gain_are_left_out_of_the_mean() -> None:
    assert geometric_mean([2.0, None, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([None]) is None


def test_a_case_that_the_study_does_not_have_is_an_error() -> None:
    with pytest.raises(InputError, match="has no case"):
        run_study(StudyPlan(targets_ms={})).case("ncf", "broadwell", None, "low")
