"""Work of the query in both engines, by hand: paid by each request, by each query of a launch, or once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.domain.serving import DynamicBatchingPolicy, SplitPolicy
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.query_times import LaunchTimes, QueryTimes
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

both_engines = pytest.mark.parametrize("engine", ["simpy", "compiled"])
ITEMS = 8
WORK_S = 10.0
"""Of a query; an item takes 1 s."""


def node(cores: int, *, shares: tuple[float, ...] = (1.0,), shares_work: bool = False) -> ServiceTimes:
    """Queries of kind k have work of (k + 1) 10 s."""
    work_s = WORK_S * np.arange(1.0, len(shares) + 1)[:, None, None]
    items_s = np.arange(1.0, ITEMS + 1)[None, :, None] * np.ones((1, 1, cores))
    times = LaunchTimes(
        with_s=items_s + work_s,
        without_s=items_s + 0.0 * work_s,
        more_s=work_s * np.arange(ITEMS)[None, :, None] * np.ones((1, 1, cores)),
    )
    by_query = QueryTimes(shares=np.array(shares), cpu=times, shares_work=shares_work)
    return ServiceTimes(cpu_s=by_query.mean_cpu_s, by_query=by_query)


def finishes(
    engine: EngineName, arrival_s: list[float], num_items: list[int], service: ServiceTimes, policy: Policy
) -> list[float]:
    queries = Queries(np.array(arrival_s), np.array(num_items))
    return simulate(queries, service, policy, engine=engine).finish_s.tolist()


@both_engines
def test_each_request_of_a_query_pays_its_work(engine: EngineName) -> None:
    policy = policy_from(SplitPolicy(batch_size=4))
    assert finishes(engine, [0.0], [8], node(1), policy) == [2 * (10 + 4)]


@both_engines
def test_shared_work_is_paid_by_the_first_request_alone(engine: EngineName) -> None:
    policy = policy_from(SplitPolicy(batch_size=4, share_query_work=True))
    assert finishes(engine, [0.0, 0.0], [8, 1], node(1, shares_work=True), policy) == [14 + 4, 18 + 11]


@both_engines
@pytest.mark.parametrize("queries", [1, 2, 3])
def test_a_launch_pays_the_work_of_each_query_that_it_joins(engine: EngineName, queries: int) -> None:
    policy = policy_from(DynamicBatchingPolicy(max_batch_items=6, timeout_ms=1000.0))
    found = finishes(engine, [0.0] * queries, [2] * queries, node(1), policy)
    waited_s = 0.0 if queries == 3 else 1.0  # a full batch does not wait
    assert found == [waited_s + 10 * queries + 2 * queries] * queries


@both_engines
def test_joined_queries_are_padded_to_the_longest(engine: EngineName) -> None:
    service = node(1, shares=(0.5, 0.5))
    assert service.by_query is not None
    kinds = service.by_query.kinds_of(2, Luck()).tolist()
    policy = policy_from(DynamicBatchingPolicy(max_batch_items=2, timeout_ms=1000.0))
    longest_s = WORK_S * (1 + max(kinds))
    assert finishes(engine, [0.0, 0.0], [1, 1], service, policy) == [2 * longest_s + 2] * 2


def test_a_longer_run_has_the_same_kinds_first_and_as_many_as_their_shares() -> None:
    by_query = node(1, shares=(0.25, 0.75)).by_query
    assert by_query is not None
    kinds = by_query.kinds_of(20_000, Luck())
    assert by_query.kinds_of(50, Luck()).tolist() == kinds[:50].tolist()
    assert kinds.mean() == pytest.approx(0.75, abs=0.01)  # 3 standard deviations


@pytest.mark.parametrize(("shares_work", "expected"), [(False, 0.01 * 3 * 12), (True, 0.01 * (12 + 2 + 2))])
def test_the_load_counts_the_work_as_often_as_it_is_paid(shares_work: bool, expected: float) -> None:
    """Six items in requests of two, each of 2 s, beside 10 s of the query's work; 0.01 queries/s."""
    policy = policy_from(SplitPolicy(batch_size=2, share_query_work=shares_work))
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=0.01), sizes=pmf_of_list([6]))
    load = offered_utilisation(traffic, node(1, shares_work=shares_work), policy, contended=True)
    assert load.cpu == pytest.approx(expected)


def test_longer_times_are_longer_for_every_query() -> None:
    service = node(1, shares=(0.5, 0.5)).scaled(2.0, 1.0)
    assert service.by_query is not None
    assert service.by_query.cpu.seconds(1, 3, 2, 1) == 2.0 * (3 + 20 + 20)


def test_tables_of_other_shapes_are_refused() -> None:
    times = node(2).by_query
    assert times is not None
    with pytest.raises(InputError, match="expected tables of one shape"):
        replace(times.cpu, more_s=np.zeros((1, 3, 1)))
