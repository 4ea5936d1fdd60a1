"""What a plan is asked for: demand by hour, node types with their stock, what each serves of a service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.domain.provision import Failures, Provision
from perfmodel.domain.serving import SlaTarget
from perfmodel.loading.inputs import InputFile
from perfmodel.planning.plan.programme import Condition, Group, KnownSolutions, Programme
from perfmodel.planning.prepare import PreparedPair

FloatArray = npt.NDArray[np.float64]

MOST_SHARING_SETS = 64
"""Sets of services on one type that are tried where not all fit its memory together."""

WATT_TO_KILOWATT = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class StockedType:
    """A node type, as a plan needs it.

    Attributes
    ----------
    name : str
        What the file calls it.
    owned, available : int
        Nodes there are, and with those that can be bought. [nodes]
    price_usd_per_h, buy_price_usd_per_h : float or None
        Of an owned node that is on, and of a bought one. [USD/h]
    power_cap_w : float
        Of all its nodes; infinite where there is none. [W]
    tdp_w : float or None
        Of one node; None: not known. [W]
    idle_w, peak_w : float or None
        Of one node that serves nothing, and of one that is busy all over; None: not known. [W]
    memory_bytes : float
        For tables and weights; infinite where it is not known. [bytes]
    """

    name: str
    owned: int
    available: int
    price_usd_per_h: float | None = None
    buy_price_usd_per_h: float | None = None
    power_cap_w: float = inf
    tdp_w: float | None = None
    memory_bytes: float = inf
    idle_w: float | None = None
    peak_w: float | None = None

    @property
    def swing_w(self) -> float:
        """What a busy node draws beyond an idle one. [W]"""
        return (self.peak_w or 0.0) - (self.idle_w or 0.0)

    @property
    def most_nodes(self) -> int:
        """That stock and the type's own power cap allow. [nodes]"""
        if self.power_cap_w == inf or not self.tdp_w:
            return self.available
        return min(self.available, int(self.power_cap_w / self.tdp_w + 1e-9))


class PairCapacity(NamedTuple):
    """What one node of a type serves of a service; or one unit: a node, and those that hold its tables.

    Attributes
    ----------
    qps : float
        By the central estimate. [queries/s]
    low_qps : float
        With the confidence asked for. [queries/s]
    batch_size, offload_threshold_items : int or None
        With which settings; None: not set, or not known.
    source : str
        Where the rates come from: "given", "tune", "capacity".
    threads : int
        Cores that work together on a request.
    num_nodes : int
        Of a unit. [nodes]
    num_shards : int
        Parts that the tables are in, each on a node (or several, as copies) of the unit; 0: in the node.
    timeout_ms : float or None
        How long a full batch is waited for, where queries are joined into batches of `batch_size`. [ms]
    """

    qps: float
    low_qps: float
    batch_size: int | None = None
    offload_threshold_items: int | None = None
    source: str = "given"
    threads: int = 1
    num_nodes: int = 1
    num_shards: int = 0
    timeout_ms: float | None = None

    @property
    def low_qps_a_node(self) -> float:
        """What each node of a unit serves, as its part. [queries/s]"""
        return self.low_qps / self.num_nodes


class Way(NamedTuple):
    """One of the ways for a node type to serve a service: what it serves so, and the question behind that."""

    capacity: PairCapacity
    prepared: PreparedPair | None = None


class Tried(NamedTuple):
    """A number of shards that was tried: what a unit with them serves, or why nothing."""

    num_shards: int
    capacity: PairCapacity | None
    why_not: str = ""


class Service(NamedTuple):
    """A service by name.

    Attributes
    ----------
    demand_qps : tuple of float
        Forecast of each hour. [queries/s]
    error : float
        Standard deviation of the forecast over it. [1]
    model_bytes : float
        Tables and weights; 0 where they are not known. [bytes]
    num_stages : int
        Models that rank one after the other.
    """

    name: str
    demand_qps: tuple[float, ...]
    error: float = 0.0
    model_bytes: float = 0.0
    num_stages: int = 1


Pair = tuple[str, str]
"""A service and a node type, or a unit of several, by name."""


