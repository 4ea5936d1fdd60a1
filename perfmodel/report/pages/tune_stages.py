"""The page of `perfplan tune` for a pipeline: where each stage is best put, and in how many parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import bars
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import glossary, notes, question_text
from perfmodel.report.pages.sources import sources
from perfmodel.report.tables import as_asked, number

Document = Mapping[str, Any]

MOST_DRAWN = 16
"""Placements in the drawing; the table has all."""


def tune_stages_html(found: Document) -> str:
    """Write the page of a document."""
    blocks: list[Block] = [Prose(answer(found), is_answer=True), Heading("Where each stage is best put")]
    blocks += [_stages(found), _placements(found), Heading("What was tried"), *_tried(found)]
    blocks += sources(found)
    blocks += notes(found)
    blocks += glossary()
    blocks += question_text(found["asked"], found["scenario"], "tune")
    title = f"Stages of {found['scenario']}"
    return page(title, blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def answer(found: Document) -> str:
    """The best placement and what it carries beside the file's."""
    best, static, sla = found["tuned"], found["static"], found["sla"]
    bound = f"p{100 * sla['percentile']:g} within {as_asked(sla['latency_ms'])} ms"
    if best["latency_bounded_qps"] is None:
        return f"No placement of the stages meets {bound} at any load."
    where = ", ".join(f"{each['name']} {_on(each['on'])}" for each in found["stages"])
    said = (
        f"With {where} and queries in {_parts(best)}, {number(best['latency_bounded_qps'], 4)} queries/s are "
        f"served with {bound}"
    )
    if found["gain"] is not None:
        was = number(static["latency_bounded_qps"], 4)
        return f"{said}: {number(found['gain'])} times the {was} of the file."
    return f"{said}; as the file has it, no load is."


def _on(place: str) -> str:
    return place if place == "as written" else f"on {place}"


def _parts(placement: Document) -> str:
    parts = placement["sub_batches"]
    return "one part" if parts == 1 else f"{parts} parts"


def _name(placement: Document) -> str:
    return f"{' + '.join(placement['on'])}, {_parts(placement)}"


def _stages(found: Document) -> Table:
    rows = [
        [
            each["name"],
            each["model"] or "–",
            each["on"],
            each["node"]["cpu"] or each["node"]["service_times"] or "–",
            str(each["node"]["cores"]),
            each["node"]["accelerator"] or "–",
        ]
        for each in found["stages"]
    ]
    heads = ["stage", "model", "place", "CPU", "cores", "accelerator"]
    return Table(heads, rows, caption="The best placement: a place is a candidate of the file, or as written")


def _row(each: Document) -> list[str]:
    return [
        " + ".join(each["on"]),
        str(each["sub_batches"]),
        number(each["latency_bounded_qps"], 4),
        number(each["power_w"]),
        number(each["qps_per_w"]),
    ]


HEADS = ("placement", "parts", "queries/s", "W", "queries/s/W")


def _placements(found: Document) -> Table:
    rows = [["the file", *_row(found["static"])], ["the best", *_row(found["tuned"])]]
    return Table(["", *HEADS], rows, caption="Both by the long sample")


def _tried(found: Document) -> list[Block]:
    known = [each for each in found["tried"] if each["latency_bounded_qps"] is not None]
    known.sort(key=lambda each: -float(each["latency_bounded_qps"]))
    blocks: list[Block] = []
    if known:
        drawing = bars(
            [_name(each) for each in known[:MOST_DRAWN]],
            {"largest load": [each["latency_bounded_qps"] for each in known[:MOST_DRAWN]]},
            y_label="queries/s",
            title="Largest load of each placement",
            text="Within the SLA, by a short sample; what could not reach the best so far has no bar.",
        )
        blocks.append(Figure(drawing))
    rest = [each for each in found["tried"] if each["latency_bounded_qps"] is None]
    rows = [[*_row(each), _why(each)] for each in (*known, *rest)]
    return [*blocks, Table([*HEADS, "why no rate"], rows, caption="Everything that was tried")]


def _why(each: Document) -> str:
    if each["reason"] is not None:
        return str(each["reason"])
    return "" if each["below_qps"] is None else f"carries less than {number(each['below_qps'], 4)}"
