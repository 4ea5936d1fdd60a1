"""The JSON document of `perfplan fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.planning.fleet.answer import FleetPrediction, FleetWindow
from perfmodel.planning.fleet.question import FleetMember
from perfmodel.report.documents.parts import ci_ms, cis_ms, node_document, reported, value_ms, values_ms
from perfmodel.sim.statistics import Interval


def fleet_document(result: FleetPrediction) -> dict[str, Any]:
    """Return the document; what does not exist is None."""
    question, sla = result.question, result.question.scenario.sla
    load_power_w = result.load_power_w
    at_sla = result.percentiles.get(sla.percentile)
    return {
        "scenario": question.scenario.name,
        "model": question.scenario.node.model.name,
        "service_times_of": result.service_times_of,
        "routing": question.routing.value,
        "num_nodes": question.num_nodes,
        "nodes": [_member(member) for member in question.members],
        "verdict": result.verdict,
        "sla_probability": result.sla_probability,
        "offered_qps": question.offered_qps,
        **_latencies(result.percentiles),
        "sla": {
            "percentile": sla.percentile,
            "latency_ms": sla.latency_ms,
            "predicted_ms": value_ms(at_sla),
            "ci95_ms": ci_ms(at_sla),
            "confidence": sla.confidence,
            "windows_missed": sum(window.verdict != "meets_sla" for window in result.windows),
        },
        "windows": [_window(window) for window in result.windows],
        "power_w": result.tdp_w,
        "qps_per_w": None if load_power_w is None else question.offered_qps / result.tdp_w,
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


def _member(member: FleetMember) -> dict[str, Any]:
    return {
        "scenario": member.question.name,
        "num_nodes": member.num_nodes,
        **node_document(member.question.node),
    }


def _window(window: FleetWindow) -> dict[str, Any]:
    return {
        "start_s": window.window.start_s,
        "end_s": window.window.end_s,
        "offered_qps": window.window.rate_qps,
        "verdict": window.verdict,
        "sla_probability": window.judgement.sla_probability,
        **_latencies(window.percentiles),
        "utilisation": {"cpu": window.cpu_utilisation, "accelerator": window.accelerator_utilisation},
        "power_at_load_w": window.load_power_w,
        "share_of_queries": list(window.stretch.shares),
    }


def _latencies(percentiles: Mapping[float, Interval]) -> dict[str, Any]:
    intervals = reported(percentiles)
    return {"latency_ms": values_ms(intervals), "latency_ci95_ms": cis_ms(intervals)}
