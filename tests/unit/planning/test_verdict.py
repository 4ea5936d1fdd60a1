"""Verdicts and their probabilities, held against sums done by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log
from statistics import NormalDist

import pytest

from perfmodel.domain.serving import SimulationSettings, SlaTarget
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.sensitivity import Errors, OtherTimes
from perfmodel.planning.verdict import (
    Deciding,
    Judgement,
    Margin,
    Narrowing,
    judge,
    margin,
    narrowing,
    sla_interval,
    what_decides,
)
from perfmodel.sim.policies import Shedding
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.utilisation import PoolLoads
from perfmodel.units import MS
from tests.textbook import TextbookQueue, deterministic_queue

SETTINGS = SimulationSettings(seed=5, min_queries=100_000, max_queries=100_000)
IDLE = deterministic_queue(0.001, 4)


def sla_of(latency_s: float, confidence: float = 0.9) -> SlaTarget:
    return SlaTarget(percentile=0.95, latency_ms=latency_s / MS, confidence=confidence)


def run_of(queue: TextbookQueue) -> RunResult:
    return run_until_precise(queue.traffic, queue.service, queue.policy, SETTINGS, percentile=0.95)


def judged(
    queue: TextbookQueue, sla: SlaTarget, error: float, *, accept_uncertain: bool = False
) -> Judgement:
    run, errors = run_of(queue), Errors(error, None)
    times = OtherTimes(queue.traffic, queue.service, queue.policy, run, (0.95,), seed=SETTINGS.seed)
    found = margin(times, sla, errors)
    return judge(sla, run, found, errors, accept_uncertain=accept_uncertain)


@pytest.mark.parametrize("errors_away", [-1.5, -0.5, 0.0, 0.5, 1.5])
def test_the_probability_without_queueing_is_that_of_the_service_time(errors_away: float) -> None:
    # A query on an idle node takes its service time of 1 s, known to 20 %.
    judgement = judged(IDLE, sla_of(exp(0.2 * errors_away)), 0.2)
    assert judgement.sla_probability == pytest.approx(NormalDist().cdf(errors_away), abs=0.005)


@pytest.mark.parametrize(
    ("limit_s", "verdict"),
    [
        (exp(0.2 * 1.35), "meets_sla"),
        (exp(0.2 * 1.2), "within_error"),
        (exp(-0.2 * 1.2), "within_error"),
        (exp(-0.2 * 1.35), "misses_sla"),
    ],
)
def test_claims_are_made_from_the_confidence_on(limit_s: float, verdict: str) -> None:
    assert judged(IDLE, sla_of(limit_s), 0.2).verdict == verdict


def test_a_lower_confidence_claims_more() -> None:
    assert judged(IDLE, sla_of(exp(0.2 * 1.2), confidence=0.8), 0.2).verdict == "meets_sla"
    assert judged(IDLE, sla_of(exp(-0.2 * 1.2), confidence=0.8), 0.2).verdict == "misses_sla"


@pytest.mark.parametrize(("limit_s", "verdict"), [(1.01, "meets_sla"), (0.99, "misses_sla")])
def test_the_central_estimate_decides_where_that_is_accepted(limit_s: float, verdict: str) -> None:
    judgement = judged(IDLE, sla_of(limit_s), 0.2, accept_uncertain=True)
    assert judgement.verdict == verdict
    assert 0.4 < judgement.sla_probability < 0.6


@pytest.mark.parametrize(
    ("utilisation", "error", "verdict"),
    [
        (1.5, 0.1, "unstable"),  # ln 1.5 = 0.41: four errors
        (1.1, 0.2, "misses_sla"),  # half an error beyond what the node serves, but further from the SLA
        (1.1, 1.0, "within_error"),
        (1.1, 0.0, "unstable"),
    ],
)
def test_an_overload_is_unstable_where_that_is_as_certain_as_asked(
    utilisation: float, error: float, verdict: str
) -> None:
    judgement = judged(deterministic_queue(utilisation, 2), sla_of(1.05), error)
    assert judgement.verdict == verdict


def test_an_overload_is_as_large_as_all_executors_at_work_make_it() -> None:
    # 1.1 alone, 1.5 with all busy, as in an overload: ln 1.5 is two errors of 20 %, ln 1.1 half a one.
    run = replace(run_of(deterministic_queue(1.1, 2)), contended=PoolLoads(1.5, 0.0))
    judgement = judge(sla_of(1.05), run, Margin(-log(1.5), 0.0), Errors(0.2, None))
    assert judgement.verdict == "unstable"


def test_an_overload_is_unstable_by_the_central_estimate() -> None:
    assert judged(deterministic_queue(1.1, 2), sla_of(9.0), 1.0, accept_uncertain=True).verdict == "unstable"


def test_what_would_decide_is_the_larger_error() -> None:
    run, errors = run_of(deterministic_queue(0.9, 1)), Errors(0.3, None)

    def band(ln_scale: float) -> tuple[float, float]:
        return exp(-ln_scale), exp(ln_scale)

    def decides(simulation_error: float) -> Deciding:
        at = Margin(ln_scale=0.01, simulation_error=simulation_error)
        return what_decides(
            run,
            at,
            errors,
            narrowing=Narrowing(0.07, "perfplan calibrate"),
            precision=0.02,
            most_queries=700,
            band_at=band,
        )

    times = decides(0.1)
    assert times.error == "service times"
    assert "calibrate" in times.command
    assert times.size == 0.3
    assert times.expected is not None
    assert times.expected < 0.3
    assert times.band_s == pytest.approx(band(times.expected))
    simulation = decides(0.4)
    assert simulation.error == "simulation"
    assert "precision=0.005" in simulation.command
    assert "max_queries=700" in simulation.command
    assert simulation.band_s == pytest.approx(band(0.1))


def test_published_profiles_are_calibrated_and_calibrated_ones_anchored() -> None:
    published, measured = (
        narrowing(prepare(load_scenario(name)).node, Errors(0.3, None))
        for name in ("rm3_skylake", "rm3_amd_epyc_turin_2c")
    )
    assert "perfplan calibrate" in published.command
    assert "--anchor" in measured.command
    assert measured.expected < published.expected < 0.3


def test_a_percentile_without_an_upper_bound_tells_nothing() -> None:
    run = run_of(deterministic_queue(0.5, 1))
    judgement = judge(sla_of(100.0), run, Margin(log(1.5), inf), Errors(0.01, None))
    assert judgement.verdict == "within_error"
    assert judgement.sla_probability == pytest.approx(0.5)


def test_too_few_bursts_tell_nothing_and_say_what_it_takes() -> None:
    run = replace(run_of(deterministic_queue(0.5, 1)), needed_queries=123_456)
    at = Margin(log(1.5), 0.01)
    judgement = judge(sla_of(100.0), run, at, Errors(0.01, None), accept_uncertain=True)
    assert (judgement.verdict, judgement.sla_probability) == ("within_error", None)
    deciding = what_decides(
        run,
        at,
        Errors(0.01, None),
        narrowing=Narrowing(0.03, "perfplan validate"),
        precision=0.02,
        most_queries=700,
        band_at=lambda _: (None, None),
    )
    assert "max_queries=123456" in deciding.command


# M/D/4/4: Erlang's formula asks the mean alone. At 2 erlang 9.5 % find all four busy, at 1 erlang 1.5 %.
@pytest.mark.parametrize(
    ("erlang", "turned_away", "verdict"), [(2.0, 0.0952, "misses_sla"), (1.0, 0.0154, "meets_sla")]
)
def test_a_query_that_is_turned_away_counts_as_late(erlang: float, turned_away: float, verdict: str) -> None:
    queue = deterministic_queue(erlang / 4.0, 4)
    queue = replace(queue, policy=replace(queue.policy, shedding=Shedding(deadline_s=1e-9)))
    run = run_of(queue)
    assert run.shed_share == pytest.approx(turned_away, rel=0.03)
    assert run.percentiles[0.95].value_s == pytest.approx(1.0), "those that are served never wait"
    assert judged(queue, sla_of(2.0), 0.01).verdict == verdict
    assert judged(queue, sla_of(2.0), 0.0, accept_uncertain=True).verdict == verdict
    at_sla = sla_interval(sla_of(2.0), run)
    assert at_sla is not None
    assert at_sla.value_s == (inf if verdict == "misses_sla" else pytest.approx(1.0))


def test_what_is_turned_away_is_as_uncertain_as_the_times_that_fill_the_executors() -> None:
    # 5 % find four executors busy at 1.525 erlang; at 1.5 times known to 10 % may be 1.6 % longer.
    queue = deterministic_queue(1.5 / 4.0, 4)
    queue = replace(queue, policy=replace(queue.policy, shedding=Shedding(deadline_s=1e-9)))
    probability = judged(queue, sla_of(2.0), 0.1).sla_probability
    assert probability == pytest.approx(NormalDist().cdf(log(1.525 / 1.5) / 0.1), abs=0.06)
