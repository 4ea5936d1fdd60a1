"""Covers near the cheapest: none is missing that another one does not make needless."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from perfmodel.planning.plan.near_covers import Asked, near_covers, undominated


def drawn(seed: int) -> tuple[Asked, float]:
    """Types of round parts, so that sums that are just enough occur; a zone of two may be lost."""
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 4))
    costs = draw.integers(1, 6, count).astype(float)
    is_scarce = draw.random(count) < 0.5
    limits = draw.integers(1, 6, count)
    need = np.arange(7) * 2 - (np.arange(7) > 2) if seed % 2 else np.arange(7)
    asked = Asked(
        parts=draw.choice([0.1, 0.2, 0.25, 0.5, 1.0], count),
        prices=np.where(is_scarce, costs + draw.integers(1, 4, count), costs),
        costs=costs,
        limits=limits,
        is_scarce=is_scarce,
        need=need,
        slope=float((need[1:] / np.arange(1, 7)).min()),
    )
    return asked, float(draw.integers(4, 40))


@pytest.mark.parametrize("seed", range(60))
def test_every_cover_at_most_so_dear_is_there_or_made_needless(seed: int) -> None:
    asked, most_cost = drawn(seed)
    found = near_covers(asked, most_cost, 10_000)
    assert found is not None
    takes = asked.need[found]
    for left, nodes in zip(found, takes, strict=True):
        assert left @ asked.parts >= 1.0 - 1e-9
        assert nodes @ asked.prices <= most_cost
        assert (left <= asked.limits).all()
    for left in itertools.product(*(range(limit + 1) for limit in asked.limits.tolist())):
        nodes = asked.need[list(left)]
        if left @ asked.parts < 1.0 - 1e-9 or nodes @ asked.prices > most_cost:
            continue
        as_few = (takes[:, asked.is_scarce] <= nodes[asked.is_scarce]).all(axis=1)
        assert (as_few & (takes @ asked.costs <= nodes @ asked.costs + 1e-9)).any(), left


def test_covers_that_others_make_needless_are_left_out() -> None:
    for seed in range(60):
        asked, most_cost = drawn(seed)
        found = near_covers(asked, most_cost, 10_000)
        assert found is not None
        nodes = asked.need[found]
        assert len(undominated(nodes[:, asked.is_scarce], nodes @ asked.costs)) == len(found)


def test_too_many_covers_are_none() -> None:
    asked = Asked(
        np.full(3, 0.05), np.ones(3), np.ones(3), np.full(3, 30), np.full(3, True), np.arange(31), 1.0
    )
    assert near_covers(asked, 20.0, 231) is not None  # three numbers that add up to 20: 22 over 2
    assert near_covers(asked, 20.0, 230) is None
