"""Nodes that several services share, simulated: one of each group, with what it gets of every service.

The router draws a node for each query at random, by shares that leave the fullest nodes as little full as can
be (`shared_rates`). Then each node of a group gets an independent part of every service's arrivals, and one
node tells all of them, unless a trace is dealt out to them query by query. A request beside others of another
service takes as long as beside as many of its own (`perfmodel.sim.shared_node`): by how much services differ
in how they slow each other down is counted as an error of their times, beside that which they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, inf, log
from threading import Lock
from typing import Any, NamedTuple

from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.planning.fleet.computation import judged
from perfmodel.planning.plan.answer import Check, HourPlan
from perfmodel.planning.plan.capacities import said_of
from perfmodel.planning.plan.kept import Kept, digest_of
from perfmodel.planning.plan.outcome import HOLDS, MOST_RAISED, Outcome
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.planning.plan.shared_rates import Placed, components, loads_together
from perfmodel.planning.plan.tuned import tuned_question
from perfmodel.planning.question import Question
from perfmodel.planning.sensitivity import Errors
from perfmodel.planning.service_times import AnyTimes
from perfmodel.planning.stages import StageTimes
from perfmodel.sim.fleet_latency import LatencyMixture, LatencySample
from perfmodel.sim.shared_node import (
    UNSTABLE,
    OneOfSeveral,
    SharedNode,
    SharedStretch,
    SharedTraffic,
    simulate_shared,
    why_not_shared,
)
from perfmodel.sim.statistics import level_among_served
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

Counts = Mapping[Placed, int]
"""Units of nodes, by what they are and what they serve."""


class SharedSimulator:
    """Simulates the services of a plan whose nodes are shared, and keeps what was found."""

    def __init__(self, question: PlanQuestion, *, extrapolate: bool) -> None:
        self._question, self._extrapolate = question, extrapolate
        self._kept = Kept()
        self._lock = Lock()
        self._widest = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of everything that was simulated."""
        if self._widest == 0.0:
            return ()
        return (
            "shared nodes are simulated with all of their services, first come, first served; how much "
            "harder one slows a request than its own kind does is not known, and counted as an error of its "
            f"times, of up to {100 * self._widest:.2g} % here",
        )

    def checks(self, names: Sequence[str], hour: HourPlan, counts: Counts) -> dict[str, tuple[Check, Counts]]:
        """Try services in an hour; with each the nodes on which all of them hold, more where it has to be."""
        rates_qps = {name: rate_qps for name, rate_qps in hour.planned_qps.items() if rate_qps > 0.0}
        found = self.outcomes(counts, rates_qps)
        enough: Counts | None = counts
        tried = [name for name in names if not _is_left_out(found[name])]
        if any(found[name].verdict != HOLDS for name in tried):
            enough = self._raised(tried, found, counts, rates_qps)
        checks = {}
        for name in names:
            sla, left_out = self._question.slas[name], name not in tried
            check = Check(
                hour=hour.hour,
                service=name,
                percentile=sla.percentile,
                latency_s=found[name].latency_s,
                limit_s=sla.latency_s,
                verdict=found[name].verdict,
                num_nodes=self._nodes(name, counts),
                num_nodes_needed=None if left_out or enough is None else self._nodes(name, enough),
            )
            checks[name] = check, counts if left_out else enough or {}
        return checks

    def _nodes(self, service: str, counts: Counts) -> int:
        return sum(
            count * self._question.unit_nodes(service, name)
            for (name, services), count in counts.items()
            if service in services
        )

    def _raised(
        self,
        names: Sequence[str],
        found: Mapping[str, Outcome],
        counts: Counts,
        rates_qps: Mapping[str, float],
    ) -> Counts | None:
        """The fewest more units with which all hold, of what each that fails has most of; None: none."""
        kinds = {
            max((placed for placed in counts if name in placed[1]), key=counts.__getitem__)
            for name in names
            if found[name].verdict != HOLDS
        }
        most = max(2, int(MOST_RAISED * max(counts[kind] for kind in kinds)))

        def raised(more: int) -> dict[Placed, int]:
            return {**counts, **{kind: counts[kind] + more for kind in kinds}}

        def holds(more: int) -> bool:
            outcomes = self.outcomes(raised(more), rates_qps)
            return all(outcomes[name].verdict == HOLDS for name in names)

        short, more = 0, 1
        while not holds(more):
            if more >= most:
                return None
            short, more = more, min(2 * more, most)
        while more - short > 1:
            middle = (short + more) // 2
            short, more = (short, middle) if holds(middle) else (middle, more)
        return raised(more)

    def outcomes(self, counts: Counts, rates_qps: Mapping[str, float]) -> dict[str, Outcome]:
        """Simulate all services at their rates; one that asks for nothing is not simulated. [queries/s]"""
        found = {
            each.name: Outcome("not simulated: nothing is asked for", None)
            for each in self._question.services
        }
        for together in components(rates_qps, counts):
            found |= self._together({name: rates_qps[name] for name in rates_qps if name in together}, counts)
        return found

    def _together(self, rates_qps: Mapping[str, float], counts: Counts) -> dict[str, Outcome]:
        """Services that share nodes with each other, be it by way of others."""
        node_qps = {pair: each.low_qps for pair, each in self._question.capacities.items()}
        own = {placed: float(count) for placed, count in counts.items() if set(placed[1]) & rates_qps.keys()}
        loads_qps = loads_together(rates_qps, node_qps, own)
        if why := self._why_not(rates_qps, loads_qps):
            return {name: Outcome(f"not simulated: {why}", None) for name in rates_qps}
        digest = self._digest(rates_qps, loads_qps, counts)
        if (known := _read(self._kept.get(digest), rates_qps)) is None:
            try:
                known = self._simulated(rates_qps, loads_qps, counts)
            except InputError as error:
                return {name: Outcome(f"not simulated: {error}", None) for name in rates_qps}
            of_each = {name: outcome._asdict() for name, outcome in known.outcomes.items()}
            self._kept.keep(digest, {"outcomes": of_each, "neighbours": known.neighbours})
        with self._lock:
            self._widest = max(self._widest, known.neighbours)
        return known.outcomes

    def _why_not(
        self, rates_qps: Mapping[str, float], loads_qps: Mapping[tuple[str, Placed], float]
    ) -> str | None:
        """Why services cannot be simulated together; None: they can."""
        among = f" (of {', '.join(rates_qps)}, which share nodes)" if len(rates_qps) > 1 else ""
        for name in rates_qps:
            if not any(service == name for service, _ in loads_qps):
                return "it has no nodes"
        for service, (name, _) in loads_qps:
            if self._question.capacities[service, name].source == "given":
                return f"capacity given: {service} on {name}{among}" if among else "capacity given"
        return None

    def _simulated(
        self,
        rates_qps: Mapping[str, float],
        loads_qps: Mapping[tuple[str, Placed], float],
        counts: Counts,
    ) -> _Known:
        groups: dict[Placed, dict[str, _Sharer]] = {}
        for (service, placed), load_qps in loads_qps.items():
            question = tuned_question(self._question, service, placed[0])
            times = question.times_under(question.traffic.size_pmf)
            if not self._extrapolate:
                times.require_calibrated()
            sharer = _Sharer(question, times, rates_qps[service], load_qps / counts[placed])
            groups.setdefault(placed, {})[service] = sharer
        weights = {(name, placed): load_qps for (name, placed), load_qps in loads_qps.items()}
        found, before = [], dict.fromkeys(rates_qps, 0.0)
        for index, (placed, sharers) in enumerate(groups.items()):
            firsts = {name: before[name] for name in sharers}
            found.append(_Group(placed, sharers, index, num_nodes=counts[placed], first_shares=firsts))
            for name, sharer in sharers.items():
                before[name] += sharer.share * counts[placed]
        together = _Together(found, weights)
        outcomes = {name: together.outcome(name) for name in rates_qps}
        return _Known(outcomes, max(each.widest for each in together.groups))

    def _digest(
        self,
        rates_qps: Mapping[str, float],
        loads_qps: Mapping[tuple[str, Placed], float],
        counts: Counts,
    ) -> str:
        members = [
            {
                **said_of(self._question.prepared[service, placed[0]]),
                **self._question.capacities[service, placed[0]]._asdict(),
                "service": service,
                "beside": placed[1],
                "type": placed[0],
                "nodes": counts[placed],
                "load_qps": load_qps,
                "rate_qps": rates_qps[service],
            }
            for (service, placed), load_qps in loads_qps.items()
        ]
        asked = {"confidence": self._question.provision.confidence, "extrapolate": self._extrapolate}
        return digest_of({"simulated together": members, **asked})


