"""Hercules' savings over a greedy plan: HPCA 2022, text. They are not reached, and the answer says why."""

from __future__ import annotations

import pytest

from calibration.reproduce.evaluation import Compared
from calibration.reproduce.hercules import SKYLAKES, reproduce_hercules

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def rows() -> tuple[Compared, ...]:
    (section,) = reproduce_hercules().sections
    return section.rows


def test_both_figures_stand_beside_each_stock(rows: tuple[Compared, ...]) -> None:
    assert [row.published for row in rows] == [47.7, 23.7] * len(SKYLAKES)
    assert all(row.cause for row in rows)


def test_a_plan_saves_less_than_published_and_the_more_the_scarcer(rows: tuple[Compared, ...]) -> None:
    nodes = [row.predicted or 0.0 for row in rows[::2]]
    power = [row.predicted or 0.0 for row in rows[1::2]]
    assert nodes == sorted(nodes, reverse=True)
    assert power == sorted(power, reverse=True)
    assert all(row.deviation is not None and row.deviation < -0.25 for row in rows)
    assert nodes[1] == pytest.approx(12.7, abs=0.5)
    assert power[1] == pytest.approx(12.4, abs=0.5)


def test_greedy_is_never_better(rows: tuple[Compared, ...]) -> None:
    """It is one of the plans that the programme chooses among: it draws no less power."""
    assert min(row.predicted or 0.0 for row in rows[1::2]) >= 0.0
