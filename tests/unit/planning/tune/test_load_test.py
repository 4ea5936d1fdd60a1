"""Load tests of configurations: against the general search for the greatest rate, and against exact sums."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calibration.reproduce.study import production_sizes, study_node
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import BurstyArrivals, PoissonArrivals
from perfmodel.planning.node import ServingNode
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.tune.load_test import LoadTest, SharedTraffic, service_of
from perfmodel.planning.tune.question import Configuration
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

SLA = SlaTarget(percentile=0.95, latency_ms=100.0)
SOURCE = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=production_sizes())
CONFIGURATIONS = [Configuration(25), Configuration(256), Configuration(128, 300)]


@pytest.fixture(scope="module")
def node() -> ServingNode:
    return study_node("dlrm-rmc3", "broadwell", "gtx1080ti")


@pytest.fixture(scope="module")
def traffic() -> SharedTraffic:
    return SharedTraffic(SOURCE, seed=1, final_queries=200_000)


@pytest.fixture
def load_test(node: ServingNode, traffic: SharedTraffic) -> LoadTest:
    return LoadTest(node, traffic, SLA)


@pytest.mark.thorough_cases("configuration0", "configuration2", "configuration1")
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_rates_are_those_of_the_general_search(load_test: LoadTest, configuration: Configuration) -> None:
    search = RateSearch(
        traffic=SOURCE,
        service=service_of(load_test.node, production_sizes().max_items),
        policy=configuration.policy,
        sla=SLA,
        seed=1,
        probe_queries=200_000,
    )
    pilot_qps = load_test.pilot_qps(configuration)
    assert pilot_qps is not None
    expected = search.greatest_rate_qps()
    assert pilot_qps == pytest.approx(expected, rel=0.03)
    assert load_test.final_qps(configuration, pilot_qps) == pytest.approx(expected, rel=0.01)


@pytest.mark.thorough
@pytest.mark.parametrize("about", [0.4, 0.9, 1.1, 3.0])
def test_a_wrong_guess_does_not_change_the_final_rate(load_test: LoadTest, about: float) -> None:
    configuration = Configuration(256)
    pilot_qps = load_test.pilot_qps(configuration)
    assert pilot_qps is not None
    near = load_test.final_qps(configuration, pilot_qps)
    assert load_test.final_qps(configuration, about * pilot_qps) == pytest.approx(near, rel=0.005)


@pytest.mark.thorough
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_saturation_is_the_exact_sum_over_the_law_of_sizes(
    load_test: LoadTest, configuration: Configuration
) -> None:
    service = service_of(load_test.node, production_sizes().max_items)
    for contended in (False, True):
        loads = offered_utilisation(SOURCE, service, configuration.policy, contended=contended)
        found = load_test.saturation_qps(configuration, contended=contended)
        assert found == pytest.approx(1.0 / max(loads))


@pytest.mark.thorough
def test_only_a_rate_above_the_one_given_is_found(load_test: LoadTest) -> None:
    configuration = Configuration(256)
    pilot_qps = load_test.pilot_qps(configuration)
    assert pilot_qps is not None
    above = load_test.pilot_qps(configuration, above_qps=0.98 * pilot_qps)
    assert above == pytest.approx(pilot_qps, rel=0.01)
    assert load_test.pilot_qps(configuration, above_qps=1.02 * pilot_qps) is None
    assert load_test.pilot_qps(configuration, above_qps=1e9) is None


def test_an_sla_below_the_unloaded_latency_is_met_by_no_rate(
    node: ServingNode, traffic: SharedTraffic
) -> None:
    impossible = LoadTest(node, traffic, SlaTarget(percentile=0.95, latency_ms=0.5))
    assert impossible.pilot_qps(Configuration(64)) is None


@pytest.mark.thorough
def test_bursts_have_a_time_scale_of_their_own(node: ServingNode) -> None:
    arrivals = BurstyArrivals(rate_qps=1.0, burst_factor=3.0, burst_fraction=0.2, mean_burst_s=1.0)
    bursty = SharedTraffic(replace(SOURCE, arrivals=arrivals), seed=1, final_queries=50_000)
    found = LoadTest(node, bursty, SLA).pilot_qps(Configuration(256))
    smooth = LoadTest(node, SharedTraffic(SOURCE, seed=1, final_queries=50_000), SLA)
    assert found is not None
    assert found < 0.8 * (smooth.pilot_qps(Configuration(256)) or 0.0), "bursts take capacity"


@pytest.mark.thorough
def test_several_cards_with_launches_in_flight_are_simulated_one_rate_at_a_time(
    node: ServingNode, traffic: SharedTraffic
) -> None:
    one = service_of(node, production_sizes().max_items)
    streams = one.accelerator_by_streams_s[:, :1].repeat(2, axis=1) * [1.0, 2.0]
    both = {"cpu_s": one.cpu_s, "accelerator_s": streams}
    single = LoadTest(node, traffic, SLA, service=ServiceTimes(**both, num_accelerators=1))
    pair = LoadTest(node, traffic, SLA, service=ServiceTimes(**both, num_accelerators=2))
    configuration = Configuration(256, 1)
    alone_qps, pair_qps = single.pilot_qps(configuration), pair.pilot_qps(configuration)
    assert alone_qps is not None
    assert pair_qps is not None
    assert pair_qps == pytest.approx(2.0 * alone_qps, rel=0.1)
