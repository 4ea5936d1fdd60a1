"""The minutes after each failure that a plan is ready for, service by service: does it recover, and when?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil, inf

from perfmodel.domain.provision import Transient
from perfmodel.planning.plan.answer import AfterLoss, PlanAnswer
from perfmodel.planning.plan.check import drained
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.planning.plan.shared_rates import Placed, rates_together
from perfmodel.sim.transient import LostNodes, after_loss
from perfmodel.units import MS

TIMEOUT_OVER_SLA = 10.0
"""A client's time-out over the latency of the SLA where none is said: assumed. [1]"""

MOST_RAISED = 4.0
"""A service that does not recover on so many times its nodes is not short of nodes. [1]"""

Counts = Mapping[Placed, int]
"""Units: each is lost whole, and each loss is in another."""
MostQps = Callable[[str, str], float]


def after_failures(answer: PlanAnswer, most_qps: MostQps) -> tuple[AfterLoss, ...]:
    """Follow every service of the static provision, at its largest demand, after each failure.

    Where nodes are shared, the services of a node keep their shares of its time, and each group of nodes that
    serve the same services loses what the failure takes of one.

    Parameters
    ----------
    answer : PlanAnswer
        A plan.
    most_qps : callable
        What a node of a type serves of a service while queries wait, by their names. [queries/s]
    """
    question, static = answer.question, answer.static
    if static is None or question.provision.failures is None:
        return ()
    counts: dict[Placed, int] = {}
    for each in static.provisioned.placements:
        placed = (each.node_type, each.services)
        counts[placed] = counts.get(placed, 0) + each.units
    rates_qps = {
        service.name: float(rate_qps)
        for service, rate_qps in zip(question.services, question.peak_qps, strict=True)
        if rate_qps > 0.0 and any(service.name in services for _, services in counts)
    }
    node_qps = {pair: most_qps(*pair) for pair in question.capacities}
    followed = _Followed(question, rates_qps, node_qps)
    return tuple(
        followed.after(service, failure, counts) for service in rates_qps for failure in failures_of(question)
    )


def failures_of(question: PlanQuestion) -> Iterator[tuple[str, Callable[[int, int], int]]]:
    """Each failure in words, and how many of the serving units it takes that have so many types."""
    failures = question.provision.failures
    if failures is None:
        return
    if (lost := failures.nodes) > 0:
        yield (
            f"{lost} node{'s' if lost > 1 else ''} of each type",
            lambda serving, kinds: min(lost * kinds, serving),
        )
    if (zones := failures.zones) is not None:
        yield f"one of {zones} zones", lambda serving, _: ceil(serving / zones)


Failure = tuple[str, Callable[[int, int], int]]


class _Followed:
    """The services of a plan, on any nodes."""

    def __init__(
        self,
        question: PlanQuestion,
        rates_qps: Mapping[str, float],
        node_qps: Mapping[tuple[str, str], float],
    ) -> None:
        self._question, self._rates_qps, self._node_qps = question, rates_qps, node_qps

    def after(self, service: str, failure: Failure, counts: Counts) -> AfterLoss:
        """What comes of a failure, and on how many nodes it would recover."""
        words, lost_of = failure
        of = self._lost_nodes(service, counts, lost_of)
        aftermath = after_loss(of)
        own = {placed: count for placed, count in counts.items() if service in placed[1]}
        lost: dict[str, int] = {}
        for (name, _), count in own.items():
            units = lost_of(self._serving(count), self._question.num_parts(name))
            lost[name] = lost.get(name, 0) + units * self._question.unit_nodes(service, name)
        enough: Counts | None = {}
        if aftermath.ending != "recovers":
            enough = self._enough(service, lost_of, counts, own)
        num_nodes = self._nodes(service, own)
        return AfterLoss(
            service=service,
            failure=words,
            lost_nodes=lost,
            rate_qps=of.rate_qps,
            before_qps=of.kept_qps + of.lost_qps,
            left_qps=of.kept_qps,
            timeout_s=of.timeout_s,
            aftermath=aftermath,
            num_nodes=num_nodes,
            num_nodes_needed=None if enough is None else self._nodes(service, {**own, **enough}),
            enough=enough,
        )

    def _nodes(self, service: str, counts: Counts) -> int:
        return sum(count * self._question.unit_nodes(service, name) for (name, _), count in counts.items())

    def _serving(self, count: int) -> int:
        return count - drained(count, self._question.provision.maintenance)

    def _lost_nodes(self, service: str, counts: Counts, lost_of: Callable[[int, int], int]) -> LostNodes:
        asked = self._question.provision.transient or Transient()
        sla = self._question.slas[service]
        timeout_s = TIMEOUT_OVER_SLA * sla.latency_s if asked.timeout_ms is None else asked.timeout_ms * MS
        serving = {placed: self._serving(count) for placed, count in counts.items()}
        left = {
            placed: count - lost_of(count, self._question.num_parts(placed[0]))
            for placed, count in serving.items()
        }
        before_qps, kept_qps = (self._most_qps(service, nodes) for nodes in (serving, left))
        return LostNodes(
            rate_qps=self._rates_qps[service],
            kept_qps=kept_qps,
            lost_qps=max(0.0, before_qps - kept_qps),
            detection_s=asked.detection_s,
            timeout_s=timeout_s,
            retries=asked.retries,
            restart_s=inf if asked.restart_s is None else asked.restart_s,
            cold_speed=asked.cold_speed,
            warm_up_s=asked.warm_up_s,
            limit_s=sla.latency_s,
            horizon_s=asked.horizon_s,
        )

    def _most_qps(self, service: str, nodes: Counts) -> float:
        """What a service is served at most, beside those that share its nodes. [queries/s]"""
        if all(len(services) == 1 for _, services in nodes):
            own = [(name, count) for (name, services), count in nodes.items() if service in services]
            return sum(count * self._node_qps[service, name] for name, count in own)
        return rates_together(self._rates_qps, self._node_qps, nodes)[service]

    def _enough(
        self, service: str, lost_of: Callable[[int, int], int], counts: Counts, own: Counts
    ) -> Counts | None:
        """The fewest more units, of those it has most of, on which it recovers; None: none found."""
        kind = max(own, key=own.__getitem__)
        most = max(2, int(MOST_RAISED * counts[kind]))

        def recovers(more: int) -> bool:
            raised = {**counts, kind: counts[kind] + more}
            return after_loss(self._lost_nodes(service, raised, lost_of)).ending == "recovers"

        short, more = 0, 1
        while not recovers(more):
            if more >= most:
                return None
            short, more = more, min(2 * more, most)
        while more - short > 1:
            middle = (short + more) // 2
            short, more = (short, middle) if recovers(middle) else (middle, more)
        return {kind: counts[kind] + more}
