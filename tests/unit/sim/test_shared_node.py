"""A node that several services share: alone the engine's own run, together a queue worked out by hand."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet_latency import LatencyMixture
from perfmodel.sim.policies import SplitAndOffload, split_query
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
    assert served.requests.cpu_busy_s == pytest.approx(record.cpu_busy_s)


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
