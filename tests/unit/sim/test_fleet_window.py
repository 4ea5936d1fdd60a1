"""A stationary stretch: one node for all where that is exact, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import (
    Arrivals,
    BurstyArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    IntegerMillisecondArrivals,
    LogNormalSizes,
    PoissonArrivals,
)
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.fleet_latency import LatencyMixture, sample_of
from perfmodel.sim.fleet_window import (
    FleetTraffic,
    Stretch,
    capacity_qps,
    expected_shares,
    simulate_stretch,
)
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource

SIZES = pmf_of(LogNormalSizes(mu=4.0, sigma=0.7, max_items=500))
SETTINGS = SimulationSettings(seed=2, precision=0.02, min_queries=200_000)


def node(cores: int, speed: float) -> NodeKind:
    batches, busy = np.arange(1, 65), np.arange(1, cores + 1)
    service_s = (1e-3 + 4e-5 * batches)[:, None] * (1 + 0.3 * busy / cores) / speed
    return NodeKind(service=ServiceTimes(cpu_s=service_s), policy=SplitAndOffload(batch_size=64))


MIXED = Fleet((node(8, 1.0), node(6, 2.0)), (4, 3))


def stretch(fleet: Fleet, routing: Routing, load: float, settings: SimulationSettings = SETTINGS) -> Stretch:
    capacities = fleet.weights([capacity_qps(kind, SIZES, contended=True) for kind in fleet.kinds])
    traffic = FleetTraffic(rate_qps=load * float(capacities.sum()), sizes=SIZES, routing=routing)
    return simulate_stretch(fleet, traffic, settings, percentile=0.95, replication=0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fleet", "routing"),
    [(MIXED, Routing.RANDOM), (Fleet((node(8, 1.0),), (7,)), Routing.ROUND_ROBIN)],
    ids=["random", "round-robin"],
)
def test_one_node_of_each_kind_shows_what_all_nodes_show(fleet: Fleet, routing: Routing) -> None:
    load = 0.8
    one = LatencyMixture(stretch(fleet, routing, load).samples)
    weights = fleet.weights([capacity_qps(kind, SIZES, contended=True) for kind in fleet.kinds])
    arrivals = PoissonArrivals(rate_qps=load * float(weights.sum()))
    queries = TrafficSource(arrivals=arrivals, sizes=SIZES).draw(1_000_000, seed=9)
    record = simulate_fleet(queries, fleet, routing, seed=9, weights=weights)
    everyone = LatencyMixture([sample_of(record.latency_s[100_000:])])
    for percentile in (0.5, 0.9, 0.95, 0.99):
        first, second = one.interval(percentile), everyone.interval(percentile)
        assert max(first.relative_half_width, second.relative_half_width) < 0.05
        # Each is a 95 % interval: three halves of both together are far beyond the sum's 99.9 %.
        reach_s = 0.75 * (first.high_s - first.low_s + second.high_s - second.low_s)
        assert first.value_s == pytest.approx(second.value_s, abs=reach_s)


@pytest.mark.thorough_cases("mmpp-random")
@pytest.mark.parametrize("routing", [Routing.RANDOM, Routing.ROUND_ROBIN])
@pytest.mark.parametrize(
    "arrivals",
    [
        ConstantArrivals(rate_qps=1.0),
        IntegerMillisecondArrivals(rate_qps=1.0),
        BurstyArrivals(rate_qps=1.0, burst_factor=1.7, burst_fraction=0.3, mean_burst_s=0.02),
        DiurnalArrivals(rate_qps=1.0, amplitude=0.4, period_s=0.5),
    ],
    ids=lambda arrivals: arrivals.process,
)
def test_one_node_shows_what_all_nodes_show_of_every_process(arrivals: Arrivals, routing: Routing) -> None:
    fleet = Fleet((node(8, 1.0),), (5,))
    rate_qps = 0.7 * 5 * capacity_qps(fleet.kinds[0], SIZES, contended=True)
    process = arrivals.model_copy(update={"rate_qps": rate_qps})
    traffic = FleetTraffic(rate_qps=rate_qps, sizes=SIZES, routing=routing, arrivals=process)
    one = LatencyMixture(simulate_stretch(fleet, traffic, SETTINGS, percentile=0.95, replication=0).samples)
    queries = TrafficSource(arrivals=process, sizes=SIZES).draw(600_000, seed=9)
    record = simulate_fleet(queries, fleet, routing, seed=9)
    everyone = LatencyMixture([sample_of(record.latency_s[60_000:])])
    for percentile in (0.5, 0.95, 0.99):
        first, second = one.interval(percentile), everyone.interval(percentile)
        assert max(first.relative_half_width, second.relative_half_width) < 0.1
        reach_s = 0.75 * (first.high_s - first.low_s + second.high_s - second.low_s) + 1e-9
        assert first.value_s == pytest.approx(second.value_s, abs=reach_s)


def test_nodes_of_two_kinds_and_two_stretches_draw_traffic_of_their_own() -> None:
    twins = Fleet((node(8, 1.0), node(8, 1.0)), (1, 1))
    traffic = FleetTraffic(rate_qps=100.0, sizes=SIZES, routing=Routing.RANDOM)
    drawn = [
        sample.batches_s
        for replication in range(2)
        for sample in simulate_stretch(
            twins, traffic, SETTINGS, percentile=0.95, replication=replication
        ).samples
    ]
    for index, batches_s in enumerate(drawn):
        assert all(not np.array_equal(batches_s, other_s) for other_s in drawn[:index])


def test_random_routing_shares_by_capacity_and_the_others_by_number() -> None:
    capacities = [capacity_qps(kind, SIZES, contended=True) for kind in MIXED.kinds]
    by_capacity = 4 * capacities[0] / (4 * capacities[0] + 3 * capacities[1])
    for routing, expected in ((Routing.RANDOM, by_capacity), (Routing.ROUND_ROBIN, 4 / 7)):
        shares = expected_shares(MIXED, FleetTraffic(rate_qps=1.0, sizes=SIZES, routing=routing))
        assert shares == pytest.approx((expected, 1 - expected))


@pytest.mark.thorough
def test_queue_aware_routing_gives_the_fast_nodes_more_than_their_number() -> None:
    shares = stretch(MIXED, Routing.JOIN_SHORTEST_QUEUE, 0.9).shares
    assert sum(shares) == pytest.approx(1.0)
    assert shares[1] > 1.2 * 3 / 7


@pytest.mark.thorough
@pytest.mark.parametrize("routing", [Routing.JOIN_SHORTEST_QUEUE, Routing.POWER_OF_TWO])
def test_more_warm_up_does_not_move_a_fleet_simulated_whole(
    routing: Routing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet((node(8, 1.0),), (200,))
    usual = LatencyMixture(stretch(fleet, routing, 0.92).samples)
    monkeypatch.setattr("perfmodel.sim.fleet_window.WARM_UP_PER_NODE", 1200)
    cautious = LatencyMixture(stretch(fleet, routing, 0.92).samples)
    assert not np.array_equal(cautious.samples[0].batches_s, usual.samples[0].batches_s)
    for percentile in (0.5, 0.95, 0.99):
        longer_s = cautious.interval(percentile).value_s
        assert usual.interval(percentile).value_s == pytest.approx(longer_s, rel=0.01)


@pytest.mark.parametrize("routing", Routing)
@pytest.mark.parametrize("load", [1.1, 1.6])
def test_an_overload_has_no_latencies(routing: Routing, load: float) -> None:
    found = stretch(Fleet((node(8, 1.0),), (7,)), routing, load)
    assert not found.is_stable
    assert found.samples == ()
    assert found.contended == pytest.approx(load)
    # Contention makes nodes 1.3 times slower: from 1.3 on nothing needs to be simulated.
    assert (found.num_queries == 0) == (load > 1.3)


@pytest.mark.thorough
def test_round_robin_overloads_the_slow_nodes_of_a_mixed_fleet_first() -> None:
    assert not stretch(MIXED, Routing.ROUND_ROBIN, 0.9).is_stable
    assert stretch(MIXED, Routing.RANDOM, 0.9).is_stable


@pytest.mark.thorough
def test_precision_is_reached_or_the_cap_is_admitted() -> None:
    fleet = Fleet((node(8, 1.0),), (50,))
    precise = stretch(fleet, Routing.RANDOM, 0.93)
    assert precise.precision_reached
    assert LatencyMixture(precise.samples).interval(0.95).relative_half_width <= 0.02
    capped = SETTINGS.model_copy(update={"max_queries": 200_000})
    assert not stretch(fleet, Routing.RANDOM, 0.93, capped).precision_reached
