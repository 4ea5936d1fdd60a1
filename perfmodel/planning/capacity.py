"""The largest load that a node carries within its SLA: with its interval, its power, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from perfmodel.planning.predict import Prediction, predict
from perfmodel.planning.prepare import Question
from perfmodel.planning.throughput import RateSearch
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.engines import EngineName
from perfmodel.sim.utilisation import offered_utilisation

REPETITIONS = 4
INTERPRETED_REPETITIONS = 3
"""Independent searches behind the interval; fewer for a policy that no engine compiles."""

PROBE_QUERIES = 1_000_000
"""Close to saturation a run has to be long, or its start, with an empty node, flatters the percentile."""

SEARCH_TOLERANCE = 0.002
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Capacity:
    """The answer of `perfplan capacity`.

    Attributes
    ----------
    question : Question
        What was asked; its arrival rate plays no part.
    latency_bounded_qps : float or None
        Mean greatest rate of independent searches; None: no rate meets the SLA. [queries/s]
    ci95_qps : (float, float) or None
        Its 95 % confidence interval, by Student's t over the searches; None where nothing is drawn, as
        with a trace that records sizes. [queries/s]
    saturation_qps : float
        Rate from which a pool with all executors busy cannot keep up, contention included. [queries/s]
    bottleneck : {"cpu", "accelerator"}
        The pool that saturates first.
    at_capacity : Prediction or None
        What that load looks like.
    """

    question: Question
    latency_bounded_qps: float | None
    ci95_qps: tuple[float, float] | None
    saturation_qps: float
    bottleneck: Literal["cpu", "accelerator"]
    at_capacity: Prediction | None

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
            "sla": {"percentile": self.question.sla.percentile, "latency_ms": self.question.sla.latency_ms},
            "latency_bounded_qps": rate,
            "latency_bounded_qps_ci95": None if self.ci95_qps is None else list(self.ci95_qps),
            "items_per_s": None if rate is None else rate * self.question.traffic.size_pmf.mean_items,
            "power_w": self.question.node.tdp_w,
            "qps_per_w": None if rate is None else rate / self.question.node.tdp_w,
            "power_model": "static TDP",
            "power_at_load_w": at and at["power_at_load_w"],
            "qps_per_w_at_load": at and at["qps_per_w_at_load"],
            "latency_ms": at and at["latency_ms"],
            "latency_ci95_ms": at and at["latency_ci95_ms"],
            "utilisation": at and at["utilisation"],
            "saturation_qps": self.saturation_qps,
            "fraction_of_saturation": None if rate is None else rate / self.saturation_qps,
            "bottleneck": self.bottleneck,
            "basis": None if self.at_capacity is None else self.at_capacity.basis.label,
            "reason": self.reason,
        }


def capacity(question: Question, *, engine: EngineName = "auto", extrapolate: bool = False) -> Capacity:
    """Find the largest arrival rate whose percentile meets the SLA.

    Independent searches, each with random numbers of its own, give the rate and its interval; the load is
    then predicted at that rate.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    node, policy = question.node, question.policy
    if not extrapolate:
        node.require_calibrated(policy, question.max_items)
    service = node.service_times(policy, question.max_items)
    loads = offered_utilisation(question.traffic.at_rate(1.0), service, policy, contended=True)
    compiles = policy.why_not_compiled is None
    searches = [
        RateSearch(
            traffic=question.traffic,
            service=service,
            policy=policy,
            sla=question.sla,
            seed=question.simulation.seed + repetition,
            engine=engine,
            tolerance=SEARCH_TOLERANCE,
            probe_queries=PROBE_QUERIES,
        )
        for repetition in range(REPETITIONS if compiles else INTERPRETED_REPETITIONS)
    ]
    first = searches[0].greatest_rate_qps()
    rates = [] if first is None else [first, *(search.greatest_rate_qps() for search in searches[1:])]
    found = np.array([rate for rate in rates if rate is not None])
    rate, ci95 = (None, None) if len(found) == 0 else _mean_and_interval(found)
    at = None
    if rate is not None:
        loaded = replace(question, traffic=question.traffic.at_rate(rate))
        at = predict(loaded, engine=engine, extrapolate=extrapolate)
    return Capacity(
        question=question,
        latency_bounded_qps=rate,
        ci95_qps=ci95,
        saturation_qps=1.0 / max(loads),
        bottleneck="cpu" if loads.cpu >= loads.accelerator else "accelerator",
        at_capacity=at,
    )


def _mean_and_interval(rates_qps: FloatArray) -> tuple[float, tuple[float, float] | None]:
    """Mean of independent rates with Student's interval; equal ones were not drawn at random. [queries/s]"""
    mean = float(rates_qps.mean())
    if len(rates_qps) < 2 or np.ptp(rates_qps) == 0.0:
        return mean, None
    error = float(rates_qps.std(ddof=1)) / sqrt(len(rates_qps))
    half = float(stdtrit(len(rates_qps) - 1, 0.5 + 0.5 * CONFIDENCE)) * error
    return mean, (mean - half, mean + half)
