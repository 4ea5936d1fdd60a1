"""The JSON document of `perfplan mlperf`."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.early_stopping import least_queries
from perfmodel.planning.mlperf.answer import MlperfAnswer, Result
from perfmodel.planning.verdict import Verdict
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import (
    DecidingDocument,
    ErrorsDocument,
    JsonBand,
    LatencyMs,
    NodeDocument,
    deciding_document,
    errors_document,
    node_document,
    rate_band,
    rate_ci95,
    reported_ms,
    value_ms,
)
from perfmodel.units import MS

VERSION = 1


@document
class EarlyStoppingDocument(TypedDict):
    """LoadGen's rule for a run of so many queries; `least_queries`: fewest with as many late as expected.

    `expected_late` is null of an unstable load, `most_late` where the run is too short for any.
    """

    percentile: float
    most_late: int | None
    expected_late: float | None
    expected_late_share: float | None
    least_queries: int | None


@document
class MlperfDocument(Saved):
    """What LoadGen would say of a run: VALID or INVALID at a target rate, and the largest valid one.

    Of the Offline scenario rates are of samples, `largest_valid_qps` is the throughput, its score, and there
    are no latencies.
    """

    scenario: str
    model: str | None
    node: NodeDocument
    service_times_of: str
    benchmark: str
    loadgen_scenario: Literal["Server", "Offline"]
    verdict: Verdict
    result: Result
    valid_probability: float | None
    confidence: float
    reason: str | None
    target_qps: float
    target_latency_ms: float | None
    min_queries: int
    min_duration_s: float
    run_queries: int
    run_s: float | None
    early_stopping: EarlyStoppingDocument | None
    largest_valid_qps: float | None
    largest_valid_qps_ci95: JsonBand | None
    largest_valid_qps_calibration_band: JsonBand | None
    plan_for_qps: float | None
    least_target_qps: float | None
    latency_ms: LatencyMs | None
    deciding: DecidingDocument | None
    error_of_service_times: ErrorsDocument
    basis: BasisLabel
    asked: dict[str, Any]
    notes: list[str]


def mlperf_document(result: MlperfAnswer) -> MlperfDocument:
    """Return the document; what does not exist is None."""
    question, target, run = result.question, result.target, result.run
    return {
        **saved("mlperf", VERSION, question.inputs),
        "scenario": question.name,
        "model": question.node.model_name,
        "node": node_document(question.node),
        "service_times_of": question.service_times_of,
        "benchmark": target.model,
        "loadgen_scenario": target.scenario,
        "verdict": result.verdict,
        "result": result.result,
        "valid_probability": result.valid_probability,
        "confidence": result.judgement.confidence,
        "reason": result.reason,
        "target_qps": result.target_qps,
        "target_latency_ms": None if target.latency_s is None else target.latency_s / MS,
        "min_queries": target.min_queries,
        "min_duration_s": target.min_duration_s,
        "run_queries": result.run_queries,
        "run_s": result.run_s,
        "early_stopping": _early_stopping(result),
        "largest_valid_qps": result.largest_valid_qps,
        "largest_valid_qps_ci95": rate_ci95(result.largest),
        "largest_valid_qps_calibration_band": rate_band(result.budget),
        "plan_for_qps": result.plan_for_qps,
        "least_target_qps": result.least_target_qps,
        "latency_ms": None
        if run is None
        else {"mean": value_ms(run.mean_latency), **reported_ms(run.percentiles)},
        "deciding": deciding_document(result.judgement.deciding),
        "error_of_service_times": errors_document(result.errors),
        "basis": result.basis.label,
        "asked": dict(question.asked),
        "notes": list(result.notes),
    }


def _early_stopping(result: MlperfAnswer) -> EarlyStoppingDocument | None:
    """The rule of a run with a limit; None of the Offline scenario."""
    target, late = result.target, result.expected_late
    if target.latency_s is None:
        return None
    return {
        "percentile": target.percentile,
        "most_late": result.most_late,
        "expected_late": late,
        "expected_late_share": None if late is None else late / result.run_queries,
        "least_queries": None if late is None else least_queries(round(late), target.percentile),
    }
