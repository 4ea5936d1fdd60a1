"""Routed fleets: the compiled engines against the SimPy reference, query by query, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.domain.fleet import Routing
from perfmodel.domain.workload import LogNormalSizes, PoissonArrivals
from perfmodel.sim.fleet import Fleet, FleetRecord, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from tests.examples import examples
from tests.property.scattered import scatters
from tests.property.test_policies_engines_agree import SETTINGS
from tests.property.test_policies_engines_agree import cases as policy_cases

by_routing = pytest.mark.parametrize("routing", Routing)


@st.composite
def kinds_on_a_grid(draw: st.DrawFn) -> NodeKind:
    """Service times in quarters of a second, perhaps with an accelerator."""
    batch_size, num_accelerators = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([1, 2, 8]))
    return NodeKind(
        service=ServiceTimes(
            cpu_s=rng.integers(1, most + 1, size=(batch_size, draw(st.integers(1, 4)))) * 0.25,
            accelerator_s=rng.integers(1, most + 1, size=9) * 0.25 if num_accelerators else None,
            num_accelerators=num_accelerators,
            cpu_scatter=draw(scatters()),
            accelerator_scatter=draw(scatters()),
        ),
        policy=SplitAndOffload(
            batch_size=batch_size,
            offload_threshold_items=draw(st.none() | st.integers(1, 10)) if num_accelerators else None,
        ),
    )


@st.composite
def cases_full_of_ties(draw: st.DrawFn) -> tuple[Queries, Fleet]:
    """Arrivals on the same grid, so that completions on all nodes and arrivals coincide."""
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=1, max_size=60))
    sizes = draw(st.lists(st.integers(1, 9), min_size=len(gaps), max_size=len(gaps)))
    kinds = draw(st.lists(kinds_on_a_grid(), min_size=1, max_size=3))
    counts = [draw(st.integers(1, 3)) for _ in kinds]
    return Queries(np.cumsum(gaps) * 0.25, np.array(sizes)), Fleet(tuple(kinds), tuple(counts))


def assert_engines_agree(queries: Queries, fleet: Fleet, routing: Routing, seed: int) -> FleetRecord:
    weights = np.random.default_rng(seed).random(fleet.num_nodes)
    reference, compiled = (
        simulate_fleet(queries, fleet, routing, seed=seed, weights=weights, engine=engine)
        for engine in ("simpy", "compiled")
    )
    np.testing.assert_array_equal(compiled.node, reference.node)
    np.testing.assert_array_equal(compiled.finish_s, reference.finish_s)
    np.testing.assert_allclose(compiled.cpu_busy_s, reference.cpu_busy_s, rtol=1e-12)
    np.testing.assert_allclose(compiled.accelerator_busy_s, reference.accelerator_busy_s, rtol=1e-12)
    return compiled


@by_routing
@examples(100)
@given(case=cases_full_of_ties(), seed=st.integers(0, 1000))
def test_engines_agree_where_nearly_all_events_coincide(
    routing: Routing, case: tuple[Queries, Fleet], seed: int
) -> None:
    assert_engines_agree(*case, routing, seed)


@pytest.mark.parametrize("routing", [Routing.RANDOM, Routing.ROUND_ROBIN])
@pytest.mark.parametrize("name", SETTINGS)
def test_nodes_of_every_policy_are_runs_of_their_own_where_no_queue_is_looked_at(
    name: str, routing: Routing
) -> None:
    """The reference with all nodes on one clock, against the compiled engine node by node."""

    @examples(25)
    @given(case=policy_cases(name), num_nodes=st.integers(1, 4), seed=st.integers(0, 1000))
    def agree(case: tuple[Queries, ServiceTimes, Policy], num_nodes: int, seed: int) -> None:
        queries, service, policy = case
        kind = NodeKind(service=replace(service, cpu_scatter=None, accelerator_scatter=None), policy=policy)
        fleet = Fleet((kind,), (num_nodes,))
        reference, compiled = (
            simulate_fleet(queries, fleet, routing, seed=seed, engine=engine)
            for engine in ("simpy", "compiled")
        )
        np.testing.assert_array_equal(compiled.node, reference.node)
        np.testing.assert_allclose(compiled.finish_s, reference.finish_s, rtol=1e-9)
        np.testing.assert_allclose(compiled.cpu_busy_s, reference.cpu_busy_s, rtol=1e-12)
        whole, parts = reference.of_kind(0), compiled.of_kind(0)
        np.testing.assert_array_equal(parts.served, whole.served)
        np.testing.assert_array_equal(parts.offloaded, whole.offloaded)
        if name != "dynamic-batching":  # what a launch waits for in the end is known of one node only
            assert parts.makespan_s == pytest.approx(whole.makespan_s, rel=1e-12)
        if whole.large is not None:
            assert parts.large is not None
            assert parts.large.busy_s == pytest.approx(whole.large.busy_s, rel=1e-12)

    agree()


@pytest.mark.thorough
@by_routing
@pytest.mark.parametrize("load", [0.6, 0.97, 3.0])
def test_engines_agree_on_long_continuous_runs_of_mixed_nodes(routing: Routing, load: float) -> None:
    law = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
    batches = np.arange(1, 65)
    cores = (4, 7)
    services = [
        ServiceTimes(cpu_s=(1e-3 + 2e-5 * batches)[:, None] * np.linspace(1, 1.5, count)) for count in cores
    ]
    with_accelerator = ServiceTimes(
        cpu_s=services[1].cpu_s,
        accelerator_s=2e-4 + 1e-6 * np.arange(1, law.max_items + 1),
        num_accelerators=2,
    )
    fleet = Fleet(
        (
            NodeKind(service=services[0], policy=SplitAndOffload(batch_size=64)),
            NodeKind(
                service=with_accelerator, policy=SplitAndOffload(batch_size=32, offload_threshold_items=400)
            ),
        ),
        (3, 2),
    )
    arrivals = PoissonArrivals(rate_qps=load * 26 / 8e-3)
    queries = TrafficSource(arrivals=arrivals, sizes=law).draw(12_000, seed=5)
    record = assert_engines_agree(queries, fleet, routing, seed=5)
    assert np.all(record.finish_s > record.arrival_s)
    assert len(np.unique(record.node)) == fleet.num_nodes
