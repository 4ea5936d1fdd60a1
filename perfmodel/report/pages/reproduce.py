"""The page of `perfplan reproduce`: a published evaluation, every figure beside the published one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress, groupby
from statistics import median
from string import ascii_lowercase
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import Drawing, Series, bars, lines
from perfmodel.report.html import Block, Definitions, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import command_text, glossary
from perfmodel.report.pages.sources import sources
from perfmodel.report.tables import number

Document = Mapping[str, Any]

HEADINGS = ("case", "quantity", "predicted", "published", "deviation", "setting", "likely cause")

MOST_WIDE = 40
"""Characters of a case and its quantity that leave room for figures beside them on a phone."""

WORDS = (
    ("predicted", "Computed now, on the shipped profiles, from the question that the paper asks."),
    ("published", "As the paper, or the submission, prints it; in figures a mark, or a broken line."),
    ("deviation", "Predicted over published, less 1: positive where the prediction is above."),
    (
        "likely cause",
        "Why a figure deviates, as far as that is known: a letter, said below the table. Deviating figures "
        "are kept.",
    ),
)


def reproduce_html(found: Document) -> str:
    """Write the page of a document: each section with what it draws and every figure."""
    blocks: list[Block] = [Prose(answer(found), is_answer=True), Prose(found["source"])]
    for section in found["sections"]:
        blocks += [Heading(section["title"]), Prose(section["prose"])]
        blocks += [Figure(_drawn(each)) for each in section.get("drawings", ())]
        if section["rows"]:
            blocks += _figures(section)
    blocks += sources(found)
    blocks += [Heading("How to read it"), Definitions(WORDS), *glossary()]
    if command := found.get("command"):  # answers of before it was written down do not say how many queries
        blocks += command_text(command)
    title = found.get("title") or f"reproduce {found['evaluation']}"
    return page(title, blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def _figures(section: Document) -> list[Block]:
    """Every figure of a section; causes stand once each below the table, which names them by a letter."""
    causes = list(dict.fromkeys(row["cause"] for row in section["rows"] if row["cause"]))
    letters = dict(zip(causes, ascii_lowercase, strict=False))
    rows = [row | {"cause": letters.get(row["cause"], row["cause"])} for row in section["rows"]]
    quantities = {row["quantity"] for row in rows}
    caption = quantities.pop() if len(quantities) == 1 < len(rows) else ""
    headings, cells = used_columns([row | {"quantity": ""} for row in rows] if caption else rows, HEADINGS)
    cases = [row["case"] for row in rows]
    repeated = len(cases) > 1.5 * len(list(groupby(cases)))
    wide = headings[1:2] == ["quantity"] and max(len(a) + len(b) for a, b, *_ in cells) > MOST_WIDE
    is_grouped = headings[0] == "case" and (repeated or wide)
    return [
        Table(headings, cells, caption=caption, name=section["title"], is_grouped=is_grouped),
        *(Prose(f"{letter}: {cause}.") for cause, letter in letters.items()),
    ]


def answer(found: Document) -> str:
    """How many figures are how close, and how far the others are off."""
    rows = [row for section in found["sections"] for row in section["rows"] if not row.get("detail")]
    off = [(abs(row["deviation_percent"]), row) for row in rows if row["deviation_percent"] is not None]
    known = sum(row["published"] is not None for row in rows)
    if not known:
        return f"{len(rows)} figures, none of which has a published value beside it."
    if not off:
        return f"{known} figures have a published value; none of them exists in the prediction."
    within = [sum(percent <= limit for percent, _ in off) for limit in (10.0, 30.0)]
    half = number(median(percent for percent, _ in off), 2)
    worst_percent, worst = max(off, key=lambda each: each[0])
    side = "above" if worst["deviation_percent"] > 0.0 else "below"
    text = (
        f"{len(off)} figures have a published value: {within[0]} come out within 10 %, {within[1]} within "
        f"30 %; half of them within {half} %, the farthest {side} by {number(worst_percent)} % "
        f"({worst['case']}, {worst['quantity']})."
    )
    if missing := known - len(off):
        text += f" {missing} more have one, and none in the prediction."
    if found["simulated_queries"]:
        text += f" {found['simulated_queries'] / 1e6:,.0f} million queries were simulated."
    return text


def used_columns(rows: Sequence[Document], headings: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The columns in which any row has something, and their cells."""
    cells = [_cells(row)[: len(headings)] for row in rows]
    used = [any(column) for column in zip(*cells, strict=True)]
    return list(compress(headings, used)), [list(compress(row, used)) for row in cells]


def _cells(row: Document) -> tuple[str, ...]:
    percent = row["deviation_percent"]
    deviation = "" if percent is None else f"{percent:+.0f} %"
    published = "" if row["published"] is None else number(row["published"], 4)
    said = (row["case"], row["quantity"], number(row["predicted"], 4), published, deviation)
    return (*said, row["setting"] or "", row["cause"] or "")


def _drawn(drawing: Document) -> Drawing:
    """Draw it; a value that does not exist is a gap, a published one a mark at the bars beside it."""
    every = drawing["series"]
    text = {"bars": "Bars are computed now", "lines": "Whole lines are computed now"}[drawing["kind"]]
    if any(each["published"] for each in every):
        text += {"bars": ", marks are published", "lines": ", broken ones published"}[drawing["kind"]]
    if drawing["kind"] == "bars":
        heights = {each["name"]: each["y"] for each in every if not each["published"]}
        marks = {each["name"]: each["y"] for each in every if each["published"]}
        return bars(
            every[0]["x"],
            heights,
            y_label=drawing["y_label"],
            title=drawing["title"],
            text=f"{text}.",
            marks=marks,
        )
    series = []
    for each in every:
        points = [(x, y) for x, y in zip(each["x"], each["y"], strict=True) if y is not None]
        series.append(
            Series(
                name=each["name"],
                x=[x for x, _ in points],
                y=[y for _, y in points],
                dashed=each["published"],
            )
        )
    return lines(
        series,
        x_label=drawing["x_label"],
        y_label=drawing["y_label"],
        title=drawing["title"],
        text=f"{text}.",
        log_x=drawing["log_x"],
        log_y=drawing["log_y"],
    )
