"""What several pages hold: operators by batch, sources, a glossary, the question as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.loading.profile_text import profile_text
from perfmodel.planning.node_view import Inside, NodeView
from perfmodel.report.drawing import Drawing, Series, lines, stacked
from perfmodel.report.html import Block, Definitions, Figure, Heading, Markup, Prose, Table, Verbatim, prose
from perfmodel.report.tables import as_asked, curve_queries, number
from perfmodel.units import GB, GFLOP, MS

ABOVE_SLA = 2.2
"""Of the SLA, or of the least latency where that is above it: how far up latencies are drawn. [1]"""

FAR = 12.0
"""Times the least latency, beyond which the SLA and the latencies need an axis in powers. [1]"""

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
        "times and the simulation's own both counted. What to provide for. perfplan predict finds it from "
        "fewer queries than perfplan capacity: the two differ within its interval.",
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


def ends(interval: Sequence[float | None] | None, digits: int = 4, *, without: str = "no end") -> str:
    """Both ends of an interval as a cell; `without` is what an end that does not exist means.

    Examples
    --------
    >>> ends([1.0, None]), ends([None, 131.3], without="no load"), ends(None)
    ('1 to no end', 'no load to 131.3', '–')
    """
    if not interval:
        return "–"
    return " to ".join(without if end is None else number(end, digits) for end in interval)


def latency_ends(interval: Sequence[float | None] | None) -> str:
    """The simulation's interval of a latency; where luck has no part in it, why."""
    said = ends(interval)
    low, _, high = said.partition(" to ")
    return "the service time of many queries" if low == high else said


def notes(document: Mapping[str, Any]) -> list[Block]:
    """What a document says must be known beside its figures."""
    said = [*document.get("notes", ()), *(f"assumed: {each}" for each in document.get("assumptions", ()))]
    if not said:
        return []
    items = "".join(f"<li>{prose(note)}</li>" for note in said)
    return [Heading("What is assumed and left out"), Markup(f"<ul>{items}</ul>")]


def deciding_words(deciding: Mapping[str, Any] | None) -> list[Block]:
    """What would decide where nothing can be said; nothing where something was."""
    if deciding is None:
        return []
    if deciding["error_now"] is None or deciding["error_then"] is None:
        return [Prose(f"What would decide: a longer run, {deciding['command']}.")]
    said = (
        f"What would decide: the error of the {deciding['error']}, "
        f"{number(100 * deciding['error_now'], 2)} %, brought to about "
        f"{number(100 * deciding['error_then'], 2)} % by {deciding['command']}."
    )
    if deciding["band_ms_then"] is not None:
        said += " The SLA's percentile is then expected within "
        said += f"{ends(deciding['band_ms_then'], without='unstable')} ms."
    return [Prose(said)]


def question_text(asked: Mapping[str, Any] | None, name: str, command: str) -> list[Block]:
    """The question as a file says it, to copy; `command` follows `perfplan`, the file's name follows it."""
    return questions_text([(asked, name)], command)


def file_name(name: str) -> str:
    """The name of the file that a question of that name is saved as.

    Examples
    --------
    >>> file_name("scenarios/two services.yaml"), file_name("two services with headroom=0.3")
    ('two-services.yaml', 'two-services-with-headroom-0.3.yaml')
    """
    bare = re.sub(r"\.(ya?ml|json)$", "", Path(name).name)
    return f"{re.sub('[^A-Za-z0-9._-]+', '-', bare).strip('-')}.yaml"


