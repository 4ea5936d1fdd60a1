"""The JSON document of `perfplan plan`."""

from __future__ import annotations

from math import isfinite
from typing import Any

from typing_extensions import TypedDict

from perfmodel.domain.provision import ObjectiveName, Transient
from perfmodel.planning.plan.answer import (
    AfterLoss,
    Baseline,
    Binding,
    Check,
    Fewest,
    Growth,
    GrowthRow,
    HourPlan,
    NotChosen,
    Optimum,
    PlanAnswer,
    Provisioned,
    Simulated,
    Verdict,
    per_query,
)
from perfmodel.planning.plan.question import PlanQuestion, StockedType
from perfmodel.planning.plan.sharded import ShardedUnit
from perfmodel.planning.plan.sla_curves import SlaCurves
from perfmodel.report.documents import Saved, document, saved
from perfmodel.units import GIB, MB, MS

VERSION = 1

UNITS = {"nodes": "nodes", "power": "W", "price": "USD/h", "carbon": "g CO2/h"}

NodesDocument = dict[str, dict[str, int]]
"""Nodes by service and node type."""


@document
class ProvisionDocument(TypedDict):
    """Nodes that are on; where they are shared, `nodes` counts each for every service that it serves."""

    nodes: NodesDocument
    nodes_by_type: dict[str, int]
    num_nodes: int
    bought: dict[str, int]
    power_w: float | None
    price_usd_per_h: float | None
    usd_per_million_queries: float | None
    joules_per_query: float | None
    g_co2_per_million_queries: float | None


@document
class HourDocument(TypedDict):
    """One hour, planned for itself; null where it is infeasible."""

    hour: int
    demand_qps: dict[str, float]
    planned_qps: dict[str, float]
    nodes: NodesDocument | None
    nodes_by_type: dict[str, int] | None
    num_nodes: int | None
    power_w: float | None
    price_usd_per_h: float | None
    objective_value: float | None
    lower_bound: float | None
    gap: float | None
    usd_per_million_queries: float | None
    joules_per_query: float | None
    g_co2_per_million_queries: float | None


@document
class BaselineDocument(TypedDict):
    """Another way to provide: at peak, and over the hours."""

    feasible: bool
    num_nodes: int | None
    power_w: float | None
    price_usd_per_h: float | None
    node_hours: float | None
    mean_power_w: float | None
    mean_price_usd_per_h: float | None
    sla_missed_share: float | None
    nodes: NodesDocument | None
    note: str


@document
class BaselinesDocument(TypedDict):
    """The ways beside the plan."""

    greedy: BaselineDocument
    oblivious: BaselineDocument
    perfect_autoscaler: BaselineDocument
    simulated_autoscaler: BaselineDocument


@document
class CapacityOfPair(TypedDict):
    """What one node serves, or a unit of `num_nodes` that serve together; `low_qps` with the confidence asked
    for. A pair that does not run says why. `nodes_by_type`: of the unit, which may be of several types."""

    qps: float | None
    low_qps: float | None
    batch_size: int | None
    offload_threshold_items: int | None
    timeout_ms: float | None
    threads: int | None
    num_nodes: int | None
    nodes_by_type: dict[str, int] | None
    source: str


@document
class TriedShardsDocument(TypedDict):
    """A number of shards that was tried; null where no load meets the SLA, and `why_not`."""

    shards: int
    num_nodes: int | None
    qps: float | None
    low_qps: float | None
    why_not: str | None


@document
class ShardedUnitDocument(TypedDict):
    """A service whose tables lie on `shards` nodes (each as often as `replicas`) beside the main one.

    Of requests in the mean, with all cores busy: time for the network (packing, sending, the way there and
    back), its share of the time that they hold a core, and what is sent. Null: capacity given, or no network.
    """

    service: str
    node_type: str
    num_nodes: int
    shards: int
    by: str | None
    replicas: int | None
    fullest_gib: float | None
    network_ms: float | None
    network_share: float | None
    request_mb: float | None
    tried: list[TriedShardsDocument]


@document
class CapacityAtSla(TypedDict):
    """What one node serves at an SLA, its settings kept; null where no load meets it."""

    latency_ms: float
    qps: float | None
    low_qps: float | None


@document
class ServiceAtSlas(TypedDict):
    """A service's own SLA, a percentile and its bound, and by node type what a node serves at some SLAs."""

    percentile: float
    latency_ms: float
    node_types: dict[str, list[CapacityAtSla]]


@document
class FewestDocument(TypedDict):
    """The fewest nodes on which an SLA holds, by what the router sees; imbalance costs their difference."""

    random: int
    join_shortest_queue: int | None
    imbalance_costs: int | None


