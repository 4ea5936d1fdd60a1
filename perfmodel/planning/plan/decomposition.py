"""Large programmes, service by service: a bound from prices of node types, and nodes that come close to it.

Services meet only in the stock of each type, in what its nodes cost, and in the cap on all power. Put a price
p_t on a node of each type and m on a watt (Lagrange), and each service is a problem of its own: the cheapest
whole nodes that cover its demand. For any prices

    sum over services of K_s(p) + sum over types of min over N of (C_t(N) + m W_t N - p_t N) - m cap

is at most what any plan costs, K_s being the cheapest cover at prices p, C_t(N) the cost of N nodes, whatever
its shape, and N up to the stock [1]_. The first prices are those without whole numbers. Each set
of prices gives a cover of each service; the covers found so far give the next prices (column generation), and
the plan is the best choice of one cover a service that stock and cap allow.

References
----------
.. [1] L. Lasdon, "Optimization Theory for Large Systems", Macmillan, 1970, chapter 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, inf, isfinite
from typing import NamedTuple

import numpy as np

from perfmodel.planning.plan.exchanges import Offers, Resources, fitting_choice
from perfmodel.planning.plan.programme import (
    GAP,
    FloatArray,
    IntArray,
    Programme,
    Solution,
    charge,
    solve,
    units_left,
    units_serving,
)
from perfmodel.planning.plan.scarce import SOLVER_GAP, Few, closed_by_scarce
from perfmodel.planning.plan.separable import CLOSE, EXACT, Priced, Separable, rates_by_type
from perfmodel.planning.plan.solver import INFEASIBLE, Effort, Rows, Variables, solved

MOST_ROUNDS = 12
"""Of prices and covers."""

FIRST_EXCESS = 2.5e-4
"""Over the bound: how much more than its service's cheapest a cover may cost, and be chosen at first. [1]"""

MORE_EXCESS = (1.6, 2.5)
"""How many times more it may be where the choice is not close enough to the bound yet. [1]"""

MOST_PROVED = 1e-3
"""Over the bound of the prices: what a choice may cost, the gap left out, so that the few covers of a cheaper
one are looked at. [1]"""


class _Effort(NamedTuple):
    """What one choice may take: covers in all, covers of a service, and steps of the search for those."""

    covers: int
    of_service: int
    steps: int


EFFORTS = (_Effort(250, 25, 5_000), _Effort(1500, 600, 30_000), _Effort(2500, 900, 50_000))
"""Of the choices, one after the other: a hundredth of a second, then some tenths. The first is by exchanges
alone; where that is not close enough to the bound, an integer programme chooses among more covers."""

MASTER = Effort(SOLVER_GAP, 15.0, 20)
"""Of the choice among the covers found; a time that it hardly ever takes."""


def can_decompose(programme: Programme) -> bool:
    """Whether services meet in stock alone: no node is shared, each serves by itself, one condition implies
    the others, and only nodes cost."""
    alone = all(len(group.services) == 1 and group.unit_nodes == 1 for group in programme.groups)
    return alone and len(programme.binding_conditions) == 1 and programme.load_cost is None


def cheapest(programme: Programme) -> Solution:
    """Find the cheapest nodes: small programmes by proof, large ones service by service where that goes."""
    if not programme.is_small and can_decompose(programme):
        asked = "service by service"
        known = None if programme.known is None else programme.known.get(programme, asked)
        solution = solve_large(programme) if known is None else known
        if known is None and programme.known is not None:
            programme.known.keep(programme, asked, solution)
        if solution.status != "stopped":
            return solution
    return solve(programme)


def worth_of_type(programme: Programme, node_type: int) -> float | None:
    """About the greatest cost at which a node of a type would be taken, whole numbers apart.

    A service takes it where it is no dearer by the query than what serves it now, at the prices of all types.
    """
    found = _Large(programme).relaxed_prices()
    if found is None:
        return None
    rates_qps = rates_by_type(programme)[programme.demand_qps > 0.0]
    others = np.delete(np.arange(rates_qps.shape[1]), node_type)
    with np.errstate(divide="ignore"):
        by_query = found[0][others] / rates_qps[:, others]
    return float((by_query.min(axis=1) * rates_qps[:, node_type]).max(initial=0.0))