class MixedUnit(NamedTuple):
    """Nodes of several types that serve together.

    Attributes
    ----------
    name, service : str
        What it is called, and which service it serves.
    node_types : tuple of str
        One for each stage of a service; or the main node's, and that of all its shards.
    is_sharded : bool
        Which of the two.
    """

    name: str
    service: str
    node_types: tuple[str, ...]
    is_sharded: bool = False

    def parts(self, unit_nodes: int) -> dict[str, int]:
        """Nodes of each type in a unit of so many.

        Examples
        --------
        >>> MixedUnit("a + b", "feed", ("a", "b"), is_sharded=True).parts(21)
        {'a': 1, 'b': 20}
        """
        if self.is_sharded:
            main, holder = self.node_types
            return {main: 1, holder: unit_nodes - 1}
        return dict(Counter(self.node_types))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanQuestion:
    """What is asked.

    Attributes
    ----------
    name : str
        Of the fleet.
    services : tuple of Service
        At least one.
    node_types : tuple of StockedType
        At least one.
    hours : tuple of int
        That are planned.
    capacities : mapping of (service, node type) to PairCapacity
        Of the pairs that run.
    refused : mapping of (service, node type) to str
        Why the others do not.
    provision : Provision
        What has to hold.
    grid_g_per_kwh : tuple of float or None
        Carbon intensity by hour. [g/kWh]
    prepared : mapping of (service, node type) to PreparedPair
        The questions behind the capacities that were found.
    slas : mapping of str to SlaTarget
        By service.
    ways : mapping of (service, node type) to tuple of Way
        Of pairs with several, each a unit of several nodes: `capacities` and `prepared` have the one that
        serves most with each node, until the plan has chosen.
    tried : mapping of (service, node type) to tuple of Tried
        Of pairs whose number of shards the plan chooses: all that were tried.
    """

    name: str
    services: tuple[Service, ...]
    node_types: tuple[StockedType, ...]
    hours: tuple[int, ...]
    capacities: Mapping[Pair, PairCapacity]
    refused: Mapping[Pair, str]
    provision: Provision
    grid_g_per_kwh: tuple[float, ...] | None = None
    prepared: Mapping[Pair, PreparedPair] = field(default_factory=dict)
    slas: Mapping[str, SlaTarget] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)  # the fleet as a file says it, --set applied
    inputs: tuple[InputFile, ...] = ()
    ways: Mapping[Pair, tuple[Way, ...]] = field(default_factory=dict)
    tried: Mapping[Pair, tuple[Tried, ...]] = field(default_factory=dict)
    known: KnownSolutions | None = None  # what was solved before of its programmes
    mixed: tuple[MixedUnit, ...] = ()  # units of several node types

    def ways_of(self, service: str, node_type: str) -> tuple[Way, ...]:
        """How nodes of a type may serve a service; none where they do not."""
        pair = (service, node_type)
        if pair in self.ways:
            return self.ways[pair]
        return (Way(self.capacities[pair], self.prepared.get(pair)),) if pair in self.capacities else ()

    def choosing(self, chosen: Mapping[Pair, Way]) -> PlanQuestion:
        """The same with a way for each pair: those chosen, and of the others what `capacities` has."""
        if not self.ways:
            return self
        prepared = {pair: way.prepared for pair, way in chosen.items() if way.prepared is not None}
        return replace(
            self,
            capacities={**self.capacities, **{pair: way.capacity for pair, way in chosen.items()}},
            prepared={**self.prepared, **prepared},
            ways={},
        )

    def unit_nodes(self, service: str, node_type: str) -> int:
        """Nodes of a type that serve a service together. [nodes]"""
        return self.capacities[service, node_type].num_nodes

    def names_for(self, service: str) -> tuple[str, ...]:
        """What may serve a service: all node types, and its units of several."""
        own = (each.name for each in self.mixed if each.service == service)
        return (*(each.name for each in self.node_types), *own)

    def parts(self, name: str, unit_nodes: int) -> dict[str, int]:
        """Nodes of each type in a unit of so many nodes: of one type, or of those of a unit of several."""
        found = (each.parts(unit_nodes) for each in self.mixed if each.name == name)
        return next(found, {name: unit_nodes})

    def num_parts(self, name: str) -> int:
        """Node types in a unit: so many times a failure that takes nodes of each type hits it."""
        return len(self.parts(name, 1))

    @property
    def by_utilisation(self) -> bool:
        """Whether a node draws power by what it serves; else its TDP while it is on."""
        return self.provision.power == "by-utilisation"

    def load_w(self, service: str, node_type: StockedType) -> float:
        """Power that each query/s of a service takes on a unit of nodes, beyond idle. [W s]"""
        return node_type.swing_w / self.capacities[service, node_type.name].low_qps_a_node

    def _load_cost(
        self, kinds: Sequence[tuple[Group, Sequence[float]]], grid_g_per_kwh: float | None
    ) -> FloatArray | None:
        """Cost of each query/s by (service, group); None where only nodes cost."""
        objective = self.provision.objective
        if not self.by_utilisation or objective not in ("power", "carbon"):
            return None
        factor = 1.0
        if objective == "carbon":
            assert grid_g_per_kwh is not None, "checked where the file is read"
            factor = WATT_TO_KILOWATT * grid_g_per_kwh
        found = np.zeros((len(self.services), len(kinds)))
        for index, (group, rates_qps) in enumerate(kinds):
            swing_w = group.unit_nodes * self.node_types[group.node_type].swing_w
            for service, qps in zip(group.services, rates_qps, strict=True):
                found[service, index] = factor * swing_w / qps
        return found

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The ordinary day, and what may be lost."""
        asked, failures = self.provision, self.provision.failures or Failures()
        free = asked.headroom if asked.headroom_in_failure is None else asked.headroom_in_failure
        found = [Condition(free=asked.headroom)]
        if failures.nodes:
            found.append(Condition(free=free, lost_nodes=failures.nodes))
        if failures.zones is not None:
            found.append(Condition(free=free, zones=failures.zones))
        return tuple(found)

    def planned_qps(self, hour: int) -> FloatArray:
        """What each service is provided for in an hour, by index. [queries/s]"""
        margins = [forecast_margin(each.error, self.provision.confidence) for each in self.services]
        return np.array(
            [each.demand_qps[hour] * margin for each, margin in zip(self.services, margins, strict=True)]
        )

    @property
    def peak_qps(self) -> FloatArray:
        """The largest that each service is provided for, whenever that is. [queries/s]"""
        by_hour = np.array([self.planned_qps(hour) for hour in range(len(self.hours))])
        return np.asarray(by_hour.max(axis=0))

    @property
    def low_qps(self) -> FloatArray:
        """Capacity of a unit of each pair that runs, (services, types); 0 where one does not. [queries/s]"""
        found = np.zeros((len(self.services), len(self.node_types)))
        for row, service in enumerate(self.services):
            for column, node_type in enumerate(self.node_types):
                pair = self.capacities.get((service.name, node_type.name))
                found[row, column] = 0.0 if pair is None else pair.low_qps
        return found

    def kinds(self) -> list[tuple[Group, tuple[float, ...]]]:
        """Nodes that there may be, and what a unit of them serves of each of its services. [queries/s]

        Of each type for each service, in each of its ways; or for sets of services that share them. A unit of
        several nodes serves one service.
        """
        sharing = self.provision.sharing
        found: list[tuple[Group, tuple[float, ...]]] = [
            (Group(column, (row,), way.capacity.num_nodes), (way.capacity.low_qps,))
            for row, service in enumerate(self.services)
            for column, node_type in enumerate(self.node_types)
            for way in self.ways_of(service.name, node_type.name)
            if way.capacity.low_qps > 0.0 and (way.capacity.num_nodes > 1 or not sharing)
        ]
        found += self._mixed_kinds()
        if not sharing:
            return found
        low_qps = self.low_qps
        for column, node_type in enumerate(self.node_types):
            alone = [
                (row, service.model_bytes)
                for row, service in enumerate(self.services)
                for way in self.ways_of(service.name, node_type.name)
                if way.capacity.low_qps > 0.0 and way.capacity.num_nodes == 1
            ]
            for members in fitting_sets(alone, node_type.memory_bytes):
                rates_qps = tuple(float(low_qps[row, column]) for row in members)
                found.append((Group(column, members), rates_qps))
        return found

    def _mixed_kinds(self) -> list[tuple[Group, tuple[float, ...]]]:
        """The same of units of several types."""
        rows = {each.name: row for row, each in enumerate(self.services)}
        columns = {each.name: column for column, each in enumerate(self.node_types)}
        found: list[tuple[Group, tuple[float, ...]]] = []
        for each in self.mixed:
            for way in self.ways_of(each.service, each.name):
                of = way.capacity
                if of.low_qps <= 0.0:
                    continue
                parts = tuple((columns[name], nodes) for name, nodes in each.parts(of.num_nodes).items())
                group = Group(parts[0][0], (rows[each.service],), of.num_nodes, unit=each.name, mixed=parts)
                found.append((group, (of.low_qps,)))
        return found

    def unit_costs(self, grid_g_per_kwh: float | None) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Cost of an owned and of a bought node by type, and what decides between equals."""
        types = self.node_types
        tdp_w = np.array([each.tdp_w or 0.0 for each in types])
        on_w = np.array([each.idle_w or 0.0 for each in types]) if self.by_utilisation else tdp_w
        match self.provision.objective:
            case "nodes":
                ones = np.ones(len(types))
                return ones, ones, tdp_w / max(1.0, *tdp_w)
            case "power":
                return on_w, on_w, 0.0 * on_w
            case "price":
                price = np.array([each.price_usd_per_h or 0.0 for each in types])
                bought = [each.buy_price_usd_per_h for each in types]
                return (
                    price,
                    np.array([own if buy is None else buy for own, buy in zip(price, bought, strict=True)]),
                    0.0 * price,
                )
            case "carbon":
                assert grid_g_per_kwh is not None, "checked where the file is read"
                grams = on_w * WATT_TO_KILOWATT * grid_g_per_kwh
                return grams, grams, 0.0 * grams

    @property
    def mean_grid_g_per_kwh(self) -> float | None:
        """Over the hours: what a provision that is always on has. [g/kWh]"""
        return None if self.grid_g_per_kwh is None else float(np.mean(self.grid_g_per_kwh))

    def programme(self, demand_qps: FloatArray, grid_g_per_kwh: float | None = None) -> Programme:
        """The integer programme for a demand."""
        grid = self.mean_grid_g_per_kwh if grid_g_per_kwh is None else grid_g_per_kwh
        cost, bought, tie = self.unit_costs(grid)
        types, kinds = self.node_types, self.kinds()
        groups = tuple(group for group, _ in kinds)
        capacity_qps = np.zeros((len(self.services), len(kinds)))
        for index, (group, rates_qps) in enumerate(kinds):
            capacity_qps[list(group.services), index] = rates_qps
        return Programme(
            demand_qps=demand_qps,
            capacity_qps=capacity_qps,
            stock=np.array([each.most_nodes for each in types]),
            owned=np.array([each.owned for each in types]),
            cost=cost,
            bought_cost=bought,
            tie=tie,
            tdp_w=np.array([each.tdp_w or 0.0 for each in types]),
            power_cap_w=inf if self.provision.power_cap_w is None else self.provision.power_cap_w,
            conditions=self.conditions,
            maintenance=self.provision.maintenance,
            groups=groups,
            load_cost=self._load_cost(kinds, grid),
            one_of=other_ways(groups),
            known=self.known,
        )

    def asking(self, **changes: object) -> PlanQuestion:
        """The same with another provision."""
        return replace(self, provision=self.provision.model_copy(update=changes))

    def grown(self, factor: float) -> PlanQuestion:
        """The same with every demand times a factor."""
        services = tuple(
            each._replace(demand_qps=tuple(factor * qps for qps in each.demand_qps)) for each in self.services
        )
        return replace(self, services=services)

    def without_errors(self) -> PlanQuestion:
        """The same with forecasts that are certain."""
        return replace(self, services=tuple(each._replace(error=0.0) for each in self.services))

    def by_central_estimates(self) -> PlanQuestion:
        """The same with capacities that are as likely too high as too low."""
        central = {pair: each._replace(low_qps=each.qps) for pair, each in self.capacities.items()}
        ways = {
            pair: tuple(
                each._replace(capacity=each.capacity._replace(low_qps=each.capacity.qps)) for each in of_pair
            )
            for pair, of_pair in self.ways.items()
        }
        return replace(self, capacities=central, ways=ways)


