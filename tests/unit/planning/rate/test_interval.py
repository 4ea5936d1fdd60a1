"""The greatest rate and its interval: on nodes of shipped scenarios, short runs, and a textbook node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import pytest

from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import BurstyArrivals, DiurnalArrivals, PoissonArrivals
from perfmodel.errors import UndecidedError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.rate.interval import GreatestRate, LateCurve, greatest_rate
from perfmodel.planning.rate.late import DrawnTraffic
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.tune.load_test import LoadTest, SharedTraffic
from perfmodel.planning.tune.question import Configuration
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Estimate
from perfmodel.sim.traffic import TrafficSource

QUERIES = 50_000


def node_search(scenario: str, latency_ms: float, *overrides: str) -> RateSearch:
    """The search of a scenario's node, at an SLA of its own."""
    question = prepare(load_scenario(scenario, overrides))
    service = question.node.service_times(question.policy, question.max_items, question.traffic.size_pmf)
    return RateSearch(
        traffic=question.traffic,
        service=service,
        policy=question.policy,
        sla=SlaTarget(percentile=0.95, latency_ms=latency_ms),
        seed=1,
    )


def textbook_search(latency_ms: float) -> RateSearch:
    """Four cores, a second a query: a rate of 4 fills them."""
    return RateSearch(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([1])),
        service=ServiceTimes(cpu_s=np.ones((1, 4))),
        policy=SplitAndOffload(batch_size=1),
        sla=SlaTarget(percentile=0.95, latency_ms=latency_ms),
        seed=1,
    )


def found(search: RateSearch, num_queries: int = QUERIES) -> GreatestRate:
    greatest = greatest_rate(search, num_queries=num_queries)
    assert greatest is not None
    return greatest


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", ["rm1_broadwell", "wnd_broadwell", "rm3_skylake"])
def test_a_looser_sla_never_gets_a_smaller_rate_and_each_lies_in_its_interval(scenario: str) -> None:
    search = node_search(scenario, 100.0)
    slas_ms = (30.0, 60.0, 61.0, 100.0, 101.0, 200.0, 1000.0, 10_000.0)
    slas = [SlaTarget(percentile=0.95, latency_ms=latency_ms) for latency_ms in slas_ms]
    answers = [greatest_rate(replace(search, sla=sla), num_queries=QUERIES) for sla in slas]
    rates = [0.0 if answer is None else answer.rate_qps for answer in answers]
    # Within a long SLA what fills the node is the most, though short runs let a small overload pass.
    assert all(tighter <= looser for tighter, looser in pairwise(rates))
    assert rates[-1] <= search.full_qps()
    assert rates[-1] > rates[0]
    for answer in answers:
        if answer is not None and answer.ci95_qps is not None:
            assert answer.ci95_qps[0] <= answer.rate_qps <= answer.ci95_qps[1]
            assert 0.0 < answer.relative_half_width < 0.2


@pytest.mark.thorough
def test_a_batch_that_waits_a_second_to_fill_has_a_largest_load_within_a_second() -> None:
    # Alone, a query waits the whole second and is late; a few a second fill a batch before it is over.
    policy = "policy={name: dynamic-batching, max_batch_items: 1024, timeout_ms: 1000}"
    search = node_search("rm1_skylake", 1000.0, policy)
    assert search.load_may_shorten_latencies
    assert not search.idle_node_meets()
    answer = found(search)
    late = search.late(DrawnTraffic(search.traffic, QUERIES, seed=1))
    assert late.meets(0.98 * answer.rate_qps)
    assert not late.meets(1.05 * answer.rate_qps) or answer.rate_qps == pytest.approx(search.full_qps())
    assert answer.rate_qps > 100.0
    assert not late.meets(1.0)
    if answer.ci95_qps is not None:
        assert answer.ci95_qps[0] > 0.9 * answer.rate_qps, "not where so few arrive that batches wait"


def test_an_sla_of_the_unloaded_latency_has_a_rate_and_all_searches_agree() -> None:
    search = textbook_search(1000.0)
    assert search.idle_node_meets()
    answer = found(search)
    probe_qps = search.greatest_rate_qps()
    assert probe_qps is not None
    # Erlang's formula for four servers: one query in twenty waits at an offered load of 1.68.
    for rate_qps in (answer.rate_qps, probe_qps):
        assert rate_qps == pytest.approx(waits_one_in(20), rel=0.03)
    assert greatest_rate(textbook_search(999.9), num_queries=QUERIES) is None


