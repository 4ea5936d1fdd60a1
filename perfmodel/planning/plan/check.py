"""Is a plan feasible? Asked again in plain arithmetic, by the words of the fleet file.

Shares no code with the programme: it reads names, provision and counts, and says what is violated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from perfmodel.domain.provision import Provision
from perfmodel.planning.plan.question import PlanQuestion

SLACK = 1e-6
"""Relative: what a sum may miss by, as the solver's own tolerance is. [1]"""


class Placement(NamedTuple):
    """Nodes of a type, or of a unit of several, that serve the same services.

    Attributes
    ----------
    node_type : str
        By name, its own or the unit's.
    services : tuple of str
        One, unless nodes are shared.
    nodes : int
        How many.
    loads_qps : tuple of mapping of str to float
        Where nodes are shared: how much of each service they take, in each state that has to hold.
    unit_nodes : int
        How many of them serve together: a main node and those that hold its tables; 1: each by itself.
    """

    node_type: str
    services: tuple[str, ...]
    nodes: int
    loads_qps: tuple[Mapping[str, float], ...] = ()
    unit_nodes: int = 1

    @property
    def units(self) -> int:
        """Whole units among the nodes; nodes that make up none serve nothing."""
        return self.nodes // self.unit_nodes


def violations(
    question: PlanQuestion, demand_qps: Mapping[str, float], placements: Sequence[Placement]
) -> list[str]:
    """What does not hold, a line each; empty where the plan is feasible.

    Parameters
    ----------
    question : PlanQuestion
        Stock, capacities and what has to hold.
    demand_qps : mapping of str to float
        To be served, by service. [queries/s]
    placements : sequence of Placement
        The plan.
    """
    found = [*_stock(question, placements), *_power(question, placements), *_units(question, placements)]
    for index, (name, free, left) in enumerate(_states(question.provision)):
        for service, demand in demand_qps.items():
            served = sum(
                _served(
                    question,
                    placement,
                    service,
                    index,
                    free,
                    left(placement.units, _kinds(question, placement)),
                )
                for placement in placements
                if service in placement.services
            )
            if served < demand * (1.0 - SLACK):
                found.append(f"{name}: {service}: {served:.6g} of {demand:.6g} queries/s are served")
        for placement in placements:
            found += _time(question, placement, index, name, (1.0 - free) * left(placement.units, 1))
    return found


def _units(question: PlanQuestion, placements: Sequence[Placement]) -> list[str]:
    """Each service has whole units, and on one type all of the size that its capacity is of."""
    found = []
    for placement in placements:
        for service in placement.services:
            of = question.capacities[service, placement.node_type].num_nodes
            if placement.unit_nodes != of or placement.nodes % of:
                found.append(
                    f"{service}: {placement.nodes} nodes of {placement.node_type} in units of "
                    f"{placement.unit_nodes}, not whole ones of {of}"
                )
    return found


def survivors(nodes: int, *, lost: int = 0, zones: int | None = None) -> int:
    """Nodes, or units of nodes, that are left of those that serve: each loss is in another unit.

    Examples
    --------
    >>> survivors(7, zones=3), survivors(7, lost=2), survivors(1, lost=2)
    (4, 5, 0)
    """
    if zones is not None:
        return nodes - ceil(nodes / zones)
    return max(0, nodes - lost)


def drained(nodes: int, maintenance: float) -> int:
    """Nodes, or units, out of so many that do not serve: whole ones, at least the share.

    Examples
    --------
    >>> drained(10, 0.1), drained(11, 0.1)
    (1, 2)
    """
    return ceil(maintenance * nodes - 1e-9)


class _State(NamedTuple):
    lost: int
    zones: int | None
    maintenance: float

    def __call__(self, units: int, kinds: int) -> int:
        serving = units - drained(units, self.maintenance)
        return survivors(serving, lost=self.lost * kinds, zones=self.zones)


def _kinds(question: PlanQuestion, placement: Placement) -> int:
    """Node types in a unit, each of which may lose nodes."""
    return next((len(set(each.node_types)) for each in question.mixed if each.name == placement.node_type), 1)


def _nodes_of(question: PlanQuestion, placement: Placement, node_type: str) -> int:
    """Nodes of a type among those of a placement."""
    for each in question.mixed:
        if each.name == placement.node_type:
            if each.is_sharded:  # one main node a unit, all others are shards
                main, shards = each.node_types
                return {main: placement.units, shards: placement.nodes - placement.units}.get(node_type, 0)
            return placement.units * each.node_types.count(node_type)
    return placement.nodes if placement.node_type == node_type else 0


def _states(provision: Provision) -> Iterator[tuple[str, float, _State]]:
    """Every state that has to hold: its name, what stays free, and what is left of units.

    The failures first; the ordinary day is left out where a failure keeps as much free: it has more nodes.
    """
    failures, drain = provision.failures, provision.maintenance
    free = provision.headroom if provision.headroom_in_failure is None else provision.headroom_in_failure
    any_failure = False
    if failures is not None and failures.nodes:
        any_failure = True
        yield f"{failures.nodes} nodes of each type lost", free, _State(failures.nodes, None, drain)
    if failures is not None and failures.zones is not None:
        any_failure = True
        yield f"one of {failures.zones} zones lost", free, _State(0, failures.zones, drain)
    if not any_failure or provision.headroom > free:
        yield "ordinary day", provision.headroom, _State(0, None, drain)


def _served(
    question: PlanQuestion, placement: Placement, service: str, index: int, free: float, left: int
) -> float:
    if len(placement.services) > 1:  # how much the time allows is asked in `_time`
        return placement.loads_qps[index][service]
    return left * question.capacities[service, placement.node_type].low_qps * (1.0 - free)


def _time(question: PlanQuestion, placement: Placement, index: int, name: str, there: float) -> Iterator[str]:
    """Shared nodes: the time that the loads of all services take is there."""
    if len(placement.services) > 1:
        taken = sum(
            placement.loads_qps[index][service] / question.capacities[service, placement.node_type].low_qps
            for service in placement.services
        )
        if taken > there * (1.0 + SLACK) + SLACK:
            yield f"{name}: {placement.node_type}: {taken:.6g} nodes' time taken of {there:.6g}"


def _stock(question: PlanQuestion, placements: Sequence[Placement]) -> list[str]:
    found = []
    for node_type in question.node_types:
        used = sum(_nodes_of(question, placement, node_type.name) for placement in placements)
        if used > node_type.available:
            found.append(f"{node_type.name}: {used} nodes of {node_type.available} available")
        if node_type.tdp_w is not None and used * node_type.tdp_w > node_type.power_cap_w * (1.0 + SLACK):
            found.append(f"{node_type.name}: {used * node_type.tdp_w:.6g} W of {node_type.power_cap_w:.6g} W")
    return found


def _power(question: PlanQuestion, placements: Sequence[Placement]) -> list[str]:
    cap_w = question.provision.power_cap_w
    if cap_w is None:
        return []
    tdp_w = {node_type.name: node_type.tdp_w or 0.0 for node_type in question.node_types}
    drawn_w = sum(
        _nodes_of(question, placement, name) * each_w
        for placement in placements
        for name, each_w in tdp_w.items()
    )
    return [f"power: {drawn_w:.6g} W of {cap_w:.6g} W"] if drawn_w > cap_w * (1.0 + SLACK) else []
