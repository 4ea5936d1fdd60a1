"""Anchors, levels, errors and capacities from served requests whose truth is known: no clock involved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.serving.requests import RequestList
from calibration.serving.served import Served, queries_of
from calibration.validation.anchor import fit_anchor, levels
from calibration.validation.capacity import CapacityCheck, _Search
from calibration.validation.comparison import by_batch, by_length, was_disturbed
from calibration.validation.measuring import is_disturbed, slowest_window
from calibration.validation.prediction import (
    Trace,
    UnitTrace,
    level_factor,
    own_service_times,
    scaled,
    smoothed_means_s,
)
from calibration.validation.summary import errors_percent, summary_of_runs
from calibration.validation.unsteadiness import unsteadiness
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf, pmf_of_list
from perfmodel.sim.query_times import LaunchTimes, QueryTimes
from perfmodel.sim.scatter import scatter_by_size
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from tests.unit.calibration.serving.replay import replayed_s

REPORTS = Path(__file__).parents[4] / "docs" / "reports"
LARGEST = 64
SIZES = np.arange(1.0, LARGEST + 1)
BASE = ServiceTimes(cpu_s=np.repeat((1e-3 + 1e-4 * SIZES)[:, None], 2, axis=1))
POLICY = SplitAndOffload(batch_size=LARGEST)
QUERIES = TrafficSource(
    arrivals=PoissonArrivals(rate_qps=120.0), sizes=pmf_of_list([5, 20, 64, 100, 200])
).draw(4000, seed=2)


def truth(factor: FloatArray, contention: float = 0.0) -> ServiceTimes:
    columns = np.stack([BASE.cpu_s[:, 0] * factor, BASE.cpu_s[:, 1] * factor * np.exp(contention)], axis=1)
    return ServiceTimes(cpu_s=columns)


def served_by(
    service: ServiceTimes,
    *,
    slow: float = 1.0,
    from_s: float = np.inf,
    to_s: float = np.inf,
    policy: SplitAndOffload = POLICY,
) -> Served:
    """What a server of these service times would have measured, `slow` times as long in an interval."""
    record = simulate(QUERIES, service, policy, engine="simpy", log_requests=True)
    log = record.requests
    assert log is not None
    inside = (log.start_s >= from_s) & (log.start_s < to_s)
    service_s = (log.finish_s - log.start_s) * np.where(inside, slow, 1.0)
    return Served(
        requests=RequestList(
            query=log.query,
            num_items=log.num_items,
            arrival_s=QUERIES.arrival_s[log.query],
            offloaded=log.on_accelerator,
        ),
        start_s=log.start_s,
        finish_s=log.start_s + service_s,
        cpu_s=service_s,
        worker=log.executor,
        num_workers=2,
    )


@pytest.fixture(scope="module")
def run() -> Served:
    return served_by(truth(np.linspace(1.5, 1.1, LARGEST), contention=0.2))


def test_the_anchor_finds_the_level_the_shape_and_the_contention(run: Served) -> None:
    anchor = fit_anchor([run], BASE)
    assert anchor.contention == pytest.approx(0.2, abs=0.02)
    for size in (5, 20, 64):
        assert anchor.shape[size - 1] == pytest.approx(np.linspace(1.5, 1.1, LARGEST)[size - 1], rel=0.02)


def test_what_the_anchor_refined_predicts_the_latencies_that_were_measured(run: Served) -> None:
    measured = summary_of_runs([(run, queries_of(run, QUERIES))])
    refined = fit_anchor([run], BASE).refine(BASE)
    errors = errors_percent(Trace((QUERIES,)).predict(refined, POLICY), measured)
    assert max(abs(error or 0.0) for error in errors.values()) < 2.0


def test_an_anchor_on_sizes_that_were_rare_follows_their_neighbours(run: Served) -> None:
    shape = fit_anchor([run], BASE).shape
    assert shape[36 - 1] == pytest.approx(shape[40 - 1], rel=0.05)  # 36 is the remainder of 100
    assert np.all((shape > 1.0) & (shape < 1.7))


def test_the_anchor_finds_the_level_of_the_accelerator_apart_from_that_of_the_cores() -> None:
    card_s = 5e-4 + 1e-5 * np.arange(1.0, 201.0)
    policy = SplitAndOffload(batch_size=LARGEST, offload_threshold_items=150)
    expected = ServiceTimes(cpu_s=BASE.cpu_s, accelerator_s=card_s, num_accelerators=1)
    run = served_by(expected.scaled(1.2, 1.7), policy=policy)
    anchor = fit_anchor([run], expected)
    assert anchor.level == pytest.approx(1.2)
    assert anchor.accelerator_level == pytest.approx(1.7)
    assert anchor.refine(expected).accelerator_s == pytest.approx(1.7 * card_s)


def test_the_anchor_predicts_tails_of_times_that_scatter_as_in_its_own_runs() -> None:
    card_s = 5e-3 + 1e-5 * np.arange(1.0, 201.0)
    policy = SplitAndOffload(batch_size=LARGEST, offload_threshold_items=150)
    expected = ServiceTimes(cpu_s=BASE.cpu_s, accelerator_s=card_s, num_accelerators=1)
    cores, card = (scatter_by_size(np.array([share])) for share in (0.3, 0.15))
    true = replace(expected, cpu_scatter=cores, accelerator_scatter=card)
    run = served_by(true, policy=policy)
    anchor = fit_anchor([run], expected)
    assert anchor.relative_std == pytest.approx(0.3, rel=0.1)
    assert anchor.accelerator_relative_std == pytest.approx(0.15, rel=0.1)
    measured = summary_of_runs([(run, queries_of(run, QUERIES))])

    def p95_error(service: ServiceTimes) -> float:
        return abs(errors_percent(Trace((QUERIES,)).predict(service, policy), measured)["p95"] or 0.0)

    refined = anchor.refine(expected)
    even = replace(refined, cpu_scatter=None, accelerator_scatter=None)
    assert p95_error(refined) < 3.0 < p95_error(even)


@pytest.mark.thorough
def test_too_few_requests_for_an_anchor_are_refused() -> None:
    few = served_by(BASE)
    requests = RequestList(
        query=few.requests.query[:10],
        num_items=few.requests.num_items[:10],
        arrival_s=few.requests.arrival_s[:10],
        offloaded=few.requests.offloaded[:10],
    )
    short = Served(
        requests=requests,
        start_s=few.start_s[:10],
        finish_s=few.finish_s[:10],
        cpu_s=few.cpu_s[:10],
        worker=few.worker[:10],
        num_workers=2,
    )
    with pytest.raises(InputError, match="10 requests are too few"):
        fit_anchor([short], BASE)


def test_the_anchor_finds_lengths_whose_times_are_off_by_other_factors() -> None:
    by_query = QueryTimes(shares=np.array([0.6, 0.3, 0.1]), cpu=OF_LENGTHS)
    expected = ServiceTimes(cpu_s=by_query.mean_cpu_s, by_query=by_query)
    factors = np.array([1.6, 1.3, 1.0])[:, None, None]
    times = replace(OF_LENGTHS, with_s=OF_LENGTHS.with_s * factors, without_s=OF_LENGTHS.without_s * factors)
    true_by_query = replace(by_query, cpu=times)
    true = ServiceTimes(cpu_s=true_by_query.mean_cpu_s, by_query=true_by_query)
    anchor = fit_anchor([served_of_lengths(true, SplitAndOffload(batch_size=LARGEST))], expected)
    refined = anchor.refine(expected)
    assert refined.by_query is not None
    assert refined.cpu_s == pytest.approx(refined.by_query.mean_cpu_s)
    found = (refined.by_query.cpu.with_s / OF_LENGTHS.with_s).mean(axis=(1, 2))
    assert found == pytest.approx(factors[:, 0, 0], rel=0.02)
    assert isinstance(anchor.to_dict()["by_length"], list)


def test_the_level_factor_gives_the_mean_service_time_asked_for() -> None:
    trace = Trace((QUERIES,))
    factor = level_factor(trace, BASE, POLICY, 5e-3)
    assert trace.predict(scaled(BASE, factor), POLICY).service_time_s == pytest.approx(5e-3, rel=1e-3)


def test_the_own_service_times_of_a_run_predict_it() -> None:
    plain = served_by(BASE)
    measured = summary_of_runs([(plain, queries_of(plain, QUERIES))])
    own = own_service_times([plain], BASE)
    errors = errors_percent(Trace((QUERIES,)).predict(own, POLICY), measured)
    assert max(abs(error or 0.0) for error in errors.values()) < 0.1


OF_LENGTHS = LaunchTimes(
    with_s=np.stack([BASE.cpu_s, 2.0 * BASE.cpu_s, 7.0 * BASE.cpu_s]),
    without_s=np.stack([0.8 * BASE.cpu_s, BASE.cpu_s, 2.0 * BASE.cpu_s]),
    more_s=np.zeros((3, 1, 2)),
)


def served_of_lengths(true: ServiceTimes, policy: SplitAndOffload) -> Served:
    """What a server of these times by query would have measured.

    Of sparse traffic: then the simulation, too, has each query's first request start first.
    """
    by_query, shares_work = true.by_query, policy.share_query_work
    assert by_query is not None
    log = simulate(QUERIES, true, policy, engine="simpy", log_requests=True).requests
    assert log is not None
    order = np.lexsort((log.start_s, log.query))
    query = log.query[order]
    first = np.diff(query, prepend=-1) > 0
    listed = RequestList(
        query=query,
        num_items=log.num_items[order],
        arrival_s=QUERIES.arrival_s[query],
        offloaded=log.on_accelerator[order],
        kind=by_query.kinds_of(len(QUERIES), QUERIES.luck)[query],
        sent=~first & shares_work,
    )
    service_s = (log.finish_s - log.start_s)[order]
    return Served(
        requests=listed,
        start_s=log.start_s[order],
        finish_s=log.finish_s[order],
        cpu_s=service_s,
        worker=log.executor[order],
        num_workers=2,
    )


@pytest.mark.parametrize("shares_work", [False, True])
def test_anchors_and_own_service_times_know_lengths_and_whose_work_a_request_does(
    shares_work: bool,  # both
) -> None:
    by_query = QueryTimes(shares=np.array([0.6, 0.3, 0.1]), cpu=OF_LENGTHS, shares_work=shares_work)
    expected = ServiceTimes(cpu_s=by_query.mean_cpu_s, by_query=by_query)
    policy = SplitAndOffload(batch_size=LARGEST, share_query_work=shares_work)
    run = served_of_lengths(expected.scaled(1.3, 1.0), policy)
    anchor = fit_anchor([run], expected)
    assert anchor.level == pytest.approx(1.3)
    assert anchor.shape == pytest.approx(1.3, rel=1e-3)
    assert anchor.relative_std is not None
    assert anchor.relative_std < 1e-3  # lengths that differ are no scatter
    found = unsteadiness([run])
    assert found.relative_std is not None
    assert found.relative_std < 1e-3
    measured = summary_of_runs([(run, queries_of(run, QUERIES))])
    even = replace(anchor, relative_std=None).refine(expected)
    for service in (even, own_service_times([run], expected)):
        errors = errors_percent(Trace((QUERIES,)).predict(service, policy), measured)
        assert max(abs(error or 0.0) for error in errors.values()) < 0.5
    law = SizePmf(np.array([10, 50, 400]), np.array([0.6, 0.3, 0.1]))
    rows = by_length([run], even, law)
    assert [row["length"] for row in rows] == [10, 50, 400]
    assert max(abs(row["error_percent"]) for row in rows) < 0.5


def test_replaying_measured_services_needs_no_model_at_all(run: Served) -> None:
    np.testing.assert_allclose(replayed_s(run), run.finish_s)


@pytest.mark.thorough
def test_signed_errors_are_positive_where_the_prediction_is_above() -> None:
    slow, fast = (
        summary_of_runs([(one, queries_of(one, QUERIES))])
        for one in (served_by(scaled(BASE, 1.1)), served_by(BASE))
    )
    errors = errors_percent(slow, fast)
    assert errors["service_time"] == pytest.approx(10.0)
    assert (errors["p95"] or 0.0) > 10.0  # the queue makes more of it


def test_a_slow_quarter_second_marks_a_piece_as_disturbed(run: Served) -> None:
    service = truth(np.linspace(1.5, 1.1, LARGEST), contention=0.2)
    assert slowest_window(run, service) < 1.05
    assert not is_disturbed(run, service)
    slowed = served_by(service, slow=1.6, from_s=5.0, to_s=5.4)
    assert slowest_window(slowed, service) > 1.3
    assert is_disturbed(slowed, service)


def test_a_lost_core_marks_a_piece_as_disturbed() -> None:
    still = served_by(BASE)
    cpu_s = still.cpu_s.copy()
    cpu_s[7] -= 5e-4
    cpu_s[8] = 0.0
    stalled = Served(
        requests=still.requests,
        start_s=still.start_s,
        finish_s=still.finish_s + np.where(np.arange(len(cpu_s)) == 8, 5e-3, 0.0),
        cpu_s=cpu_s,
        worker=still.worker,
        num_workers=2,
    )
    assert is_disturbed(stalled, BASE)


@pytest.mark.thorough
def test_the_level_of_a_run_is_measured_over_predicted_time() -> None:
    assert levels([served_by(scaled(BASE, 1.2)), served_by(BASE)], BASE) == pytest.approx([1.2, 1.0])


def test_service_times_by_size_put_the_largest_size_on_its_own() -> None:
    rows = by_batch([served_by(scaled(BASE, 2.0))], BASE)
    assert [(row["from_items"], row["to_items"]) for row in rows] == [
        (5, 5),
        (8, 8),
        (20, 20),
        (36, 36),
        (64, 64),
    ]
    assert rows[-1]["measured_ms"] == pytest.approx(2 * 7.4)
    assert rows[-1]["error_percent"] == pytest.approx(-50.0)


def means(sizes: list[int], times: list[float]) -> FloatArray:
    listed: IntArray = np.array(sizes)
    return smoothed_means_s(listed, np.array(times), 10)


def test_a_size_with_many_requests_has_their_mean() -> None:
    assert means([4] * 30 + [8] * 30, [1.0] * 15 + [3.0] * 15 + [5.0] * 30)[3] == pytest.approx(2.0)


def test_a_trace_at_twice_the_rate_is_the_same_trace_in_half_the_time() -> None:
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([1, 2]))
    unit = UnitTrace(source, pieces=2, per_piece=50, seed=1)
    slow, fast = unit.at_rate(10.0).segments[1], unit.at_rate(20.0).segments[1]
    np.testing.assert_allclose(slow.arrival_s, 2.0 * fast.arrival_s)


def test_the_error_of_a_capacity_is_signed_and_absent_where_nothing_meets_the_sla() -> None:
    def check(predicted: float | None, measured: float | None) -> CapacityCheck:
        return CapacityCheck(
            percentile=0.95, latency_s=0.1, predicted_qps=predicted, measured_qps=measured, tried=()
        )

    assert check(110.0, 100.0).error_percent == pytest.approx(10.0)
    assert check(None, None).error_percent is None


def test_a_trace_of_queries_is_predicted_query_by_query_as_the_engine_does() -> None:
    two = Trace((Queries(np.array([0.0]), np.array([64])), Queries(np.array([0.0]), np.array([128]))))
    summary = two.predict(BASE, POLICY)
    assert summary.percentiles_s[0.99] == pytest.approx(7.4e-3)  # 128 items on two cores at once
    assert summary.service_time_s == pytest.approx(7.4e-3)
    assert summary.utilisation == pytest.approx(3 / 4)


@pytest.mark.thorough
def test_the_capacity_of_a_server_many_times_as_fast_as_the_profile_is_found() -> None:
    question = prepare(load_scenario("wnd_skylake", ["node.cores=2", "sla.latency_ms=20"]))
    slow = question.node.service_times(question.policy, question.max_items)
    fast = scaled(slow, 0.1)
    search = _Search(question, 20.0, slow)
    found = search.capacity_qps(fast)
    assert found is not None
    assert search.percentile_s(0.99 * found, fast) <= 0.020 < search.percentile_s(1.01 * found, fast)
    assert search.implied_qps(found, 0.020, fast) == pytest.approx(found, rel=0.01)


def test_of_the_recorded_runs_the_one_that_met_something_else_is_disturbed() -> None:
    report = json.loads((REPORTS / "validate-amd-epyc-turin-2c.json").read_text(encoding="utf-8"))
    errors = [
        (point["error_percent"], point["own_service_times"]["error_percent"])
        for point in report["points"].values()
    ]
    assert len(errors) == 48
    disturbed = [(predicted, own) for predicted, own in errors if was_disturbed(predicted, own)]
    assert [round(own["p95"]) for _, own in disturbed] == [-68]
    # A prediction that is far off while the queue is right is an error of the prediction, and stays one.
    assert not was_disturbed({"p50": 30.0, "p95": 185.0}, {"p50": -1.0, "p95": 60.0})
    assert not was_disturbed({"p50": None, "p95": None}, {"p50": 1.0, "p95": 2.0})
