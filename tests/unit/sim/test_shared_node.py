"""A node that several services share: alone the engine's own run, together a queue worked out by hand."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.serving import DynamicBatchingPolicy, SimulationSettings
from perfmodel.domain.workload import PoissonArrivals, TraceArrivals
from perfmodel.errors import InputError
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.builtin_policies import DynamicBatching
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet_latency import LatencyMixture
from perfmodel.sim.policies import Shedding, SplitAndOffload, split_query
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.scatter import NO_LUCK, ScatterTable, log_normal_factors, slowest_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.shared_node import (
    OneOfSeveral,
    SharedNode,
    SharedTraffic,
    simulate_shared,
    why_not_shared,
)
from perfmodel.sim.traffic import Queries

SMALL = ServiceTimes(
    cpu_s=np.linspace(1e-3, 4e-3, 64)[:, None] * np.linspace(1.0, 1.4, 3),
    accelerator_s=np.linspace(2e-3, 3e-3, 200),
    num_accelerators=1,
)
LARGE = ServiceTimes(
    cpu_s=np.linspace(3e-3, 9e-3, 100)[:, None] * np.linspace(1.0, 2.0, 3),
    accelerator_s=np.linspace(5e-3, 9e-3, 200),
    num_accelerators=1,
)
A = OneOfSeveral(times=SMALL, policy=SplitAndOffload(batch_size=32), max_items=200)
B = OneOfSeveral(
    times=LARGE, policy=SplitAndOffload(batch_size=100, offload_threshold_items=150), max_items=200
)


def queries(num_queries: int, seed: int = 1) -> tuple[FloatArray, IntArray]:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(8e-3, num_queries))
    arrival_s[5:9] = arrival_s[5]  # at one instant
    return arrival_s, rng.integers(1, 201, num_queries)


@pytest.mark.parametrize("service", [A, B])
def test_a_service_alone_is_served_as_the_engine_serves_it(service: OneOfSeveral) -> None:
    arrival_s, num_items = queries(3000)
    served = SharedNode((service,)).serve(arrival_s, num_items, np.zeros(3000, np.int64), NO_LUCK)
    record = simulate(Queries(arrival_s, num_items), service.times, service.policy)
    assert np.array_equal(served.finish_s, record.finish_s)
    assert served.rounding_s == record.rounding_s


def test_equal_services_share_one_queue() -> None:
    arrival_s, num_items = queries(3000)
    served = SharedNode((A, A)).serve(arrival_s, num_items, np.arange(3000) % 2, NO_LUCK)
    record = simulate(Queries(arrival_s, num_items), A.times, A.policy)
    assert np.array_equal(served.finish_s, record.finish_s)


def by_hand(arrival_s: FloatArray, num_items: IntArray, service: IntArray) -> FloatArray:
    """First in, first out on three cores and a card; times as many busy as there are at the start."""
    finish_s = np.zeros(len(arrival_s))
    ends: dict[str, list[float]] = {"cores": [], "card": []}
    last = {"cores": 0.0, "card": 0.0}
    for query, (at_s, items, which) in enumerate(zip(arrival_s, num_items, service, strict=True)):
        own = (A, B)[which]
        offloaded = own.policy.offloads(int(items))
        pool, executors = ("card", 1) if offloaded else ("cores", 3)
        requests = [int(items)] if offloaded else split_query(int(items), own.policy.batch_size)
        for size in requests:
            start_s = max(at_s, last[pool])
            if len(ends[pool]) == executors:
                start_s = max(start_s, ends[pool][0])
            while ends[pool] and ends[pool][0] <= start_s:
                heapq.heappop(ends[pool])
            if offloaded:
                time_s = own.times.accelerator_by_streams_s[size - 1, 0]
            else:
                time_s = own.times.cpu_s[size - 1, len(ends[pool])]
            last[pool] = start_s
            heapq.heappush(ends[pool], start_s + time_s)
            finish_s[query] = max(finish_s[query], start_s + time_s)
    return finish_s


def test_different_services_are_served_first_in_first_out_each_with_its_own_times() -> None:
    arrival_s, num_items = queries(2000, seed=7)
    service = np.random.default_rng(3).integers(0, 2, 2000)
    served = SharedNode((A, B)).serve(arrival_s, num_items, service, NO_LUCK)
    assert np.allclose(served.finish_s, by_hand(arrival_s, num_items, service), rtol=1e-12, atol=0.0)


@pytest.mark.thorough
def test_scatter_is_that_of_each_service() -> None:
    even = ServiceTimes(cpu_s=np.full((1, 400), 1.0))
    law = ScatterTable(log_normal_factors(0.5)[None, :], np.zeros(1, np.int64))
    scattered = ServiceTimes(cpu_s=np.full((1, 400), 1.0), cpu_scatter=law)
    one = OneOfSeveral(times=even, policy=SplitAndOffload(batch_size=1), max_items=1)
    other = OneOfSeveral(times=scattered, policy=SplitAndOffload(batch_size=1), max_items=1)
    service = np.arange(20_000) % 2
    arrival_s = np.arange(20_000, dtype=np.float64)
    served = SharedNode((one, other)).serve(arrival_s, np.ones(20_000, np.int64), service, NO_LUCK)
    latency_s = served.finish_s - arrival_s
    assert np.allclose(latency_s[service == 0], 1.0)
    assert latency_s[service == 1].std() == pytest.approx(float(law.factors.std()), rel=0.05)


@pytest.mark.thorough
def test_percentiles_of_both_are_those_of_one_queue() -> None:
    """Exponential times on four cores, in two services of one kind: each sees M/M/c at the rate of both."""
    from perfmodel.domain.unsteady import ExponentialScatter

    factors = slowest_of(ExponentialScatter(distribution="exponential"), 1)[1]
    law = ScatterTable(factors[None, :], np.zeros(1, np.int64))
    times = ServiceTimes(cpu_s=np.full((1, 4), 0.01), cpu_scatter=law)
    each = OneOfSeveral(times=times, policy=SplitAndOffload(batch_size=1), max_items=1)
    traffic = [
        SharedTraffic(
            arrivals=PoissonArrivals(rate_qps=rate_qps), share=0.1, sizes=pmf_of_list([1]), percentile=0.95
        )
        for rate_qps in (800.0, 2000.0)
    ]
    settings = SimulationSettings(seed=1, precision=0.015)
    found = simulate_shared(SharedNode((each, each)), traffic, settings)
    expected_s = mmc_latency_percentile_s(0.95, 280.0, 0.01, 4)
    for sample in found.samples:
        interval = LatencyMixture([sample]).interval(0.95)
        assert interval.low_s < interval.high_s < 1.06 * interval.low_s, "too vague to prove anything"
        assert interval.low_s * 0.99 <= expected_s <= interval.high_s * 1.01


def test_an_overload_has_no_latencies() -> None:
    each = OneOfSeveral(times=SMALL, policy=SplitAndOffload(batch_size=64), max_items=64)
    law = pmf_of_list([64])
    traffic = [
        SharedTraffic(arrivals=PoissonArrivals(rate_qps=400.0), share=1.0, sizes=law, percentile=0.95)
    ] * 2
    found = simulate_shared(SharedNode((each, each)), traffic, SimulationSettings(min_queries=10_000))
    assert not found.is_stable
    assert found.samples == ()


def test_what_cannot_be_served_together_says_why() -> None:
    wider = ServiceTimes(cpu_s=np.full((32, 5), 1.0))
    other = OneOfSeveral(times=wider, policy=SplitAndOffload(batch_size=32), max_items=32)
    assert why_not_shared([A, A]) is None
    assert why_not_shared([A, other]) == "its services take different numbers of cores a request"
    with pytest.raises(InputError, match="different numbers of cores"):
        SharedNode((A, other))


def test_batches_of_one_service_wait_beside_anothers_requests_worked_out_by_hand() -> None:
    """One core. A joins up to 2 items for up to 3 s and takes 1 s; B takes 1 s an item, one at a time.

    Arrivals at 0 (A), 1 (B), 1 (B), 2 (A), 6 (A). A's first waits for a second: B's first runs from 1 to 2.
    At 2 A's second fills the batch, and its first came before B's second: A runs 2 to 3, B's second 3 to 4.
    A's third waits alone until 9, and ends at 10.
    """
    each_s = ServiceTimes(cpu_s=np.ones((2, 1)))
    joins = DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=2, timeout_ms=3000.0))
    a = OneOfSeveral(times=each_s, policy=joins, max_items=1)
    b = OneOfSeveral(times=each_s, policy=SplitAndOffload(batch_size=1), max_items=1)
    asked = np.array([0.0, 1.0, 1.0, 2.0, 6.0]), np.ones(5, np.int64), np.array([0, 1, 1, 0, 0])
    served = SharedNode((a, b)).serve(*asked, NO_LUCK)
    assert served.finish_s.tolist() == [3.0, 2.0, 4.0, 3.0, 10.0]


def test_nodes_get_each_recorded_query_once() -> None:
    """Of two groups, with three nodes at 0.2 and two at 0.2: together they get all that was recorded."""
    trace_s = np.sort(np.random.default_rng(2).uniform(0.0, 50.0, 4000))
    items = np.random.default_rng(3).integers(1, 9, 4000)
    groups = [
        SharedTraffic(
            arrivals=TraceArrivals(process="trace", file=Path("trace.csv"), rate_qps=80.0),
            share=0.2,
            sizes=pmf_of_list(items),
            percentile=0.95,
            trace_s=trace_s,
            trace_num_items=items,
            first_share=first,
        )
        for first in (0.0, 0.6)
    ]
    period_s = groups[0].period_s
    assert period_s is not None
    assert period_s == pytest.approx(50.0, rel=1e-9)
    drawn = [
        group.replayed(0, node, period_s, 1)
        for group, n in zip(groups, (3, 2), strict=True)
        for node in range(n)
    ]
    assert sum(len(each.arrival_s) for each in drawn) == 4000
    assert sum(int(each.num_items.sum()) for each in drawn) == items.sum()
    longer = groups[0].replayed(0, 0, 1.5 * period_s, 1)
    assert np.array_equal(longer.arrival_s[: len(drawn[0].arrival_s)], drawn[0].arrival_s)
    assert longer.arrival_s[-1] > 1.4 * period_s, "what was recorded begins again"


def test_what_is_turned_away_counts_by_service() -> None:
    """A core that is asked for 1.5 times what it serves turns away a third of what may be turned away."""
    times = ServiceTimes(cpu_s=np.full((1, 1), 0.01))
    sheds = SplitAndOffload(batch_size=1, shedding=Shedding(queue_limit_requests=5))
    each = OneOfSeveral(times=times, policy=SplitAndOffload(batch_size=1), max_items=1)
    other = OneOfSeveral(times=times, policy=sheds, max_items=1)
    traffic = [
        SharedTraffic(
            arrivals=PoissonArrivals(rate_qps=rate_qps), share=1.0, sizes=pmf_of_list([1]), percentile=0.95
        )
        for rate_qps in (30.0, 120.0)
    ]
    found = simulate_shared(SharedNode((each, other)), traffic, SimulationSettings(precision=0.1))
    assert found.is_stable
    assert found.shed_rates[0] == 0.0
    assert 30.0 + 120.0 * (1.0 - found.shed_rates[1]) == pytest.approx(100.0, rel=0.02)
