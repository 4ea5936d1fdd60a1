"""What a suite has measured: summed up by hand, resumed from disk, and refused where it is another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from calibration.validation.suite_page import suite_html
from calibration.validation.suite_report import Found, SuiteReport, point_name, resumed
from perfmodel.errors import InputError

MEASURED_AS = {"scenario": "s", "overrides": [], "profile": None, "anchor": False, "duration_s": 30.0}


def loaded(
    model: str, utilisation: float, *, error_percent: float, unanchored: bool = False
) -> dict[str, Any]:
    """A load that every prediction is off at by the same, or twice that without an anchor."""
    errors = dict.fromkeys(("p50", "p95", "p99", "throughput", "service_time"), error_percent)
    doubled = {key: 2.0 * error for key, error in errors.items()} if unanchored else None
    return {
        "model": model,
        "aimed_utilisation": utilisation,
        "error_percent": errors,
        "equal_utilisation": {"error_percent": errors},
        "own_service_times": {"error_percent": errors},
        "error_percent_without_anchor": doubled,
        "error_percent_without_anchor_at_this_lifetime": None,
    }


def report_of(*found: Found) -> SuiteReport:
    report = SuiteReport(measured_as=MEASURED_AS, settings="idle", fingerprint={"machine": {}})
    for each in found:
        report.add(each)
    return report


def point(model: str, utilisation: float, error_percent: float, **keys: bool) -> Found:
    entry = loaded(model, utilisation, error_percent=error_percent, **keys)
    return Found("points", point_name(model, utilisation), entry)


FOUND = (
    point("ncf", 0.3, -2.0),
    point("wnd", 0.3, 4.0, unanchored=True),
    point("ncf", 0.7, 6.0),
    point("ncf", 0.85, 20.0),
    Found("capacity", "ncf", {"error_percent": -5.0}),
    Found("capacity", "wnd", {"error_percent": 7.0}),
    Found("capacity", "din", {"error_percent": None}),
    Found("left_out", "dien", {"reason": "too large"}),
)


def test_a_summary_is_of_absolute_errors_by_utilisation_and_up_to_the_moderate_one() -> None:
    summary = report_of(*FOUND).summary
    assert list(summary["by_utilisation"]) == ["0.3", "0.7", "0.85"]
    for way in ("fixed_qps", "equal_utilisation", "own_service_times"):
        found = {level: ways[way]["p95"] for level, ways in summary["by_utilisation"].items()}
        assert found == {"0.3": 3.0, "0.7": 6.0, "0.85": 20.0}
        assert summary["up_to_moderate"][way]["p99"] == 4.0  # 2, 4 and 6
    assert summary["by_utilisation"]["0.3"]["without_anchor"]["p50"] == 8.0  # of the one that has it
    assert "without_anchor" not in summary["by_utilisation"]["0.7"]
    assert "without_anchor_at_this_lifetime" not in summary["up_to_moderate"]
    assert summary["capacity_percent"] == 6.0  # 5 and 7; the third was not compared


def test_nothing_measured_has_an_empty_summary() -> None:
    assert report_of().summary == {"by_utilisation": {}, "up_to_moderate": {}, "capacity_percent": None}


def test_a_report_is_resumed_as_it_was_written(tmp_path: Path) -> None:
    report, path = report_of(*FOUND), tmp_path / "report.json"
    path.write_text(json.dumps(report.to_dict()), encoding="utf-8")
    again = resumed(path, measured_as=MEASURED_AS, page_of=summed)
    assert again == report
    again.add(point("wnd", 0.7, 1.0))
    assert list(again.points) == ["ncf 0.3", "wnd 0.3", "ncf 0.7", "ncf 0.85", "wnd 0.7"]


def summed(report: SuiteReport) -> str:
    """In place of the page, which wants all that a real report has."""
    return str(report.summary)


PARTS = ("measured_as", "settings", "fingerprint", "points", "capacity", "left_out")


@pytest.mark.parametrize(
    "change",
    [
        *({part: None} for part in PARTS),
        {"points": [1]},
        {"points": {"ncf 0.3": 1}},
        {"points": {"ncf 0.3": {}}},
        {"points": {"ncf 0.3": {"target_utilisation": "0.3", "error_percent": [1]}}},
        {"capacity": {"ncf": {}}},
        {"capacity": {"ncf": [1]}},
    ],
)
def test_what_is_no_report_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    values = report_of(*FOUND).to_dict() | change
    written = {key: value for key, value in values.items() if value is not None}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(InputError, match="expected the report of an earlier suite; measure anew"):
        resumed(path, measured_as=MEASURED_AS, page_of=summed)


SHIPPED = Path(__file__).parents[4] / "docs/reports/validate-amd-epyc-turin-2c.json"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("<script>", ":1:1: expected the report of an earlier suite"),
        ([1], ":1:1: expected the report of an earlier suite"),
        (10**399, r"expected a finite number, got 1000"),
        (float("nan"), r":1:\d+: expected a finite number, got NaN"),
    ],
)
def test_a_value_that_the_page_could_not_show_is_refused_before_anything_is_measured(
    value: object, said: str, tmp_path: Path
) -> None:
    whole = json.loads(SHIPPED.read_text())
    as_before, path = whole["measured_as"], tmp_path / "report.json"
    path.write_text(json.dumps(whole))
    assert resumed(path, measured_as=as_before, page_of=suite_html).points
    next(iter(whole["points"].values()))["error_percent"]["p95"] = value
    path.write_text(json.dumps(whole))
    with pytest.raises(InputError, match=said):
        resumed(path, measured_as=as_before, page_of=suite_html)


def test_a_report_of_a_hundred_thousand_brackets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(InputError, match="nested too deeply"):
        resumed(path, measured_as=MEASURED_AS, page_of=summed)


def test_a_report_measured_in_another_way_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report_of(*FOUND).to_dict()), encoding="utf-8")
    with pytest.raises(InputError, match=r"was measured with duration_s 30\.0, not 60\.0"):
        resumed(path, measured_as=MEASURED_AS | {"duration_s": 60.0}, page_of=summed)
