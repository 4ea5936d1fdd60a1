"""Bands and sensitivities, held against closed forms and against what scaling time does exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.domain.serving import SimulationSettings, SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.planning.rate.interval import GreatestRate, greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.sensitivity import (
    ANOTHER_RUN,
    Errors,
    LatencyBudget,
    OtherTimes,
    latency_budget,
    rate_budget,
)
from perfmodel.planning.verdict import margin
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from perfmodel.units import MS
from tests.textbook import TextbookQueue, deterministic_queue, exponential_queue

SETTINGS = SimulationSettings(seed=5, min_queries=100_000, max_queries=100_000)
NO_CARD = Errors(0.1, None)


def budget_of(queue: TextbookQueue, errors: Errors = NO_CARD) -> LatencyBudget | None:
    run, times = run_of(queue)
    return latency_budget(times, run, errors, percentile=0.95)


def run_of(queue: TextbookQueue) -> tuple[RunResult, OtherTimes]:
    run = run_until_precise(queue.traffic, queue.service, queue.policy, SETTINGS, percentile=0.95)
    wanted = (0.5, 0.95, 0.99, 0.999)
    return run, OtherTimes(queue.traffic, queue.service, queue.policy, run, wanted, seed=SETTINGS.seed)


def search_of(queue: TextbookQueue, latency_s: float) -> RateSearch:
    sla = SlaTarget(percentile=0.95, latency_ms=latency_s / MS)
    return RateSearch(
        traffic=queue.traffic, service=queue.service, policy=queue.policy, sla=sla, seed=SETTINGS.seed
    )


def test_a_percentile_of_mm1_responds_as_its_closed_form() -> None:
    # -ln(1 - p) / (mu - lambda): its relative derivative by the service time is 1 / (1 - rho).
    budget = budget_of(exponential_queue(0.5, 1))
    assert budget is not None
    for percentile, response in budget.responses.items():
        # Of 100,000 queries a hundred lie beyond p99.9, which leaves its response to chance.
        assert response == pytest.approx(2.0, rel=0.05 if percentile < 0.999 else 0.25)
    assert budget.to_saturation == pytest.approx(1.0)


@pytest.mark.thorough
def test_the_largest_load_of_mm1_responds_as_its_closed_form() -> None:
    # 1 / S + ln(0.05) / t = 0.6255 at S = 1 and t = 8: its relative derivative by S is -1 / 0.6255.
    search = search_of(exponential_queue(0.5, 1), 8.0)
    budget = rate_budget(search, greatest_rate(search, num_queries=200_000), NO_CARD, quantile=1.0)
    assert budget is not None
    assert budget.response == pytest.approx(-1.599, rel=0.03)
    longest = np.exp(0.1)
    assert budget.band_qps == pytest.approx((1 / longest - 0.3745, longest - 0.3745), rel=0.02)
    # With a quantile of one error, and next to none of the simulation, the rate to plan for is the low end,
    # less what another run may find.
    assert budget.plan_qps == pytest.approx(1 / (longest * np.exp(ANOTHER_RUN)) - 0.3745, rel=0.01)


def test_slower_by_a_factor_is_a_clock_that_runs_slower() -> None:
    search = search_of(deterministic_queue(0.5, 4), 3.0)
    slower = replace(search, service=search.service.scaled(1.25, 1.0))
    rescaled = replace(search, sla=SlaTarget(percentile=0.95, latency_ms=3000.0 / 1.25))
    rates = [greatest_rate(asked, num_queries=100_000) for asked in (slower, rescaled)]
    assert rates[0] is not None
    assert rates[1] is not None
    assert rates[0].rate_qps == pytest.approx(rates[1].rate_qps / 1.25, rel=1e-4)


def test_latencies_without_waiting_are_as_wrong_as_the_service_times() -> None:
    budget = budget_of(deterministic_queue(0.001, 4))
    assert budget is not None
    assert budget.bands_s[0.95] == pytest.approx((np.exp(-0.1), np.exp(0.1)))
    assert budget.responses[0.95] == pytest.approx(1.0)


def test_a_band_ends_where_the_load_becomes_unstable() -> None:
    budget = budget_of(deterministic_queue(0.95, 4))
    assert budget is not None
    shorter, longer = budget.bands_s[0.95]
    assert shorter is not None
    assert longer is None


def test_an_unstable_load_has_no_budget() -> None:
    assert budget_of(deterministic_queue(1.1, 2)) is None


def test_each_device_is_wrong_by_its_own_error() -> None:
    queue = TextbookQueue(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=0.01), sizes=pmf_of_list([1, 10])),
        service=ServiceTimes(cpu_s=np.ones((1, 2)), accelerator_s=np.full(10, 3.0), num_accelerators=1),
        policy=SplitAndOffload(batch_size=1, offload_threshold_items=10),
    )
    budget = budget_of(queue, Errors(0.1, 0.2))
    assert budget is not None
    # Half of the queries are small, and take 1 s on a core; p95 is a large one, 3 s on the accelerator.
    assert budget.bands_s[0.95] == pytest.approx((3.0 * np.exp(-0.2), 3.0 * np.exp(0.2)), rel=0.02)


def test_no_load_is_met_where_longer_service_times_alone_exceed_the_sla() -> None:
    search = search_of(deterministic_queue(0.5, 4), 1.05)
    budget = rate_budget(search, greatest_rate(search, num_queries=100_000), NO_CARD, quantile=1.0)
    assert budget is not None
    assert budget.band_qps[0] is None
    assert budget.band_qps[1] is not None


def test_there_is_no_band_around_a_load_that_does_not_exist() -> None:
    assert rate_budget(search_of(deterministic_queue(0.5, 1), 0.9), None, NO_CARD, quantile=1.0) is None


def test_times_are_off_by_a_factor_either_way() -> None:
    assert Errors(0.2, None).shorter.cpu == pytest.approx(np.exp(-0.2))
    assert Errors(0.2, 0.3).shorter == pytest.approx((np.exp(-0.2), np.exp(-0.3)))
    assert Errors(0.2, 0.3).longer == pytest.approx((np.exp(0.2), np.exp(0.3)))
    assert Errors(0.0, None).at(0.1) == pytest.approx((np.exp(0.1), np.exp(0.1)))


@pytest.mark.parametrize("latency_s", [4.0, 12.0])
def test_the_margin_of_mm1_is_that_of_its_closed_form(latency_s: float) -> None:
    # -ln(0.05) / (1 / S - 0.5) is the limit at S = 1 / (0.5 - ln(0.05) / limit): longer than 1 s, or shorter.
    sla = SlaTarget(percentile=0.95, latency_ms=latency_s / MS)
    _, times = run_of(exponential_queue(0.5, 1))
    found = margin(times, sla, NO_CARD)
    service_s = 1.0 / (0.5 - np.log(0.05) / latency_s)
    assert found.ln_scale == pytest.approx(np.log(service_s), abs=0.02)
    assert 0.0 < found.simulation_error < 0.02


def test_a_margin_ends_at_five_errors() -> None:
    _, times = run_of(deterministic_queue(0.001, 4))
    for latency_s, expected in ((100.0, 0.5), (0.001, -0.5)):
        found = margin(times, SlaTarget(percentile=0.95, latency_ms=latency_s / MS), NO_CARD)
        assert found.ln_scale == pytest.approx(expected)


def test_an_overload_has_a_margin_below_what_the_node_keeps_up_with() -> None:
    _, times = run_of(deterministic_queue(1.1, 2))
    found = margin(times, SlaTarget(percentile=0.95, latency_ms=20.0 / MS), NO_CARD)
    assert -0.2 < found.ln_scale < -np.log(1.1)


def test_the_interval_narrows_until_it_is_as_precise_as_asked() -> None:
    search = search_of(deterministic_queue(0.5, 1), 8.0)
    first, precise = (
        greatest_rate(search, num_queries=50_000, precision=precision, most_queries=2_000_000)
        for precision in (1.0, 0.01)
    )
    assert isinstance(first, GreatestRate)
    assert isinstance(precise, GreatestRate)
    assert precise.relative_half_width <= 0.01 < first.relative_half_width
    assert precise.num_queries > first.num_queries == 50_000
