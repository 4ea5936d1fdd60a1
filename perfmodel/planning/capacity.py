"""The largest load that a node carries within its SLA: with its interval, its power, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from perfmodel.planning.error_budget import rate_band, rate_ci95
from perfmodel.planning.predict import Prediction, describe, other_times
from perfmodel.planning.prepare import Question
from perfmodel.planning.rate.interval import GreatestRate, greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.sensitivity import Errors, RateBudget, rate_budget
from perfmodel.planning.service_error import service_errors
from perfmodel.planning.verdict import Judgement, quantile
from perfmodel.sim.engines import EngineName
from perfmodel.sim.run import RECORDED_QUERIES, run_until_precise
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.utilisation import offered_utilisation

PRECISION = 0.0075
"""Half-width of the interval over the rate at which runs stop growing: within 1 %, and some to spare. [1]"""

FIRST_QUERIES = 900_000
MOST_QUERIES = 10_000_000
"""Close to saturation a run has to be long, or its start, with an empty node, flatters the percentile."""

INTERPRETED_QUERIES = 100_000
"""Of the run that shows the load found, where no engine compiles the policy."""

REPETITIONS = 4
INTERPRETED_REPETITIONS = 3
"""Independent searches where one long run cannot tell its own error."""

SEARCH_TOLERANCE = 0.002


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


def capacity(question: Question, *, engine: EngineName = "auto", extrapolate: bool = False) -> Capacity:
    """Find the largest arrival rate whose percentile meets the SLA, and show that load.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    node, policy = question.node, question.policy
    if not extrapolate:
        node.require_calibrated(policy, question.max_items)
    service = node.service_times(policy, question.max_items, question.traffic.size_pmf)
    loads = offered_utilisation(question.traffic.at_rate(1.0), service, policy, contended=True)
    search = RateSearch(
        traffic=question.traffic,
        service=service,
        policy=policy,
        sla=question.sla,
        seed=question.simulation.seed,
        engine=engine,
        tolerance=SEARCH_TOLERANCE,
        most_queries=question.simulation.max_queries,
    )
    greatest = greatest_rate(
        search,
        num_queries=FIRST_QUERIES,
        precision=PRECISION,
        most_queries=MOST_QUERIES,
        repetitions=REPETITIONS if policy.why_not_compiled is None else INTERPRETED_REPETITIONS,
    )
    errors = service_errors(node, policy, question.traffic.size_pmf)
    budget = rate_budget(search, greatest, errors, quantile=quantile(question.sla.confidence))
    return Capacity(
        question=question,
        greatest=greatest,
        budget=budget,
        errors=errors,
        saturation_qps=1.0 / max(loads),
        bottleneck="cpu" if loads.cpu >= loads.accelerator else "accelerator",
        at_capacity=_at_capacity(question, service, greatest, budget, errors, engine),
    )


def _at_capacity(
    question: Question,
    service: ServiceTimes,
    greatest: GreatestRate | None,
    budget: RateBudget | None,
    errors: Errors,
    engine: EngineName,
) -> Prediction | None:
    """Show the load found in one run: its percentile at the SLA is known to be where it should be."""
    if greatest is None:
        return None
    compiles = question.policy.why_not_compiled is None
    # As many queries as the search had: the percentile of these is what the SLA asks for.
    num_queries = min(RECORDED_QUERIES, greatest.num_queries) if compiles else INTERPRETED_QUERIES
    settings = {"min_queries": num_queries, "max_queries": num_queries, "precision": 0.99}
    loaded = replace(
        question,
        traffic=question.traffic.at_rate(greatest.rate_qps),
        simulation=question.simulation.model_copy(update=settings),
    )
    run = run_until_precise(
        loaded.traffic,
        service,
        loaded.policy,
        loaded.simulation,
        percentile=loaded.sla.percentile,
        engine=engine,
    )
    # How well a percentile is known this close to the cliff says nothing about the rate.
    notes = tuple(note for note in run.notes if " ended the run after " not in note)
    run = replace(run, notes=notes)
    # At the largest load, the central estimate is by definition as likely to be too low as too high.
    even = Judgement(verdict="within_error", sla_probability=0.5, confidence=question.sla.confidence)
    return describe(loaded, run, other_times(loaded, run, service), greatest, budget, errors, even)
