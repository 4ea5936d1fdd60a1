"""What a plan answers: nodes with their power and price, hour by hour and always on, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from perfmodel.planning.plan.check import Placement
from perfmodel.planning.plan.drawn import drawn_w
from perfmodel.planning.plan.question import WATT_TO_KILOWATT, PlanQuestion
from perfmodel.planning.plan.sharded import ShardedUnit
from perfmodel.planning.plan.shared_rates import Placed
from perfmodel.planning.plan.sla_curves import SlaCurves
from perfmodel.sim.transient import Aftermath

Verdict = Literal["feasible", "infeasible"]

SECONDS_AN_HOUR = 3600.0
MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Provisioned:
    """Nodes that are on.

    Attributes
    ----------
    question : PlanQuestion
        What they are for.
    placements : tuple of Placement
        The nodes; none of zero.
    demand_qps : mapping of str to float
        What they serve, by service: where power goes by utilisation. [queries/s]
    """

    question: PlanQuestion
    placements: tuple[Placement, ...]
    demand_qps: Mapping[str, float]

    @property
    def nodes(self) -> dict[str, dict[str, int]]:
        """Nodes of each type on which a service runs; where nodes are shared they count for each service."""
        found: dict[str, dict[str, int]] = {service.name: {} for service in self.question.services}
        for placement in self.placements:
            for service in placement.services:
                of_service = found[service]
                of_service[placement.node_type] = of_service.get(placement.node_type, 0) + placement.nodes
        return found

    @property
    def units(self) -> dict[str, dict[str, int]]:
        """Units of nodes that serve together, likewise."""
        return {
            service: {
                node_type: count // self.question.unit_nodes(service, node_type)
                for node_type, count in counts.items()
            }
            for service, counts in self.nodes.items()
        }

    @property
    def by_type(self) -> dict[str, int]:
        """Nodes of each type, each counted once."""
        found = dict.fromkeys((each.name for each in self.question.node_types), 0)
        for placement in self.placements:
            for name, nodes in self.question.parts(placement.node_type, placement.unit_nodes).items():
                found[name] += placement.units * nodes
        return found

    @property
    def num_nodes(self) -> int:
        """All nodes."""
        return sum(placement.nodes for placement in self.placements)

    @property
    def bought(self) -> dict[str, int]:
        """Nodes of each type beyond those that are owned."""
        used = self.by_type
        return {each.name: max(0, used[each.name] - each.owned) for each in self.question.node_types}

    @property
    def power_w(self) -> float | None:
        """Of all nodes, their static TDP or by utilisation; None where one's is not known. [W]"""
        if self.question.by_utilisation:
            return drawn_w(self.question, self.placements, self.demand_qps)
        return self.tdp_w

    def serving(self, demand_qps: Mapping[str, float]) -> Provisioned:
        """The same nodes under another load. [queries/s]"""
        return replace(self, demand_qps=demand_qps)

    @property
    def tdp_w(self) -> float | None:
        """Static TDP of all nodes, which caps count; None where one's is not known. [W]"""
        used = self.by_type
        on = [(used[each.name], each.tdp_w) for each in self.question.node_types if used[each.name]]
        if any(tdp_w is None for _, tdp_w in on):
            return None
        return sum(count * (tdp_w or 0.0) for count, tdp_w in on)

    @property
    def price_usd_per_h(self) -> float | None:
        """Of all nodes, the owned ones first; None where one's is not known. [USD/h]"""
        used, total = self.by_type, 0.0
        for each in self.question.node_types:
            if not used[each.name]:
                continue
            if each.price_usd_per_h is None:
                return None
            buy = each.price_usd_per_h if each.buy_price_usd_per_h is None else each.buy_price_usd_per_h
            own = min(used[each.name], each.owned)
            total += own * each.price_usd_per_h + (used[each.name] - own) * buy
        return total

    def carbon_g_per_h(self, grid_g_per_kwh: float | None) -> float | None:
        """Emissions; None where power or grid are not known. [g/h]"""
        power_w = self.power_w
        if power_w is None or grid_g_per_kwh is None:
            return None
        return power_w * WATT_TO_KILOWATT * grid_g_per_kwh

    def objective_value(self, grid_g_per_kwh: float | None) -> float | None:
        """What is to be least: nodes, W, USD/h or g/h."""
        match self.question.provision.objective:
            case "nodes":
                return float(self.num_nodes)
            case "power":
                return self.power_w
            case "price":
                return self.price_usd_per_h
            case "carbon":
                return self.carbon_g_per_h(grid_g_per_kwh)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerQuery:
    """What queries cost, at a mean rate.

    Attributes
    ----------
    usd_per_million_queries, joules_per_query, g_co2_per_million_queries : float or None
        Price, energy (watts over queries/s) and emissions; None where not known, or nothing is asked.
    """

    usd_per_million_queries: float | None
    joules_per_query: float | None
    g_co2_per_million_queries: float | None


