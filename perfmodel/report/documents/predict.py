"""The JSON document of `perfplan predict`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.predict.answer import Prediction
from perfmodel.planning.verdict import Verdict
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import (
    DecidingDocument,
    ErrorsDocument,
    JsonBand,
    LatencyMs,
    LoadTestDocument,
    NodeDocument,
    OperatorDocument,
    PercentileKey,
    PipelineDocument,
    ReportedBandsMs,
    SensitivityDocument,
    SlaAsked,
    UtilisationDocument,
    band_ms,
    ci_ms,
    cis_ms,
    deciding_document,
    errors_document,
    load_test_document,
    ms,
    node_document,
    node_ms,
    operators,
    pipeline_document,
    plan_ci95,
    rate_band,
    rate_ci95,
    reported_bands_ms,
    reported_cis_ms,
    reported_ms,
    sensitivity,
    sla_asked,
    value_ms,
    values_ms,
)
from perfmodel.sim.run_result import REPORTED_PERCENTILES

if TYPE_CHECKING:
    from perfmodel.sim.day_run import WindowResult

VERSION = 1


@document
class SlaDocument(SlaAsked):
    """The percentile, its bound and how certain a claim has to be; what is predicted of it."""

    confidence: float
    predicted_ms: float | None
    ci95_ms: JsonBand | None
    calibration_band_ms: JsonBand | None
    confidence_band_ms: JsonBand | None


@document
class WorstWindow(TypedDict):
    """The five minutes of a day that the verdict is about."""

    start_s: float
    end_s: float
    rate_qps: float
    latency_ms: dict[PercentileKey, float | None]
    latency_ci95_ms: dict[PercentileKey, JsonBand | None]
    share_late: float | None


@document
class UnsteadyDocument(TypedDict):
    """What scatter and pauses of the node do: the same load without them, and what they add to it."""

    without_ms: LatencyMs
    cost_ms: LatencyMs


@document
class PredictDocument(Saved):
    """What a load looks like on a node."""

    scenario: str
    model: str | None
    node: NodeDocument
    pipeline: PipelineDocument | None
    service_times_of: str
    policy: str
    engine: str | None
    verdict: Verdict
    sla_probability: float | None
    plan_for_qps: float | None
    plan_for_qps_ci95: JsonBand | None
    would_decide: DecidingDocument | None
    offered_qps: float
    throughput_qps: float | None
    throughput_items_per_s: float | None
    goodput_qps: float | None
    shed_rate: float | None
    utilisation: UtilisationDocument
    latency_ms: LatencyMs
    node_latency_ms: LatencyMs
    latency_ci95_ms: ReportedBandsMs
    scatter_and_pauses: UnsteadyDocument | None
    sla: SlaDocument
    worst_window: WorstWindow | None
    share_within_sla: float | None
    calibration_band_ms: ReportedBandsMs
    latency_bounded_qps: float | None
    latency_bounded_qps_ci95: JsonBand | None
    latency_bounded_qps_calibration_band: JsonBand | None
    sensitivity: SensitivityDocument
    power_w: float | None
    qps_per_w: float | None
    power_model: str
    power_at_load_w: float | None
    qps_per_w_at_load: float | None
    power_at_load_model: str
    service_time_ms: float | None
    operators: list[OperatorDocument]
    operators_batch_size: int | None
    accelerator_operators: list[OperatorDocument]
    accelerator_operators_batch_size: int | None
    basis: BasisLabel
    error_of_service_times: ErrorsDocument
    load_test: LoadTestDocument | None
    assumptions: list[str]
    simulated_queries: int
    precision_reached: bool
    notes: list[str]
    asked: dict[str, Any]


def predict_document(result: Prediction) -> PredictDocument:
    """Return the document; what does not exist is None."""
    question, node, run = result.question, result.question.node, result.run
    mean, at_sla, budget = run.mean_latency, result.sla_interval, result.latency_budget
    return {
        **saved("predict", VERSION, question.inputs),
        "scenario": question.name,
        "model": node.model_name,
        "node": node_document(node),
        "pipeline": _pipeline(result),
        "service_times_of": question.service_times_of,
        "policy": question.policy.name,
        "engine": result.engine,
        "verdict": result.verdict,
        "sla_probability": result.judgement.sla_probability,
        "plan_for_qps": result.plan_for_qps,
        "plan_for_qps_ci95": plan_ci95(result.rate_budget),
        "would_decide": deciding_document(result.judgement.deciding),
        "offered_qps": result.offered_qps,
        "throughput_qps": result.throughput_qps,
        "throughput_items_per_s": run.throughput_items_per_s,
        "goodput_qps": result.goodput_qps,
        "shed_rate": result.shed_rate,
        "utilisation": utilisation(result),
        "latency_ms": {"mean": value_ms(mean), **reported_ms(run.percentiles)},
        "node_latency_ms": node_ms(run.on_node),
        "latency_ci95_ms": reported_cis_ms(run.percentiles),
        "scatter_and_pauses": _unsteady(result),
        "sla": {
            **sla_asked(question.sla, question.traffic.outside),
            "confidence": question.sla.confidence,
            "predicted_ms": value_ms(at_sla),
            "ci95_ms": ci_ms(at_sla),
            "calibration_band_ms": None if budget is None else band_ms(budget.sla_band_s),
            "confidence_band_ms": None if budget is None else band_ms(budget.sure_s),
        },
        "worst_window": worst_window(run.worst),
        "share_within_sla": run.within_share,
        "calibration_band_ms": reported_bands_ms(result.latency_budget),
        "latency_bounded_qps": result.latency_bounded_qps,
        "latency_bounded_qps_ci95": rate_ci95(result.greatest),
        "latency_bounded_qps_calibration_band": rate_band(result.rate_budget),
        "sensitivity": sensitivity(result.latency_budget, result.rate_budget),
        "power_w": question.tdp_w,
        "qps_per_w": result.qps_per_w,
        "power_model": "static TDP",
        "power_at_load_w": result.load_power_w,
        "qps_per_w_at_load": result.qps_per_w_at_load,
        "power_at_load_model": "idle + utilisation x (peak - idle)",
        "service_time_ms": ms(result.mean_service_s),
        "operators": [] if result.cpu is None else operators(result.cpu.operators),
        "operators_batch_size": None if result.cpu is None else result.cpu.batch_size,
        "accelerator_operators": []
        if result.accelerator is None
        else operators(result.accelerator.operators),
        "accelerator_operators_batch_size": None
        if result.accelerator is None
        else result.accelerator.batch_size,
        "basis": result.basis.label,
        "error_of_service_times": errors_document(result.errors),
        "load_test": load_test_document(question.load_test),
        "assumptions": list(node.assumptions),
        "simulated_queries": run.num_queries,
        "precision_reached": run.precision_reached,
        "notes": list(result.notes),
        "asked": dict(question.asked),
    }


def _unsteady(result: Prediction) -> UnsteadyDocument | None:
    if result.steady is None:
        return None
    run, without = result.run, result.steady
    costs_s = {
        percentile: None
        if without.percentiles.get(percentile) is None
        else with_it.value_s - without.percentiles[percentile].value_s
        for percentile, with_it in run.percentiles.items()
    }
    mean_s = None
    if run.mean_latency is not None and without.mean_latency is not None:
        mean_s = run.mean_latency.value_s - without.mean_latency.value_s
    p50, p95, p99, p999 = (ms(costs_s.get(percentile)) for percentile in REPORTED_PERCENTILES)
    return {
        "without_ms": {"mean": value_ms(without.mean_latency), **reported_ms(without.percentiles)},
        "cost_ms": {"mean": ms(mean_s), "p50": p50, "p95": p95, "p99": p99, "p99.9": p999},
    }


def utilisation(result: Prediction) -> UtilisationDocument:
    """Of the cores, and of the accelerators where there are any. [1]"""
    return {"cpu": result.cpu_utilisation, "accelerator": result.accelerator_utilisation}


def _pipeline(result: Prediction) -> PipelineDocument | None:
    """The stages of a pipeline; None where there is one."""
    if result.question.pipeline is None:
        return None
    from perfmodel.planning.stage_figures import stage_figures  # few scenarios have several

    return pipeline_document(result.question.pipeline, stage_figures(result.question, result.run))


def worst_window(worst: WindowResult | None) -> WorstWindow | None:
    """The five minutes of a day that the verdict is about; None of other traffic."""
    if worst is None:
        return None
    return {
        "start_s": worst.start_s,
        "end_s": worst.end_s,
        "rate_qps": worst.rate_qps,
        "latency_ms": values_ms(worst.percentiles),
        "latency_ci95_ms": cis_ms(worst.percentiles),
        "share_late": None if worst.late_share is None else worst.late_share.mean,
    }
