"""The terminal page of `perfplan observe`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.observe.answer import Observation
from perfmodel.planning.observe.drift import LEVEL, Drift
from perfmodel.planning.observe.times import ServiceRow
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import number
from perfmodel.report.trace import estimated, law, process_lines
from perfmodel.units import MS

MOST_ROWS = 12
"""Of the table of service times that a page shows; the file has all."""

LEAST_SHOWN = 1e-4
"""A share below it is said to be below it. [1]"""


def observe_page(found: Observation) -> RenderableType:
    """Traffic, node, replay, what it would carry, and whether the load has drifted."""
    log = found.log
    recording = log.recording
    parts: list[RenderableType] = []
    if found.drift is not None:
        parts += [_verdict(found.drift), ""]
    parts += [
        f"[bold]{recording.path.name}[/]: {recording.format}; {len(log.query_arrival_s):,} queries in "
        f"{number(log.span_s, 4)} s",
        f"times: {recording.time_unit} ({recording.time_reason})",
        "",
        f"rate {estimated(found.arrivals.rate_qps)} queries/s",
        *process_lines(found.arrivals),
        f"sizes [items]: {law(found.sizes.law)}; {found.sizes.why}",
        "",
        _executors(found),
        f"utilisation {100 * found.utilisation:.1f} %",
        *_service(found),
        "",
        "[bold]replayed[/]: the table's times, the log's arrivals; measured, and the simulation's error",
        _windows(found),
        "",
        *_carried(found),
    ]
    if found.drift is not None:
        parts += ["", _tests(found.drift), *(f"not compared: {note}" for note in found.drift.notes)]
    parts += [f"left out: {', '.join(recording.ignored)}"] if recording.ignored else []
    parts += [f"note: {note}" for note in found.notes]
    return Group(*parts)


def _verdict(drift: Drift) -> str:
    if not drift.drifted:
        return f"[bold green]no drift[/] from {drift.scenario}, at {100 * LEVEL:g} % over all tests"
    return f"[bold red]drifted[/] from {drift.scenario}: {', '.join(drift.drifted)}"


def _executors(found: Observation) -> str:
    executors = found.executors
    least = "" if executors.exact else "at least "
    return f"executors: {least}{executors.number} ({executors.why})"


def _service(found: Observation) -> list[RenderableType]:
    times = found.times
    rows = times.rows
    table = Table(box=None, pad_edge=False)
    for heading in (
        "items",
        *(["busy"] if rows[0].busy is not None else []),
        "ms",
        "95 %",
        "std",
        "p99",
        "requests",
    ):
        table.add_column(heading, justify="right")
    for row in _some(rows):
        table.add_row(
            str(row.items),
            *([str(row.busy)] if row.busy is not None else []),
            number(row.service_s.value / MS, 4),
            f"[{number(row.service_s.low / MS, 4)}, {number(row.service_s.high / MS, 4)}]",
            number(row.std_s / MS),
            number(row.p99_s / MS, 4),
            f"{row.count:,}",
        )
    lines: list[RenderableType] = [
        f"service times: {len(rows)} rows, each known to {_percent(times.row_error)}, all together to "
        f"{_percent(times.relative_error)}",
        table,
    ]
    law_of = {
        None: "none to speak of",
        "lognormal": "log-normal",
        "factors": "no log-normal law: its factors",
    }
    kind = None if times.scatter is None else times.scatter.distribution
    lines.append(f"scatter: {law_of[kind]}, relative standard deviation {estimated(times.relative_std, 3)}")
    if times.pauses is None:
        lines.append("pauses: none stand out")
    else:
        pauses = times.pauses
        who = "an executor" if pauses.scope == "executor" else "the whole node"
        lines.append(
            f"pauses: {pauses.seen:,} of {who}, {estimated(pauses.rate_per_s, 3)} a second of work, "
            f"{number(pauses.length_s.value / MS)} ms long ({pauses.lengths})"
        )
    return lines


def _some(rows: Sequence[ServiceRow]) -> list[ServiceRow]:
    """As many rows as a page shows, evenly taken, both ends included."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    last = len(rows) - 1
    return [rows[round(index * last / (MOST_ROWS - 1))] for index in range(MOST_ROWS)]


def _windows(found: Observation) -> FittingTable:
    columns = [
        Column(heading="window", is_name=True),
        Column(heading="queries", right=True, leaves=3),
        *(
            Column(heading=f"{heading} ms (error)", right=True, leaves=leaves)
            for heading, leaves in (("mean", 2), ("p50", 1), ("p95", 0), ("p99", 0))
        ),
    ]
    rows = []
    for index, window in enumerate(found.windows):
        name = "all" if index == 0 else f"{number(window.from_s, 4)} to {number(window.to_s, 4)} s"
        cells = [
            "–"
            if real is None
            else number(real / MS, 4) + ("" if error is None else f" ({100 * error:+.1f} %)")
            for real, error in zip(window.measured_s, window.errors, strict=True)
        ]
        rows.append([name, f"{window.queries:,}", *cells])
    return FittingTable(columns, rows)


def _carried(found: Observation) -> list[str]:
    sla = f"p{100 * found.sla.percentile:g} within {found.sla.latency_ms:g} ms"
    if found.plan_for_qps is None:
        return [f"no load to plan for: {sla} is not met with confidence at any rate"]
    lines = [f"plan for {number(found.plan_for_qps, 4)} queries/s ({sla})"]
    tested = found.backtest
    if tested is not None:
        lines.append(
            f"backtest: had the node been loaded to that, {tested.missed:,} of {tested.minutes:,} minutes "
            "would have missed the SLA (all gaps of the log scaled alike; "
            f"p{100 * found.sla.percentile:g} {number(tested.percentile_s / MS, 4)} ms)"
        )
    return lines


def _tests(drift: Drift) -> FittingTable:
    columns = [
        Column(heading="compared", is_name=True),
        *(Column(heading=heading, right=True) for heading in ("log", "scenario", "effect")),
        Column(heading="tolerance", right=True, leaves=2),
        Column(heading="p", right=True, leaves=1),
        Column(heading=""),
    ]
    rows = [
        [
            test.subject,
            number(test.log, 4),
            number(test.scenario, 4),
            _percent(test.effect),
            _percent(test.tolerance),
            number(test.p_value, 2),
            "drifted" if test.drifted else "",
        ]
        for test in drift.tests
    ]
    return FittingTable(columns, rows)


def _percent(share: float) -> str:
    """In per cent, to two digits; nobody reads what is below a hundredth."""
    return "< 0.01 %" if 0.0 < share < LEAST_SHOWN else f"{number(100 * share, 2)} %"
