"""One cover for each service, such that stock and power allow all: found by exchanging one or two at a time.

Each step makes the exchange that lowers the cost most, nodes beyond what there is paid for by a fine; where
none lowers it and there still are too many of something, its fine rises. Beginnings are each service's
cheapest cover under other first fines, then the best choice so far with some covers drawn at random, always
the same ones. That proves nothing; a bound from elsewhere says how good the choice is.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FIRST_FINES = (0.3, 2.0, 1.0)
"""Of something that there is too little of, over the dearest node: one after the other. [1]"""

FINE_STEP = 1.5
MOST_FINES = 30
"""How much a fine rises, and how often within one beginning. [1], []"""

BEGINNINGS = 32
DRAWN = 6
"""Beginnings in all, and covers that each after the first ones draws."""

MOST_PAIRED = 120
"""Covers that are exchanged in pairs: those that cost the least more than their service's cheapest."""

LESS = 1e-9
"""Relative: an exchange that lowers the cost by less is none. [1]"""


class Offers(NamedTuple):
    """Covers to choose from.

    Attributes
    ----------
    used : (covers, resources) float
        What each takes: nodes by type, and watts where they are limited.
    owners : (covers,) int
        The service that each is of; every service has at least one.
    extra : (covers,) float
        What each costs more than its service's cheapest, at the prices of the bound.
    """

    used: FloatArray
    owners: IntArray
    extra: FloatArray


class Resources(NamedTuple):
    """Of each resource: what there is, what of that is owned, and the cost of an owned and of another one."""

    most: FloatArray
    owned: FloatArray
    cost: FloatArray
    bought_cost: FloatArray

    def costs(self, used: FloatArray) -> FloatArray:
        """What so much of each costs; the last axis is that of resources."""
        return used @ self.bought_cost + np.minimum(used, self.owned) @ (self.cost - self.bought_cost)


def fitting_choice(offers: Offers, resources: Resources, enough: float) -> IntArray | None:
    """A choice of one cover a service, by index, at little cost; None: none that fits was found.

    Parameters
    ----------
    enough : float
        A cost from which on no more beginnings are drawn; each first fine is tried in any case.

    Examples
    --------
    Two services of which each would take both nodes of the only type that is cheap:

    >>> used = np.array([[2.0, 0.0], [0.0, 3.0], [2.0, 0.0], [0.0, 2.0]])
    >>> offers = Offers(used, np.array([0, 0, 1, 1]), np.array([0.0, 4.0, 0.0, 2.0]))
    >>> there_is = Resources(np.array([2.0, 9.0]), np.zeros(2), np.ones(2), np.array([1.0, 2.0]))
    >>> fitting_choice(offers, there_is, 0.0).tolist()
    [0, 3]
    """
    search = _Search(offers, resources)
    draw = np.random.default_rng(0)
    for beginning in range(BEGINNINGS):
        if beginning >= len(FIRST_FINES) and search.best_cost <= enough:
            break
        search.fine(FIRST_FINES[beginning % len(FIRST_FINES)])
        if beginning < len(FIRST_FINES) or search.best is None:
            search.chosen = search.cheapest.copy()
        else:
            search.chosen = search.best.copy()
            search.draw_some(draw)
        search.improve()
    return search.best


class _Search:
    """The choice at hand, the best that fits, and the fines."""

    def __init__(self, offers: Offers, resources: Resources) -> None:
        self.offers, self.resources = offers, resources
        by_extra = np.lexsort((offers.extra, offers.owners))
        owners, first = np.unique(offers.owners[by_extra], return_index=True)
        assert len(owners) == owners[-1] + 1, "each service has a cover"
        self.cheapest: IntArray = by_extra[first]
        self._of_service = np.split(by_extra, first[1:])
        self._paired = np.argsort(offers.extra, kind="stable")[:MOST_PAIRED]
        of_paired = offers.owners[self._paired]
        self._same_service = of_paired[:, None] == of_paired[None, :]
        self.chosen: IntArray = self.cheapest.copy()
        self.best: IntArray | None = None
        self.best_cost = inf
        self._fines: FloatArray = np.zeros(len(resources.most))

    def fine(self, over_dearest: float) -> None:
        """Begin with fines of so many times what the dearest node costs."""
        dearest = float(max(self.resources.cost.max(), self.resources.bought_cost.max(), 1e-9))
        self._fines[:] = over_dearest * dearest

    def draw_some(self, draw: np.random.Generator) -> None:
        """Draw covers of some services."""
        for service in draw.integers(0, len(self.chosen), DRAWN).tolist():
            self.chosen[service] = draw.choice(self._of_service[service])

    def improve(self) -> None:
        """Exchange until nothing lowers the cost and all fits, or fines no longer help."""
        raised = 0
        while raised <= MOST_FINES:
            used = self.offers.used[self.chosen].sum(axis=0)
            over = used > self.resources.most
            if not over.any():
                self._keep(float(self.resources.costs(used)))
            if self._exchange(used):
                continue
            if not over.any():
                return
            self._fines[over] *= FINE_STEP
            raised += 1

    def _keep(self, cost: float) -> None:
        if cost < self.best_cost:
            self.best_cost, self.best = cost, self.chosen.copy()

    def _exchange(self, used: FloatArray) -> bool:
        """Make the best exchange of one cover, or else of two; false: none lowers the cost."""
        offers = self.offers
        least = float(self._fined(used))
        least -= LESS * abs(least)
        change = offers.used - offers.used[self.chosen[offers.owners]]
        costs = self._fined(used + change)
        one = int(costs.argmin())
        if costs[one] < least:
            self.chosen[offers.owners[one]] = one
            return True
        costs = self._fined_pairs(used, change[self._paired])
        costs[self._same_service] = inf
        first, second = divmod(int(costs.argmin()), len(costs))
        if costs[first, second] >= least:
            return False
        for index in (self._paired[first], self._paired[second]):
            self.chosen[offers.owners[index]] = index
        return True

    def _fined(self, used: FloatArray) -> FloatArray:
        """Cost with fines; the last axis is that of resources."""
        beyond = np.maximum(0.0, used - self.resources.most)
        return np.asarray(self.resources.costs(used) + beyond @ self._fines)

    def _fined_pairs(self, used: FloatArray, change: FloatArray) -> FloatArray:
        """The same of each two changes together; by resource, as all at once takes six times as long."""
        there_is, alone = self.resources, change @ self.resources.bought_cost
        costs: FloatArray = np.add.outer(alone + float(used @ there_is.bought_cost), alone)
        owned_less = there_is.cost - there_is.bought_cost
        most_used = used + 2.0 * change.max(axis=0)
        for index, of in enumerate(change.T):
            if owned_less[index]:
                owned = np.minimum(np.add.outer(used[index] + of, of), there_is.owned[index])
                costs += owned_less[index] * owned
            if most_used[index] > there_is.most[index]:
                beyond = np.add.outer(used[index] - there_is.most[index] + of, of)
                np.maximum(beyond, 0.0, out=beyond)
                beyond *= self._fines[index]
                costs += beyond
        return costs
