"""LoadGen's rules, applied to what the simulation finds."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log, sqrt

from perfmodel.domain.bounds import LEAST_RATE_QPS, MOST_RATE_QPS
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError, UndecidedError
from perfmodel.loading.mlperf_conf import LoadGenTarget
from perfmodel.planning.early_stopping import least_queries, most_late
from perfmodel.planning.mlperf.answer import MlperfAnswer
from perfmodel.planning.predict.computation import other_times
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import GreatestRate, greatest_rate
from perfmodel.planning.rate.late import is_late
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.run_cost import most_queries
from perfmodel.planning.sensitivity import (
    MOST_RATE_QUERIES,
    RATE_QUERIES,
    Errors,
    RateBudget,
    rate_budget,
)
from perfmodel.planning.verdict import (
    NORMAL,
    Judgement,
    Margin,
    Verdict,
    judge,
    margin,
    narrowing,
    quantile,
    what_decides,
)
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.utilisation import offered_utilisation
from perfmodel.threads import Tell, untold
from perfmodel.units import MS

MEDIAN = 2.0 / 3.0
"""A Poisson count whose mean is k + 2/3 is at most k in one case of two, within 0.03 of the mean for every k:
there a run is as likely VALID as INVALID (K. P. Choi, "On the medians of gamma distributions", 1994). Of late
queries that come in clusters, in a run with few of them, more are VALID; in the usual ten minutes half."""

SETTLED = 1e-3
ROUNDS = 4
"""How little the number of queries that may be late, over all, has to change for a rate to be the answer, and
how often it is looked for: the count of a run depends on its rate, but its share hardly. [1]"""

OFFLINE_SLACK = 1.1
"""LoadGen makes so many times the samples that the expected rate serves in the shortest duration
(loadgen/test_settings_internal.cc, `kSlack`). [1]"""


def mlperf(
    question: Question,
    target: LoadGenTarget,
    *,
    target_qps: float | None = None,
    extrapolate: bool = False,
    accept_uncertain: bool = False,
    tell: Tell = untold,
) -> MlperfAnswer:
    """Say whether LoadGen would call a run VALID at a target rate, and which rate is the largest.

    Server: a Poisson stream at the target rate for the shortest duration and the fewest queries; VALID where
    early stopping is satisfied: no more late queries than `most_late` allows, which is a little stricter
    than the percentile itself. Offline: all samples at once; VALID where serving them takes the shortest
    duration.

    Parameters
    ----------
    question : Question
        A prepared scenario; its arrivals and its SLA's percentile and limit give way to LoadGen's.
    target : LoadGenTarget
        What LoadGen asks.
    target_qps : float, optional
        By default the target's, else the scenario's. [queries/s]
    extrapolate, accept_uncertain, tell
        As for `perfmodel.planning.predict.computation.predict`.

    Raises
    ------
    InputError
        If the rate is none.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    rate_qps = next(each for each in (target_qps, target.target_qps, question.traffic.rate_qps) if each)
    if not LEAST_RATE_QPS <= rate_qps <= MOST_RATE_QPS:
        expected = f"a rate from {LEAST_RATE_QPS:g} to {MOST_RATE_QPS:g}"
        raise InputError(f"target_qps: expected {expected}, got {rate_qps:g}")
    if not extrapolate:
        question.times.require_calibrated()
    if target.scenario == "Offline":
        return _offline(question, target, rate_qps, accept_uncertain)
    return _server(_asked(question, target, rate_qps), target, rate_qps, accept_uncertain, tell)


def _asked(question: Question, target: LoadGenTarget, rate_qps: float) -> Question:
    """The question that LoadGen asks: its stream, and the share of late queries that passes."""
    if question.traffic.num_recorded is not None:
        raise InputError("mlperf: LoadGen draws its own arrivals: expected a scenario without a trace")
    traffic = replace(question.traffic, arrivals=PoissonArrivals(rate_qps=rate_qps))
    return replace(question, traffic=traffic, sla=_sla(question, target, rate_qps))


