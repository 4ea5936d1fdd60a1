"""What the page of a map says first."""

from __future__ import annotations

from typing import Any

import pytest

from perfmodel.report.pages.map import answer


def row(probability: float | None) -> dict[str, Any]:
    return {
        "model": "m",
        "batch_size": 1,
        "best": "x",
        "second": "y",
        "factor_over_second": 1.2,
        "probability": probability,
    }


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ([0.55, 0.95, 0.9], " That is 90 % sure in 2 of them"),
        ([0.55, None], " That is 90 % sure in none of them"),
    ],
)
def test_a_map_says_first_where_the_best_is_sure(probabilities: list[float | None], said: str) -> None:
    rows = [row(each) for each in probabilities]
    assert said in answer({"by": "latency", "rows": rows, "extrapolated_cells": 0})


def test_where_no_probability_is_known_none_is_said() -> None:
    assert "sure" not in answer({"by": "latency", "rows": [row(None)], "extrapolated_cells": 0})
