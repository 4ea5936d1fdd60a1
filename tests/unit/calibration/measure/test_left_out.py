"""Errors on sequences left out: by kind, weighted by share, and how kinds combine."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from calibration.measure.fit import Points
from calibration.measure.left_out import left_out_errors


def points(seconds: list[float]) -> Points:
    """One call of a kind in each pass, a sequence for each."""
    count = len(seconds)
    return Points(
        terms=("call",),
        amounts=np.ones((count, 1)),
        coordinates=np.zeros((count, 1)),
        seconds=np.array(seconds),
        groups=np.arange(count),
        passes=np.arange(count),
        counts=np.ones(count, int),
    )


def test_a_kind_counts_by_its_share_of_each_pass() -> None:
    # passes of 4 s: the kind is predicted right where it is 3 s, and twice too long where it is predicted 1 s
    kinds = {"a": points([3.0, 0.5]), "b": points([1.0, 3.0])}
    found = left_out_errors(kinds, {"a": np.array([3.0, 1.0]), "b": np.array([1.0, 3.0])})
    assert found.by_kind["a"] == pytest.approx(sqrt(0.25 * log(2.0) ** 2 / (0.75 + 0.25)))
    assert found.by_kind["b"] == 0.0
    assert found.whole == pytest.approx(sqrt((0.0 + log(4.0 / 3.5) ** 2) / 2.0))


@pytest.mark.parametrize(
    ("of_the_other", "expected"), [((1.0, -1.0), 1.0), ((-1.0, 1.0), 0.0), ((0.0, 0.0), 0.0)]
)
def test_correlation_is_one_where_kinds_err_alike_and_none_where_they_cancel(
    of_the_other: tuple[float, float], expected: float
) -> None:
    kinds = {"a": points([1.0, 1.0]), "b": points([1.0, 1.0])}
    errors = {"a": np.array([1.0, -1.0]), "b": np.array(of_the_other)}
    found = left_out_errors(kinds, {kind: np.exp(0.01 * own) for kind, own in errors.items()})
    assert found.correlation == pytest.approx(expected, abs=0.02)


def test_one_kind_a_pass_has_nothing_to_combine() -> None:
    found = left_out_errors({"a": points([1.0, 2.0])}, {"a": np.array([1.1, 2.0])})
    assert found.correlation == 0.0
    assert found.whole == pytest.approx(found.by_kind["a"])
