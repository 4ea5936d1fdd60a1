"""The terminal page of `perfplan mlperf`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.mlperf.answer import MlperfAnswer
from perfmodel.report.error_budget import (
    deciding_lines,
    error_source,
    probability,
    rate_band,
    rate_interval,
)
from perfmodel.report.tables import assumption_lines, interval_ms, node_words, number, times_of

RESULTS = {
    "VALID": "[bold green]VALID[/]",
    "INVALID": "[bold red]INVALID[/]",
    "undecided": "[bold yellow]cannot tell whether VALID or INVALID[/]",
}


def mlperf_page(result: MlperfAnswer) -> RenderableType:
    """LoadGen's result with its probability, the run behind it, and the largest valid rate."""
    question, target = result.question, result.target
    what = f"{target.model}, {target.scenario}, at a target of {number(result.target_qps, 5)} {_unit(result)}"
    reason = "" if result.reason is None else f"; {result.reason}"
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for label, said in (*_run(result), *_largest(result)):
        table.add_row(label, said)
    notes = [f"note: {note}" for note in result.notes]
    return Group(
        node_words(question.node),
        times_of(question),
        f"{RESULTS[result.result]}: {what}{reason}",
        f"probability of VALID {probability(result.valid_probability)}",
        *deciding_lines(result.judgement.deciding),
        "",
        table,
        "",
        error_source(question.node, result.errors),
        *notes,
        *assumption_lines(question.node.assumptions),
    )


def _unit(result: MlperfAnswer) -> str:
    return "queries/s" if result.target.scenario == "Server" else "samples/s"


def _run(result: MlperfAnswer) -> list[tuple[str, str]]:
    """The run that LoadGen makes, and what is expected of it."""
    target = result.target
    length = "" if result.run_s is None else f" in {number(result.run_s, 4)} s"
    least = f"at least {target.min_queries:,} and {number(target.min_duration_s, 4)} s"
    lines = [("a run", f"{result.run_queries:,} {_unit(result).removesuffix('/s')}{length} ({least})")]
    if target.latency_s is None or result.run is None:
        return lines
    bound = f"p{100 * target.percentile:g} within {number(1e3 * target.latency_s)} ms"
    allowed = f"at most {result.most_late or 0:,} of them"
    if result.most_late is None:
        allowed = "no number of them, the run is too short"
    lines.append(("may be late", f"{allowed} ({bound}, early stopping at 99 %)"))
    if result.expected_late is not None:
        share = number(100.0 * result.expected_late / result.run_queries)
        lines.append(("expected late", f"{number(result.expected_late, 4)}, {share} %"))
    lines += [
        (f"p{100 * percentile:g}", interval_ms(interval))
        for percentile, interval in result.run.percentiles.items()
        if percentile in (0.5, 0.95, 0.99, 0.999)
    ]
    return lines


def _largest(result: MlperfAnswer) -> list[tuple[str, str]]:
    """The largest valid rate, or the score, with what is open of it."""
    unit, confident = _unit(result), f"{number(100 * result.judgement.confidence)} %"
    if result.largest is None:
        return [("largest valid rate", "none")]
    rate = rate_interval(result.largest).replace("queries/s", unit)
    label = "largest valid rate" if unit == "queries/s" else "throughput, the score"
    lines = [(label, f"[bold]{rate}[/]: as likely too high as too low")]
    planned = result.plan_for_qps
    said = "no rate is VALID" if planned is None else f"{number(planned, 4)} {unit}"
    lines.append((f"with {confident}", said))
    if result.budget is not None and result.budget.band_qps is not None:
        band = rate_band(result.budget.band_qps, result.errors).replace("queries/s", unit)
        lines.append(("it may be", band))
    if result.least_target_qps is not None:
        lines.append(("VALID from", f"a target of {number(result.least_target_qps, 4)} {unit} up"))
    return lines