def solve_large(programme: Programme) -> Solution:
    """Find nodes and a bound; "stopped" without nodes where none were found, which proves nothing."""
    large = _Large(programme)
    prices, watt_price = large.first_prices(), 0.0
    chosen, bound = large.covers(prices, large.stock), -inf
    if chosen is not None and large.fits(chosen):
        bound = large.bound(prices, watt_price, chosen)
    if chosen is None or not large.fits(chosen) or bound < large.cost(chosen) * (1.0 - EXACT):
        relaxed = large.relaxed_prices()
        if relaxed is None:
            return Solution(status="infeasible", units=None, loads_qps=(), bound=inf)
        prices, watt_price = relaxed
        prices = np.maximum(prices, large.least_prices(watt_price))
        free = large.covers(prices, large.stock)
        if free is None:
            return Solution(status="infeasible", units=None, loads_qps=(), bound=inf)
        chosen, bound = _columns_generated(large, prices, watt_price, free, bound)
    if chosen is None:
        return Solution(status="stopped", units=None, loads_qps=(), bound=bound)
    units = np.array([chosen[group.services[0], group.node_type] for group in programme.groups])
    return Solution(status="optimal", units=units.astype(np.int64), loads_qps=(), bound=bound)


class _Columns:
    """Covers that were found, each with its service."""

    def __init__(self) -> None:
        self.owners: list[int] = []
        self.nodes: list[IntArray] = []
        self._known: set[tuple[int, ...]] = set()

    def add(self, chosen: IntArray) -> int:
        """Take a cover of each service; returns how many of them are new."""
        before = len(self.owners)
        for service, cover in enumerate(chosen):
            self.add_of(service, [cover])
        return len(self.owners) - before

    def add_of(self, service: int, covers: Iterable[IntArray]) -> None:
        """Take covers of one service."""
        for cover in covers:
            key = (service, *cover.tolist())
            if key not in self._known:
                self._known.add(key)
                self.owners.append(service)
                self.nodes.append(cover)


def _columns_generated(
    large: _Large, prices: FloatArray, watt_price: float, free: IntArray, bound: float
) -> tuple[IntArray | None, float]:
    """Covers at one set of prices after the other, until none is new; the best choice, and the bound."""
    columns = _Columns()
    columns.add(free)
    if (one_by_one := large.one_by_one(prices, free)) is not None:  # so that there is a choice that fits
        columns.add(one_by_one)
    priced = Priced(prices, watt_price, free, large.bound(prices, watt_price, free))
    for _ in range(MOST_ROUNDS):
        found = large.prices_of(columns)
        if found is None:
            break
        prices, watt_price = found
        prices = np.maximum(prices, large.least_prices(watt_price))
        covers = large.covers(prices, large.stock)
        if covers is None:
            break
        if (found_bound := large.bound(prices, watt_price, covers)) > priced.bound:
            priced = Priced(prices, watt_price, covers, found_bound)
        if not columns.add(covers):
            break
    return _chosen_near(large, columns, priced, max(bound, priced.bound))


def _chosen_near(
    large: _Large, columns: _Columns, priced: Priced, bound: float
) -> tuple[IntArray | None, float]:
    """The best choice among all covers that cost little more than the cheapest, and what that proves.

    A plan with a cover that costs x more than its service's cheapest costs at least x more than the bound of
    the prices. So where all covers are known that cost up to x more, no plan costs less than that, or than
    the least that the choice among those can cost, as its own branch and bound proves it: more than prices
    prove. Of a service with too many of them all are known where it is chosen for node by node.
    """
    chosen: IntArray | None = None
    base, excess = priced.bound, FIRST_EXCESS * max(priced.bound, 0.0)
    for attempt, effort in enumerate(EFFORTS):
        near = large.near(priced, excess, effort)
        for service, covers in enumerate(near.covers):
            columns.add_of(service, covers)
        if chosen is not None:  # each service's best within what the others leave
            for at in (priced.prices, large.first_prices()):
                columns.add(large.beside_others(chosen, at))
        chosen = large.cheaper(chosen, large.exchanged(columns, priced.prices, bound))
        if attempt:
            chosen, bound = _proved(large, priced, chosen, bound, effort)
        if attempt == 1 and not large.is_close(chosen, bound):
            chosen, bound = closed_by_scarce(
                large, priced, chosen, bound, lambda few, at: large.exchanged(few, priced.prices, at)
            )
        if attempt and not large.is_close(chosen, bound):
            better, least = large.chosen_of(columns, near.whole)
            bound = max(bound, min(base + near.known, least))
            chosen, bound = _proved(large, priced, large.cheaper(chosen, better), bound, effort)
        still = large.closest(chosen) - base
        if still <= bound - base:
            break
        excess = min(max(MORE_EXCESS[0] * excess, still), MORE_EXCESS[1] * excess)
    return chosen, bound