def other_ways(groups: Sequence[Group]) -> tuple[tuple[int, ...], ...]:
    """Groups, by index, in which nodes of one type, or of the same several, serve a service in other ways.

    Examples
    --------
    >>> other_ways([Group(0, (0,), 5), Group(0, (1,)), Group(0, (0,), 9), Group(1, (0,), 5)])
    ((0, 2),)
    """
    found: dict[tuple[int, str, tuple[int, ...]], list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault((group.node_type, group.unit, group.services), []).append(index)
    return tuple(tuple(each) for each in found.values() if len(each) > 1)


def forecast_margin(error: float, confidence: float) -> float:
    """Factor on a forecast that demand stays below with a confidence: 1 + error x normal quantile. [1]

    Derived here: demand is normal around its forecast, its standard deviation being `error` times that.

    Examples
    --------
    >>> round(forecast_margin(0.1, 0.9), 4)
    1.1282
    """
    return 1.0 + error * NormalDist().inv_cdf(confidence)


def fitting_sets(services: list[tuple[int, float]], memory_bytes: float) -> list[tuple[int, ...]]:
    """The largest sets of services whose models fit a memory together; a set within another is left out.

    Parameters
    ----------
    services : list of (int, float)
        Index and size of each. [bytes]
    memory_bytes : float
        Of one node. [bytes]

    Examples
    --------
    >>> fitting_sets([(0, 6.0), (1, 5.0), (2, 3.0)], 10.0)
    [(0, 2), (1, 2)]
    >>> fitting_sets([(0, 6.0), (1, 5.0)], 100.0)
    [(0, 1)]
    """
    alone = [(index, size) for index, size in services if size <= memory_bytes]
    if sum(size for _, size in alone) <= memory_bytes:
        return [tuple(index for index, _ in alone)] if alone else []
    found: list[tuple[int, ...]] = []

    def extend(chosen: tuple[int, ...], left: float, rest: list[tuple[int, float]]) -> None:
        if len(found) >= MOST_SHARING_SETS:
            return
        fits = [(at, each) for at, each in enumerate(rest) if each[1] <= left]
        for at, (index, size) in fits:
            extend((*chosen, index), left - size, rest[at + 1 :])
        if not fits and not any(set(chosen) <= set(other) for other in found):
            found.append(chosen)

    extend((), memory_bytes, alone)
    return found
