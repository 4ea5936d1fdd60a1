"""The JSON document of `perfplan tune`."""

from __future__ import annotations

from typing import Any

from perfmodel.planning.tune.answer import OperatingPoint, Tried, TuneAnswer, Tuning
from perfmodel.report.documents.parts import node_document, sla_asked


def tune_document(answer: TuneAnswer) -> dict[str, Any]:
    """Return the document; what does not exist is None."""
    levels = [{"level": level, **_tuning(tuning)} for level, tuning in answer.levels.items()]
    return {
        "scenario": answer.question.name,
        "model": answer.question.node.model.name,
        "service_times_of": answer.question.service_times_of,
        "node": node_document(answer.question.node),
        **_tuning(answer.tuning),
        "set": list(answer.settings),
        "sla_levels": levels if len(levels) > 1 else None,
        "power_model": "static TDP",
        "workers": _workers(answer),
        "notes": list(answer.notes),
        "basis": answer.basis.label,
        "simulated_queries": answer.simulated_queries,
    }


def _workers(answer: TuneAnswer) -> dict[str, Any]:
    node = answer.tuning.node
    tried = [
        {"processes": one.node.num_workers, "threads": threads, **_point(one.exhaustive)}
        for threads, one in answer.by_threads.items()
    ]
    known = bool(node.cpu.thread_scaling)
    return {"known": known, "processes": node.num_workers, "threads": node.threads, "tried": tried}


def _tuning(tuning: Tuning) -> dict[str, Any]:
    return {
        "sla": sla_asked(tuning.sla),
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


def _point(point: OperatingPoint) -> dict[str, Any]:
    return {
        "batch_size": point.batch_size,
        "offload_threshold_items": point.offload_threshold_items,
        "latency_bounded_qps": point.latency_bounded_qps,
        "qps_per_w": point.qps_per_w,
        "power_w": point.power_w,
        "simulated_queries": point.num_queries,
    }


def _tried(tried: Tried) -> dict[str, Any]:
    """A null rate: no load meets the SLA, or, where `below_qps` is given, it was not worth finding."""
    return {
        "batch_size": tried.configuration.batch_size,
        "offload_threshold_items": tried.configuration.offload_threshold_items,
        "latency_bounded_qps": tried.latency_bounded_qps,
        "below_qps": tried.below_qps,
    }
