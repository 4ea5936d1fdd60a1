"""Who is looked at, and who is chosen, on cases that a reader can follow by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import DynamicBatchingPolicy
from perfmodel.errors import InputError
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.policies import Shedding, SplitAndOffload
from perfmodel.sim.routing import draw_candidates
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries

by_engine = pytest.mark.parametrize("engine", ["simpy", "compiled"])
SPLIT = SplitAndOffload(batch_size=1)


def one_core(service_s: float = 1.0) -> NodeKind:
    return NodeKind(service=ServiceTimes(cpu_s=np.array([[service_s]])), policy=SPLIT)


def shortest(queries: Queries, fleet: Fleet, engine: str) -> list[int]:
    record = simulate_fleet(queries, fleet, Routing.JOIN_SHORTEST_QUEUE, seed=1, engine=engine)
    return record.node.tolist()


def test_round_robin_goes_around() -> None:
    assert draw_candidates(Routing.ROUND_ROBIN, 5, 2, seed=1).tolist() == [[0], [1], [0], [1], [0]]


def test_power_of_two_looks_at_every_pair_of_different_nodes_equally_often() -> None:
    pairs = draw_candidates(Routing.POWER_OF_TWO, 60_000, 4, seed=1)
    counts = np.zeros((4, 4))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    assert np.all(np.diag(counts) == 0)
    assert np.abs(counts[~np.eye(4, dtype=bool)] - 5000).max() < 5 * 5000**0.5


def test_random_routing_keeps_the_weights() -> None:
    weights = np.array([1.0, 0.0, 3.0])
    nodes = draw_candidates(Routing.RANDOM, 40_000, 3, seed=1, weights=weights)[:, 0]
    counts = np.bincount(nodes, minlength=3)
    assert counts[1] == 0
    assert counts[0] == pytest.approx(10_000, abs=5 * 7500**0.5)


@pytest.mark.parametrize("routing", [Routing.RANDOM, Routing.POWER_OF_TWO])
def test_longer_draws_begin_with_the_shorter_and_seeds_differ(routing: Routing) -> None:
    longer = draw_candidates(routing, 500, 7, seed=1)
    np.testing.assert_array_equal(draw_candidates(routing, 200, 7, seed=1), longer[:200])
    assert np.any(draw_candidates(routing, 500, 7, seed=2) != longer)
    assert np.any(draw_candidates(routing, 500, 7, seed=1, replication=1) != longer)


def test_routing_draws_from_a_stream_of_its_own() -> None:
    uniform = stream(1, "routing").random((100, 1))
    drawn = draw_candidates(Routing.RANDOM, 100, 10, seed=1)
    np.testing.assert_array_equal(drawn, (10 * uniform).astype(int))


@by_engine
def test_of_equal_nodes_the_lowest_index_is_chosen_and_queries_of_one_instant_see_each_other(
    engine: str,
) -> None:
    queries = Queries(np.array([0.0, 0.0, 0.0, 0.25]), np.ones(4, dtype=int))
    assert shortest(queries, Fleet((one_core(),), (2,)), engine) == [0, 1, 0, 1]


@by_engine
def test_what_ends_at_the_instant_of_an_arrival_has_left(engine: str) -> None:
    queries = Queries(np.array([0.0, 0.5, 1.0]), np.ones(3, dtype=int))
    assert shortest(queries, Fleet((one_core(),), (2,)), engine) == [0, 1, 0]


@by_engine
def test_requests_count_not_queries_and_those_of_both_pools(engine: str) -> None:
    with_accelerator = NodeKind(
        service=ServiceTimes(cpu_s=np.ones((1, 8)), accelerator_s=np.ones(9), num_accelerators=1),
        policy=SplitAndOffload(batch_size=1, offload_threshold_items=5),
    )
    # 3 items are three requests on node 0; two whole queries of 5 items go to node 1's accelerator.
    queries = Queries(np.zeros(5), np.array([3, 5, 5, 1, 1]))
    assert shortest(queries, Fleet((with_accelerator,), (2,)), engine) == [0, 1, 1, 1, 0]


@by_engine
def test_a_slow_node_keeps_its_queue_and_so_gets_fewer_queries(engine: str) -> None:
    queries = Queries(np.arange(400) * 0.5, np.ones(400, dtype=int))
    nodes = shortest(queries, Fleet((one_core(0.6), one_core(3.0)), (1, 1)), engine)
    assert nodes.count(0) > 3 * nodes.count(1) > 0


@by_engine
@pytest.mark.parametrize("routing", Routing)
def test_a_fleet_of_one_node_is_that_node(routing: Routing, engine: str) -> None:
    queries = Queries(np.array([0.0, 0.5]), np.ones(2, dtype=int))
    record = simulate_fleet(queries, Fleet((one_core(),), (1,)), routing, seed=1, engine=engine)
    assert record.latency_s.tolist() == [1.0, 1.5]
    assert record.cpu_busy_s.tolist() == [2.0]


@by_engine
@pytest.mark.parametrize("routing", Routing)
def test_nothing_arrives(routing: Routing, engine: str) -> None:
    queries = Queries(np.empty(0), np.empty(0, dtype=int))
    assert len(simulate_fleet(queries, Fleet((one_core(),), (2,)), routing, seed=1, engine=engine).node) == 0


def test_a_record_tells_its_kinds_apart() -> None:
    queries = Queries(np.arange(6.0), np.ones(6, dtype=int))
    fleet = Fleet((one_core(0.25), one_core(0.5)), (1, 2))
    record = simulate_fleet(queries, fleet, Routing.ROUND_ROBIN, seed=1)
    slow = record.of_kind(1)
    assert slow.arrival_s.tolist() == [1.0, 2.0, 4.0, 5.0]
    assert (slow.cpu_busy_s, slow.num_executors) == (2.0, 2)


def test_what_a_fleet_cannot_be() -> None:
    with pytest.raises(InputError, match="expected a number of nodes >= 1 for each of 1 kinds"):
        Fleet((one_core(),), (0,))
    with pytest.raises(InputError, match="nodes: expected at least 1"):
        draw_candidates(Routing.RANDOM, 5, 0, seed=1)
    fleet = Fleet((NodeKind(service=one_core().service, policy=SplitAndOffload(batch_size=4)),), (1,))
    with pytest.raises(InputError, match="the CPU table ends at 1"):
        simulate_fleet(Queries(np.zeros(1), np.array([4])), fleet, Routing.RANDOM, seed=1)


@by_engine
def test_a_full_node_sheds_what_is_routed_to_it(engine: str) -> None:
    # One core, one may wait. Of four queries at once each node gets two under round-robin; the fifth and the
    # sixth, later, find one running and one waiting, and are refused.
    policy = SplitAndOffload(batch_size=1, shedding=Shedding(queue_limit_requests=1))
    fleet = Fleet((NodeKind(service=one_core().service, policy=policy),), (2,))
    queries = Queries(np.array([0, 0, 0, 0, 0.5, 0.5]), np.ones(6, dtype=int))
    record = simulate_fleet(queries, fleet, Routing.ROUND_ROBIN, seed=1, engine=engine)
    assert record.finish_s.tolist() == [1, 1, 2, 2, np.inf, np.inf]
    assert record.served.tolist() == [True] * 4 + [False] * 2
    assert record.of_kind(0).shed_rate == pytest.approx(1 / 3)
    assert record.of_kind(0).makespan_s == 2


def test_a_router_counts_requests_that_wait_for_a_batch() -> None:
    # Batches of two, or after 10 s. The second query joins the other node, the third the first one's batch.
    settings = DynamicBatchingPolicy(pool="cpu", max_batch_items=2, timeout_ms=10_000)
    service = ServiceTimes(cpu_s=np.array([[1.0], [1.0]]))
    fleet = Fleet((NodeKind(service=service, policy=policy_from(settings)),), (2,))
    queries = Queries(np.array([0.0, 1.0, 2.0, 2.5]), np.ones(4, dtype=int))
    record = simulate_fleet(queries, fleet, Routing.JOIN_SHORTEST_QUEUE, seed=1)
    assert record.node.tolist() == [0, 1, 0, 1]
    assert record.finish_s.tolist() == [3.0, 3.5, 3.0, 3.5]
