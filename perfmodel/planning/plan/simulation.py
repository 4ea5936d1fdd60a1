"""The plan simulated: does each service hold its SLA on the nodes that it got, and how many does it take?

The nodes of a service stand behind a router that draws one at random, in proportion to the nodes' capacities:
no node knows of another, so that nothing is gained by pooling. Nodes that several services share are in
`shared_simulation`. A service is tried at its largest demand on
the static nodes, and at its least on that hour's. Where its SLA does not hold with the confidence asked for,
nodes are added until it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from perfmodel.domain.fleet import Routing
from perfmodel.errors import InputError
from perfmodel.planning.plan.after_failure import after_failures
from perfmodel.planning.plan.answer import (
    AfterLoss,
    Check,
    Fewest,
    HourPlan,
    Optimum,
    PlanAnswer,
    Provisioned,
    Simulated,
)
from perfmodel.planning.plan.capacities import said_of
from perfmodel.planning.plan.check import Placement
from perfmodel.planning.plan.kept import Kept, digest_of
from perfmodel.planning.plan.outcome import HOLDS, MOST_RAISED, Outcome
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.planning.plan.shared_rates import Placed
from perfmodel.planning.plan.tuned import tuned_question
from perfmodel.planning.question import Question
from perfmodel.sim.policies import is_fifo
from perfmodel.threads import Tell, side_by_side, untold

if TYPE_CHECKING:
    from perfmodel.planning.plan.shared_simulation import SharedSimulator

MOST_POOLED = 300
"""Nodes of a service up to which it is simulated behind a router that sees all queues. [nodes]"""

NEARLY = 0.01
"""Of the nodes: how closely the fewest are found, for what imbalance costs. [1]"""

Counts = Mapping[str, int]


USUAL_RUNS, MOST_TOLD = 9, 0.95
"""Simulations of a service that holds: both ends of its day, and two searches for the fewest nodes.
Who watches is told so much of the work by them, at most that share of it: some take more. [1]"""


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
    simulator = Simulator(answer.question, extrapolate=extrapolate, tell=tell)
    after = after_failures(answer, simulator.most_qps)
    shared = None
    if answer.question.provision.sharing:
        from perfmodel.planning.plan.shared_simulation import SharedSimulator  # few plans share nodes

        shared = SharedSimulator(answer.question, extrapolate=extrapolate)
        found = _of_shared(shared, answer, tell)
    else:
        found = side_by_side(
            lambda index: _of_service(simulator, answer, index), range(len(answer.question.services))
        )
    tell(1.0)
    checks = tuple(check for each in found for check, _ in each)
    tried = [each[0] for each in found if not each[0][0].verdict.startswith("not simulated")]
    raised = _most_of(_placed(answer.static), *(counts for _, counts in tried))
    unmended = {check.service for check, counts in tried if not counts}
    recovering = _recovering(answer, after, raised)
    if shared is not None:
        answer = replace(answer, notes=(*answer.notes, *shared.notes))
    answer = replace(answer, checks=checks, after_failure=after)
    if not tried and recovering.nodes == raised and recovering.holds:
        return replace(answer, notes=(*answer.notes, *recovering.notes))
    notes = [
        f"hour {check.hour}: {check.service} takes {check.num_nodes_needed} nodes, not {check.num_nodes}"
        for each in found
        for check, _ in each[1:]
        if check.num_nodes_needed not in (None, check.num_nodes)
    ]
    return replace(
        answer,
        simulated=_raised(answer, recovering.nodes, holds=not unmended and recovering.holds),
        notes=(*answer.notes, *notes, *recovering.notes),
    )


class _Recovering(NamedTuple):
    """Nodes on which SLAs hold and services recover, and what is to be said of them."""

    nodes: dict[Placed, int]
    notes: tuple[str, ...]
    holds: bool = True


def _recovering(answer: PlanAnswer, after: tuple[AfterLoss, ...], raised: dict[Placed, int]) -> _Recovering:
    """Raise nodes until services recover; where that rests on defaults, no further than there is stock."""
    more = _most_of(raised, *(each.enough or {} for each in after))
    decides = answer.question.provision.transient is not None
    never = list(dict.fromkeys(each.service for each in after if each.enough is None))
    notes = (f"no number of nodes that was tried lets {', '.join(never)} recover",) if never else ()
    if more == raised:
        return _Recovering(raised, notes, holds=not (decides and never))
    slow = ", ".join(dict.fromkeys(each.service for each in after if each.aftermath.ending != "recovers"))
    if not decides and _lacks(_provisioned(answer, more)):
        return _Recovering(
            raised,
            (f"there are too few nodes for {slow} to recover from a failure, by what is assumed of it",),
        )
    return _Recovering(
        more, (*notes, f"raised for {slow} to recover from a failure"), holds=not (decides and never)
    )


def _placed(static: Optimum) -> dict[Placed, int]:
    """The units of a plan by what they are and what they serve."""
    counts: dict[Placed, int] = {}
    for each in static.provisioned.placements:
        placed = (each.node_type, each.services)
        counts[placed] = counts.get(placed, 0) + each.units
    return counts


def _alone(service: str, counts: Counts) -> dict[Placed, int]:
    """Nodes of a service that shares none."""
    return {(name, (service,)): count for name, count in counts.items()}


def _most_of(*counts: Mapping[Placed, int]) -> dict[Placed, int]:
    """The greatest number of each."""
    found: dict[Placed, int] = {}
    for each in counts:
        for placed, count in each.items():
            found[placed] = max(found.get(placed, 0), count)
    return found


def _ends_of_the_day(answer: PlanAnswer, service: str) -> tuple[HourPlan, HourPlan | None]:
    """A service's busiest hour, and its quietest, where that is another one and has nodes and demand."""
    planned = [hour.planned_qps[service] for hour in answer.hours]
    busiest = answer.hours[max(range(len(planned)), key=planned.__getitem__)]
    quietest = answer.hours[min(range(len(planned)), key=planned.__getitem__)]
    is_another = quietest is not busiest and quietest.optimum is not None and min(planned) > 0.0
    return busiest, quietest if is_another else None


