"""All ways to cover one service's demand that cost little more than its cheapest, as scarce types see them.

Of a type that is not scarce nobody needs to know how many a cover takes: beside a cover that takes as few of
every scarce type and costs as little, another one is never needed. Types are taken one after the other, those
that are not scarce first. Of partial covers by these, one that leaves more and costs no less than another is
left out; of all, those that even the cheapest rest, whole numbers apart, makes too dear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

EXACT = 1e-9
"""Part of a demand that is nothing. [1]"""

MOST_PARTIAL = 2_000_000
"""Partial covers at a time, before any is left out: some hundred megabytes."""


class Asked(NamedTuple):
    """A demand and what may cover it, by type.

    Attributes
    ----------
    parts : (types,) float
        Of the demand, that one node left carries. [1]
    prices : (types,) float
        Of a node.
    costs : (types,) float
        What one node less saves at least; its price, where it is not scarce.
    limits : (types,) int
        Nodes left, at most.
    is_scarce : (types,) bool
        Whether it matters how many of it a cover takes.
    need : (nodes left,) int
        Nodes that it takes until so many are left.
    slope : float
        The least of them for each one left.
    """

    parts: FloatArray
    prices: FloatArray
    costs: FloatArray
    limits: IntArray
    is_scarce: BoolArray
    need: IntArray
    slope: float


def near_covers(asked: Asked, most_cost: float, most: int) -> IntArray | None:
    """Ways to cover a demand that cost at most so much: (ways, types) nodes left; None: more than `most`.

    Priced, that is: for each of those that are left out there is one here that takes at most as many of every
    scarce type, and costs no more.

    Examples
    --------
    Five nodes of one type or two of another, which is scarce, and of which each costs 9 for all its price:

    >>> parts, prices, costs = np.array([0.2, 0.5]), np.array([6.0, 14.0]), np.array([6.0, 9.0])
    >>> asked = Asked(parts, prices, costs, np.array([9, 9]), np.array([False, True]), np.arange(10), 1.0)
    >>> near_covers(asked, 32.0, 100).tolist()
    [[0, 2], [3, 1], [5, 0]]
    """
    order = sorted(
        range(len(asked.parts)),
        key=lambda t: (bool(asked.is_scarce[t]), -asked.prices[t] / asked.parts[t]),
    )
    rest, cost = np.ones(1), np.zeros(1)
    lefts = np.zeros((1, len(order)), dtype=np.int64)
    for position, node_type in enumerate(order):
        part, price = float(asked.parts[node_type]), float(asked.prices[node_type])
        fill = np.maximum(0, np.ceil(rest / part - EXACT)).astype(np.int64)
        after = order[position + 1 :]
        if after:
            most_left = np.minimum(fill, asked.limits[node_type])
            if int(most_left.sum()) + len(most_left) > MOST_PARTIAL:
                return None
            of = np.repeat(np.arange(len(rest)), most_left + 1)
            left = np.arange(len(of)) - np.repeat(np.cumsum(most_left + 1) - most_left - 1, most_left + 1)
        else:
            of = np.flatnonzero(fill <= asked.limits[node_type])
            left = fill[of]
        still = rest[of] - left * part
        still[still <= EXACT] = 0.0
        with_it = cost[of] + price * asked.need[left]
        near = with_it + _least_of_rest(asked, after, still) <= most_cost
        of, left, rest, cost = of[near], left[near], still[near], with_it[near]
        if not asked.is_scarce[node_type]:
            best = _staircase(rest, cost)
            of, left, rest, cost = of[best], left[best], rest[best], cost[best]
        if len(of) > MOST_PARTIAL // 10:
            return None
        lefts = lefts[of]
        lefts[:, node_type] = left
    if len(lefts) > most:
        return None
    nodes = asked.need[lefts]
    return lefts[undominated(nodes[:, asked.is_scarce], nodes @ asked.costs)]


def undominated(takes: IntArray, cost: FloatArray) -> IntArray:
    """Indices, by cost, of what takes less of something, or costs less, than each of the others.

    Examples
    --------
    >>> undominated(np.array([[2, 0], [0, 1], [2, 1]]), np.array([5.0, 6.0, 7.0])).tolist()
    [0, 1]
    """
    indices = np.lexsort((*takes.T[::-1], cost))
    takes = takes[indices]
    kept = []
    while len(indices):
        kept.append(int(indices[0]))
        others = (takes < takes[0]).any(axis=1)
        takes, indices = takes[others], indices[others]
    return np.array(kept, dtype=np.int64)


def _least_of_rest(asked: Asked, types: Sequence[int], rest: FloatArray) -> FloatArray:
    """What the rest of a demand costs at least, whole numbers apart; infinite where types do not do."""
    by_part = sorted(types, key=lambda t: asked.prices[t] / asked.parts[t])
    room = [float(asked.limits[t] * asked.parts[t]) for t in by_part]
    cost = [asked.slope * float(asked.limits[t] * asked.prices[t]) for t in by_part]
    covered, paid = np.cumsum([0.0, *room]), np.cumsum([0.0, *cost])
    least = np.interp(rest, covered, paid)
    return np.where(rest > covered[-1] + EXACT, np.inf, least)


def _staircase(rest: FloatArray, cost: FloatArray) -> IntArray:
    """Indices of what leaves less than all that cost as little."""
    order = np.lexsort((rest, cost))
    least = np.minimum.accumulate(rest[order])
    return order[np.append(True, least[1:] < least[:-1])] if len(order) else order
