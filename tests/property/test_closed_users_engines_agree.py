"""Closed users: the compiled recursion against the reference, query by query, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.domain.workload import ClosedArrivals, FixedSizes, LogNormalSizes, PoissonArrivals
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.records import RunRecord, broken_rules
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.users import Users
from tests.examples import examples
from tests.property.scattered import scatters

TICK_S = 0.25


@st.composite
def cases_full_of_ties(draw: st.DrawFn) -> tuple[Queries, ServiceTimes, SplitAndOffload]:
    """Thoughts and service times on one grid, so that answers and questions coincide."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=40))
    thoughts = draw(st.lists(st.integers(0, 4), min_size=len(sizes), max_size=len(sizes)))
    first = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch_size, cards = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    service = ServiceTimes(
        cpu_s=rng.integers(1, 5, size=(batch_size, draw(st.integers(1, 3)))) * TICK_S,
        accelerator_s=rng.integers(1, 5, size=9) * TICK_S if cards else None,
        num_accelerators=cards,
        cpu_scatter=draw(scatters()),
        accelerator_scatter=draw(scatters()),
    )
    threshold = draw(st.none() | st.integers(1, 10)) if cards else None
    users = Users(first_s=np.array(first) * TICK_S, think_s=np.array(thoughts) * TICK_S)
    queries = Queries(np.zeros(len(sizes)), np.array(sizes), users=users)
    return queries, service, SplitAndOffload(batch_size=batch_size, offload_threshold_items=threshold)


def assert_engines_agree(
    queries: Queries, service: ServiceTimes, policy: SplitAndOffload
) -> tuple[RunRecord, RunRecord]:
    reference, compiled = (simulate(queries, service, policy, engine=name) for name in ("simpy", "compiled"))
    assert (reference.engine, compiled.engine) == ("simpy", "compiled")
    np.testing.assert_array_equal(compiled.arrival_s, reference.arrival_s)
    np.testing.assert_array_equal(compiled.finish_s, reference.finish_s)
    np.testing.assert_allclose(compiled.cpu_busy_s, reference.cpu_busy_s, rtol=1e-12)
    assert np.all(np.diff(compiled.arrival_s) >= 0)
    assert broken_rules(compiled) == []
    return reference, compiled


@examples(250)
@given(case=cases_full_of_ties())
def test_engines_agree_where_nearly_all_events_coincide(
    case: tuple[Queries, ServiceTimes, SplitAndOffload],
) -> None:
    assert_engines_agree(*case)


@pytest.mark.thorough
def test_engines_agree_on_a_long_run_and_never_more_than_the_users_are_under_way() -> None:
    law = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
    service = ServiceTimes(
        cpu_s=(1e-3 + 2e-5 * np.arange(1, 65))[:, None] * np.linspace(1, 1.5, 4),
        accelerator_s=2e-4 + 1e-5 * np.arange(1, 1025),
        num_accelerators=1,
    )
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=400)
    traffic = TrafficSource(arrivals=ClosedArrivals(users=30, think_s=0.01), sizes=law)
    _, record = assert_engines_agree(traffic.draw(20_000, seed=4), service, policy)
    ended = np.searchsorted(np.sort(record.finish_s), record.arrival_s, side="right")
    under_way = np.arange(1, 20_001) - ended
    assert under_way.max() == 30


def test_who_is_turned_away_thinks_and_asks_again() -> None:
    # One core, nobody may wait: of two users who ask at 0 and 0 the second is refused, thinks 1 s, and so on.
    service = ServiceTimes(cpu_s=np.array([[1.5]]))
    users = Users(first_s=np.zeros(2), think_s=np.full(4, 1.0))
    policy = SplitAndOffload(batch_size=1, shedding=Shedding(queue_limit_requests=0))
    record = simulate(Queries(np.zeros(4), np.ones(4, dtype=int), users=users), service, policy)
    assert record.engine == "simpy"
    assert record.arrival_s[:3].tolist() == [0.0, 0.0, 1.0]
    assert record.served[:3].tolist() == [True, False, False]


def test_more_users_begin_with_the_same_thoughts() -> None:
    few = TrafficSource(
        arrivals=ClosedArrivals(users=3, think_s=2.0),
        sizes=pmf_of(FixedSizes(distribution="fixed", num_items=5)),
    )
    many = replace(few, arrivals=ClosedArrivals(users=7, think_s=2.0))
    first, longer = few.draw(10, seed=1).users, many.draw(20, seed=1).users
    assert first is not None
    assert longer is not None
    np.testing.assert_array_equal(longer.first_s[:3], first.first_s)
    np.testing.assert_array_equal(longer.first(10).think_s, first.think_s)
    opened = replace(few, arrivals=PoissonArrivals(rate_qps=1.0))
    assert opened.draw(10, seed=1).users is None