def _proved(
    large: _Large, priced: Priced, chosen: IntArray | None, bound: float, effort: _Effort
) -> tuple[IntArray | None, float]:
    """A choice and a bound, that no choice costs less by more than the gap that is allowed, or such a one.

    All its covers would cost little more than their service's cheapest: together not more than what the gap
    leaves over the bound of the prices. Those are few, and mostly a solver sees within milliseconds that none
    are a choice. Where they are many, nothing is tried.
    """
    most_cost = large.closest(chosen)
    excess = most_cost - priced.bound
    if chosen is None or large.is_close(chosen, bound) or excess > MOST_PROVED * priced.bound:
        return chosen, bound
    near = large.near(priced, excess, effort)
    if near.whole or near.known < excess:
        return chosen, bound
    columns = _Columns()
    columns.add(priced.free)
    for service, covers in enumerate(near.covers):
        columns.add_of(service, covers)
    better, least = large.chosen_of(columns, (), most_cost)
    return large.cheaper(chosen, better), max(bound, min(most_cost, least))


class _Knapsack(NamedTuple):
    """What a cover is made of: by type, in order of price over part; `need` and `slope` as of `_Need`."""

    prices: Sequence[float]
    parts: Sequence[float]
    limits: Sequence[int]
    need: Sequence[int]
    slope: float


class _Near(NamedTuple):
    """Covers to choose from.

    Attributes
    ----------
    covers : list of list of (types,) int
        Of each service.
    whole : list of int
        Services that have too many, and are chosen for node by node.
    known : float
        All covers of the others that cost at most so much more than the cheapest are there.
    """

    covers: list[list[IntArray]]
    whole: list[int]
    known: float


