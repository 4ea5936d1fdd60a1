"""The compiled engine against the reference, query by query, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.domain.workload import BurstyArrivals, LogNormalSizes, PoissonArrivals
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from tests.examples import examples
from tests.property.scattered import scatters

Case = tuple[Queries, ServiceTimes, SplitAndOffload]


@st.composite
def cases_full_of_ties(draw: st.DrawFn, executors: st.SearchStrategy[int]) -> Case:
    """Arrivals and service times on a grid of a quarter of a second, so that nearly everything coincides."""
    gaps = draw(st.lists(st.integers(0, 4), min_size=1, max_size=40))
    sizes = draw(st.lists(st.integers(1, 12), min_size=len(gaps), max_size=len(gaps)))
    num_executors, batch_size = draw(executors), draw(st.integers(1, 5))
    num_accelerators = draw(st.integers(0, 3))
    threshold = draw(st.none() | st.integers(1, 13)) if num_accelerators else None
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([2, 4, 12]))
    service = ServiceTimes(
        cpu_s=rng.integers(1, most + 1, size=(batch_size, num_executors)) * 0.25,
        accelerator_s=rng.integers(1, most + 1, size=12) * 0.25 if num_accelerators else None,
        num_accelerators=num_accelerators,
        cpu_scatter=draw(scatters()),
        accelerator_scatter=draw(scatters()),
    )
    queries = Queries(np.cumsum(gaps) * 0.25, np.array(sizes))
    return queries, service, SplitAndOffload(batch_size=batch_size, offload_threshold_items=threshold)


def assert_engines_agree(case: Case) -> None:
    reference, compiled = (simulate(*case, engine=engine) for engine in ("simpy", "compiled"))
    np.testing.assert_array_equal(compiled.finish_s, reference.finish_s)
    np.testing.assert_array_equal(compiled.offloaded, reference.offloaded)
    assert compiled.cpu_busy_s == pytest.approx(reference.cpu_busy_s, rel=1e-12)
    assert compiled.accelerator_busy_s == pytest.approx(reference.accelerator_busy_s, rel=1e-12)


@examples(400)
@given(case=cases_full_of_ties(st.integers(1, 5)))
def test_engines_agree_on_every_query_where_nearly_all_events_coincide(case: Case) -> None:
    assert_engines_agree(case)


@examples(60)
@given(case=cases_full_of_ties(st.sampled_from([257, 270])), copies=st.integers(10, 60))
def test_engines_agree_with_more_executors_than_vector_registers_sort(case: Case, copies: int) -> None:
    queries, service, policy = case
    crowd = Queries(np.repeat(queries.arrival_s, copies), np.repeat(queries.num_items, copies))
    assert_engines_agree((crowd, service, policy))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "num_executors", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (16, 250)), 40, 300]
)
@pytest.mark.parametrize("threshold", [None, 400])
@pytest.mark.parametrize("load", [0.7, 0.98])
def test_engines_agree_on_long_continuous_runs(
    num_executors: int, threshold: int | None, load: float
) -> None:
    busy = np.arange(1, num_executors + 1)
    batches = np.arange(1, 65)
    law = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
    service = ServiceTimes(
        cpu_s=(1e-3 + 2e-5 * batches)[:, None] * (1 + 0.5 * busy / num_executors),
        accelerator_s=2e-4 + 1e-6 * np.arange(1, law.max_items + 1),
        num_accelerators=2,
    )
    policy = SplitAndOffload(batch_size=64, offload_threshold_items=threshold)
    arrivals = PoissonArrivals(rate_qps=load * num_executors / (9.2e-3 if threshold is None else 7.7e-3))
    queries = TrafficSource(arrivals=arrivals, sizes=law).draw(20_000, seed=num_executors)
    assert_engines_agree((queries, service, policy))


@pytest.mark.thorough
def test_engines_agree_through_bursts_that_overload_the_node() -> None:
    arrivals = BurstyArrivals(rate_qps=500.0, burst_factor=8, burst_fraction=0.1, mean_burst_s=1.0)
    traffic = TrafficSource(arrivals=arrivals, sizes=pmf_of(LogNormalSizes(mu=4.8, sigma=0.8)))
    service = ServiceTimes(cpu_s=np.linspace(1e-3, 4e-3, 64)[:, None] * np.linspace(1, 2, 8))
    assert_engines_agree((traffic.draw(20_000, seed=3), service, SplitAndOffload(batch_size=64)))
