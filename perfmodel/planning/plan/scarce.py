"""The choice among covers where only scarce types matter: small integer programmes that prove most gaps.

A plan with a cover that costs x more than its service's cheapest costs at least x more than the bound of the
prices. So a cheaper plan than the one at hand, by more than the gap that is allowed, is made of covers that
together cost no more beyond their services' cheapest than what the gap leaves over that bound. Of these, all
that matters is how many they take of the types that are scarce: those of which a node's price is above what
it @@
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from perfmodel.planning.plan.near_covers import Asked, BoolArray, near_covers
from perfmodel.planning.plan.programme import GAP, FloatArray, IntArray, charge
from perfmodel.planning.plan.separable import EXACT, Priced, Separable
from perfmodel.planning.plan.solver import Effort, Rows, Variables, solved

FIRST_EXCESS, MORE_EXCESS, MOST_EXCESS = 5e-5, 2.0, 4e-3
"""Over the bound: how much more than its service's cheapest a cover may cost at first, how many times more
where that leaves few covers, and at most. [1]"""

MOST_COVERS = (600, 2_500, 10_000)
MOST_SHARE = 0.15
MOST_OF_SERVICE = 100_000
"""In the programmes, one after the other; the share of these that one service may have; and of one service
before those that others make needless go. [], [1], []"""

SOLVER_GAP = 8e-4
SOLVER_NODES, SOLVER_S = 200, 30.0
"""Of one programme: the gap at which it stops, nodes of its branch and bound, so that a busy machine chooses
alike, and a time that it hardly ever takes. [1], [], [s]"""

FINE_GAP, LEAST_BETTER, MOST_FINE = 2e-4, 1e-5, 600
"""Where few covers have no choice that is better by the gap allowed, a slightly better one is looked for
among them: what is then to be proved takes fewer. [1], [1], []"""


class Few(NamedTuple):
    """Covers to choose from.

    Attributes
    ----------
    owners : (covers,) int
        The service of each.
    nodes : (covers, types) int
        What each takes.
    known : float
        There is no other one, as far as scarce types matter, that costs at most so much more than its
        service's cheapest.
    """

    owners: IntArray
    nodes: IntArray
    known: float


Exchange = Callable[[Few, float], IntArray | None]
"""Finds a choice of one cover a service without a solver, near a bound; None: none that fits."""


def closed_by_scarce(
    large: Separable, priced: Priced, chosen: IntArray | None, bound: float, exchanged: Exchange
) -> tuple[IntArray | None, float]:
    """A choice and a bound as close to each other as is asked for, as far as small programmes go.

    Each asks for a choice that would be close enough to the bound so far, or that the one at hand is not
    close enough to. That there is none proves that much where all covers are known that it could be made of.
    """
    scarce, excess = _Scarce(large, priced), FIRST_EXCESS * max(priced.bound, 0.0)
    asked = [(most, gap) for most in MOST_COVERS for gap in (SOLVER_GAP, FINE_GAP)]
    while asked and not large.is_close(chosen, bound):
        most, gap = asked.pop(0)
        few, excess = scarce.about(most, excess, large.closest(chosen) - priced.bound)
        if few is None:
            break
        chosen = large.cheaper(chosen, exchanged(few, bound))
        if large.is_close(chosen, bound):
            break
        most_cost = large.closest(chosen)
        if priced.bound + few.known < most_cost:
            most_cost = max(most_cost, bound * (1.0 + GAP))
        if gap == FINE_GAP and chosen is not None:
            most_cost = large.cost(chosen) * (1.0 - LEAST_BETTER)
        better, least = scarce.choice(few, most_cost, gap)
        bound = max(bound, min(priced.bound + few.known, most_cost, least))
        if better is not None and scarce.beyond(better):
            asked.insert(0, (most, gap))
            continue
        chosen = large.cheaper(chosen, better)
        if asked and (better is not None or most > MOST_FINE) and gap == SOLVER_GAP:
            asked.pop(0)
    return chosen, bound


class _Scarce:
    """A large programme at prices, and which of its types are scarce."""

    def __init__(self, large: Separable, priced: Priced) -> None:
        self.large, self.priced = large, priced
        programme = large.programme
        self.least = large.least_prices(0.0)
        mixed = (programme.owned > 0) & (programme.owned < large.stock)
        either = np.minimum(programme.cost, programme.bought_cost) + programme.tie_weight * programme.tie
        self.saved: FloatArray = np.where(mixed, either, large.first_prices())
        """What a node less of a type saves at least."""
        self.is_scarce: BoolArray = priced.prices > large.least_prices(priced.watt_price) * (1.0 + EXACT)
        self.is_scarce |= mixed & (programme.bought_cost < programme.cost)
        self._known: dict[tuple[float, bytes], Few | None] = {}
        self.is_capped = priced.watt_price > 0.0
        if self.is_capped:
            self.is_scarce[:] = True

    def beyond(self, chosen: IntArray) -> bool:
        """Make scarce what a choice takes more of than is there, or is owned; false: there is nothing."""
        programme, used = self.large.programme, chosen.sum(axis=0)
        dearer = (programme.owned > 0) & (programme.bought_cost > programme.cost)
        there_is = np.where(dearer, np.minimum(programme.owned, self.large.stock), self.large.stock)
        more = (used > there_is) & ~self.is_scarce
        self.is_scarce |= more
        if more.any() or self.large.fits(chosen) or self.is_capped:
            return bool(more.any())
        self.is_scarce[:] = self.is_capped = True  # too many watts: how many depends on every type
        return True

    def about(self, most: int, excess: float, enough: float) -> tuple[Few | None, float]:
        """About so many covers, and how much they cost more than the cheapest, up to what is enough."""
        enough = min(enough, MOST_EXCESS * self.priced.bound)
        excess = min(excess, enough)
        few = self.covers(excess)
        while few is not None and len(few.owners) < most and excess < enough:
            more = self.covers(min(MORE_EXCESS * excess, enough))
            if more is None:
                break
            few, excess = more, min(MORE_EXCESS * excess, enough)
        return None if few is None else self.cheapest(few, max(most, 4 * len(self.priced.free))), excess

    def covers(self, excess: float) -> Few | None:
        """Covers that cost at most so much more than their service's cheapest; None: too many."""
        key = (excess, self.is_scarce.tobytes())
        if key not in self._known:
            self._known = {key: self._covers(excess)}
        return self._known[key]

    def _covers(self, excess: float) -> Few | None:
        large, prices = self.large, self.priced.prices
        limits = np.array(large.limits(large.stock))
        found: list[IntArray] = []
        owners: list[int] = []
        for service, free in enumerate(self.priced.free):
            parts = large.parts[service]
            if parts is None:
                owners.append(service)
                found.append(free[None, :])
                continue
            types = [t for t in large.runs[service] if limits[t] > 0]
            asked = Asked(
                np.array(parts)[types],
                prices[types],
                self.saved[types],
                limits[types],
                self.is_scarce[types],
                large.need.nodes,
                large.need.slope,
            )
            ways = near_covers(asked, float(free @ prices) + excess, MOST_OF_SERVICE)
            if ways is None:
                return None
            nodes = np.zeros((len(ways), len(prices)), dtype=np.int64)
            nodes[:, types] = large.need.nodes[ways]
            found.append(nodes)
            owners += [service] * len(ways)
        return Few(np.array(owners, dtype=np.int64), np.vstack([*found, self.priced.free[:0]]), excess)

    def cheapest(self, few: Few, most: int) -> Few:
        """So many of covers: those that cost the least more than their service's cheapest."""
        if len(few.owners) <= most:
            return few
        cheapest = self.priced.free @ self.priced.prices
        extra = few.nodes @ self.priced.prices - cheapest[few.owners]
        by_extra = np.lexsort((extra, few.owners))
        first = np.searchsorted(few.owners[by_extra], np.arange(len(cheapest)))
        rank = np.arange(len(by_extra)) - first[few.owners[by_extra]]
        is_asked = rank < max(1, int(most * MOST_SHARE))
        some = by_extra[is_asked]
        each = np.where(rank == 0, -inf, extra[by_extra])[is_asked]  # every service has its cheapest
        kept = some[np.argsort(each, kind="stable")[:most]]
        is_left_out = np.ones(len(extra), dtype=bool)
        is_left_out[kept] = False
        kept = np.sort(kept)
        return Few(few.owners[kept], few.nodes[kept], max(0.0, float(extra[is_left_out].min())))

    def choice(self, few: Few, most_cost: float, gap: float) -> tuple[IntArray | None, float]:
        """The best of covers, one a service, at most at a cost; and what none costs less than."""
        programme, variables, rows = self.large.programme, Variables(), Rows()
        linear = np.where(self.is_scarce, 0.0, self.least)
        taken = [variables.add(1.0, cost=float(nodes @ linear)) for nodes in few.nodes]
        for service in np.unique(few.owners).tolist():
            rows.add([(taken[i], 1.0) for i in np.flatnonzero(few.owners == service).tolist()], 1.0, 1.0)
        for node_type in np.flatnonzero(self.is_scarce).tolist():
            counts = few.nodes[:, node_type]
            of_type = [(taken[i], float(counts[i])) for i in np.flatnonzero(counts).tolist()]
            charge(programme, node_type, of_type, variables, rows)
            rows.add(of_type, 0.0, float(self.large.stock[node_type]))
        if self.is_capped:
            watts: FloatArray = few.nodes @ programme.tdp_w / max(programme.power_cap_w, 1e-9)
            rows.add([(i, float(watts[i])) for i in taken], -inf, 1.0)
        if isfinite(most_cost):
            rows.add([(i, c / most_cost) for i, c in enumerate(variables.cost) if c], -inf, 1.0)
        found = solved(variables, rows, Effort(gap, SOLVER_S, SOLVER_NODES))
        if found.values is None:
            return None, found.bound
        chosen = np.zeros_like(self.priced.free)
        for index in np.flatnonzero(found.values[: len(taken)] > 0.5).tolist():
            chosen[few.owners[index]] = few.nodes[index]
        return chosen, found.bound
