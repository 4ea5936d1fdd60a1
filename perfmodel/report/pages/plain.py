"""The page of any other answer: its single values, and each of its lists as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.frames import NOT_OF_THE_ANSWER, flat
from perfmodel.report.html import Block, Heading, Prose, Table, page
from perfmodel.report.pages.shared import glossary
from perfmodel.report.tables import number

MOST_ROWS = 2000


def lead(document: Mapping[str, Any]) -> str:
    """What such a page says first."""
    left = document.get("unmodelled")
    if document["schema"]["name"] != "import" or left is None:
        return f"What perfplan {document['schema']['name']} found."
    if not left["calls"]:
        return f"All that the module does is in the model file {document['name']}."
    shares = f"{number(100 * left['flop_share'])} % of the module's FLOP and "
    shares += f"{number(100 * left['bytes_share'])} % of its bytes"
    return f"The model file {document['name']} leaves out {shares}, in calls that were not recognised."


def plain_html(document: Mapping[str, Any]) -> str:
    """Write the page of a document whose kind has none of its own."""
    rest = {key: value for key, value in document.items() if key not in NOT_OF_THE_ANSWER}
    blocks: list[Block] = [Prose(lead(document), is_answer=True), Heading("The answer")]
    single = {key: value for key, value in flat(rest).items() if value is not None}
    blocks.append(Table(["what", "value"], [[key, _cell(value)] for key, value in single.items()]))
    for key, value in _lists(rest):
        title = key.replace("_", " ").replace(".", ": ")
        blocks.append(Heading(f"{title[0].upper()}{title[1:]}"))
        if isinstance(value[0], Mapping):
            blocks.append(_table(value))
        else:
            blocks += [Prose(str(each)) for each in value]
    blocks += glossary()
    name = str(document["schema"]["name"])
    about = document.get("scenario") or document.get("evaluation") or document.get("name") or ""
    return page(f"{name}: {about}" if about else name, blocks, facts=made_of(document))  # type: ignore[arg-type]


def _lists(document: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """The lists of a document and of its parts, by name, that have rows or texts in them."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", each) for inner, each in _lists(value))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping | str):
            yield key, value


def _table(entries: Sequence[Mapping[str, Any]]) -> Table:
    rows = [flat(entry) for entry in entries[:MOST_ROWS]]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    left = len(entries) - len(rows)
    caption = f"{left} more rows are in --json" if left > 0 else ""
    return Table(heads, [[_cell(row.get(key)) for key in heads] for row in rows], caption=caption)


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else ("yes" if value else "no")
    return number(float(value), 5) if isinstance(value, int | float) else str(value)