@document
class CheckDocument(TypedDict):
    """A service in an hour, simulated; or why not."""

    hour: int
    service: str
    num_nodes: int
    num_nodes_needed: int | None
    percentile: float
    latency_ms: float | None
    limit_ms: float
    verdict: str
    fewest_nodes: FewestDocument | None


@document
class MomentDocument(TypedDict):
    """What is so at a time after a loss: what clients ask for, retries among it, and what waits."""

    at_s: float
    asked_qps: float
    backlog_queries: float


@document
class AfterFailureDocument(TypedDict):
    """The minutes after a failure, for a service at its largest demand, as a fluid.

    `verdict`: recovers; overloaded, what serves is less than what is asked for; retry_storm, it would do but
    for what is asked again; draining, at the horizon the backlog still shrinks. `late_queries`: answered on a
    later try, or beyond the SLA's latency for the backlog alone; `failed_queries`: at no try in time.
    """

    service: str
    failure: str
    lost_nodes: dict[str, int]
    rate_qps: float
    capacity_before_qps: float
    capacity_left_qps: float
    timeout_ms: float
    verdict: str
    recovers_after_s: float | None
    most_backlog_queries: float
    most_backlog_wait_ms: float | None
    asked_queries: float
    retried_queries: float
    late_queries: float
    failed_queries: float
    num_nodes: int
    num_nodes_needed: int | None
    moments: list[MomentDocument]


@document
class TransientDocument(TypedDict):
    """What they were simulated with; it `decides` the exit code only where the file says it."""

    detection_s: float
    timeout_ms: float | None
    retries: int
    restart_s: float | None
    cold_speed: float
    warm_up_s: float
    horizon_s: float
    decides: bool


@document
class SimulatedDocument(TypedDict):
    """The plan after simulation raised it, `raised_by` by service."""

    nodes: NodesDocument
    num_nodes: int
    objective_value: float | None
    raised_by: dict[str, int]
    holds: bool
    lacks: list[str]


@document
class NotChosenDocument(TypedDict):
    """A node type that the static provision leaves out."""

    node_type: str
    why: str
    would_be_at_price_usd_per_h: float | None
    would_be_at_power_w: float | None


@document
class SafetyDocument(TypedDict):
    """What a safety costs: the static provision less the one without it."""

    safety: str
    num_nodes: int | None
    objective_value: float | None


@document
class ReliefDocument(TypedDict):
    """A change that alone would make the plan feasible; null where no amount of it would, or it has none."""

    change: str
    amount: float | None
    unit: str
    note: str


@document
class BindingDocument(TypedDict):
    """What makes the plan infeasible."""

    constraint: str
    frees: list[ReliefDocument]


@document
class GrowthRowDocument(TypedDict):
    """The static provision for all demand times a factor; `unused` are owned nodes that it does not need."""

    growth: float
    num_nodes: int | None
    objective_value: float | None
    power_w: float | None
    price_usd_per_h: float | None
    nodes_by_type: dict[str, int] | None
    bought: dict[str, int] | None
    unused: dict[str, int] | None


@document
class GrowthDocument(TypedDict):
    """How the plan grows: up to `gives_out_at`; beyond it there is too little of what `gives_out` names."""

    rows: list[GrowthRowDocument]
    gives_out_at: float | None
    gives_out: str | None


@document
class SharingGroupDocument(TypedDict):
    """Nodes of a type that serve the same services, sharing their time; those of `unit_nodes` serve together.

    Every set of services that there may be is here; the static provision has `num_nodes` of it, 0 among them.
    """

    node_type: str
    services: list[str]
    unit_nodes: int
    num_nodes: int


@document
class NodeTypeDocument(TypedDict):
    """A kind of node: its stock, prices and power; `idle_w` and `peak_w` where power goes by utilisation."""

    owned: int
    available: int
    price_usd_per_h: float | None
    buy_price_usd_per_h: float | None
    tdp_w: float | None
    idle_w: float | None
    peak_w: float | None


@document
class HoldsDocument(TypedDict):
    """What has to hold."""

    confidence: float
    headroom: float
    headroom_in_failure: float | None
    maintenance: float
    lost_nodes: int
    zones: int | None
    sharing: bool


