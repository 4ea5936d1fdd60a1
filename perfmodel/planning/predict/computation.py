"""What a load will look like: its run, the greatest rate, the verdict, and what service times leave open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfmodel.errors import UndecidedError
from perfmodel.planning.breakdown import BatchBreakdown, break_down
from perfmodel.planning.predict.answer import Prediction
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import GreatestRate, greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.run_cost import most_queries
from perfmodel.planning.sensitivity import (
    MOST_RATE_QUERIES,
    RATE_QUERIES,
    Band,
    Errors,
    OtherTimes,
    RateBudget,
    latency_budget,
    rate_budget,
)
from perfmodel.planning.table_node import TableNode
from perfmodel.planning.verdict import (
    Deciding,
    Judgement,
    Margin,
    judge,
    margin,
    narrowing,
    quantile,
    what_decides,
)
from perfmodel.sim.engines import EngineName
from perfmodel.sim.policies import (
    WHOLE,
    Pool,
    SizedPolicy,
    SplitAndOffload,
    largest_cpu_launch_items,
)
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import REPORTED_PERCENTILES, RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.threads import Tell, untold


def predict(
    question: Question,
    *,
    engine: EngineName = "auto",
    extrapolate: bool = False,
    accept_uncertain: bool = False,
    tell: Tell = untold,
) -> Prediction:
    """Predict how a node serves a load.

    Parameters
    ----------
    question : Question
        A prepared scenario.
    engine : {"auto", "compiled", "simpy"}
        What simulates; both give the same answer.
    extrapolate : bool
        Answer outside the calibrated range too, marked.
    accept_uncertain : bool
        Let the central estimate decide whether the SLA is met.
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    policy, sla = question.policy, question.sla
    if not extrapolate:
        question.times.require_calibrated()
    service = question.times.table
    run = run_until_precise(
        question.traffic,
        service,
        policy,
        question.simulation,
        percentile=sla.percentile,
        engine=engine,
        latency_s=sla.latency_s,
    )
    steady = None
    if service.is_scattered or service.is_paused:
        from perfmodel.planning.unsteady import made_steady  # few scenarios say so

        steady = run_until_precise(
            question.traffic,
            made_steady(service),
            policy,
            question.simulation,
            percentile=sla.percentile,
            engine=engine,
        )
    tell(0.3)
    search = RateSearch(
        traffic=question.traffic,
        service=service,
        policy=policy,
        sla=sla,
        seed=question.simulation.seed,
        engine=engine,
        most_queries=question.simulation.max_queries,
    )
    greatest, undecided = None, None  # closed users have no rate: capacity says how many there may be
    if not question.traffic.is_closed:
        greatest, undecided = _largest_load(search)
    tell(0.6)
    errors = question.times.errors
    budget = rate_budget(search, greatest, errors, quantile=quantile(sla.confidence))
    tell(0.8)
    times = other_times(question, run, service)
    judgement = _judged(question, run, times, errors, accept_uncertain)
    described = describe(question, run, times, greatest, budget, errors, judgement)
    return replace(described, undecided=undecided, steady=steady)


def _largest_load(search: RateSearch) -> tuple[GreatestRate | None, str | None]:
    """The greatest rate that meets the SLA; where it would take too long to tell, none, and why."""
    try:
        return greatest_rate(search, num_queries=RATE_QUERIES, most_queries=MOST_RATE_QUERIES), None
    except UndecidedError as error:
        return None, str(error)


def other_times(question: Question, run: RunResult, service: ServiceTimes) -> OtherTimes:
    """A run's first queries, to be served again with other service times."""
    percentiles = {question.sla.percentile, *REPORTED_PERCENTILES}
    seed = question.simulation.seed
    return OtherTimes(question.traffic, service, question.policy, run, percentiles, seed=seed)


def _judged(
    question: Question, run: RunResult, times: OtherTimes, errors: Errors, accept_uncertain: bool
) -> Judgement:
    """The verdict, and where it is open, what would decide it."""
    sla = question.sla
    found = margin(times, sla, errors)
    judgement = judge(sla, run, found, errors, accept_uncertain=accept_uncertain)
    if judgement.verdict != "within_error":
        return judgement

    return replace(judgement, deciding=deciding(question, run, times, found, errors))


