"""Nodes that serve in units, in one of several ways: the plan is what trying every way and count finds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from math import inf
from statistics import NormalDist
from typing import Any

import pytest

from perfmodel.planning.plan.answer import Optimum
from perfmodel.planning.plan.baselines import greedy, oblivious
from perfmodel.planning.plan.binding import binding_of
from perfmodel.planning.plan.check import violations
from perfmodel.planning.plan.optimum import best
from perfmodel.planning.plan.question import PairCapacity, PlanQuestion, Way
from tests.property.test_plan_brute_force import allowed, cost_of, drawn, left_of, states

NUM_FLEETS = 150


def in_units(seed: int, **provision: Any) -> PlanQuestion:
    """A small fleet, some of whose pairs serve in units of one to four nodes, of one or two sizes."""
    question, rng = drawn(seed, sharing=False, **provision), random.Random(seed + 10_000)
    capacities, ways = {}, {}
    for pair, of in question.capacities.items():
        sizes = rng.sample([1, 2, 3, 4], rng.choice([1, 1, 2]))
        found = [
            PairCapacity(qps=qps, low_qps=qps, num_nodes=nodes)
            for nodes in sizes
            for qps in [float(rng.choice([1, 1.5, 2])) * of.qps]
        ]
        capacities[pair] = max(found, key=lambda each: each.low_qps_a_node)
        if len(found) > 1:
            ways[pair] = tuple(Way(each) for each in found)
    # More stock: a unit of four of it has to fit some of the time.
    types = tuple(
        replace(each, available=each.available + rng.choice([0, 4])) for each in question.node_types
    )
    return replace(question, capacities=capacities, ways=ways, node_types=types)


def covers(question: PlanQuestion, service: str, demand: float) -> set[tuple[int, ...]]:
    """Nodes by type that serve a demand in every state, each type in one of its ways or not at all."""
    choices = []
    for node_type in question.node_types:
        of_type = [(0, 0, 0.0)]
        for way in question.ways_of(service, node_type.name):
            size = way.capacity.num_nodes
            for units in range(1, node_type.available // size + 1):
                of_type.append((units, size * units, way.capacity.low_qps))
        choices.append(of_type)
    found = set()
    for chosen in itertools.product(*choices):
        served = [
            sum(left_of(units, question.provision, failure) * qps * (1 - free) for units, _, qps in chosen)
            for failure, free in states(question.provision)
        ]
        if min(served) >= demand * (1 - 1e-9):
            found.add(tuple(nodes for _, nodes, _ in chosen))
    return found


Covers = Callable[[PlanQuestion, str, float], set[tuple[int, ...]]]
"""Nodes by type that serve a service's demand in every state, by trying every count."""


def by_trying(
    question: PlanQuestion, demands: list[float], covers: Covers, grid: float = 300.0
) -> float | None:
    per_service = [
        covers(question, service.name, demand)
        for service, demand in zip(question.services, demands, strict=True)
    ]
    costs = (
        (cost_of(question, used, grid), used)
        for chosen in itertools.product(*per_service)
        for used in [[sum(column) for column in zip(*chosen, strict=True)]]
    )
    return min((cost for cost, used in costs if allowed(question, used)), default=None)


def peaks_of(question: PlanQuestion) -> list[float]:
    quantile = NormalDist().inv_cdf(question.provision.confidence)
    return [(1 + each.error * quantile) * max(each.demand_qps) for each in question.services]


def found_as_tried(question: PlanQuestion, covers: Covers, seed: int) -> Optimum | None:
    """The plan, which costs what trying finds, keeps to the page's rules and is beaten by no greedy one."""
    demands = peaks_of(question)
    found, least = best(question, question.peak_qps), by_trying(question, demands, covers)
    assert (found is None) == (least is None), seed
    if found is None or least is None:
        return None
    assert found.objective_value == pytest.approx(least, rel=1e-9), seed
    provisioned = found.provisioned
    by_name = {each.name: peak for each, peak in zip(question.services, demands, strict=True)}
    assert violations(provisioned.question, by_name, provisioned.placements) == [], seed
    other = greedy(provisioned.question, by_name)
    if other.feasible and question.provision.objective == "nodes" and question.provision.power_cap_w is None:
        assert other.num_nodes is not None
        assert other.num_nodes >= found.objective_value, seed
    return found


@pytest.mark.parametrize("first", range(0, NUM_FLEETS, 50))
def test_units_cost_what_trying_every_way_and_count_finds(first: int) -> None:
    feasible = in_larger = 0
    for seed in range(first, first + 50):
        question = in_units(seed)
        if len(question.services) * len(question.node_types) > 4:
            continue
        found = found_as_tried(question, covers, seed)
        if found is None:
            continue
        assert found.gap == 0.0, seed
        provisioned = found.provisioned
        assert not provisioned.question.ways, "each pair has one way now"
        for each in provisioned.placements:
            assert each.nodes == each.units * each.unit_nodes
            assert each.unit_nodes == provisioned.question.unit_nodes(each.services[0], each.node_type)
            in_larger += each.unit_nodes > 1
        feasible += 1
    assert feasible > 8
    assert in_larger > 3


def test_no_way_to_provide_beside_the_plan_takes_part_of_a_unit_or_costs_less() -> None:
    compared = 0
    for seed in range(60):
        question = in_units(seed, objective="nodes", power_cap_w=None)
        found = best(question, question.peak_qps)
        chosen = question.choosing({}) if found is None else found.provisioned.question
        by_name = dict(zip([each.name for each in question.services], peaks_of(question), strict=True))
        for other in (greedy(chosen, by_name), oblivious(chosen, by_name)):
            if not other.feasible or other.nodes is None:
                continue
            assert found is not None, seed
            assert other.num_nodes is not None
            assert other.num_nodes >= found.objective_value, seed
            for service, counts in other.nodes.items():
                assert all(n % chosen.unit_nodes(service, name) == 0 for name, n in counts.items()), seed
            compared += 1
    assert compared > 25


@pytest.mark.thorough
def test_what_would_free_a_plan_of_units_does_free_it_and_less_does_not() -> None:
    freed = 0
    for seed in range(60):
        question = in_units(seed, objective="nodes", power_cap_w=None)
        if best(question, question.peak_qps) is not None:
            continue
        for relief in binding_of(question, question.peak_qps).frees:
            name = relief.change.removeprefix("more nodes of ")
            if relief.amount is None or name == relief.change:
                continue
            for amount, is_enough in ((int(relief.amount), True), (int(relief.amount) - 1, False)):
                stock = {each.name: each.most_nodes for each in question.node_types}
                stock[name] += amount
                types = tuple(
                    replace(
                        each,
                        available=stock[each.name],
                        owned=min(each.owned, stock[each.name]),
                        power_cap_w=inf,
                    )
                    for each in question.node_types
                )
                other = replace(question, node_types=types)
                assert (best(other, other.peak_qps) is not None) == is_enough, (seed, name)
            freed += 1
    assert freed > 5
