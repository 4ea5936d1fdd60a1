"""What is asked of models that a fit has not seen, and from which batch on a card is ahead."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.published.crossings import CROSSING, crossing, published_crossing
from calibration.published.left_out import asked_of, asked_table
from calibration.published.observations import Case, Point

FIG9, REPOSITORY = "gpu_speedup_isca2020_fig9.csv", "gpu_speedup_repository.csv"
SHARES = ("operator_share_repository_skylake.csv", "operator_share_isca2020_fig6.csv")


def unseen() -> list[Point]:
    return [
        Case(REPOSITORY, "wnd, batch 1").ratio("speed-up", 1.0, 1.1),
        Case(REPOSITORY, "dien, batch 1").ratio("speed-up", 1.0, 0.7),
        *(Case(file, "wnd, skylake, batch 1").percentage("fc [%]", 50.0, 53.0) for file in SHARES),
        Case(FIG9, "wnd, batch 1").ratio("speed-up", 1.0, 1.2),
        Case(FIG9, "dlrm-rmc3, batch 1").ratio("speed-up", 1.0, 2.0),
        Case(FIG9, "wnd, batch 1").percentage("data loading [%]", 50.0, 90.0, headline=False),
        Case(FIG9, "wnd, cross-over").ratio(CROSSING, 20.0, 50.0, headline=False),
    ]


def test_what_is_asked_of_models_left_out() -> None:
    found = {what: value for what, _, value in asked_of(unseen())}
    assert list(found.values()) == pytest.approx([20.0, 30.0, 3.0, 3.0, 20.0, 60.0, 2.5])
    holds = [line.split("|")[-2].strip() for line in list(asked_table(unseen()))[2:]]
    assert holds == ["no", "no", "no", "no", "yes", "no", "no"]


def test_a_card_is_ahead_from_where_its_speed_up_is_one() -> None:
    batches = np.array([1.0, 4.0, 16.0])
    assert crossing(batches, np.array([0.5, 0.5, 1.5])) == pytest.approx(8.0)
    assert crossing(batches, np.array([1.5, 2.0, 3.0])) == 1.0  # always
    assert crossing(batches, np.array([0.2, 0.5, 0.9])) == 32.0  # never
    assert published_crossing(FIG9, "dlrm-rmc1") == pytest.approx(47.0)  # a speed-up of 1.0 there