Tried = list[tuple[Check, Mapping[Placed, int]]]
"""A service in an hour, and the nodes with which it holds there; without any where none were found."""


def _of_shared(simulator: SharedSimulator, answer: PlanAnswer, tell: Tell) -> list[Tried]:
    """Every service in its busiest and quietest hour, beside what the others ask for then."""
    asked: dict[tuple[int, bool], tuple[HourPlan, Optimum, list[str]]] = {}
    ends = {each.name: _ends_of_the_day(answer, each.name) for each in answer.question.services}
    for name, (busiest, quietest) in ends.items():
        assert answer.static is not None, "there is a plan"
        asked.setdefault((busiest.hour, True), (busiest, answer.static, []))[2].append(name)
        if quietest is not None:
            assert quietest.optimum is not None, "checked above"
            asked.setdefault((quietest.hour, False), (quietest, quietest.optimum, []))[2].append(name)

    def tried(key: tuple[int, bool]) -> dict[str, tuple[Check, Mapping[Placed, int]]]:
        hour, optimum, names = asked[key]
        return simulator.checks(names, hour, _placed(optimum))

    found = dict(zip(asked, side_by_side(tried, asked, tell), strict=True))
    return [
        [
            found[hour.hour, is_busiest][name]
            for hour, is_busiest in ((busiest, True), (quietest, False))
            if hour is not None
        ]
        for name, (busiest, quietest) in ends.items()
    ]


def _of_service(simulator: Simulator, answer: PlanAnswer, index: int) -> Tried:
    """The service at its largest demand on the static nodes, and at its least on that hour's."""
    assert answer.static is not None, "there is a plan"
    service = answer.question.services[index].name
    busiest, quietest = _ends_of_the_day(answer, service)
    check, counts = simulator.check(service, busiest, answer.static.provisioned)
    if counts and not check.verdict.startswith("not simulated"):
        fewest = simulator.fewest(service, counts, busiest.planned_qps[service])
        check = replace(check, fewest=fewest)
    found = [(check, counts)]
    if quietest is not None:
        assert quietest.optimum is not None, "checked with the hour"
        found.append(simulator.check(service, quietest, quietest.optimum.provisioned))
    return [(check, _alone(service, counts)) for check, counts in found]