def waits_one_in(queries: int) -> float:
    """The rate at which one query in so many has to wait on M/D/4 with services of a second. [queries/s]"""
    from perfmodel.queueing.deterministic import solve_mdc

    low, high = 0.1, 3.9
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        waits = solve_mdc(middle, 1.0, 4).wait_percentile_s(1.0 - 1.0 / queries) > 1e-9
        low, high = (low, middle) if waits else (middle, high)
    return low


def test_load_tests_agree_that_an_sla_of_the_unloaded_latency_has_a_rate() -> None:
    question = prepare(load_scenario("rm3_skylake", []))
    node, configuration = question.node, Configuration(1024)
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([64]))
    service = node.service_times(configuration.policy, 64, source.size_pmf)
    alone_s = float(service.cpu_s[63, 0])
    traffic = SharedTraffic(source, seed=1, final_queries=QUERIES)
    for latency_s, has_a_rate in ((alone_s, True), (0.999 * alone_s, False)):
        sla = SlaTarget(percentile=0.95, latency_ms=1e3 * latency_s)
        search = RateSearch(
            traffic=source,
            service=service,
            policy=configuration.policy,
            sla=sla,
            seed=1,
            probe_queries=QUERIES,
        )
        tested_qps = LoadTest(node, traffic, sla, service=service).pilot_qps(configuration)
        assert (tested_qps is not None) is has_a_rate
        assert (greatest_rate(search, num_queries=QUERIES) is not None) is has_a_rate
        assert search.idle_node_meets() is has_a_rate


@pytest.mark.thorough
def test_bursts_that_a_run_cannot_hold_are_undecided_with_the_number_that_is_needed() -> None:
    bursts = BurstyArrivals(rate_qps=1.0, burst_factor=3.0, burst_fraction=0.1, mean_burst_s=10_000.0)
    search = textbook_search(5000.0)
    search = replace(search, traffic=replace(search.traffic, arrivals=bursts), most_queries=100_000)
    with pytest.raises(UndecidedError, match=r"30 bursts take [\d,]+ queries a run; --set") as refused:
        greatest_rate(search, num_queries=QUERIES, near_qps=2.0)
    # A burst in 100 000 s, at two queries a second, thirty times.
    assert "simulation.max_queries=6000000 allows it" in str(refused.value)
    short = bursts.model_copy(update={"mean_burst_s": 20.0})
    enough = replace(search, traffic=replace(search.traffic, arrivals=short))
    smooth = found(textbook_search(5000.0)).rate_qps
    assert 0.25 * smooth < found(enough).rate_qps < 0.9 * smooth


def test_a_period_whose_worst_windows_are_too_many_queries_is_undecided() -> None:
    # Half a year is 2016 windows of two hours: at 20,000 queries/s and more, four have hundreds of millions.
    slow = DiurnalArrivals(rate_qps=1.0, amplitude=0.5, period_s=1.5e7)
    search = textbook_search(0.4)
    service = ServiceTimes(cpu_s=search.service.cpu_s * 1e-4)
    search = replace(search, service=service, traffic=replace(search.traffic, arrivals=slow))
    with pytest.raises(UndecidedError, match=r"worst one of a period of 4166\.7 h hold too many queries"):
        greatest_rate(search, num_queries=QUERIES)


@pytest.mark.thorough
def test_the_rate_of_a_day_is_that_of_its_peak() -> None:
    amplitude = 0.6
    stationary = textbook_search(100.0)
    stationary = replace(stationary, service=ServiceTimes(cpu_s=np.full((1, 4), 0.02)))
    day = DiurnalArrivals(rate_qps=1.0, amplitude=amplitude, period_s=3600.0)
    over_a_day = replace(stationary, traffic=replace(stationary.traffic, arrivals=day))
    steady, daily = found(stationary), found(over_a_day)
    # For five minutes of an hour the rate is within a per cent of its peak, beyond which the mean is less.
    assert daily.rate_qps == pytest.approx(steady.rate_qps / (1.0 + amplitude), rel=0.03)
    assert daily.rate_qps > 0.98 * steady.rate_qps / (1.0 + amplitude)


