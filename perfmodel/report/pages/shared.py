"""What several pages hold: operators by batch, sources, a glossary, the question as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.value_sources import KINDS, ValueSource
from perfmodel.planning.breakdown import BatchBreakdown
from perfmodel.planning.node_view import NodeView
from perfmodel.report.drawing import Drawing, Series, lines, stacked
from perfmodel.report.html import Block, Definitions, Figure, Heading, Prose, Table, Verbatim
from perfmodel.report.tables import number
from perfmodel.units import GB, GFLOP, MS

MOST_PARTS = 5
"""Operators with a colour of their own; the rest are one."""

GLOSSARY = (
    (
        "query, item, request",
        "A query is one user's ask to rank some items. It is cut into requests, one for "
        "each batch that an executor runs, and ends with its last request.",
    ),
    ("executor", "A core, or a stream of an accelerator: it serves one request at a time."),
    ("p50, p95, p99", "The latency that half, 95 % or 99 % of the queries do not exceed, arrival to end."),
    ("SLA", "The promise: a percentile of the latency and its bound."),
    (
        "plan for",
        "The greatest load that keeps the SLA with the stated confidence, the error of the service "
        "times and the simulation's own both counted. What to provide for.",
    ),
    (
        "largest load",
        "The greatest load within the SLA by the central estimate: too high as likely as too low.",
    ),
    ("cliff", "The load that keeps all executors busy: beyond it a backlog grows without end."),
    ("interval", "95 % confidence interval of the simulation: what luck leaves open."),
    ("band", "Where the figure lies with all service times longer or shorter by their known error."),
    ("service time", "How long a request holds an executor, without waiting."),
    (
        "batch size, offload threshold",
        "Items in one forward pass; queries of so many items and more go to the accelerator.",
    ),
    ("roofline", "What a kernel can reach at best: the lower of the peak and memory bandwidth x intensity."),
    ("head-room", "The share of each node's capacity that stays free."),
    ("TDP", "Thermal design power: what a device is built to draw at most when it works. [W]"),
)


def glossary() -> list[Block]:
    """The words of a page."""
    return [Heading("Glossary"), Definitions(GLOSSARY)]


def question_text(asked: Mapping[str, Any], name: str) -> list[Block]:
    """The question as a file says it, to copy."""
    text = profile_text(dict(asked)) if asked else ""
    return (
        [
            Heading("The question as text"),
            Prose(f"Save it as {name}.yaml, and perfplan predict {name}.yaml asks it again."),
            Verbatim(text or json.dumps(asked, indent=2), f"The scenario {name}"),
        ]
        if asked
        else []
    )


def sources(view: NodeView, document: Mapping[str, Any]) -> list[Block]:
    """Where the numbers come from: kinds of sources, the profile's own accuracy, the stack in words."""
    blocks: list[Block] = [Heading("Where the numbers come from")]
    blocks.append(Prose(f"Service times: {document['service_times_of']}."))
    error = document.get("error_of_service_times") or {}
    if error.get("cpu") is not None:
        said = f"{100 * error['cpu']:.2g} % on the cores"
        if error.get("accelerator") is not None:
            said += f", {100 * error['accelerator']:.2g} % on the accelerator"
        basis = document.get("basis") or "not known"
        blocks.append(
            Prose(
                f"They are {basis}; their error on what no fit had seen is {said}, root mean square. "
                "Latencies are simulated with them; both errors are in what the page says to plan for."
            )
        )
    for name, values in view.sources:
        counts = Counter(each.kind for each in values)
        listed = ", ".join(f"{counts[kind]} {kind}" for kind in (*KINDS, "other") if counts[kind])
        blocks.append(Prose(f"Profile {name}: {len(values)} values, {listed}."))
        blocks.append(_source_table(values, name))
    return blocks


def _source_table(values: Sequence[ValueSource], name: str) -> Table:
    order = {kind: index for index, kind in enumerate((*KINDS, "other"))}
    rows = sorted(values, key=lambda each: (order[each.kind], each.key))
    return Table(
        ["value of", "value", "kind", "source"],
        [[each.key, each.value, each.kind, each.source] for each in rows],
        caption=f"Every value of {name} with its source",
    )


def time_by_batch(batches: Sequence[BatchBreakdown]) -> list[Block]:
    """Where the time of a batch goes, by its size: the share of each operator."""
    if not batches:
        return []
    totals: dict[str, float] = {}
    for batch in batches:
        for operator in batch.operators:
            name = _label(operator.name, operator.kind)
            totals[name] = totals.get(name, 0.0) + operator.share
    most = sorted(totals, key=lambda name: -totals[name])[:MOST_PARTS]
    parts: dict[str, list[float]] = {name: [] for name in most}
    rest: list[float] = []
    for batch in batches:
        shares: dict[str, float] = {}
        for operator in batch.operators:
            name = _label(operator.name, operator.kind)
            shares[name] = shares.get(name, 0.0) + 100.0 * operator.share
        for name in most:
            parts[name].append(shares.get(name, 0.0))
        rest.append(max(0.0, sum(shares.values()) - sum(shares.get(name, 0.0) for name in most)))
    if any(value > 0.05 for value in rest):
        parts["others"] = rest
    sizes = [str(batch.batch_size) for batch in batches]
    first = max(parts, key=lambda name: parts[name][-1])
    text = (
        f"At batch {sizes[-1]}, {first} takes {number(parts[first][-1])} % of a core's time; "
        f"at batch {sizes[0]}, {number(parts[first][0])} %."
    )
    drawing = stacked(
        sizes,
        parts,
        x_label="batch size [items]",
        y_label="share [%]",
        title="Where a batch spends its time",
        text=text,
    )
    return [Figure(drawing)]


