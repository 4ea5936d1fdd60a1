"""The terminal page of `perfplan capacity`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.capacity import Capacity
from perfmodel.report.tables import assumption_lines, number
from perfmodel.units import MS


def capacity_page(result: Capacity) -> RenderableType:
    """The rate with its interval, then what that load looks like and how far the cliff is."""
    question, node = result.question, result.question.node
    sla = question.sla
    bound = f"p{100 * sla.percentile:g} within {number(sla.latency_ms)} ms"
    head = f"[bold]{node.model.name}[/] on {node.cores} cores of {node.cpu.name} ({node.cpu.stack})"
    rate, interval, at = result.latency_bounded_qps, result.ci95_qps, result.at_capacity
    if rate is None or at is None:
        return Group(head, f"[bold red]{result.reason}[/]")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    known = "" if interval is None else f" \\[{number(interval[0], 4)}, {number(interval[1], 4)}]"
    table.add_row("largest load", f"{number(rate, 4)} queries/s{known}, {bound}")
    table.add_row("items", f"{number(rate * question.traffic.size_pmf.mean_items, 4)} items/s")
    for percentile, latency in at.run.percentiles.items():
        table.add_row(f"p{100 * percentile:g} there", f"{number(latency.value_s / MS, 4)} ms")
    used = f"{number(100 * at.cpu_utilisation)} % of the cores"
    if at.accelerator_utilisation is not None:
        used += f", {number(100 * at.accelerator_utilisation)} % of the accelerators"
    table.add_row("utilisation there", used)
    limit = (
        f"{number(result.saturation_qps, 4)} queries/s fill the {result.bottleneck} with all executors busy"
    )
    table.add_row("saturation", f"{limit}; this is {number(100 * rate / result.saturation_qps)} % of it")
    table.add_row("power, static TDP", f"{number(node.tdp_w)} W: {number(rate / node.tdp_w)} queries/s/W")
    if at.load_power_w:
        per_w = number(rate / at.load_power_w)
        table.add_row("power, by utilisation", f"{number(at.load_power_w)} W: {per_w} queries/s/W")
    notes = [f"note: {note}" for note in at.notes]
    interval_note = "\\[low, high]: 95 % confidence of the simulation; the calibration's error comes on top"
    return Group(head, "", table, "", interval_note, *notes, *assumption_lines(node.assumptions))
