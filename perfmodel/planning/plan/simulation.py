"""The plan simulated: does each service hold its SLA on the nodes that it got, and how many does it take?

The nodes of a service stand behind a router that draws one at random, in proportion to the nodes' capacities:
no node knows of another, so that nothing is gained by pooling. A service is tried at its largest demand on
the static nodes, and at its least on that hour's. Where its SLA does not hold with the confidence asked for,
nodes are added until it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from perfmodel.domain.fleet import Routing
from perfmodel.domain.workload import DiurnalArrivals, PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.planning.fleet.computation import predict_fleet
from perfmodel.planning.fleet.question import FleetMember, FleetQuestion
from perfmodel.planning.load_curve import saturation_qps
from perfmodel.planning.plan.after_failure import after_failures
from perfmodel.planning.plan.answer import Check, HourPlan, Optimum, PlanAnswer, Provisioned, Simulated
from perfmodel.planning.plan.capacities import said_of
from perfmodel.planning.plan.check import Placement
from perfmodel.planning.plan.kept import Kept, digest_of
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.planning.plan.tuned import tuned_question
from perfmodel.planning.prepare import Question
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.threads import Tell, side_by_side, untold

MOST_RAISED = 2.0
"""A service that takes more than so many times its planned nodes is not short of nodes. [1]"""

HOLDS = "meets_sla"

Counts = Mapping[str, int]
"""Units by node type: each a node, or nodes that serve together."""


class Outcome(NamedTuple):
    """What a simulation shows: the verdict, and the SLA's percentile where there is one. [s]"""

    verdict: str
    latency_s: float | None


def simulated(answer: PlanAnswer, *, extrapolate: bool = False, tell: Tell = untold) -> PlanAnswer:
    """Add to a plan what its simulation shows.

    Parameters
    ----------
    extrapolate : bool
        Whether capacities were found outside the calibrated range too.
    tell : callable
        Takes how much of it is done.
    """
    if answer.static is None:
        return answer
    simulator = Simulator(answer.question, extrapolate=extrapolate)
    after = after_failures(answer, simulator.most_qps)
    found = side_by_side(
        lambda index: _of_service(simulator, answer, answer.static, index),
        range(len(answer.question.services)),
        tell,
    )
    checks = tuple(check for each in found for check, _ in each)
    raised = {check.service: counts for each in found for check, counts in each[:1]}
    if all(check.verdict.startswith("not simulated") for check in checks):
        return replace(answer, checks=checks, after_failure=after)
    notes = [
        f"hour {check.hour}: {check.service} takes {check.num_nodes_needed} nodes, not {check.num_nodes}"
        for each in found
        for check, _ in each[1:]
        if check.num_nodes_needed not in (None, check.num_nodes)
    ]
    return replace(
        answer,
        checks=checks,
        after_failure=after,
        simulated=_raised(answer.question, answer.static, raised, checks),
        notes=(*answer.notes, *notes),
    )


def _of_service(
    simulator: Simulator, answer: PlanAnswer, static: Optimum | None, index: int
) -> list[tuple[Check, Counts]]:
    """The service at its largest demand on the static nodes, and at its least on that hour's."""
    assert static is not None, "there is a plan"
    service = answer.question.services[index]
    planned = [hour.planned_qps[service.name] for hour in answer.hours]
    busiest = answer.hours[max(range(len(planned)), key=planned.__getitem__)]
    quietest = answer.hours[min(range(len(planned)), key=planned.__getitem__)]
    found = [simulator.check(service.name, busiest, static.provisioned)]
    if quietest is not busiest and quietest.optimum is not None and min(planned) > 0.0:
        found.append(simulator.check(service.name, quietest, quietest.optimum.provisioned))
    return found