class _Large(Separable):
    """A programme as it falls apart, and what solvers say of it."""

    def covers(self, prices: FloatArray, stock: IntArray) -> IntArray | None:
        """The cheapest cover of each service at these prices, each as if alone; None: one has none."""
        chosen = np.zeros(self.rates_qps.shape, dtype=np.int64)
        limits = self.limits(stock)
        for service in range(len(chosen)):
            cover = self.cover(service, prices, limits)
            if cover is None:
                return None
            chosen[service] = cover
        return chosen

    def cover(self, service: int, prices: FloatArray, limits: Sequence[int]) -> IntArray | None:
        """The cheapest nodes that cover a service's demand, so many left at most; None: not enough."""
        if self.parts[service] is None:
            return np.zeros(len(limits), dtype=np.int64)
        types, knapsack = self._knapsack(service, prices, limits)
        left = _cheapest(*knapsack)
        return None if left is None else self._cover_of(types, left)

    def near(self, priced: Priced, excess: float, effort: _Effort) -> _Near:
        """Covers of each service that cost little more than its cheapest.

        Where they would be too many in all, those that cost the most more are left out.
        """
        found: list[tuple[float, int, list[int], list[int]]] = []
        limits, known, whole = self.limits(self.stock), excess, list[int]()
        for service, cover in enumerate(priced.free):
            if self.parts[service] is None:
                continue
            types, knapsack = self._knapsack(service, priced.prices, limits)
            least = float(cover @ priced.prices)
            ways, are_all = _near(knapsack, least + excess, effort.steps)
            if not are_all:
                whole.append(service)
                continue
            ways.sort(key=lambda each: each[0])
            if len(ways) > effort.of_service:
                known = min(known, ways[effort.of_service][0] - least)
            found += [(cost - least, service, types, left) for cost, left in ways[: effort.of_service]]
        found.sort(key=lambda each: each[0])
        if len(found) > effort.covers:
            known = min(known, found[effort.covers][0])
        near: list[list[IntArray]] = [[] for _ in priced.free]
        for _, service, types, left in found[: effort.covers]:
            near[service].append(self._cover_of(types, left))
        return _Near(near, whole, max(0.0, known))

    def _knapsack(
        self, service: int, prices: FloatArray, limits: Sequence[int]
    ) -> tuple[list[int], _Knapsack]:
        """Types that serve a service in order of price over part, and what its cover is of."""
        parts, price = self.parts[service], prices.tolist()
        assert parts is not None, "something is asked for"
        types = [t for t in self.runs[service] if limits[t] > 0]
        types.sort(key=lambda t: price[t] / parts[t])
        return types, _Knapsack(
            [price[t] for t in types],
            [parts[t] for t in types],
            [limits[t] for t in types],
            self.need_list,
            self.need.slope,
        )

    def _cover_of(self, types: Sequence[int], left: Sequence[int]) -> IntArray:
        """Nodes by type, of how many have to be left."""
        cover = np.zeros(len(self.stock), dtype=np.int64)
        cover[list(types)] = self.need.nodes[list(left)]
        return cover

    def relaxed_prices(self) -> tuple[FloatArray, float] | None:
        """Prices of a node of each type and of a watt, without whole numbers; None: not even so is there one.

        Nodes of a service and type, then owned and bought nodes of each type; where what is bought is
        cheaper, all cost as little.
        """
        from scipy.optimize import linprog  # scipy takes a while to load, and kept solutions need none of it
        from scipy.sparse import csr_array

        programme, types = self.programme, len(self.stock)
        pairs = [(group.services[0], group.node_type) for group in programme.groups]
        own_cost = np.minimum(programme.cost, programme.bought_cost)
        tie = programme.tie_weight * programme.tie
        cost = np.concatenate([np.zeros(len(pairs)), own_cost + tie, programme.bought_cost + tie])
        owned = np.minimum(programme.owned, self.stock)
        asked = np.flatnonzero(programme.demand_qps > 0.0)
        row_of = {int(service): row for row, service in enumerate(asked)}
        rows, columns, values = [], [], []
        for column, (service, node_type) in enumerate(pairs):
            if service in row_of:
                rate = float(self.rates_qps[service, node_type]) / float(programme.demand_qps[service])
                rows.append(row_of[service])
                columns.append(column)
                values.append(-rate / self.need.slope)
        cover = csr_array((values, (rows, columns)), shape=(len(asked), len(cost)))
        limits = -np.ones(len(asked))
        if isfinite(programme.power_cap_w):
            watts = np.concatenate([np.zeros(len(pairs)), programme.tdp_w, programme.tdp_w])
            scale = max(programme.power_cap_w, 1e-9)
            dense = csr_array(watts[None, :] / scale)
            cover = csr_array(np.vstack([cover.toarray(), dense.toarray()]))
            limits = np.append(limits, 1.0)
        link = np.zeros((types, len(cost)))
        for column, (_, node_type) in enumerate(pairs):
            link[node_type, column] = 1.0
        for node_type in range(types):
            link[node_type, len(pairs) + node_type] = link[node_type, len(pairs) + types + node_type] = -1.0
        bounds: list[tuple[float, float]] = [(0.0, inf)] * len(pairs)
        bounds += [(0.0, float(count)) for count in owned]
        bounds += [(0.0, float(count)) for count in self.stock - owned]
        found = linprog(
            cost,
            A_ub=cover,
            b_ub=limits,
            A_eq=csr_array(link),
            b_eq=np.zeros(types),
            bounds=bounds,
            method="highs",
        )
        if found.status == INFEASIBLE:
            return None
        prices = np.maximum(0.0, -np.asarray(found.eqlin.marginals))
        watt_price = 0.0
        if isfinite(programme.power_cap_w):
            watt_price = max(0.0, -float(found.ineqlin.marginals[-1])) / max(programme.power_cap_w, 1e-9)
        return prices, watt_price

    def one_by_one(self, prices: FloatArray, free: IntArray) -> IntArray | None:
        """Covers within the stock that is left, those that cost most first; None: it gives out."""
        left, chosen = self.stock.copy(), np.zeros_like(free)
        for service in np.argsort(-(free @ prices)).tolist():
            cover = self.cover(service, prices, self.limits(left))
            if cover is None:
                return None
            chosen[service] = cover
            left -= cover
        return chosen

    def beside_others(self, chosen: IntArray, prices: FloatArray) -> IntArray:
        """Each service's cheapest cover within what all others leave of the stock."""
        used = chosen.sum(axis=0)
        covers = chosen.copy()
        for service in range(len(chosen)):
            left = self.limits(self.stock - used + chosen[service])
            cover = self.cover(service, prices, left)
            covers[service] = chosen[service] if cover is None else cover
        return covers

    def exchanged(self, columns: _Columns | Few, prices: FloatArray, bound: float) -> IntArray | None:
        """A choice of one cover a service by exchanges, within stock and power; None: none was found."""
        programme, covers = self.programme, np.array(columns.nodes, dtype=np.float64)
        owners = np.array(columns.owners)
        cheapest = np.full(len(self.rates_qps), inf)
        np.minimum.at(cheapest, owners, covers @ prices)
        tie = programme.tie_weight * programme.tie
        there_is = Resources(
            self.stock.astype(np.float64),
            programme.owned.astype(np.float64),
            programme.cost + tie,
            programme.bought_cost + tie,
        )
        used = covers
        if isfinite(
            programme.power_cap_w
        ):  # in parts of the dearest node's watts, as fines go by what is over
            watts = programme.tdp_w / max(float(programme.tdp_w.max(initial=0.0)), 1e-9)
            cap = programme.power_cap_w / max(float(programme.tdp_w.max(initial=0.0)), 1e-9)
            used = np.hstack([covers, (covers @ watts)[:, None]])
            there_is = Resources(
                np.append(there_is.most, cap * (1.0 + EXACT)),
                *(np.append(each, 0.0) for each in there_is[1:]),
            )
        offers = Offers(used, owners, covers @ prices - cheapest[owners])
        found = fitting_choice(offers, there_is, bound * (1.0 + GAP))
        if found is None:
            return None
        chosen = np.array(columns.nodes)[found]
        return chosen if self.fits(chosen) else None

    def chosen_of(
        self, columns: _Columns, whole: Sequence[int], most_cost: float = inf
    ) -> tuple[IntArray | None, float]:
        """The best of the covers found, one a service, within stock and power, and what none costs less than.

        Services of `whole` are chosen for node by node, their covers left out.
        """
        programme, variables, rows = self.programme, Variables(), Rows()
        nodes: list[list[tuple[int, float]]] = [[] for _ in self.stock]
        covers = {}
        of_service: dict[int, list[tuple[int, float]]] = {}
        for owner, cover in zip(columns.owners, columns.nodes, strict=True):
            if owner not in whole:
                taken = variables.add(1.0)
                covers[taken] = owner, cover
                of_service.setdefault(owner, []).append((taken, 1.0))
                for node_type in np.flatnonzero(cover).tolist():
                    nodes[node_type].append((taken, float(cover[node_type])))
        for taken_of in of_service.values():
            rows.add(taken_of, 1.0, 1.0)
        left = self._node_by_node(whole, nodes, variables, rows)
        for node_type, of_type in enumerate(nodes):
            charge(programme, node_type, of_type, variables, rows)
            rows.add(of_type, 0.0, float(self.stock[node_type]))
        if isfinite(programme.power_cap_w):
            watts = (programme.tdp_w / max(programme.power_cap_w, 1e-9)).tolist()
            drawn = [(n, each * watts[t]) for t, of_type in enumerate(nodes) for n, each in of_type]
            rows.add(drawn, -inf, 1.0)
        if isfinite(most_cost):
            rows.add([(i, c / most_cost) for i, c in enumerate(variables.cost) if c], -inf, 1.0)
        found = solved(variables, rows, MASTER)
        if found.values is None:
            return None, found.bound
        chosen = np.zeros(self.rates_qps.shape, dtype=np.int64)
        for taken, (owner, cover) in covers.items():
            if found.values[taken] > 0.5:
                chosen[owner] = cover
        for (service, node_type), variable in left.items():
            chosen[service, node_type] = self.need.nodes[round(found.values[variable])]
        return chosen, found.bound

    def _node_by_node(
        self, whole: Sequence[int], nodes: list[list[tuple[int, float]]], variables: Variables, rows: Rows
    ) -> dict[tuple[int, int], int]:
        """Write services down as they are; returns, by service and type, what is left of its nodes."""
        programme = self.programme
        left: dict[tuple[int, int], int] = {}
        for index, group in enumerate(programme.groups):
            (service,) = group.services
            if service in whole and self.rates_qps[service, group.node_type] > 0.0:
                n = variables.add(float(self.stock[group.node_type]))
                nodes[group.node_type].append((n, 1.0))
                serving = units_serving(programme, group, n, variables, rows)
                left[service, group.node_type] = units_left(
                    programme, self.condition, index, serving, variables, rows
                )
        for service in whole:
            parts = self.parts[service]
            assert parts is not None, "something is asked for"
            rows.add([(m, parts[t]) for (owner, t), m in left.items() if owner == service], 1.0 - EXACT, inf)
        return left

    def prices_of(self, columns: _Columns) -> tuple[FloatArray, float] | None:
        """Prices at which the covers found so far balance; None: they do not fit stock and power together."""
        from scipy.optimize import linprog  # as above
        from scipy.sparse import csr_array

        owners, covers = columns.owners, columns.nodes
        count, types, services = len(owners), len(self.stock), len(self.rates_qps)
        programme = self.programme
        tie = programme.tie_weight * programme.tie
        owned = np.minimum(programme.owned, self.stock)
        # What no cover fits is paid for dearly, so that there always is an answer.
        dear = 1e3 * max(1.0, float((programme.cost + programme.bought_cost).max(initial=1.0)))
        cost = np.concatenate(
            [
                np.zeros(count),
                np.minimum(programme.cost, programme.bought_cost) + tie,
                programme.bought_cost + tie,
                np.full(types, dear),
            ]
        )
        eye = np.eye(types)
        link = np.hstack([np.array(covers).T.astype(float), -eye, -eye, -eye])
        one = np.zeros((services, len(cost)))
        one[owners, np.arange(count)] = 1.0
        limits: dict[str, object] = {}
        if isfinite(programme.power_cap_w):
            cap_w = max(programme.power_cap_w, 1e-9)
            watts = np.concatenate([np.zeros(count), *[programme.tdp_w / cap_w] * 3])
            limits = {"A_ub": watts[None, :], "b_ub": [1.0]}
        found = linprog(
            cost,
            A_eq=csr_array(np.vstack([link, one])),
            b_eq=np.concatenate([np.zeros(types), np.ones(services)]),
            bounds=[(0.0, inf)] * count
            + [(0.0, float(n)) for n in owned]
            + [(0.0, float(n)) for n in self.stock - owned]
            + [(0.0, inf)] * types,
            method="highs",
            **limits,
        )
        if found.x is None:
            return None
        prices = np.maximum(0.0, -np.asarray(found.eqlin.marginals[:types]))
        watt_price = 0.0
        if limits:
            watt_price = max(0.0, -float(found.ineqlin.marginals[-1])) / max(programme.power_cap_w, 1e-9)
        return prices, watt_price


