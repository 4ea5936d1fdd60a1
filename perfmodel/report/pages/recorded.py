"""The pages of `perfplan trace` and `perfplan observe`: what a recording says of traffic, and of its node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import Series, bars, lines
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import ends, glossary, notes, question_text
from perfmodel.report.tables import as_asked, number

Document = Mapping[str, Any]

PROCESSES = {
    "poisson": "arrivals are those of a Poisson process",
    "mmpp": "arrivals come in bursts",
    "trace": "no process that is known explains the arrivals: replay them",
}

SIZES = ("min", "p50", "mean", "p95", "p99", "max")
PERCENTILES = ("mean", "p50", "p95", "p99")


def trace_html(found: Document) -> str:
    """Write the page of a recording's document."""
    name = Path(found["file"]).name
    blocks: list[Block] = [
        Prose(_trace_answer(found), is_answer=True),
        Prose(f"{name} is {found['format']}. It gives {' and '.join(found['gives'])}."),
        *_arrivals(found),
        *_distribution("Query sizes", "items", found["sizes_items"]),
        *_distribution("Latencies, in the unit of the file", "latency", found["latencies"]),
        *notes(found),
        *glossary(),
    ]
    return page(f"Recorded: {name}", blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def _trace_answer(found: Document) -> str:
    said = []
    if found["rate_qps"] is not None:
        rate = found["rate_qps"]
        said.append(
            f"{found['num_queries']:,.0f} queries in {number(found['span_s'], 4)} s: "
            f"{number(rate['value'], 4)} queries/s ({ends(rate['ci95'])})"
        )
    if found["process"] is not None:
        said.append(PROCESSES[found["process"]])
    sizes = found["sizes_items"]
    if sizes is not None:
        largest = f"the largest of {number(sizes['max'], 4)}"
        said.append(f"a query has {number(sizes['mean'], 4)} items in the mean, {largest}")
    return "; ".join(said) + "." if said else "The file says nothing of traffic."


def _arrivals(found: Document) -> list[Block]:
    """How arrivals scatter, window by window."""
    if found["rate_qps"] is None:
        return []
    rows = [["queries/s", number(found["rate_qps"]["value"], 4), ends(found["rate_qps"]["ci95"])]]
    rows.append(["gaps: standard deviation over mean", number(found["interarrival_cv"]), "–"])
    rows += [
        [
            f"index of dispersion over {number(each['window_s'])} s",
            number(each["index"]),
            "–",
        ]
        for each in found["index_of_dispersion"]
    ]
    if (bursts := found["bursts"]) is not None:
        names = {
            "burst_factor": "rate in bursts over the calm one",
            "burst_fraction": "share of the time in bursts",
            "mean_burst_s": "mean burst [s]",
        }
        rows += [
            [name, number(bursts[key]["value"]), ends(bursts[key]["ci95"])] for key, name in names.items()
        ]
    blocks: list[Block] = [Heading("Arrivals")]
    if found["process_reason"] is not None:
        blocks.append(Prose(f"{PROCESSES[found['process']].capitalize()}: {found['process_reason']}."))
    caption = "The index of dispersion is 1 of a Poisson process, more of bursts"
    return [*blocks, Table(["of arrivals", "value", "95 % interval"], rows, caption=caption, is_trimmed=True)]


def _distribution(title: str, unit: str, found: Document | None) -> list[Block]:
    """A law in a few figures, drawn and as a table."""
    if found is None:
        return []
    drawn = bars(
        list(SIZES),
        {unit: [found[key] for key in SIZES]},
        y_label=unit,
        title=title,
        text=f"{found['count']:,.0f} of them, {found['distinct']:,} of them different.",
    )
    return [Heading(title), Figure(drawn)]


def observe_html(found: Document) -> str:
    """Write the page of what a node's log says."""
    traffic, name = found["traffic"], Path(found["log"]).name
    blocks: list[Block] = [
        Prose(_observe_answer(found), is_answer=True),
        Prose(
            f"{name} is {found['format']}: {found['queries']:,} queries in {number(found['span_s'], 4)} s."
        ),
        *_drift(found["drift"]),
        *_arrivals(traffic),
        *_distribution("Query sizes", "items", traffic["sizes_items"]),
        *_service_times(found),
        *_replay(found["replay"]),
        *_carried(found),
        *notes(found),
        *glossary(),
        *question_text(found["scenario"], "scenario", "predict"),
        Prose("Files that it names are those that `perfplan observe --out FOLDER` writes beside it."),
    ]
    return page(f"Observed: {name}", blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def _observe_answer(found: Document) -> str:
    said = ""
    if found["drift"] is not None:
        drifted = " and ".join(found["drift"]["drifted"])
        scenario = found["drift"]["scenario"]
        said = (
            f"The load has drifted from {scenario}: {drifted}. "
            if drifted
            else f"The load is still that of {scenario}. "
        )
    rate, busy = found["traffic"]["rate_qps"], found["utilisation"]
    said += f"{number(rate['value'], 4)} queries/s kept {number(100 * busy)} % of {_executors(found)} busy"
    if found["plan_for_qps"] is not None:
        sla = found["sla"]
        bound = f"p{100 * sla['percentile']:g} within {as_asked(sla['latency_ms'])} ms"
        said += f"; plan for {number(found['plan_for_qps'], 4)} queries/s ({bound})"
    return f"{said}."


def _carried(found: Document) -> list[Block]:
    """The loads that the node would carry, and the log at the one to plan for."""
    rows = [
        ["in the log", number(found["traffic"]["rate_qps"]["value"], 4)],
        ["plan for", number(found["plan_for_qps"], 4)],
        ["largest load", number(found["latency_bounded_qps"], 4)],
    ]
    percentile, tested = f"p{100 * found['sla']['percentile']:g}", found["backtest"]
    caption = f"With {percentile} within {as_asked(found['sla']['latency_ms'])} ms"
    blocks: list[Block] = [
        Heading("What the node would carry"),
        Table(["load", "queries/s"], rows, caption=caption),
    ]
    if tested is not None:
        blocks.append(
            Prose(
                f"Had the node been loaded to what is to plan for, {tested['minutes_missed']:,} of "
                f"{tested['minutes']:,} minutes of the log would have missed that: its gaps scaled alike, "
                f"{percentile} {number(tested['percentile_ms'], 4)} ms."
            )
        )
    return blocks


def _executors(found: Document) -> str:
    known = found["executors"]
    return f"{known['value']:,} executors" if known["exact"] else f"about {known['value']:,} executors"


def _drift(drift: Document | None) -> list[Block]:
    """The log held against a scenario."""
    if drift is None:
        return []
    rows = [
        [
            each["subject"],
            "drifted" if each["drifted"] else "as it was",
            number(each["log"], 4),
            number(each["scenario"], 4),
            f"{_percent(each['effect'])} %",
            f"{_percent(each['tolerance'])} %",
            _probability(each["p_value"]),
        ]
        for each in drift["tests"]
    ]
    heads = ["of", "verdict", "in the log", f"in {drift['scenario']}", "difference", "tolerated", "chance"]
    said = (
        "Drifted is what differs by more than is tolerated, beyond chance: the chance is "
        "that of a difference at least as large, had the load changed by just what is tolerated."
    )
    return [Heading("Whether the load has drifted"), Prose(said), Table(heads, rows)]


def _percent(share: float) -> str:
    return number(100 * share) if share == 0.0 or abs(share) >= 1e-4 else "below 0.01"


def _probability(value: float) -> str:
    return "below 0.001" if value < 0.001 else number(value, 2)


def _service_times(found: Document) -> list[Block]:
    """Times by size; where the log tells them apart, by how many executors were at work."""
    rows: Sequence[Document] = found["service_times"]
    if not rows:
        return []
    groups: dict[int | None, list[Document]] = {}
    for each in rows:
        groups.setdefault(each["busy"], []).append(each)
    shown = dict(list(groups.items())[:MOST_LINES])
    series = [
        Series(
            name="mean" if busy is None else f"{busy} at work",
            x=[each["items"] for each in some],
            y=[each["service_ms"] for each in some],
        )
        for busy, some in shown.items()
    ]
    known = _percent(found["error_of_service_times_percent"] / 100)
    drawn = lines(
        series,
        x_label="items",
        y_label="service time [ms]",
        title="Service times",
        text=f"Of the requests in the log; all together known to {known} %.",
    )
    cells = [
        [
            number(each["items"], 5),
            "–" if each["busy"] is None else str(each["busy"]),
            number(each["service_ms"], 4),
            ends(each["service_ci95_ms"]),
            number(each["p99_ms"], 4),
            f"{each['requests']:,}",
        ]
        for each in rows
    ]
    heads = ["items", "at work", "ms", "95 % interval", "p99 ms", "requests"]
    table = Table(heads, cells, caption="Service times by size", is_trimmed=True)
    return [Heading("Service times"), Figure(drawn), table]


MOST_LINES = 6
"""Numbers of executors at work that a drawing tells apart; the table has all."""


def _replay(replay: Document | None) -> list[Block]:
    """The log, simulated with its own service times: is the queue right?"""
    if replay is None:
        return []
    windows = [("all", replay["whole"])]
    windows += [(f"{number(each['from_s'])} to {number(each['to_s'])} s", each) for each in replay["windows"]]
    rows = [
        [
            name,
            f"{each['queries']:,}",
            *(
                "–"
                if each["measured_ms"][key] is None or each["error_percent"][key] is None
                else f"{number(each['measured_ms'][key], 4)} ({each['error_percent'][key]:+.1f} %)"
                for key in PERCENTILES
            ),
        ]
        for name, each in windows
    ]
    heads = ["window", "queries", *(f"{key} ms (error)" for key in PERCENTILES)]
    said = "The log's arrivals, simulated with the times of the table: measured latency, and the error."
    return [Heading("Replayed"), Prose(said), Table(heads, rows)]