@document
class PlanDocument(Saved):
    """How many nodes of which kind."""

    fleet: str
    verdict: Verdict
    objective: ObjectiveName
    objective_unit: str
    objective_value: float | None
    lower_bound: float | None
    gap: float | None
    optimal: bool | None
    static: ProvisionDocument | None
    sharing_groups: list[SharingGroupDocument] | None
    simulated: SimulatedDocument | None
    hours: list[HourDocument]
    baselines: BaselinesDocument
    capacity_qps: dict[str, dict[str, CapacityOfPair]]
    capacity_at_sla: dict[str, ServiceAtSlas] | None
    sharded: list[ShardedUnitDocument]
    checks: list[CheckDocument]
    after_failure: list[AfterFailureDocument]
    recovers: bool | None
    transient: TransientDocument | None
    safeties: list[SafetyDocument]
    not_chosen: list[NotChosenDocument]
    binding: BindingDocument | None
    growth: GrowthDocument | None
    mean_demand_qps: float
    power_model: str
    notes: list[str]
    node_types: dict[str, NodeTypeDocument]
    provision: HoldsDocument
    asked: dict[str, Any]


def plan_document(result: PlanAnswer) -> PlanDocument:
    """Return the document; what does not exist is None."""
    question, static = result.question, result.static
    grid = question.mean_grid_g_per_kwh
    return {
        **saved("plan", VERSION, question.inputs),
        "fleet": question.name,
        "verdict": result.verdict,
        "objective": question.provision.objective,
        "objective_unit": UNITS[question.provision.objective],
        "objective_value": None if static is None else static.objective_value,
        "lower_bound": None if static is None else static.lower_bound,
        "gap": None if static is None else static.gap,
        "optimal": None if static is None else static.is_optimal,
        "static": None if static is None else _provision(static.provisioned, result),
        "sharing_groups": _sharing_groups(question, static),
        "simulated": None if result.simulated is None else _simulated(result.simulated, grid),
        "hours": [_hour(hour) for hour in result.hours],
        "baselines": {
            "greedy": _baseline(result.baselines["greedy"]),
            "oblivious": _baseline(result.baselines["oblivious"]),
            "perfect_autoscaler": _baseline(result.baselines["perfect_autoscaler"]),
            "simulated_autoscaler": _baseline(result.baselines["simulated_autoscaler"]),
        },
        "capacity_qps": _capacities(question),
        "capacity_at_sla": None if result.sla_curves is None else _at_sla(question, result.sla_curves),
        "sharded": [_sharded(each) for each in result.sharded],
        "checks": [_check(check) for check in result.checks],
        "after_failure": [_after_failure(each) for each in result.after_failure],
        "recovers": result.recovers,
        "transient": _transient(question) if result.after_failure else None,
        "safeties": [
            {"safety": each.safety, "num_nodes": each.num_nodes, "objective_value": each.objective_value}
            for each in result.safeties
        ],
        "not_chosen": [_not_chosen(each) for each in result.not_chosen],
        "binding": None if result.binding is None else _binding(result.binding),
        "growth": None if result.growth is None else _growth(result.growth),
        "mean_demand_qps": result.mean_qps,
        "power_model": power_model(question),
        "notes": list(result.notes),
        "node_types": {each.name: _node_type(each) for each in question.node_types},
        "provision": _holds(question),
        "asked": dict(question.asked),
    }


def _node_type(of: StockedType) -> NodeTypeDocument:
    return {
        "owned": of.owned,
        "available": of.available,
        "price_usd_per_h": of.price_usd_per_h,
        "buy_price_usd_per_h": of.buy_price_usd_per_h,
        "tdp_w": of.tdp_w,
        "idle_w": of.idle_w,
        "peak_w": of.peak_w,
    }


def _sharing_groups(question: PlanQuestion, static: Optimum | None) -> list[SharingGroupDocument] | None:
    if not question.provision.sharing or static is None:
        return None
    chosen = static.provisioned.question
    counts = {(each.node_type, each.services): each.nodes for each in static.provisioned.placements}
    found: list[SharingGroupDocument] = []
    for group, _ in chosen.kinds():
        node_type = chosen.node_types[group.node_type].name
        services = tuple(chosen.services[index].name for index in group.services)
        found.append(
            {
                "node_type": node_type,
                "services": list(services),
                "unit_nodes": group.unit_nodes,
                "num_nodes": counts.get((node_type, services), 0),
            }
        )
    return found


def _holds(question: PlanQuestion) -> HoldsDocument:
    asked, failures = question.provision, question.provision.failures
    return {
        "confidence": asked.confidence,
        "headroom": asked.headroom,
        "headroom_in_failure": asked.headroom_in_failure,
        "maintenance": asked.maintenance,
        "lost_nodes": 0 if failures is None or not failures.nodes else failures.nodes,
        "zones": None if failures is None else failures.zones,
        "sharing": asked.sharing,
    }


