"""Pauses: their draws, the clock that stands still, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import SheddingSettings, SimulationSettings, SizePriorityPolicy, SplitPolicy
from perfmodel.domain.workload import DiurnalArrivals, PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.sim.builtin_policies import SizePriority, policy_from
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.long_run import LongRun
from perfmodel.sim.pauses import PauseEvents, Pauses
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import CHUNK, pmf_of_list
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.running_clock import RunningClock
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

OFTEN = Pauses(rate_per_s=2.0, length_s=0.03)
RARE = Pauses(rate_per_s=0.05, length_s=0.1, exponential=True)
NODE = ServiceTimes(cpu_s=np.full((4, 3), 0.005), node_pauses=(OFTEN, RARE))
TRAFFIC = TrafficSource(arrivals=PoissonArrivals(rate_qps=300.0), sizes=pmf_of_list([1, 4]))
POLICY = SplitAndOffload(batch_size=4)


def test_a_longer_draw_begins_with_the_same_pauses_whatever_was_asked_for_before() -> None:
    short, long = (PauseEvents((OFTEN, RARE), Luck(7), "some") for _ in range(2))
    short.cover(10.0)
    long.cover(5000.0)
    number = int(np.searchsorted(short.start_s, 10.0))
    np.testing.assert_array_equal(short.start_s[:number], long.start_s[:number])
    np.testing.assert_array_equal(short.length_s[:number], long.length_s[:number])
    expected = 5000.0 * (OFTEN.rate_per_s + RARE.rate_per_s)
    assert np.searchsorted(long.start_s, 5000.0) == pytest.approx(expected, abs=4.0 * expected**0.5)
    rare = long.length_s[long.length_s != OFTEN.length_s]
    assert rare.mean() == pytest.approx(RARE.length_s, rel=0.25)


def test_the_clock_stands_still_in_pauses_and_comes_back() -> None:
    clock = RunningClock.of((OFTEN,), Luck(3))
    wall_s = np.linspace(0.0, 100.0, 10_001)
    running_s = clock.running_s(wall_s)
    assert (np.diff(running_s) >= 0).all()
    back_s = clock.wall_s(running_s, starts=True)
    assert (back_s >= wall_s - 1e-9).all()
    moved = back_s > wall_s + 1e-9  # within a pause: until its end
    assert moved.mean() == pytest.approx(OFTEN.load / (1.0 + OFTEN.load), rel=0.3)
    assert (back_s - wall_s).max() <= OFTEN.length_s + 1e-9


def test_a_core_s_pause_by_hand() -> None:
    # One core, pauses of 1 s every 10 s or so: the query that one strikes ends a second late.
    service = ServiceTimes(cpu_s=np.full((1, 1), 4.0), core_pauses=(Pauses(rate_per_s=0.1, length_s=1.0),))
    queries = Queries(np.array([0.0, 100.0, 200.0]), np.ones(3, dtype=np.int64), Luck(1))
    events = PauseEvents(service.core_pauses, queries.luck, "pauses of cores")
    events.cover(300.0)
    late_s = simulate(queries, service, SplitAndOffload(batch_size=1)).latency_s - 4.0
    for arrival_s, found_s in zip((0.0, 100.0, 200.0), late_s.tolist(), strict=True):
        # A pause before the arrival that reaches beyond it puts off the start; each within stretches it.
        free_s = arrival_s
        for start_s in events.start_s.tolist():
            if arrival_s - 20.0 < start_s <= arrival_s:
                free_s = max(free_s, start_s + 1.0)
        end_s = free_s + 4.0
        for start_s in events.start_s.tolist():
            if free_s < start_s < end_s:
                end_s += 1.0
        assert found_s == pytest.approx(end_s - arrival_s - 4.0, abs=1e-9)


@pytest.mark.parametrize("stops", [(10,), (10, CHUNK + 1, 2 * CHUNK + 5)])
def test_a_long_run_pauses_as_the_whole_run_does(stops: tuple[int, ...]) -> None:
    long_run = LongRun(TRAFFIC, NODE, POLICY, seed=5, replication=2, most=stops[-1])
    for stop in stops:
        whole = simulate(TRAFFIC.draw(stop, seed=5, replication=2), NODE, POLICY)
        np.testing.assert_allclose(long_run.node_latency_s(stop), whole.latency_s, rtol=1e-9, atol=1e-12)


@pytest.mark.thorough
def test_a_day_s_windows_are_paused_too() -> None:
    arrivals = DiurnalArrivals(rate_qps=100.0, amplitude=0.5, period_s=1200.0)
    traffic = TrafficSource(arrivals=arrivals, sizes=pmf_of_list([1, 4]))
    settings = SimulationSettings(seed=1, precision=0.5, min_queries=20_000, max_queries=200_000)
    steady = replace(NODE, node_pauses=())
    paused, calm = (
        run_until_precise(traffic, node, POLICY, settings, percentile=0.95) for node in (NODE, steady)
    )
    assert paused.percentiles[0.95].value_s > 1.5 * calm.percentiles[0.95].value_s


def test_pauses_count_in_the_load_that_is_offered() -> None:
    steady = offered_utilisation(TRAFFIC, replace(NODE, node_pauses=()), POLICY, contended=True).cpu
    paused = offered_utilisation(TRAFFIC, NODE, POLICY, contended=True).cpu
    assert paused == pytest.approx(steady * (1.0 + OFTEN.load + RARE.load))
    cores = replace(NODE, node_pauses=(), core_pauses=(OFTEN,))
    assert offered_utilisation(TRAFFIC, cores, POLICY, contended=True).cpu == pytest.approx(
        steady / (1.0 - OFTEN.load)
    )


def test_an_overload_that_pauses_make_is_seen() -> None:
    # 0.98 of what runs, and a twentieth of the time is paused.
    traffic = TRAFFIC.at_rate(0.98 * 3 / 0.005)
    settings = SimulationSettings(seed=1, precision=0.5, min_queries=100_000, max_queries=100_000)
    result = run_until_precise(traffic, NODE, POLICY, settings, percentile=0.5)
    assert not result.is_stable


def test_a_run_says_how_many_pauses_it_holds_where_a_percentile_hangs_on_few() -> None:
    rare = replace(NODE, node_pauses=(Pauses(rate_per_s=0.05, length_s=0.2),))
    settings = SimulationSettings(seed=1, precision=0.5, min_queries=20_000, max_queries=20_000)
    result = run_until_precise(TRAFFIC, rare, POLICY, settings, percentile=0.99)
    assert result.needed_queries == 30 * 300 / 0.05
    assert any("3.3 pauses in the mean, too few to say" in note for note in result.notes)
    result = run_until_precise(TRAFFIC, rare, POLICY, settings, percentile=0.5)
    assert result.needed_queries is None
    assert any("percentiles that they reach are those of a handful" in note for note in result.notes)


def test_what_is_not_simulated_with_pauses_is_refused() -> None:
    queries = TRAFFIC.draw(10, seed=1)
    by_size = SizePriority(SizePriorityPolicy(batch_size=4, ageing_items_per_s=1.0))
    cores = replace(NODE, node_pauses=(), core_pauses=(OFTEN,))
    with pytest.raises(ValueErrorAt, match=r"node.pauses: pauses of single executors .* scope: node"):
        simulate(queries, cores, by_size)
    deadline = policy_from(SplitPolicy(batch_size=4, shedding=SheddingSettings(deadline_ms=10.0)))
    with pytest.raises(ValueErrorAt, match=r"node.pauses: deadlines go on"):
        simulate(queries, NODE, deadline)
    fleet = Fleet((NodeKind(service=NODE, policy=POLICY),), (2,))
    with pytest.raises(ValueErrorAt, match=r"node.pauses: pauses are not simulated where the router"):
        simulate_fleet(queries, fleet, Routing.JOIN_SHORTEST_QUEUE, seed=1)
    with pytest.raises(InputError, match="less than all of the time"):
        replace(NODE, core_pauses=(Pauses(rate_per_s=10.0, length_s=0.1),))
