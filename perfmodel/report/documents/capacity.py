"""The JSON document of `perfplan capacity`."""

from __future__ import annotations

from typing import Any, Literal

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.capacity.answer import Capacity
from perfmodel.planning.stage_figures import stage_figures
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import (
    DecidingDocument,
    ErrorsDocument,
    JsonBand,
    LatencyMs,
    LoadPointDocument,
    LoadTestDocument,
    NodeDocument,
    PipelineDocument,
    ReportedBandsMs,
    SensitivityDocument,
    SlaAsked,
    UtilisationDocument,
    deciding_document,
    errors_document,
    load_points,
    load_test_document,
    node_document,
    node_ms,
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
)
from perfmodel.report.documents.predict import WorstWindow, utilisation, worst_window

VERSION = 1


@document
class ConfidentSla(SlaAsked):
    """The percentile, its bound, and how certain a claim has to be."""

    confidence: float


@document
class CapacityDocument(Saved):
    """The largest load that a node carries within its SLA; latencies and utilisation are at that load."""

    scenario: str
    model: str | None
    node: NodeDocument
    pipeline: PipelineDocument | None
    service_times_of: str
    sla: ConfidentSla
    plan_for_qps: float | None
    plan_for_qps_ci95: JsonBand | None
    would_decide: DecidingDocument | None
    latency_bounded_qps: float | None
    latency_bounded_qps_ci95: JsonBand | None
    latency_bounded_qps_calibration_band: JsonBand | None
    latency_bounded_users: int | None
    latency_bounded_users_ci95: JsonBand | None
    plan_for_users: int | None
    items_per_s: float | None
    power_w: float | None
    qps_per_w: float | None
    price_usd_per_h: float | None
    usd_per_million_queries: float | None
    joules_per_query: float | None
    power_model: str
    power_at_load_w: float | None
    qps_per_w_at_load: float | None
    latency_ms: LatencyMs | None
    node_latency_ms: LatencyMs | None
    latency_ci95_ms: ReportedBandsMs | None
    worst_window: WorstWindow | None
    calibration_band_ms: ReportedBandsMs | None
    sensitivity: SensitivityDocument | None
    error_of_service_times: ErrorsDocument
    load_test: LoadTestDocument | None
    utilisation: UtilisationDocument | None
    saturation_qps: float
    fraction_of_saturation: float | None
    bottleneck: Literal["cpu", "accelerator"]
    load_curve: list[LoadPointDocument]
    basis: BasisLabel | None
    simulated_queries: int | None
    reason: str | None
    asked: dict[str, Any]
    notes: list[str]


def capacity_document(result: Capacity) -> CapacityDocument:
    """Return the document; what does not exist is None."""
    question, node = result.question, result.question.node
    at, rate, users = result.at_capacity, result.latency_bounded_qps, result.users
    return {
        **saved("capacity", VERSION, question.inputs),
        "scenario": question.name,
        "model": node.model_name,
        "node": node_document(node),
        "pipeline": pipeline_document(
            question.pipeline, () if at is None else stage_figures(at.question, at.run)
        ),
        "service_times_of": question.service_times_of,
        "sla": {
            **sla_asked(question.sla, question.traffic.outside),
            "confidence": question.sla.confidence,
        },
        "plan_for_qps": result.plan_for_qps,
        "would_decide": deciding_document(result.deciding),
        "plan_for_qps_ci95": plan_ci95(result.budget),
        "latency_bounded_qps": rate,
        "latency_bounded_qps_ci95": rate_ci95(result.greatest),
        "latency_bounded_qps_calibration_band": rate_band(result.budget),
        "latency_bounded_users": None if users is None else users.users,
        "latency_bounded_users_ci95": None if users is None else [float(end) for end in users.ci95],
        "plan_for_users": None if users is None else users.plan_for,
        "items_per_s": None if rate is None else rate * question.traffic.size_pmf.mean_items,
        "power_w": question.tdp_w,
        "qps_per_w": None if rate is None or question.tdp_w is None else rate / question.tdp_w,
        "price_usd_per_h": question.price_usd_per_h,
        "usd_per_million_queries": result.usd_per_million_queries,
        "joules_per_query": result.joules_per_query,
        "power_model": "static TDP",
        "power_at_load_w": None if at is None else at.load_power_w,
        "qps_per_w_at_load": None if at is None else at.qps_per_w_at_load,
        "latency_ms": None
        if at is None
        else {"mean": value_ms(at.run.mean_latency), **reported_ms(at.run.percentiles)},
        "node_latency_ms": None if at is None else node_ms(at.run.on_node),
        "latency_ci95_ms": None if at is None else reported_cis_ms(at.run.percentiles),
        "worst_window": None if at is None else worst_window(at.run.worst),
        "calibration_band_ms": None if at is None else reported_bands_ms(at.latency_budget),
        "sensitivity": None if at is None else sensitivity(at.latency_budget, at.rate_budget),
        "error_of_service_times": errors_document(result.errors),
        "load_test": load_test_document(question.load_test),
        "utilisation": None if at is None else utilisation(at),
        "saturation_qps": result.saturation_qps,
        "fraction_of_saturation": None if rate is None else rate / result.saturation_qps,
        "bottleneck": result.bottleneck,
        "load_curve": load_points(result.curve, question.sla.percentile),
        "basis": None if at is None else at.basis.label,
        "simulated_queries": None if result.greatest is None else result.greatest.num_queries,
        "reason": result.reason,
        "asked": dict(question.asked),
        "notes": list(result.notes),
    }
