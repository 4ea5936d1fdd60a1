"""Nodes that several services share: both engines agree, and a service alone is served as anywhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.compiled_shared import serve_compiled
from perfmodel.sim.engines import simulate
from perfmodel.sim.pauses import Pauses
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.query_times import LaunchTimes, QueryTimes
from perfmodel.sim.scatter import NO_LUCK, Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.shared_lanes import LanesServed, layout_of
from perfmodel.sim.shared_node import OneOfSeveral, SharedNode
from perfmodel.sim.simpy_shared import serve_simpy
from perfmodel.sim.traffic import Queries
from tests.examples import examples
from tests.property.scattered import scatters
from tests.property.test_policies_engines_agree import LARGEST, SETTINGS, TICK_S

Pairs = list[tuple[ServiceTimes, Policy]]
LUCK = Luck(3, 5)


@st.composite
def launch_times(draw: st.DrawFn, kinds: int, busy: int) -> LaunchTimes:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (kinds, LARGEST, busy)
    more_s = np.cumsum(rng.integers(0, 3, size=shape), axis=1) * TICK_S
    return LaunchTimes(
        with_s=rng.integers(1, 9, size=shape) * TICK_S,
        without_s=rng.integers(1, 5, size=shape) * TICK_S,
        more_s=more_s - more_s[:, :1],
    )


@st.composite
def nodes(draw: st.DrawFn, most_services: int = 3) -> Pairs:
    """Services of any policies and times on one small node, nearly everything on a grid of ticks."""
    cores, streams, cards = draw(st.integers(3, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pairs: Pairs = []
    for _ in range(draw(st.integers(1, most_services))):
        policy = policy_from(draw(SETTINGS[draw(st.sampled_from(sorted(SETTINGS)))]))
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        by_query = None
        if draw(st.booleans()):
            kinds = draw(st.integers(1, 3))
            by_query = QueryTimes(
                shares=np.full(kinds, 1.0 / kinds),
                cpu=draw(launch_times(kinds, cores)),
                accelerator=draw(launch_times(kinds, streams)),
                shares_work=draw(st.booleans()),
            )
        times = ServiceTimes(
            cpu_s=rng.integers(1, 5, size=(LARGEST, cores)) * TICK_S,
            accelerator_s=rng.integers(1, 5, size=(LARGEST, streams)) * TICK_S,
            num_accelerators=cards,
            cpu_scatter=draw(scatters()),
            accelerator_scatter=draw(scatters()),
            by_query=by_query,
        )
        pairs.append((times, policy))
    return pairs


@st.composite
def arrivals(draw: st.DrawFn, services: int) -> tuple[FloatArray, IntArray, IntArray]:
    """Queries of all services, many at one instant."""
    gaps = draw(st.lists(st.integers(0, 3), min_size=1, max_size=40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes, service = rng.integers(1, LARGEST + 1, len(gaps)), rng.integers(0, services, len(gaps))
    return np.cumsum(gaps) * TICK_S, sizes, service


def assert_equal(one: LanesServed, other: LanesServed) -> None:
    np.testing.assert_array_equal(one.finish_s, other.finish_s)
    np.testing.assert_array_equal(one.shed, other.shed)
    np.testing.assert_allclose(one.busy_s, other.busy_s, rtol=1e-12)
    assert one[3:] == other[3:]


@examples(600)
@given(data=st.data())
def test_the_compiled_engine_equals_the_reference(data: st.DataObject) -> None:
    pairs = data.draw(nodes())
    arrival_s, sizes, service = data.draw(arrivals(len(pairs)))
    kinds = np.zeros(len(sizes), np.int64)
    for index, (times, _) in enumerate(pairs):
        if times.by_query is not None:
            kinds[service == index] = times.by_query.kinds_of(int((service == index).sum()), LUCK)
    asked = arrival_s, sizes, service, layout_of(pairs), pairs, LUCK, kinds
    assert_equal(serve_compiled(*asked), serve_simpy(*asked))


@examples(200)
@given(data=st.data())
def test_services_that_split_have_one_queue(data: st.DataObject) -> None:
    """Lanes of their own, first come, first served between them, are what the engine of one queue finds."""
    pairs = data.draw(nodes().filter(lambda found: len(found) > 1))
    services = []
    for times, _ in pairs:
        threshold = data.draw(st.none() | st.integers(1, LARGEST))
        policy = SplitAndOffload(batch_size=data.draw(st.integers(1, 5)), offload_threshold_items=threshold)
        plain = replace(
            times,
            accelerator_s=times.accelerator_by_streams_s[:, 0],
            by_query=None,
            cpu_scatter=None,
            accelerator_scatter=None,
        )
        services.append(OneOfSeveral(times=plain, policy=policy, max_items=LARGEST))
    arrival_s, sizes, service = data.draw(arrivals(len(services)))
    node = SharedNode(tuple(services))
    assert node.has_one_queue
    of_lanes = [(each.times, each.policy) for each in services]
    none = np.zeros(len(sizes), np.int64)
    by_lanes = serve_compiled(arrival_s, sizes, service, layout_of(of_lanes), of_lanes, NO_LUCK, none)
    np.testing.assert_array_equal(node.serve(arrival_s, sizes, service, NO_LUCK).finish_s, by_lanes.finish_s)


@pytest.mark.parametrize("name", SETTINGS)
@examples(60)
@given(data=st.data())
def test_a_service_alone_is_served_as_on_a_node_of_its_own(name: str, data: st.DataObject) -> None:
    """By lanes, too; without ties, of which lanes of one policy settle some in another order."""
    pairs = data.draw(nodes(most_services=1))
    policy = policy_from(data.draw(SETTINGS[name]))
    times = replace(pairs[0][0], by_query=None)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    times = replace(
        times,
        cpu_s=times.cpu_s * rng.uniform(0.9, 1.1, times.cpu_s.shape),
        accelerator_s=times.accelerator_by_streams_s
        * rng.uniform(0.9, 1.1, (LARGEST, times.streams_per_accelerator)),
    )
    sizes = rng.integers(1, LARGEST + 1, 60)
    arrival_s = np.cumsum(rng.exponential(TICK_S, 60))
    none = np.zeros(60, np.int64)
    alone = [(times, policy)]
    found = serve_compiled(arrival_s, sizes, none, layout_of(alone), alone, LUCK, none)
    record = simulate(Queries(arrival_s, sizes, LUCK), times, policy)
    np.testing.assert_array_equal(found.finish_s, record.finish_s)
    np.testing.assert_array_equal(~found.shed, record.served)


@examples(60)
@given(data=st.data())
def test_pauses_of_the_node_are_those_of_all_services(data: st.DataObject) -> None:
    """Both engines. Nothing need end later by it: requests may meet other luck, and fewer busy neighbours."""
    paused = (Pauses(rate_per_s=0.2, length_s=1.5),)
    pairs = data.draw(nodes(most_services=2))
    services = tuple(
        OneOfSeveral(
            times=replace(times, node_pauses=paused),
            policy=SplitAndOffload(batch_size=2) if policy.shedding is not None else policy,
            max_items=LARGEST,
        )
        for times, policy in pairs
    )
    arrival_s, sizes, service = data.draw(arrivals(len(services)))
    node = SharedNode(services)
    compiled, reference = (
        node.serve(arrival_s, sizes, service, LUCK, engine=engine) for engine in ("compiled", "simpy")
    )
    np.testing.assert_allclose(compiled.finish_s, reference.finish_s, rtol=1e-9)
    assert (compiled.finish_s > arrival_s).all()
