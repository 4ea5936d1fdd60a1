"""Main nodes of one type, shards of another, in several numbers: plans are what trying every count finds."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from perfmodel.planning.plan.question import MixedUnit, PairCapacity, PlanQuestion, Way
from tests.property.test_plan_brute_force import cost_of, drawn, states
from tests.property.test_plan_mixed_units_brute_force import left
from tests.property.test_plan_units_brute_force import found_as_tried

NUM_FLEETS = 720


def sharded(seed: int) -> PlanQuestion | None:
    """A small fleet whose services may have a main node of one type and one to three shards of the other."""
    question, rng = drawn(seed, sharing=False, power="static"), random.Random(seed + 30_000)
    names = [each.name for each in question.node_types]
    if len(names) != 2 or len(question.services) > 2:
        return None
    capacities, units, ways = dict(question.capacities), [], {}
    for service in question.services:
        if rng.random() < 0.8:
            main, holder = rng.sample(names, 2)
            unit = MixedUnit(f"{main} + {holder}", service.name, (main, holder), is_sharded=True)
            found = [
                PairCapacity(qps=qps, low_qps=qps, num_nodes=1 + shards, num_shards=shards)
                for shards in rng.sample([1, 2, 3], rng.choice([1, 2, 2]))
                for qps in [float(rng.choice([900, 1800, 2700, 5000]))]
            ]
            for name in names if rng.random() < 0.6 else ():
                capacities.pop((service.name, name), None)
            pair = service.name, unit.name
            capacities[pair] = max(found, key=lambda each: each.low_qps_a_node)
            if len(found) > 1:
                ways[pair] = tuple(Way(each) for each in found)
            units.append(unit)
    there = tuple(
        replace(each, available=each.available + rng.choice([0, 3])) for each in question.node_types
    )
    return replace(question, capacities=capacities, mixed=tuple(units), ways=ways, node_types=there)


def covers(question: PlanQuestion, service: str, demand: float) -> set[tuple[int, ...]]:
    """Nodes by type that serve a demand in every state; a unit is in one of its ways, or there is none."""
    names = [each.name for each in question.node_types]
    stock = {each.name: each.available for each in question.node_types}
    choices: list[list[tuple[dict[str, int], int, float]]] = []  # nodes, units, each unit's rate
    for name in names:
        if (service, name) in question.capacities:
            qps = question.capacities[service, name].low_qps
            choices.append([({name: n}, n, qps) for n in range(stock[name] + 1)])
    for unit in question.mixed:
        if unit.service != service:
            continue
        main, holder = unit.node_types
        found: list[tuple[dict[str, int], int, float]] = [({}, 0, 0.0)]
        for way in question.ways_of(service, unit.name):
            shards = way.capacity.num_nodes - 1
            for n in range(1, min(stock[main], stock[holder] // shards) + 1):
                found.append(({main: n, holder: n * shards}, n, way.capacity.low_qps))
        choices.append(found)
    kinds = [1] * (len(choices) - sum(each.service == service for each in question.mixed))
    kinds += [2] * (len(choices) - len(kinds))
    result = set()
    for chosen in itertools.product(*choices):
        served = [
            sum(
                left(units, question, failure, kind) * qps * (1 - free)
                for (_, units, qps), kind in zip(chosen, kinds, strict=True)
            )
            for failure, free in states(question.provision)
        ]
        if min(served) >= demand * (1 - 1e-9):
            result.add(tuple(sum(nodes.get(name, 0) for nodes, _, _ in chosen) for name in names))
    return result


@pytest.mark.parametrize("first", range(0, NUM_FLEETS, 240))
def test_main_nodes_and_their_shards_cost_what_trying_every_count_finds(first: int) -> None:
    feasible = in_shards = 0
    for seed in range(first, first + 240):
        question = sharded(seed)
        if question is None:
            continue
        found = found_as_tried(question, covers, seed)
        if found is None:
            continue
        provisioned = found.provisioned
        cost = cost_of(question, list(provisioned.by_type.values()), 300.0)
        assert cost == pytest.approx(found.objective_value)
        feasible += 1
        in_shards += any("+" in each.node_type for each in provisioned.placements)
    assert feasible > 5
    assert in_shards > 3
