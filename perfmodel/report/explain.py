"""The terminal page of `perfplan explain`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.explain.answer import Explanation, Gain
from perfmodel.report.tables import number, times_of


def explain_page(result: Explanation) -> RenderableType:
    """What binds, how far the cliff is, and the changes by what they bring."""
    question = result.question
    head = [f"[bold]{question.name}[/]", times_of(question), ""]
    head.append(f"[bold]{result.binds.resource}[/] binds: {result.binds.why}")
    offered = number(question.traffic.rate_qps, 4)
    if result.latency_bounded_qps is None or result.room is None:
        head.append("no load meets the SLA")
    else:
        largest, room = number(result.latency_bounded_qps, 4), 100.0 * result.room
        where = f"{room:.0f} % above" if room >= 0.0 else f"{-room:.0f} % below"
        head.append(f"the cliff is at {largest} queries/s, {where} the {offered} offered")
    full = number(result.saturation_qps, 4)
    head.append(f"{full} queries/s fill the node, {100.0 * result.room_to_saturation:+.0f} %")
    table = Table(box=None, pad_edge=False)
    table.add_column("change, alone", overflow="fold")
    for heading in ("largest load", "gain %", "95 % interval", "qps/W"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for gain in result.gains:
        if gain.reason is None:
            table.add_row(*_cells(gain), "no significant gain" if gain.is_significant is False else "")
    refused = [f"not possible: {gain.change}: {gain.reason}" for gain in result.gains if gain.reason]
    return Group(*head, "", table, "", *refused, *(f"note: {note}" for note in result.notes))


def _cells(gain: Gain) -> list[str]:
    interval = "–"
    if gain.ci95 is not None:
        interval = f"[{100.0 * gain.ci95[0]:+.2f}, {100.0 * gain.ci95[1]:+.2f}]"
    return [
        gain.change,
        number(gain.latency_bounded_qps, 4),
        "–" if gain.gain is None else f"{100.0 * gain.gain:+.2f}",
        interval,
        number(gain.qps_per_w),
    ]
