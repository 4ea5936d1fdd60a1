"""A fleet file: services with their demand, kinds of nodes with their stock, and what a plan has to hold."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, tau
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import CountFromZero, FileOrName, NonNegative, Rate, within
from perfmodel.domain.scenario import AnyNodeChoice, TableNodeChoice

HOURS_OF_A_DAY = 24
BUSIEST_HOUR = 20
"""Of diurnal demand: people are at home."""

ObjectiveName = Literal["nodes", "power", "price", "carbon"]
PowerName = Literal["static", "by-utilisation"]

Name = Annotated[str, Field(min_length=1, max_length=100)]
Share = Annotated[float, Field(ge=0, lt=1)]
"""A part of a whole that leaves something over. [1]"""


class Demand(Frozen):
    """What a service is asked for over a day: one of `qps`, `peak_qps` (with `trough`) and `file`.

    Attributes
    ----------
    qps : float or None
        The same in each of 24 hours. [queries/s]
    peak_qps : float or None
        In the busiest hour of a diurnal day. [queries/s]
    shape : "diurnal"
        How the day goes with `peak_qps`; the only one there is.
    trough : float or None
        Demand of the quietest hour over that of the busiest, with `peak_qps`. [1]
    file : path or None
        CSV with the columns hour,qps.
    growth : float
        Factor on all of it. [1]
    error : float
        Standard deviation of the forecast over the forecast. [1]
    """

    qps: Rate | None = None
    peak_qps: Rate | None = None
    shape: Literal["diurnal"] | None = None
    trough: Annotated[float, Field(ge=0, le=1)] | None = None
    file: Path | None = None
    growth: Annotated[float, Field(gt=0), within(1e-6, 1e6)] = 1.0
    error: Annotated[float, Field(ge=0), within(high=10.0)] = 0.0

    @model_validator(mode="after")
    def _is_one_kind(self) -> Demand:
        given = [key for key in ("qps", "peak_qps", "file") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueErrorAt(f"expected one of qps, peak_qps and file, got {found}", tuple(given[1:2]))
        if self.peak_qps is None:
            for key in ("trough", "shape"):
                if getattr(self, key) is not None:
                    raise ValueErrorAt(f"expected only with peak_qps, got it with {given[0]}", (key,))
        elif self.trough is None:
            said = "expected trough beside peak_qps: demand of the quietest hour over that of the busiest"
            raise ValueErrorAt(said, ("peak_qps",))
        return self

    def at_hour(self, hour: int) -> float:
        """Forecast of an hour, growth included; not where a file says it. [queries/s]

        peak x growth x (trough + (1 - trough) (1 + cos(2 pi (h - 20) / 24)) / 2), constant within the hour.

        Examples
        --------
        >>> day = Demand(peak_qps=1000.0, trough=0.4, growth=1.5)
        >>> [round(day.at_hour(hour)) for hour in (8, 14, 20)]
        [600, 1050, 1500]
        """
        if self.qps is not None:
            return self.qps * self.growth
        assert self.peak_qps is not None, "what a file says is read elsewhere"
        assert self.trough is not None, "checked with the peak"
        swing = (1.0 + cos(tau * (hour - BUSIEST_HOUR) / HOURS_OF_A_DAY)) / 2.0
        return self.peak_qps * self.growth * (self.trough + (1.0 - self.trough) * swing)


class FleetService(Frozen):
    """A service of a fleet.

    Attributes
    ----------
    scenario : str
        A shipped scenario, or the path of one: model, query sizes, arrival process, SLA, and the policy's
        name and fixed parameters; its node and its rate do not count.
    demand : Demand
        Queries over the day.
    tune : bool
        Whether batch size and offload threshold are those that `tune` finds on each node type; else the
        scenario's.
    units : mapping of str to tuple of str
        Of a pipeline, units of several node types by name: the type of each stage that has a machine of its
        own, in order. The plan chooses among them and units of one type.
    """

    scenario: FileOrName
    demand: Demand
    tune: bool = True
    units: Mapping[Name, Annotated[tuple[Name, ...], Field(min_length=2, max_length=20)]] = {}


class NodeType(Frozen):
    """A kind of node, and how many there are.

    Attributes
    ----------
    node : NodeChoice or TableNodeChoice
        As in a scenario.
    owned : int or None
        Nodes there are; None: all that is available. [nodes]
    available : int or None
        Owned and still to be bought, together; None: what is owned. [nodes]
    price_usd_per_h : float or None
        Of a node that is on; None: the node's own. [USD/h]
    buy_price_usd_per_h : float or None
        Of one that has to be bought; None: the same. [USD/h]
    power_cap_w : float or None
        Of all nodes of this type that are on. [W]
    shards_on : tuple of str
        Node types that hold the tables of services that do not fit this one, where `node.shards` shares them
        out: the plan chooses among them. None named: this type.
    """

    node: AnyNodeChoice
    owned: CountFromZero | None = None
    available: CountFromZero | None = None
    price_usd_per_h: NonNegative | None = None
    buy_price_usd_per_h: NonNegative | None = None
    power_cap_w: NonNegative | None = None
    shards_on: Annotated[tuple[Name, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _stock_is_known(self) -> NodeType:
        if self.owned is None and self.available is None:
            raise ValueErrorAt("expected available: the nodes that there are, owned or to be bought", ())
        if self.owned is not None and self.available is not None and self.owned > self.available:
            at_most = (
                f"expected at most available, {self.available}, which counts the owned, got {self.owned}"
            )
            raise ValueErrorAt(at_most, ("owned",))
        if self.buy_price_usd_per_h is not None and self.own_price_usd_per_h is None:
            raise ValueErrorAt("expected price_usd_per_h beside it", ("buy_price_usd_per_h",))
        return self

    @property
    def own_price_usd_per_h(self) -> float | None:
        """Of an owned node, with the tiers of its own price; None: it is not said. [USD/h]"""
        own = self.price_usd_per_h
        if own is not None or self.node.price_usd_per_h is None:
            return own
        tiers = None if isinstance(self.node, TableNodeChoice) else self.node.tiers
        return self.node.price_usd_per_h + (0.0 if tiers is None else tiers.price_usd_per_h)

    @property
    def num_available(self) -> int:
        """Owned and still to be bought. [nodes]"""
        return self.available if self.available is not None else self.owned or 0

    @property
    def num_owned(self) -> int:
        """There already. [nodes]"""
        return self.num_available if self.owned is None else self.owned


class Failures(Frozen):
    """What may be lost at once: so many nodes of every used type, or a zone; each alone where both stand.

    Attributes
    ----------
    nodes : int
        Lost of every used type, wherever it hurts a service. [nodes]
    zones : int or None
        Zones over which the nodes of a service and type are spread; the fullest is lost.
    """

    nodes: Annotated[int, Field(ge=0), within(high=1_000_000)] = 0
    zones: Annotated[int, Field(ge=1), within(high=1_000_000)] | None = None


class Autoscaler(Frozen):
    """The autoscaler that is simulated beside the plan.

    Attributes
    ----------
    start_up_s : float
        From the decision until a node serves. [s]
    interval_s : float
        Between decisions. [s]
    target_utilisation : float
        Load over capacity that it aims at. [1]
    """

    start_up_s: Annotated[float, Field(ge=0), within(high=86_400.0)] = 300.0
    interval_s: Annotated[float, Field(gt=0), within(1.0, 86_400.0)] = 60.0
    target_utilisation: Annotated[float, Field(gt=0, le=1), within(low=0.01)] = 0.7


class Transient(Frozen):
    """The minutes after a failure: how it is found out, what clients do meanwhile, how nodes come back.

    The defaults are common ones or assumed: a plan says what comes of them, but only what the file says here
    decides its exit code.

    Attributes
    ----------
    detection_s : float
        From the loss until the router sends the lost nodes nothing more; by default three failed probes 10 s
        apart, as Kubernetes has it unless told otherwise. [s]
    timeout_ms : float or None
        After which a client gives up waiting for an answer; None: ten times the latency of the service's SLA
        (assumed). [ms]
    retries : int
        How often a client that gave up asks again, at once; by default once, as Envoy does where it retries.
    restart_s : float or None
        From the detection until the lost nodes, or others in their place, serve; None: they do not. [s]
    cold_speed : float
        What such a node serves at first, over what it serves when warm (assumed). [1]
    warm_up_s : float
        Over which its speed grows to all of it (assumed). [s]
    horizon_s : float
        How long after the loss is looked. [s]
    """

    detection_s: Annotated[float, Field(ge=0), within(high=86_400.0)] = 30.0
    timeout_ms: Annotated[float, Field(gt=0), within(0.1, 86_400_000.0)] | None = None
    retries: Annotated[int, Field(ge=0), within(high=10)] = 1
    restart_s: Annotated[float, Field(ge=0), within(high=86_400.0)] | None = 300.0
    cold_speed: Annotated[float, Field(gt=0, le=1), within(low=0.01)] = 0.5
    warm_up_s: Annotated[float, Field(ge=0), within(high=86_400.0)] = 60.0
    horizon_s: Annotated[float, Field(gt=0), within(1.0, 86_400.0)] = 900.0


class Provision(Frozen):
    """What a plan has to hold, and what is to be least.

    Attributes
    ----------
    objective : {"nodes", "power", "price", "carbon"}
        What is to be least.
    grid_g_per_kwh : float, path or None
        Carbon intensity of the electricity, or a CSV with the columns hour,g_per_kwh. [g/kWh]
    confidence : float
        With which each capacity, and each forecast that has an error, is to hold. [1]
    headroom : float
        Share of each capacity that stays free. [1]
    headroom_in_failure : float or None
        The same after a failure; None: as much. [1]
    maintenance : float
        Share of each type's nodes that is drained. [1]
    failures : Failures
        What may be lost at once.
    power : {"static", "by-utilisation"}
        What a node that is on draws: its TDP, or idle + (peak - idle) x utilisation; caps count the TDP.
    power_cap_w : float or None
        Of all nodes that are on. [W]
    sharing : bool
        Whether a node may serve several services.
    autoscaler : Autoscaler
        The one that is simulated.
    transient : Transient or None
        The minutes after a failure; None: simulated with the defaults, which decide no exit code.
    """

    objective: ObjectiveName = "power"
    grid_g_per_kwh: NonNegative | Path | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    headroom: Share = 0.0
    headroom_in_failure: Share | None = None
    maintenance: Share = 0.0
    failures: Failures | None = None
    power: PowerName = "static"
    power_cap_w: NonNegative | None = None
    sharing: bool = False
    autoscaler: Autoscaler = Autoscaler()
    transient: Transient | None = None

    @model_validator(mode="after")
    def _carbon_needs_the_grid(self) -> Provision:
        if self.objective == "carbon" and self.grid_g_per_kwh is None:
            raise ValueErrorAt("carbon needs grid_g_per_kwh, a number or a CSV by hour", ("objective",))
        if self.transient is not None and self.failures is None:
            needs = "expected failures beside it: the nodes, or the zone, whose loss it follows"
            raise ValueErrorAt(needs, ("transient",))
        return self


class FleetFile(Frozen):
    """What a fleet file says.

    Attributes
    ----------
    name : str
        What the fleet is called.
    services : mapping of str to FleetService
        At least one.
    node_types : mapping of str to NodeType
        At least one.
    capacities : mapping of str to mapping of str to float
        Rates that are known, by service and node type; 0: does not run there. [queries/s a node]
    provision : Provision
        What has to hold.
    """

    name: str = ""
    services: Mapping[Name, FleetService]
    node_types: Mapping[Name, NodeType]
    capacities: Mapping[str, Mapping[str, Annotated[float, Field(ge=0), within(high=1e12)]]] = {}
    provision: Provision = Provision()

    @model_validator(mode="after")
    def _refers_to_what_there_is(self) -> FleetFile:
        for key in ("services", "node_types"):
            if not getattr(self, key):
                raise ValueErrorAt("expected at least one, got none", (key,))
        self._units_are_of_types()
        self._shards_are_on_types()
        for service, rates in self.capacities.items():
            if service not in self.services:
                known = ", ".join(self.services)
                raise ValueErrorAt(f"expected a service ({known})", ("capacities", service))
            for node_type in rates:
                names = (*self.node_types, *self.services[service].units, *self.sharded_units)
                if node_type not in names:
                    known = f"expected a node type ({', '.join(names)})"
                    raise ValueErrorAt(known, ("capacities", service, node_type))
        if self.provision.objective == "price":
            for name, each in self.node_types.items():
                if each.own_price_usd_per_h is None:
                    needs = "provision.objective is price: expected price_usd_per_h"
                    raise ValueErrorAt(needs, ("node_types", name))
        return self

    def _units_are_of_types(self) -> None:
        taken = set(self.node_types)
        for service, each in self.services.items():
            for unit, types in each.units.items():
                path = ("services", service, "units", unit)
                if unit in taken:
                    raise ValueErrorAt("expected a name that no node type and no other unit has", path)
                taken.add(unit)
                for number, name in enumerate(types):
                    if name not in self.node_types:
                        known = f"expected a node type ({', '.join(self.node_types)}), got {name}"
                        raise ValueErrorAt(known, (*path, number))
                    node = self.node_types[name].node
                    if isinstance(node, TableNodeChoice) or node.shards is not None:
                        why = "expected a node type with a profile and without shards in a unit of several"
                        raise ValueErrorAt(why, (*path, number))
                if len(set(types)) == 1:
                    why = f"expected several node types; of {types[0]} alone there is a unit anyhow"
                    raise ValueErrorAt(why, path)

    def _shards_are_on_types(self) -> None:
        for main, each in self.node_types.items():
            path = ("node_types", main, "shards_on")
            shards = None if isinstance(each.node, TableNodeChoice) else each.node.shards
            if shards is not None and shards.node is not None:
                why = "expected none in a fleet, where shards_on names node types"
                raise ValueErrorAt(why, ("node_types", main, "node", "shards", "node"))
            if each.shards_on and shards is None:
                raise ValueErrorAt(
                    "expected only with node.shards, which says how tables are dealt out", path
                )
            for number, name in enumerate(each.shards_on):
                if name not in self.node_types or name in each.shards_on[:number]:
                    known = f"expected node types ({', '.join(self.node_types)}), each once, got {name}"
                    raise ValueErrorAt(known, (*path, number))
                holder = self.node_types[name].node
                if isinstance(holder, TableNodeChoice) or holder.accelerators:
                    why = f"expected a node type with a profile and no accelerators, got {name}"
                    raise ValueErrorAt(why, (*path, number))
        taken = {*self.node_types, *(unit for each in self.services.values() for unit in each.units)}
        for unit in self.sharded_units:
            if unit in taken:
                raise ValueErrorAt(f"expected no name like that of the unit {unit}, main node + shards", ())

    @property
    def sharded_units(self) -> dict[str, tuple[str, str]]:
        """Node types of the main node and of the shards, of units of two types, by name: main + shards."""
        return {
            f"{main} + {holder}": (main, holder)
            for main, each in self.node_types.items()
            for holder in each.shards_on
            if holder != main
        }

    def capacity_given(self, service: str, node_type: str) -> float | None:
        """A rate that the file knows; None: it is to be found. [queries/s a node]"""
        return self.capacities.get(service, {}).get(node_type)