def _sla(question: Question, target: LoadGenTarget, rate_qps: float) -> SlaTarget:
    """Early stopping at this rate as a percentile; LoadGen's own where no run of that length is valid."""
    assert target.latency_s is not None, "the Server scenario has a limit"
    queries = target.num_queries(rate_qps)
    late = most_late(queries, target.percentile)
    percentile = target.percentile if late is None else 1.0 - (late + MEDIAN) / queries
    changed = {"percentile": percentile, "latency_ms": target.latency_s / MS}
    return question.sla.model_copy(update=changed)


def _server(
    question: Question, target: LoadGenTarget, rate_qps: float, accept_uncertain: bool, tell: Tell
) -> MlperfAnswer:
    queries = target.num_queries(rate_qps)
    allowed = most_late(queries, target.percentile)
    errors = question.times.errors
    service = question.times.table
    run = run_until_precise(
        question.traffic,
        service,
        question.policy,
        question.simulation,
        percentile=question.sla.percentile,
        latency_s=question.sla.latency_s,
    )
    tell(0.3)
    largest, budget, undecided = _largest(question, target, errors)
    tell(0.8)
    share = _late_share(run, question.sla)
    if allowed is None:
        judgement = Judgement(verdict="misses_sla", sla_probability=0.0, confidence=question.sla.confidence)
    else:
        judgement = _judged(question, run, queries, errors, accept_uncertain)
    return MlperfAnswer(
        question=question,
        target=target,
        target_qps=rate_qps,
        run_queries=queries,
        run_s=queries / rate_qps,
        most_late=allowed,
        expected_late=None if share is None else share * queries,
        judgement=judgement,
        errors=errors,
        largest=largest,
        budget=budget,
        least_target_qps=None,
        run=run,
        reason=_reason(target, queries, allowed, share, run, judgement.verdict) or undecided,
        basis=question.times.basis,
    )


def _reason(
    target: LoadGenTarget,
    queries: int,
    allowed: int | None,
    share: float | None,
    run: RunResult,
    verdict: Verdict,
) -> str | None:
    """Why LoadGen would not call the run VALID."""
    if allowed is None:
        fewest = least_queries(0, target.percentile)
        return (
            f"a run of {queries:,} queries is never VALID: early stopping asks for {fewest:,} at "
            f"p{100 * target.percentile:g} (min_query_count or min_duration)"
        )
    if verdict == "meets_sla":
        return None
    if share is None:
        return run.notes[0]
    return (
        f"{share * queries:,.0f} of {queries:,} queries are expected to take longer than the target, "
        f"{allowed:,} may"
    )


def _late_share(run: RunResult, sla: SlaTarget) -> float | None:
    """Share of the queries of a run beyond the limit; None of an overload. [1]"""
    if run.record is None or not run.is_stable:
        return None
    return float(is_late(run.record, sla.latency_s)[run.warm_up_queries :].mean())


def _judged(
    question: Question, run: RunResult, queries: int, errors: Errors, accept_uncertain: bool
) -> Judgement:
    """The verdict: the errors of the times and of the simulation, and the luck of one run of this length."""
    times = other_times(question, run, question.times.table)
    found = margin(times, question.sla, errors)
    counted = max(1, run.num_queries - run.warm_up_queries)
    with_luck = Margin(found.ln_scale, found.simulation_error * sqrt(1.0 + counted / queries))
    judgement = judge(question.sla, run, with_luck, errors, accept_uncertain=accept_uncertain)
    if judgement.verdict != "within_error":
        return judgement
    return replace(
        judgement,
        deciding=what_decides(
            run,
            found,
            errors,
            narrowing=narrowing(question.node, errors),
            precision=question.simulation.precision,
            most_queries=most_queries(question.policy, question.traffic.size_pmf),
            band_at=lambda ln_scale: times.band_of_asked_s(
                errors.at(-ln_scale), errors.at(ln_scale), question.sla.percentile
            ),
        ),
    )


