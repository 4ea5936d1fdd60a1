"""The error budget in JSON: intervals, bands and sensitivities, None where there is none."""

from __future__ import annotations

from typing import Any

from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import LatencyBudget, RateBudget
from perfmodel.planning.verdict import Deciding
from perfmodel.sim.run import REPORTED_PERCENTILES
from perfmodel.units import MS

JsonBand = list[float | None]


def latency_bands_ms(budget: LatencyBudget | None) -> dict[float, JsonBand]:
    """Latency by percentile with service times shorter, and longer, by the profiles' error. [ms]"""
    if budget is None:
        return {}
    return {
        percentile: [None if end is None else end / MS for end in band]
        for percentile, band in budget.bands_s.items()
    }


def rate_ci95(greatest: GreatestRate | None) -> list[float] | None:
    """The simulation's 95 % interval of the greatest rate. [queries/s]"""
    return None if greatest is None or greatest.ci95_qps is None else list(greatest.ci95_qps)


def rate_band(budget: RateBudget | None) -> JsonBand | None:
    """The greatest rate with service times longer, and shorter, by the profiles' error. [queries/s]"""
    return None if budget is None or budget.band_qps is None else list(budget.band_qps)


def sensitivity(latency: LatencyBudget | None, rate: RateBudget | None) -> dict[str, float | None]:
    """Per cent of a figure for each per cent of all service times, and how far those may grow. [1], [%]"""
    responses = {} if latency is None else latency.responses
    percentiles = sorted({*REPORTED_PERCENTILES, *responses})
    return {
        **{
            f"p{100 * percentile:g}_percent_per_percent_service_time": responses.get(percentile)
            for percentile in percentiles
        },
        "capacity_percent_per_percent_service_time": None if rate is None else rate.response,
        "service_time_percent_to_saturation": None if latency is None else 100.0 * latency.to_saturation,
    }


def deciding_dict(deciding: Deciding | None) -> dict[str, Any] | None:
    """What would decide where neither "meets" nor "misses" can be said."""
    if deciding is None:
        return None
    band = deciding.band_s
    return {
        "error": deciding.error,
        "error_now": deciding.size,
        "error_then": deciding.expected,
        "command": deciding.command,
        "band_ms_then": None if band is None else [None if end is None else end / MS for end in band],
    }
