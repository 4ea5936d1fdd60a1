"""Why no provision exists, and the least change of each kind after which one does; why a type is left out."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite

import numpy as np

from perfmodel.planning.plan.answer import Binding, NotChosen, Optimum, Relief
from perfmodel.planning.plan.decomposition import cheapest, worth_of_type
from perfmodel.planning.plan.digits import rounded_down
from perfmodel.planning.plan.programme import FloatArray, Programme, solve
from perfmodel.planning.plan.question import PlanQuestion

MOST_STEPS = 12
"""Of the search for a price: each step finds the best plan at the price before, and few change anything."""

PLENTY = 1_000_000
"""Nodes of a type that are looked for at most: as good as any number, and said where it is not enough."""


def binding_of(question: PlanQuestion, demand_qps: FloatArray) -> Binding:
    """Say what makes a demand infeasible, and what would free it: each change alone, and the least of it."""
    programme = replace(question.programme(demand_qps), load_cost=None)  # what is drawn binds nothing
    unlimited = _unlimited(question, programme)
    frees = [
        *_more_nodes(question, unlimited),
        *_more_power(programme),
        *_fewer_safeties(question, demand_qps),
        *_less_traffic(question, programme, demand_qps),
    ]
    return Binding(constraint=_constraint(question, programme, unlimited, demand_qps), frees=tuple(frees))


def _unlimited(question: PlanQuestion, programme: Programme) -> Programme:
    """As many nodes of each type as anybody wants; power as it is."""
    return replace(programme, stock=np.full(len(question.node_types), PLENTY))


def is_feasible(programme: Programme) -> bool:
    """Whether a provision exists."""
    return cheapest(replace(programme, load_cost=None)).units is not None


def _constraint(
    question: PlanQuestion, programme: Programme, unlimited: Programme, demand_qps: FloatArray
) -> str:
    """Which limit it is, in words."""
    for row, service in enumerate(question.services):
        if demand_qps[row] > 0.0 and not (programme.capacity_qps[row] > 0.0).any():
            return f"capacity: no node type serves {service.name}"
    if programme.power_cap_w < inf:
        stock_alone = is_feasible(replace(programme, power_cap_w=inf))
        power_alone = is_feasible(unlimited)
        if stock_alone and not power_alone:
            return f"power_cap_w: {programme.power_cap_w:g} W"
        if stock_alone and power_alone:
            return f"stock and power_cap_w, {programme.power_cap_w:g} W: either alone would do"
        if not power_alone:
            return f"stock and power_cap_w, {programme.power_cap_w:g} W: both"
    uncapped = replace(unlimited, power_cap_w=inf)
    if not is_feasible(uncapped):
        everyday = tuple(each for each in uncapped.conditions if not each.is_failure)
        if not is_feasible(replace(uncapped, conditions=everyday)):
            return f"demand: {PLENTY:,} nodes of each type would not be enough"
        return "failures: what is left after one serves nothing, however many nodes there are"
    full = solve(programme, most_served=True).units
    used = np.zeros(len(question.node_types)) if full is None else programme.nodes_by_type(full)
    out = [
        each.name
        for column, each in enumerate(question.node_types)
        if each.most_nodes and used[column] + _largest_unit(programme, column) > each.most_nodes
    ]
    capped = [each.name for each in question.node_types if each.most_nodes < each.available]
    of_types = f" of {', '.join(out)}" if out else ""
    by_cap = f" (as their own power_cap_w allows: {', '.join(capped)})" if capped else ""
    return f"stock{of_types}{by_cap}"


def _largest_unit(programme: Programme, node_type: int) -> int:
    """Nodes of a type without which one of the services gets no more of it; 1 where each node serves."""
    least: dict[int, int] = {}
    for group in programme.groups:
        for service in group.services:
            nodes = group.nodes_of(node_type)
            if nodes and programme.demand_qps[service] > 0.0:
                least[service] = min(nodes, least.get(service, nodes))
    return max(least.values(), default=1)


def _more_nodes(question: PlanQuestion, unlimited: Programme) -> list[Relief]:
    """For each type alone: how many more nodes, the others' stock and the power cap as they are."""
    found = []
    for column, node_type in enumerate(question.node_types):
        stock = np.array([each.most_nodes for each in question.node_types])
        stock[column] = PLENTY
        own = np.zeros(len(stock))
        own[column] = 1.0
        solution = solve(
            replace(unlimited, stock=stock, owned=stock, cost=own, bought_cost=own, tie=0.0 * own)
        )
        change = f"more nodes of {node_type.name}"
        if solution.units is None:
            found.append(
                Relief(change=change, amount=None, unit="nodes", note=f"{PLENTY:,} would not be enough")
            )
            continue
        used = int(unlimited.nodes_by_type(solution.units)[column])
        note = "" if node_type.most_nodes == node_type.available else "its own power_cap_w raised for them"
        found.append(
            Relief(change=change, amount=float(used - node_type.most_nodes), unit="nodes", note=note)
        )
    return found


