"""The JSON document of `perfplan explain`."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from perfmodel.planning.explain.answer import Explanation, Gain
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import JsonBand, SlaAsked, sla_asked

VERSION = 1


@document
class BindsDocument(TypedDict):
    """What keeps the node from carrying more, why that is said, and which operator takes most of the time."""

    resource: str
    why: str
    operator: str | None
    operator_share: float | None
    stage: str | None


@document
class CliffDocument(TypedDict):
    """How far the offered load may grow: until the SLA is missed, and until the node cannot keep up. [%]"""

    offered_qps: float
    percent_to_largest_load: float | None
    saturation_qps: float
    percent_to_saturation: float


@document
class ChangeDocument(TypedDict):
    """A change alone: the largest load with it, over that without; a step of 10 %, or a whole option."""

    change: str
    kind: Literal["step", "option"]
    resource: str
    set: list[str]
    latency_bounded_qps: float | None
    gain_percent: float | None
    gain_percent_ci95: JsonBand | None
    significant: bool | None
    qps_per_w: float | None
    reason: str | None
    stage: str | None


@document
class ExplainDocument(Saved):
    """What binds, how far the cliff is, and the changes, the largest gain first."""

    scenario: str
    model: str | None
    service_times_of: str
    sla: SlaAsked
    binds: BindsDocument
    cliff: CliffDocument
    latency_bounded_qps: float | None
    latency_bounded_qps_ci95: JsonBand | None
    qps_per_w: float | None
    changes: list[ChangeDocument]
    notes: list[str]
    asked: dict[str, Any]


def explain_document(result: Explanation) -> ExplainDocument:
    """Return the document; what does not exist is None."""
    question, rate, room = result.question, result.latency_bounded_qps, result.room
    tdp_w = question.tdp_w
    return {
        **saved("explain", VERSION, question.inputs),
        "scenario": question.name,
        "model": question.node.model_name,
        "service_times_of": question.service_times_of,
        "sla": sla_asked(question.sla, question.traffic.outside),
        "binds": {
            "resource": result.binds.resource,
            "why": result.binds.why,
            "operator": result.binds.operator,
            "operator_share": result.binds.operator_share,
            "stage": result.binds.stage,
        },
        "cliff": {
            "offered_qps": result.offered_qps,
            "percent_to_largest_load": None if room is None else 100.0 * room,
            "saturation_qps": result.saturation_qps,
            "percent_to_saturation": 100.0 * result.room_to_saturation,
        },
        "latency_bounded_qps": rate,
        "latency_bounded_qps_ci95": None if result.ci95_qps is None else list(result.ci95_qps),
        "qps_per_w": None if rate is None or not tdp_w else rate / tdp_w,
        "changes": [_change(gain) for gain in result.gains],
        "notes": list(result.notes),
        "asked": dict(question.asked),
    }


def _change(gain: Gain) -> ChangeDocument:
    kind: Literal["step", "option"] = "step" if gain.kind == "step" else "option"
    return {
        "change": gain.change,
        "kind": kind,
        "resource": gain.resource,
        "set": list(gain.setting),
        "latency_bounded_qps": gain.latency_bounded_qps,
        "gain_percent": None if gain.gain is None else 100.0 * gain.gain,
        "gain_percent_ci95": None if gain.ci95 is None else [100.0 * end for end in gain.ci95],
        "significant": gain.is_significant,
        "qps_per_w": gain.qps_per_w,
        "reason": gain.reason,
        "stage": gain.stage,
    }
