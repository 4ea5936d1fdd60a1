"""The terminal page of `perfplan diff`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from perfmodel.planning.diff.answer import Diff
from perfmodel.planning.diff.side import Difference
from perfmodel.report.documents.diff import scaled
from perfmodel.report.fitting import Column, FittingTable, cut_in_the_middle
from perfmodel.report.tables import as_asked, number

MAIN = (
    *("latency_bounded_qps", "latency_ms.p95", "latency_ms.p99", "qps_per_w"),
    *("static.num_nodes", "static.power_w", "static.price_usd_per_h"),
)
"""Metrics of which the page says which key they come from."""

WIDEST_VALUE = 24
"""Characters of what a key holds."""

FEW = 20
"""Figures up to which those that are equal are shown too: a plan has a hundred."""


def diff_page(result: Diff) -> RenderableType:
    """Each metric of both with the difference; then the keys, each by itself."""
    columns = [
        Column(heading="figure", is_name=True),
        Column(heading="A", right=True),
        Column(heading="B", right=True),
        Column(heading="B − A", right=True, leaves=3),
        Column(heading="95 % interval", right=True, leaves=1),
        Column(heading="%", right=True),
        Column(heading="", leaves=2),
    ]
    shown = result.differences
    if len(shown) > FEW:
        shown = tuple(found for found in shown if found.value != 0.0)
    table = FittingTable(columns, [[f.metric, *_cells(f), _said(f)] for f in shown])
    parts: list[RenderableType] = [f"A [bold]{result.a}[/]\nB [bold]{result.b}[/]", ""]
    if shown or not result.differences:
        parts.append(table)
    if equal := len(result.differences) - len(shown):
        how_many = f"{equal} more" if shown else f"all {equal}"
        parts.append(f"equal in both: {how_many} figures; --json lists them")
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
    return {False: "may be luck", True: "", None: ""}[found.is_significant]


def _keys(result: Diff) -> RenderableType:
    shares_known = any(share.from_a or share.from_b or share.why_not for share in result.keys)
    shown = [
        metric
        for metric in MAIN
        if shares_known and any(found.metric == metric for found in result.differences)
    ]
    columns = [
        Column(heading="key", is_name=True),
        Column(heading="A", leaves=len(shown) + 1),
        Column(heading="B", leaves=len(shown) + 2),
        # The first is what is looked at most: of the others the last goes first.
        *(
            Column(heading=metric, right=True, leaves=len(shown) - index if index else 0)
            for index, metric in enumerate(shown)
        ),
    ]
    rows = []
    for share in result.keys:
        cells = [f"{_value(share.from_a, metric)} / {_value(share.from_b, metric)}" for metric in shown]
        a, b = (
            str(cut_in_the_middle(Text(_text(each)), WIDEST_VALUE)) for each in (share.key.a, share.key.b)
        )
        rows.append([share.key.key, a, b, *cells])
    rest = result.interaction
    if not shares_known:
        return FittingTable(columns, rows, "which keys differ; scenarios and fleets tell what each does")
    rows.append(["interaction", "", "", *(number(scaled(metric, rest.get(metric)), 3) for metric in shown)])
    title = "which key it comes from: put into A alone / taken out of B alone"
    table = FittingTable(columns, rows, title)
    reasons = [
        f"{share.key.key} alone: {share.why_not}" for share in result.keys if share.why_not is not None
    ]
    return Group(table, *reasons)


def _value(differences: tuple[Difference, ...], metric: str) -> str:
    value = next((found.value for found in differences if found.metric == metric), None)
    return number(scaled(metric, value), 3)


def _text(value: object) -> str:
    said = as_asked(value) if isinstance(value, float) else str(value)
    return "–" if value is None else cut_in_the_middle(Text(said), WIDEST_VALUE).plain