def _more_power(programme: Programme) -> list[Relief]:
    """How much more power, the stock as it is."""
    if not isfinite(programme.power_cap_w):
        return []
    tdp_w = programme.tdp_w
    lifted = replace(programme, power_cap_w=inf, cost=tdp_w, bought_cost=tdp_w, tie=0.0 * tdp_w)
    solution = solve(lifted)
    if solution.units is None:
        return [Relief(change="a higher power_cap_w", amount=None, unit="W", note="no power is enough")]
    drawn_w = float(programme.nodes_by_type(solution.units) @ tdp_w)
    return [Relief(change="a higher power_cap_w", amount=drawn_w - programme.power_cap_w, unit="W")]


def _less_traffic(question: PlanQuestion, programme: Programme, demand_qps: FloatArray) -> list[Relief]:
    """By how much less all demand, and that of each service alone, would be served."""
    total = float(demand_qps.sum())
    served = solve(programme, most_served=True)
    factor = 0.0 if served.units is None else served.served
    found = [
        Relief(
            change="less traffic of every service",
            amount=(1.0 - factor) * total,
            unit="queries/s",
            note=f"all demand times {rounded_down(factor, 4):.4g}",
        )
    ]
    for row, service in enumerate(question.services):
        if len(question.services) == 1 or demand_qps[row] <= 0.0:
            continue
        low, high = 0.0, float(demand_qps[row])
        without = demand_qps.copy()
        without[row] = 0.0
        if not is_feasible(replace(programme, demand_qps=without)):
            continue
        for _ in range(MOST_STEPS):
            middle = 0.5 * (low + high)
            without[row] = middle
            low, high = (
                (middle, high) if is_feasible(replace(programme, demand_qps=without)) else (low, middle)
            )
        amount = float(demand_qps[row]) - low
        note = "of what is planned for, the error of its forecast included" if service.error else ""
        found.append(
            Relief(change=f"less traffic of {service.name}", amount=amount, unit="queries/s", note=note)
        )
    return found


def _fewer_safeties(question: PlanQuestion, demand_qps: FloatArray) -> list[Relief]:
    """Which safety, given up alone, would make it feasible."""
    asked = question.provision
    without: dict[str, tuple[bool, dict[str, object]]] = {
        "no failures to be ready for": (asked.failures is not None, {"failures": None}),
        "no headroom in a failure": (
            asked.failures is not None and (asked.headroom_in_failure or asked.headroom) > 0.0,
            {"headroom_in_failure": 0.0},
        ),
        "no headroom": (asked.headroom > 0.0, {"headroom": 0.0, "headroom_in_failure": 0.0}),
        "no maintenance": (asked.maintenance > 0.0, {"maintenance": 0.0}),
        "nodes that are shared": (not asked.sharing, {"sharing": True}),
    }
    return [
        Relief(change=change, amount=None, unit="", note="given up alone")
        for change, (applies, update) in without.items()
        if applies and is_feasible(question.asking(**update).programme(demand_qps))
    ]


def not_chosen(question: PlanQuestion, demand_qps: FloatArray, static: Optimum) -> tuple[NotChosen, ...]:
    """For each type that is left out: why, and from which price, or power, on it would be taken."""
    used = static.provisioned.by_type
    return tuple(
        _why(question, demand_qps, static, column)
        for column, node_type in enumerate(question.node_types)
        if not used[node_type.name]
    )