def _cheapest(
    prices: Sequence[float], parts: Sequence[float], limits: Sequence[int], need: Sequence[int], slope: float
) -> list[int] | None:
    """How many of each type have to be left, so that parts of the demand add up to 1 at least cost.

    Branch and bound, the types in order of price over part; None: not even all of them are enough. What is
    found is within `CLOSE` of the least.

    Examples
    --------
    A demand that 2 of one kind and 1 of another cover just so:

    >>> _cheapest([10.0, 6.0], [0.4, 0.2], [9, 9], range(10), 1.0)
    [2, 1]
    """
    count = len(prices)
    ratio = [slope * price / part for price, part in zip(prices, parts, strict=True)]
    room = [limit * part for limit, part in zip(limits, parts, strict=True)]
    best_cost, best = inf, None
    current = [0] * count

    waiting = [(0, 1.0, 0.0, _downwards(1.0, parts[0], limits[0]))] if count else []
    while waiting:  # types whose numbers are being tried, each after the one before: there may be thousands
        index, rest, cost, lefts = waiting[-1]
        price, part, per_part = prices[index], parts[index], ratio[index]
        for left in lefts:
            still = rest - left * part
            with_it = cost + price * need[left]
            if still <= EXACT:
                if with_it < best_cost:
                    best_cost = with_it
                    best = [*current[:index], left, *([0] * (count - index - 1))]
                continue
            if index + 1 < count and still <= room[index + 1]:  # mostly: as `_least` has it
                beyond = still * ratio[index + 1]
            else:
                beyond = _least(ratio, room, index + 1, still)
            if cost + per_part * left * part + beyond >= best_cost * (1.0 - CLOSE):
                current[index] = 0
                waiting.pop()
                break  # fewer of it are no better: the next ones cost more a part
            if index + 1 < count and with_it + beyond < best_cost * (1.0 - CLOSE):
                current[index] = left
                following = _downwards(still, parts[index + 1], limits[index + 1])
                waiting.append((index + 1, still, with_it, following))
                break
        else:
            current[index] = 0
            waiting.pop()
    return best


