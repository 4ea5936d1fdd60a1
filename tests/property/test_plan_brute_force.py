"""Small fleets: the plan is what trying every count finds, by arithmetic written for this test alone."""

from __future__ import annotations

import itertools
import math
import random
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from perfmodel.domain.provision import Provision
from perfmodel.planning.plan.check import violations
from perfmodel.planning.plan.optimum import best
from perfmodel.planning.plan.question import PairCapacity, PlanQuestion, Service, StockedType

NUM_FLEETS = 500
AT_A_TIME = 50


def drawn(seed: int, **provision: Any) -> PlanQuestion:
    """A small fleet: round numbers, so that sums that are just enough occur."""
    rng = random.Random(seed)
    sharing = rng.random() < 0.3
    num_services, num_types = rng.choice([(1, 1), (1, 3), (2, 2), (2, 3), (3, 2)])
    types = []
    for index in range(num_types):
        available = rng.randint(1, 3 if num_services * num_types == 6 else 7)
        price = rng.choice([0.5, 1.0, 1.5, 2.0, 3.0])
        tdp_w = float(rng.choice([100, 150, 200, 250, 400]))
        types.append(
            StockedType(
                name=f"t{index}",
                owned=available if rng.random() < 0.5 else rng.randint(0, available),
                available=available,
                price_usd_per_h=price,
                buy_price_usd_per_h=rng.choice([None, 0.5 * price, 1.4 * price, 2 * price]),
                power_cap_w=math.inf if rng.random() < 0.8 else tdp_w * rng.randint(1, 4) + 1.0,
                tdp_w=tdp_w,
                idle_w=0.25 * tdp_w * (1 + index),
                peak_w=0.25 * tdp_w * (1 + index) + 50.0 * rng.randint(0, 4),
            )
        )
    hours = (0, 1)
    services = tuple(
        Service(
            f"s{index}",
            tuple(float(rng.choice([200, 500, 900, 1000, 1800, 2700])) for _ in hours),
            rng.choice([0.0, 0.0, 0.1]),
        )
        for index in range(num_services)
    )
    capacities = {
        (service.name, node_type.name): PairCapacity(qps=qps, low_qps=qps)
        for service in services
        for node_type in types
        for qps in [float(rng.choice([500, 900, 1000, 1500, 3000]))]
        if rng.random() < 0.9
    }
    headroom = rng.choice([0.0, 0.0, 0.1, 0.25])
    failures: dict[str, Any] | None = rng.choice(
        [None, None, {"nodes": 1}, {"nodes": 2}, {"zones": 2}, {"zones": 3}]
    )
    asked = {
        "objective": rng.choice(["nodes", "power", "price", "carbon"]),
        "grid_g_per_kwh": 300.0,
        "confidence": rng.choice([0.5, 0.9]),
        "headroom": headroom,
        "headroom_in_failure": rng.choice([None, None, 0.0, headroom / 2]),
        "maintenance": rng.choice([0.0, 0.0, 0.0, 0.1, 0.25]),
        "failures": failures,
        "power_cap_w": rng.choice([None, None, 900.0, 1500.0, 2500.0]),
        "sharing": sharing,
        **provision,
    }
    return PlanQuestion(
        name="drawn",
        services=services,
        node_types=tuple(types),
        hours=hours,
        capacities=capacities,
        refused={},
        provision=Provision.model_validate(asked),
        grid_g_per_kwh=(200.0, 400.0),
    )


def left_of(nodes: int, provision: Provision, failure: str | None) -> int:
    nodes -= math.ceil(provision.maintenance * nodes - 1e-9)
    if failure == "nodes":
        assert provision.failures is not None
        return max(0, nodes - provision.failures.nodes)
    if failure == "zones":
        assert provision.failures is not None
        assert provision.failures.zones
        return nodes - math.ceil(nodes / provision.failures.zones)
    return nodes


def states(provision: Provision) -> list[tuple[str | None, float]]:
    in_failure = (
        provision.headroom if provision.headroom_in_failure is None else provision.headroom_in_failure
    )
    found: list[tuple[str | None, float]] = [(None, provision.headroom)]
    if provision.failures and provision.failures.nodes:
        found.append(("nodes", in_failure))
    if provision.failures and provision.failures.zones:
        found.append(("zones", in_failure))
    return found


