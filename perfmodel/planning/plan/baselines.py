"""Other ways to provide for the same demand: greedy, and oblivious of what a type serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

from perfmodel.planning.plan.answer import Baseline, Provisioned
from perfmodel.planning.plan.check import Placement, drained, survivors, violations
from perfmodel.planning.plan.question import PlanQuestion

Counts = dict[str, int]
"""Units by type: nodes, or groups of nodes that serve together."""

GREEDY = (
    "services in order of demand, the largest first; each takes the type with most queries/s/W still in stock"
)
OBLIVIOUS = (
    "services in order of demand; each takes the types in proportion to stock, whatever its capacity there"
)


def greedy(question: PlanQuestion, demand_qps: Mapping[str, float]) -> Baseline:
    """Take for each service the type with most QPS/W that is still in stock.

    Nodes are not shared, and the cap on all power plays no part. Where a type's power is not known, all are
    taken to draw as much.
    """
    return _provided(question, demand_qps, _take_best, GREEDY)


def oblivious(question: PlanQuestion, demand_qps: Mapping[str, float]) -> Baseline:
    """Take for each service the types in proportion to stock."""
    return _provided(question, demand_qps, _take_all_alike, OBLIVIOUS)


Take = Callable[[PlanQuestion, str, float, Counts], Counts]


def _provided(question: PlanQuestion, demand_qps: Mapping[str, float], take: Take, note: str) -> Baseline:
    left = {each.name: each.most_nodes for each in question.node_types}
    taken: dict[str, Counts] = {}
    enough = True
    for service in sorted(demand_qps, key=lambda name: -demand_qps[name]):
        taken[service] = take(question, service, demand_qps[service], left)
        for node_type, count in taken[service].items():
            each = question.unit_nodes(service, node_type)
            for name, nodes in question.parts(node_type, each).items():
                left[name] -= count * nodes
        enough = enough and _holds(question, service, demand_qps[service], taken[service])
    placements = tuple(
        Placement(node_type, (service,), count * each, unit_nodes=each)
        for service, counts in taken.items()
        for node_type, count in counts.items()
        for each in [question.unit_nodes(service, node_type)]
        if count
    )
    feasible = enough and not violations(
        question.asking(power_cap_w=None, sharing=False), demand_qps, placements
    )
    if not feasible:
        return Baseline(
            feasible=False,
            num_nodes=None,
            power_w=None,
            price_usd_per_h=None,
            node_hours=None,
            mean_power_w=None,
            mean_price_usd_per_h=None,
            note=f"{note}; the stock gives out",
        )
    provisioned = Provisioned(question=question, placements=placements, demand_qps=demand_qps)
    return Baseline(
        feasible=True,
        num_nodes=provisioned.num_nodes,
        power_w=provisioned.power_w,
        price_usd_per_h=provisioned.price_usd_per_h,
        node_hours=float(provisioned.num_nodes * len(question.hours)),
        mean_power_w=provisioned.power_w,
        mean_price_usd_per_h=provisioned.price_usd_per_h,
        note=note,
        nodes=provisioned.nodes,
    )


def _take_best(question: PlanQuestion, service: str, demand_qps: float, left: Counts) -> Counts:
    taken: Counts = {}
    order = sorted(_running(question, service), key=lambda name: -_qps_per_w(question, service, name))
    for node_type in order:
        if _holds(question, service, demand_qps, taken):
            break
        count = _fewest(
            lambda n, kind=node_type: _holds(question, service, demand_qps, {**taken, kind: n}),  # type: ignore[misc]
            _most_units(question, service, node_type, left),
        )
        if _adds(question, service, node_type, count):
            taken[node_type] = count
    return taken


def _most_units(question: PlanQuestion, service: str, name: str, left: Counts) -> int:
    """Units that are left of a type, or of several."""
    parts = question.parts(name, question.unit_nodes(service, name))
    return min(left[node_type] // nodes for node_type, nodes in parts.items())


def _take_all_alike(question: PlanQuestion, service: str, demand_qps: float, left: Counts) -> Counts:
    running = _running(question, service)
    stock = {each.name: each.most_nodes for each in question.node_types if each.name in running}
    total = sum(stock.values())
    if total == 0:
        return {}

    each = {name: question.unit_nodes(service, name) for name in stock}

    def shared_out(count: int) -> Counts:
        """So many nodes in proportion to stock, in whole units by remainders, and no more than are left."""
        exact = {name: count * of_type / total / each[name] for name, of_type in stock.items()}
        units = {name: int(share) for name, share in exact.items()}
        over = count - sum(units[name] * each[name] for name in stock)
        for name in sorted(stock, key=lambda name: int(exact[name]) - exact[name]):
            if each[name] <= over:
                units[name] += 1
                over -= each[name]
        return {name: min(left[name] // each[name], units[name]) for name in stock}

    count = _fewest(lambda n: _holds(question, service, demand_qps, shared_out(n)), total)
    return shared_out(count)


def _fewest(enough: Callable[[int], bool], most: int) -> int:
    """The smallest number that is enough; all where none is. What is enough stays enough but for rounding."""
    low, high = 0, most
    if enough(0):
        return 0
    if not enough(most):
        return most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _running(question: PlanQuestion, service: str) -> Sequence[str]:
    return [
        name
        for name in question.names_for(service)
        if (pair := question.capacities.get((service, name))) is not None and pair.low_qps > 0.0
    ]


def _qps_per_w(question: PlanQuestion, service: str, node_type: str) -> float:
    pair = question.capacities[service, node_type]
    tdp_w = {each.name: each.tdp_w for each in question.node_types}
    total_w = 0.0
    for name, nodes in question.parts(node_type, pair.num_nodes).items():
        each_w = tdp_w[name]
        total_w += nodes * (1.0 if each_w is None else each_w or 1e-12)
    return pair.low_qps / total_w


def _adds(question: PlanQuestion, service: str, node_type: str, count: int) -> bool:
    return _least_served(question, service, {node_type: count}) > 0.0


def _holds(question: PlanQuestion, service: str, demand_qps: float, counts: Counts) -> bool:
    return _least_served(question, service, counts) >= demand_qps * (1.0 - 1e-9)


def _least_served(question: PlanQuestion, service: str, counts: Counts) -> float:
    """What units serve of a service in the worst state that has to hold. [queries/s]"""
    least = inf
    for condition in question.conditions:
        served = 0.0
        for node_type, count in counts.items():
            serving = count - drained(count, question.provision.maintenance)
            lost = condition.lost_nodes * question.num_parts(node_type)
            left = survivors(serving, lost=lost, zones=condition.zones)
            served += left * question.capacities[service, node_type].low_qps * (1.0 - condition.free)
        least = min(least, served)
    return least
