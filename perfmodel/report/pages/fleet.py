"""The page of `perfplan fleet`: a load on many nodes, window by window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import Series, bars, lines
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import file_name, glossary, questions_text
from perfmodel.report.pages.sources import sources
from perfmodel.report.tables import as_asked, number

VERDICTS = {
    "meets_sla": "meet the SLA",
    "within_error": "may or may not meet the SLA: the errors do not let it be told",
    "misses_sla": "miss the SLA",
    "unstable": "are overloaded",
}


def fleet_html(fleet: Mapping[str, Any]) -> str:
    """Write the page of a fleet's document."""
    sla, windows = fleet["sla"], fleet["windows"]
    bound = f"p{100 * sla['percentile']:g} within {as_asked(sla['latency_ms'])} ms"
    kinds = " and ".join(
        f"{each['num_nodes']} of {each['cpu'] or each['scenario']}" for each in fleet["nodes"]
    )
    blocks: list[Block] = [
        Prose(
            f"{fleet['num_nodes']} nodes ({kinds}) {VERDICTS[fleet['verdict']]} ({bound}) at "
            f"{number(fleet['offered_qps'], 4)} queries/s in all.",
            is_answer=True,
        ),
        Heading("Window by window" if len(windows) > 1 else "Latency"),
    ]
    keys = ("p50", "p95", "p99")
    limit = (sla["latency_ms"], f"SLA: {bound}")
    unit, unit_s = _unit(windows[-1]["start_s"])
    times = [window["start_s"] / unit_s for window in windows]
    if len(windows) > 1:
        rate = Series(name="load", x=times, y=[window["offered_qps"] for window in windows])
        blocks.append(
            Figure(
                lines(
                    [rate],
                    x_label=f"from [{unit}]",
                    y_label="queries/s",
                    title="Load",
                    text="Of the whole fleet.",
                )
            )
        )
        some = [window for window in windows if window["latency_ms"]["p99"] is not None]
        tails = [
            Series(
                name=key,
                x=[window["start_s"] / unit_s for window in some],
                y=[window["latency_ms"][key] for window in some],
            )
            for key in keys
        ]
        if some:
            drawn = lines(
                tails,
                x_label=f"from [{unit}]",
                y_label="latency [ms]",
                title="Latency by window",
                text="Windows without a point are overloaded.",
                y_limit=limit,
            )
            blocks.append(Figure(drawn))
    elif windows[0]["latency_ms"]["p99"] is not None:
        drawn = bars(
            list(keys),
            {"latency": [windows[0]["latency_ms"][key] for key in keys]},
            marks={limit[1]: [limit[0]] * len(keys)},
            y_label="ms",
            title="Latency at this load",
            text="Of all queries of the fleet; the mark is the SLA.",
        )
        blocks.append(Figure(drawn))
    rows = [
        [
            *([number(window["start_s"], 5)] if len(windows) > 1 else []),
            number(window["offered_qps"], 4),
            f"{100 * window['utilisation']['cpu']:.1f} %",
            *(number(window["latency_ms"][key], 4) for key in keys),
            number(window["power_at_load_w"], 4),
            window["verdict"].replace("_", " ").replace("sla", "SLA"),
        ]
        for window in windows
    ]
    heads = [
        *(["from s"] if len(windows) > 1 else []),
        "queries/s",
        "cores busy",
        *(f"{key} ms" for key in keys),
        "W",
        "verdict",
    ]
    blocks.append(Table(heads, rows, caption="Windows" if len(windows) > 1 else "The fleet at this load"))
    blocks += [
        *sources(fleet),
        *(Prose(f"note: {note}") for note in fleet["notes"]),
        *glossary(),
        *_question(fleet),
    ]
    title = f"{fleet['num_nodes']} nodes: {fleet['scenario']}"
    return page(title, blocks, facts=made_of(fleet))  # type: ignore[arg-type]  # a document is one


def _unit(last_s: float) -> tuple[str, float]:
    """The unit in which windows up to the last are few, and its seconds."""
    return next((each for each in UNITS if last_s >= 2.0 * each[1]), UNITS[-1])


UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


def _question(fleet: Mapping[str, Any]) -> list[Block]:
    """Each kind of node as a file, and the command that puts them together."""
    first, *others = fleet["nodes"]
    names = [(each.get("asked"), str(each["scenario"])) for each in (first, *others)]
    options = f"--nodes {first['num_nodes']} --routing {fleet['routing']}"
    options += f" --qps {fleet['offered_qps']:.10g}"
    if len(fleet["windows"]) > 1:
        options += f" --windows {len(fleet['windows'])}"
    also = [f"--also {file_name(each['scenario'])}={each['num_nodes']}" for each in others]
    return questions_text(names, "fleet", " ".join([options, *also]), num_named=1)