def cost_of(question: PlanQuestion, used: list[int], grid: float) -> float:
    watts = sum(n * (t.tdp_w or 0.0) for n, t in zip(used, question.node_types, strict=True))
    match question.provision.objective:
        case "nodes":
            return float(sum(used))
        case "power":
            return watts
        case "carbon":
            return watts / 1000 * grid
    total = 0.0
    for n, t in zip(used, question.node_types, strict=True):
        assert t.price_usd_per_h is not None
        buy = t.price_usd_per_h if t.buy_price_usd_per_h is None else t.buy_price_usd_per_h
        total += min(n, t.owned) * t.price_usd_per_h + max(0, n - t.owned) * buy
    return total


def allowed(question: PlanQuestion, used: list[int]) -> bool:
    for n, t in zip(used, question.node_types, strict=True):
        if n > t.available or n * (t.tdp_w or 0.0) > t.power_cap_w:
            return False
    cap = question.provision.power_cap_w
    return (
        cap is None
        or sum(n * (t.tdp_w or 0.0) for n, t in zip(used, question.node_types, strict=True)) <= cap
    )


def rate(question: PlanQuestion, service: str, node_type: str) -> float:
    pair = question.capacities.get((service, node_type))
    return 0.0 if pair is None else pair.low_qps


def enough_alone(question: PlanQuestion, service: str, counts: tuple[int, ...], demand: float) -> bool:
    """Every node serves one service: what is left in each state carries the demand."""
    for failure, free in states(question.provision):
        served = sum(
            left_of(n, question.provision, failure) * rate(question, service, t.name) * (1 - free)
            for n, t in zip(counts, question.node_types, strict=True)
        )
        if served < demand * (1 - 1e-9):
            return False
    return True


def enough_shared(question: PlanQuestion, used: tuple[int, ...], demands: list[float]) -> bool:
    """Every node serves all: in each state there is a way to share out its time (a linear programme)."""
    for failure, free in states(question.provision):
        pairs = [
            (i, j)
            for i, s in enumerate(question.services)
            for j, t in enumerate(question.node_types)
            if rate(question, s.name, t.name) > 0
        ]
        time_rows = [
            [
                1 / rate(question, question.services[i].name, question.node_types[j].name) if j == k else 0.0
                for i, j in pairs
            ]
            for k in range(len(used))
        ]
        time = [(1 - free) * left_of(n, question.provision, failure) for n in used]
        demand_rows = [[-1.0 / demands[k] if i == k else 0.0 for i, _ in pairs] for k in range(len(demands))]
        if not pairs:
            return False
        found = linprog(
            [0.0] * len(pairs),
            A_ub=time_rows + demand_rows,
            b_ub=time + [-1.0 + 1e-9] * len(demands),
            method="highs",
        )
        if found.status != 0:
            return False
    return True


def by_trying(question: PlanQuestion, demands: list[float], grid: float) -> float | None:
    types = question.node_types
    least: float | None = None
    if question.provision.sharing:
        every = itertools.product(*(range(t.available + 1) for t in types))
        candidates = sorted(
            (cost_of(question, list(used), grid), used) for used in every if allowed(question, list(used))
        )
        return next((cost for cost, used in candidates if enough_shared(question, used, demands)), None)
    per_service = [
        [
            counts
            for counts in itertools.product(
                *(range(t.available + 1) if rate(question, s.name, t.name) > 0 else (0,) for t in types)
            )
            if enough_alone(question, s.name, counts, demand)
        ]
        for s, demand in zip(question.services, demands, strict=True)
    ]
    for chosen in itertools.product(*per_service):
        used = [sum(column) for column in zip(*chosen, strict=True)]
        cost = cost_of(question, used, grid)
        if (least is None or cost < least) and allowed(question, used):
            least = cost
    return least


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(0, NUM_FLEETS, AT_A_TIME))
def test_small_fleets_cost_what_trying_everything_finds(first: int) -> None:
    feasible = 0
    for seed in range(first, first + AT_A_TIME):
        question = drawn(seed)
        margin = [
            1 + s.error * NormalDist().inv_cdf(question.provision.confidence) for s in question.services
        ]
        peaks = [m * max(s.demand_qps) for m, s in zip(margin, question.services, strict=True)]
        found = best(question, question.peak_qps)
        least = by_trying(question, peaks, grid=300.0)
        if least is None:
            assert found is None, seed
            continue
        assert found is not None, seed
        assert found.objective_value == pytest.approx(least, rel=1e-9), seed
        assert found.gap == 0.0, seed
        demands = {s.name: peak for s, peak in zip(question.services, peaks, strict=True)}
        assert violations(question, demands, found.provisioned.placements) == [], seed
        feasible += 1
    assert feasible > AT_A_TIME / 4