def _near(
    knapsack: _Knapsack, most_cost: float, most_steps: int
) -> tuple[list[tuple[float, list[int]]], bool]:
    """All ways to cover a demand, as `_cheapest` counts them, that cost at most so much, each with its cost.

    In each of them the last type has no more than it takes; what has more costs more and serves no one. Some
    of them, and false, where the search for them takes too many steps.

    Examples
    --------
    >>> _near(_Knapsack([10.0, 6.0], [0.4, 0.2], [9, 9], range(10), 1.0), 30.0, 100)
    ([(30.0, [3, 0]), (26.0, [2, 1]), (28.0, [1, 3]), (30.0, [0, 5])], True)
    """
    prices, parts, limits, need, slope = knapsack
    count = len(prices)
    ratio = [slope * price / part for price, part in zip(prices, parts, strict=True)]
    room = [limit * part for limit, part in zip(limits, parts, strict=True)]
    found: list[tuple[float, list[int]]] = []
    current = [0] * count
    steps = 1
    waiting = [(0, 1.0, 0.0, _downwards(1.0, parts[0], limits[0]))]
    while waiting:  # as in `_cheapest`
        index, rest, cost, lefts = waiting[-1]
        price, part, per_part = prices[index], parts[index], ratio[index]
        for left in lefts:
            still = rest - left * part
            with_it = cost + price * need[left]
            if still <= EXACT:
                if with_it <= most_cost:
                    steps += 1
                    found.append((with_it, [*current[:index], left, *([0] * (count - index - 1))]))
                continue
            if index + 1 < count and still <= room[index + 1]:  # mostly: as `_least` has it
                beyond = still * ratio[index + 1]
            else:
                beyond = _least(ratio, room, index + 1, still)
            if steps >= most_steps or cost + per_part * left * part + beyond > most_cost:
                current[index] = 0
                waiting.pop()
                break
            if index + 1 < count and with_it + beyond <= most_cost:
                current[index] = left
                following = _downwards(still, parts[index + 1], limits[index + 1])
                waiting.append((index + 1, still, with_it, following))
                steps += 1
                break
        else:
            current[index] = 0
            waiting.pop()
    return found, steps < most_steps


def _downwards(rest: float, part: float, limit: int) -> Iterator[int]:
    """How many of a type may cover the rest of a demand: as many as do, down to none."""
    return iter(range(min(limit, ceil(rest / part - EXACT)), -1, -1))


def _least(ratio: Sequence[float], room: Sequence[float], first: int, rest: float) -> float:
    """What the rest of a demand costs at least, whole numbers apart, with the types from one on."""
    total = 0.0
    for index in range(first, len(ratio)):
        if rest <= room[index]:
            return total + rest * ratio[index]
        total += room[index] * ratio[index]
        rest -= room[index]
    return inf if rest > EXACT else total
