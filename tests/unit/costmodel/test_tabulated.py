"""Times between and beyond the rows of a table."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.costmodel.measured import measured_seconds
from perfmodel.costmodel.tabulated import tabulated_basis, tabulated_s
from perfmodel.domain.estimate import Basis
from perfmodel.domain.service_table import ServiceTable

SIZES = np.arange(4.0, 257.0)


def table(**columns: list[float]) -> ServiceTable:
    return ServiceTable(name="t.csv", **{name: np.array(values) for name, values in columns.items()})


def test_between_sizes_times_are_those_of_a_measured_curve() -> None:
    rows = table(items=[256, 4, 64], service_s=[0.02, 0.001, 0.004])
    _, curve = rows.levels[0]
    expected_s, _ = measured_seconds(curve, SIZES, lambda batch: batch)
    np.testing.assert_allclose(tabulated_s(rows, SIZES, np.ones(1))[:, 0], expected_s, rtol=1e-14)


def test_rows_are_kept_as_they_are() -> None:
    rows = table(items=[7, 7, 300, 300], busy=[1, 9, 9, 1], service_s=[0.003, 0.005, 0.07, 0.04])
    found = tabulated_s(rows, np.array([7.0, 300.0]), np.array([1.0, 9.0]))
    assert found.tolist() == [[0.003, 0.005], [0.04, 0.07]]


def test_between_numbers_of_executors_times_are_on_a_straight_line() -> None:
    rows = table(items=[8, 8, 8], busy=[1, 3, 11], service_s=[0.010, 0.012, 0.020])
    found = tabulated_s(rows, np.array([8.0]), np.arange(1.0, 12.0))
    assert found[0] == pytest.approx(np.interp(np.arange(1, 12), [1, 3, 11], [0.010, 0.012, 0.020]))


def test_beyond_the_rows_the_last_power_and_slope_go_on_and_never_fall() -> None:
    rising = table(items=[2, 4, 2, 4], busy=[1, 1, 2, 2], service_s=[0.002, 0.004, 0.003, 0.006])
    assert tabulated_s(rising, np.array([8.0, 1.0]), np.array([1.0, 4.0])).round(9).tolist() == [
        [0.008, 0.02],  # 8 alone; 0.012 with two at work, 0.004 more for each further one
        [0.001, 0.0025],
    ]
    falling = table(items=[2, 4, 2, 4], busy=[1, 1, 2, 2], service_s=[0.004, 0.003, 0.002, 0.001])
    assert tabulated_s(falling, np.array([8.0]), np.array([1.0, 2.0, 9.0]))[0] == pytest.approx(
        [0.003, 0.001, 0.001]
    )


def test_what_a_row_or_none_reaches_is_said() -> None:
    alone = table(items=[4, 64], service_s=[0.001, 0.004])
    beside = table(items=[4, 64, 4, 32], busy=[1, 1, 8, 8], service_s=[0.001, 0.004, 0.002, 0.003])
    eight = np.arange(1.0, 9.0)
    assert tabulated_basis(alone, np.array([4.0, 64.0]), eight) is Basis.TABLE
    assert tabulated_basis(alone, np.array([5.0]), eight) is Basis.INTERPOLATED
    assert tabulated_basis(alone, np.array([3.0]), eight) is Basis.EXTRAPOLATED
    assert tabulated_basis(beside, np.array([4.0, 32.0]), eight) is Basis.INTERPOLATED
    assert tabulated_basis(beside, np.array([64.0]), eight) is Basis.EXTRAPOLATED  # not beside eight
    assert tabulated_basis(beside, np.array([4.0]), np.arange(1.0, 10.0)) is Basis.EXTRAPOLATED
