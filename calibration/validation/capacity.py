"""The largest load within the SLA, on the real server and by prediction, for the same unit-rate traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.serving.served import Served
from calibration.validation.anchor import fit_anchor
from calibration.validation.bench import Bench
from calibration.validation.measuring import Measured, measure, segments_of
from calibration.validation.prediction import Trace
from perfmodel.planning.question import Question
from perfmodel.planning.rate.bracket import bisecting, greatest, narrow
from perfmodel.planning.rate.search import IDLE_FRACTION
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.utilisation import offered_utilisation
from perfmodel.units import MS

LOADS = 4
"""Loads that the real server is tried at; the second on are chosen by what the earlier ones gave."""

NEAR = 0.10
"""Only loads this near the answer, relatively, take part in it."""

TOLERANCE = 1e-6
"""Of rates and levels, on one sample: what is left is nothing beside what samples differ by. [1]"""

WIDEST = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityCheck:
    """The largest rate within the SLA, predicted and measured.

    Attributes
    ----------
    percentile, latency_s : float
        The SLA. [1], [s]
    predicted_qps, measured_qps : float or None
        None: no load tried meets it. [queries/s]
    tried : tuple of (float, float)
        Rates that the server was measured at, and the percentile there. [queries/s], [s]
    """

    percentile: float
    latency_s: float
    predicted_qps: float | None
    measured_qps: float | None
    tried: tuple[tuple[float, float], ...]

    @property
    def error_percent(self) -> float | None:
        """Signed error of the prediction. [%]"""
        if self.predicted_qps is None or self.measured_qps is None:
            return None
        return 100.0 * (self.predicted_qps / self.measured_qps - 1.0)

    def to_dict(self) -> dict[str, object]:
        """The check as JSON."""
        return {
            "sla": {"percentile": self.percentile, "latency_ms": self.latency_s / MS},
            "predicted_qps": self.predicted_qps,
            "measured_qps": self.measured_qps,
            "error_percent": self.error_percent,
            "tried": [{"rate_qps": rate, "latency_ms": latency / MS} for rate, latency in self.tried],
        }


def check_capacity(
    bench: Bench,
    question: Question,
    service: ServiceTimes,
    *,
    duration_s: float,
    anchors: Sequence[Served] = (),
    loads: int = LOADS,
) -> CapacityCheck:
    """Find the largest rate within the SLA on the real server, and by prediction.

    Every rate serves the same unit-rate traces, stretched, and the first rate tried is the predicted one.
    From each percentile measured follows the level of service times at which the simulation gives just
    that, and from the level the rate that would meet the SLA, which is tried next. The answer is the mean
    of what the rates near it say: single runs of seconds scatter by more than a bisection could resolve.

    Parameters
    ----------
    duration_s : float
        Of the run at each load. [s]
    anchors : sequence of Served
        Paced runs so far, to refine the service times with, as more of them are measured; none: no anchor.
    loads : int
        How many rates to try.
    """
    paced = list(anchors)
    refined = fit_anchor(paced, service).refine(service) if paced else service
    search = _Search(question, duration_s, refined)
    tried: list[tuple[float, float]] = []
    implied: list[float] = []
    rate_qps = search.capacity_qps(refined)
    for number in range(loads if rate_qps is not None else 0):
        assert rate_qps is not None
        bench.say(f"capacity, load {number + 1} of {loads}: {rate_qps:.4g} queries/s")
        loaded = replace(question, traffic=question.traffic.at_rate(rate_qps))
        taken = measure(
            bench,
            loaded,
            search.trace(rate_qps).segments,
            duration_s=duration_s,
            service=refined,
            with_anchor=bool(anchors),
        )
        paced += taken.anchors
        refined = fit_anchor(paced, service).refine(service) if paced else service
        tried.append((rate_qps, _percentile_s(taken, question.sla.percentile)))
        implied.append(search.implied_qps(*tried[-1], refined))
        rate_qps = _mean_of_near([rate for rate, _ in tried], implied)
    return CapacityCheck(
        percentile=question.sla.percentile,
        latency_s=question.sla.latency_s,
        predicted_qps=search.capacity_qps(refined),
        measured_qps=rate_qps,
        tried=tuple(tried),
    )


class _Search:
    """The same traces at any rate, and what the simulation says of them."""

    def __init__(self, question: Question, duration_s: float, service: ServiceTimes) -> None:
        self._question = question
        self._segments = segments_of(question, duration_s, rate_qps=_saturation_qps(question, service))

    def trace(self, rate_qps: float) -> Trace:
        """The traces at a rate."""
        return self._segments.at_rate(rate_qps)

    def percentile_s(self, rate_qps: float, service: ServiceTimes) -> float:
        """The SLA's percentile at a rate. [s]"""
        sla, policy = self._question.sla, self._question.policy
        return self.trace(rate_qps).percentile_s(service, policy, sla.percentile)

    def capacity_qps(self, service: ServiceTimes) -> float | None:
        """The largest rate within the SLA, None where a thousandth of the saturation is not. [queries/s]"""
        bound_s = self._question.sla.latency_s
        full_qps = _saturation_qps(self._question, service)  # of these times, whatever the traces' length

        def meets(rate_qps: float) -> bool:
            return self.percentile_s(rate_qps, service) <= bound_s

        guesses = [IDLE_FRACTION * full_qps, WIDEST * full_qps]
        return greatest(bisecting(meets), guesses, guesses[-1], tolerance=TOLERANCE)

    def implied_qps(self, rate_qps: float, latency_s: float, service: ServiceTimes) -> float:
        """The capacity of a server whose percentile at a rate is the one measured. [queries/s]"""

        def is_faster(factor: float) -> bool:
            return self.percentile_s(rate_qps, service.scaled(factor, factor)) <= latency_s

        factor = narrow(bisecting(is_faster), 1.0 / WIDEST, WIDEST, tolerance=TOLERANCE)
        return self.capacity_qps(service.scaled(factor, factor)) or 0.0


def _saturation_qps(question: Question, service: ServiceTimes) -> float:
    """The rate that fills the busier pool. [queries/s]"""
    unit = question.traffic.at_rate(1.0)
    return 1.0 / max(offered_utilisation(unit, service, question.policy, contended=True))


def _percentile_s(taken: Measured, percentile: float) -> float:
    """Percentile over the queries of all pieces. [s]"""
    latency_s = np.concatenate([queries.latency_s for _, queries in taken.runs])
    return order_statistic(np.sort(latency_s), percentile)


def _mean_of_near(rates: list[float], implied: list[float]) -> float:
    """Mean of what the loads say that lie near to what they say; of the nearest one, where none does."""
    far = [abs(one / rate - 1.0) for rate, one in zip(rates, implied, strict=True)]
    near = [one for one, away in zip(implied, far, strict=True) if away <= NEAR]
    return float(np.mean(near)) if near else implied[int(np.argmin(far))]
