"""The largest number of closed users whose percentile meets the SLA, also with other service times."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, hypot, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from perfmodel.domain.workload import MOST_USERS, ClosedArrivals
from perfmodel.planning.capacity.answer import Capacity, GreatestUsers
from perfmodel.planning.predict.computation import describe, other_times
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import STUDENT_T, GreatestRate
from perfmodel.planning.sensitivity import GIVEN, RateBudget, Scale
from perfmodel.planning.verdict import Judgement, quantile
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NORMAL_QUANTILE
from perfmodel.sim.users_run import WARM_UP_ROUNDS, loads_at, throughput_of
from perfmodel.threads import Tell, untold

PROBE_QUERIES = 100_000
INTERPRETED_QUERIES = 20_000
PROBE_ROUNDS = 10
"""Queries of a probe: at least so many, fewer where only SimPy can serve them, and so many of each user."""

REPETITIONS = 4
"""Independent searches, of which the scatter tells the interval."""

TOLERANCE = 0.002
"""Of the number of users, where that is more than one of them. [1]"""


class _Search:
    """One node and SLA under numbers of users, who think alike."""

    def __init__(self, question: Question, engine: EngineName, service: ServiceTimes | None = None) -> None:
        arrivals = question.traffic.arrivals
        assert isinstance(arrivals, ClosedArrivals), "checked by the caller"
        self._question, self._arrivals, self._engine = question, arrivals, engine
        self._service = question.times.table if service is None else service

    def greatest(self, scale: Scale, replication: int) -> int | None:
        """The greatest number that meets the SLA with times so many times as long; None: not even one."""
        if not self._meets(1, scale, replication):
            return None
        low, high = 1, 2
        while self._meets(high, scale, replication):
            if high == MOST_USERS:
                return high
            low, high = high, min(MOST_USERS, 4 * high)
        while high - low > max(1, int(TOLERANCE * low)):
            middle = round(sqrt(low * high)) if high > 2 * low else (low + high) // 2
            low, high = (middle, high) if self._meets(middle, scale, replication) else (low, middle)
        return low

    def _meets(self, users: int, scale: Scale, replication: int) -> bool:
        question, sla = self._question, self._question.sla
        compiles = question.policy.why_not_compiled is None
        least = PROBE_QUERIES if compiles else INTERPRETED_QUERIES
        traffic = replace(question.traffic, arrivals=self._arrivals.model_copy(update={"users": users}))
        queries = traffic.draw(
            max(least, PROBE_ROUNDS * users), seed=question.simulation.seed, replication=replication
        )
        service = self._service if scale == GIVEN else self._service.scaled(*scale)
        record = simulate(queries, service, question.policy, engine=self._engine)
        counted_s = record.latency_s[max(len(queries) // 50, WARM_UP_ROUNDS * users) :]
        late = int((counted_s > sla.latency_s + record.rounding_s).sum())  # what is shed is late
        return late <= (1.0 - sla.percentile) * len(counted_s) + 1e-9

    def asking(self, users: int) -> Question:
        """The question with another number of users."""
        arrivals = self._arrivals.model_copy(update={"users": users})
        return replace(self._question, traffic=replace(self._question.traffic, arrivals=arrivals))

    def throughput_qps(self, users: int, scale: Scale, replication: int = 0) -> float:
        """What so many users ask in a second. [queries/s]"""
        question = self.asking(users)
        compiles = question.policy.why_not_compiled is None
        least = PROBE_QUERIES if compiles else INTERPRETED_QUERIES
        queries = question.traffic.draw(
            max(least, PROBE_ROUNDS * users), seed=question.simulation.seed, replication=replication
        )
        record = simulate(queries, self._service.scaled(*scale), question.policy, engine=self._engine)
        return throughput_of(record, WARM_UP_ROUNDS * users)


class UsersLoad(NamedTuple):
    """The most users within an SLA in one search, and what they ask in a second. [queries/s]"""

    users: int
    rate_qps: float


def most_users(
    question: Question, service: ServiceTimes | None = None, *, repetitions: int
) -> list[UsersLoad] | None:
    """Find the largest number of users in independent searches; None where not even one meets the SLA.

    Parameters
    ----------
    service : ServiceTimes, optional
        In place of the node's.
    """
    search = _Search(question, "auto", service)
    found = []
    for replication in range(repetitions):
        users = search.greatest(GIVEN, replication)
        if users is None:
            return None
        found.append(UsersLoad(users, search.throughput_qps(users, GIVEN, replication)))
    return found


def capacity_in_users(question: Question, *, engine: EngineName = "auto", tell: Tell = untold) -> Capacity:
    """Find the largest number of users within the SLA, and show that load; rates are what those users ask."""
    search, errors = _Search(question, engine), question.times.errors
    found = [search.greatest(GIVEN, replication) for replication in range(REPETITIONS)]
    tell(0.4)
    service = question.times.table
    _, contended = loads_at(question.traffic, service, question.policy, 1.0)
    empty = Capacity(
        question=question,
        greatest=None,
        budget=None,
        errors=errors,
        saturation_qps=1.0 / max(contended),
        bottleneck="cpu" if contended.cpu >= contended.accelerator else "accelerator",
        at_capacity=None,
    )
    known = [each for each in found if each is not None]
    if len(known) < REPETITIONS:
        return empty
    users = int(fmean(known))
    half = STUDENT_T[REPETITIONS] * stdev(known) / sqrt(REPETITIONS)
    ci95 = (max(1, int(users - half)), ceil(users + half))
    rate_qps = search.throughput_qps(users, GIVEN)
    certain = quantile(question.sla.confidence) * hypot(errors.spread, half / users / NORMAL_QUANTILE)
    planned = search.greatest(errors.at(certain), 0)
    band = [search.greatest(scale, 0) for scale in (errors.longer, errors.shorter)] if errors.known else []
    tell(0.8)
    loaded = search.asking(users)
    run = run_until_precise(
        *(loaded.traffic, service, loaded.policy, loaded.simulation),
        percentile=loaded.sla.percentile,
        engine=engine,
    )
    greatest = GreatestRate(
        rate_qps=rate_qps,
        ci95_qps=(rate_qps * ci95[0] / users, rate_qps * ci95[1] / users),
        num_queries=max(PROBE_QUERIES, PROBE_ROUNDS * users),
    )
    budget = RateBudget(
        band_qps=tuple(None if n is None else rate_qps * n / users for n in band) if band else None,  # type: ignore[arg-type]
        response=None,
        plan_qps=None if planned is None else search.throughput_qps(planned, errors.at(certain)),
    )
    # At the largest load, the central estimate is by definition as likely to be too low as too high.
    even = Judgement(verdict="within_error", sla_probability=0.5, confidence=question.sla.confidence)
    return replace(
        empty,
        greatest=greatest,
        budget=budget,
        at_capacity=describe(loaded, run, other_times(loaded, run, service), greatest, budget, errors, even),
        users=GreatestUsers(users=users, ci95=ci95, plan_for=planned),
    )
