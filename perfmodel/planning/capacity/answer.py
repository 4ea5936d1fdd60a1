"""The largest load that a node carries within its SLA: with its interval, its power, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from perfmodel.planning.error_budget import rate_band, rate_ci95
from perfmodel.planning.predict.answer import Prediction
from perfmodel.planning.prepare import Question
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Errors, RateBudget


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Capacity:
    """The answer of `perfplan capacity`.

    Attributes
    ----------
    question : Question
        What was asked; its arrival rate plays no part.
    greatest : GreatestRate or None
        The rate with its interval; None: no rate meets the SLA.
    budget : RateBudget or None
        What the calibration's error does to the rate; None where only SimPy could search again.
    errors : Errors
        Of the service times.
    saturation_qps : float
        Rate from which a pool with all executors busy cannot keep up, contention included. [queries/s]
    bottleneck : {"cpu", "accelerator"}
        The pool that saturates first.
    at_capacity : Prediction or None
        What that load looks like.
    """

    question: Question
    greatest: GreatestRate | None
    budget: RateBudget | None
    errors: Errors
    saturation_qps: float
    bottleneck: Literal["cpu", "accelerator"]
    at_capacity: Prediction | None

    @property
    def latency_bounded_qps(self) -> float | None:
        """The largest load; None: no rate meets the SLA. [queries/s]"""
        return None if self.greatest is None else self.greatest.rate_qps

    @property
    def plan_for_qps(self) -> float | None:
        """The greatest rate that meets the SLA with its confidence; None: none does. [queries/s]"""
        return None if self.budget is None else self.budget.plan_qps

    @property
    def reason(self) -> str | None:
        """Why no load meets the SLA; None where one does."""
        if self.latency_bounded_qps is not None:
            return None
        sla = self.question.sla
        bound = f"p{100 * sla.percentile:g} of {sla.latency_ms:g} ms"
        return f"no load meets {bound}: queries that find the node idle already take longer"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document; what does not exist is None."""
        at = None if self.at_capacity is None else self.at_capacity.to_dict()
        rate = self.latency_bounded_qps
        return {
            "scenario": self.question.name,
            "model": self.question.node.model.name,
            "service_times_of": self.question.service_times_of,
            "sla": {
                "percentile": self.question.sla.percentile,
                "latency_ms": self.question.sla.latency_ms,
                "confidence": self.question.sla.confidence,
            },
            "plan_for_qps": self.plan_for_qps,
            "latency_bounded_qps": rate,
            "latency_bounded_qps_ci95": rate_ci95(self.greatest),
            "latency_bounded_qps_calibration_band": rate_band(self.budget),
            "items_per_s": None if rate is None else rate * self.question.traffic.size_pmf.mean_items,
            "power_w": self.question.node.tdp_w,
            "qps_per_w": None if rate is None else rate / self.question.node.tdp_w,
            "power_model": "static TDP",
            "power_at_load_w": at and at["power_at_load_w"],
            "qps_per_w_at_load": at and at["qps_per_w_at_load"],
            "latency_ms": at and at["latency_ms"],
            "latency_ci95_ms": at and at["latency_ci95_ms"],
            "calibration_band_ms": at and at["calibration_band_ms"],
            "sensitivity": at and at["sensitivity"],
            "error_of_service_times": {"cpu": self.errors.cpu, "accelerator": self.errors.accelerator},
            "utilisation": at and at["utilisation"],
            "saturation_qps": self.saturation_qps,
            "fraction_of_saturation": None if rate is None else rate / self.saturation_qps,
            "bottleneck": self.bottleneck,
            "basis": None if self.at_capacity is None else self.at_capacity.basis.label,
            "simulated_queries": None if self.greatest is None else self.greatest.num_queries,
            "reason": self.reason,
        }
