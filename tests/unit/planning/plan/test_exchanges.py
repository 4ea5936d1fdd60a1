"""A choice of one cover a service by exchanges, held against all choices."""

from __future__ import annotations

from itertools import product

import numpy as np

from perfmodel.planning.plan.exchanges import Offers, Resources, fitting_choice


def cost_of(used: np.ndarray, there_is: Resources) -> float:
    """The owned ones first; infinite beyond what there is."""
    if (used > there_is.most).any():
        return float("inf")
    own = np.minimum(used, there_is.owned)
    return float((own * there_is.cost + (used - own) * there_is.bought_cost).sum())


def test_choices_fit_and_are_nearly_always_the_best() -> None:
    best = found_none = feasible = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        owners = np.repeat(np.arange(4), 5)
        used = rng.integers(0, 6, (20, 3)).astype(float)
        most = used.sum(axis=0) * rng.uniform(0.1, 0.3)
        bought = rng.integers(1, 9, 3).astype(float)
        there_is = Resources(most, np.floor(most / 2), bought * rng.uniform(0.5, 1.5), bought)
        costs = [
            cost_of(used[list(choice)].sum(axis=0), there_is)
            for choice in product(*(range(5 * s, 5 * s + 5) for s in range(4)))
        ]
        found = fitting_choice(Offers(used, owners, used @ bought), there_is, 0.0)
        if min(costs) == float("inf"):
            assert found is None, seed
            continue
        feasible += 1
        if found is None:
            found_none += 1
            continue
        assert owners[found].tolist() == [0, 1, 2, 3], seed
        cost = cost_of(used[found].sum(axis=0), there_is)
        assert cost >= min(costs)
        best += cost <= min(costs) * (1 + 1e-9)
    assert feasible > 30
    assert best > 0.9 * feasible, (best, found_none, feasible)


def test_nodes_that_cost_nothing_are_fined_too() -> None:
    """A fine that is a multiple of a price of 0 would never make them fit."""
    used = np.array([[2.0], [1.0], [2.0], [1.0]])
    there_is = Resources(np.array([3.0]), np.zeros(1), np.zeros(1), np.zeros(1))
    found = fitting_choice(Offers(used, np.array([0, 0, 1, 1]), np.zeros(4)), there_is, -1.0)
    assert found is not None
    assert used[found].sum() <= 3.0