def least_drawn_w(
    question: PlanQuestion, chosen: list[tuple[int, ...]], demands: list[float], *, shared: bool
) -> float:
    """Idle power, and the least that the ordinary day's loads add: a linear programme in queries/s.

    `chosen`: nodes by type, of each service; where they are shared, of all services together.
    """
    p, types, rows = question.provision, question.node_types, range(len(chosen))
    idle_w = sum(n * (t.idle_w or 0.0) for counts in chosen for n, t in zip(counts, types, strict=True))
    loads = [
        (i, 0 if shared else i, j)
        for i, s in enumerate(question.services)
        for j, t in enumerate(types)
        if rate(question, s.name, t.name) > 0
    ]
    rates = [rate(question, question.services[i].name, types[j].name) for i, _, j in loads]
    places = [(r, j) for r in rows for j in range(len(types))]
    found = linprog(
        [
            ((types[j].peak_w or 0.0) - (types[j].idle_w or 0.0)) / qps
            for (_, _, j), qps in zip(loads, rates, strict=True)
        ],
        A_ub=[
            [1 / qps if (r, j) == place else 0.0 for (_, r, j), qps in zip(loads, rates, strict=True)]
            for place in places
        ],
        b_ub=[(1 - p.headroom) * left_of(chosen[r][j], p, None) for r, j in places],
        A_eq=[[float(i == k) for i, _, _ in loads] for k in range(len(demands))],
        b_eq=[demand * (1 - 1e-9) for demand in demands],
        method="highs",
    )
    assert found.status == 0
    return idle_w + float(found.fun)


def by_trying_utilisation(question: PlanQuestion, demands: list[float]) -> float | None:
    types = question.node_types
    if question.provision.sharing:
        every = itertools.product(*(range(t.available + 1) for t in types))
        watts = [
            least_drawn_w(question, [used], demands, shared=True)
            for used in every
            if allowed(question, list(used)) and enough_shared(question, used, demands)
        ]
        return min(watts, default=None)
    least: float | None = None
    per_service = [
        [
            counts
            for counts in itertools.product(
                *(range(t.available + 1) if rate(question, s.name, t.name) > 0 else (0,) for t in types)
            )
            if enough_alone(question, s.name, counts, demand)
        ]
        for s, demand in zip(question.services, demands, strict=True)
    ]
    for chosen in itertools.product(*per_service):
        used = [sum(column) for column in zip(*chosen, strict=True)]
        idle_w = sum(n * (t.idle_w or 0.0) for n, t in zip(used, types, strict=True))
        if (least is None or idle_w < least) and allowed(question, used):
            watts_w = least_drawn_w(question, list(chosen), demands, shared=False)
            least = watts_w if least is None else min(least, watts_w)
    return least


@pytest.mark.thorough
def test_power_by_utilisation_is_the_least_that_trying_everything_finds() -> None:
    feasible = shared = 0
    for seed in range(40):
        question = drawn(seed, objective="power", power="by-utilisation")
        if math.prod(t.available + 1 for t in question.node_types) ** len(question.services) > 5000:
            continue
        margin = [
            1 + s.error * NormalDist().inv_cdf(question.provision.confidence) for s in question.services
        ]
        peaks = [m * max(s.demand_qps) for m, s in zip(margin, question.services, strict=True)]
        found = best(question, question.peak_qps)
        least = by_trying_utilisation(question, peaks)
        if least is None:
            assert found is None, seed
            continue
        assert found is not None, seed
        assert found.objective_value == pytest.approx(least, rel=1e-5), seed
        assert found.objective_value == found.provisioned.power_w
        assert found.is_optimal, seed
        feasible += 1
        shared += question.provision.sharing
    assert feasible > 8
    assert shared > 1


def test_next_to_nothing_that_is_asked_for_is_served_still() -> None:
    """A node that serves 10^9 times as much is a node all the same, and none where nothing is left of it."""
    sharing = 0
    for seed in range(60):
        question = drawn(seed, objective="nodes", power_cap_w=None)
        asked = [1e-6 * (1 + i) for i, _ in enumerate(question.services)]
        found = best(question, np.array(asked))
        least = by_trying(
            question, [1.0 for _ in asked], grid=300.0
        )  # that many: one query/s is next to none too
        assert (None if found is None else found.objective_value) == least, seed
        sharing += question.provision.sharing and least is not None and len(asked) > 1
    assert sharing > 3
