"""The search for the largest load within an SLA, and a run that shows that load."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import NamedTuple

from perfmodel.planning.capacity.answer import Capacity
from perfmodel.planning.load_curve import load_curve
from perfmodel.planning.predict.answer import Prediction
from perfmodel.planning.predict.computation import deciding, describe, other_times
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import GreatestRate, greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.sensitivity import Errors, RateBudget, rate_budget, rate_to_plan_for
from perfmodel.planning.verdict import Judgement, Margin, quantile
from perfmodel.sim.engines import EngineName
from perfmodel.sim.run import RECORDED_QUERIES, run_until_precise
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NORMAL_QUANTILE
from perfmodel.sim.utilisation import offered_utilisation
from perfmodel.threads import Tell, untold

PRECISION = 0.0075
"""Half-width of the interval over the rate at which runs stop growing: within 1 %, and some to spare. [1]"""

PRECISION_ALONE = 0.01
"""The same where the rate alone is asked for: of an interval that is already taken to be wider by as much as
the share of late queries is known less well than it should be. [1]"""

FIRST_QUERIES = 900_000
MOST_QUERIES = 10_000_000
"""Close to saturation a run has to be long, or its start, with an empty node, flatters the percentile."""

INTERPRETED_QUERIES = 100_000
"""Of the run that shows the load found, where no engine compiles the policy."""

REPETITIONS = 4
INTERPRETED_REPETITIONS = 3
"""Independent searches where one long run cannot tell its own error."""

SEARCH_TOLERANCE = 0.002


def capacity(
    question: Question, *, engine: EngineName = "auto", extrapolate: bool = False, tell: Tell = untold
) -> Capacity:
    """Find the largest arrival rate whose percentile meets the SLA, and show that load.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    policy = question.policy
    if not extrapolate:
        question.times.require_calibrated()
    if question.traffic.is_closed:
        from perfmodel.planning.capacity.users import capacity_in_users  # few loads are so many users

        return capacity_in_users(question, engine=engine, tell=tell)
    service = question.times.table
    loads = offered_utilisation(question.traffic.at_rate(1.0), service, policy, contended=True)
    search = _search(question, engine)
    greatest = _greatest(search)
    tell(0.35)
    errors = question.times.errors
    budget = rate_budget(search, greatest, errors, quantile=quantile(question.sla.confidence))
    tell(0.75)
    at_capacity = _at_capacity(question, service, greatest, budget, errors, engine)
    tell(0.9)
    return Capacity(
        question=question,
        greatest=greatest,
        budget=budget,
        errors=errors,
        saturation_qps=1.0 / max(loads),
        bottleneck="cpu" if loads.cpu >= loads.accelerator else "accelerator",
        at_capacity=at_capacity,
        curve=load_curve(
            question,
            None if budget is None else budget.plan_qps,
            None if greatest is None else greatest.rate_qps,
        ),
    )


class Rates(NamedTuple):
    """The largest load within the SLA by the central estimate, and with the SLA's confidence. [queries/s]"""

    latency_bounded_qps: float | None
    plan_for_qps: float | None


def rates(question: Question, *, extrapolate: bool = False, near_qps: float | None = None) -> Rates:
    """Find the two rates of `capacity`, each to 1 %, and nothing else of that load.

    Parameters
    ----------
    near_qps : float, optional
        Where to look first. [queries/s]

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    if not extrapolate:
        question.times.require_calibrated()
    search = _search(question, "auto")
    greatest = _greatest(search, near_qps=near_qps, rate_alone=True)
    if greatest is None:
        return Rates(None, None)
    sure = quantile(question.sla.confidence)
    return Rates(greatest.rate_qps, rate_to_plan_for(search, greatest, question.times.errors, quantile=sure))


def _search(question: Question, engine: EngineName) -> RateSearch:
    return RateSearch(
        traffic=question.traffic,
        service=question.times.table,
        policy=question.policy,
        sla=question.sla,
        seed=question.simulation.seed,
        engine=engine,
        tolerance=SEARCH_TOLERANCE,
        most_queries=question.simulation.max_queries,
    )


def _greatest(
    search: RateSearch, *, near_qps: float | None = None, rate_alone: bool = False
) -> GreatestRate | None:
    return greatest_rate(
        search,
        num_queries=FIRST_QUERIES,
        precision=PRECISION_ALONE if rate_alone else PRECISION,
        most_queries=MOST_QUERIES,
        repetitions=REPETITIONS if search.policy.why_not_compiled is None else INTERPRETED_REPETITIONS,
        near_qps=near_qps,
        rate_alone=rate_alone,
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
    # How well a percentile is known this close to the cliff says nothing about the rate: none is asked for.
    settings = {"min_queries": num_queries, "max_queries": num_queries, "precision": inf}
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
    # At the largest load, the central estimate is by definition as likely to be too low as too high.
    even = Judgement(verdict="within_error", sla_probability=0.5, confidence=question.sla.confidence)
    times = other_times(loaded, run, service)
    if budget is not None and budget.plan_qps is None:
        found = Margin(0.0, greatest.relative_half_width / NORMAL_QUANTILE)
        even = replace(even, deciding=deciding(loaded, run, times, found, errors))
    return describe(loaded, run, times, greatest, budget, errors, even)
