"""The integer programme: how many nodes of each type serve what, at least cost.

Nodes come in groups, all of one type and all serving the same services: one for each service and type, or,
where nodes are shared, one for each set of services that fits a type's memory. What serves is a unit: a
node, or u nodes of which one asks the others for its tables, so that each of them is needed, or nodes of
several types, one for each stage of a pipeline: k nodes lost of each of its types are k units for each.
With N units in a group, v of them not drained and m of them left after a failure,

    minimise    sum over types of cost x nodes, nodes being u N
    subject to  for each service, in each condition:  sum over groups of load >= demand
                for each group:  sum over its services of load / capacity <= (1 - headroom) m
                m <= v - k where any is left (k lost nodes), or m <= v - v / z (z zones);
                v <= (1 - maintenance) N
                for each type: nodes <= stock;  sum over all of nodes x W <= power cap
                of groups that are other ways to serve the same, one at most has any: N <= M y, sum of y <= 1

Where a node draws power by its utilisation, loads of the ordinary day stand beside these, each at its cost
(`load_cost`), within (1 - headroom) v: the programme spreads them as draws least.

N, v and m being whole. "At least one left" needs a 0/1 variable y: m <= M y and m <= v - k y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from perfmodel.planning.plan.solver import Effort, Rows, Variables, solved

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SMALL = 150
"""Pairs of service and node type up to which the optimum is proved (gap 0)."""

GAP = 1e-3
"""Relative gap at which larger programmes stop. [1]"""

MOST_S = 20.0
LARGE_S = 3.0
"""Time for one programme, small or large; what was not proved by then is stated as its gap. [s]"""

TOLERANCE = 1e-9
"""Relative: of sums that are to be equal, as floats add them up. [1]"""

LEAST_SHARE = 1e-5
"""Of a node's time that a service takes where it is shared, however little it asks for. [1]"""

MOST_TIE = 1e-4
"""What the power of a node counts for beside the node itself, where nodes are counted: at most so much, and
less than one node over all of them."""


class Condition(NamedTuple):
    """A state in which every service has its demand.

    Attributes
    ----------
    free : float
        Share of each capacity that stays free. [1]
    lost_nodes : int
        Of each type in each group, each in a unit of its own. [nodes]
    zones : int or None
        Over which each group's units are spread, the fullest being lost; None: none is lost.
    """

    free: float
    lost_nodes: int = 0
    zones: int | None = None

    @property
    def is_failure(self) -> bool:
        """Whether anything is lost."""
        return self.lost_nodes > 0 or self.zones is not None


