"""A fleet with its service times, as given or longer, and what it does at a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perfmodel.domain.workload import PoissonArrivals
from perfmodel.planning.fleet_question import FleetMember, FleetQuestion
from perfmodel.planning.service_error import service_errors
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_latency import LatencyMixture, LatencySample
from perfmodel.sim.fleet_window import FleetTraffic, Stretch, simulate_stretch
from perfmodel.sim.run import REPORTED_PERCENTILES
from perfmodel.sim.statistics import Interval
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation


class FleetRun:
    """The fleet, its service times as given or longer, and what it does at a rate."""

    def __init__(self, question: FleetQuestion) -> None:
        self.question = question
        self._law = question.scenario.traffic.size_pmf
        self._kinds = [self._kind(member) for member in question.members]
        self._errors = [
            service_errors(member.question.node, member.policy, self._law) for member in question.members
        ]

    @property
    def spread(self) -> float:
        """Error of the service times of the kind of node known worst. [ln]"""
        return max(errors.spread for errors in self._errors)

    def at(self, rate_qps: float, replication: int, *, errors_longer: float = 0.0) -> Stretch:
        """Simulate a stretch, every service time longer by so many of its errors."""
        kinds = tuple(
            replace(kind, service=kind.service.scaled(*errors.at(errors_longer * errors.spread)))
            for kind, errors in zip(self._kinds, self._errors, strict=True)
        )
        scenario = self.question.scenario
        return simulate_stretch(
            Fleet(kinds, tuple(member.num_nodes for member in self.question.members)),
            FleetTraffic(rate_qps=rate_qps, sizes=self._law, routing=self.question.routing),
            scenario.simulation,
            percentile=scenario.sla.percentile,
            replication=replication,
        )

    def offered(self, rate_qps: float, stretch: Stretch) -> tuple[PoolLoads, ...]:
        """Utilisation that the load asks of each kind of node with all executors busy. [1]"""
        loads = []
        for kind, member, share in zip(self._kinds, self.question.members, stretch.shares, strict=True):
            each = PoissonArrivals(rate_qps=max(1e-9, share * rate_qps / member.num_nodes))
            traffic = TrafficSource(arrivals=each, sizes=self._law)
            loads.append(offered_utilisation(traffic, kind.service, kind.policy, contended=True))
        return tuple(loads)

    def _kind(self, member: FleetMember) -> NodeKind:
        service = member.question.node.service_times(member.policy, self._law.max_items, self._law)
        return NodeKind(service=service, policy=member.policy)

    def percentiles(self, samples: Sequence[LatencySample]) -> dict[float, Interval]:
        """Percentiles of latencies in proportion to their weights. [s]"""
        mixture = LatencyMixture(samples)
        wanted = sorted({self.question.scenario.sla.percentile, *REPORTED_PERCENTILES})
        return {percentile: mixture.interval(percentile) for percentile in wanted}
