"""Whether the windows of a fleet meet their SLA, as a probability: see `perfmodel.planning.verdict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, isinf, log

from perfmodel.planning.fleet_run import FleetRun
from perfmodel.planning.sensitivity import FARTHEST
from perfmodel.planning.verdict import NORMAL, Judgement, Verdict, quantile
from perfmodel.sim.fleet_window import Stretch


def judge_windows(
    run: FleetRun, stretches: Mapping[float, Stretch], *, accept_uncertain: bool
) -> dict[float, Judgement]:
    """Judge the windows of each rate, the busiest first.

    Once one meets the SLA as certainly as is asked, so do all that are less busy, and are not judged one by
    one: their probability is left open.
    """
    sla = run.question.scenario.sla
    judgements: dict[float, Judgement] = {}
    met = False
    for index, rate_qps in reversed(list(enumerate(sorted(stretches)))):
        if met:
            judgements[rate_qps] = Judgement("meets_sla", None, sla.confidence)
            continue
        judgement = _judge_stretch(run, rate_qps, index, stretches[rate_qps], accept_uncertain)
        met = judgement.verdict == "meets_sla" and not accept_uncertain
        judgements[rate_qps] = judgement
    return judgements


def _judge_stretch(
    run: FleetRun, rate_qps: float, replication: int, stretch: Stretch, accept_uncertain: bool
) -> Judgement:
    """Serve a stretch again with longer, or shorter, times: how probable is it that the SLA is met?"""
    sla = run.question.scenario.sla
    certain = quantile(sla.confidence)

    def excess(errors_longer: float) -> float:
        other = stretch
        if errors_longer != 0.0:
            other = run.at(rate_qps, replication, errors_longer=errors_longer)
        if not other.is_stable:
            return inf
        return log(run.percentiles(other.samples)[sla.percentile].value_s / sla.latency_s)

    central = excess(0.0)
    if run.spread == 0.0:
        away = FARTHEST if central <= 0.0 else -FARTHEST
    else:
        away = _errors_away(excess, central, certain if central <= 0.0 else -certain)
    probability = NORMAL.cdf(away)
    verdict: Verdict = "within_error"
    if accept_uncertain or run.spread == 0.0:
        verdict = "unstable" if isinf(central) else "meets_sla" if central <= 0.0 else "misses_sla"
    elif probability >= sla.confidence:
        verdict = "meets_sla"
    elif probability <= 1.0 - sla.confidence:
        overload = max(1.0, *(max(loads) for loads in run.offered(rate_qps, stretch)))
        certainly = log(overload) >= certain * run.spread
        verdict = "unstable" if isinf(central) and certainly else "misses_sla"
    return Judgement(verdict, probability, sla.confidence)


def _errors_away(excess: Callable[[float], float], central: float, end: float) -> float:
    """How many errors longer service times may be until the SLA is just met: on a straight line to `end`.

    Where an overload lies at one end, the middle tells on which half of the way it begins.
    """
    near, far = (0.0, central), (end, excess(end))
    for _ in range(2):
        if isinf(near[1]) == isinf(far[1]):
            break
        middle = 0.5 * (near[0] + far[0])
        found = (middle, excess(middle))
        near, far = (found, far) if (found[1] <= 0.0) == (near[1] <= 0.0) else (near, found)
    if isinf(near[1]) and isinf(far[1]):
        return -FARTHEST
    if isinf(near[1]) or isinf(far[1]):
        return 0.5 * (near[0] + far[0])
    slope = (far[1] - near[1]) / (far[0] - near[0])
    away = near[0] - near[1] / slope if slope > 0.0 else (FARTHEST if near[1] <= 0.0 else -FARTHEST)
    return max(-FARTHEST, min(FARTHEST, away))
