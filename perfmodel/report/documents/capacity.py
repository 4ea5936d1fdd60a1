"""The JSON document of `perfplan capacity`."""

from __future__ import annotations

from typing import Any

from perfmodel.planning.capacity.answer import Capacity
from perfmodel.report.documents.parts import (
    cis_ms,
    errors_document,
    rate_band,
    rate_ci95,
    reported,
    reported_bands_ms,
    sensitivity,
    value_ms,
    values_ms,
)
from perfmodel.report.documents.predict import utilisation


def capacity_document(result: Capacity) -> dict[str, Any]:
    """Return the document; what does not exist is None."""
    question, node = result.question, result.question.node
    at, rate = result.at_capacity, result.latency_bounded_qps
    intervals = {} if at is None else reported(at.run.percentiles)
    return {
        "scenario": question.name,
        "model": node.model.name,
        "service_times_of": question.service_times_of,
        "sla": {
            "percentile": question.sla.percentile,
            "latency_ms": question.sla.latency_ms,
            "confidence": question.sla.confidence,
        },
        "plan_for_qps": result.plan_for_qps,
        "latency_bounded_qps": rate,
        "latency_bounded_qps_ci95": rate_ci95(result.greatest),
        "latency_bounded_qps_calibration_band": rate_band(result.budget),
        "items_per_s": None if rate is None else rate * question.traffic.size_pmf.mean_items,
        "power_w": node.tdp_w,
        "qps_per_w": None if rate is None else rate / node.tdp_w,
        "power_model": "static TDP",
        "power_at_load_w": at and at.load_power_w,
        "qps_per_w_at_load": at and at.qps_per_w_at_load,
        "latency_ms": at and {"mean": value_ms(at.run.mean_latency), **values_ms(intervals)},
        "latency_ci95_ms": at and cis_ms(intervals),
        "calibration_band_ms": at and reported_bands_ms(at.latency_budget),
        "sensitivity": at and sensitivity(at.latency_budget, at.rate_budget),
        "error_of_service_times": errors_document(result.errors),
        "utilisation": at and utilisation(at),
        "saturation_qps": result.saturation_qps,
        "fraction_of_saturation": None if rate is None else rate / result.saturation_qps,
        "bottleneck": result.bottleneck,
        "basis": at and at.basis.label,
        "simulated_queries": None if result.greatest is None else result.greatest.num_queries,
        "reason": result.reason,
    }