@pytest.mark.parametrize("crossing", [1.002, 1.009])
def test_no_answer_is_more_than_what_fills_all_executors(crossing: float) -> None:
    # Runs end before an overload of less than a per cent passes a long SLA; for long no node bears it.
    search = node_search("rm1_broadwell", 1000.0)
    full_qps = search.full_qps()
    late: Any = SteepShare(crossing * full_qps, 1.0 - search.sla.percentile, runs_side_by_side=True)
    answer = LateCurve(search, late, QUERIES).around(full_qps)
    assert answer.rate_qps == full_qps
    assert answer.ci95_qps is None or answer.ci95_qps[1] == full_qps


def test_an_answer_without_an_interval_has_no_width() -> None:
    assert GreatestRate(2.0, None, 1000).relative_half_width == 0.0
    assert GreatestRate(2.0, (1.5, inf), 1000).relative_half_width == inf
    assert GreatestRate(2.0, (1.5, 2.5), 1000).relative_half_width == 0.25


@dataclass(frozen=True)
class SteepShare:
    """Late queries that go from none to all within a step of the grid, as they do where a node is full."""

    crossing_qps: float
    allowed: float
    runs_side_by_side: bool

    def shares(self, rates_qps: Sequence[float], *, errors: bool = True) -> list[Estimate]:  # noqa: ARG002
        """Five times as many for each 2 queries/s more, known to a tenth."""
        found = [min(1.0, self.allowed * 5.0 ** ((rate - self.crossing_qps) / 2.0)) for rate in rates_qps]
        return [Estimate(each, 0.1 * each, 29) for each in found]


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("crossing_qps", [4293.0, 4305.5, 4312.0, 4319.0])
def test_where_the_share_jumps_within_a_step_the_step_is_divided(
    crossing_qps: float, side_by_side: bool
) -> None:
    search = node_search("rm1_broadwell", 20.0)
    late: Any = SteepShare(crossing_qps, 1.0 - search.sla.percentile, side_by_side)
    curve = LateCurve(search, late, QUERIES)
    answer = curve.around(4285.0)
    assert answer.rate_qps == pytest.approx(crossing_qps, rel=0.0002), "the step is 0.4 %"
    assert curve.crossing_qps(4285.0) == answer.rate_qps
    assert answer.ci95_qps is not None
    assert answer.ci95_qps[0] <= answer.rate_qps <= answer.ci95_qps[1]


@dataclass(frozen=True)
class HardlyScattered:
    """A run that happens to show episodes of the same length everywhere, few as they are."""

    late: SteepShare

    runs_side_by_side = True

    def shares(self, rates_qps: Sequence[float], *, errors: bool = True) -> list[Estimate]:
        """The same shares, said to be known to a thousandth."""
        return [
            each._replace(standard_error=0.0005 * each.mean)
            for each in self.late.shares(rates_qps, errors=errors)
        ]


def test_near_the_cliff_a_run_does_not_take_few_episodes_to_be_well_known() -> None:
    search = node_search("rm1_broadwell", 100.0)
    full_qps, allowed = search.full_qps(), 1.0 - search.sla.percentile
    errors = {}
    for part in (0.95, 0.995):
        late: Any = HardlyScattered(SteepShare(part * full_qps, allowed, runs_side_by_side=True))
        for num_queries in (1_000_000, 4_000_000):
            answer = LateCurve(search, late, num_queries).around(part * full_qps)
            errors[part, num_queries] = answer.share_error
    assert errors[0.95, 1_000_000] < 0.05, "nothing is known beforehand of a node that is far from full"
    # By hand: backlogs forget in 2 x 0.1 s x 4309/s / (0.005 ln 20) = 57,500 queries; of a million, 17 times
    # as many, the share is known to 1.96 sqrt(23 / 17), more than is ever said; of four million to 1.13.
    assert errors[0.995, 1_000_000] == pytest.approx(1.8)
    assert errors[0.995, 4_000_000] == pytest.approx(1.13, rel=0.05)