def questions_text(
    questions: Sequence[tuple[Mapping[str, Any] | None, str]],
    command: str,
    options: str = "",
    *,
    num_named: int | None = None,
) -> list[Block]:
    """Several files' texts, and the command that asks again: their names stand before its options.

    `num_named`: so many of them, where the options name the others; by default all.
    """
    known = [(asked, name) for asked, name in questions if asked]
    if len(known) < len(questions):
        return []
    files = [file_name(name) for _, name in known]
    asks = " ".join(filter(None, ["perfplan", command, *files[:num_named], options]))
    said = f"Save it as {files[0]}, and this command asks it again:"
    if len(files) > 1:
        said = f"Save them as {' and '.join(files)}, and this command asks again:"
    blocks: list[Block] = [Heading("The question as text"), Prose(said), Verbatim(asks, "The command")]
    for (asked, _), file in zip(known, files, strict=True):
        blocks.append(Verbatim(profile_text(dict(asked or {})), f"The file {file}", file))
    return blocks


def command_text(command: str) -> list[Block]:
    """The command that asks again, of a question that is in no file."""
    return [
        Heading("The question as text"),
        Prose("This command asks it again:"),
        Verbatim(command, "The command"),
    ]


class BatchShares(NamedTuple):
    """A batch, and of each of its operators the name, the kind and the share of the time. [1]"""

    batch_size: int
    operators: Sequence[tuple[str, str, float]]


def where_time_goes(view: NodeView) -> list[Block]:
    """Where the time of batches goes, and the roofline; of several stages in each."""
    blocks: list[Block] = []
    for each in view.inside:
        where = "" if each.stage is None else f" in {each.stage}"
        batches = [
            BatchShares(batch.batch_size, [(one.name, one.kind, one.share) for one in batch.operators])
            for batch in each.batches
        ]
        blocks += shares_by_batch(batches, where) + _roofline(each, where)
    return blocks


def shares_by_batch(batches: Sequence[BatchShares], where: str = "") -> list[Block]:
    """The same of shares, however they are known; `where` ends the title of one drawing among several."""
    if not batches or not any(batch.operators for batch in batches):
        return []
    shares: list[dict[str, float]] = []
    for batch in batches:
        own: dict[str, float] = {}
        for operator, kind, share in batch.operators:
            name = _label(operator, kind)
            own[name] = own.get(name, 0.0) + 100.0 * share
        shares.append(own)
    names = dict.fromkeys(name for own in shares for name in own)
    most = sorted(names, key=lambda name: -sum(own.get(name, 0.0) for own in shares))[:MOST_PARTS]
    parts = {name: [own.get(name, 0.0) for own in shares] for name in most}
    rest = [max(0.0, sum(own.values()) - sum(own.get(name, 0.0) for name in most)) for own in shares]
    if any(value > 0.05 for value in rest):
        parts["others"] = rest
    sizes = [str(batch.batch_size) for batch in batches]
    first = max(parts, key=lambda name: parts[name][-1])
    text = f"At batch {sizes[-1]}, {first} takes {number(parts[first][-1])} % of an executor's time"
    text += f"; at batch {sizes[0]}, {number(parts[first][0])} %." if len(sizes) > 1 else "."
    drawing = stacked(
        sizes,
        parts,
        x_label="batch size [items]",
        y_label="share [%]",
        title=f"Where a batch spends its time{where}",
        text=text,
    )
    return [Figure(drawing)]


def _label(name: str, kind: str) -> str:
    return name if kind in name else f"{name} ({kind})"


