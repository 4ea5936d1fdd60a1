"""What a search on a grid of rates reports of nodes within it and beyond it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from calibration.reproduce.rate_grid import RateEnds, published_ends, script_ends
from calibration.reproduce.study import gain_of
from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.node import ServingNode
from perfmodel.planning.tune.answer import OperatingPoint, Optimum
from perfmodel.planning.tune.question import Configuration

ENDS = RateEnds(least_qps=25.0, greatest_qps=1250.0)


def optimum(static_qps: float | None, best_qps: float | None) -> Optimum:
    """A baseline on the cores beside a best with a card."""

    def point(qps: float | None, power_w: float, threshold: int | None) -> OperatingPoint:
        return OperatingPoint(
            configuration=Configuration(25, threshold),
            latency_bounded_qps=qps,
            power_w=power_w,
            num_queries=1,
        )

    return Optimum(
        node=cast("ServingNode", SimpleNamespace()),
        sla=SlaTarget(percentile=0.95, latency_ms=100.0),
        objective="qps",
        static=point(static_qps, 240.0, None),
        exhaustive=point(best_qps, 480.0, 300),
        tried=(),
        simulated_queries=0,
    )


@pytest.mark.parametrize(
    ("static_qps", "best_qps", "any_rate", "reported"),
    [
        (100.0, 400.0, 4.0, 4.0),  # both within
        (16.0, 400.0, 25.0, 16.0),  # the baseline below: it is reported with the longest gap
        (None, 400.0, None, 16.0),
        (1000.0, 5000.0, 5.0, 1.25),
        (2000.0, 9000.0, 4.5, 1.0),  # both above: no gain is seen
        (None, None, None, 1.0),
    ],
)
def test_gains_are_bounded_by_the_grid(
    static_qps: float | None, best_qps: float | None, any_rate: float | None, reported: float
) -> None:
    found = optimum(static_qps, best_qps)
    assert gain_of(found, per_w=False, ends=None) == any_rate
    assert gain_of(found, per_w=False, ends=ENDS) == pytest.approx(reported)
    assert gain_of(found, per_w=True, ends=ENDS) == pytest.approx(reported / 2.0)


def test_the_grid_holds_all_published_rates_and_the_scripts_is_narrower() -> None:
    published, scripts = published_ends(), script_ends()
    assert (published.least_qps, published.greatest_qps) == (25.0, 1250.0)
    assert (scripts.least_qps, scripts.greatest_qps) == pytest.approx((50.0, 1000.0))