def _largest(
    question: Question, target: LoadGenTarget, errors: Errors
) -> tuple[GreatestRate | None, RateBudget | None, str | None]:
    """The largest valid rate, and what the times' error leaves open of it; or why there is none.

    A run's length, and with it the share that may be late, depends on the rate: looked for again until that
    no longer moves.
    """
    found: GreatestRate | None = None
    search = _search(question, question.sla)
    near = search.saturation_qps()
    for _ in range(ROUNDS):
        queries = target.num_queries(near)
        if most_late(queries, target.percentile) is None:
            return (
                None,
                None,
                f"no rate is VALID: its run has {queries:,} queries, too few for early stopping",
            )
        search = _search(question, _sla(question, target, near))
        try:
            found = greatest_rate(search, num_queries=RATE_QUERIES, most_queries=MOST_RATE_QUERIES)
        except UndecidedError as error:
            return None, None, str(error)
        if found is None:
            return None, None, None
        now = _sla(question, target, found.rate_qps).percentile
        if abs(log((1.0 - now) / (1.0 - search.sla.percentile))) < SETTLED:
            break
        near = found.rate_qps
    return found, rate_budget(search, found, errors, quantile=quantile(question.sla.confidence)), None


def _search(question: Question, sla: SlaTarget) -> RateSearch:
    return RateSearch(
        traffic=question.traffic,
        service=question.times.table,
        policy=question.policy,
        sla=sla,
        seed=question.simulation.seed,
        most_queries=question.simulation.max_queries,
    )


def _offline(
    question: Question, target: LoadGenTarget, rate_qps: float, accept_uncertain: bool
) -> MlperfAnswer:
    """All samples at once: every executor serves one after another until there are no more."""
    errors, service = question.times.errors, question.times.table
    loads = offered_utilisation(question.traffic.at_rate(1.0), service, question.policy, contended=True)
    served_qps = 1.0 / max(loads)
    samples = max(target.min_queries, int(OFFLINE_SLACK * target.min_duration_s * rate_qps))
    run_s = samples / served_qps
    # How much faster the node may be than thought until the samples end too soon. [ln]
    room = inf if target.min_duration_s == 0.0 else log(run_s / target.min_duration_s)
    probability = (1.0 if room >= 0.0 else 0.0) if errors.spread == 0.0 else NORMAL.cdf(room / errors.spread)
    confidence = question.sla.confidence
    verdict: Verdict = "within_error"
    if (accept_uncertain and room >= 0.0) or probability >= confidence:
        verdict = "meets_sla"
    elif accept_uncertain or probability <= 1.0 - confidence:
        verdict = "misses_sla"
    least = target.min_duration_s * served_qps / (OFFLINE_SLACK * target.min_duration_s or 1.0)
    if target.min_queries >= target.min_duration_s * served_qps:
        least = 0.0
    reason = (
        f"{samples:,} samples take {run_s:,.4g} s, and the run has to last {target.min_duration_s:,.4g}: a "
        f"target of {least:,.4g} samples/s makes more of them"
    )
    slower, faster = (served_qps * exp(sign * errors.spread) for sign in (-1.0, 1.0))
    surely = served_qps * exp(-quantile(confidence) * errors.spread)
    return MlperfAnswer(
        question=question,
        target=target,
        target_qps=rate_qps,
        run_queries=samples,
        run_s=run_s,
        most_late=None,
        expected_late=None,
        judgement=Judgement(verdict=verdict, sla_probability=probability, confidence=confidence),
        errors=errors,
        largest=GreatestRate(served_qps, None, samples),
        budget=RateBudget(
            band_qps=(slower, faster) if errors.known else None, response=-1.0, plan_qps=surely
        ),
        least_target_qps=least,
        run=None,
        reason=None if verdict == "meets_sla" else reason,
        basis=question.times.basis,
    )