def operators_table(rows: Sequence[Mapping[str, Any]], caption: str) -> Table:
    """Operators of a document."""
    return Table(
        ["operator", "ms", "share", "kind", "GFLOP", "GB", "rows", "bound by", "basis"],
        [
            [
                row["name"],
                number(row["time_ms"]),
                f"{100 * row['share']:.1f} %",
                row["kind"],
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


def _roofline(inside: Inside, where: str) -> list[Block]:
    """The CPU's roofs, and the operators of the largest batch below them."""
    if not inside.batches:
        return []
    batch = inside.batches[-1]
    return roofline_of(
        [
            {
                "name": each.name,
                "flop": each.flop,
                "bytes_moved": each.bytes_moved,
                "time_ms": each.seconds / MS,
            }
            for each in batch.operators
        ],
        batch.batch_size,
        device=inside.roofs.device,
        peak_gflop_per_s=inside.roofs.peak_flop_per_s / GFLOP,
        bandwidth_gb_per_s=inside.roofs.bytes_per_s / GB,
        where=where,
    )


def roofline_of(
    operators: Sequence[Mapping[str, Any]],
    batch_size: int,
    *,
    device: str,
    peak_gflop_per_s: float,
    bandwidth_gb_per_s: float,
    where: str = "",
) -> list[Block]:
    """The roofs of an executor, and operators of a document below them; `where` as above."""
    points = [
        (
            each["flop"] / each["bytes_moved"],
            each["flop"] / (each["time_ms"] * MS) / GFLOP,
            str(each["name"]),
        )
        for each in operators
        if each["flop"] > 0 and each["bytes_moved"] > 0 and each["time_ms"] > 0
    ]
    if not points:
        return []
    ridge = peak_gflop_per_s / bandwidth_gb_per_s
    low, high = min([x for x, _, _ in points] + [ridge]) / 2, max([x for x, _, _ in points] + [ridge]) * 2
    xs = sorted([low, ridge, high])
    roof = Series(
        name="an executor at best",
        x=xs,
        y=[min(peak_gflop_per_s, x * bandwidth_gb_per_s) for x in xs],
    )
    marks = Series(
        name=f"operators, batch {batch_size}",
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        is_points=True,
    )
    longest = {str(each["name"]) for each in sorted(operators, key=lambda each: -each["time_ms"])[:2]}
    labels = [point for point in points if point[2] in longest][:2]
    text = (
        f"The roof of one executor of {device}: {number(peak_gflop_per_s)} GFLOP/s, and the "
        f"{number(bandwidth_gb_per_s)} GB/s of its memory, which others share. Points far below pay for "
        "calls, packing or random access."
    )
    drawing = lines(
        [roof, marks],
        x_label="intensity [FLOP/byte]",
        y_label="GFLOP/s",
        title=f"Roofline of an executor{where}",
        text=text,
        log_x=True,
        log_y=True,
        labels=labels,
    )
    return [Figure(drawing)]


def sheds(document: Mapping[str, Any]) -> bool:
    """Whether the question's policy turns queries away."""
    return ((document.get("asked") or {}).get("policy") or {}).get("shedding") is not None


def load_drawing(view: NodeView, document: Mapping[str, Any]) -> Drawing | None:
    """p50, p95 and p99 against load with the SLA, the band, the load to plan for and the cliff."""
    if not view.curve or view.cliff_qps is None:
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
                    high=[each.high_s / MS for each in some],
                )
            )
    latencies = [value for one in series for value in one.y]
    plan = document.get("plan_for_qps")
    turned_away = sheds(document)
    marks = [(view.cliff_qps, f"{'full' if turned_away else 'cliff'} {number(view.cliff_qps, 4)}")]
    if plan is not None:
        marks.insert(0, (plan, f"plan for {number(plan, 4)}"))
    limit = (sla["latency_ms"], f"SLA: p{100 * sla['percentile']:g} of {as_asked(sla['latency_ms'])} ms")
    text = (
        f"Each point is a run of {curve_queries(view.curve)} queries, the shade its 95 % interval. "
        f"All executors are busy at {number(view.cliff_qps, 4)} queries/s: beyond it, "
        f"{'what is too much is turned away' if turned_away else 'no latency exists'}."
    )
    return lines(
        series,
        x_label="load [queries/s]",
        y_label="latency [ms]",
        title="Latency against load",
        text=text,
        y_limit=limit,
        x_marks=marks,
        y_most=max(ABOVE_SLA * sla["latency_ms"], ABOVE_SLA * min(latencies, default=0.0)),
        log_y=bool(latencies) and sla["latency_ms"] > FAR * min(latencies),
    )
