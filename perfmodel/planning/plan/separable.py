"""A large programme as it falls apart: each service covered by itself, at prices of node types."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np

from perfmodel.planning.plan.programme import GAP, Condition, FloatArray, IntArray, Programme

CLOSE = 1e-5
"""Relative: a cover this close to the cheapest is as good. [1]"""


EXACT = 1e-9

ROUNDED = 1e-13
"""Relative: how far apart the same sum may be, worked out in two ways. [1]"""


class Need(NamedTuple):
    """Nodes of a type that it takes until so many are left; `slope`: the least of them for each one left."""

    nodes: IntArray
    slope: float


class Priced(NamedTuple):
    """Prices of a node and of a watt, each service's cheapest cover, and what no plan costs less than."""

    prices: FloatArray
    watt_price: float
    free: IntArray
    bound: float


class Separable:
    """A programme as it falls apart."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        (self.condition,) = programme.binding_conditions
        self.stock: IntArray = programme.stock.astype(np.int64)
        most = int(self.stock.max(initial=0))
        self.need = need_of(self.condition, programme.maintenance, most)
        self.rates_qps: FloatArray = rates_by_type(programme) * (1.0 - self.condition.free)
        self.need_list: list[int] = self.need.nodes.tolist()
        demand_qps = programme.demand_qps.tolist()
        self.parts: list[list[float] | None] = [
            (row / demand).tolist() if demand > 0.0 else None
            for row, demand in zip(self.rates_qps, demand_qps, strict=True)
        ]
        """What one node left of each type carries of a service's demand; None: nothing is asked for."""
        self.runs = [np.flatnonzero(row > 0.0).tolist() for row in self.rates_qps]

    def type_cost(self, used: IntArray | FloatArray) -> FloatArray:
        """Cost of so many nodes of each type, the owned ones first."""
        programme = self.programme
        own = np.minimum(used, programme.owned)
        tie = programme.tie_weight * programme.tie
        return np.asarray(own * programme.cost + (used - own) * programme.bought_cost + used * tie)

    def cost(self, chosen: IntArray) -> float:
        """Of nodes by service and type."""
        return float(self.type_cost(chosen.sum(axis=0)).sum())

    def fits(self, chosen: IntArray) -> bool:
        """Whether stock and power allow them."""
        used = chosen.sum(axis=0)
        drawn_w = float(used @ self.programme.tdp_w)
        return bool((used <= self.stock).all()) and drawn_w <= self.programme.power_cap_w * (1.0 + EXACT)

    def cheaper(self, one: IntArray | None, other: IntArray | None) -> IntArray | None:
        """The one that costs less."""
        if one is None or other is None:
            return other if one is None else one
        return other if self.cost(other) < self.cost(one) else one

    def closest(self, chosen: IntArray | None) -> float:
        """The least bound that says of nodes that nothing better is asked for."""
        return inf if chosen is None else self.cost(chosen) / (1.0 + GAP)

    def is_close(self, chosen: IntArray | None, bound: float) -> bool:
        """Whether nodes cost so little more than a bound that nothing better is asked for."""
        return self.closest(chosen) <= bound * (1.0 + ROUNDED)

    def first_prices(self) -> FloatArray:
        """What a node costs while there is enough of everything."""
        programme = self.programme
        tie = programme.tie_weight * programme.tie
        return np.where(programme.owned > 0, programme.cost, programme.bought_cost) + tie

    def least_prices(self, watt_price: float) -> FloatArray:
        """What a node costs at least, as part of however many of its type, a price of watts included.

        A lower price proves no more than it, and makes covers look alike that are not.
        """
        counts = np.arange(1, int(self.stock.max(initial=0)) + 1)
        each = np.array([self.type_cost(np.full(len(self.stock), count)) / count for count in counts])
        each = np.where(counts[:, None] <= self.stock, each.reshape(len(counts), len(self.stock)), inf)
        least = each.min(axis=0, initial=inf)
        return np.where(np.isfinite(least), least, 0.0) + watt_price * self.programme.tdp_w

    def limits(self, stock: IntArray) -> list[int]:
        """Nodes that so many of each type leave, at most."""
        found: list[int] = (np.searchsorted(self.need.nodes, stock, side="right") - 1).tolist()
        return found

    def bound(self, prices: FloatArray, watt_price: float, free: IntArray) -> float:
        """What no plan costs less than, `free` being the cheapest covers at these prices."""
        programme = self.programme
        covers = float((free @ prices).sum()) * (1.0 - CLOSE)
        rest = 0.0
        for node_type, stock in enumerate(self.stock.tolist()):
            counts = np.arange(stock + 1)
            own = np.minimum(counts, programme.owned[node_type])
            tie = programme.tie_weight * programme.tie[node_type]
            cost = own * programme.cost[node_type] + (counts - own) * programme.bought_cost[node_type]
            net = tie + watt_price * programme.tdp_w[node_type] - prices[node_type]
            rest += float((cost + counts * net).min())
        capped = watt_price * programme.power_cap_w if watt_price else 0.0
        return covers + rest - capped


def rates_by_type(programme: Programme) -> FloatArray:
    """What a node of each type serves of each service, as part of the best unit. [queries/s a node]"""
    found = np.zeros((len(programme.demand_qps), len(programme.stock)))
    for index, group in enumerate(programme.groups):
        for service in group.services:
            each_qps = programme.capacity_qps[service, index] / group.unit_nodes
            found[service, group.node_type] = max(found[service, group.node_type], each_qps)
    return found


def need_of(condition: Condition, maintenance: float, most: int) -> Need:
    """Nodes that leave m after maintenance and failure, m = 0, 1, …, as far as so many nodes go."""
    nodes = np.arange(most + 1)
    serving = nodes - np.ceil(maintenance * nodes - EXACT).astype(np.int64)
    if condition.zones is not None:
        left = serving - -(-serving // condition.zones)
    else:
        left = np.maximum(0, serving - condition.lost_nodes)
    # The fewest nodes of those that leave at least m; none is needed where nothing has to be left.
    reached = np.maximum.accumulate(left)
    fewest = np.searchsorted(reached, np.arange(int(reached.max(initial=0)) + 1))
    each = fewest[1:] / np.arange(1, len(fewest)) if len(fewest) > 1 else np.ones(1)
    return Need(nodes=fewest.astype(np.int64), slope=float(each.min()))