class Simulator:
    """Simulates services of a plan, and keeps what was found."""

    def __init__(self, question: PlanQuestion, *, extrapolate: bool, tell: Tell = untold) -> None:
        self._question, self._extrapolate = question, extrapolate
        self._kept = Kept()
        self._runs, self._tell = 0, tell

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
        if not counts:
            return "it has no nodes"
        for name in counts:
            if self._question.capacities[service, name].source == "given":
                return "capacity given"
        return None

    def most_qps(self, service: str, name: str) -> float:
        """What a unit serves of a backlog: saturated, less its error; a given rate as it is. [queries/s]"""
        pair = self._question.capacities[service, name]
        if pair.source == "given":
            return pair.low_qps
        return max(pair.low_qps, self._tuned(service, name).saturation_qps * pair.low_qps / pair.qps)

    def run(
        self, service: str, counts: Counts, rate_qps: float, routing: Routing = Routing.RANDOM
    ) -> Outcome:
        """Simulate a service at a rate on so many units of each type."""
        self._runs += 1
        self._tell(min(MOST_TOLD, (self._runs - 1) / (USUAL_RUNS * len(self._question.services))))
        digest = self._digest(service, counts, rate_qps, routing)
        if (known := self._kept.get(digest)) is not None and known.keys() == {"verdict", "latency_s"}:
            return Outcome(known["verdict"], known["latency_s"])
        # On use: a plan whose simulation is kept needs none of it.
        from perfmodel.planning.fleet.computation import predict_fleet
        from perfmodel.planning.fleet.question import FleetMember, FleetQuestion

        members = tuple(
            FleetMember(question=self._tuned(service, name), num_nodes=count)
            for name, count in counts.items()
            if count
        )
        asked = FleetQuestion(members=members, routing=routing, rate_qps=rate_qps, num_windows=1)
        try:
            found = predict_fleet(asked, extrapolate=self._extrapolate)
        except InputError as error:
            return Outcome(f"not simulated: {error}", None)
        at = found.percentiles.get(asked.scenario.sla.percentile)
        outcome = Outcome(found.verdict, None if at is None else at.value_s)
        self._kept.keep(digest, outcome._asdict())
        return outcome

    def fewest(self, service: str, counts: Counts, rate_qps: float) -> Fewest:
        """The fewest nodes on which it holds, behind a router that draws and one that sees all queues."""
        digest = digest_of({"fewest": self._digest(service, counts, rate_qps, Routing.RANDOM)})
        if (known := self._kept.get(digest)) is not None and known.keys() == {"random", "shortest_queue"}:
            return Fewest(**known)
        found = self._searched(service, counts, rate_qps)
        self._kept.keep(digest, found._asdict())
        return found

    def _searched(self, service: str, counts: Counts, rate_qps: float) -> Fewest:
        total = sum(counts.values())
        drawn = self._fewest(service, counts, rate_qps, Routing.RANDOM)
        pooled = None
        if total <= MOST_POOLED and all(self._is_quick(service, name) for name in counts):
            pooled = self._fewest(service, counts, rate_qps, Routing.JOIN_SHORTEST_QUEUE)
        return Fewest(
            random=self._nodes(service, counts if drawn is None else drawn),
            shortest_queue=None if pooled is None else self._nodes(service, pooled),
        )

    def _fewest(self, service: str, counts: Counts, rate_qps: float, routing: Routing) -> Counts | None:
        """The fewest units, those of the most frequent type being fewer; None: these do not hold."""
        kind = max(counts, key=counts.__getitem__)
        others = sum(counts.values()) - counts[kind]
        others_qps = sum(
            count * self.most_qps(service, name) for name, count in counts.items() if name != kind
        )
        least = max(0, ceil((rate_qps - others_qps) / self.most_qps(service, kind))) - 1
        least = max(least, 0 if others else 1) - 1

        def holds(count: int) -> bool:
            return self.run(service, {**counts, kind: count}, rate_qps, routing).verdict == HOLDS

        if routing is not Routing.RANDOM and not holds(counts[kind]):
            return None
        short, enough = min(least, counts[kind] - 1), counts[kind]
        while enough - short > max(1, int(NEARLY * enough)):
            middle = (short + enough) // 2
            short, enough = (short, middle) if holds(middle) else (middle, enough)
        return {**counts, kind: enough}

    def _is_quick(self, service: str, name: str) -> bool:
        """Whether all nodes of a fleet are simulated quickly: its compiled engine runs them."""
        question = self._tuned(service, name)
        return is_fifo(question.times.table, question.policy) and not question.times.table.is_paused

    def _digest(self, service: str, counts: Counts, rate_qps: float, routing: Routing) -> str:
        members = [
            {
                **said_of(self._question.prepared[service, name]),
                **self._settings(service, name),
                "nodes": count,
            }
            for name, count in counts.items()
            if count
        ]
        asked = {"confidence": self._question.provision.confidence, "extrapolate": self._extrapolate}
        return digest_of({"simulated": members, "rate_qps": rate_qps, "routing": routing.value, **asked})

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


def _provisioned(answer: PlanAnswer, counts: Mapping[Placed, int]) -> Provisioned:
    """So many units, with the demand of the static ones."""
    assert answer.static is not None, "there is a plan"
    before = answer.static.provisioned
    known = {(each.node_type, each.services): each for each in before.placements}
    placements = []
    for placed, count in counts.items():
        name, services = placed
        unit_nodes = before.question.unit_nodes(services[0], name) if len(services) == 1 else 1
        like = known.get(placed, Placement(name, services, 0, unit_nodes=unit_nodes))
        placements.append(like._replace(nodes=count * unit_nodes))
    return replace(before, placements=tuple(each for each in placements if each.nodes))


def _lacks(provisioned: Provisioned) -> tuple[str, ...]:
    """What nodes take beyond stock and caps."""
    question = provisioned.question
    short = [
        f"{each.name}: {used} nodes of {each.available} available"
        for each in question.node_types
        if (used := provisioned.by_type[each.name]) > each.most_nodes
    ]
    cap_w, power_w = question.provision.power_cap_w, provisioned.tdp_w
    if cap_w is not None and power_w is not None and power_w > cap_w:
        short.append(f"{power_w:g} W of {cap_w:g} W")
    return tuple(short)


def _raised(answer: PlanAnswer, counts: Mapping[Placed, int], *, holds: bool) -> Simulated:
    """The static nodes, with those that simulation added."""
    assert answer.static is not None, "there is a plan"
    before, provisioned = answer.static.provisioned.nodes, _provisioned(answer, counts)
    lacks = _lacks(provisioned)
    return Simulated(
        provisioned=provisioned,
        raised_by={
            service: sum(of.values()) - sum(before[service].values())
            for service, of in provisioned.nodes.items()
        },
        holds=holds and not lacks,
        lacks=lacks,
    )
