"""The terminal page of `perfplan explain`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from perfmodel.domain.workload import ClosedArrivals
from perfmodel.planning.busiest import busiest
from perfmodel.planning.explain.answer import NEGLIGIBLE, Explanation, Gain
from perfmodel.report.fitting import Column, FittingTable, cut_in_the_middle
from perfmodel.report.tables import number, times_of

WIDEST_CHANGE = 44
"""Characters of a change: its words tell more than the columns that go for them."""


OFFERED = {"misses_sla": "too much for the SLA", "unstable": "more than they can serve"}
"""What a load is that the page has to warn of."""


def explain_page(result: Explanation) -> RenderableType:
    """What binds, how far the cliff is, and the changes by what they bring.

    On a narrow page go, one after the other: queries/s/W, the interval, the load, what may be luck.
    """
    question = result.question
    head = [f"[bold]{question.name}[/]", times_of(question), ""]
    verb = "bind" if result.binds.resource == "cores" else "binds"
    resource = "the SLA" if result.binds.resource == "sla" else result.binds.resource
    head.append(f"[bold]{resource}[/] {verb}: {result.binds.why}")
    offered = number(result.offered_qps, 4)
    arrivals = question.traffic.arrivals
    if result.latency_bounded_qps is None or result.room is None:
        head.append("no load meets the SLA")
    else:
        largest, where = number(result.latency_bounded_qps, 4), _beside(result.room, result)
        head.append(f"the largest load within the SLA is {largest} queries/s{where}")
    full, where = number(result.saturation_qps, 4), _beside(result.room_to_saturation, result)
    if (peak := busiest(question)) is not None:
        there = (1.0 + result.room_to_saturation) / peak.factor - 1.0
        where += f", {_how_far(there)} the {number(peak.factor * result.offered_qps, 4)} {peak.when}"
    head.append(f"{full} queries/s keep all executors busy{where}")
    if isinstance(arrivals, ClosedArrivals):
        head.append(f"{arrivals.users:,} users ask {offered} queries/s, no faster than they are answered")
    if result.verdict in OFFERED and result.room is not None:
        head.append(f"[bold]what is offered is {OFFERED[result.verdict]}[/]")
    columns = [
        Column(heading="change, alone"),
        Column(heading="largest load", right=True, leaves=3),
        Column(heading="gain %", right=True),
        Column(heading="95 % interval", right=True, leaves=2),
        Column(heading="qps/W", right=True, leaves=1),
        Column(heading="", leaves=4),
    ]
    rows = [[*_cells(gain), _said(gain)] for gain in result.gains if gain.reason is None]
    table = FittingTable(columns, rows)
    refused = [f"not possible: {gain.change}: {gain.reason}" for gain in result.gains if gain.reason]
    return Group(*head, "", table, "", *refused, *(f"note: {note}" for note in result.notes))


def _said(gain: Gain) -> str:
    if gain.is_significant is not False or gain.gain is None:
        return ""
    return f"below {100 * NEGLIGIBLE:g} %" if abs(gain.gain) <= NEGLIGIBLE else "may be luck"


def _beside(room: float, result: Explanation) -> str:
    """Where a load lies, seen from the offered one; of closed users, who offer what is answered, nothing."""
    if result.question.traffic.is_closed:
        return ""
    return f", {_how_far(room)} the {number(result.offered_qps, 4)} offered"


def _how_far(room: float) -> str:
    return f"{100.0 * room:.0f} % above" if room >= 0.0 else f"{-100.0 * room:.0f} % below"


def _cells(gain: Gain) -> list[str]:
    interval = "–"
    if gain.ci95 is not None:
        interval = f"[{100.0 * gain.ci95[0]:+.2f}, {100.0 * gain.ci95[1]:+.2f}]"
    return [
        cut_in_the_middle(Text(gain.change), WIDEST_CHANGE).plain,
        number(gain.latency_bounded_qps, 4),
        "–" if gain.gain is None else f"{100.0 * gain.gain:+.2f}",
        interval,
        number(gain.qps_per_w),
    ]
