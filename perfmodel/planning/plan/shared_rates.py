"""What services that share nodes are served at most, together: demands grown alike until nodes are full.

With x the queries/s of service s on the nodes of a group g, n of them there, the least t such that

    for each group:  sum over its services of x / (rate of s on a node of g) <= t n
    for each service:  sum over groups of x = demand

is a linear programme; demand / t of every service is what there are nodes for. Services that share no node,
not even by way of others, have nothing to do with each other, and a t of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

NOTHING = 1e-9
"""Share of a demand that is rounding. [1]"""

Placed = tuple[str, tuple[str, ...]]
"""Nodes of a type that serve the same services: the type, and the services."""


def rates_together(
    demand_qps: Mapping[str, float], node_qps: Mapping[tuple[str, str], float], nodes: Mapping[Placed, float]
) -> dict[str, float]:
    """What each service is served at most while all are asked for in proportion to demand. [queries/s]

    Parameters
    ----------
    demand_qps : mapping of str to float
        By service, each more than 0. [queries/s]
    node_qps : mapping of (service, node type) to float
        What a node serves that serves nothing else. [queries/s]
    nodes : mapping of (node type, services) to float
        How many there are.

    Examples
    --------
    One node serves 100/s of either service, and both are asked for as much: each gets half of it.

    >>> both = {("x", ("a", "b")): 1.0}
    >>> rates_together({"a": 10.0, "b": 10.0}, {("a", "x"): 100.0, ("b", "x"): 100.0}, both)
    {'a': 50.0, 'b': 50.0}
    """
    found: dict[str, float] = {}
    for together in components(demand_qps, nodes):
        fullest = _fullest({name: demand_qps[name] for name in together}, node_qps, nodes)
        found |= {name: demand_qps[name] / fullest if fullest < inf else 0.0 for name in together}
    return {name: found[name] for name in demand_qps}


def loads_together(
    demand_qps: Mapping[str, float], node_qps: Mapping[tuple[str, str], float], nodes: Mapping[Placed, float]
) -> dict[tuple[str, Placed], float]:
    """How a router deals out all demand so that the fullest nodes are as little full as can be. [queries/s]

    Parameters
    ----------
    demand_qps, node_qps, nodes
        As for `rates_together`.

    Returns
    -------
    mapping of (service, nodes) to float
        What is more than 0; a service without nodes has nothing.

    Examples
    --------
    >>> nodes = {("x", ("a",)): 1.0, ("x", ("a", "b")): 1.0}
    >>> loads = loads_together({"a": 90.0, "b": 30.0}, {("a", "x"): 100.0, ("b", "x"): 100.0}, nodes)
    >>> [(name, services, round(qps, 3)) for (name, (_, services)), qps in loads.items()]
    [('a', ('a',), 60.0), ('a', ('a', 'b'), 30.0), ('b', ('a', 'b'), 30.0)]
    """
    found: dict[tuple[str, Placed], float] = {}
    for together in components(demand_qps, nodes):
        asked = {name: demand_qps[name] for name in demand_qps if name in together}
        dealt = _dealt_out(asked, node_qps, nodes)
        for (name, placed), share in ({} if dealt is None else dealt.shares).items():
            if share > NOTHING:
                found[name, placed] = share * demand_qps[name]
    return found


def components(demand_qps: Mapping[str, float], nodes: Mapping[Placed, float]) -> list[set[str]]:
    """Services that share nodes with each other, be it by way of others."""
    found = [{name} for name in demand_qps]
    for _, services in nodes:
        touched = [each for each in found if each & set(services)]
        if len(touched) > 1:
            found = [each for each in found if each not in touched] + [set().union(*touched)]
    return found


class _DealtOut(NamedTuple):
    """How full the fullest nodes are, and the share of each service's demand on each kind of nodes. [1]"""

    fullest: float
    shares: dict[tuple[str, Placed], float]


def _fullest(
    demand_qps: Mapping[str, float], node_qps: Mapping[tuple[str, str], float], nodes: Mapping[Placed, float]
) -> float:
    """Utilisation of the fullest nodes, the least that there can be; infinite where one has no nodes. [1]"""
    dealt = _dealt_out(demand_qps, node_qps, nodes)
    return inf if dealt is None else dealt.fullest


def _dealt_out(
    demand_qps: Mapping[str, float], node_qps: Mapping[tuple[str, str], float], nodes: Mapping[Placed, float]
) -> _DealtOut | None:
    """Deal out all demand; None where a service has no nodes."""
    groups = [(placed, there) for placed, there in nodes.items() if set(placed[1]) & demand_qps.keys()]
    loads = [
        (row, name)
        for row, ((_, names), there) in enumerate(groups)
        if there
        for name in names
        if name in demand_qps  # one that asks for nothing takes nothing
    ]
    if {name for _, name in loads} != demand_qps.keys():
        return None
    time = [demand_qps[name] / node_qps[name, groups[row][0][0]] for row, name in loads]
    from scipy.optimize import linprog  # few plans share nodes

    solved = linprog(
        [0.0] * len(loads) + [1.0],
        A_ub=[
            [time[column] if of == row else 0.0 for column, (of, _) in enumerate(loads)] + [-float(there)]
            for row, (_, there) in enumerate(groups)
        ],
        b_ub=[0.0] * len(groups),
        A_eq=[[float(of == name) for _, of in loads] + [0.0] for name in demand_qps],
        b_eq=[1.0] * len(demand_qps),
        method="highs",
    )
    assert solved.x is not None, "every service has nodes"
    shares = {(name, groups[row][0]): float(solved.x[column]) for column, (row, name) in enumerate(loads)}
    return _DealtOut(float(solved.fun), shares)
