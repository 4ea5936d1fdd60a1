"""The terminal page of `perfplan latency`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from perfmodel.planning.breakdown import LatencyTable
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import assumption_lines, number, operator_table
from perfmodel.units import MS


def latency_pages(results: Sequence[LatencyTable]) -> RenderableType:
    """The pages of several devices, one below the other."""
    first, *others = (latency_page(result) for result in results)
    return Group(first, *(part for page in others for part in ("", page)))


def latency_page(result: LatencyTable) -> RenderableType:
    """Latency by batch, then where the largest batch's time goes."""
    beside = f", {result.co_located} copies on one socket" if result.co_located > 1 else ""
    where = result.device if result.stack is None else f"{result.device} ({result.stack})"
    if result.busy is not None:
        beside = (
            f", {result.busy} executors of the node at work" if result.busy > 1 else ", alone on the node"
        )
    title = f"[bold]{where if result.model is None else f'{result.model} on {where}'}{beside}[/]"
    left_out = f", without {', '.join(result.without)}" if result.without else ""
    columns = [Column(heading=each, right=True) for each in ("batch", "ms", "us/item")]
    columns += [Column(heading="basis", leaves=2), Column(heading="", is_bar=True, leaves=1)]
    most_us, rows = max(1e6 * row.seconds / row.batch_size for row in result.rows), []
    for row in result.rows:
        per_item_us = 1e6 * row.seconds / row.batch_size
        figures = [str(row.batch_size), number(row.seconds / MS, 4), number(per_item_us, 4)]
        rows.append([*figures, row.basis.label, f"{per_item_us / most_us:.4f}"])
    table = FittingTable(columns, rows)
    last = max(result.rows, key=lambda row: row.batch_size)
    operators = operator_table(f"where batch {last.batch_size} spends its time", last.operators)
    said = f"times: {result.service_times_of}{left_out}"
    notes = [f"note: {note}" for note in result.notes]
    shown: list[RenderableType] = ["", operators] if last.operators else []
    return Group(title, said, "", table, *shown, "", *notes, *assumption_lines(result.assumptions))
