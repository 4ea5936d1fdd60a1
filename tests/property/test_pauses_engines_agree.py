"""Pauses: the engines query by query, and both against a queue that is stepped through second by second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.domain.serving import DynamicBatchingPolicy, SizePriorityPolicy
from perfmodel.sim.builtin_policies import DynamicBatching, SizePriority
from perfmodel.sim.engines import simulate
from perfmodel.sim.pauses import Pauses
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries
from tests.examples import examples
from tests.property.scattered import scatters

CORES = 4


@st.composite
def cases(draw: st.DrawFn) -> tuple[Queries, ServiceTimes]:
    """A busy node: queries of up to eight items, pauses some times as long as a service."""
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    number = draw(st.integers(1, 120))
    queries = Queries(
        np.cumsum(rng.exponential(draw(st.sampled_from([0.1, 0.4, 3.0])), number)),
        rng.integers(1, 9, number),
        Luck(seed, draw(st.integers(0, 3))),
    )
    service = ServiceTimes(
        cpu_s=rng.uniform(0.1, 0.4, size=(8, draw(st.integers(1, CORES)))),
        accelerator_s=rng.uniform(0.2, 0.5, size=8),
        num_accelerators=1,
        cpu_scatter=draw(scatters()),
    )
    return queries, service


kinds = st.builds(
    Pauses,
    rate_per_s=st.sampled_from([0.01, 0.1, 0.5]),
    length_s=st.sampled_from([0.05, 0.8]),
    exponential=st.booleans(),
)
some = st.lists(kinds, min_size=1, max_size=2).map(tuple)


@examples(100)
@given(case=cases(), pauses=some, threshold=st.none() | st.integers(2, 8), batch_size=st.integers(1, 8))
def test_engines_agree_where_cores_are_paused_one_by_one(
    case: tuple[Queries, ServiceTimes], pauses: tuple[Pauses, ...], threshold: int | None, batch_size: int
) -> None:
    queries, service = case
    service = replace(service, core_pauses=pauses)
    policy = SplitAndOffload(batch_size=batch_size, offload_threshold_items=threshold)
    reference, compiled = (simulate(queries, service, policy, engine=each) for each in ("simpy", "compiled"))
    np.testing.assert_allclose(compiled.finish_s, reference.finish_s, rtol=1e-12)
    assert compiled.cpu_busy_s == pytest.approx(reference.cpu_busy_s, rel=1e-12)


POLICIES: tuple[Policy, ...] = (
    SplitAndOffload(batch_size=3, offload_threshold_items=6),
    SizePriority(SizePriorityPolicy(batch_size=3, ageing_items_per_s=2.0)),
    DynamicBatching(DynamicBatchingPolicy(max_batch_items=8, timeout_ms=100.0)),
)


@examples(40)
@given(case=cases(), pauses=some, policy=st.sampled_from(POLICIES))
def test_engines_agree_where_the_whole_node_is_paused(
    case: tuple[Queries, ServiceTimes], pauses: tuple[Pauses, ...], policy: Policy
) -> None:
    queries, service = case
    service = replace(service, node_pauses=pauses)
    reference, compiled = (simulate(queries, service, policy, engine=each) for each in ("simpy", "compiled"))
    np.testing.assert_allclose(compiled.finish_s, reference.finish_s, rtol=1e-9)
    assert (compiled.finish_s > queries.arrival_s).all()
    assert 0.0 < compiled.running_share <= 1.0


@examples(30)
@given(case=cases(), pauses=some)
def test_a_paused_node_is_one_that_is_stepped_through_its_pauses(
    case: tuple[Queries, ServiceTimes], pauses: tuple[Pauses, ...]
) -> None:
    queries, service = case
    one = ServiceTimes(cpu_s=service.cpu_s[:, :1], cpu_scatter=None, node_pauses=pauses)
    found_s = simulate(queries, one, SplitAndOffload(batch_size=8)).finish_s
    np.testing.assert_allclose(found_s, stepped_finish_s(queries, one, pauses), rtol=1e-9)


def stepped_finish_s(queries: Queries, service: ServiceTimes, pauses: tuple[Pauses, ...]) -> list[float]:
    """One executor, first in first out: each service is stretched by the pauses that begin before its end."""
    from perfmodel.sim.pauses import NODE_PAUSES, PauseEvents

    events = PauseEvents(pauses, queries.luck, NODE_PAUSES)
    events.cover(1e4)
    wall_pauses, before = [], 0.0
    for start, length in zip(events.start_s.tolist(), events.length_s.tolist(), strict=True):
        wall_pauses.append((start + before, start + before + length))
        before += length
    finish, free = [], 0.0
    for arrival, items in zip(queries.arrival_s.tolist(), queries.num_items.tolist(), strict=True):
        now, left = max(arrival, free), float(service.cpu_s[items - 1, 0])
        for begin, end in wall_pauses:
            if end <= now:
                continue
            if begin >= now + left:
                break
            left -= max(0.0, begin - now)
            now = end
        free = now + left
        finish.append(free)
    return finish
