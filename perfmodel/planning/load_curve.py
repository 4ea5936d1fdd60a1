"""Latency against load: what a page draws, by short runs at some rates up to the cliff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from perfmodel.errors import PerfplanError
from perfmodel.planning.question import Question
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.statistics import Interval
from perfmodel.sim.traffic import has_days

CURVE_QUERIES = 50_000
"""Behind each point: p99 is of 500 queries beyond it. [queries]"""

MOST_CURVE_QUERIES = 1_000_000
"""Behind a point where bursts or pauses take longer runs. [queries]"""

PARTS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.98)
"""Rates as parts of what fills the executors: closer together where latencies rise. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadPoint:
    """One rate.

    Attributes
    ----------
    rate_qps : float
        Offered. [queries/s]
    percentiles : mapping of float to Interval
        Latency by percentile. [s]
    cpu_utilisation : float
        Of the cores. [1]
    num_queries : int
        Simulated. [queries]
    """

    rate_qps: float
    percentiles: Mapping[float, Interval]
    cpu_utilisation: float
    num_queries: int


def load_curve(question: Question, *more_qps: float | None) -> tuple[LoadPoint, ...]:
    """Simulate some rates shortly; rates at which a backlog grows are left out.

    So are rates at which a run of `MOST_CURVE_QUERIES` would see too few bursts, or pauses, to say what is
    usual: the higher the rate, the shorter the time that a run takes, and one without a burst knows of none.

    Empty for traffic that is a recording, has days or comes from closed users, whose latency is no function
    of a rate, and for policies that only SimPy can simulate, for which it would take minutes.

    Parameters
    ----------
    question : Question
        Its own rate plays no part.
    *more_qps : float or None
        Further rates, such as the largest load within the SLA. [queries/s]
    """
    traffic = question.traffic
    if traffic.num_recorded is not None or has_days(traffic) or traffic.is_closed:
        return ()
    if question.policy.why_not_compiled is not None:
        return ()
    full = question.saturation_qps
    rates = sorted({*(part * full for part in PARTS), *(rate for rate in more_qps if rate and rate < full)})
    points = (_point(question, rate) for rate in rates)
    return tuple(point for point in points if point is not None)


def _point(question: Question, rate_qps: float) -> LoadPoint | None:
    run = _run(question, rate_qps, CURVE_QUERIES)
    if run is not None and run.needed_queries is not None:
        needed = run.needed_queries
        run = _run(question, rate_qps, needed) if needed <= MOST_CURVE_QUERIES else None
    if run is None or run.needed_queries is not None or run.utilisation is None or not run.percentiles:
        return None
    return LoadPoint(
        rate_qps=rate_qps,
        percentiles=run.percentiles,
        cpu_utilisation=run.utilisation.cpu,
        num_queries=run.num_queries,
    )


def _run(question: Question, rate_qps: float, num_queries: int) -> RunResult | None:
    """One run of that many queries; None where the rate is none that can be simulated."""
    settings = {"min_queries": num_queries, "max_queries": num_queries, "precision": inf}
    try:
        return run_until_precise(
            question.traffic.at_rate(rate_qps),
            question.times.table,
            question.policy,
            replace_settings(question, settings).simulation,
            percentile=question.sla.percentile,
            latency_s=question.sla.latency_s,
        )
    except PerfplanError:
        return None


def replace_settings(question: Question, settings: Mapping[str, float]) -> Question:
    """The question with other settings of its simulation."""
    return replace(question, simulation=question.simulation.model_copy(update=dict(settings)))
