"""The stages of a pipeline at a load, as a table of a terminal page."""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.planning.stage_figures import StageFigures
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import number
from perfmodel.units import MS


def stage_table(figures: Sequence[StageFigures]) -> FittingTable:
    """One row a stage: what reaches it, how busy it is, and how long a part of a query is in it."""
    columns = [
        Column(heading="stage", is_name=True),
        Column(heading="on", is_name=True, leaves=3),
        Column(heading="items", right=True),
        Column(heading="a part", right=True, leaves=2),
        Column(heading="busy", right=True),
        Column(heading="mean ms", right=True, leaves=1),
        Column(heading="p95 ms", right=True),
        Column(heading="p99 ms", right=True),
    ]
    return FittingTable(columns, [_row(each) for each in figures], "stages, each by itself")


def _row(each: StageFigures) -> list[str]:
    node, found = each.stage.node, each.percentiles_s
    busy = each.offered if each.utilisation is None else each.utilisation
    used = f"{number(100 * busy.cpu)} %"
    if node.num_accelerators:
        used += f" + {number(100 * busy.accelerator)} %"
    card = "" if node.accelerator is None else f" + {node.num_accelerators} x {node.accelerator.name}"
    times = [
        None if value is None else value / MS for value in (each.mean_s, found.get(0.95), found.get(0.99))
    ]
    return [
        each.stage.name,
        f"{node.where}{card}",
        "all" if each.stage.most_items is None else f"best {each.stage.most_items}",
        number(each.mean_items),
        used,
        *(number(time, 4) for time in times),
    ]
