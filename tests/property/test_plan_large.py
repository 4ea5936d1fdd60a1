"""Programmes that are solved service by service: what they find holds, and lies between bound and optimum."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isclose

import numpy as np
import pytest

from benchmarks.plan import CASES, large_fleet
from perfmodel.planning.plan import decomposition
from perfmodel.planning.plan.check import violations
from perfmodel.planning.plan.decomposition import can_decompose, rates_by_type, solve_large, worth_of_type
from perfmodel.planning.plan.optimum import best, placements_of
from perfmodel.planning.plan.programme import GAP, solve
from tests.property.test_plan_brute_force import drawn


def cost_of(programme, nodes) -> float:  # type: ignore[no-untyped-def]
    used = np.zeros(len(programme.stock))
    for count, group in zip(nodes, programme.groups, strict=True):
        used[group.node_type] += count
    own = np.minimum(used, programme.owned)
    tie = programme.tie_weight * programme.tie
    return float((own * programme.cost + (used - own) * programme.bought_cost + used * tie).sum())


@pytest.mark.thorough
@pytest.mark.parametrize("steps", [5_000, 1], ids=["covers", "node by node"])
def test_small_fleets_by_service_lie_between_their_bound_and_the_optimum(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one step no service's covers are all found, and each is chosen for node by node."""
    monkeypatch.setattr(
        decomposition, "EFFORTS", [each._replace(steps=steps) for each in decomposition.EFFORTS]
    )
    compared = close = proved = 0
    for seed in range(250):
        question = drawn(seed)
        programme = question.programme(question.peak_qps)
        if not can_decompose(programme):
            continue
        exact, found = solve(programme), solve_large(programme)
        if exact.units is None:
            assert found.units is None, seed
            continue
        assert found.status != "infeasible", seed
        optimum = cost_of(programme, exact.units)
        assert found.bound <= optimum * (1 + 1e-9) + 1e-9, seed
        if found.units is not None:
            cost = cost_of(programme, found.units)
            assert cost >= optimum * (1 - 1e-9), seed
            demands = {s.name: float(q) for s, q in zip(question.services, question.peak_qps, strict=True)}
            assert violations(question, demands, placements_of(question, programme, found)) == [], seed
            close += isclose(cost, optimum, rel_tol=1e-6)
            proved += found.bound >= optimum * (1 - GAP)
        compared += 1
    assert compared > 60
    assert close > 0.8 * compared
    assert proved > 0.8 * compared


@pytest.mark.parametrize("hour", [8, pytest.param(20, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("provision", CASES.values(), ids=CASES)
def test_a_large_fleet_is_planned_to_a_tenth_of_a_per_cent(
    provision: dict[str, object], seed: int, hour: int
) -> None:
    question = large_fleet(seed, provision)
    found = best(question, question.planned_qps(hour))
    assert found is not None
    assert found.lower_bound <= found.objective_value
    assert found.gap <= 1e-3


@pytest.mark.thorough
def test_few_covers_prove_a_choice_that_prices_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanges come to 0.14 % of the bound of the prices; near that there are 535 covers."""
    choose, asked = decomposition._Large.chosen_of, []

    def chosen_of(large, columns, whole, most_cost=inf):  # type: ignore[no-untyped-def]
        asked.append((len(columns.owners), most_cost))
        return choose(large, columns, whole, most_cost)

    monkeypatch.setattr(decomposition._Large, "chosen_of", chosen_of)
    question = large_fleet(0, CASES["and a node of each type lost"])
    found = best(question, question.planned_qps(4))
    assert found is not None
    assert found.gap <= 1e-3
    ((num_covers, most_cost),) = asked
    assert num_covers < 250
    assert found.lower_bound == pytest.approx(most_cost)


def test_a_type_is_worth_what_a_query_costs_elsewhere() -> None:
    question = large_fleet(0, {})
    programme = question.programme(question.planned_qps(8))
    plenty = replace(
        programme, stock=np.full(len(programme.stock), 100_000), owned=np.full(len(programme.stock), 100_000)
    )
    worth = worth_of_type(plenty, 0)
    rates = rates_by_type(programme)
    cheapest = (programme.cost[1:] / rates[:, 1:]).min(axis=1)
    assert worth == pytest.approx(float((cheapest * rates[:, 0]).max()))
