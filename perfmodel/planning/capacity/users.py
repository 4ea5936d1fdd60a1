"""The largest number of closed users whose percentile meets the SLA, also with other service times."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from perfmodel.domain.workload import MOST_USERS, ClosedArrivals
from perfmodel.planning.capacity.answer import Capacity, GreatestUsers
from perfmodel.planning.predict.computation import describe, other_times
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import STUDENT_T, GreatestRate
from perfmodel.planning.sensitivity import GIVEN, RateBudget, Scale, planned_ln_scale
from perfmodel.planning.verdict import Judgement, quantile
from perfmodel.sim.engines import EngineName, simulate, why_interpreted
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_length import MIN_QUERIES_BEYOND
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.users_run import WARM_UP_ROUNDS, loads_at, throughput_of
from perfmodel.threads import Tell, untold

PROBE_QUERIES = 100_000
INTERPRETED_QUERIES = 10_000
PROBE_ROUNDS = 10
"""Queries of a probe: at least so many, fewer where only SimPy can serve them, and so many of each user."""

MOST_INTERPRETED_QUERIES = 20_000
"""Of a probe beyond p99, where a hundred queries late would be more."""

PILOT = 5
"""How many times shorter the probes are by which a first search finds where to look."""

REPETITIONS = 4
INTERPRETED_REPETITIONS = 3
"""Independent searches, of which the scatter tells the interval; the second where only SimPy can serve."""

INTERPRETED_RUN = 50_000
"""Queries of the run that is shown, where only SimPy can serve them: a second or two."""

TOLERANCE = 0.002
"""Of the number of users, where that is more than one of them. [1]"""

NEAR = 0.05
"""Of the number that one search has found: how far from it the others look first. [1]"""


class _Search:
    """One node and SLA under numbers of users, who think alike."""

    def __init__(self, question: Question, engine: EngineName, service: ServiceTimes | None = None) -> None:
        arrivals = question.traffic.arrivals
        assert isinstance(arrivals, ClosedArrivals), "checked by the caller"
        self._question, self._arrivals, self._engine = question, arrivals, engine
        self._service = question.times.table if service is None else service
        why_not = why_interpreted(self._service, question.policy, is_closed=True)
        self.is_compiled = why_not is None and engine != "simpy"

    def greatest(self, scale: Scale, replication: int, near: int | None = None) -> int | None:
        """The greatest number that meets the SLA with times so many times as long; None: not even one.

        Parameters
        ----------
        near : int, optional
            What another search has found.
        """
        if near is None:
            near = self._pilot(scale, replication)
        low, high = self._bracket(scale, replication, near)
        while high - low > max(1, int(TOLERANCE * low)):
            middle = round(sqrt(low * high)) if 0 < 2 * low < high else (low + high) // 2
            low, high = (middle, high) if self._meets(middle, scale, replication) else (low, middle)
        return low or None

    def near(self, scale: Scale, users: int) -> int | None:
        """The greatest number with other times, from that with the node's own: inverse where it is full."""
        return self.greatest(scale, 0, min(MOST_USERS, max(1, round(users / max(scale)))))

    def _bracket(self, scale: Scale, replication: int, near: int) -> tuple[int, int]:
        """A number that meets the SLA, 0 where none does, and one that does not, unless there are no more."""
        step = max(1, int(NEAR * near))
        if self._meets(near, scale, replication):
            low, high = near, min(MOST_USERS, near + step)
            while high > low and self._meets(high, scale, replication):
                step *= 2
                low, high = high, min(MOST_USERS, high + step)
            return low, high
        low, high = max(0, near - step), near
        while low and not self._meets(low, scale, replication):
            step *= 2
            low, high = max(0, low - step), low
        return low, high

    def _pilot(self, scale: Scale, replication: int) -> int:
        """About the number, by short probes; 1 also where none does."""
        low, high = 1, 2
        while high < MOST_USERS and self._meets(high, scale, replication, PILOT):
            low, high = high, min(MOST_USERS, 4 * high)
        while high > (1.0 + 2.0 * NEAR) * low and high - low > 1:
            middle = round(sqrt(low * high))
            low, high = (middle, high) if self._meets(middle, scale, replication, PILOT) else (low, middle)
        return low

    def queries_for(self, users: int) -> int:
        """Queries of a probe of so many users."""
        least = PROBE_QUERIES
        if not self.is_compiled:
            beyond = ceil(MIN_QUERIES_BEYOND / (1.0 - self._question.sla.percentile))
            least = min(max(INTERPRETED_QUERIES, beyond), MOST_INTERPRETED_QUERIES)
        return max(least, PROBE_ROUNDS * users)

    def _meets(self, users: int, scale: Scale, replication: int, shorter: int = 1) -> bool:
        question, sla = self._question, self._question.sla
        traffic = replace(question.traffic, arrivals=self._arrivals.model_copy(update={"users": users}))
        num_queries = max(self.queries_for(users) // shorter, PROBE_ROUNDS * users)
        queries = traffic.draw(num_queries, seed=question.simulation.seed, replication=replication)
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
        queries = question.traffic.draw(
            self.queries_for(users), seed=question.simulation.seed, replication=replication
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
    found: list[UsersLoad] = []
    for replication in range(repetitions):
        users = search.greatest(GIVEN, replication, found[0].users if found else None)
        if users is None:
            return None
        found.append(UsersLoad(users, search.throughput_qps(users, GIVEN, replication)))
    return found


def capacity_in_users(question: Question, *, engine: EngineName = "auto", tell: Tell = untold) -> Capacity:
    """Find the largest number of users within the SLA, and show that load; rates are what those users ask."""
    search, errors = _Search(question, engine), question.times.errors
    repetitions = REPETITIONS if search.is_compiled else INTERPRETED_REPETITIONS
    found: list[int | None] = []
    for replication in range(repetitions):
        found.append(search.greatest(GIVEN, replication, found[0] if found else None))
        tell(0.6 * len(found) / repetitions)
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
    if len(known) < repetitions:
        return empty
    users = int(fmean(known))
    half = STUDENT_T[repetitions] * stdev(known) / sqrt(repetitions)
    ci95 = (max(1, int(users - half)), ceil(users + half))
    rate_qps = search.throughput_qps(users, GIVEN)
    certain = planned_ln_scale(errors, half / users, quantile=quantile(question.sla.confidence))
    planned = search.near(errors.at(certain), users)
    tell(0.7)
    ends = (errors.longer, errors.shorter) if errors.known else ()
    band = [search.near(scale, users) for scale in ends]
    tell(0.85)
    loaded = search.asking(users)
    if not search.is_compiled:  # no precision that takes minutes
        few = min(INTERPRETED_RUN, loaded.simulation.max_queries)
        settings = {"min_queries": few, "max_queries": few, "precision": inf}
        loaded = replace(loaded, simulation=loaded.simulation.model_copy(update=settings))
    run = run_until_precise(
        *(loaded.traffic, service, loaded.policy, loaded.simulation),
        percentile=loaded.sla.percentile,
        engine=engine,
    )
    greatest = GreatestRate(
        rate_qps=rate_qps,
        ci95_qps=(rate_qps * ci95[0] / users, rate_qps * ci95[1] / users),
        num_queries=search.queries_for(users),
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
