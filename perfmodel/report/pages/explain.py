"""The page of `perfplan explain`: what binds, how far the cliff is, and what each single change buys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.planning.explain.answer import NEGLIGIBLE
from perfmodel.planning.node_view import NodeView
from perfmodel.report.documents import made_of
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import (
    ends,
    glossary,
    load_drawing,
    notes,
    question_text,
    where_time_goes,
)
from perfmodel.report.pages.sources import sources
from perfmodel.report.spans import Span, spans
from perfmodel.report.tables import as_asked, number

Document = Mapping[str, Any]

MOST_DRAWN = 24

LEAST_PERCENT = 100.0 * NEGLIGIBLE


def explain_html(explain: Document, view: NodeView | None, lacks: str | None = None) -> str:
    """Write the page of an explanation's document.

    `view` is the node seen closer, where it still can be; else `lacks` says what is left out, and why.
    """
    blocks: list[Block] = [Prose(answer(explain), is_answer=True), Prose(_cliff_words(explain))]
    blocks += [] if lacks is None else [Prose(lacks)]
    blocks += changes(explain)
    blocks += _cliff(explain, view)
    if view is not None:
        where = where_time_goes(view)
        blocks += [Heading("Where the time goes"), *where] if where else []
    blocks += sources(explain)
    blocks += notes(explain)
    blocks += glossary()
    blocks += question_text(explain.get("asked", {}), explain["scenario"], "explain")
    title = f"What limits {explain['scenario']}"
    return page(title, blocks, facts=made_of(explain))  # type: ignore[arg-type]  # a document is one


def answer(explain: Document) -> str:
    """What binds, and the best single change, in a sentence or two."""
    binds = explain["binds"]
    resource = "the SLA" if binds["resource"] == "sla" else str(binds["resource"])
    said = f"{resource} {'bind' if resource == 'cores' else 'binds'}: {binds['why']}."
    said = said[0].upper() + said[1:]
    best = {}
    for kind in ("step", "option"):
        some = [each for each in explain["changes"] if each["kind"] == kind and each["significant"]]
        best[kind] = max(some, key=lambda each: float(each["gain_percent"]), default=None)
    for kind, words in (("step", "Of steps of 10 %"), ("option", "Of whole options")):
        found = best[kind]
        if found is not None and found["gain_percent"] > 0.0:
            said += f" {words}, {found['change']} buys most: {found['gain_percent']:+.1f} % load."
    if all(each is None or each["gain_percent"] <= 0.0 for each in best.values()):
        said += " No single change that was tried carries more."
    return said


def _cliff_words(explain: Document) -> str:
    cliff, sla = explain["cliff"], explain["sla"]
    bound = f"p{100 * sla['percentile']:g} within {as_asked(sla['latency_ms'])} ms"
    offered = f"the {number(cliff['offered_qps'], 4)} queries/s offered"
    full = (
        f"all executors are busy at {number(cliff['saturation_qps'], 4)}, "
        f"{cliff['percent_to_saturation']:+.0f} %."
    )
    if explain["latency_bounded_qps"] is None:
        return f"No load keeps {bound}; {full}"
    keeps = f"One node keeps {bound} up to {number(explain['latency_bounded_qps'], 4)} queries/s"
    if explain.get("asked", {}).get("traffic", {}).get("arrivals", {}).get("process") == "closed":
        asked = number(cliff["offered_qps"], 4)
        return f"{keeps} by the central estimate; users ask {asked}, no faster than they are answered."
    return (
        f"{keeps} by the central estimate, {cliff['percent_to_largest_load']:+.0f} % from {offered}; {full}"
    )


def changes(explain: Document) -> list[Block]:
    """What limits the node, and what each single change buys: a drawing, a table, and what is refused."""
    blocks: list[Block] = [Heading("What each single change buys")]
    for kind, title, text in (
        ("step", "Ten per cent more of one thing", "What ten per cent more of a thing adds to the load."),
        ("option", "Whole options", "What another setting or part, taken alone, adds to the load."),
    ):
        some = [each for each in explain["changes"] if each["kind"] == kind and each["reason"] is None]
        drawn = [
            _span(each) for each in some if each["gain_percent"] is not None and not _is_next_to_nothing(each)
        ][:MOST_DRAWN]
        if drawn:
            text += " Bars are 95 % intervals of the simulation; a hollow dot may be luck."
            if any(map(_is_next_to_nothing, some)):
                text += f" What changes less than {LEAST_PERCENT:g} % is in the table."
            label = "gain of the largest load [%]"
            blocks.append(Figure(spans(drawn, x_label=label, title=title, text=text)))
    rows = [
        [
            str(each["change"]),
            number(each["latency_bounded_qps"], 4),
            "–" if each["gain_percent"] is None else f"{each['gain_percent']:+.2f}",
            ends(each["gain_percent_ci95"], 3),
            number(each["qps_per_w"]),
            _said(each),
            " ".join(each["set"]) or "–",
        ]
        for each in explain["changes"]
        if each["reason"] is None
    ]
    heads = ["change", "queries/s", "gain [%]", "interval", "queries/s/W", "certain", "--set"]
    blocks.append(
        Table(heads, rows, caption="The largest load with one change at a time; gains do not add up")
    )
    refused = [[str(each["change"]), each["reason"]] for each in explain["changes"] if each["reason"]]
    if refused:
        blocks.append(Table(["change", "why it is not possible"], refused, caption="What cannot be had"))
    return blocks


def _is_next_to_nothing(change: Document) -> bool:
    return change["gain_percent"] is not None and abs(change["gain_percent"]) <= LEAST_PERCENT


def _said(change: Document) -> str:
    if _is_next_to_nothing(change):
        return f"below {LEAST_PERCENT:g} %"
    return {True: "yes", False: "may be luck", None: "–"}[change["significant"]]


def _span(change: Document) -> Span:
    interval = change["gain_percent_ci95"]
    return Span(
        name=str(change["change"]),
        value=float(change["gain_percent"]),
        ends=None if interval is None else (interval[0], interval[1]),
        is_sure=change["significant"] is not False,
    )


def _cliff(explain: Document, view: NodeView | None) -> list[Block]:
    """How far the cliff is: latency against load, and the loads as figures."""
    cliff = explain["cliff"]
    blocks: list[Block] = [Heading("How far the cliff is")]
    drawing = None if view is None else load_drawing(view, explain)
    if drawing is not None:
        blocks.append(Figure(drawing))
    largest = explain["latency_bounded_qps"]
    rows = [
        ["offered", number(cliff["offered_qps"], 4), "–", "–"],
        [
            "largest load within the SLA",
            number(largest, 4),
            ends(explain["latency_bounded_qps_ci95"]),
            "–" if cliff["percent_to_largest_load"] is None else f"{cliff['percent_to_largest_load']:+.0f} %",
        ],
        [
            "all executors busy",
            number(cliff["saturation_qps"], 4),
            "–",
            f"{cliff['percent_to_saturation']:+.0f} %",
        ],
    ]
    blocks.append(Table(["load", "queries/s", "interval", "from the offered"], rows, caption="Loads"))
    return blocks
