"""What services are served on nodes that they share: sums that a reader can do."""

from __future__ import annotations

import pytest

from perfmodel.planning.plan.shared_rates import Placed, components, loads_together, rates_together

BOTH: Placed = ("x", ("a", "b"))
NODE_QPS = {("a", "x"): 100.0, ("b", "x"): 50.0, ("c", "x"): 10.0}


def test_a_service_that_asks_for_nothing_takes_nothing_of_the_nodes_that_it_may_use() -> None:
    assert rates_together({"a": 30.0}, NODE_QPS, {BOTH: 2.0}) == {"a": pytest.approx(200.0)}
    assert loads_together({"a": 30.0}, NODE_QPS, {BOTH: 2.0}) == {("a", BOTH): pytest.approx(30.0)}


def test_services_by_way_of_others_share_nodes() -> None:
    nodes: dict[Placed, float] = {BOTH: 1.0, ("x", ("b", "c")): 1.0}
    assert components({"a": 1.0, "b": 1.0, "c": 1.0}, nodes) == [{"a", "b", "c"}]
    assert components({"a": 1.0, "c": 1.0}, nodes) == [{"a"}, {"c"}]


def test_the_fullest_nodes_are_as_little_full_as_can_be() -> None:
    """2 nodes: a 150 and b 25 take 1.5 + 0.5 of their time; c, by itself, 5 of 10."""
    nodes: dict[Placed, float] = {BOTH: 2.0, ("x", ("c",)): 1.0}
    demand = {"a": 150.0, "b": 25.0, "c": 5.0}
    assert rates_together(demand, NODE_QPS, nodes) == pytest.approx({"a": 150.0, "b": 25.0, "c": 10.0})
    loads = loads_together(demand, NODE_QPS, nodes)
    assert sum(load for (name, _), load in loads.items() if name == "a") == pytest.approx(150.0)


def test_a_service_without_nodes_is_served_nothing() -> None:
    assert rates_together({"a": 1.0}, NODE_QPS, {}) == {"a": 0.0}
    assert loads_together({"a": 1.0}, NODE_QPS, {}) == {}
