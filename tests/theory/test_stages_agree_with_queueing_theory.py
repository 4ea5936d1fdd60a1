"""Stages one after the other: Burke's and Jackson's theorems, and what must hold of any pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.domain.unsteady import ExponentialScatter
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.pipeline import LaterStage, Pipeline, stage_laws
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.records import RunRecord
from perfmodel.sim.scatter import scatter_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import offered_utilisation, stage_loads

ONE = SplitAndOffload(batch_size=1)
FREE_S = 1e-12
"""Of a stage that costs nothing: a service time has to be positive. [s]"""


def exponential(mean_s: float, executors: int = 1) -> ServiceTimes:
    return ServiceTimes(
        cpu_s=np.full((1, executors), mean_s),
        cpu_scatter=scatter_of(ExponentialScatter(distribution="exponential")),
    )


def tandem(*stages: ServiceTimes) -> ServiceTimes:
    later = tuple(LaterStage(service=each, policy=ONE, most_items=1) for each in stages[1:])
    return replace(stages[0], pipeline=Pipeline(stages=later))


def latencies(service: ServiceTimes, rate_qps: float, *, seed: int, num_queries: int = 60_000) -> RunRecord:
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=pmf_of_list([1]))
    return simulate(traffic.draw(num_queries, seed=seed), service, ONE)


def mean_of_runs(of: Callable[[int], float]) -> tuple[float, float]:
    """Mean and half-width, 99 %, of 12 independent runs."""
    found = [of(seed) for seed in range(12)]
    return fmean(found), 3.106 * stdev(found) / sqrt(12)


def test_mean_latency_of_a_tandem_is_jacksons_sum() -> None:
    """M/M/1 after M/M/1 after M/M/1: each has the first one's Poisson stream (Burke 1956)."""
    rates = (1.0, 1.3, 0.9)
    service = tandem(*(exponential(1.0 / mu) for mu in rates))
    mean, half = mean_of_runs(lambda seed: float(latencies(service, 0.6, seed=seed).latency_s[6000:].mean()))
    expected = sum(1.0 / (mu - 0.6) for mu in rates)
    assert half < 0.05 * expected, "too noisy to prove anything"
    assert mean == pytest.approx(expected, abs=half)


def test_latency_of_two_equal_stages_is_erlangs() -> None:
    """Sojourn times in a tandem are independent (Reich 1963): two of rate r exceed t with (1 + rt) e^-rt."""
    service = tandem(exponential(1.0), exponential(1.0))
    for limit in (2.0, 10.0):
        mean, half = mean_of_runs(
            lambda seed, limit=limit: float(
                (latencies(service, 0.5, seed=seed).latency_s[6000:] > limit).mean()
            )
        )
        expected = (1.0 + 0.5 * limit) * np.exp(-0.5 * limit)
        assert half < 0.2 * expected, "too noisy to prove anything"
        assert mean == pytest.approx(expected, abs=half)


def test_a_stage_after_many_servers_sees_poisson_arrivals() -> None:
    """Burke: departures of M/M/c are Poisson too, so that the second stage alone is M/M/1."""
    service = tandem(exponential(3.0, 4), exponential(1.0))

    def in_the_second(seed: int) -> float:
        return float(latencies(service, 0.7, seed=seed).stages[1].latency_s[6000:].mean())

    mean, half = mean_of_runs(in_the_second)
    assert half < 0.1 * (1.0 / 0.3), "too noisy to prove anything"
    assert mean == pytest.approx(1.0 / 0.3, abs=half)


def drawn(data: st.DataObject) -> tuple[Queries, ServiceTimes, SplitAndOffload]:
    """Queries of up to 40 items, and a first stage for them."""
    count = data.draw(st.integers(1, 30))
    gaps = data.draw(st.lists(st.floats(0, 3), min_size=count, max_size=count))
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=count, max_size=count))
    return Queries(np.cumsum(gaps), np.array(sizes)), *stage(data)


def stage(data: st.DataObject) -> tuple[ServiceTimes, SplitAndOffload]:
    item_s = data.draw(st.floats(0.01, 0.2))
    fixed_s = data.draw(st.floats(0.01, 0.5))
    executors = data.draw(st.integers(1, 4))
    times_s = fixed_s + item_s * np.arange(1.0, 41.0)
    slower = 1.0 + data.draw(st.floats(0, 0.3)) * np.arange(executors)
    policy = SplitAndOffload(batch_size=data.draw(st.integers(1, 40)))
    return ServiceTimes(cpu_s=times_s[:, None] * slower), policy