def deciding(
    question: Question, run: RunResult, times: OtherTimes, found: Margin, errors: Errors
) -> Deciding:
    """What would decide where neither "meets" nor "misses" can be said of a load."""

    def band_at(ln_scale: float) -> Band:
        ends = errors.at(-ln_scale), errors.at(ln_scale)
        return times.band_of_asked_s(*ends, question.sla.percentile)

    return what_decides(
        run,
        found,
        errors,
        narrowing=narrowing(question.node, errors),
        precision=question.simulation.precision,
        most_queries=most_queries(question.policy, question.traffic.size_pmf)
        if question.traffic.num_recorded is None
        else 0,
        band_at=band_at,
    )


def describe(
    question: Question,
    run: RunResult,
    times: OtherTimes,
    greatest: GreatestRate | None,
    budget: RateBudget | None,
    errors: Errors,
    judgement: Judgement,
) -> Prediction:
    """Say what a run of a load found: the verdict, what the service times leave open, where time goes."""
    return Prediction(
        question=question,
        judgement=judgement,
        errors=errors,
        run=run,
        greatest=greatest,
        latency_budget=latency_budget(
            times,
            run,
            errors,
            percentile=question.sla.percentile,
            quantile=quantile(question.sla.confidence),
        ),
        rate_budget=budget,
        mean_service_s=_mean_service_s(question, run),
        cpu=_cpu_breakdown(question, run),
        accelerator=_accelerator_breakdown(question, run),
        basis=question.times.basis,
    )


def _mean_service_s(question: Question, run: RunResult) -> float | None:
    """Mean time that a request holds a core, from the busy time of the run."""
    if run.record is None or not run.is_stable:
        return None
    launches, policy = run.record.cpu_launches, question.policy
    if launches is None:
        assert isinstance(policy, SplitAndOffload), "every other policy's launches are counted"
        on_cpu = run.record.num_items[~run.record.offloaded]
        launches = int((-(-on_cpu // policy.batch_size)).sum())
    return run.record.cpu_busy_s / launches if launches else None


def _cpu_breakdown(question: Question, run: RunResult) -> BatchBreakdown | None:
    """A full batch with as many busy cores as the load keeps busy on average."""
    node = question.node
    full = largest_cpu_launch_items(question.policy, question.max_items)
    if full == 0 or isinstance(node, TableNode):  # a table does not say where the time goes
        return None
    used = run.record.cpu_utilisation if run.record is not None else 1.0
    mix = node.mix(question.policy, question.traffic.size_pmf)
    return break_down(node.cpu_time(full, max(1, round(used * node.cores)), mix))


def _accelerator_breakdown(question: Question, run: RunResult) -> BatchBreakdown | None:
    """A launch of the mean offloaded size; where launches join queries, a full one."""
    mean_items = _mean_offloaded_items(question, run)
    if mean_items is None or isinstance(question.node, TableNode):
        return None
    lane = next(lane for lane in question.policy.lanes if lane.pool is Pool.ACCELERATOR)
    full = 0 if lane.joining is None else lane.joining.max_items
    time = question.node.accelerator_time(max(full, round(mean_items)))
    return None if time is None else break_down(time)


def _mean_offloaded_items(question: Question, run: RunResult) -> float | None:
    """Mean size of the queries that go to the accelerator, exact where the size decides; None: none do."""
    policy, law = question.policy, question.traffic.size_pmf
    if isinstance(policy, SizedPolicy):
        thresholds = [lane.from_items for lane in policy.lanes if lane.pool is Pool.ACCELERATOR]
        offloaded = law.values >= min(thresholds, default=WHOLE)
        sizes, weights = law.values[offloaded], law.probabilities[offloaded]
    elif run.record is not None:
        sizes = run.record.num_items[run.record.offloaded]
        weights = np.ones(len(sizes))
    else:
        return None
    return float(weights @ sizes / weights.sum()) if len(sizes) else None
