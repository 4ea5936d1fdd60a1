"""Slow-downs fitted to rates of a loaded node, and what a rate says of the times behind it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from calibration.published.compare import shipped_devices, shipped_models
from calibration.published.figures import ISCA
from calibration.published.loaded import (
    TRIED,
    LoadedCase,
    LoadedNode,
    fitted_slowdowns,
    loaded_cases,
)
from perfmodel.costmodel.kernels import Floats

SLOWDOWNS = (1.5, 2.0)


@pytest.fixture(scope="module")
def node() -> LoadedNode:
    return LoadedNode(cpu=shipped_devices()["broadwell", ISCA], models=shipped_models(), engines=28)


@pytest.fixture(scope="module")
def case(node: LoadedNode) -> LoadedCase:
    """A rate that the node has."""
    published = LoadedCase(figure="f", model="dlrm-rmc3", p95_ms=100.0, batch_size=256, qps=500.0)
    (rate,) = node.rates_qps([published], SLOWDOWNS)
    assert rate is not None
    return replace(published, qps=rate)


def test_every_point_of_both_figures_is_a_case() -> None:
    cases = loaded_cases()
    assert len(cases) == 11 + 21
    assert sum(case.is_fitted for case in cases) == 9 + 21  # two targets lie next to the least p95


def test_times_that_give_the_rate_are_not_off(node: LoadedNode, case: LoadedCase) -> None:
    (error,) = node.time_errors([case], SLOWDOWNS)
    assert error == pytest.approx(0.0, abs=0.03)


def test_a_rate_says_by_how_much_all_times_are_off(node: LoadedNode, case: LoadedCase) -> None:
    # a node with times 1.3 times as long has 1 / 1.3 of the rate at 1.3 times the target
    slower = replace(case, p95_ms=1.3 * case.p95_ms, qps=case.qps / 1.3)
    (error,) = node.time_errors([slower], SLOWDOWNS)
    assert error == pytest.approx(-math.log(1.3), abs=0.03)


def test_between_the_slow_downs_tried_rates_follow(node: LoadedNode, case: LoadedCase) -> None:
    errors_at = node.errors_between([case])
    at_a_tried_one = np.log([TRIED[1], TRIED[2]])
    assert errors_at(at_a_tried_one) == pytest.approx(node.log_errors([case], 1.0 + np.exp(at_a_tried_one)))
    between = np.log([0.7, 1.4])
    # a fifth of `FAR`: the rate jumps where the largest queries no longer meet the target
    assert errors_at(between) == pytest.approx(node.log_errors([case], 1.0 + np.exp(between)), abs=0.08)


def linear(logs: Floats) -> Floats:
    """Errors of points of which ten hang on either slow-down; all are met at 0.8 and 1.2."""
    conversion, network = logs - np.log([0.8, 1.2])
    return np.array([-conversion] * 10 + [-network] * 10 + [math.log(0.1)])


def test_slow_downs_are_found_beside_a_target_out_of_reach() -> None:
    found = fitted_slowdowns(linear, [True] * 21)
    assert found == pytest.approx((1.8, 2.2), rel=0.05)


def test_points_left_out_say_nothing() -> None:
    without_network = [True] * 10 + [False] * 11
    assert fitted_slowdowns(linear, without_network) == pytest.approx((1.8, 1.5), rel=0.05)
