"""What the page of a sweep says first, and how it lays out what there is of many points."""

from __future__ import annotations

import re
from typing import Any

from perfmodel.report.pages.sweep import answer, sweep_html

RATE, BATCH = "traffic.arrivals.rate_qps", "policy.batch_size"


def swept(count: int) -> dict[str, Any]:
    """A sweep over so many rates of a node whose plan does not ask for the rate; the last is missed."""
    rows = [
        {
            "point": place,
            "exit_code": 0 if rate < count else 3,
            "reason": None,
            BATCH: batch,
            RATE: rate,
            "verdict": "meets_sla" if rate < count else "misses_sla",
            "sla.predicted_ms": 10.0 * batch + rate,
            "plan_for_qps": 100.0 * batch,
            "sla.latency_ms": 100.0,
        }
        for place, (rate, batch) in enumerate((r, b) for r in range(1, count + 1) for b in (1, 2))
    ]
    return {
        "schema": {"name": "sweep", "version": 1},
        "perfplan": "0",
        "date": "2026-01-01",
        "inputs": [],
        "scenario": "made up",
        "question": "predict",
        "over": [{"key": BATCH, "values": [1, 2]}, {"key": RATE, "values": list(range(1, count + 1))}],
        "pareto": [],
        "rows": rows,
        "answered": len(rows),
        "notes": [],
        "asked": None,
    }


def test_a_sweep_says_first_how_many_points_meet_the_sla() -> None:
    assert answer(swept(3), ["sla.predicted_ms"]).endswith(" 4 meet the SLA, 2 miss the SLA.")


def test_curves_that_are_alike_are_one_with_a_name_that_says_so() -> None:
    page = sweep_html(
        swept(2)
    )  # lines over the batch size, one for each rate, which the plan does not ask for
    assert page.count("any rate_qps") > 0
    assert "rate_qps 1" in page  # latencies differ
    assert "rate_qps 2" in page


def test_all_metrics_stand_below_each_other_few_points_to_a_table() -> None:
    page = sweep_html(swept(7))
    captions = re.findall(r"What is not the same at all points: ([^<]*)</caption>", page)
    assert captions == ["points 1 to 5", "points 6 to 10", "points 11 to 14"]
    row = re.search(r'<tr><td class="words">plan_for_qps</td>(.*?)</tr>', page)
    assert row is not None
    assert re.findall(r"<td>([^<]*)</td>", row[1]) == ["100", "200", "100", "200", "100"]


def test_a_figure_that_is_the_same_at_every_point_is_said_and_not_drawn() -> None:
    sweep = swept(3)
    for row in sweep["rows"]:
        row["plan_for_qps"] = 100.0
    page = sweep_html(sweep)
    assert "At every point the load to plan for is 100 queries/s." in page
    assert "<b>Load to plan for" not in page
