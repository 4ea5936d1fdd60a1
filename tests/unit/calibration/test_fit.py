"""The parts of the fit: errors, their scales, sources of the costs, and the profile around them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from calibration.published.figures import HPCA, ISCA, mean_error
from calibration.published.fitted import Fitted
from calibration.published.observations import Case
from calibration.published.parameters import CPU_KERNELS, Parameter
from calibration.published.predictions import FAMILIES, part_s
from calibration.published.profiles import being_fitted, profile_of, profile_text
from calibration.published.stages import Secants, scaled_residual
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.profile_fingerprint import fitted_values
from perfmodel.loading.validated import validate
from perfmodel.loading.yaml_source import parse_yaml

CASE = Case("fig.csv", "rmc1, batch 16")
FITTED = Fitted(
    device="broadwell",
    stack=ISCA,
    costs={"fc_call_us": 3.0},
    parameters={"fc_call_us": Parameter(5.0, 0.6, "a framework call")},
    spreads={"fc_call_us": 0.1},
    figures=("a.csv", "b.csv"),
)


def costs() -> dict[str, float]:
    return {key: parameter.start for key, parameter in CPU_KERNELS.items()}


def test_a_ratio_is_off_by_a_fraction_and_a_share_by_points() -> None:
    assert CASE.ratio("latency [ms]", 0.2, 0.15).error == pytest.approx(-0.25)
    assert CASE.percentage("fc [%]", 20.0, 15.0).error == -5.0


def test_parts_of_a_total_stay_out_of_the_mean_error() -> None:
    points = [
        CASE.ratio("latency [ms]", 1.0, 1.2),
        CASE.ratio("latency [ms]", 1.0, 0.6),
        CASE.ratio("fc [ms]", 1.0, 9.0, headline=False),
        Case("other.csv", "rmc1").ratio("latency [ms]", 1.0, 9.0),
    ]
    assert mean_error(points, "fig.csv") == pytest.approx(0.3)


def test_residuals_of_ratios_are_logarithms_over_10_percent() -> None:
    twice = CASE.ratio("latency [ms]", 1.0, 2.0)
    assert scaled_residual(twice) == pytest.approx(math.log(2) / 0.1)
    assert scaled_residual(replace(twice, weight=0.5)) == pytest.approx(0.5 * math.log(2) / 0.1)


def test_residuals_of_shares_are_points_over_their_scale() -> None:
    assert scaled_residual(CASE.percentage("fc [%]", 20.0, 14.0)) == pytest.approx(-2.0)
    assert scaled_residual(CASE.percentage("data loading [%]", 20.0, 28.0, headline=False)) == pytest.approx(
        1.0
    )


def test_a_figure_s_operator_gathers_its_families() -> None:
    times = {"concat": 1.0, "elementwise": 2.0, "fc": 4.0}
    assert (part_s(times, "Concat"), part_s(times, "FC"), part_s(times, "SLS")) == (3.0, 4.0, 0.0)


def test_every_family_but_input_is_in_some_operator() -> None:
    families = {family for members in FAMILIES.values() for family in members}
    assert {"fc", "embedding_bag", "recurrent", "softmax", "batch_matmul", "sum"} < families
    assert "input" not in families


def test_a_cost_that_the_figures_narrow_names_them() -> None:
    source = "fitted: a.csv, b.csv (+-11 %); expected 5: a framework call"
    assert FITTED.source("fc_call_us") == source


def test_a_cost_that_the_figures_leave_open_is_assumed() -> None:
    assert replace(FITTED, spreads={"fc_call_us": 0.59}).source("fc_call_us") == "assumed: a framework call"


def test_a_profile_is_written_as_it_is_read() -> None:
    profile = profile_of("broadwell", {HPCA: being_fitted(costs())})
    again = validate(parse_yaml(profile_text(profile), "broadwell.yaml"), ProfileFile)
    (stack,) = again.stacks.values()
    assert stack.fitted_values == fitted_values(again.hardware, stack)
    written = {HPCA: stack.model_copy(update={"fitted_values": None})}
    assert again.model_copy(update={"stacks": written}) == profile


def test_a_profile_without_its_usual_stack_takes_the_one_it_has() -> None:
    assert profile_of("broadwell", {HPCA: being_fitted(costs())}).default_stack == HPCA
    both = {HPCA: being_fitted(costs()), ISCA: being_fitted(costs())}
    assert profile_of("broadwell", both).default_stack == ISCA


def test_secants_take_over_what_a_step_changed() -> None:
    slopes = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
    secants = Secants(lambda at: slopes @ at, np.zeros((3, 2)))
    secants(np.zeros(2))
    step = np.array([0.1, -0.3])
    assert secants(step) @ step == pytest.approx(slopes @ step)


def test_secants_of_a_linear_fit_stay_as_they_were() -> None:
    slopes = np.array([[1.0, 2.0], [0.5, -1.0]])
    secants = Secants(lambda at: slopes @ at + 1.0, slopes)
    for at in ([0.0, 0.0], [1.0, 0.5], [0.2, -4.0]):
        assert secants(np.array(at)) == pytest.approx(slopes)
