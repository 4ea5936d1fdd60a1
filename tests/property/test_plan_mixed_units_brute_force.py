"""Units of several node types, one for each stage: the plan is what trying every count finds."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest

from perfmodel.domain.provision import Failures
from perfmodel.planning.plan.autoscaler import simulated_autoscaler
from perfmodel.planning.plan.check import Placement, violations
from perfmodel.planning.plan.question import MixedUnit, PairCapacity, PlanQuestion
from tests.property.test_plan_brute_force import cost_of, drawn, states
from tests.property.test_plan_units_brute_force import found_as_tried

NUM_FLEETS = 240


def mixed(seed: int) -> PlanQuestion | None:
    """A small fleet, of whose services some have units of two or three of its types; None: of one type."""
    question, rng = drawn(seed, sharing=False, power="static"), random.Random(seed + 20_000)
    names = [each.name for each in question.node_types]
    if len(names) == 1 or len(question.services) * len(names) > 4:
        return None
    capacities, units = dict(question.capacities), []
    for service in question.services:
        if rng.random() < 0.7:
            types = tuple(rng.sample(names, 2)) if rng.random() < 0.6 else (names[0], names[1], names[0])
            unit = MixedUnit(f"{service.name} over {len(types)}", service.name, types)
            qps = float(rng.choice([500, 1000, 2400, 3000, 6000]))
            for name in names if rng.random() < 0.6 else ():
                capacities.pop((service.name, name), None)
            capacities[service.name, unit.name] = PairCapacity(qps=qps, low_qps=qps, num_nodes=len(types))
            units.append(unit)
    types_there = tuple(
        replace(each, available=each.available + rng.choice([0, 2])) for each in question.node_types
    )
    return replace(question, capacities=capacities, mixed=tuple(units), node_types=types_there)


def left(units: int, question: PlanQuestion, failure: str | None, kinds: int) -> int:
    """By the words of the page: each type of a unit loses its nodes, each in another unit."""
    asked = question.provision
    serving = units - math.ceil(asked.maintenance * units - 1e-9)
    if failure == "nodes":
        return max(0, serving - kinds * asked.failures.nodes)
    return serving - math.ceil(serving / asked.failures.zones) if failure == "zones" else serving


def covers(question: PlanQuestion, service: str, demand: float) -> set[tuple[int, ...]]:
    """Nodes by type that serve a demand in every state."""
    names = [each.name for each in question.node_types]
    stock = {each.name: each.available for each in question.node_types}
    kinds = [{name: 1} for name in names if (service, name) in question.capacities]
    rates = [
        question.capacities[service, name].low_qps for name in names if (service, name) in question.capacities
    ]
    for unit in question.mixed:
        if unit.service == service:
            kinds.append({name: unit.node_types.count(name) for name in set(unit.node_types)})
            rates.append(question.capacities[service, unit.name].low_qps)
    ranges = [range(min(stock[name] // n for name, n in kind.items()) + 1) for kind in kinds]
    found = set()
    for counts in itertools.product(*ranges):
        served = [
            sum(
                left(count, question, failure, len(kind)) * qps * (1 - free)
                for count, kind, qps in zip(counts, kinds, rates, strict=True)
            )
            for failure, free in states(question.provision)
        ]
        if min(served) >= demand * (1 - 1e-9):
            used = (
                sum(count * kind.get(name, 0) for count, kind in zip(counts, kinds, strict=True))
                for name in names
            )
            found.add(tuple(used))
    return found


@pytest.mark.parametrize("first", range(0, NUM_FLEETS, 120))
def test_units_of_several_types_cost_what_trying_every_count_finds(first: int) -> None:
    feasible = in_mixed = 0
    for seed in range(first, first + 120):
        question = mixed(seed)
        if question is None:
            continue
        found = found_as_tried(question, covers, seed)
        if found is None:
            continue
        provisioned = found.provisioned
        cost = cost_of(question, list(provisioned.by_type.values()), 300.0)
        assert cost == pytest.approx(found.objective_value)
        assert sum(provisioned.by_type.values()) == provisioned.num_nodes
        assert simulated_autoscaler(question, provisioned).nodes is not None
        feasible += 1
        in_mixed += any("over" in each.node_type for each in provisioned.placements)
    assert feasible > 15
    assert in_mixed > 5


def test_the_check_counts_units_of_several_types_by_its_own_words() -> None:
    """Two of a, one of b: four units take 8 and 4 nodes; one lost of each type leaves two of them."""
    drawn_one = drawn(0, sharing=False, power="static")
    service = drawn_one.services[0]._replace(name="s", demand_qps=(200.0,), error=0.0)
    types = tuple(
        replace(drawn_one.node_types[0], name=name, owned=8, available=8, power_cap_w=math.inf)
        for name in "ab"
    )
    question = replace(
        drawn_one,
        services=(service,),
        node_types=types,
        hours=(0,),
        mixed=(MixedUnit("u", "s", ("a", "b", "a")),),
        capacities={("s", "u"): PairCapacity(qps=100.0, low_qps=100.0, num_nodes=3)},
    ).asking(
        failures=Failures(nodes=1),
        headroom=0.0,
        headroom_in_failure=None,
        maintenance=0.0,
        power_cap_w=None,
        objective="nodes",
    )
    placed = Placement("u", ("s",), 12, unit_nodes=3)
    assert violations(question, {"s": 200.0}, [placed]) == []
    short = violations(question, {"s": 201.0}, [placed])
    assert len(short) == 1
    assert "queries/s are served" in short[0]
    too_many = violations(question, {"s": 1.0}, [placed._replace(nodes=15)])
    assert too_many == ["a: 10 nodes of 8 available"]