def per_query(
    price_usd_per_h: float | None, power_w: float | None, carbon_g_per_h: float | None, rate_qps: float
) -> PerQuery:
    """What queries at a rate cost while so much is on.

    Examples
    --------
    >>> per_query(3.6, 500.0, None, 1000.0)
    PerQuery(usd_per_million_queries=1.0, joules_per_query=0.5, g_co2_per_million_queries=None)
    """
    if rate_qps <= 0.0:
        return PerQuery(usd_per_million_queries=None, joules_per_query=None, g_co2_per_million_queries=None)
    millions_an_hour = rate_qps * SECONDS_AN_HOUR / MILLION
    return PerQuery(
        usd_per_million_queries=None if price_usd_per_h is None else price_usd_per_h / millions_an_hour,
        joules_per_query=None if power_w is None else power_w / rate_qps,
        g_co2_per_million_queries=None if carbon_g_per_h is None else carbon_g_per_h / millions_an_hour,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Optimum:
    """The best provision for one demand, and how good it is proved to be.

    Attributes
    ----------
    provisioned : Provisioned
        The nodes.
    objective_value : float
        What is least: nodes, W, USD/h or g/h.
    lower_bound : float
        No provision has less.
    """

    provisioned: Provisioned
    objective_value: float
    lower_bound: float

    @property
    def gap(self) -> float:
        """How far the optimum may still be below, relative. [1]"""
        if self.objective_value <= 0.0:
            return 0.0
        return max(0.0, (self.objective_value - self.lower_bound) / self.objective_value)

    @property
    def is_optimal(self) -> bool:
        """Whether nothing better exists."""
        return self.gap == 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourPlan:
    """One hour, planned for itself.

    Attributes
    ----------
    hour : int
        As the file counts.
    demand_qps : mapping of str to float
        Forecast, by service. [queries/s]
    planned_qps : mapping of str to float
        What is provided for: with the forecast's error. [queries/s]
    optimum : Optimum or None
        None: infeasible.
    grid_g_per_kwh : float or None
        Carbon intensity. [g/kWh]
    """

    hour: int
    demand_qps: Mapping[str, float]
    planned_qps: Mapping[str, float]
    optimum: Optimum | None
    grid_g_per_kwh: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """Another way to provide, beside the plan.

    Attributes
    ----------
    feasible : bool
        Whether every service has its demand.
    num_nodes : int or None
        At peak.
    power_w, price_usd_per_h : float or None
        At peak. [W], [USD/h]
    node_hours : float or None
        Over all hours. [node h]
    mean_power_w, mean_price_usd_per_h : float or None
        Over all hours. [W], [USD/h]
    sla_missed_share : float or None
        Queries that arrive while their service has fewer nodes than it needs, over all; None: not asked. [1]
    note : str
        What was done, in words.
    nodes : mapping, optional
        At peak, by service and node type.
    """

    feasible: bool
    num_nodes: int | None
    power_w: float | None
    price_usd_per_h: float | None
    node_hours: float | None
    mean_power_w: float | None
    mean_price_usd_per_h: float | None
    note: str
    sla_missed_share: float | None = None
    nodes: Mapping[str, Mapping[str, int]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """A change that would make an infeasible plan feasible; `amount` is the least, in `unit`."""

    change: str
    amount: float | None
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What makes a plan infeasible, in words, and what each would free it."""

    constraint: str
    frees: tuple[Relief, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotChosen:
    """A node type that the static provision leaves out.

    Attributes
    ----------
    node_type : str
        By name.
    why : str
        In words.
    at_price_usd_per_h, at_power_w : float or None
        Price, or power, at which (and below) one would be chosen; None where that does not decide, or nothing
        would do. [USD/h], [W]
    """

    node_type: str
    why: str
    at_price_usd_per_h: float | None = None
    at_power_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyCost:
    """What a safety costs: the static provision against the one without it."""

    safety: str
    num_nodes: int | None
    objective_value: float | None


class Fewest(NamedTuple):
    """The fewest nodes on which an SLA holds, the type of which there are most being varied.

    Attributes
    ----------
    random : int
        Behind a router that draws one, as the plan's does: no node knows of another.
    shortest_queue : int or None
        Behind one that sees every queue; None: not simulated.
    """

    random: int
    shortest_queue: int | None

    @property
    def imbalance(self) -> int | None:
        """Nodes that it costs not to pool the queues."""
        return None if self.shortest_queue is None else self.random - self.shortest_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A service in an hour, simulated.

    Attributes
    ----------
    hour : int
        As the file counts.
    service : str
        By name.
    latency_s : float or None
        Percentile of the SLA; None where it was not simulated, or does not exist. [s]
    verdict : str
        As of `predict`, or "not simulated: …".
    num_nodes : int
        That served.
    num_nodes_needed : int or None
        With which the SLA holds; None: not simulated, or no number of them was found.
    fewest : Fewest or None
        By the router; None: not asked.
    """

    hour: int
    service: str
    percentile: float
    latency_s: float | None
    limit_s: float
    verdict: str
    num_nodes: int
    num_nodes_needed: int | None
    fewest: Fewest | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulated:
    """The plan after simulation raised it.

    Attributes
    ----------
    provisioned : Provisioned
        The nodes.
    raised_by : mapping of str to int
        Nodes more than the programme's, by service.
    holds : bool
        Whether every simulated SLA holds now, within stock and caps.
    lacks : tuple of str
        What the raised plan would take beyond stock and caps.
    """

    provisioned: Provisioned
    raised_by: Mapping[str, int]
    holds: bool
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterLoss:
    """The minutes after a failure, for one service in its busiest hour.

    Attributes
    ----------
    service : str
        By name.
    failure : str
        What is lost, in words.
    lost_nodes : mapping of str to int
        That serve no more, by node type: of a unit of several nodes all.
    rate_qps : float
        That clients ask for, retries aside: the largest demand that is planned for. [queries/s]
    before_qps, left_qps : float
        What the nodes serve at most, before and after the loss. [queries/s]
    timeout_s : float
        After which a client gives up. [s]
    aftermath : Aftermath
        What comes of it.
    num_nodes : int
        Of the service.
    num_nodes_needed : int or None
        With which it recovers; None: no number that was tried.
    enough : mapping of (node type, services) to int, or None
        The nodes that it takes for that where they are more; None: no number that was tried.
    """

    service: str
    failure: str
    lost_nodes: Mapping[str, int]
    rate_qps: float
    before_qps: float
    left_qps: float
    timeout_s: float
    aftermath: Aftermath
    num_nodes: int
    num_nodes_needed: int | None
    enough: Mapping[Placed, int] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GrowthRow:
    """All demand times a factor.

    Attributes
    ----------
    growth : float
        The factor, on what the file says. [1]
    static : Optimum or None
        None: infeasible.
    """

    growth: float
    static: Optimum | None

    @property
    def unused(self) -> dict[str, int]:
        """Owned nodes of each type that are not needed."""
        if self.static is None:
            return {}
        of = self.static.provisioned
        used = of.by_type
        return {each.name: max(0, each.owned - used[each.name]) for each in of.question.node_types}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Growth:
    """How a plan grows.

    Attributes
    ----------
    rows : tuple of GrowthRow
        Ascending.
    gives_out_at : float or None
        The greatest growth that there are nodes for; None: all of the range is served. [1]
    gives_out : str or None
        What there is too little of beyond it.
    """

    rows: tuple[GrowthRow, ...]
    gives_out_at: float | None
    gives_out: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanAnswer:
    """The answer of `perfplan plan`.

    Attributes
    ----------
    question : PlanQuestion
        What was asked.
    static : Optimum or None
        Always on, for the largest demand of every service at once; None: infeasible.
    hours : tuple of HourPlan
        Each hour for itself.
    baselines : mapping of str to Baseline
        greedy, oblivious, perfect_autoscaler, simulated_autoscaler.
    not_chosen : tuple of NotChosen
        Node types that the static provision leaves out.
    safeties : tuple of SafetyCost
        What each safety costs.
    binding : Binding or None
        Why the static provision is infeasible.
    checks : tuple of Check
        What was simulated, or why not.
    simulated : Simulated or None
        The plan raised; None: nothing was simulated.
    after_failure : tuple of AfterLoss
        The minutes after a failure, by service and kind of failure.
    notes : tuple of str
        What a reader must know.
    growth : Growth or None
        The static provision for more traffic; None: not asked.
    sla_curves : mapping of (service, node type) to tuple of SlaPoint, or None
        What a node carries at other SLAs; None: not asked.
    sharded : tuple of ShardedUnit
        Services on node types whose tables lie on nodes of their own.
    """

    question: PlanQuestion
    static: Optimum | None
    hours: tuple[HourPlan, ...]
    baselines: Mapping[str, Baseline]
    not_chosen: tuple[NotChosen, ...]
    safeties: tuple[SafetyCost, ...]
    binding: Binding | None
    checks: tuple[Check, ...] = ()
    simulated: Simulated | None = None
    after_failure: tuple[AfterLoss, ...] = ()
    notes: tuple[str, ...] = ()
    growth: Growth | None = None
    sla_curves: SlaCurves | None = None
    sharded: tuple[ShardedUnit, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whether the static provision exists."""
        return "infeasible" if self.static is None else "feasible"

    @property
    def recovers(self) -> bool | None:
        """Whether every service is as before some time after each failure; None: not simulated."""
        if not self.after_failure:
            return None
        return all(each.aftermath.ending == "recovers" for each in self.after_failure)

    @property
    def holds(self) -> bool:
        """Whether there is a plan that holds what was simulated, raised where need be.

        That it recovers counts only where the file says what after a failure happens.
        """
        if self.static is None:
            return False
        if self.simulated is not None:
            return self.simulated.holds
        return self.question.provision.transient is None or self.recovers is not False

    @property
    def mean_power_w(self) -> float | None:
        """Of the static provision over the hours, at the forecast of each; None where not known. [W]"""
        if self.static is None:
            return None
        of = self.static.provisioned
        if not self.question.by_utilisation:
            return of.power_w
        powers_w = [of.serving(hour.demand_qps).power_w for hour in self.hours]
        return sum(power_w or 0.0 for power_w in powers_w) / len(powers_w)

    @property
    def mean_carbon_g_per_h(self) -> float | None:
        """Of the static provision over the hours, at the forecast and the grid of each. [g/h]"""
        if self.static is None or self.question.grid_g_per_kwh is None:
            return None
        of = self.static.provisioned
        grams = [of.serving(hour.demand_qps).carbon_g_per_h(hour.grid_g_per_kwh) for hour in self.hours]
        return (
            None if any(each is None for each in grams) else sum(each or 0.0 for each in grams) / len(grams)
        )

    @property
    def mean_qps(self) -> float:
        """Forecast of all services, over the hours. [queries/s]"""
        total = sum(sum(service.demand_qps) for service in self.question.services)
        return total / len(self.question.hours)
