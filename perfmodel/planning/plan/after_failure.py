"""The minutes after each failure that a plan is ready for, service by service: does it recover, and when?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil, inf

from perfmodel.domain.provision import Transient
from perfmodel.planning.plan.answer import AfterLoss, PlanAnswer
from perfmodel.planning.plan.check import drained
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.sim.transient import Aftermath, LostNodes, after_loss
from perfmodel.units import MS

TIMEOUT_OVER_SLA = 10.0
"""A client's time-out over the latency of the SLA where none is said: assumed. [1]"""

MOST_RAISED = 4.0
"""A service that does not recover on so many times its nodes is not short of nodes. [1]"""

Counts = Mapping[str, int]
"""Units by node type: each is lost whole, and each loss is in another."""
MostQps = Callable[[str, str], float]


def after_failures(answer: PlanAnswer, most_qps: MostQps) -> tuple[AfterLoss, ...]:
    """Follow every service of the static provision, at its largest demand, after each failure.

    Parameters
    ----------
    answer : PlanAnswer
        A plan.
    most_qps : callable
        What a node of a type serves of a service while queries wait, by their names. [queries/s]
    """
    question, static = answer.question, answer.static
    if static is None or question.provision.sharing or question.provision.failures is None:
        return ()
    found = []
    for service, rate_qps in zip(question.services, question.peak_qps, strict=True):
        counts = static.provisioned.units[service.name]
        if counts and rate_qps > 0.0:
            of_service = _Service(question, service.name, float(rate_qps), most_qps)
            found += [of_service.after(failure, counts) for failure in failures_of(question)]
    return tuple(found)


def failures_of(question: PlanQuestion) -> Iterator[tuple[str, Callable[[int], int]]]:
    """Each failure in words, and how many of a type's serving nodes it takes."""
    failures = question.provision.failures
    if failures is None:
        return
    if (lost := failures.nodes) > 0:
        yield f"{lost} node{'s' if lost > 1 else ''} of each type", lambda serving: min(lost, serving)
    if (zones := failures.zones) is not None:
        yield f"one of {zones} zones", lambda serving: ceil(serving / zones)


class _Service:
    """A service of a plan, on any nodes."""

    def __init__(self, question: PlanQuestion, name: str, rate_qps: float, most_qps: MostQps) -> None:
        self._question, self._name, self._rate_qps = question, name, rate_qps
        self._most_qps = {
            node_type: most_qps(service, node_type)
            for service, node_type in question.capacities
            if service == name
        }

    def after(self, failure: tuple[str, Callable[[int], int]], counts: Counts) -> AfterLoss:
        """What comes of a failure, and on how many nodes it would recover."""
        words, lost_of = failure
        lost = {name: lost_of(self._serving(count)) for name, count in counts.items()}
        of = self._lost_nodes(counts, lost)
        aftermath = after_loss(of)
        num_nodes = self._nodes(counts)
        needed: int | None = num_nodes
        if aftermath.ending != "recovers":
            more = self._more(lost_of, counts)
            needed = None if more is None else num_nodes + self._nodes(more)
        return AfterLoss(
            service=self._name,
            failure=words,
            lost_nodes={name: self._nodes({name: count}) for name, count in lost.items()},
            rate_qps=of.rate_qps,
            before_qps=of.kept_qps + of.lost_qps,
            left_qps=of.kept_qps,
            timeout_s=of.timeout_s,
            aftermath=aftermath,
            num_nodes=num_nodes,
            num_nodes_needed=needed,
        )

    def _nodes(self, counts: Counts) -> int:
        return sum(count * self._question.unit_nodes(self._name, name) for name, count in counts.items())

    def _serving(self, count: int) -> int:
        return count - drained(count, self._question.provision.maintenance)

    def _lost_nodes(self, counts: Counts, lost: Counts) -> LostNodes:
        asked = self._question.provision.transient or Transient()
        sla = self._question.slas[self._name]
        timeout_s = TIMEOUT_OVER_SLA * sla.latency_s if asked.timeout_ms is None else asked.timeout_ms * MS
        return LostNodes(
            rate_qps=self._rate_qps,
            kept_qps=sum(
                (self._serving(count) - lost[name]) * self._most_qps[name] for name, count in counts.items()
            ),
            lost_qps=sum(lost[name] * self._most_qps[name] for name in counts),
            detection_s=asked.detection_s,
            timeout_s=timeout_s,
            retries=asked.retries,
            restart_s=inf if asked.restart_s is None else asked.restart_s,
            cold_speed=asked.cold_speed,
            warm_up_s=asked.warm_up_s,
            limit_s=sla.latency_s,
            horizon_s=asked.horizon_s,
        )

    def _more(self, lost_of: Callable[[int], int], counts: Counts) -> Counts | None:
        """The fewest more units, of the type it has most of, on which it recovers; None: none found."""
        kind = max(counts, key=counts.__getitem__)
        most = max(2, int(MOST_RAISED * counts[kind]))

        def recovers(more: int) -> bool:
            raised = {**counts, kind: counts[kind] + more}
            lost = {name: lost_of(self._serving(count)) for name, count in raised.items()}
            found: Aftermath = after_loss(self._lost_nodes(raised, lost))
            return found.ending == "recovers"

        short, more = 0, 1
        while not recovers(more):
            if more >= most:
                return None
            short, more = more, min(2 * more, most)
        while more - short > 1:
            middle = (short + more) // 2
            short, more = (short, middle) if recovers(middle) else (middle, more)
        return {kind: more}
