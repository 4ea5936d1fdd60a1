"""The search for the greatest rate, against closed forms, against SimPy, and against single probes."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.serving import SizePriorityPolicy, SlaTarget
from perfmodel.domain.unsteady import LogNormalScatter
from perfmodel.domain.workload import (
    Arrivals,
    BurstyArrivals,
    ConstantArrivals,
    LogNormalSizes,
    PoissonArrivals,
    TraceArrivals,
)
from perfmodel.planning.rate import search as rate_search
from perfmodel.planning.rate.interval import greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s
from perfmodel.queueing.deterministic import solve_mdc
from perfmodel.sim.builtin_policies import SizePriority
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.probes import LateLimit, Probe, count_late, count_late_by_batch
from perfmodel.sim.query_sizes import pmf_of, pmf_of_list
from perfmodel.sim.scatter import scatter_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.units import MS
from tests.textbook import TextbookQueue, deterministic_queue, exponential_queue

LAW = pmf_of(LogNormalSizes(mu=log(120), sigma=0.8, max_items=1024))
CONTENDED = ServiceTimes(cpu_s=np.linspace(1e-3, 2e-3, 64)[:, None] * np.linspace(1.0, 1.5, 8))


def search_of(
    queue: TextbookQueue, latency_s: float, percentile: float = 0.95, *, seed: int = 1
) -> RateSearch:
    sla = SlaTarget(percentile=percentile, latency_ms=latency_s / MS)
    return RateSearch(
        traffic=queue.traffic,
        service=queue.service,
        policy=queue.policy,
        sla=sla,
        seed=seed,
        probe_queries=rate_search.PROBE_QUERIES,  # as it stands now: some tests change it
    )


def contended_search(
    latency_ms: float,
    *,
    arrivals: Arrivals | None = None,
    policy: Policy | None = None,
    engine: EngineName = "auto",
) -> RateSearch:
    return RateSearch(
        traffic=TrafficSource(arrivals=arrivals or PoissonArrivals(rate_qps=1.0), sizes=LAW),
        service=CONTENDED,
        policy=policy or SplitAndOffload(batch_size=64),
        sla=SlaTarget(percentile=0.95, latency_ms=latency_ms),
        seed=3,
        engine=engine,
        probe_queries=rate_search.PROBE_QUERIES,  # as it stands now: some tests change it
    )


@pytest.fixture
def short_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_search, "PROBE_QUERIES", 10_000)


@pytest.mark.usefixtures("short_probes")
@pytest.mark.parametrize("latency_ms", [1e5, 1e8])
def test_no_patience_lets_a_node_carry_more_than_fills_it(latency_ms: float) -> None:
    search = contended_search(latency_ms)
    full_qps = search.full_qps()
    assert full_qps < 0.8 * search.saturation_qps(), "contention matters"
    assert search.greatest_rate_qps() == pytest.approx(full_qps, rel=0.01)
    found = greatest_rate(search, num_queries=20_000)
    assert found is not None
    assert found.rate_qps <= full_qps * (1.0 + 1e-9)


@pytest.mark.parametrize("executors", [1, 4])
def test_the_greatest_rate_of_equal_services_is_that_of_the_closed_form(executors: int) -> None:
    rate_qps = 0.7 * executors
    latency_s = 1.0 + solve_mdc(rate_qps, 1.0, executors).wait_percentile_s(0.95)
    queue = deterministic_queue(0.5, executors)  # the rate that the search starts from does not matter
    assert search_of(queue, latency_s).greatest_rate_qps() == pytest.approx(rate_qps, rel=0.01)


@pytest.mark.thorough
def test_the_greatest_rate_of_exponential_services_is_that_of_the_closed_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_search, "PROBE_QUERIES", 2_000_000)  # four executors see few queries at a time
    latency_s = mmc_latency_percentile_s(0.95, 2.8, 1.0, 4)
    assert search_of(exponential_queue(0.5, 4), latency_s).greatest_rate_qps() == pytest.approx(2.8, rel=0.01)


def test_no_rate_meets_an_sla_that_an_idle_node_misses() -> None:
    search = search_of(deterministic_queue(0.5, 1), 0.999)
    assert not search.idle_node_meets()
    assert search.greatest_rate_qps() is None


def test_an_idle_node_meets_an_sla_of_exactly_its_service_time() -> None:
    assert search_of(deterministic_queue(0.5, 1), 1.0).idle_node_meets()


def test_an_idle_node_may_be_late_for_a_share_of_the_sizes() -> None:
    # One query in ten has two requests, and one core serves them one after the other.
    law = pmf_of_list([1] * 9 + [2])
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=law)
    for percentile, met in ((0.9, True), (0.91, False)):
        search = RateSearch(
            traffic=traffic,
            service=ServiceTimes(cpu_s=np.ones((1, 1))),
            policy=SplitAndOffload(batch_size=1),
            sla=SlaTarget(percentile=percentile, latency_ms=1500.0),
            seed=1,
        )
        assert search.idle_node_meets() is met


def test_of_a_long_tail_no_more_is_served_alone_than_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    # A request an item: all sizes up to a million would be 5e11 requests. One core, a microsecond each.
    served: list[int] = []

    def counted(queries: Queries, *arguments: object, **options: object) -> object:
        served.append(int(queries.num_items.sum()))
        return simulate(queries, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(rate_search, "simulate", counted)
    law = pmf_of(LogNormalSizes(mu=5.0, sigma=1.2, max_items=1_000_000))
    reached = law.probabilities.cumsum()
    for percentile in (0.5, 0.95):
        # The size that the percentile is: its time is met, less is not.
        size = int(law.values[np.searchsorted(reached, percentile)])
        for latency_us, met in ((size + 0.5, True), (0.9 * size, False)):
            search = RateSearch(
                traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=law),
                service=ServiceTimes(cpu_s=np.full((1, 1), 1e-6)),
                policy=SplitAndOffload(batch_size=1),
                sla=SlaTarget(percentile=percentile, latency_ms=latency_us / 1000.0),
                seed=1,
            )
            assert search.idle_node_meets() is met, (percentile, latency_us)
    assert max(served) < 1e8, "requests of one look at the idle node"


def test_a_loose_sla_is_capped_at_the_rate_that_fills_the_executors() -> None:
    search = search_of(deterministic_queue(0.5, 2), 1e6)
    assert search.greatest_rate_qps() == search.saturation_qps() == pytest.approx(2.0)


def test_equal_gaps_fill_the_executors() -> None:
    queue = deterministic_queue(0.5, 2)
    traffic = TrafficSource(arrivals=ConstantArrivals(rate_qps=1.0), sizes=queue.traffic.sizes)
    search = RateSearch(
        traffic=traffic,
        service=queue.service,
        policy=queue.policy,
        sla=SlaTarget(percentile=0.95, latency_ms=1000.001),
        seed=1,
    )
    assert search.greatest_rate_qps() == pytest.approx(2.0, rel=0.005)


@pytest.mark.usefixtures("short_probes")
def test_a_looser_sla_allows_a_greater_rate() -> None:
    rates = [contended_search(latency_ms).greatest_rate_qps() for latency_ms in (4.0, 6.0, 10.0, 30.0, 100.0)]
    assert None not in rates
    assert rates == sorted(rates, key=lambda rate: rate or 0.0)
    assert len(set(rates)) == len(rates)


@pytest.mark.usefixtures("short_probes")
@pytest.mark.parametrize(
    "arrivals",
    [
        PoissonArrivals(rate_qps=1.0),
        BurstyArrivals(rate_qps=1.0, burst_factor=4, burst_fraction=0.1, mean_burst_s=0.05),
    ],
)
@pytest.mark.slow
def test_the_engines_find_the_same_rate(arrivals: Arrivals) -> None:
    found = {
        contended_search(10.0, arrivals=arrivals, engine=engine).greatest_rate_qps()
        for engine in ("compiled", "simpy")
    }
    assert len(found) == 1


@pytest.mark.usefixtures("short_probes")
def test_the_found_rate_meets_the_sla_and_one_beyond_the_tolerance_does_not() -> None:
    search = contended_search(10.0)
    rate_qps = search.greatest_rate_qps()
    assert rate_qps is not None
    assert search.meets(rate_qps)
    assert not search.meets(rate_qps * (1.0 + 2.0 * search.tolerance))


@pytest.mark.usefixtures("short_probes")
def test_any_policy_can_be_searched() -> None:
    shortest_first = SizePriority(SizePriorityPolicy(batch_size=64, ageing_items_per_s=0.0))
    fifo, priority = (
        contended_search(10.0, policy=policy).greatest_rate_qps() for policy in (None, shortest_first)
    )
    assert fifo is not None
    assert priority is not None
    assert priority == pytest.approx(fifo, rel=0.3)


def test_a_trace_is_searched_whole() -> None:
    times_s = np.arange(100.0)
    search = RateSearch(
        traffic=TrafficSource(
            arrivals=TraceArrivals(file=Path("unused.csv")), sizes=pmf_of_list([1]), trace_s=times_s
        ),
        service=ServiceTimes(cpu_s=np.ones((1, 1))),
        policy=SplitAndOffload(batch_size=1),
        sla=SlaTarget(percentile=0.95, latency_ms=1000.001),
        seed=1,
    )
    assert search.greatest_rate_qps() == pytest.approx(1.0, rel=0.005)


@pytest.mark.parametrize("num_probes", [1, 3, 4, 8])
@pytest.mark.parametrize(("executors", "threshold"), [(8, None), (8, 300), (40, 300), (300, None)])
def test_probes_count_what_single_runs_count(num_probes: int, executors: int, threshold: int | None) -> None:
    service = ServiceTimes(
        cpu_s=np.linspace(1e-3, 2e-3, 64)[:, None] * np.linspace(1.0, 1.5, executors),
        accelerator_s=1e-3 + 1e-6 * np.arange(1, 1025),
        num_accelerators=2,
    )
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=threshold)
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=LAW)
    unit = source.draw(5_000, seed=2)
    rates_qps = 180.0 * executors * np.linspace(1.3, 0.6, num_probes)
    probes = [Probe(unit.arrival_s, float(rate_qps)) for rate_qps in rates_qps]
    late = count_late(probes, unit.num_items, service, policy, LateLimit(6e-3, 500, 5_000))
    assert late == [late_alone(source, float(rate), service, policy) for rate in rates_qps]
    assert max(late) > 0


def late_alone(source: TrafficSource, rate_qps: float, service: ServiceTimes, policy: SplitAndOffload) -> int:
    record = simulate(source.at_rate(rate_qps).draw(5_000, seed=2), service, policy)
    return int((record.latency_s[500:] > 6e-3).sum())


def test_probes_stop_early_only_where_all_have_too_many_late_queries() -> None:
    queue = deterministic_queue(0.9, 1)
    unit = queue.traffic.at_rate(1.0).draw(5_000, seed=2)
    limit = LateLimit(2.0, 0, 250)
    probes = [Probe(unit.arrival_s, rate_qps) for rate_qps in (0.1, 0.9)]
    alone = [count_late([probe], unit.num_items, queue.service, queue.policy, limit)[0] for probe in probes]
    together = count_late(probes, unit.num_items, queue.service, queue.policy, limit)
    assert together[0] == alone[0] <= limit.allowed
    assert together[1] >= alone[1] > limit.allowed


@pytest.mark.thorough_cases("8-0.3", "300-0.3")
@pytest.mark.parametrize("relative_std", [None, 0.3])
@pytest.mark.parametrize("executors", [8, 300])
def test_late_queries_by_batch_are_those_of_single_runs(executors: int, relative_std: float | None) -> None:
    scatter = None if relative_std is None else scatter_of(LogNormalScatter(relative_std=relative_std))
    service = ServiceTimes(
        cpu_s=np.linspace(1e-3, 2e-3, 64)[:, None] * np.linspace(1.0, 1.5, executors),
        accelerator_s=1e-3 + 1e-6 * np.arange(1, 1025),
        num_accelerators=1,
        cpu_scatter=scatter,
        accelerator_scatter=scatter,
    )
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=300)
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=LAW)
    unit = source.draw(5_000, seed=2)
    rates_qps = (250.0 * executors, 150.0 * executors)
    probes = [Probe(unit.arrival_s, rate_qps) for rate_qps in rates_qps]
    limit = LateLimit(6e-3, 500, 5_000)
    counts = count_late_by_batch(probes, unit.num_items, service, policy, limit, 20, unit.luck)
    for rate_qps, by_batch in zip(rates_qps, counts, strict=True):
        queries = Queries(unit.arrival_s / rate_qps, unit.num_items, unit.luck)
        late = simulate(queries, service, policy).latency_s[500:] > 6e-3
        np.testing.assert_array_equal(by_batch, late.reshape(20, -1).sum(axis=1))
    assert counts[0].sum() > 0