class Group(NamedTuple):
    """Nodes of a type that serve the same services, both by index; `unit_nodes` of them serve together.

    A unit of several types has a name, and `mixed`: types, by index, and its nodes of each; `node_type` is
    then the first of them.
    """

    node_type: int
    services: tuple[int, ...]
    unit_nodes: int = 1
    unit: str = ""
    mixed: tuple[tuple[int, int], ...] = ()

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """Types, by index, and the nodes of each in a unit."""
        return self.mixed or ((self.node_type, self.unit_nodes),)

    def nodes_of(self, node_type: int) -> int:
        """Nodes of a type in a unit."""
        return dict(self.parts).get(node_type, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Programme:
    """What is given, by index of service s, node type t and group g.

    Attributes
    ----------
    demand_qps : (services,) float
        To be served in every condition. [queries/s]
    capacity_qps : (services, groups) float
        Of one unit; 0 where a group does not serve a service. [queries/s]
    stock, owned : (types,) int
        Nodes that there may be, and how many of them are there already.
    cost, bought_cost : (types,) float
        Of an owned node, and of one beyond those.
    tie : (types,) float
        From 0 to 1: what decides between equal costs, where `cost` counts nodes; else 0.
    tdp_w : (types,) float
        Power of a node. [W]
    power_cap_w : float
        Of all nodes; infinite where there is none. [W]
    conditions : tuple of Condition
        All have to hold.
    maintenance : float
        Share of each group that is drained. [1]
    groups : tuple of Group
        What nodes there may be.
    load_cost : (services, groups) float or None
        Of each query/s that a unit serves on the ordinary day, beside the node's own; None: it costs nothing.
    one_of : tuple of tuple of int
        Groups, by index, of which one at most has any nodes: other ways for a type to serve a service.
    known : KnownSolutions or None
        What was solved before; None: nothing is kept.
    """

    demand_qps: FloatArray
    capacity_qps: FloatArray
    stock: IntArray
    owned: IntArray
    cost: FloatArray
    bought_cost: FloatArray
    tie: FloatArray
    tdp_w: FloatArray
    power_cap_w: float
    conditions: tuple[Condition, ...]
    maintenance: float
    groups: tuple[Group, ...]
    load_cost: FloatArray | None = None
    one_of: tuple[tuple[int, ...], ...] = ()
    known: KnownSolutions | None = None

    def most_units(self, group: Group) -> int:
        """That the stock allows of a group."""
        return min(int(self.stock[node_type]) // nodes for node_type, nodes in group.parts)

    def nodes_by_type(self, units: IntArray) -> IntArray:
        """Nodes of each type in so many units of each group."""
        used = np.zeros(len(self.stock), dtype=np.int64)
        for count, group in zip(units, self.groups, strict=True):
            for node_type, nodes in group.parts:
                used[node_type] += int(count) * nodes
        return used

    @property
    def is_small(self) -> bool:
        """Whether the optimum is proved."""
        return len(self.groups) <= SMALL

    @property
    def tie_weight(self) -> float:
        """What a tie of 1 counts for: all nodes together less than one."""
        return min(MOST_TIE, 0.5 / max(1, int(self.stock.sum())))

    @property
    def binding_conditions(self) -> tuple[Condition, ...]:
        """Those that no other implies: a failure that keeps as much free implies the ordinary day."""
        failures = [condition for condition in self.conditions if condition.is_failure]
        most_free = max((condition.free for condition in failures), default=-inf)
        days = [condition for condition in self.conditions if not condition.is_failure]
        return (*failures, *(condition for condition in days if condition.free > most_free))


Status = Literal["optimal", "infeasible", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """What the solver found.

    Attributes
    ----------
    status : {"optimal", "infeasible", "stopped"}
        "optimal" within the gap asked for; "stopped" where time ran out, perhaps with nodes.
    units : (groups,) int or None
        In each group; None: none were found.
    loads_qps : tuple of (services, groups) float
        How each service's demand can be spread, in each of the binding conditions. [queries/s]
    bound : float
        No solution costs less.
    served : float
        Factor on all demand that is served, where that was to be greatest. [1]
    """

    status: Status
    units: IntArray | None
    loads_qps: tuple[FloatArray, ...]
    bound: float
    served: float = 1.0


class KnownSolutions(Protocol):
    """Solutions that were found before."""

    def get(self, programme: Programme, asked: str) -> Solution | None:
        """Return one; None where it is not known."""

    def keep(self, programme: Programme, asked: str, solution: Solution) -> None:
        """Take one."""

    def write(self) -> None:
        """Keep what was taken for later runs."""


def solve(
    programme: Programme,
    *,
    most_served: bool = False,
    least_nodes: tuple[int, int] | None = None,
) -> Solution:
    """Find the cheapest nodes.

    Parameters
    ----------
    most_served : bool
        Find instead the greatest factor, up to 1, on all demand that can be served.
    least_nodes : (type, number), optional
        At least so many nodes of a type.
    """
    asked = f"solved, most_served {most_served}, least_nodes {least_nodes}"
    known = None if programme.known is None else programme.known.get(programme, asked)
    if known is not None:
        return known
    found = _solved(programme, most_served, least_nodes)
    if programme.known is not None:
        programme.known.keep(programme, asked, found)
    return found


def _solved(programme: Programme, most_served: bool, least_nodes: tuple[int, int] | None) -> Solution:
    """Write the programme down, and have it solved."""
    columns, rows = Variables(), Rows()
    types = range(len(programme.stock))
    units = [columns.add(float(programme.most_units(group))) for group in programme.groups]
    factor = columns.add(1.0, whole=False, cost=-1.0) if most_served else None
    for node_type in types:
        of_type = [
            (n, float(nodes))
            for n, group in zip(units, programme.groups, strict=True)
            if (nodes := group.nodes_of(node_type))
        ]
        if not most_served:
            charge(programme, node_type, of_type, columns, rows)
        least = least_nodes[1] if least_nodes is not None and least_nodes[0] == node_type else 0
        if len(of_type) > 1 or least:
            rows.add(of_type, float(least), float(programme.stock[node_type]))
        if least and not of_type:
            return Solution(status="infeasible", units=None, loads_qps=(), bound=inf)
    for alternatives in programme.one_of:
        _choose_one(programme, alternatives, units, columns, rows)
    if isfinite(programme.power_cap_w):
        drawn = [
            (n, _unit_tdp_w(programme, group) / max(programme.power_cap_w, 1e-9))
            for n, group in zip(units, programme.groups, strict=True)
        ]
        rows.add(drawn, -inf, 1.0 + TOLERANCE)
    serving = _serving(programme, units, columns, rows)
    if programme.load_cost is not None and not most_served:
        _charge_loads(programme, programme.load_cost, serving, columns, rows)
    loads = []
    for condition in programme.binding_conditions:
        left = [
            units_left(programme, condition, index, serving[index], columns, rows)
            for index in range(len(programme.groups))
        ]
        loads.append(_cover(programme, condition, left, factor, columns, rows))
    return _run(programme, columns, rows, units, loads, factor)


def _unit_tdp_w(programme: Programme, group: Group) -> float:
    return sum(nodes * float(programme.tdp_w[node_type]) for node_type, nodes in group.parts)


def _choose_one(
    programme: Programme, alternatives: Sequence[int], units: Sequence[int], columns: Variables, rows: Rows
) -> None:
    """Let one at most of some groups have any units."""
    chosen = []
    for index in alternatives:
        is_used = columns.add(1.0)
        rows.add(
            [(units[index], 1.0), (is_used, -float(programme.most_units(programme.groups[index])))], -inf, 0.0
        )
        chosen.append((is_used, 1.0))
    rows.add(chosen, -inf, 1.0)


def charge(
    programme: Programme,
    node_type: int,
    of_type: Sequence[tuple[int, float]],
    columns: Variables,
    rows: Rows,
) -> None:
    """Put the cost of a type's nodes on their variables, or on owned and bought ones apart.

    `of_type`: the variable of each group's units, and the nodes of a unit.
    """
    own, bought = float(programme.cost[node_type]), float(programme.bought_cost[node_type])
    owned, stock = int(programme.owned[node_type]), int(programme.stock[node_type])
    tie = programme.tie_weight * float(programme.tie[node_type])
    if own == bought or owned >= stock or owned == 0:
        for n, nodes in of_type:
            columns.cost[n] += nodes * ((bought if owned == 0 else own) + tie)
        return
    first = columns.add(float(owned), cost=own + tie)
    beyond = columns.add(float(stock - owned), cost=bought + tie)
    rows.add([*of_type, (first, -1.0), (beyond, -1.0)], 0.0, 0.0)
    if bought < own:  # what is bought comes on top of what is owned, even where it is cheaper
        some = columns.add(1.0)
        rows.add([(beyond, 1.0), (some, -float(stock - owned))], -inf, 0.0)
        rows.add([(first, 1.0), (some, -float(owned))], 0.0, inf)


def _charge_loads(
    programme: Programme, load_cost: FloatArray, serving: Sequence[int], columns: Variables, rows: Rows
) -> None:
    """Put the cost of the ordinary day's loads on variables of their own: shares of each service's demand."""
    full = next(1.0 - each.free for each in programme.conditions if not each.is_failure)
    shares: dict[int, list[int]] = {}
    for index, group in enumerate(programme.groups):
        busy: list[tuple[int, float]] = []
        for service in group.services:
            demand_qps = float(programme.demand_qps[service])
            if demand_qps <= 0.0:
                continue
            cost = demand_qps * float(load_cost[service, index])
            share = columns.add(1.0, whole=False, cost=cost)
            shares.setdefault(service, []).append(share)
            busy.append((share, demand_qps / float(programme.capacity_qps[service, index])))
        if busy:
            rows.add([*busy, (serving[index], -full)], -inf, TOLERANCE)
    for of_service in shares.values():
        rows.add([(share, 1.0) for share in of_service], 1.0 - TOLERANCE, inf)


def _serving(programme: Programme, units: Sequence[int], columns: Variables, rows: Rows) -> list[int]:
    """Units of each group that are not drained."""
    pairs = zip(units, programme.groups, strict=True)
    return [units_serving(programme, group, n, columns, rows) for n, group in pairs]


def units_serving(programme: Programme, group: Group, n: int, columns: Variables, rows: Rows) -> int:
    """Units of a group that are not drained: v <= (1 - maintenance) N."""
    if programme.maintenance == 0.0:
        return n
    v = columns.add(float(programme.most_units(group)))
    rows.add([(v, 1.0), (n, programme.maintenance - 1.0)], -inf, TOLERANCE)
    return v


def units_left(
    programme: Programme, condition: Condition, index: int, v: int, columns: Variables, rows: Rows
) -> int:
    """Units of a group that are left in a condition."""
    if not condition.is_failure:
        return v
    most = _most_useful(programme, condition, index)
    m = columns.add(float(most))
    if condition.zones is not None:
        rows.add([(m, 1.0), (v, 1.0 / condition.zones - 1.0)], -inf, TOLERANCE)
    if lost := condition.lost_nodes * len(programme.groups[index].parts):
        any_left = columns.add(1.0)
        rows.add([(m, 1.0), (any_left, -float(most))], -inf, 0.0)
        rows.add([(m, 1.0), (v, -1.0), (any_left, float(lost))], -inf, 0.0)
    return m


def _most_useful(programme: Programme, condition: Condition, index: int) -> int:
    """Units beyond which a group serves nothing more."""
    group = programme.groups[index]
    stock = programme.most_units(group)
    needed = 0.0
    for service in group.services:
        capacity_qps = float(programme.capacity_qps[service, index]) * (1.0 - condition.free)
        needed += float(programme.demand_qps[service]) / capacity_qps
    return min(stock, ceil(needed + TOLERANCE)) if needed < stock else stock


def _cover(
    programme: Programme,
    condition: Condition,
    left: Sequence[int],
    factor: int | None,
    columns: Variables,
    rows: Rows,
) -> dict[tuple[int, int], tuple[int, float]]:
    """Demand in one condition; returns the variable, and its factor, of each service's load on each group."""
    terms: dict[tuple[int, int], tuple[int, float]] = {}
    enough: dict[
        int, float
    ] = {}  # a solver's zero, 1e-7 or so, of much more than that would serve a small demand
    for index, group in enumerate(programme.groups):
        full = 1.0 - condition.free
        if len(group.services) == 1:
            service = group.services[0]
            terms[service, index] = (
                left[index],
                full * float(programme.capacity_qps[service, index]),
            )
            enough[left[index]] = 1.0
            continue
        busy: list[tuple[int, float]] = [(left[index], -full)]
        for service in group.services:
            share = columns.add(float(programme.most_units(group)), whole=False)
            terms[service, index] = share, float(programme.capacity_qps[service, index])
            enough[share] = 1.0 / LEAST_SHARE
            busy.append((share, 1.0))
        rows.add(busy, -inf, 0.0)
    for service, demand_qps in enumerate(programme.demand_qps.tolist()):
        if demand_qps <= 0.0:
            continue
        of_service = [
            (column, value / demand_qps) for (which, _), (column, value) in terms.items() if which == service
        ]
        if factor is None:
            rows.add(
                [(column, min(each, enough[column])) for column, each in of_service], 1.0 - TOLERANCE, inf
            )
        else:
            rows.add([*of_service, (factor, -1.0)], 0.0, inf)
    return terms


def _run(
    programme: Programme,
    columns: Variables,
    rows: Rows,
    units: Sequence[int],
    loads: Sequence[dict[tuple[int, int], tuple[int, float]]],
    factor: int | None,
) -> Solution:
    if not columns.high:  # no group: nothing can be served, which is well where nothing is asked for
        served = not (programme.demand_qps > 0.0).any()
        none = np.zeros(0, np.int64)
        return Solution(
            status="optimal" if served else "infeasible",
            units=none if served else None,
            loads_qps=(),
            bound=0.0 if served else inf,
        )
    found = solved(
        columns,
        rows,
        Effort(gap=0.0 if programme.is_small else GAP, seconds=MOST_S if programme.is_small else LARGE_S),
    )
    if found.values is None:
        return Solution(
            status="infeasible" if found.is_infeasible else "stopped",
            units=None,
            loads_qps=(),
            bound=found.bound,
        )
    values = found.values
    loads_qps = tuple(np.zeros((len(programme.demand_qps), len(programme.groups))) for _ in loads)
    for load_qps, of_condition in zip(loads_qps, loads, strict=True):
        for (service, index), (column, value) in of_condition.items():
            load_qps[service, index] = value * values[column]
    return Solution(
        status="optimal" if found.is_proved else "stopped",
        units=np.rint(values[list(units)]).astype(np.int64),
        loads_qps=loads_qps,
        bound=found.bound,
        served=1.0 if factor is None else float(values[factor]),
    )
