"""Every policy: the compiled engine against the reference, query by query, and the rules of every record."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.domain.serving import (
    DynamicBatchingPolicy,
    FusionPolicy,
    PolicySettings,
    SeparateQueuesPolicy,
    SheddingSettings,
    SizePriorityPolicy,
    SplitPolicy,
)
from perfmodel.domain.workload import LogNormalSizes, PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.sim.builtin_policies import DynamicBatching, Fusion, SeparateQueues, SizePriority, policy_from
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Policy, Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.records import broken_rules
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from tests.examples import examples
from tests.property.scattered import scatters

Case = tuple[Queries, ServiceTimes, Policy]
LARGEST = 12
TICK_S = 0.25

batch_sizes = st.integers(1, 5)
thresholds = st.integers(1, LARGEST + 1)
limits = st.none() | st.integers(1, 6)
deadlines_ms = st.none() | st.integers(1, 8).map(lambda ticks: 1e3 * ticks * TICK_S)
sheddings = st.tuples(limits, deadlines_ms).map(
    lambda each: (
        None if each == (None, None) else SheddingSettings(queue_limit_requests=each[0], deadline_ms=each[1])
    )
)


def batching(
    pool: Literal["cpu", "accelerator"],
    max_batch_items: int,
    timeout_ms: float,
    shedding: SheddingSettings | None,
) -> DynamicBatchingPolicy:
    """Batches that wait for less than a deadline leaves them."""
    if shedding is not None and shedding.deadline_ms is not None:
        timeout_ms = min(timeout_ms, shedding.deadline_ms - 1e3 * TICK_S)
    return DynamicBatchingPolicy(
        pool=pool, max_batch_items=max_batch_items, timeout_ms=timeout_ms, shedding=shedding
    )


SETTINGS: dict[str, st.SearchStrategy[PolicySettings]] = {
    "split": st.builds(
        SplitPolicy,
        batch_size=batch_sizes,
        offload_threshold_items=st.none() | thresholds,
        shedding=sheddings,
    ),
    "size-priority": st.builds(
        SizePriorityPolicy,
        batch_size=batch_sizes,
        ageing_items_per_s=st.sampled_from([0.0, 0.5, 4.0, 100.0]),
        offload_threshold_items=st.none() | thresholds,
        shedding=sheddings,
    ),
    "separate-queues": st.builds(
        SeparateQueuesPolicy,
        large_from_items=st.integers(2, 8),
        small_cores=st.integers(1, 2),
        small_batch_size=batch_sizes,
        large_batch_size=batch_sizes,
        offload_threshold_items=st.none() | st.integers(9, 13),
        shedding=sheddings,
    ),
    "dynamic-batching": st.builds(
        batching,
        pool=st.sampled_from(["cpu", "accelerator"]),
        max_batch_items=st.integers(1, LARGEST),
        timeout_ms=st.integers(0, 6).map(lambda ticks: 1e3 * ticks * TICK_S),
        shedding=sheddings,
    ),
    "fusion": st.builds(
        FusionPolicy,
        batch_size=batch_sizes,
        offload_threshold_items=thresholds,
        max_fused_items=st.integers(1, LARGEST),
        shedding=sheddings,
    ),
}
each_policy = pytest.mark.parametrize("name", SETTINGS)


@st.composite
def cases(draw: st.DrawFn, name: str) -> Case:
    """Nearly everything at the same instants, on a small node with contention of no particular shape."""
    gaps = draw(st.lists(st.integers(0, 4), min_size=1, max_size=40))
    sizes = draw(st.lists(st.integers(1, LARGEST), min_size=len(gaps), max_size=len(gaps)))
    policy = policy_from(draw(SETTINGS[name]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    streams, slowest = draw(st.integers(1, 3)), draw(st.sampled_from([2, 4, 12]))
    service = ServiceTimes(
        cpu_s=rng.integers(1, slowest + 1, size=(LARGEST, draw(st.integers(3, 5)))) * TICK_S,
        accelerator_s=rng.integers(1, slowest + 1, size=(LARGEST, streams)) * TICK_S,
        num_accelerators=draw(st.integers(1, 3)),
        cpu_scatter=draw(scatters()),
        accelerator_scatter=draw(scatters()),
    )
    return Queries(np.cumsum(gaps) * TICK_S, np.array(sizes)), service, policy


def assert_engines_agree(case: Case) -> None:
    reference, compiled = (simulate(*case, engine=engine) for engine in ("simpy", "compiled"))
    assert (reference.engine, compiled.engine) == ("simpy", "compiled")
    np.testing.assert_allclose(compiled.finish_s, reference.finish_s, rtol=1e-9)
    np.testing.assert_array_equal(compiled.served, reference.served)
    np.testing.assert_array_equal(compiled.offloaded, reference.offloaded)
    assert compiled.cpu_busy_s == pytest.approx(reference.cpu_busy_s, rel=1e-12)
    assert compiled.accelerator_busy_s == pytest.approx(reference.accelerator_busy_s, rel=1e-12)
    assert compiled.makespan_s == pytest.approx(reference.makespan_s, rel=1e-12)
    if compiled.cpu_launches is not None:
        assert compiled.cpu_launches == reference.cpu_launches
    if reference.large is not None:
        assert compiled.large is not None
        assert compiled.large.busy_s == pytest.approx(reference.large.busy_s, rel=1e-12)
        np.testing.assert_array_equal(compiled.large.serves, reference.large.serves)


@each_policy
def test_engines_agree_where_nearly_all_events_coincide(name: str) -> None:
    @examples(250)
    @given(case=cases(name))
    def check(case: Case) -> None:
        assert_engines_agree(case)

    check()


@each_policy
def test_no_rule_is_broken(name: str) -> None:
    @examples(60)
    @given(case=cases(name))
    def check(case: Case) -> None:
        assert broken_rules(simulate(*case, engine="simpy", log_requests=True)) == []
        assert broken_rules(simulate(*case, engine="compiled")) == []

    check()


LONG: dict[str, Policy] = {
    "size-priority": SizePriority(
        SizePriorityPolicy(batch_size=64, ageing_items_per_s=2000.0, offload_threshold_items=600)
    ),
    "size-priority at 40 items": SizePriority(SizePriorityPolicy(batch_size=40, ageing_items_per_s=0.0)),
    "separate-queues": SeparateQueues(
        SeparateQueuesPolicy(large_from_items=200, small_cores=5, small_batch_size=64, large_batch_size=100)
    ),
    "batching on the cores": DynamicBatching(
        DynamicBatchingPolicy(pool="cpu", max_batch_items=256, timeout_ms=10.0)
    ),
    "batching on the accelerator": DynamicBatching(
        DynamicBatchingPolicy(pool="accelerator", max_batch_items=2048, timeout_ms=2.0)
    ),
    "fusion": Fusion(
        FusionPolicy(batch_size=64, offload_threshold_items=100, max_fused_items=1500, streams=2)
    ),
    "split with shedding": SplitAndOffload(
        batch_size=64, shedding=Shedding(queue_limit_requests=20, deadline_s=0.02)
    ),
    "priority with shedding": SizePriority(
        SizePriorityPolicy(
            batch_size=64, ageing_items_per_s=100.0, shedding=SheddingSettings(deadline_ms=20.0)
        )
    ),
}


def long_case(policy: Policy, load: float, num_queries: int, seed: int = 3) -> Case:
    """Sixteen cores and two accelerators of two streams, contention, and continuous times."""
    busy, items = np.arange(1, 17), np.arange(1, 2049)
    law = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
    launch_s = 2e-4 + 1e-6 * items
    service = ServiceTimes(
        cpu_s=(1e-3 + 2e-5 * items)[:, None] * (1 + 0.5 * busy / 16),
        accelerator_s=np.stack([launch_s, 1.7 * launch_s], axis=1),
        num_accelerators=2,
    )
    queries = TrafficSource(arrivals=PoissonArrivals(rate_qps=load * 16 / 8.2e-3), sizes=law).draw(
        num_queries, seed=seed
    )
    return queries, service, policy


@pytest.mark.thorough_cases(
    "1.15-size-priority at 40 items",
    "0.6-priority with shedding",
    "1.15-size-priority",
    "0.6-size-priority at 40 items",
)
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("load", [0.6, 1.15])
def test_engines_agree_on_long_continuous_runs(name: str, load: float) -> None:
    assert_engines_agree(long_case(LONG[name], load, 6_000))


def test_queues_grow_as_long_as_they_need_to() -> None:
    queries, service, policy = long_case(LONG["size-priority"], 0.5, 3_000)
    crowd = Queries(np.repeat(queries.arrival_s[:1], 3_000), queries.num_items)
    for each in (policy, LONG["fusion"], LONG["batching on the cores"]):
        assert_engines_agree((crowd, service, each))


@pytest.mark.parametrize(
    "policy",
    [
        SizePriority(SizePriorityPolicy(batch_size=1, ageing_items_per_s=1.0)),
        DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=1, timeout_ms=0.0)),
    ],
)
def test_a_queue_that_grows_in_the_middle_of_an_instant_does_not_turn_time_back(policy: Policy) -> None:
    # Capacities double from 256 on: here between a completion and the last arrivals of the same instant.
    arrival_s = np.repeat([0.0, 1.0], [200, 100])
    service = ServiceTimes(cpu_s=np.ones((1, 1)))
    assert_engines_agree((Queries(arrival_s, np.ones(300, dtype=np.int64)), service, policy))


def test_an_unserved_size_is_an_error_in_both_engines() -> None:
    queries, service, _ = long_case(LONG["fusion"], 0.5, 10)
    too_large = DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=4096, timeout_ms=0.0))
    for engine in ("simpy", "compiled"):
        with pytest.raises(InputError, match="up to 4096 items"):
            simulate(queries, service, too_large, engine=engine)
