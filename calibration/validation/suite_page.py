"""The report of a suite: a page of HTML, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from calibration.documents import VERSION
from calibration.validation.page import signed
from calibration.validation.suite_report import MODERATE, SuiteReport
from perfmodel.report.documents import made_of, saved
from perfmodel.report.drawing import Drawing, Series, lines
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.tables import number

KEYS = ("p50", "p95", "p99")


def suite_page(report: SuiteReport, out: Path) -> RenderableType:
    """Mean absolute errors, then every load."""
    parts: list[RenderableType] = [
        _terminal("mean absolute errors over the models", _SUMMARY_HEADS, _summary_rows(report), "compared"),
        f"[dim]{_EXPLAINED}[/]",
        "",
        _terminal(
            "every load: signed errors [%] at fixed QPS, at equal utilisation (=)",
            _POINT_HEADS,
            _point_rows(report),
            "model",
        ),
        f"[dim]{_POINTS_EXPLAINED}[/]",
    ]
    if report.capacity:
        rows = _capacity_rows(report)
        parts += ["", _terminal("largest load within a p95", _CAPACITY_HEADS, rows, "model")]
        if (off := report.summary.get("capacity_percent")) is not None:
            parts.append(f"in the mean it is off by {number(off, 2)} %")
    parts += [""] if report.left_out else []
    parts += [f"left out: {name}: {entry['reason']}" for name, entry in report.left_out.items()]
    return Group(*parts, f"written: {out} and {out.with_suffix('.json')}")


def suite_html(report: SuiteReport) -> str:
    """Write the report as one page that needs no other file."""
    how, machine = report.measured_as, report.fingerprint["machine"]
    blocks: list[Block] = [
        *_answer(report),
        Prose(
            f"Every model was built with random weights and served on this machine under open-loop traffic "
            f"({how['scenario']}), {how['duration_s']:g} s at each load; the simulation was given the same "
            f"arrivals and sizes. Profile: {how['profile'] or 'of the scenario'}"
            f"{', refined with short paced runs of the whole model' if how['anchor'] else ''}."
        ),
        Prose(f"Machine: {machine.get('cpu_model')}, {machine.get('cores')} cores. {report.settings}."),
        Heading("Tail latency against utilisation"),
    ]
    models = dict.fromkeys(point["model"] for point in report.points.values())
    blocks += [Figure(_curves(report, model)) for model in models]
    blocks += [
        Heading("Mean absolute errors"),
        Table(_SUMMARY_HEADS, _summary_rows(report), caption=_EXPLAINED),
        Heading("Every load"),
        Table(_POINT_HEADS, _point_rows(report), caption=_POINTS_EXPLAINED),
    ]
    if report.capacity:
        rows = _capacity_rows(report)
        caption = "The SLA is the p95 predicted at 70 % utilisation, to two digits."
        blocks += [Heading("Largest load within an SLA"), Table(_CAPACITY_HEADS, rows, caption=caption)]
    if report.left_out:
        rows = [[name, entry["reason"]] for name, entry in report.left_out.items()]
        blocks += [Heading("Left out"), Table(["model", "why"], rows)]
    measured = str(report.fingerprint.get("date", ""))[:10]
    facts = [*made_of(saved("validate", VERSION)), *([f"measured {measured}"] if measured else [])]
    return page("Prediction and measurement", blocks, facts=facts)


def _answer(report: SuiteReport) -> list[Block]:
    """How far predictions are off in the mean; nothing where nothing was measured up to moderate loads."""
    found = report.summary.get("up_to_moderate", {}).get("fixed_qps")
    if not found:
        return []
    off = ", ".join(f"{key} by {number(found[key], 2)} %" for key in KEYS)
    text = f"Up to a utilisation of {MODERATE:g} predictions are off, in the mean over models, {off}."
    capacity = report.summary.get("capacity_percent")
    if capacity is not None:
        text += f" The largest load within an SLA is off by {number(capacity, 2)} %."
    return [Prose(text, is_answer=True)]


_EXPLAINED = (
    "Fixed QPS: the prediction as it is. Equal utilisation: all service times scaled to the mean of the run, "
    "which leaves the shape. Own service times: with the run's own means, which leaves the queue."
)
_POINTS_EXPLAINED = (
    "Signed errors of the prediction [%]: at fixed QPS, then (=) at equal utilisation; of the mean service "
    "time; and how much the level of service times drifted during the run [%]."
)
_SUMMARY_HEADS = ["utilisation", "compared", "p50 [%]", "p95 [%]", "p99 [%]", "service time [%]"]
_POINT_HEADS = [
    "model",
    "busy",
    "queries/s",
    "p95 [ms]",
    *KEYS,
    *(f"={key}" for key in KEYS),
    "service",
    "drift",
]
_CAPACITY_HEADS = ["model", "p95 SLA [ms]", "measured [queries/s]", "predicted", "error"]


def _summary_rows(report: SuiteReport) -> list[list[str]]:
    summary = report.summary
    levels = {**summary.get("by_utilisation", {}), "up to 0.7": summary.get("up_to_moderate", {})}
    return [
        [level, way.replace("_", " "), *(f"{errors[key]:.1f}" for key in (*KEYS, "service_time"))]
        for level, ways in levels.items()
        for way, errors in ways.items()
    ]


def _point_rows(report: SuiteReport) -> list[list[str]]:
    return [
        [
            point["model"],
            number(point["measured"]["utilisation"]),
            number(point["offered_qps"], 4),
            number(point["measured"]["latency_ms"]["p95"]),
            *(f"{point['error_percent'][key]:+.1f}" for key in KEYS),
            *(f"{point['equal_utilisation']['error_percent'][key]:+.1f}" for key in KEYS),
            f"{point['error_percent']['service_time']:+.1f}",
            number(point["drift_percent"], 2),
        ]
        for point in report.points.values()
    ]


def _capacity_rows(report: SuiteReport) -> list[list[str]]:
    return [
        [
            name,
            number(entry["sla"]["latency_ms"]),
            number(entry["measured_qps"], 4),
            number(entry["predicted_qps"], 4),
            signed(entry["error_percent"]),
        ]
        for name, entry in report.capacity.items()
    ]


def _curves(report: SuiteReport, model: str) -> Drawing:
    """A model's p95 against utilisation, in units of the mean service time."""
    points = [point for point in report.points.values() if point["model"] == model]
    points.sort(key=lambda point: float(point["aimed_utilisation"]))
    x = [100.0 * point["aimed_utilisation"] for point in points]
    series = [
        Series(name=side, x=x, y=[_p95_in_services(point, side) for point in points], dashed=dashed)
        for side, dashed in (("measured", False), ("predicted", True))
    ]
    return lines(
        series, x_label="utilisation [%]", y_label="p95 / mean service time", title=model, log_y=True
    )


def _p95_in_services(point: Mapping[str, Any], side: str) -> float:
    return float(point[side]["latency_ms"]["p95"] / point["measured"]["service_time_ms"])


_LEAVES = ("drift", "service", "service time [%]", "=p50", "=p99", "=p95", "p50", "p99", "p95 SLA [ms]")
"""Columns that go on a narrow terminal, one after the other: the page of HTML has them all."""


def _terminal(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], named: str) -> FittingTable:
    """A table for a terminal; cells of the column `named` are cut in the middle if need be."""
    columns = [
        Column(
            heading=head,
            right=index > 0 and head != named,
            is_name=head == named,
            leaves=_LEAVES.index(head) + 1 if head in _LEAVES else 0,
        )
        for index, head in enumerate(heads)
    ]
    return FittingTable(columns, rows, title)
