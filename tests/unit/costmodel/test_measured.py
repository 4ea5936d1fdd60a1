"""Measured curves: exact at points, log-space between, the formula's shape beyond."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.measured import measured_seconds
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import MeasuredCurve

CURVE = MeasuredCurve(batch_sizes=np.array([4.0, 16.0, 64.0]), seconds=np.array([2e-5, 3e-5, 9e-5]))


def affine(batch_size: Floats) -> Floats:
    return 1e-5 + 1e-6 * batch_size


def seconds_at(*batch_sizes: float) -> tuple[Floats, Basis]:
    return measured_seconds(CURVE, np.array(batch_sizes), affine)


def test_measured_points_are_returned_as_they_are() -> None:
    seconds, basis = seconds_at(4, 16, 64)
    assert seconds.tolist() == [2e-5, 3e-5, 9e-5]
    assert basis is Basis.MEASURED


def test_between_points_logarithms_are_linear() -> None:
    seconds, basis = seconds_at(8, 32)  # the geometric middle of batches gives that of times
    assert seconds == pytest.approx([(2e-5 * 3e-5) ** 0.5, (3e-5 * 9e-5) ** 0.5])
    assert basis is Basis.INTERPOLATED


def test_one_point_between_makes_all_interpolated() -> None:
    assert seconds_at(4, 5)[1] is Basis.INTERPOLATED


def test_beyond_the_ends_the_formula_gives_the_shape() -> None:
    seconds, basis = seconds_at(1, 128)
    assert seconds == pytest.approx([2e-5 * 11 / 14, 9e-5 * 138 / 74])
    assert basis is Basis.EXTRAPOLATED


def test_one_point_beyond_makes_all_extrapolated() -> None:
    assert seconds_at(16, 65)[1] is Basis.EXTRAPOLATED


@pytest.mark.parametrize("end", [4.0, 64.0])
def test_the_curve_goes_on_without_a_step(end: float) -> None:
    seconds, _ = seconds_at(end * (1 - 1e-9), end, end * (1 + 1e-9))
    assert np.ptp(seconds) / seconds[1] < 1e-6


def test_a_single_point_scales_the_formula() -> None:
    single = MeasuredCurve(batch_sizes=np.array([10.0]), seconds=np.array([4e-5]))
    seconds, basis = measured_seconds(single, np.array([10.0, 30.0]), affine)
    assert seconds == pytest.approx([4e-5, 8e-5])
    assert basis is Basis.EXTRAPOLATED


def test_times_keep_the_shape_of_the_batches() -> None:
    seconds, _ = measured_seconds(CURVE, np.full((2, 3), 16.0), affine)
    assert seconds.tolist() == [[3e-5] * 3] * 2
