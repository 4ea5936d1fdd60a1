"""The terminal page of `perfplan capacity`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.capacity.answer import Capacity
from perfmodel.report.error_budget import rate_band, rate_interval, sensitivity
from perfmodel.report.tables import assumption_lines, node_words, number, times_of
from perfmodel.units import MS


def capacity_page(result: Capacity) -> RenderableType:
    """The rate with its interval, then what that load looks like and how far the cliff is."""
    question, node = result.question, result.question.node
    sla = question.sla
    bound = f"p{100 * sla.percentile:g} within {number(sla.latency_ms)} ms"
    head = f"{node_words(node)}\n{times_of(question)}"
    greatest, at = result.greatest, result.at_capacity
    if greatest is None or at is None:
        return Group(head, f"[bold red]{result.reason}[/]")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    rate = greatest.rate_qps
    table.add_row("plan for", _plan(result, bound))
    table.add_row("largest load", f"{rate_interval(greatest)}, {bound}: as likely too high as too low")
    if result.budget is not None and result.budget.band_qps is not None:
        table.add_row("calibration", rate_band(result.budget.band_qps, result.errors))
    table.add_row("items", f"{number(rate * question.traffic.size_pmf.mean_items, 4)} items/s")
    for percentile, latency in at.run.percentiles.items():
        table.add_row(f"p{100 * percentile:g} there", f"{number(latency.value_s / MS, 4)} ms")
    used = f"{number(100 * at.cpu_utilisation)} % of the cores"
    if at.accelerator_utilisation is not None:
        used += f", {number(100 * at.accelerator_utilisation)} % of the accelerators"
    table.add_row("utilisation there", used)
    table.add_row("sensitivity there", sensitivity(at.latency_budget, result.budget))
    limit = (
        f"{number(result.saturation_qps, 4)} queries/s fill the {result.bottleneck} with all executors busy"
    )
    table.add_row("saturation", f"{limit}; this is {number(100 * rate / result.saturation_qps)} % of it")
    if node.tdp_w is not None:
        per_w = number(rate / node.tdp_w)
        table.add_row("power, static TDP", f"{number(node.tdp_w)} W: {per_w} queries/s/W")
    if at.load_power_w:
        per_w = number(rate / at.load_power_w)
        table.add_row("power, by utilisation", f"{number(at.load_power_w)} W: {per_w} queries/s/W")
    notes = [f"note: {note}" for note in at.notes]
    interval_note = (
        f"[low, high]: 95 % confidence of the simulation, {greatest.num_queries:,} queries at each rate"
    )
    return Group(head, "", table, "", interval_note, *notes, *assumption_lines(node.assumptions))


def _plan(result: Capacity, bound: str) -> str:
    """The load that meets the SLA with its confidence: what a planner needs, and so first."""
    confident = f"{number(100 * result.question.sla.confidence)} %"
    if result.budget is None:
        return "not known"
    if result.plan_for_qps is None:
        return f"[bold yellow]no load meets {bound} with {confident}[/]"
    return f"[bold]{number(result.plan_for_qps, 4)} queries/s[/]: {bound} with {confident}"
