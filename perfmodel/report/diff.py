"""The terminal page of `perfplan diff`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.diff.answer import Diff
from perfmodel.planning.diff.side import Difference
from perfmodel.report.documents.diff import scaled
from perfmodel.report.tables import number

MAIN = (
    *("latency_bounded_qps", "latency_ms.p95", "latency_ms.p99", "qps_per_w"),
    *("static.num_nodes", "static.power_w", "static.price_usd_per_h"),
)
"""Metrics of which the page says which key they come from."""


def diff_page(result: Diff) -> RenderableType:
    """Each metric of both with the difference; then the keys, each by itself."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("A", "B", "B − A", "95 % interval", "%"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for found in result.differences:
        table.add_row(found.metric, *_cells(found), _said(found))
    parts: list[RenderableType] = [f"A [bold]{result.a}[/]\nB [bold]{result.b}[/]", "", table]
    if not result.keys and not result.differences:
        parts.append("nothing differs")
    if result.keys:
        parts += ["", _keys(result)]
    return Group(*parts, "", *(f"note: {note}" for note in result.notes))


def _cells(found: Difference) -> list[str]:
    a, b, value = (scaled(found.metric, each) for each in (found.a, found.b, found.value))
    interval = "–"
    if found.ci95 is not None and found.ci95[0] != found.ci95[1]:
        low, high = (number(scaled(found.metric, end), 3) for end in found.ci95)
        interval = f"[{low}, {high}]"
    elif found.ci95 is not None:
        interval = "exact"
    percent = "–" if value is None or not a else f"{100.0 * value / a:+.1f}"
    return [number(a, 4), number(b, 4), number(value, 3), interval, percent]


def _said(found: Difference) -> str:
    if found.value == 0.0:
        return "equal"
    return {False: "no significant difference", True: "", None: ""}[found.is_significant]


def _keys(result: Diff) -> RenderableType:
    shown = [metric for metric in MAIN if any(found.metric == metric for found in result.differences)]
    table = Table(box=None, pad_edge=False, title="which key it comes from: alone in A / alone in B")
    table.title_justify, table.title_style = "left", "bold"
    table.add_column("key", overflow="fold")
    table.add_column("A", overflow="fold")
    table.add_column("B", overflow="fold")
    for metric in shown:
        table.add_column(metric, justify="right")
    for share in result.keys:
        cells = [f"{_value(share.from_a, metric)} / {_value(share.from_b, metric)}" for metric in shown]
        table.add_row(share.key.key, _text(share.key.a), _text(share.key.b), *cells)
    rest = result.interaction
    table.add_row("interaction", "", "", *(number(scaled(metric, rest.get(metric)), 3) for metric in shown))
    reasons = [
        f"{share.key.key} alone: {share.why_not}" for share in result.keys if share.why_not is not None
    ]
    return Group(table, *reasons)


def _value(differences: tuple[Difference, ...], metric: str) -> str:
    value = next((found.value for found in differences if found.metric == metric), None)
    return number(scaled(metric, value), 3)


def _text(value: object) -> str:
    return "–" if value is None else str(value)