def with_later(data: st.DataObject, service: ServiceTimes, sub_batches: int | None = None) -> ServiceTimes:
    later = []
    for most_items in data.draw(st.lists(st.integers(8, 60), min_size=1, max_size=3)):
        own, policy = stage(data)
        later.append(LaterStage(service=own, policy=policy, most_items=most_items))
    parts = data.draw(st.integers(1, 8)) if sub_batches is None else sub_batches
    handover_s = data.draw(st.sampled_from([0.0, 0.25]))
    return replace(service, pipeline=Pipeline(stages=tuple(later), sub_batches=parts, handover_s=handover_s))


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_stage_where_the_others_cost_nothing_and_pass_everything(data: st.DataObject) -> None:
    """Before or after the one that does the work: the answer is its own."""
    queries, service, policy = drawn(data)
    alone = simulate(queries, service, policy)
    free = ServiceTimes(cpu_s=np.full((40, 30), FREE_S))
    all_at_once = SplitAndOffload(batch_size=40)
    after = Pipeline(stages=(LaterStage(service=free, policy=all_at_once, most_items=40),))
    before = Pipeline(stages=(LaterStage(service=service, policy=policy, most_items=40),))
    for whole in (
        simulate(queries, replace(service, pipeline=after), policy),
        simulate(queries, replace(free, pipeline=before), all_at_once),
    ):
        assert whole.latency_s == pytest.approx(alone.latency_s, abs=1e-9)
        assert len(whole.stages) == 2


@pytest.mark.thorough
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_both_engines_agree_to_the_last_bit(data: st.DataObject) -> None:
    queries, service, policy = drawn(data)
    service = with_later(data, service)
    engines: tuple[EngineName, EngineName] = ("simpy", "compiled")
    one, other = (simulate(queries, service, policy, engine=engine) for engine in engines)
    assert one.finish_s.tolist() == other.finish_s.tolist()


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_items_are_filtered_and_none_is_lost(data: st.DataObject) -> None:
    queries, service, policy = drawn(data)
    service = with_later(data, service)
    assert service.pipeline is not None
    whole = simulate(queries, service, policy)
    kept = queries.num_items
    parts = np.minimum(kept, service.pipeline.sub_batches)
    for record, most in zip(
        whole.stages, (40, *(each.most_items for each in service.pipeline.stages)), strict=True
    ):
        kept = np.minimum(kept, most)
        assert record.num_items.sum() == kept.sum()
        assert len(record.num_items) == parts.sum()
        assert np.all(record.finish_s > record.arrival_s)
    assert np.all(whole.finish_s >= whole.arrival_s + service.pipeline.handover_s * (len(whole.stages) - 1))


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_more_items_or_a_longer_way_never_make_a_lone_query_faster(data: st.DataObject) -> None:
    """On idle stages; in a queue a longer stage may even out what arrives at the next."""
    items = data.draw(st.integers(1, 40))
    service, policy = stage(data)
    service = with_later(data, service)
    pipeline = service.pipeline
    assert pipeline is not None
    wider = replace(
        pipeline,
        stages=tuple(replace(each, most_items=each.most_items + 5) for each in pipeline.stages),
        handover_s=pipeline.handover_s + 0.1,
    )
    one, more = (
        simulate(Queries(np.zeros(1), np.array([items])), replace(service, pipeline=each), policy)
        for each in (replace(pipeline, sub_batches=1), replace(wider, sub_batches=1))
    )
    assert more.latency_s[0] >= one.latency_s[0] - 1e-12
    slower = simulate(
        Queries(np.zeros(1), np.array([items])), replace(service, pipeline=pipeline).scaled(1.5, 1.0), policy
    )
    as_it_is = simulate(Queries(np.zeros(1), np.array([items])), replace(service, pipeline=pipeline), policy)
    assert slower.latency_s[0] >= as_it_is.latency_s[0]


def test_sub_batches_overlap_stages() -> None:
    """8 items, a second an item on one core in each of two stages: 8 + 8 s whole, 8 + 1 s item by item."""
    service = ServiceTimes(cpu_s=np.arange(1.0, 9.0)[:, None])
    policy = SplitAndOffload(batch_size=8)
    latencies_s = []
    for parts in (1, 2, 4, 8):
        pipeline = Pipeline(
            stages=(LaterStage(service=service, policy=policy, most_items=8),), sub_batches=parts
        )
        queries = Queries(np.zeros(1), np.array([8]))
        latencies_s.append(float(simulate(queries, replace(service, pipeline=pipeline), policy).latency_s[0]))
    assert latencies_s == [16.0, 12.0, 10.0, 9.0]


def test_loads_of_stages_are_those_of_what_reaches_them() -> None:
    """100 items of which 10 go on: 100 + 10 items a query, in four parts each."""
    first = ServiceTimes(cpu_s=1e-3 * np.arange(1.0, 101.0)[:, None])
    second = ServiceTimes(cpu_s=5e-3 * np.arange(1.0, 101.0)[:, None])
    policy = SplitAndOffload(batch_size=100)
    pipeline = Pipeline(stages=(LaterStage(service=second, policy=policy, most_items=10),), sub_batches=4)
    service = replace(first, pipeline=pipeline)
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=2.0), sizes=pmf_of_list([100]))
    assert [law.mean_items for law in stage_laws(traffic.size_pmf, [10], 4)] == [25.0, 2.5]
    loads = stage_loads(traffic, service, policy, contended=True)
    assert [load.cpu for load in loads] == pytest.approx([0.2, 0.1])
    assert offered_utilisation(traffic, service, policy, contended=True).cpu == pytest.approx(0.2)
    run = simulate(traffic.draw(20_000, seed=1), service, policy)
    assert [each.cpu_utilisation for each in run.stages] == pytest.approx([0.2, 0.1], rel=0.03)
    assert run.cpu_utilisation == pytest.approx(0.15, rel=0.03)
