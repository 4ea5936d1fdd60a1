"""The terminal page of `perfplan validate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from calibration.validation.anchor import Anchor
from calibration.validation.capacity import CapacityCheck
from calibration.validation.comparison import Comparison, was_taken
from calibration.validation.own_module import AloneRow
from calibration.validation.stops import Stops
from calibration.validation.summary import PERCENTILES, Summary, errors_percent
from calibration.validation.unsteadiness import Unsteadiness
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import number
from perfmodel.units import MS


def comparison_page(result: Comparison, capacity: CapacityCheck | None, settings: str) -> RenderableType:
    """Predicted, measured, signed errors; then service times by size, and how still the machine was."""
    node = result.question.serving_node
    head = (
        f"[bold]{node.model.name}[/] on {node.num_workers} workers here, predicted by {node.cpu.name} "
        f"({node.cpu.stack}): {result.num_queries} queries at {number(result.offered_qps, 4)}/s"
    )
    if result.is_disturbed:
        head += f"\n[bold yellow]disturbed, measure again[/]: {_disturbed(result)}"
    lines = [_capacity_line(capacity)] if capacity is not None else []
    lines += [*_state_lines(result), settings]
    tables: list[RenderableType] = [_batches("service time by request size", result.by_batch), ""]
    if result.by_launch:
        tables += [_batches("on the accelerator", result.by_launch), ""]
    if result.by_length:
        tables += [_lengths(result.by_length), ""]
    return Group(head, "", _figures(result), "", *tables, *lines)


def _disturbed(result: Comparison) -> str:
    """Why a run says nothing of the prediction."""
    found = result.unsteadiness
    if was_taken(found, known=bool(result.question.serving_node.pauses)):
        share = number(100 * found.taken_share, 2)
        return (
            f"other programs took cores away, for {share} % of the time that they worked, so that what was "
            "measured is as much theirs"
        )
    return (
        "the queue misses as far with the run's own service times as with the predicted ones, so that "
        "neither says anything of the prediction"
    )


def alone_page(module: str, rows: Sequence[AloneRow]) -> RenderableType:
    """What module was served, and single passes of it."""
    table = Table(title="one pass, nothing beside it", title_justify="left", box=None, pad_edge=False)
    for heading in ("items", "measured [ms]", "predicted [ms]", "error"):
        table.add_column(heading, justify="right")
    for row in rows:
        values = row.to_dict()
        table.add_row(
            f"{row.batch_size}",
            number(values["measured_ms"]),
            number(values["predicted_ms"]),
            signed(values["error_percent"]),
        )
    return Group(f"served: {module}", "", table)


def signed(percent: float | None) -> str:
    """An error with its sign, in per cent."""
    return "–" if percent is None else f"{percent:+.1f} %"


def _figures(result: Comparison) -> FittingTable:
    """Measured, predicted, and what the prediction is at the utilisation that was measured."""
    columns = [
        Column(heading=""),
        *(Column(heading=heading, right=True) for heading in ("measured", "predicted", "error")),
        Column(heading="at equal utilisation", right=True, leaves=1),
    ]
    table = []
    plain = errors_percent(result.predicted, result.measured)
    equal = errors_percent(result.equal_utilisation, result.measured)
    rows = [_values(one) for one in (result.measured, result.predicted, result.equal_utilisation)]
    offloads = result.measured.accelerator_service_time_s is not None
    for key, label in (_LABELS | (_OFFLOADED if offloads else {})).items():
        at_equal = f"{rows[2][key]} ({signed(equal[key])})"
        table.append([label, rows[0][key], rows[1][key], signed(plain[key]), at_equal])
    return FittingTable(columns, table)


_LABELS = {
    **{f"p{100 * share:g}": f"p{100 * share:g} [ms]" for share in PERCENTILES},
    "throughput": "throughput [queries/s]",
    "service_time": "mean service time [ms]",
    "utilisation": "utilisation [%]",
}
_OFFLOADED = {"accelerator_service_time": "on the accelerator [ms]"}


def _values(summary: Summary) -> dict[str, str]:
    latencies = {f"p{100 * share:g}": number(value / MS, 4) for share, value in summary.percentiles_s.items()}
    return latencies | {
        "throughput": number(summary.throughput_qps, 4),
        "service_time": number(summary.service_time_s / MS, 4),
        "utilisation": number(100.0 * summary.utilisation),
        "accelerator_service_time": number((summary.accelerator_service_time_s or 0.0) / MS, 4),
    }


def _batches(title: str, rows: Sequence[Mapping[str, float]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("items", "requests", "measured [ms]", "predicted [ms]", "error"):
        table.add_column(heading, justify="right")
    for row in rows:
        low, high = int(row["from_items"]), int(row["to_items"])
        table.add_row(
            f"{low}" if low == high else f"{low} to {high}",
            f"{int(row['requests'])}",
            number(row["measured_ms"]),
            number(row["predicted_ms"]),
            signed(row["error_percent"]),
        )
    return table


def _lengths(rows: Sequence[Mapping[str, float]]) -> Table:
    table = Table(
        title="service time by length of the history", title_justify="left", box=None, pad_edge=False
    )
    for heading in ("positions", "requests", "measured [ms]", "predicted [ms]", "error"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{int(row['length'])}",
            f"{int(row['requests'])}",
            number(row["measured_ms"]),
            number(row["predicted_ms"]),
            signed(row["error_percent"]),
        )
    return table


def _capacity_line(capacity: CapacityCheck) -> str:
    bound = f"p{100 * capacity.percentile:g} within {number(capacity.latency_s / MS)} ms"
    if capacity.predicted_qps is None or capacity.measured_qps is None:
        return f"largest load with {bound}: none, predicted"
    return (
        f"largest load with {bound}: {number(capacity.measured_qps, 4)} queries/s measured, "
        f"{number(capacity.predicted_qps, 4)} predicted ({signed(capacity.error_percent)})"
    )


def _unsteady(found: Unsteadiness) -> str:
    """Scatter and pauses, in words."""
    spread = "too few requests are alike to tell scatter"
    if found.relative_std is not None:
        spread = f"times of requests alike scatter by {number(100 * found.relative_std, 2)} %"
    paused = "no request was without its core"
    if found.pause_s is not None:
        paused = (
            f"a core is taken away {number(found.pauses_per_s, 2)} times a second of work, for "
            f"{number(found.pause_s / MS, 2)} ms"
        )
    return f"{spread}; {paused}"


def _stopped(found: Stops, with_them: Mapping[str, float | None] | None) -> str:
    """That the node stood still, and whether the tail is that."""
    pauses = found.pauses
    if pauses is None or with_them is None:
        return "the node never stopped: at no moment were most workers slow at once"
    queue = ", ".join(f"p{100 * share:g} {signed(with_them[f'p{100 * share:g}'])}" for share in PERCENTILES)
    return (
        f"the whole node stopped {len(found.lost_s)} times, {number(pauses.rate_per_s, 2)} a second, for "
        f"{number(pauses.length_s / MS, 3)} ms: all workers at once, whatever they ran; the queue with such "
        f"stops: {queue}"
    )


def _pieces(count: int) -> str:
    return "1 disturbed piece" if count == 1 else f"{count or 'no'} disturbed pieces"


def _scattering(anchor: Anchor) -> str:
    if anchor.relative_std is None:
        return "; too few to say how far times scatter"
    found = f"; times scatter by {number(100 * anchor.relative_std, 2)} %"
    if anchor.accelerator_relative_std is not None:
        found += f", on the accelerator by {number(100 * anchor.accelerator_relative_std, 2)} %"
    if anchor.stops.lost_s:
        found += f"; the node stopped {len(anchor.stops.lost_s)} times in it"
    return f"{found}, and so are they predicted"


def _state_lines(result: Comparison) -> list[str]:
    own = errors_percent(result.own_times, result.measured)
    queue = ", ".join(f"p{100 * share:g} {signed(own[f'p{100 * share:g}'])}" for share in PERCENTILES)
    lines = [f"the queue alone, given the run's own mean service times: {queue}"]
    if result.anchor is not None:
        anchor = result.anchor
        lines.append(
            f"anchor: the whole model takes {number(anchor.level)} times what its operators add up to "
            f"({anchor.num_requests} requests; pieces differ by {number(100 * anchor.drift, 2)} %)"
            f"{_scattering(anchor)}"
        )
    lines.append(
        f"the machine: service times drift by {number(100 * result.drift, 2)} % between pieces; "
        f"{_pieces(result.repeated_pieces)} repeated; longest loss of a core "
        f"{number(result.longest_stall_s / MS, 2)} ms"
    )
    lines.append(_unsteady(result.unsteadiness))
    with_stops = None if result.with_stops is None else errors_percent(result.with_stops, result.measured)
    lines.append(_stopped(result.unsteadiness.stops, with_stops))
    if result.interrupted:
        lines.append("interrupted: these are the pieces measured until then")
    return lines
