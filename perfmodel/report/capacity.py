"""The terminal page of `perfplan capacity`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.busiest import busiest
from perfmodel.planning.capacity.answer import Capacity
from perfmodel.planning.stage_figures import stage_figures
from perfmodel.report.error_budget import deciding_lines, plan_interval, rate_band, rate_interval, sensitivity
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.predict import worst_when
from perfmodel.report.stages import stage_table
from perfmodel.report.tables import (
    as_asked,
    assumption_lines,
    curve_queries,
    interval_ms,
    number,
    outside_words,
    served_words,
    times_of,
)
from perfmodel.units import MS

POOLS = {"cpu": "the cores", "accelerator": "the accelerators"}

FULL = 0.9
"""Of what the executors can serve at most: from here on, they limit rather than the tail. [1]"""


def capacity_page(result: Capacity) -> RenderableType:
    """The rate with its interval, then what that load looks like and how far the cliff is."""
    question, node = result.question, result.question.node
    sla = question.sla
    bound = f"p{100 * sla.percentile:g} within {as_asked(sla.latency_ms)} ms"
    head = f"{served_words(question)}\n{times_of(question)}"
    greatest, at = result.greatest, result.at_capacity
    if greatest is None or at is None:
        return Group(head, f"[bold red]{result.reason}[/]")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    rate = greatest.rate_qps
    if (users := result.users) is not None:
        low, high = users.ci95
        planned = "none" if users.plan_for is None else f"{users.plan_for:,}"
        table.add_row("users", f"{users.users:,} [{low:,}, {high:,}]; plan for at most {planned}")
    table.add_row("plan for", _plan(result, bound))
    sheds = question.policy.shedding is not None
    bound += ", what is turned away counted as late" if sheds else ""
    table.add_row("largest load", f"{rate_interval(greatest)}, {bound}: as likely too high as too low")
    if result.budget is not None and result.budget.band_qps is not None:
        table.add_row("it may be", rate_band(result.budget.band_qps, result.errors))
    table.add_row("limited by", limit(result))
    table.add_row("items", f"{number(rate * question.traffic.size_pmf.mean_items, 4)} items/s")
    if (worst := at.run.worst) is not None:
        table.add_row(*worst_when(worst))
        for percentile, latency in worst.percentiles.items():
            table.add_row(f"  p{100 * percentile:g} then", interval_ms(latency))
        table.add_row("the whole day", "")
    for percentile, latency in at.run.percentiles.items():
        table.add_row(f"p{100 * percentile:g} there", interval_ms(latency))
    if question.traffic.outside is not None and at.run.on_node is not None:
        words = outside_words(question.traffic.outside, at.run.on_node.percentiles_s)
        table.add_row("on the node alone", words)
    used = f"{number(100 * at.cpu_utilisation)} % of the cores"
    if at.accelerator_utilisation is not None:
        used += f", {number(100 * at.accelerator_utilisation)} % of the accelerators"
    table.add_row("utilisation there", used)
    for label, said in sensitivity(at.latency_budget, result.budget, sheds=sheds, busiest=busiest(question)):
        table.add_row(label, said)
    filled = f"{number(result.saturation_qps, 4)} queries/s fill {POOLS[result.bottleneck]}, all of them busy"
    share = rate / result.saturation_qps
    of_it = f"this is {number(100 * share)} % of it" + ("" if share < 1.0 else ", as a note below explains")
    if (peak := busiest(question)) is not None:
        of_it += f", {number(100 * share * peak.factor)} % {peak.when}"
    table.add_row("saturation", f"{filled}; {of_it}")
    if question.tdp_w is not None:
        per_w = number(rate / question.tdp_w)
        table.add_row("power, static TDP", f"{number(question.tdp_w)} W: {per_w} queries/s/W")
    if at.load_power_w:
        per_w = number(rate / at.load_power_w)
        table.add_row("power, by utilisation", f"{number(at.load_power_w)} W: {per_w} queries/s/W")
    if result.usd_per_million_queries is not None:
        each = number(result.usd_per_million_queries)
        price = number(question.price_usd_per_h)
        table.add_row("price", f"{price} USD/h: {each} USD a million queries at the load to plan for")
    notes = [f"note: {note}" for note in result.notes]
    interval_note = (
        f"[low, high]: 95 % confidence of the simulation, {greatest.num_queries:,} queries at each rate "
        "of the search"
    )
    curve: list[RenderableType] = []
    if result.curve:  # its percentile at the largest load is not to the digit the one above
        curve = [
            "",
            _curve(result),
            f"{curve_queries(result.curve)} queries at each of these rates: less precise than above",
        ]
    deciding = deciding_lines(result.deciding)
    figures = stage_figures(at.question, at.run)
    stages: list[RenderableType] = ["", stage_table(figures)] if figures else []
    return Group(
        head,
        "",
        table,
        *([""] if deciding else []),
        *deciding,
        *stages,
        *curve,
        "",
        interval_note,
        *notes,
        *assumption_lines(node.assumptions),
    )


def limit(result: Capacity) -> str:
    """What keeps the load from being larger, in words."""
    at, rate = result.at_capacity, result.latency_bounded_qps
    if at is None or rate is None:
        return result.reason or "nothing"
    share = rate / result.saturation_qps
    pool = POOLS[result.bottleneck]
    breakdown = at.accelerator if result.bottleneck == "accelerator" else at.cpu
    if breakdown is None or not breakdown.operators:
        most = ""
    else:
        first = max(breakdown.operators, key=lambda operator: operator.seconds)
        most = f"; {number(100 * first.share)} % of their time goes to {first.name}, bound by {first.bound}"
    if share >= FULL:
        return f"{pool}, which are full{most}"
    sla, peak = result.question.sla, busiest(result.question)
    tail = f"the tail: p{100 * sla.percentile:g} reaches {as_asked(sla.latency_ms)} ms"
    if peak is None:
        return f"{tail} while {pool} are at {number(100 * share)} % of what they can serve{most}"
    then = f"{number(100 * share * peak.factor)} % of what they can serve {peak.when}"
    mean = f"{number(100 * share)} % in the mean"
    if share * peak.factor >= FULL:
        full = f"{number(100 * share * peak.factor)} % of what they can serve arrives then"
        return f"{pool}, which are full {peak.when}: {full}, {mean}{most}"
    return f"{tail} while {pool} are at {then}, {mean}{most}"


def _curve(result: Capacity) -> FittingTable:
    """The SLA's percentile at other loads, as bars up to twice the bound."""
    sla = result.question.sla
    name = f"p{100 * sla.percentile:g} ms"
    columns = [
        Column(heading="queries/s", right=True),
        Column(heading="cores busy", right=True, leaves=1),
        Column(heading=name, right=True),
        Column(heading="SLA"),
        Column(heading="", is_bar=True, leaves=2),
    ]
    rows = []
    for point in result.curve:
        value_ms = point.percentiles[sla.percentile].value_s / MS
        meets = value_ms <= sla.latency_ms
        rows.append(
            [
                number(point.rate_qps, 4),
                f"{100 * point.cpu_utilisation:.1f} %",
                number(value_ms, 4),
                "within" if meets else "beyond",
                f"{'green' if meets else 'red'} {min(1.0, value_ms / (2.0 * sla.latency_ms)):.4f}",
            ]
        )
    title = f"latency against load; half a bar is the SLA's {as_asked(sla.latency_ms)} ms"
    return FittingTable(columns, rows, title)


def _plan(result: Capacity, bound: str) -> str:
    """The load that meets the SLA with its confidence: what a planner needs, and so first."""
    confident = f"{number(100 * result.question.sla.confidence)} %"
    if result.budget is None:
        return "not known"
    if result.plan_for_qps is None:
        return f"[bold yellow]no load meets {bound} with {confident} probability[/]"
    return f"[bold]{plan_interval(result.budget)}[/]: {bound} with {confident} probability"
