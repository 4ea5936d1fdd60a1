"""The terminal page of `perfplan sweep`, and its drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from math import prod
from typing import Any

from rich.console import Group, RenderableType

from perfmodel.errors import InputError
from perfmodel.loading.over import SweptKey
from perfmodel.planning.sweep.answer import ANSWERED, SweepTable, column_of
from perfmodel.report.columns import require_metrics
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.frames import FULLEST_STAGE
from perfmodel.report.tables import counted, number

MOST_ROWS = 100
"""That a page shows; the files hold all."""

MOST_TOLD = 12
"""Values of a key that are told one by one."""

MOST_LINES = 10
"""Colours that a drawing has."""

PLOTS = (".svg", ".png", ".pdf")

SHOWN: Mapping[str, Mapping[str, str]] = {
    "predict": {
        "verdict": "verdict",
        "sla.predicted_ms": "latency [ms]",
        "utilisation.cpu": "cores busy",
        "plan_for_qps": "plan for",
        "latency_bounded_qps": "largest load",
        "qps_per_w": "qps/W",
    },
    "capacity": {
        "plan_for_qps": "plan for",
        "latency_bounded_qps": "largest load",
        "latency_bounded_qps_ci95.low": "from",
        "latency_bounded_qps_ci95.high": "to",
        "utilisation.cpu": "cores busy",
        "qps_per_w": "qps/W",
    },
    "tune": {
        "tuned.batch_size": "batch",
        "tuned.offload_threshold_items": "threshold",
        "tuned.latency_bounded_qps": "largest load",
        "tuned.qps_per_w": "qps/W",
        "gain": "gain",
    },
    "plan": {
        "verdict": "verdict",
        "static.num_nodes": "nodes",
        "static.power_w": "power [W]",
        "static.price_usd_per_h": "USD/h",
        "simulated.num_nodes": "simulated",
        "static.usd_per_million_queries": "USD/M queries",
    },
}
"""Columns of the page, by question, and their headings."""

VERDICTS = {
    "meets_sla": "meets",
    "within_error": "cannot tell",
    "misses_sla": "misses",
    "unstable": "unstable",
}
"""As a cell says them; others as they are."""


def sweep_page(table: SweepTable) -> RenderableType:
    """A line a point: what was set, and the figures that are asked for most."""
    keys = [each.key for each in table.keys]
    shown = {name: head for name, head in SHOWN[table.question].items() if name in table.columns}
    if FULLEST_STAGE in table.columns:  # of all stages together the cores are never full
        shown = {FULLEST_STAGE if name == "utilisation.cpu" else name: head for name, head in shown.items()}
        shown[FULLEST_STAGE] = "fullest stage"
    shown |= {name: name for name in table.pareto if name not in shown}
    columns = [
        Column(heading="", right=True),
        *(Column(heading=heading, is_name=True) for heading in shortest(keys)),
        # The first two are what is looked at most: of the others the last goes first.
        *(
            Column(heading=heading, right=True, leaves=len(shown) - index if index >= 2 else 0)
            for index, heading in enumerate(shown.values())
        ),
        *([Column(heading="front")] if table.pareto else []),
    ]
    lines = []
    for place, row in enumerate(table.rows[:MOST_ROWS], start=1):
        cells = [_cell(row[key]) for key in keys] + [shown_cell(name, row[name]) for name in shown]
        cells += ["*" if row["pareto"] else ""] if table.pareto else []
        lines.append([str(place), *cells])
    drawn = FittingTable(columns, lines)
    head = f"[bold]{table.question}[/] of {table.scenario} at {counted(len(table.rows), 'point')}"
    taken = [f"{each.key}: {_taken(each)}" for each in table.keys]
    left = len(table.rows) - MOST_ROWS
    notes = [f"note: {note}" for note in table.notes]
    if left > 0:
        notes.append(f"{left} more points: --out FILE.csv, .parquet or .json holds all of them")
    if table.pareto:
        notes.append(f"*: no other point is as good in {' and '.join(table.pareto)} and better in one")
    units = "loads in queries/s; keys by their last names; reasons and all metrics: --out or --json"
    notes.append(f"latency: the SLA's percentile; {units}" if "sla.predicted_ms" in shown else units)
    return Group(head, *taken, "", drawn, "", *_reasons(table), *notes)


def _taken(key: SweptKey) -> str:
    """What values a key was given, as ranges were read.

    Examples
    --------
    >>> from perfmodel.loading.over import parse_over
    >>> _taken(parse_over("sla.latency_ms=10:50:5")), _taken(parse_over("sla.latency_ms=1..100+1"))
    ('10, 20, 30, 40, 50', '100 values, 1, 2, … 100')
    """
    shown = [str(value.text) for value in key.values]
    if len(shown) <= MOST_TOLD:
        return ", ".join(shown)
    return f"{len(shown)} values, {shown[0]}, {shown[1]}, … {shown[-1]}"


def _reasons(table: SweepTable) -> list[str]:
    """Why points have no answer, the points of one reason on one line."""
    by_reason: dict[str, list[int]] = {}
    for index, row in enumerate(table.rows, start=1):
        if row["exit_code"] not in ANSWERED:
            by_reason.setdefault(f"exit {row['exit_code']}: {row['reason']}", []).append(index)
    return [
        f"no answer at {'point' if len(numbers) == 1 else 'points'} "
        f"{', '.join(map(str, numbers[:5]))}{', ...' if len(numbers) > 5 else ''}: {reason}"
        for reason, numbers in by_reason.items()
    ]


def shortest(keys: Sequence[str]) -> list[str]:
    """The last names of the keys, or as many as tell them apart."""
    parts = [key.split(".") for key in keys]
    length = 1
    while len({tuple(each[-length:]) for each in parts}) < len(parts):
        length += 1
    return [".".join(each[-length:]) for each in parts]


def shown_cell(name: str, value: object) -> str:
    """A metric as pages show it: what a script reads as a name or a share is put in words."""
    if name == "verdict" and isinstance(value, str):
        return VERDICTS.get(value, value)
    if name in ("utilisation.cpu", FULLEST_STAGE) and isinstance(value, float):
        return f"{100 * value:.1f} %"
    return _cell(value)


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if isinstance(value, int) else number(value, 4)
    return "–" if value is None else str(value)


def require_drawable(
    question: str, keys: Sequence[SweptKey], metric: str | None, pareto: Sequence[str]
) -> None:
    """Refuse a drawing that cannot be made, before anything is computed for it.

    Raises
    ------
    InputError
        If matplotlib is missing, no row can have the metric, or there would be too many lines.
    """
    if find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib: pip install 'perfplan[plot]'")
    require_metrics([] if metric is None else [metric], question, [each.key for each in keys], "--metric")
    lines = prod(len(each.values) for each in keys[1:])
    if lines > MOST_LINES and (metric is not None or len(pareto) != 2):
        raise InputError(f"--plot: expected at most {MOST_LINES} lines, got {lines}: sweep fewer keys")


def sweep_drawing(table: SweepTable, kind: str, metric: str | None = None) -> bytes:
    """Draw a metric against the first key, a line for each combination of the others; or two, as a front.

    Parameters
    ----------
    table : SweepTable
        The answer.
    kind : {".svg", ".png", ".pdf"}
        Of the file.
    metric : str, optional
        What is drawn; by default the SLA's percentile or the largest load, or the two of the front.

    Raises
    ------
    InputError
        If no point has that metric.
    """
    from matplotlib import rc_context  # an extra, and slow to load
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    if metric is None and len(table.pareto) == 2:
        _scatter(axes, table)
    else:
        name = column_of(metric or _main_metric(table), table.rows, "--metric")
        _lines(axes, table, name)
    axes.grid(alpha=0.3)
    axes.set_title(f"{table.question} of {table.scenario}")
    content = BytesIO()
    # Neither dates nor random names: the same points give the same bytes.
    undated: Mapping[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    with rc_context({"svg.hashsalt": table.scenario, "svg.fonttype": "none"}):
        figure.savefig(content, format=kind[1:], metadata=undated[kind])
    return content.getvalue()


def _main_metric(table: SweepTable) -> str:
    return {"predict": "latency", "plan": "static.num_nodes"}.get(table.question, "qps")


def _lines(axes: Any, table: SweepTable, metric: str) -> None:
    first, *others = (each.key for each in table.keys)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in table.rows:
        groups.setdefault(", ".join(f"{key}={row[key]}" for key in others), []).append(row)
    values = [value.shown for value in table.keys[0].values]
    is_scale = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    at: Mapping[Any, Any] = {value: value if is_scale else index for index, value in enumerate(values)}
    for index, (name, rows) in enumerate(groups.items()):
        some = [row for row in rows if row[metric] is not None]
        x, y = [at[row[first]] for row in some], [row[metric] for row in some]
        axes.plot(x, y, marker="o", markersize=4, color=f"C{index}", label=name or metric)
    if is_scale and _spans_decades(values):
        axes.set_xscale("log")
    elif not is_scale:
        axes.set_xticks(range(len(values)), [str(value) for value in values], rotation=35, ha="right")
    axes.set_ylim(bottom=0)
    axes.set(xlabel=first, ylabel=metric)
    axes.legend()


def _spans_decades(values: Sequence[Any]) -> bool:
    return bool(min(values) > 0 and max(values) >= 10 * min(values))


def _scatter(axes: Any, table: SweepTable) -> None:
    x, y = table.pareto
    some = [row for row in table.rows if row[x] is not None and row[y] is not None]
    axes.scatter([row[x] for row in some], [row[y] for row in some], s=16, color="C0", label="points")
    front = sorted((row[x], row[y]) for row in some if row["pareto"])
    axes.plot([a for a, _ in front], [b for _, b in front], "s-", color="C1", label="front")
    axes.set(xlabel=x, ylabel=y)
    axes.legend()
