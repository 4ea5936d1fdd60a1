"""What several documents hold: latencies, the node, where a batch spends its time, the error budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.breakdown import OperatorTime
from perfmodel.planning.node import ServingNode
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Errors, LatencyBudget, RateBudget
from perfmodel.planning.verdict import Deciding
from perfmodel.sim.run import REPORTED_PERCENTILES
from perfmodel.sim.statistics import Interval
from perfmodel.units import MS

JsonBand = list[float | None]


def label(percentile: float) -> str:
    """The key of a percentile, such as p95."""
    return f"p{100 * percentile:g}"


def ms(seconds: float | None) -> float | None:
    """A time in milliseconds."""
    return None if seconds is None else seconds / MS


def value_ms(interval: Interval | None) -> float | None:
    """The estimate that an interval is about. [ms]"""
    return None if interval is None else interval.value_s / MS


def ci_ms(interval: Interval | None) -> JsonBand | None:
    """Both ends of an interval, the upper one null where there is none. [ms]"""
    if interval is None:
        return None
    return [interval.low_s / MS, None if interval.high_s == float("inf") else interval.high_s / MS]


def reported(percentiles: Mapping[float, Interval]) -> dict[float, Interval | None]:
    """The percentiles that every document holds, null of an overload."""
    return {percentile: percentiles.get(percentile) for percentile in REPORTED_PERCENTILES}


def values_ms(intervals: Mapping[float, Interval | None]) -> dict[str, float | None]:
    """Latency by percentile. [ms]"""
    return {label(percentile): value_ms(interval) for percentile, interval in intervals.items()}


def cis_ms(intervals: Mapping[float, Interval | None]) -> dict[str, JsonBand | None]:
    """The simulation's 95 % interval by percentile. [ms]"""
    return {label(percentile): ci_ms(interval) for percentile, interval in intervals.items()}


def sla_asked(sla: SlaTarget) -> dict[str, Any]:
    """The percentile and its bound."""
    return {"percentile": sla.percentile, "latency_ms": sla.latency_ms}


def node_document(node: ServingNode) -> dict[str, Any]:
    """What the node is made of."""
    return {
        "cpu": node.cpu.name,
        "stack": node.cpu.stack,
        "cores": node.cores,
        "accelerator": node.accelerator.name if node.accelerator else None,
        "num_accelerators": node.num_accelerators,
    }


def operators(rows: Sequence[OperatorTime]) -> list[dict[str, Any]]:
    """Where a batch spends its time."""
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "time_ms": row.seconds / MS,
            "share": row.share,
            "flop": row.flop,
            "bytes_moved": row.bytes_moved,
            "random_rows": row.random_rows,
            "bound": row.bound,
            "basis": row.basis.label,
        }
        for row in rows
    ]


def errors_document(errors: Errors) -> dict[str, float | None]:
    """Root mean square error of the service times by device. [ln]"""
    return {"cpu": errors.cpu, "accelerator": errors.accelerator}


def latency_bands_ms(budget: LatencyBudget | None) -> dict[float, JsonBand]:
    """Latency by percentile with service times shorter, and longer, by the profiles' error. [ms]"""
    if budget is None:
        return {}
    return {percentile: [ms(end) for end in band] for percentile, band in budget.bands_s.items()}


def reported_bands_ms(budget: LatencyBudget | None) -> dict[str, JsonBand | None]:
    """The same of the percentiles that every document holds, by their keys. [ms]"""
    bands = latency_bands_ms(budget)
    return {label(percentile): bands.get(percentile) for percentile in REPORTED_PERCENTILES}


def rate_ci95(greatest: GreatestRate | None) -> list[float] | None:
    """The simulation's 95 % interval of the greatest rate. [queries/s]"""
    return None if greatest is None or greatest.ci95_qps is None else list(greatest.ci95_qps)


def rate_band(budget: RateBudget | None) -> JsonBand | None:
    """The greatest rate with service times longer, and shorter, by the profiles' error. [queries/s]"""
    return None if budget is None or budget.band_qps is None else list(budget.band_qps)


def sensitivity(latency: LatencyBudget | None, rate: RateBudget | None) -> dict[str, float | None]:
    """Per cent of a figure for each per cent of all service times, and how far those may grow. [1], [%]"""
    responses = {} if latency is None else latency.responses
    return {
        **{
            f"{label(percentile)}_percent_per_percent_service_time": responses.get(percentile)
            for percentile in sorted({*REPORTED_PERCENTILES, *responses})
        },
        "capacity_percent_per_percent_service_time": None if rate is None else rate.response,
        "service_time_percent_to_saturation": None if latency is None else 100.0 * latency.to_saturation,
    }


def deciding_document(deciding: Deciding | None) -> dict[str, Any] | None:
    """What would decide where neither "meets" nor "misses" can be said."""
    if deciding is None:
        return None
    return {
        "error": deciding.error,
        "error_now": deciding.size,
        "error_then": deciding.expected,
        "command": deciding.command,
        "band_ms_then": None if deciding.band_s is None else [ms(end) for end in deciding.band_s],
    }
