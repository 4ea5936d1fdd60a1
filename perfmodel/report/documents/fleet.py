"""The JSON document of `perfplan fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.fleet.answer import FleetPrediction, FleetWindow
from perfmodel.planning.fleet.question import FleetMember
from perfmodel.planning.verdict import Verdict
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import (
    DecidingDocument,
    JsonBand,
    NodeDocument,
    ReportedBandsMs,
    ReportedMs,
    SlaAsked,
    UtilisationDocument,
    ci_ms,
    deciding_document,
    node_document,
    reported_cis_ms,
    reported_ms,
    sla_asked,
    value_ms,
)
from perfmodel.sim.statistics import Interval

VERSION = 1


@document
class FleetLatencies(TypedDict):
    """Percentiles of the latency, their 95 % intervals, and on the nodes alone; null of an overload. [ms]"""

    latency_ms: ReportedMs
    node_latency_ms: ReportedMs
    latency_ci95_ms: ReportedBandsMs


@document
class MemberDocument(NodeDocument):
    """One kind of node, by the scenario that describes it, how many there are, and its stages, if several."""

    scenario: str
    num_nodes: int
    stages: list[str] | None
    asked: dict[str, Any]


@document
class FleetSla(SlaAsked):
    """The percentile, its bound and how certain a claim has to be; what is predicted over all windows."""

    predicted_ms: float | None
    ci95_ms: JsonBand | None
    confidence: float
    windows_missed: int


@document
class WindowDocument(FleetLatencies):
    """One window of a day; `share_of_queries` by kind of node."""

    start_s: float
    end_s: float
    offered_qps: float
    verdict: Verdict
    sla_probability: float | None
    utilisation: UtilisationDocument
    power_at_load_w: float | None
    share_of_queries: list[float]
    shed_rate: float | None


@document
class FleetDocument(FleetLatencies, Saved):
    """What a load looks like on many nodes behind a router."""

    scenario: str
    model: str | None
    service_times_of: str
    routing: str
    num_nodes: int
    nodes: list[MemberDocument]
    verdict: Verdict
    sla_probability: float | None
    would_decide: DecidingDocument | None
    offered_qps: float
    sla: FleetSla
    shed_rate: float | None
    windows: list[WindowDocument]
    power_w: float | None
    qps_per_w: float | None
    power_model: str
    power_at_load_w: float | None
    qps_per_w_at_load: float | None
    power_at_load_model: str
    basis: BasisLabel
    assumptions: list[str]
    simulated_queries: int
    precision_reached: bool
    notes: list[str]


def fleet_document(result: FleetPrediction) -> FleetDocument:
    """Return the document; what does not exist is None."""
    question, sla = result.question, result.question.scenario.sla
    load_power_w, tdp_w = result.load_power_w, result.tdp_w
    at_sla = result.percentiles.get(sla.percentile) if result.of_asked is None else result.of_asked
    is_stable = all(window.stretch.is_stable for window in result.windows)
    return {
        **saved("fleet", VERSION, (each for one in question.members for each in one.question.inputs)),
        "scenario": question.scenario.name,
        "model": question.scenario.node.model_name,
        "service_times_of": result.service_times_of,
        "routing": question.routing.value,
        "num_nodes": question.num_nodes,
        "nodes": [_member(member) for member in question.members],
        "verdict": result.verdict,
        "sla_probability": result.sla_probability,
        "would_decide": deciding_document(result.deciding),
        "offered_qps": question.offered_qps,
        **_latencies(result.percentiles, result.node_percentiles),
        "sla": {
            **sla_asked(sla, question.scenario.traffic.outside),
            "predicted_ms": value_ms(at_sla),
            "ci95_ms": ci_ms(at_sla),
            "confidence": sla.confidence,
            "windows_missed": sum(window.verdict != "meets_sla" for window in result.windows),
        },
        "shed_rate": result.shed_rate,
        "windows": [_window(window, sheds=result.shed_rate is not None) for window in result.windows],
        "power_w": tdp_w,
        "qps_per_w": question.offered_qps / tdp_w if tdp_w is not None and is_stable else None,
        "power_model": "static TDP",
        "power_at_load_w": load_power_w,
        "qps_per_w_at_load": None if load_power_w is None else question.offered_qps / load_power_w,
        "power_at_load_model": "idle + utilisation x (peak - idle)",
        "basis": result.basis.label,
        "assumptions": list(result.assumptions),
        "simulated_queries": result.simulated_queries,
        "precision_reached": all(window.stretch.precision_reached for window in result.windows),
        "notes": list(result.notes),
    }


def _member(member: FleetMember) -> MemberDocument:
    return {
        "scenario": member.question.name,
        "num_nodes": member.num_nodes,
        "stages": None
        if member.question.pipeline is None
        else [stage.name for stage in member.question.stages],
        "asked": dict(member.question.asked),
        **node_document(member.question.node),
    }


def _window(window: FleetWindow, *, sheds: bool) -> WindowDocument:
    return {
        "start_s": window.window.start_s,
        "end_s": window.window.end_s,
        "offered_qps": window.window.rate_qps,
        "verdict": window.verdict,
        "sla_probability": window.judgement.sla_probability,
        **_latencies(window.percentiles, window.node_percentiles),
        "utilisation": {"cpu": window.cpu_utilisation, "accelerator": window.accelerator_utilisation},
        "power_at_load_w": window.load_power_w,
        "share_of_queries": list(window.stretch.shares),
        "shed_rate": window.stretch.shed_rate if sheds else None,
    }


def _latencies(percentiles: Mapping[float, Interval], on_nodes: Mapping[float, Interval]) -> FleetLatencies:
    return {
        "latency_ms": reported_ms(percentiles),
        "node_latency_ms": reported_ms(on_nodes),
        "latency_ci95_ms": reported_cis_ms(percentiles),
    }
