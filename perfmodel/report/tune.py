"""The terminal page of `perfplan tune`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from perfmodel.planning.tune.answer import OperatingPoint, Tried, TuneAnswer, Tuning
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import as_asked, node_words, number, times_of
from perfmodel.units import MS

FLAT = 0.05


def tune_page(answer: TuneAnswer) -> RenderableType:
    """What to set and what it gains, the curves through the optimum, and whether the climb finds it."""
    node, tuning = answer.question.node, answer.tuning
    with_cards = f" with {node.num_accelerators} x {node.accelerator.name}" if node.accelerator else ""
    head = f"{node_words(node)}{with_cards}\n{times_of(answer.question)}"
    if tuning.exhaustive.latency_bounded_qps is None:
        return Group(head, f"[bold red]no configuration meets {_bound(tuning)} at any load[/]")
    parts: list[RenderableType] = [head, _verdict(tuning), f"  {_paste(answer)}", "", _points(tuning), ""]
    parts += [_curve("queries/s by batch size", tuning.by_batch, tuning, axis="batch")]
    parts += [_flatness(tuning.by_batch, "batch sizes", axis="batch")]
    if answer.grid.thresholds:
        parts += ["", _curve("queries/s by offload threshold", tuning.by_threshold, tuning, axis="threshold")]
        parts += [_flatness(tuning.by_threshold, "thresholds", axis="threshold")]
    if answer.grid.joins:
        parts += ["", _curve("queries/s by timeout", tuning.by_timeout, tuning, axis="ms waited")]
        parts += [_flatness(tuning.by_timeout, "timeouts [ms]", axis="ms waited")]
    if len(answer.by_threads) > 1:
        parts += ["", _workers(answer)]
    if len(answer.levels) > 1:
        parts += ["", _levels(answer)]
    parts += ["", *_notes(answer)]
    return Group(*parts)


def _bound(tuning: Tuning) -> str:
    return f"p{100 * tuning.sla.percentile:g} within {as_asked(tuning.sla.latency_ms)} ms"


def _setting(point: OperatingPoint) -> str:
    if point.timeout_ms is not None:
        return f"batches of {point.batch_size} items, waited for {as_asked(point.timeout_ms)} ms"
    threshold = point.offload_threshold_items
    offload = "" if threshold is None else f", queries of {threshold} items and more to the accelerator"
    return f"batch size {point.batch_size}{offload}"


def _workers_setting(tuning: Tuning) -> str:
    node = tuning.node
    return f", {node.num_workers} workers of {node.threads} threads" if node.threads > 1 else ""


def _verdict(tuning: Tuning) -> str:
    best = tuning.exhaustive
    gain = "" if tuning.gain is None else f", {number(tuning.gain)} x {_baseline(tuning)}"
    carried = f"{number(best.latency_bounded_qps, 4)} queries/s"
    return f"[bold green]{_setting(best)}{_workers_setting(tuning)}[/]: {carried}{gain}, {_bound(tuning)}"


def _baseline(tuning: Tuning) -> str:
    return "the static baseline" if tuning.static.timeout_ms is None else "what the scenario says"


def _second(point: OperatingPoint) -> str:
    """The setting beside the batch size: a threshold, or a timeout."""
    if point.timeout_ms is not None:
        return as_asked(point.timeout_ms)
    return "–" if point.offload_threshold_items is None else str(point.offload_threshold_items)


def _paste(answer: TuneAnswer) -> str:
    return " ".join(f"--set {setting}" for setting in answer.settings)


def _points(tuning: Tuning) -> FittingTable:
    """The three answers; on a narrow page first gain per W goes, then queries/s/W."""
    leaving = {"gain per W": 1, "queries/s/W": 2}
    joins = tuning.static.timeout_ms is not None
    second = "ms waited" if joins else "threshold"
    headings = ("", "batch", second, "queries/s", "queries/s/W", "gain", "gain per W")
    columns = [Column(heading=each, right=bool(each), leaves=leaving.get(each, 0)) for each in headings]
    shown = []
    static = "as written" if joins else "static"
    rows = ((static, tuning.static), ("hill climb", tuning.climb), ("exhaustive", tuning.exhaustive))
    for name, point in rows:
        shown.append(
            [
                name,
                str(point.batch_size),
                _second(point),
                number(point.latency_bounded_qps, 4),
                number(point.qps_per_w),
                number(_over(point.latency_bounded_qps, tuning.static.latency_bounded_qps)),
                number(_over(point.qps_per_w, tuning.static.qps_per_w)),
            ]
        )
    return FittingTable(columns, shown)


def _curve(title: str, curve: Sequence[Tried], tuning: Tuning, *, axis: str) -> FittingTable:
    """One bar a configuration, the optimum marked."""
    columns = [
        Column(heading=axis, right=True),
        Column(heading="queries/s", right=True),
        Column(heading="", is_bar=True, leaves=1),
    ]
    rows = []
    most = max(tried.latency_bounded_qps or 0.0 for tried in curve)
    for tried in curve:
        qps = tried.latency_bounded_qps
        best = tried.configuration == tuning.exhaustive.configuration
        bar = f"{'green' if best else 'blue'} {(qps or 0.0) / most:.4f}"
        meaning = "no load meets the SLA" if qps is None and tried.below_qps is None else number(qps, 4)
        rows.append([_axis_label(tried, axis), meaning, bar])
    return FittingTable(columns, rows, title)


def _axis_label(tried: Tried, axis: str) -> str:
    configuration = tried.configuration
    if axis == "batch":
        return str(configuration.batch_size)
    if configuration.timeout_ms is not None:
        return as_asked(configuration.timeout_ms)
    threshold = configuration.offload_threshold_items
    return "none" if threshold is None else str(threshold)


def _flatness(curve: Sequence[Tried], what: str, *, axis: str) -> str:
    """Say which settings are nearly as good: how much a mistake costs."""
    most = max(tried.latency_bounded_qps or 0.0 for tried in curve)
    near = [
        _axis_label(tried, axis)
        for tried in curve
        if (tried.latency_bounded_qps or 0.0) >= (1.0 - FLAT) * most
    ]
    if len(near) == 1:
        return f"a sharp optimum: every other of these {what} loses more than {100 * FLAT:g} %"
    return f"within {100 * FLAT:g} % of the best: {what} {', '.join(near)}"


def _workers(answer: TuneAnswer) -> FittingTable:
    title = "by processes x threads"
    columns = [Column(heading=heading, right=True) for heading in ("workers", "batch", "queries/s")]
    columns.append(Column(heading="", is_bar=True, leaves=1))
    rows = []
    most = max(tuning.exhaustive.latency_bounded_qps or 0.0 for tuning in answer.by_threads.values())
    for threads, tuning in answer.by_threads.items():
        best, chosen = tuning.exhaustive, threads == answer.tuning.node.threads
        bar = f"{'green' if chosen else 'blue'} {(best.latency_bounded_qps or 0.0) / most:.4f}"
        workers = f"{tuning.node.num_workers} x {threads}"
        rows.append([workers, str(best.batch_size), number(best.latency_bounded_qps, 4), bar])
    return FittingTable(columns, rows, title)


def _levels(answer: TuneAnswer) -> FittingTable:
    """A row a level; on a narrow page the last three columns go, from the right."""
    headings: tuple[str, ...] = (
        "SLA",
        "ms",
        "batch",
        "threshold",
        "queries/s",
        "static",
        "gain",
        "gain per W",
        "climb misses",
    )
    if answer.grid.joins:
        headings = tuple("ms waited" if each == "threshold" else each for each in headings)
    leaving = {"climb misses": 1, "gain per W": 2, "static": 3}
    columns = [Column(heading=each, right=each != "SLA", leaves=leaving.get(each, 0)) for each in headings]
    rows = []
    for level, tuning in answer.levels.items():
        best = tuning.exhaustive
        rows.append(
            [
                level,
                as_asked(tuning.sla.latency_ms),
                str(best.batch_size),
                _second(best),
                number(best.latency_bounded_qps, 4),
                number(tuning.static.latency_bounded_qps, 4),
                number(tuning.gain),
                number(tuning.gain_per_w),
                "–" if tuning.climb_shortfall is None else f"{100 * tuning.climb_shortfall:.1f} %",
            ]
        )
    return FittingTable(columns, rows, "by SLA")


def _notes(answer: TuneAnswer) -> list[str]:
    tuning, outside = answer.tuning, answer.question.traffic.outside
    added = (
        [] if outside is None else [f"{number(outside.mean_s / MS)} ms of every latency are outside the node"]
    )
    found = (
        "found the optimum"
        if tuning.climb_found_optimum
        else (
            "ended elsewhere"
            if tuning.climb_shortfall is None
            else f"missed {100 * tuning.climb_shortfall:.1f} % of the optimum's queries/s"
        )
    )
    queries = f"{number(answer.simulated_queries / 1e6)} million queries simulated"
    return [
        f"hill climb: {len(tuning.climbed)} steps, {found}; exhaustive: {len(tuning.tried)} configurations, "
        f"the same arrivals for all",
        f"{queries}; {tuning.exhaustive.num_queries:,} behind each of the three results, "
        "fewer behind the curves",
        (
            f"static baseline: batch {tuning.static.batch_size}, CPU only"
            if tuning.static.timeout_ms is None
            else "the baseline is what the scenario says"
        )
        + "; power is static TDP, the accelerator's only where it is used",
        *added,
        *answer.notes,
    ]


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base
