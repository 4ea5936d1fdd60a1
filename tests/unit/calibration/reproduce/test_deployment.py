"""The deployment over a day: its load, its latencies by hand, and what it says where nothing is carried."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.reproduce.deployment import (
    LOADS,
    Day,
    Deployment,
    day_latency_s,
    deployment_section,
    hourly_shares,
    published_deployment,
)
from calibration.reproduce.study import StudyPlan, run_study
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes

TEN_ITEMS = SizePmf(np.array([10]), np.array([1.0]))
TEN_MS_AN_ITEM = ServiceTimes(cpu_s=np.repeat(0.01 * np.arange(1.0, 11.0)[:, None], 5, axis=1))


def test_the_day_peaks_in_the_evening_and_swings_by_more_than_half() -> None:
    shares = hourly_shares()
    assert (len(shares), shares.index(max(shares)), shares.index(min(shares))) == (24, 20, 8)
    assert (max(shares), min(shares)) == (1.0, pytest.approx(0.4))


def test_nearly_idle_nodes_show_the_law_of_their_batches() -> None:
    both = [TEN_MS_AN_ITEM, TEN_MS_AN_ITEM]
    whole = day_latency_s(both, [10, 10], [0.01, 0.01], TEN_ITEMS, 4, 2000)
    assert whole == pytest.approx(0.1)  # one request of ten items
    split = day_latency_s(both, [2, 2], [0.01, 0.01], TEN_ITEMS, 4, 2000)
    assert split == pytest.approx(0.02)  # five cores side by side
    mixed = day_latency_s(both, [10, 2], [0.01, 0.03], TEN_ITEMS, 4, 2000)
    assert mixed[[0, -1]] == pytest.approx([0.02, 0.1])  # three quarters of the queries go to the second kind


def test_reductions_and_the_worst_percentile_of_the_handful() -> None:
    day = Day(
        load=1.0,
        fixed_s=np.array([1.0, 1.0, 1.0, 3.0, 4.0]),
        tuned_s=np.array([1.0, 1.0, 1.0, 2.0, 2.0]),
    )
    found = Deployment(days=(day,), handful_s=np.array([1.0, 1.0, 1.0, 1.8, 2.1]), setting="")
    assert (day.reduction(0.95), day.reduction(0.99)) == (1.5, 2.0)
    assert found.handful_error == pytest.approx(0.1)


@pytest.mark.thorough
def test_a_section_compares_what_was_published_and_says_where_the_fixed_batch_misses() -> None:
    plan = StudyPlan(targets_ms={"ncf": 5.0, "dlrm-rmc2": 0.01}, accelerators=(None,), final_queries=20_000)
    section = deployment_section(run_study(plan), day_queries=60_000)
    p95, p99, *lighter = section.rows[: 2 * len(LOADS)]
    handful, *details = section.rows[2 * len(LOADS) :]
    assert (p95.published, p99.published) == (1.39, 1.31)
    assert published_deployment()["handful_percent"] == 10.0
    assert p95.case == "geometric mean of 1 models"
    assert p95.predicted == details[0].predicted
    # A node with fewer queries has less of a queue to lose; beside no published load, no deviation.
    assert [row.predicted for row in lighter[::2]] == sorted(
        (row.predicted or 0.0 for row in lighter[::2]), reverse=True
    )
    assert (p95.predicted or 0.0) > (lighter[0].predicted or 0.0) > 1.0
    assert [row.setting for row in lighter] == [
        f"{mean.predicted:.2f} without din, not the paper's; published {stated}"
        for mean, stated in zip(lighter, (1.39, 1.31, 1.39, 1.31), strict=True)
    ]
    assert lighter[0].case == "geometric mean of 1 models, 75 % of that load"
    assert {row.deviation for row in lighter} == {None}
    assert handful.predicted is not None
    assert handful.predicted < 10.0
    assert [row.setting for row in details if row.case == "dlrm-rmc2"] == [
        "the fixed batch meets the SLA at no load"
    ] * 2