def _label(name: str, kind: str) -> str:
    return name if kind in name else f"{name} ({kind})"


def operators_table(rows: Sequence[Mapping[str, Any]], caption: str) -> Table:
    """Operators of a document."""
    return Table(
        ["operator", "kind", "ms", "share", "GFLOP", "GB", "rows", "bound by", "basis"],
        [
            [
                row["name"],
                row["kind"],
                number(row["time_ms"]),
                f"{100 * row['share']:.1f} %",
                number(row["flop"] / GFLOP),
                number(row["bytes_moved"] / GB),
                number(row["random_rows"]) if row["random_rows"] else "–",
                row["bound"],
                row["basis"],
            ]
            for row in rows
        ],
        caption=caption,
    )


def roofline(view: NodeView) -> list[Block]:
    """The CPU's roofs, and the operators of the largest batch below them."""
    if view.roofs is None or not view.batches:
        return []
    batch, roofs = view.batches[-1], view.roofs
    points = [
        (operator.flop / operator.bytes_moved, operator.flop / operator.seconds / GFLOP, operator.name)
        for operator in batch.operators
        if operator.flop > 0 and operator.bytes_moved > 0 and operator.seconds > 0
    ]
    if not points:
        return []
    ridge = roofs.peak_flop_per_s / roofs.bytes_per_s
    low, high = min([x for x, _, _ in points] + [ridge]) / 2, max([x for x, _, _ in points] + [ridge]) * 2
    xs = sorted([low, ridge, high])
    roof = Series(
        name="one core at best",
        x=xs,
        y=[min(roofs.peak_flop_per_s, x * roofs.bytes_per_s) / GFLOP for x in xs],
    )
    marks = Series(
        name=f"operators, batch {batch.batch_size}",
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        is_points=True,
    )
    longest = sorted(batch.operators, key=lambda each: -each.seconds)[:2]
    labels = [point for point in points if point[2] in {each.name for each in longest}][:2]
    text = (
        f"The roof of one core of {roofs.device}: {number(roofs.peak_flop_per_s / GFLOP)} GFLOP/s, and the "
        f"{number(roofs.bytes_per_s / GB)} GB/s of its socket, which others share. Points far below pay for "
        "calls, packing or random access."
    )
    drawing = lines(
        [roof, marks],
        x_label="intensity [FLOP/byte]",
        y_label="GFLOP/s",
        title="Roofline of a core",
        text=text,
        log_x=True,
        log_y=True,
        labels=labels,
    )
    return [Figure(drawing)]


def load_drawing(view: NodeView, document: Mapping[str, Any]) -> Drawing | None:
    """p50, p95 and p99 against load with the SLA, the band, the load to plan for and the cliff."""
    if not view.curve:
        return None
    sla = document["sla"]
    names = {0.5: "p50", 0.95: "p95", 0.99: "p99"}
    percentiles = sorted({*names, sla["percentile"]})
    xs = [point.rate_qps for point in view.curve]
    series = []
    for percentile in percentiles:
        some = [point.percentiles[percentile] for point in view.curve if percentile in point.percentiles]
        if len(some) == len(xs):
            series.append(
                Series(
                    name=f"p{100 * percentile:g}",
                    x=xs,
                    y=[each.value_s / MS for each in some],
                    low=[each.low_s / MS for each in some],
                    high=[min(each.high_s, 10 * each.value_s) / MS for each in some],
                )
            )
    plan = document.get("plan_for_qps")
    marks = [(view.cliff_qps, f"cliff {number(view.cliff_qps, 4)}")]
    if plan is not None:
        marks.insert(0, (plan, f"plan for {number(plan, 4)}"))
    limit = (sla["latency_ms"], f"SLA: p{100 * sla['percentile']:g} of {number(sla['latency_ms'])} ms")
    text = (
        "Each point is a run of 50,000 queries, the shade its 95 % interval. "
        f"All executors are busy at {number(view.cliff_qps, 4)} queries/s: beyond it, no latency exists."
    )
    return lines(
        series,
        x_label="load [queries/s]",
        y_label="latency [ms]",
        title="Latency against load",
        text=text,
        y_limit=limit,
        x_marks=marks,
        y_most=2.2 * sla["latency_ms"],
    )