class _Known(NamedTuple):
    """What was found of services together, and the largest error for what neighbours do. [ln]"""

    outcomes: dict[str, Outcome]
    neighbours: float


def _is_left_out(outcome: Outcome) -> bool:
    return outcome.verdict.startswith("not simulated")


def _read(entry: Mapping[str, Any] | None, names: Iterable[str]) -> _Known | None:
    """An entry as it was kept; None where it is of another make."""
    try:
        assert entry is not None
        return _Known(
            {name: Outcome(**entry["outcomes"][name]) for name in names}, float(entry["neighbours"])
        )
    except (AssertionError, KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Sharer:
    """A service on the nodes of a group: its rate at the router, and at a node. [queries/s]"""

    question: Question
    times: AnyTimes | StageTimes
    rate_qps: float
    node_qps: float

    def load(self, *, contended: bool) -> float:
        """Utilisation of the busier pool that it asks for of a node. [1]"""
        each = PoissonArrivals(rate_qps=self.node_qps)
        traffic = TrafficSource(arrivals=each, sizes=self.question.traffic.size_pmf)
        return max(offered_utilisation(traffic, self.times.table, self.question.policy, contended=contended))

    @property
    def slow_down(self) -> float:
        """How much longer its requests take with all executors busy than at the least. [1]"""
        table = self.times.table
        contended, least = (float(table.core_times_s(contended=each)[-1]) for each in (True, False))
        return contended / least

    @property
    def share(self) -> float:
        """Of all its queries, for a node. [1]"""
        return self.node_qps / self.rate_qps

    def traffic(self, first_share: float) -> SharedTraffic:
        """What a node gets of it."""
        traffic, sla = self.question.traffic, self.question.sla
        return SharedTraffic(
            arrivals=traffic.at_rate(self.rate_qps).arrivals,
            share=self.share,
            sizes=traffic.size_pmf,
            percentile=sla.percentile,
            outside=traffic.outside,
            trace_s=traffic.trace_s,
            trace_num_items=traffic.trace_num_items if traffic.sizes is None else None,
            first_share=first_share,
        )


class _Group:
    """Nodes that serve the same services, of which one is simulated."""

    def __init__(
        self,
        placed: Placed,
        sharers: Mapping[str, _Sharer],
        index: int,
        *,
        num_nodes: int,
        first_shares: Mapping[str, float],
    ) -> None:
        self.placed, self._sharers, self._index = placed, sharers, index
        self._num_nodes, self._first_shares = num_nodes, first_shares
        self._loads = {name: each.load(contended=True) for name, each in sharers.items()}
        self._found: dict[float, SharedStretch] = {}
        if why := why_not_shared(self._services(0.0)):
            raise InputError(f"{', '.join(sharers)} on {placed[0]}: {why}")

    @property
    def names(self) -> list[str]:
        """The services that have load here."""
        return list(self._sharers)

    @property
    def load(self) -> float:
        """Utilisation that all services ask for, all executors busy. [1]"""
        return sum(self._loads.values())

    def question(self, name: str) -> Question:
        """What is asked of a service."""
        return self._sharers[name].question

    def neighbours(self, name: str) -> float:
        """Error of a service's times for what its neighbours do, which its table does not know. [ln]

        Were a request slowed as its neighbours are by their own kind, its time would differ by the ratio of
        the slow-downs, as far as neighbours keep executors busy.
        """
        own, total = self._sharers[name].slow_down, self.load
        return sum(
            self._loads[other] / total * abs(log(each.slow_down / own))
            for other, each in self._sharers.items()
            if other != name
        )

    @property
    def widest(self) -> float:
        """The largest of these errors. [ln]"""
        return max(self.neighbours(name) for name in self._sharers)

    def spread(self, name: str) -> float:
        """Error of a service's times here, both causes together. [ln]"""
        return hypot(self._sharers[name].times.errors.spread, self.neighbours(name))

    def at(self, errors_longer: float) -> SharedStretch:
        """Simulate a node whose times are longer by so many of their errors."""
        if errors_longer not in self._found:
            services = self._services(errors_longer)
            self._found[errors_longer] = self._run(services)
        return self._found[errors_longer]

    def _services(self, errors_longer: float) -> list[OneOfSeveral]:
        found = []
        for name, each in self._sharers.items():
            errors: Errors = each.times.errors
            times = each.times.table
            if errors_longer:
                times = times.scaled(*errors.at(errors_longer * self.spread(name)))
            found.append(
                OneOfSeveral(times=times, policy=each.question.policy, max_items=each.question.max_items)
            )
        return found

    def _run(self, services: Sequence[OneOfSeveral]) -> SharedStretch:
        alone = sum(
            max(offered_utilisation(_at_node(each), service.times, service.policy, contended=False))
            for each, service in zip(self._sharers.values(), services, strict=True)
        )
        # One service may fill the cores and another the cards, or some of the cores, or turn away what is too
        # much: what queues cannot hold shows in the run then.
        node = SharedNode(tuple(services))
        if alone >= 1.0 and node.has_one_queue and not any(service.offloads for service in services):
            return UNSTABLE
        traffic = [each.traffic(self._first_shares[name]) for name, each in self._sharers.items()]
        return simulate_shared(
            node, traffic, self._settings, replication=self._index, num_nodes=self._num_nodes
        )

    @property
    def _settings(self) -> SimulationSettings:
        """The first service's seed, and the widest precision that any of them asks for."""
        asked = [each.question.simulation for each in self._sharers.values()]
        return asked[0].model_copy(update={"precision": max(each.precision for each in asked)})


def _at_node(sharer: _Sharer) -> TrafficSource:
    arrivals = PoissonArrivals(rate_qps=sharer.node_qps)
    return TrafficSource(arrivals=arrivals, sizes=sharer.question.traffic.size_pmf)


@dataclass(frozen=True, slots=True)
class _Together:
    """The groups of services that share nodes, and how the queries of each are dealt out to them."""

    groups: list[_Group]
    weights: Mapping[tuple[str, Placed], float]

    def outcome(self, name: str) -> Outcome:
        """Judge a service, all times longer or shorter together."""
        own = [group for group in self.groups if name in group.names]
        sla = own[0].question(name).sla

        def served(errors_longer: float) -> tuple[list[LatencySample], float] | None:
            """Samples of all nodes, and the share of its queries that was turned away."""
            samples, asked, shed = [], 0.0, 0.0
            for group in own:
                stretch = group.at(errors_longer)
                if not stretch.is_stable:
                    return None
                index, weight = group.names.index(name), self.weights[name, group.placed]
                samples.append(stretch.samples[index].reweighted(weight))
                asked += weight
                shed += weight * stretch.shed_rates[index]
            return samples, shed / asked

        def excess(errors_longer: float) -> float:
            """By the percentile of all queries that came: one that was turned away never ends."""
            found = served(errors_longer)
            level = None if found is None else level_among_served(sla.percentile, found[1])
            if found is None or level is None:
                return inf
            return log(LatencyMixture(found[0]).percentile_s(level) / sla.latency_s)

        judgement = judged(
            excess,
            spread=max(group.spread(name) for group in own),
            confidence=sla.confidence,
            overload=lambda: max(group.load for group in own),
        )
        central = served(0.0)
        if central is None:
            return Outcome(judgement.verdict, None)
        # What is too much is turned away where a policy sheds.
        verdict = "misses_sla" if judgement.verdict == "unstable" else judgement.verdict
        return Outcome(verdict, LatencyMixture(central[0]).percentile_s(sla.percentile))
