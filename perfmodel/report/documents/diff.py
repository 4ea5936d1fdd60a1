"""The JSON document of `perfplan diff`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import TypedDict

from perfmodel.planning.diff.answer import Diff
from perfmodel.planning.diff.side import Difference
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import JsonBand
from perfmodel.units import MS

VERSION = 1

JsonValue = str | int | float | bool | list[str] | dict[str, Any] | None
"""What a key of a scenario may hold."""


@document
class DifferenceDocument(TypedDict):
    """A metric of both, by how much B's is larger, the 95 % interval of that, and whether it leaves 0 out."""

    metric: str
    a: float | None
    b: float | None
    difference: float | None
    ci95: JsonBand | None
    significant: bool | None


@document
class DifferingKeyDocument(TypedDict):
    """A key that differs; by metric, what it does alone in A, and alone in B, with its intervals."""

    key: str
    a: JsonValue
    b: JsonValue
    contribution: dict[str, float | None]
    contribution_ci95: dict[str, JsonBand | None]
    from_b: dict[str, float | None]
    from_b_ci95: dict[str, JsonBand | None]
    reason: str | None


@document
class DiffDocument(Saved):
    """Two answers held against each other; `interaction`: what the contributions leave of the difference.

    `asked_a`, `asked_b`: both as files say them; None of a saved answer that does not tell.
    """

    a: str
    b: str
    differences: list[DifferenceDocument]
    keys: list[DifferingKeyDocument]
    interaction: dict[str, float | None]
    asked_a: dict[str, Any] | None
    asked_b: dict[str, Any] | None
    notes: list[str]


def diff_document(result: Diff) -> DiffDocument:
    """Return the document; what does not exist is None."""
    metrics = [found.metric for found in result.differences]
    return {
        **saved("diff", VERSION, result.inputs),
        "a": result.a,
        "b": result.b,
        "differences": [difference_document(found) for found in result.differences],
        "keys": [
            {
                "key": share.key.key,
                "a": share.key.a,
                "b": share.key.b,
                "contribution": _values(share.from_a, metrics),
                "contribution_ci95": _intervals(share.from_a, metrics),
                "from_b": _values(share.from_b, metrics),
                "from_b_ci95": _intervals(share.from_b, metrics),
                "reason": share.why_not,
            }
            for share in result.keys
        ],
        "interaction": {metric: scaled(metric, value) for metric, value in result.interaction.items()}
        if result.keys
        else {},
        "asked_a": None if result.asked[0] is None else dict(result.asked[0]),
        "asked_b": None if result.asked[1] is None else dict(result.asked[1]),
        "notes": list(result.notes),
    }


def difference_document(found: Difference) -> DifferenceDocument:
    """A metric of both sides, in the units of its name."""
    return {
        "metric": found.metric,
        "a": scaled(found.metric, found.a),
        "b": scaled(found.metric, found.b),
        "difference": scaled(found.metric, found.value),
        "ci95": _band(found),
        "significant": found.is_significant,
    }


def scaled(metric: str, value: float | None) -> float | None:
    """A value in the unit that the metric's name says."""
    return None if value is None else value / MS if "_ms" in metric else value


def _band(found: Difference) -> JsonBand | None:
    return None if found.ci95 is None else [scaled(found.metric, end) for end in found.ci95]


def _values(differences: Sequence[Difference], metrics: Sequence[str]) -> dict[str, float | None]:
    known = {found.metric: scaled(found.metric, found.value) for found in differences}
    return {metric: known.get(metric) for metric in metrics}


def _intervals(differences: Sequence[Difference], metrics: Sequence[str]) -> dict[str, JsonBand | None]:
    known = {found.metric: _band(found) for found in differences}
    return {metric: known.get(metric) for metric in metrics}
