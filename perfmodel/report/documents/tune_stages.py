"""The JSON document of `perfplan tune` for a pipeline."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.question import Question
from perfmodel.planning.tune.question import Objective
from perfmodel.planning.tune_stages.answer import StageTuning, TriedPlacement
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import NodeDocument, SlaAsked, node_document, sla_asked

VERSION = 1


@document
class PlacementDocument(TypedDict):
    """Where each stage is ("as written", or a candidate), in how many parts, and what that carries.

    With `below_qps` its rate was not worth finding, and is below that; `reason`: why it was not tried.
    """

    on: list[str]
    sub_batches: int
    latency_bounded_qps: float | None
    qps_per_w: float | None
    power_w: float | None
    simulated_queries: int


@document
class TriedPlacementDocument(PlacementDocument):
    """A placement that was tried, by a short sample."""

    below_qps: float | None
    reason: str | None


@document
class PlacedStageDocument(TypedDict):
    """A stage where it is best put."""

    name: str
    model: str | None
    on: str
    node: NodeDocument


@document
class StageTuningDocument(Saved):
    """Where the stages of a pipeline are best put, and in how many parts queries go through."""

    scenario: str
    objective: Objective
    sla: SlaAsked
    static: PlacementDocument
    tuned: PlacementDocument
    gain: float | None
    stages: list[PlacedStageDocument]
    tried: list[TriedPlacementDocument]
    basis: BasisLabel
    service_times_of: str
    asked: dict[str, Any]
    notes: list[str]


def stage_tuning_document(result: StageTuning) -> StageTuningDocument:
    """Return the document; what does not exist is None."""
    question = result.question
    return {
        **saved("tune-stages", VERSION, question.inputs),
        "scenario": question.name,
        "objective": result.objective,
        "sla": sla_asked(question.sla, question.traffic.outside),
        "static": _placement(result.static),
        "tuned": _placement(result.tuned),
        "gain": result.gain,
        "stages": _stages(result.best, result.tuned),
        "tried": [
            {**_placement(each), "below_qps": each.below_qps, "reason": each.reason} for each in result.tried
        ],
        "basis": result.basis.label,
        "service_times_of": result.best.service_times_of,
        "asked": dict(question.asked),
        "notes": list(result.best.node_notes),
    }


def _placement(tried: TriedPlacement) -> PlacementDocument:
    return {
        "on": list(tried.placement.on),
        "sub_batches": tried.placement.sub_batches,
        "latency_bounded_qps": tried.latency_bounded_qps,
        "qps_per_w": tried.qps_per_w,
        "power_w": tried.tdp_w,
        "simulated_queries": tried.num_queries,
    }


def _stages(best: Question, tuned: TriedPlacement) -> list[PlacedStageDocument]:
    return [
        {
            "name": stage.name,
            "model": stage.node.model_name,
            "on": on,
            "node": node_document(stage.node),
        }
        for stage, on in zip(best.stages, tuned.placement.on, strict=True)
    ]
