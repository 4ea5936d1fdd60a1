"""What a log of a simulated node is read as, and what its replay says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.observe import recover
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import BurstyArrivals, PoissonArrivals
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.observe.computation import observe
from perfmodel.planning.observe.drift import find_drift
from perfmodel.planning.observe.executors import busy_at_start, find_executors
from perfmodel.planning.observe.log import ServedLog, checked_log
from perfmodel.planning.observe.times import fit_times
from perfmodel.planning.observe.traffic import fit_arrivals
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.sim.scatter import even_scatter, log_normal_factors
from perfmodel.sim.service import ServiceTimes

SLA = SlaTarget(percentile=0.95, latency_ms=20.0)


def fitted(log: ServedLog):  # type: ignore[no-untyped-def]  # a pair for the tests
    busy = busy_at_start(log)
    executors = find_executors(log, busy)
    return executors, fit_times(log, busy, executors.number)


@pytest.mark.thorough
def test_times_without_scatter_are_found_exactly(log: ServedLog) -> None:
    executors, times = fitted(log)
    assert (executors.number, executors.exact, executors.source) == (4, True, "waiting")
    assert [row.items for row in times.rows] == [100, 200, 300]
    expected = [0.003, 0.005, 0.007]  # 1 ms and 20 us an item
    assert [row.service_s.value for row in times.rows] == pytest.approx(expected, abs=2e-9)
    assert times.scatter is None
    assert times.pauses is None


def test_executors_without_waiting_are_a_lower_bound(make_log) -> None:  # type: ignore[no-untyped-def]
    few = checked_log(read_recording(make_log(arrivals=PoissonArrivals(rate_qps=30.0), num=500)))
    executors, _ = fitted(few)
    assert executors.number < 4
    assert not executors.exact
    assert "there may be more" in executors.why


@pytest.mark.thorough
def test_a_column_of_executors_decides(make_log) -> None:  # type: ignore[no-untyped-def]
    quiet = PoissonArrivals(rate_qps=150.0)
    executors, _ = fitted(checked_log(read_recording(make_log(arrivals=quiet, executors=True))))
    assert (executors.number, executors.exact, executors.source) == (4, True, "column")


def test_busy_at_start_by_hand(log: ServedLog) -> None:
    three = replace(
        log,
        arrival_s=np.array([0.0, 1.0, 2.0]),
        start_s=np.array([0.0, 1.0, 3.0]),
        end_s=np.array([3.0, 5.0, 4.0]),
        num_items=np.array([1, 1, 1]),
    )
    assert busy_at_start(three).tolist() == [1, 2, 2]  # the first ends as the third starts


def test_contention_is_a_column_busy(make_log) -> None:  # type: ignore[no-untyped-def]
    alone_s = 1e-3 + 2e-5 * np.arange(1.0, 301.0)
    service = ServiceTimes(cpu_s=alone_s[:, None] * np.array([1.0, 1.1, 1.2, 1.4]))
    _, times = fitted(checked_log(read_recording(make_log(service=service))))
    assert {row.busy for row in times.rows} == {1, 2, 3, 4}
    for row in times.rows:
        assert row.busy is not None
        assert row.service_s.value == pytest.approx(service.cpu_s[row.items - 1, row.busy - 1], rel=1e-5)


@pytest.mark.thorough
def test_scatter_is_measured_around_the_mean_of_each_size(make_log) -> None:  # type: ignore[no-untyped-def]
    plain = np.repeat((1e-3 + 2e-5 * np.arange(1.0, 301.0))[:, None], 4, axis=1)
    law = even_scatter(log_normal_factors(np.sqrt(np.log1p(0.3**2))))
    _, times = fitted(
        checked_log(read_recording(make_log(service=ServiceTimes(cpu_s=plain, cpu_scatter=law))))
    )
    assert times.relative_std.holds(0.3)
    assert times.relative_std.high - times.relative_std.low < 0.03
    assert times.scatter is not None
    assert times.scatter.distribution == "lognormal"


@pytest.mark.thorough_cases("executor")
@pytest.mark.parametrize("scope", ["executor", "node"])
def test_pauses_are_told_from_scatter_with_their_scope(make_log, scope: str) -> None:  # type: ignore[no-untyped-def]
    """Clocks of the node, or of one executor at a time, stand still for 50 ms, and all stamps move on."""
    log = checked_log(read_recording(make_log(executors=True)))
    assert log.executor is not None
    rng, moved_s = np.random.default_rng(1), np.zeros((2, len(log.start_s)))
    for executor in range(4):
        own = np.full(len(log.start_s), True) if scope == "node" else log.executor == executor
        if scope == "executor" or executor == 0:
            instants = np.sort(rng.uniform(0.0, log.span_s, 40))
            moved_s[0, own] += 0.05 * np.searchsorted(instants, log.start_s[own])
            moved_s[1, own] += 0.05 * np.searchsorted(instants, log.end_s[own])
    _, times = fitted(replace(log, start_s=log.start_s + moved_s[0], end_s=log.end_s + moved_s[1]))
    pauses = times.pauses
    assert pauses is not None
    assert (pauses.scope, pauses.lengths) == (scope, "constant")
    assert pauses.length_s.value == pytest.approx(0.05, rel=0.02)
    assert pauses.rate_per_s.holds(40 / log.span_s)
    assert [row.service_s.value for row in times.rows] == pytest.approx([0.003, 0.005, 0.007], rel=1e-3)


@pytest.mark.thorough
def test_the_replay_of_a_plain_log_is_exact_and_its_backtest_by_the_minute(log: ServedLog) -> None:
    found = observe(log, sla=SLA)
    assert found.arrivals.process == "poisson"
    assert all(abs(error) < 1e-3 for window in found.windows for error in window.errors if error is not None)
    assert len(found.windows) == 4
    assert found.plan_for_qps is not None
    assert found.backtest is not None
    assert found.backtest.rate_qps == found.plan_for_qps
    assert found.backtest.minutes >= 1
    assert found.utilisation == pytest.approx(500 * 0.0052 / 4, rel=0.05)


def drifted(path: Path, question: Question) -> set[str]:
    log = checked_log(read_recording(path))
    found = find_drift(log, fit_arrivals(log.arrival_s), busy_at_start(log), question)
    assert found.scenario == "scenario"
    return set(found.drifted)


@pytest.fixture
def question(log: ServedLog, tmp_path: Path) -> Question:
    """The scenario that is written for the log."""
    for name, text in observe(log, sla=SLA).files.items():
        (tmp_path / name).write_text(text)
    return prepare(load_scenario(tmp_path / "scenario.yaml"))


@pytest.mark.thorough
def test_what_has_drifted_is_named_and_nothing_else(question: Question, make_log, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert drifted(make_log(seed=7, arrivals=PoissonArrivals(rate_qps=600.0)), question) == {"rate"}
    slower = np.repeat((1.1 * (1e-3 + 2e-5 * np.arange(1.0, 301.0)))[:, None], 4, axis=1)
    assert drifted(make_log(seed=7, service=ServiceTimes(cpu_s=slower)), question) == {"service times"}
    bursts = BurstyArrivals(rate_qps=500.0, burst_factor=3.0, burst_fraction=0.3, mean_burst_s=0.05)
    assert drifted(make_log(seed=8, arrivals=bursts, num=20_000), question) == {"burstiness"}
    text = make_log(seed=7).read_text().splitlines()
    smaller = [line.replace(",300,", ",200,") if index % 3 else line for index, line in enumerate(text)]
    (tmp_path / "smaller.csv").write_text("\n".join(smaller) + "\n")
    assert "sizes" in drifted(tmp_path / "smaller.csv", question)


@pytest.mark.thorough
def test_a_load_that_has_not_drifted_is_not_said_to(question: Question, make_log) -> None:  # type: ignore[no-untyped-def]
    assert [drifted(make_log(seed=seed), question) for seed in range(10, 20)] == [set()] * 10


@pytest.mark.slow
def test_fifty_logs_of_simulated_nodes_are_recovered(tmp_path: Path) -> None:
    """95 % intervals: of 50, 43 or fewer hold by chance once in a hundred such suites."""
    found = [recover(number, tmp_path, num_queries=20_000) for number in range(50)]
    rows = [row for each in found for row in each.row_errors]
    assert sum(each.rate_holds for each in found) >= 44
    assert sum(each.sizes_hold for each in found) >= 44
    assert all(each.executors_hold for each in found)
    assert sum(each.scatter_holds for each in found) >= 44
    assert np.mean([holds for _, holds in rows]) >= 0.9
    assert np.sqrt(np.mean([error**2 for error, _ in rows])) < 0.03, "too vague to prove anything"
