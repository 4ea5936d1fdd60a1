"""The largest load that a node carries within its SLA: with its interval, its power, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.load_curve import LoadPoint
from perfmodel.planning.predict.answer import Prediction, full_note
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Errors, RateBudget
from perfmodel.planning.verdict import Deciding, sla_interval
from perfmodel.sim.engines import why_interpreted

HOUR_S = 3600.0
MILLION = 1e6


def why_no_load(sla: SlaTarget) -> str:
    """Said where not even an idle node meets an SLA."""
    bound = f"p{100 * sla.percentile:g} of {sla.latency_ms:g} ms"
    return f"no load meets {bound}: queries that find the node idle already take longer"


class GreatestUsers(NamedTuple):
    """The largest number of closed users within an SLA.

    Attributes
    ----------
    users : int
        By the central estimate.
    ci95 : (int, int)
        The simulation's 95 % confidence interval.
    plan_for : int or None
        The most that meet the SLA with its confidence; None: none do.
    """

    users: int
    ci95: tuple[int, int]
    plan_for: int | None


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
    curve : tuple of LoadPoint
        Latency at other loads, in ascending order; empty where it is no function of a rate.
    users : GreatestUsers or None
        Where closed users ask: how many of them; the rates are what these ask for. None: they do not.
    """

    question: Question
    greatest: GreatestRate | None
    budget: RateBudget | None
    errors: Errors
    saturation_qps: float
    bottleneck: Literal["cpu", "accelerator"]
    at_capacity: Prediction | None
    curve: tuple[LoadPoint, ...] = ()
    users: GreatestUsers | None = None

    @property
    def latency_bounded_qps(self) -> float | None:
        """The largest load; None: no rate meets the SLA. [queries/s]"""
        return None if self.greatest is None else self.greatest.rate_qps

    @property
    def plan_for_qps(self) -> float | None:
        """The greatest rate that meets the SLA with its confidence; None: none does. [queries/s]"""
        return None if self.budget is None else self.budget.plan_qps

    @property
    def deciding(self) -> Deciding | None:
        """What would decide where no load meets the SLA with its confidence; None where one does."""
        return None if self.at_capacity is None else self.at_capacity.judgement.deciding

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        at, sla = self.at_capacity, self.question.sla
        if at is None or self.greatest is None:
            return self.question.node_notes
        interval, notes = sla_interval(sla, at.run), list(at.notes)
        if interval is not None and not interval.low_s <= sla.latency_s <= interval.high_s:
            notes.append(
                f"so close to saturation p{100 * sla.percentile:g} passes {sla.latency_ms:g} ms within the "
                "interval of the largest load: what one run shows there may lie on either side"
            )
        if self.greatest.rate_qps >= self.saturation_qps:
            notes.append(full_note(self.greatest))
        question = self.question
        why_not = why_interpreted(question.times.table, question.policy, is_closed=True)
        if self.users is not None and why_not is not None:
            notes.append(
                f"{why_not}: searched in Python by {self.greatest.num_queries:,} queries of each number of "
                "users, and shown by one run of a fixed length"
            )
        return tuple(dict.fromkeys(notes))

    @property
    def usd_per_million_queries(self) -> float | None:
        """What queries cost at the load to plan for; None without one, or without a price. [USD]"""
        price, rate_qps = self.question.price_usd_per_h, self.plan_for_qps
        return None if price is None or rate_qps is None else price / (rate_qps * HOUR_S) * MILLION

    @property
    def joules_per_query(self) -> float | None:
        """Static power over the load to plan for: watts a query/s; None without either. [J]"""
        tdp_w, rate_qps = self.question.tdp_w, self.plan_for_qps
        return None if tdp_w is None or rate_qps is None else tdp_w / rate_qps

    @property
    def reason(self) -> str | None:
        """Why no load meets the SLA; None where one does."""
        if self.latency_bounded_qps is not None:
            return None
        return why_no_load(self.question.sla)