def power_model(question: PlanQuestion) -> str:
    """What power is, in words."""
    if not question.by_utilisation:
        return "static TDP of the nodes that are on"
    return (
        "by utilisation: of each node that is on idle + (peak - idle) x load / low_qps, cores and cards "
        "alike, at the planned load of an ordinary day, spread so that it draws least; caps count the static "
        "TDP; joules and grams a query of the static provision are the mean over the hours at their forecasts"
    )


def _provision(of: Provisioned, result: PlanAnswer) -> ProvisionDocument:
    each = per_query(of.price_usd_per_h, result.mean_power_w, result.mean_carbon_g_per_h, result.mean_qps)
    return {
        "nodes": of.nodes,
        "nodes_by_type": of.by_type,
        "num_nodes": of.num_nodes,
        "bought": of.bought,
        "power_w": of.power_w,
        "price_usd_per_h": of.price_usd_per_h,
        "usd_per_million_queries": each.usd_per_million_queries,
        "joules_per_query": each.joules_per_query,
        "g_co2_per_million_queries": each.g_co2_per_million_queries,
    }


def _hour(hour: HourPlan) -> HourDocument:
    optimum: Optimum | None = hour.optimum
    of = None if optimum is None else optimum.provisioned
    price, power_w = (None, None) if of is None else (of.price_usd_per_h, of.power_w)
    carbon = None if of is None else of.carbon_g_per_h(hour.grid_g_per_kwh)
    each = per_query(price, power_w, carbon, sum(hour.demand_qps.values()))
    return {
        "hour": hour.hour,
        "demand_qps": dict(hour.demand_qps),
        "planned_qps": dict(hour.planned_qps),
        "nodes": None if of is None else of.nodes,
        "nodes_by_type": None if of is None else of.by_type,
        "num_nodes": None if of is None else of.num_nodes,
        "power_w": power_w,
        "price_usd_per_h": price,
        "objective_value": None if optimum is None else optimum.objective_value,
        "lower_bound": None if optimum is None else optimum.lower_bound,
        "gap": None if optimum is None else optimum.gap,
        "usd_per_million_queries": each.usd_per_million_queries,
        "joules_per_query": each.joules_per_query,
        "g_co2_per_million_queries": each.g_co2_per_million_queries,
    }


def _baseline(of: Baseline) -> BaselineDocument:
    return {
        "feasible": of.feasible,
        "num_nodes": of.num_nodes,
        "power_w": of.power_w,
        "price_usd_per_h": of.price_usd_per_h,
        "node_hours": of.node_hours,
        "mean_power_w": of.mean_power_w,
        "mean_price_usd_per_h": of.mean_price_usd_per_h,
        "sla_missed_share": of.sla_missed_share,
        "nodes": None if of.nodes is None else {name: dict(counts) for name, counts in of.nodes.items()},
        "note": of.note,
    }


def _capacities(question: PlanQuestion) -> dict[str, dict[str, CapacityOfPair]]:
    found: dict[str, dict[str, CapacityOfPair]] = {}
    for service in question.services:
        found[service.name] = {}
        for name in question.names_for(service.name):
            pair = question.capacities.get((service.name, name))
            refused = question.refused.get((service.name, name), "not known")
            found[service.name][name] = {
                "qps": None if pair is None else pair.qps,
                "low_qps": None if pair is None else pair.low_qps,
                "batch_size": None if pair is None else pair.batch_size,
                "offload_threshold_items": None if pair is None else pair.offload_threshold_items,
                "timeout_ms": None if pair is None else pair.timeout_ms,
                "threads": None if pair is None else pair.threads,
                "num_nodes": None if pair is None else pair.num_nodes,
                "nodes_by_type": None if pair is None else question.parts(name, pair.num_nodes),
                "source": f"refused: {refused}" if pair is None else pair.source,
            }
    return found


def _sharded(unit: ShardedUnit) -> ShardedUnitDocument:
    network = unit.network
    return {
        "service": unit.service,
        "node_type": unit.node_type,
        "num_nodes": unit.capacity.num_nodes,
        "shards": unit.capacity.num_shards,
        "by": unit.by,
        "replicas": unit.replicas,
        "fullest_gib": None if unit.fullest_bytes is None else unit.fullest_bytes / GIB,
        "network_ms": None if network is None else network.seconds / MS,
        "network_share": None if network is None else network.share,
        "request_mb": None if network is None else network.sent_bytes / MB,
        "tried": [
            {
                "shards": each.num_shards,
                "num_nodes": None if each.capacity is None else each.capacity.num_nodes,
                "qps": None if each.capacity is None else each.capacity.qps,
                "low_qps": None if each.capacity is None else each.capacity.low_qps,
                "why_not": each.why_not or None,
            }
            for each in unit.tried
        ],
    }


