"""The JSON document of `perfplan tune`."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.tune.answer import OperatingPoint, Tried, TuneAnswer, Tuning
from perfmodel.planning.tune.question import Objective
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import (
    NodeDocument,
    SlaAsked,
    node_document,
    sla_asked,
)

VERSION = 1


@document
class ConfigurationDocument(TypedDict):
    """What is set, and the greatest rate that meets the SLA with it."""

    batch_size: int
    offload_threshold_items: int | None
    latency_bounded_qps: float | None


@document
class TriedDocument(ConfigurationDocument):
    """What was tried; with `below_qps` its rate was not worth finding, and is below that. [queries/s]

    `timeout_ms`: how long a full batch is waited for, where queries are joined.
    """

    timeout_ms: float | None
    below_qps: float | None


@document
class PointDocument(ConfigurationDocument):
    """What is set, by a long sample, with its power: the accelerators' only where something is offloaded."""

    timeout_ms: float | None
    qps_per_w: float | None
    power_w: float | None
    simulated_queries: int


@document
class WorkersTried(PointDocument):
    """The best with so many processes of so many threads."""

    processes: int
    threads: int


@document
class WorkersDocument(TypedDict):
    """How the cores are shared out; `known`: whether the profile knows how threads scale."""

    known: bool
    processes: int
    threads: int
    tried: list[WorkersTried]


@document
class ClimbDocument(PointDocument):
    """Where the hill climb ends, and what it misses of the optimum. [1]"""

    gain: float | None
    found_optimum: bool
    shortfall: float | None
    steps: list[TriedDocument]


@document
class TuningDocument(TypedDict):
    """One node, tuned for one SLA; gains are over the static baseline. [1]"""

    sla: SlaAsked
    objective: Objective
    static: PointDocument
    tuned: PointDocument
    gain: float | None
    gain_per_w: float | None
    climb: ClimbDocument
    tried: list[TriedDocument]


@document
class LevelDocument(TuningDocument):
    """One node, tuned for one level of the SLA: low, medium (the scenario's own) or high."""

    level: str


@document
class TuneDocument(TuningDocument, Saved):
    """Which batch size and offload threshold carry the most load; `set` is what `--set` takes."""

    scenario: str
    model: str | None
    service_times_of: str
    node: NodeDocument
    set: list[str]
    sla_levels: list[LevelDocument] | None
    power_model: str
    workers: WorkersDocument
    notes: list[str]
    basis: BasisLabel
    simulated_queries: int
    asked: dict[str, Any]


def tune_document(answer: TuneAnswer) -> TuneDocument:
    """Return the document; what does not exist is None."""
    levels: list[LevelDocument] = [
        {"level": level, **_tuning(tuning, answer)} for level, tuning in answer.levels.items()
    ]
    return {
        **saved("tune", VERSION, answer.question.inputs),
        "scenario": answer.question.name,
        "model": answer.question.node.model_name,
        "service_times_of": answer.question.service_times_of,
        "node": node_document(answer.question.node),
        **_tuning(answer.tuning, answer),
        "set": list(answer.settings),
        "sla_levels": levels if len(levels) > 1 else None,
        "power_model": "static TDP",
        "workers": _workers(answer),
        "notes": list(answer.notes),
        "basis": answer.basis.label,
        "simulated_queries": answer.simulated_queries,
        "asked": dict(answer.question.asked),
    }


def _workers(answer: TuneAnswer) -> WorkersDocument:
    node = answer.tuning.node
    tried: list[WorkersTried] = [
        {"processes": one.node.num_workers, "threads": threads, **_point(one.exhaustive)}
        for threads, one in answer.by_threads.items()
    ]
    known = node.threads_scale
    return {"known": known, "processes": node.num_workers, "threads": node.threads, "tried": tried}


def _tuning(tuning: Tuning, answer: TuneAnswer) -> TuningDocument:
    return {
        "sla": sla_asked(tuning.sla, answer.question.traffic.outside),
        "objective": tuning.objective,
        "static": _point(tuning.static),
        "tuned": _point(tuning.exhaustive),
        "gain": tuning.gain,
        "gain_per_w": tuning.gain_per_w,
        "climb": {
            **_point(tuning.climb),
            "gain": tuning.climb_gain,
            "found_optimum": tuning.climb_found_optimum,
            "shortfall": tuning.climb_shortfall,
            "steps": [_tried(tried) for tried in tuning.climbed],
        },
        "tried": [_tried(tried) for tried in tuning.tried],
    }


def _point(point: OperatingPoint) -> PointDocument:
    return {
        "batch_size": point.batch_size,
        "offload_threshold_items": point.offload_threshold_items,
        "timeout_ms": point.timeout_ms,
        "latency_bounded_qps": point.latency_bounded_qps,
        "qps_per_w": point.qps_per_w,
        "power_w": point.power_w,
        "simulated_queries": point.num_queries,
    }


def _tried(tried: Tried) -> TriedDocument:
    """A null rate: no load meets the SLA, or, where `below_qps` is given, it was not worth finding."""
    return {
        "batch_size": tried.configuration.batch_size,
        "offload_threshold_items": tried.configuration.offload_threshold_items,
        "timeout_ms": tried.configuration.timeout_ms,
        "latency_bounded_qps": tried.latency_bounded_qps,
        "below_qps": tried.below_qps,
    }
