"""The terminal page of `perfplan tune` for a pipeline."""

from __future__ import annotations

from rich.console import Group, RenderableType

from perfmodel.planning.tune_stages.answer import StageTuning, TriedPlacement
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import as_asked, number

MOST_ROWS = 12
"""Of what was tried; the JSON has all."""


def stage_tuning_page(result: StageTuning) -> RenderableType:
    """The best placement beside the file's, then what else was tried."""
    sla = result.question.sla
    bound = f"p{100 * sla.percentile:g} within {as_asked(sla.latency_ms)} ms"
    best = result.tuned
    if best.latency_bounded_qps is None:
        return Group(f"[bold red]no placement meets {bound} at any load[/]")
    where = "; ".join(
        f"{stage.name} on {on}: {stage.node.where}{_card(stage.node.accelerator)}"
        for stage, on in zip(result.best.stages, best.placement.on, strict=True)
    )
    gain = "" if result.gain is None else f", {number(result.gain)} times what the file says"
    parts = f"{best.placement.sub_batches} part{'s' if best.placement.sub_batches > 1 else ''} a query"
    known = [each for each in result.tried if each.latency_bounded_qps is not None]
    known.sort(key=lambda each: -(each.latency_bounded_qps or 0.0))
    out = [each for each in result.tried if each.reason is not None]
    ruled_out = len(result.tried) - len(known) - len(out)
    columns = [
        Column(heading="placement", is_name=True),
        Column(heading="parts", right=True),
        Column(heading="queries/s", right=True),
        Column(heading="W", right=True, leaves=1),
        Column(heading="queries/s/W", right=True, leaves=2),
    ]
    return Group(
        f"[bold]{result.question.name}[/]: {bound}",
        f"[bold green]{number(best.latency_bounded_qps, 4)} queries/s[/] with {parts}{gain}",
        where,
        "",
        FittingTable(
            columns, [_row(result.static), _row(best)], "as written, and the best, by a long sample"
        ),
        "",
        FittingTable(columns, [_row(each) for each in known[:MOST_ROWS]], "tried, by a short sample"),
        f"{ruled_out} more could not reach the best so far"
        + (f"; {len(out)} lie outside the calibrated range" if out else ""),
        "",
        *(f"note: {note}" for note in result.best.node_notes),
    )


def _card(card: object) -> str:
    return "" if card is None else " with a card"


def _row(tried: TriedPlacement) -> list[str]:
    return [
        " + ".join(tried.placement.on),
        str(tried.placement.sub_batches),
        number(tried.latency_bounded_qps, 4),
        number(tried.tdp_w),
        number(tried.qps_per_w),
    ]
