"""The JSON document of `perfplan sweep`."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from perfmodel.planning.sweep.answer import SweepTable
from perfmodel.report.documents import Saved, document, saved

VERSION = 1


@document
class SweptKeyDocument(TypedDict):
    """A key, and the values that it was given."""

    key: str
    values: list[str | int | float | bool | None]


@document
class SweepDocument(Saved):
    """A row a point: the swept keys, exit code, reason, stack, and the metrics of the question's answer.

    `asked`: what the points change, as its file says it.
    """

    scenario: str
    question: str
    over: list[SweptKeyDocument]
    points: int
    answered: int
    pareto: list[str]
    notes: list[str]
    asked: dict[str, Any]
    rows: list[dict[str, Any]]


def sweep_document(table: SweepTable) -> SweepDocument:
    """Return the document; what does not exist is None."""
    return {
        **saved("sweep", VERSION, table.inputs),
        "scenario": table.scenario,
        "question": table.question,
        "over": [{"key": each.key, "values": [value.shown for value in each.values]} for each in table.keys],
        "points": len(table.rows),
        "answered": table.answered,
        "pareto": list(table.pareto),
        "notes": table.notes,
        "asked": dict(table.asked),
        "rows": list(table.rows),
    }
