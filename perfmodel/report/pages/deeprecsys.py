"""The page of `perfplan tune --deeprecsys-mode`: the published controller beside the exact answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import bars
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import ends, glossary, question_text
from perfmodel.report.pages.sources import sources
from perfmodel.report.tables import as_asked, counted, number

Document = Mapping[str, Any]


def deeprecsys_html(found: Document) -> str:
    """Write the page of a document."""
    blocks: list[Block] = [Prose(answer(found), is_answer=True), Heading("What each shortcut is worth")]
    blocks += [*_shortcuts(found), Heading("The published climb"), *_climb(found["climb"])]
    blocks += sources(found)
    blocks += glossary()
    blocks += question_text(found["asked"], found["scenario"], "tune --deeprecsys-mode")
    title = f"The published controller on {found['scenario']}"
    return page(title, blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def answer(found: Document) -> str:
    """What the controller reports, beside what is true."""
    sla = found["sla"]
    bound = f"p{100 * sla['percentile']:g} within {as_asked(sla['latency_ms'])} ms"
    exact = found["latency_bounded_qps"]
    if exact is None:
        return f"No load keeps {bound}: the controller has nothing to find."
    said = f"At the scenario's settings {number(exact, 4)} queries/s keep {bound}"
    if found["deeprecsys_qps"] is not None:
        said += (
            f"; with all shortcuts of the published controller one finds {number(found['deeprecsys_qps'], 4)}"
        )
    climb = found["climb"]
    return (
        f"{said}. What its climb chooses carries {number(climb['exact_qps_of_chosen'], 4)} queries/s, "
        f"the best on its lists {number(climb['best']['latency_bounded_qps'], 4)}."
    )


def _shortcuts(found: Document) -> list[Block]:
    rows = found["rows"]
    if not rows:
        return []
    drawn = bars(
        [each["name"] for each in rows],
        {"found": [each["latency_bounded_qps"] for each in rows]},
        y_label="queries/s",
        title="Largest load as found with each shortcut",
        text="The mean over searches with random numbers of their own; the first is exact.",
    )
    cells = [
        [
            each["name"],
            number(each["latency_bounded_qps"], 4),
            ends(each["range_qps"]),
            f"{100 * (each['of_exact'] - 1):+.1f} %",
            "overload" if each["exact_latency_ms"] is None else number(each["exact_latency_ms"], 4),
            each["note"] or "",
        ]
        for each in rows
    ]
    heads = ["with", "queries/s", "any one search", "of exact", "true latency there [ms]", "note"]
    return [Figure(drawn), Table(heads, cells, is_trimmed=True)]


def _climb(climb: Document) -> list[Block]:
    rows = [
        [
            str(each["batch_size"]),
            "none" if each["offload_threshold_items"] is None else str(each["offload_threshold_items"]),
            f"{each['climbs']} of {climb['climbs']}",
            number(each["latency_bounded_qps"], 4),
        ]
        for each in climb["chosen"]
    ]
    blocks: list[Block] = [
        Table(["batch size", "threshold", "climbs", "true queries/s"], rows, caption="What it chooses"),
        Prose(f"On average it reports {number(climb['reported_qps'], 4)} queries/s."),
    ]
    if never := climb["chose_a_threshold_never_set"]:
        chose = f"{counted(never, 'climb')} of {climb['climbs']} chose the first threshold of the list"
        blocks.append(Prose(f"{chose}, which the controller never sets: they measured the node without it."))
    return blocks