def _at_sla(question: PlanQuestion, curves: SlaCurves) -> dict[str, ServiceAtSlas]:
    found: dict[str, ServiceAtSlas] = {}
    for (service, node_type), points in curves.items():
        sla = question.slas[service]
        of: ServiceAtSlas = {
            "percentile": sla.percentile,
            "latency_ms": sla.latency_s / MS,
            "node_types": {},
        }
        found.setdefault(service, of)["node_types"][node_type] = [
            {"latency_ms": each.latency_s / MS, "qps": each.qps, "low_qps": each.low_qps} for each in points
        ]
    return found


def _growth(growth: Growth) -> GrowthDocument:
    return {
        "rows": [_growth_row(row) for row in growth.rows],
        "gives_out_at": growth.gives_out_at,
        "gives_out": growth.gives_out,
    }


def _growth_row(row: GrowthRow) -> GrowthRowDocument:
    of = None if row.static is None else row.static.provisioned
    return {
        "growth": row.growth,
        "num_nodes": None if of is None else of.num_nodes,
        "objective_value": None if row.static is None else row.static.objective_value,
        "power_w": None if of is None else of.power_w,
        "price_usd_per_h": None if of is None else of.price_usd_per_h,
        "nodes_by_type": None if of is None else of.by_type,
        "bought": None if of is None else of.bought,
        "unused": None if of is None else row.unused,
    }


def _check(check: Check) -> CheckDocument:
    return {
        "hour": check.hour,
        "service": check.service,
        "num_nodes": check.num_nodes,
        "num_nodes_needed": check.num_nodes_needed,
        "percentile": check.percentile,
        "latency_ms": None if check.latency_s is None else check.latency_s / MS,
        "limit_ms": check.limit_s / MS,
        "verdict": check.verdict,
        "fewest_nodes": None if check.fewest is None else _fewest(check.fewest),
    }


def _fewest(of: Fewest) -> FewestDocument:
    return {
        "random": of.random,
        "join_shortest_queue": of.shortest_queue,
        "imbalance_costs": of.imbalance,
    }


def _after_failure(each: AfterLoss) -> AfterFailureDocument:
    of = each.aftermath
    return {
        "service": each.service,
        "failure": each.failure,
        "lost_nodes": dict(each.lost_nodes),
        "rate_qps": each.rate_qps,
        "capacity_before_qps": each.before_qps,
        "capacity_left_qps": each.left_qps,
        "timeout_ms": each.timeout_s / MS,
        "verdict": of.ending,
        "recovers_after_s": of.recovers_after_s,
        "most_backlog_queries": of.most_backlog,
        "most_backlog_wait_ms": of.most_wait_s / MS if isfinite(of.most_wait_s) else None,
        "asked_queries": of.asked,
        "retried_queries": of.retried,
        "late_queries": of.late,
        "failed_queries": of.failed,
        "num_nodes": each.num_nodes,
        "num_nodes_needed": each.num_nodes_needed,
        "moments": [
            {"at_s": at.at_s, "asked_qps": at.asked_qps, "backlog_queries": at.backlog} for at in of.moments
        ],
    }


def _transient(question: PlanQuestion) -> TransientDocument:
    said = question.provision.transient
    of = Transient() if said is None else said
    return {
        "detection_s": of.detection_s,
        "timeout_ms": of.timeout_ms,
        "retries": of.retries,
        "restart_s": of.restart_s,
        "cold_speed": of.cold_speed,
        "warm_up_s": of.warm_up_s,
        "horizon_s": of.horizon_s,
        "decides": said is not None,
    }


def _simulated(of: Simulated, grid: float | None) -> SimulatedDocument:
    return {
        "nodes": of.provisioned.nodes,
        "num_nodes": of.provisioned.num_nodes,
        "objective_value": of.provisioned.objective_value(grid),
        "raised_by": dict(of.raised_by),
        "holds": of.holds,
        "lacks": list(of.lacks),
    }


def _not_chosen(each: NotChosen) -> NotChosenDocument:
    return {
        "node_type": each.node_type,
        "why": each.why,
        "would_be_at_price_usd_per_h": each.at_price_usd_per_h,
        "would_be_at_power_w": each.at_power_w,
    }


def _binding(binding: Binding) -> BindingDocument:
    return {
        "constraint": binding.constraint,
        "frees": [
            {"change": each.change, "amount": each.amount, "unit": each.unit, "note": each.note}
            for each in binding.frees
        ],
    }
