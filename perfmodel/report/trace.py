"""The terminal page of `perfplan trace show`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.observe.estimated import Estimated
from perfmodel.planning.observe.traffic import ArrivalFit, Distribution, TrafficSummary
from perfmodel.report.tables import number


def trace_page(found: TrafficSummary) -> RenderableType:
    """What a file is, its traffic, and what was left out."""
    recording = found.recording
    parts: list[RenderableType] = [
        f"[bold]{recording.path.name}[/]: {recording.format}; it gives {', '.join(recording.gives)}"
    ]
    if recording.time_unit:
        parts.append(f"times: {recording.time_unit} ({recording.time_reason})")
    parts.append("")
    if found.rate_qps is not None and found.num_queries is not None:
        parts.append(
            f"rate {estimated(found.rate_qps)} queries/s: {found.num_queries:,.0f} queries in "
            f"{number(found.span_s, 4)} s"
        )
    if found.gap_cv is not None:
        parts.append(f"gaps: coefficient of variation {number(found.gap_cv)} (1 of a Poisson process)")
    if found.dispersions:
        parts.append(_dispersions(found))
    if found.fit is not None:
        parts += process_lines(found.fit)
    if found.sizes is not None:
        parts += [*([""] if parts[-1] else []), f"sizes [items]: {law(found.sizes)}"]
    if found.latencies is not None:
        parts += ["", f"latencies (unit of the file): {law(found.latencies)}"]
    parts += [f"left out: {', '.join(recording.ignored)}"] if recording.ignored else []
    parts += [f"note: {note}" for note in recording.notes]
    return Group(*parts)


def _dispersions(found: TrafficSummary) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("window", justify="right")
    table.add_column("index of dispersion", justify="right")
    table.add_column("windows", justify="right")
    for each in found.dispersions:
        table.add_row(f"{each.window_s:g} s", number(each.index), f"{each.windows:,}")
    return table


def process_lines(fit: ArrivalFit) -> list[str]:
    """Which process arrivals are, why, and its bursts."""
    words = {
        "poisson": "a Poisson process",
        "mmpp": "calm and bursts (mmpp)",
        "trace": "neither: replay the trace",
    }
    lines = [f"process: {words[fit.process]}; {fit.why}"]
    if fit.bursts is not None:
        lines.append(
            f"bursts: {estimated(fit.bursts.factor)} times the rate of calm, "
            f"{estimated(fit.bursts.fraction)} of the time, {estimated(fit.bursts.mean_s)} s long"
        )
    return lines


def estimated(value: Estimated, digits: int = 4) -> str:
    """A value with its 95 % interval."""
    ends = f"[{number(value.low, digits)}, {number(value.high, digits)}]"
    return f"{number(value.value, digits)} {ends}"


def law(found: Distribution) -> str:
    """A law in a line."""
    return (
        f"mean {number(found.mean, 4)}, std {number(found.std)}, min {number(found.least, 4)}, "
        f"p50 {number(found.p50, 4)}, p95 {number(found.p95, 4)}, p99 {number(found.p99, 4)}, "
        f"max {number(found.greatest, 4)}; {found.distinct:,} distinct of {found.count:,.0f}"
    )