class Simulator:
    """Simulates services of a plan, and keeps what was found."""

    def __init__(self, question: PlanQuestion, *, extrapolate: bool) -> None:
        self._question, self._extrapolate = question, extrapolate
        self._kept = Kept()

    def check(self, service: str, hour: HourPlan, provisioned: Provisioned) -> tuple[Check, Counts]:
        """Try a service in an hour; returns also the nodes with which it holds, more where it has to be."""
        counts: Counts = provisioned.units[service]
        sla = self._question.slas[service]
        why_not = self.why_not(service, counts)
        rate_qps = hour.planned_qps[service]
        outcome = (
            Outcome(f"not simulated: {why_not}", None) if why_not else self.run(service, counts, rate_qps)
        )
        enough: Counts = counts
        if not why_not and outcome.verdict != HOLDS:
            enough = self._raised(service, counts, rate_qps)
        check = Check(
            hour=hour.hour,
            service=service,
            percentile=sla.percentile,
            latency_s=outcome.latency_s,
            limit_s=sla.latency_s,
            verdict=outcome.verdict,
            num_nodes=self._nodes(service, counts),
            num_nodes_needed=None if why_not or not enough else self._nodes(service, enough),
        )
        return check, enough

    def _nodes(self, service: str, counts: Counts) -> int:
        return sum(count * self._question.unit_nodes(service, name) for name, count in counts.items())

    def why_not(self, service: str, counts: Counts) -> str | None:
        """Why a service cannot be simulated; None: it can."""
        if self._question.provision.sharing:
            return "nodes are shared"
        if not counts:
            return "it has no nodes"
        for name in counts:
            if self._question.capacities[service, name].source == "given":
                return "capacity given"
        for name in counts:
            question = self._tuned(service, name)
            if not isinstance(question.policy, SplitAndOffload) or question.policy.shedding is not None:
                return (
                    f"the nodes of a fleet run split only, and shed nothing; this is {question.policy.name}"
                )
            if not isinstance(question.traffic.arrivals, PoissonArrivals | DiurnalArrivals):
                return f"a fleet takes poisson arrivals; these are {question.traffic.arrivals.process}"
        return None

    def most_qps(self, service: str, name: str) -> float:
        """What a unit serves of a backlog: saturated, less its error; a given rate as it is. [queries/s]"""
        pair = self._question.capacities[service, name]
        if pair.source == "given":
            return pair.low_qps
        return max(pair.low_qps, saturation_qps(self._tuned(service, name)) * pair.low_qps / pair.qps)

    def run(self, service: str, counts: Counts, rate_qps: float) -> Outcome:
        """Simulate a service at a rate on so many units of each type."""
        digest = self._digest(service, counts, rate_qps)
        if (known := self._kept.get(digest)) is not None and known.keys() == {"verdict", "latency_s"}:
            return Outcome(known["verdict"], known["latency_s"])
        members = tuple(
            FleetMember(question=self._tuned(service, name), num_nodes=count)
            for name, count in counts.items()
        )
        asked = FleetQuestion(members=members, routing=Routing.RANDOM, rate_qps=rate_qps, num_windows=1)
        try:
            found = predict_fleet(asked, extrapolate=self._extrapolate)
        except InputError as error:
            return Outcome(f"not simulated: {error}", None)
        at = found.percentiles.get(asked.scenario.sla.percentile)
        outcome = Outcome(found.verdict, None if at is None else at.value_s)
        self._kept.keep(digest, outcome._asdict())
        return outcome

    def _digest(self, service: str, counts: Counts, rate_qps: float) -> str:
        members = [
            {
                **said_of(self._question.prepared[service, name]),
                **self._settings(service, name),
                "nodes": count,
            }
            for name, count in counts.items()
        ]
        asked = {"confidence": self._question.provision.confidence, "extrapolate": self._extrapolate}
        return digest_of({"simulated": members, "rate_qps": rate_qps, **asked})

    def _settings(self, service: str, name: str) -> dict[str, Any]:
        return self._question.capacities[service, name]._asdict()

    def _tuned(self, service: str, name: str) -> Question:
        return tuned_question(self._question, service, name)

    def _raised(self, service: str, counts: Counts, rate_qps: float) -> Counts:
        """The fewest more units with which the SLA holds, of the type that it has most of; empty: none do."""
        kind = max(counts, key=counts.__getitem__)
        most = max(2, int(MOST_RAISED * counts[kind]))

        def holds(more: int) -> bool:
            raised = {**counts, kind: counts[kind] + more}
            return self.run(service, raised, rate_qps).verdict == HOLDS

        short, more = 0, 1
        while not holds(more):
            if more >= most:
                return {}
            short, more = more, min(2 * more, most)
        while more - short > 1:
            middle = (short + more) // 2
            short, more = (short, middle) if holds(middle) else (middle, more)
        return {**counts, kind: counts[kind] + more}


def _raised(
    question: PlanQuestion, static: Optimum, raised: Mapping[str, Counts], checks: tuple[Check, ...]
) -> Simulated:
    """The static nodes, with those that simulation added."""
    before = static.provisioned.units
    after = {service: counts or before[service] for service, counts in raised.items()}
    placements = [
        Placement(name, (service,), count * each, unit_nodes=each)
        for service, counts in after.items()
        for name, count in counts.items()
        for each in [question.unit_nodes(service, name)]
    ]
    provisioned = Provisioned(
        question=question, placements=tuple(placements), demand_qps=static.provisioned.demand_qps
    )
    short = [
        f"{each.name}: {used} nodes of {each.available} available"
        for each in question.node_types
        if (used := provisioned.by_type[each.name]) > each.most_nodes
    ]
    cap_w, power_w = question.provision.power_cap_w, provisioned.tdp_w
    if cap_w is not None and power_w is not None and power_w > cap_w:
        short.append(f"{power_w:g} W of {cap_w:g} W")
    return Simulated(
        provisioned=provisioned,
        raised_by={
            service: sum(
                (count - before[service].get(name, 0)) * question.unit_nodes(service, name)
                for name, count in counts.items()
            )
            for service, counts in after.items()
        },
        holds=not short and all(raised[check.service] for check in checks if check.service in raised),
        lacks=tuple(short),
    )