def _why(question: PlanQuestion, demand_qps: FloatArray, static: Optimum, column: int) -> NotChosen:
    node_type = question.node_types[column]
    if node_type.most_nodes == 0:
        why = "none is available" if node_type.available == 0 else "its own power_cap_w allows none"
        return NotChosen(node_type=node_type.name, why=why)
    in_units = any(
        node_type.name in each.node_types and (each.service, each.name) in question.capacities
        for each in question.mixed
    )
    if not in_units and not (question.low_qps[:, column] > 0.0).any():
        reasons = {question.refused.get((service.name, node_type.name), "") for service in question.services}
        told = "; ".join(sorted(reason for reason in reasons if reason))
        return NotChosen(node_type=node_type.name, why=f"serves no service{': ' if told else ''}{told}")
    if question.provision.objective == "nodes":
        return NotChosen(
            node_type=node_type.name, why="no fewer nodes with any of it, and no less power with as few"
        )
    programme = question.programme(demand_qps)
    if programme.load_cost is not None:
        return _why_by_utilisation(programme, question, static, column)
    about = "" if programme.is_small else "about "
    if programme.is_small:
        worth = _worth(programme, column, static.objective_value)
    else:
        worth = worth_of_type(programme, column)
    unit = {"power": "W", "price": "USD/h", "carbon": "g/h"}[question.provision.objective]
    own = float(programme.cost[column] if programme.owned[column] else programme.bought_cost[column])
    if worth is None or worth <= 0.0:
        return NotChosen(node_type=node_type.name, why=f"would not be chosen even at 0 {unit}")
    taken = f"taken at {about}{rounded_down(worth, 4):.4g} {unit} and below"
    why = f"at {own:.4g} {unit} dearer than what is chosen; {taken}"
    if question.provision.objective == "price":
        return NotChosen(node_type=node_type.name, why=why, at_price_usd_per_h=worth)
    grams_a_watt = own / node_type.tdp_w if node_type.tdp_w else 1.0
    at_w = worth if question.provision.objective == "power" else worth / max(grams_a_watt, 1e-12)
    return NotChosen(node_type=node_type.name, why=why, at_power_w=at_w)


def _why_by_utilisation(
    programme: Programme, question: PlanQuestion, static: Optimum, column: int
) -> NotChosen:
    """How much more the best plan with one node of a type draws."""
    name = question.node_types[column].name
    solution = solve(programme, least_nodes=(column, 1))
    if solution.units is None:
        return NotChosen(node_type=name, why="no plan with one of it was found within stock and caps")
    unit = {"power": "W", "carbon": "g/h"}[question.provision.objective]
    more = max(0.0, solution.bound - static.objective_value)
    return NotChosen(node_type=name, why=f"any plan with one of it takes at least {more:.4g} {unit} more")


def _worth(programme: Programme, column: int, value: float) -> float | None:
    """The greatest cost of a node of a type at which a plan with one costs no more than the best without.

    The maximum over plans of (best - rest) / nodes of the type, rest being what the others cost: each step
    takes the plan that is best at the ratio found before (Dinkelbach's method); None: no plan has the type.
    """
    ratio = 0.0
    best: float | None = None
    for _ in range(MOST_STEPS):
        cost, bought = programme.cost.copy(), programme.bought_cost.copy()
        cost[column] = bought[column] = ratio
        solution = solve(
            replace(programme, cost=cost, bought_cost=bought, tie=0.0 * cost), least_nodes=(column, 1)
        )
        if solution.units is None:
            return best
        used = programme.nodes_by_type(solution.units)
        own = np.minimum(used, programme.owned)
        rest = own * programme.cost + (used - own) * programme.bought_cost
        found = (value - float(rest.sum() - rest[column])) / float(used[column])
        if best is not None and found <= best + 1e-9 * max(1.0, abs(best)):
            return best
        best = found
        ratio = max(0.0, found)
        if found <= 0.0:
            return best
    return best
