"""The terminal page of `perfplan map`."""

from __future__ import annotations

from rich.console import Group, RenderableType

from perfmodel.domain.estimate import Basis
from perfmodel.planning.platforms.answer import Cell, Compared, DeviceMap
from perfmodel.report.error_budget import probability
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import number
from perfmodel.units import MS

EXTRAPOLATED = "*"
"""Marks a time outside the calibrated range."""


def map_page(result: DeviceMap) -> RenderableType:
    """The best device by model and batch size, then every device's time, or worth."""
    what = "fastest" if result.by == "latency" else "most efficient"
    models, devices = ", ".join(result.models), ", ".join(result.devices)
    head = f"[bold]the {what} of {devices}[/] for {models}"
    columns = [
        Column(heading="model", is_name=True),
        Column(heading="batch", right=True),
        Column(heading=what, is_name=True),
        Column(heading="over the second", right=True),
        Column(heading="second", is_name=True, leaves=2),
        Column(heading="probability", right=True, leaves=1),
    ]
    table = FittingTable(columns, [_row(row) for row in result.rows])
    unit = "ms" if result.by == "latency" else "items/s/W"
    all_columns = [
        Column(heading="model", is_name=True),
        Column(heading="batch", right=True),
        *(Column(heading=name, right=True) for name in result.devices),
    ]
    cells = [
        [row.model, str(row.batch_size), *(_cell(cell, result) for cell in row.cells)] for row in result.rows
    ]
    extrapolated = []
    if result.num_extrapolated:
        extrapolated = [f"{EXTRAPOLATED} {result.num_extrapolated} times outside the calibrated range"]
    return Group(
        head,
        *(f"times on {words}" for words in result.service_times_of),
        "",
        table,
        "",
        FittingTable(all_columns, cells, f"every device [{unit}]"),
        "",
        *extrapolated,
        *(f"note: {note}" for note in result.notes),
    )


def _row(row: Compared) -> list[str]:
    if row.best is None:
        return [row.model, str(row.batch_size), "none", "–", "–", "–"]
    second = "–" if row.second is None else row.second.device
    factor = "–" if row.factor is None else f"{number(row.factor)} x"
    mark = EXTRAPOLATED if row.is_extrapolated else ""
    likely = "–" if row.probability is None else probability(row.probability)
    return [row.model, str(row.batch_size), row.best.device + mark, factor, second, likely]


def _cell(cell: Cell, result: DeviceMap) -> str:
    if cell.seconds is None:
        return "–"
    value = cell.seconds / MS if result.by == "latency" else cell.worth
    return number(value, 4) + (EXTRAPOLATED if cell.basis is Basis.EXTRAPOLATED else "")
