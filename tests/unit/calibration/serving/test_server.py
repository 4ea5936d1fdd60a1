"""Real worker processes: what they serve, in which order, and how a run ends. No claim about precision."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT
from time import perf_counter

import numpy as np
import pytest

from calibration.serving import server
from calibration.serving.inputs import InputPool, draw_inputs
from calibration.serving.processes import cores_for, spare_cores, wait_until
from calibration.serving.requests import RequestList, requests_of
from calibration.serving.served import QUERY_COLUMNS, Served, queries_of, write_queries
from calibration.serving.server import Workers, serve
from calibration.validation.bench import first_queries
from perfmodel.errors import InputError, PerfplanError
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.traffic import Queries
from tests.unit.calibration.serving.replay import replayed_s
from tests.unit.calibration.serving.stubs import Failing, Spinner


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WARM_UP_S", 0.01)


POLICY = SplitAndOffload(batch_size=10)
SPIN = Spinner(fixed_s=1e-3)


def pool_of(servable: Spinner, requests: RequestList) -> InputPool:
    return draw_inputs(servable, requests.num_items, np.random.default_rng(0), bytes_per_item=0.0)


def served(queries: Queries, servable: Spinner = SPIN, **options: object) -> Served:
    requests = requests_of(queries, POLICY)
    return serve(Workers(servable=servable, num_workers=1), requests, pool_of(servable, requests), **options)  # type: ignore[arg-type]


def test_every_request_is_served_once_and_in_order() -> None:
    queries = Queries(np.linspace(0.0, 0.05, 30), np.tile([5, 25], 15))
    run = served(queries)
    assert run.requests.num_items.tolist() == requests_of(queries, POLICY).num_items.tolist()
    assert np.all(np.diff(run.start_s) >= 0)
    assert np.all(run.service_s >= 1e-3)
    assert len(queries_of(run, queries).latency_s) == 30


@pytest.mark.thorough
def test_no_request_starts_before_its_scheduled_arrival_or_waits_for_a_free_worker() -> None:
    queries = Queries(np.array([0.02, 0.04, 0.041]), np.array([5, 5, 5]))
    run = served(queries)
    previous_s = np.concatenate([[0.0], run.finish_s[:-1]])
    np.testing.assert_allclose(run.start_s, np.maximum(run.requests.arrival_s, previous_s), atol=1e-9)


@pytest.mark.thorough
def test_latency_counts_from_the_scheduled_arrival_even_when_the_server_is_behind() -> None:
    queries = Queries(np.zeros(20), np.full(20, 10))  # 20 requests of 1 ms at once
    latency_s = queries_of(served(queries), queries).latency_s
    assert latency_s[-1] >= 20e-3
    assert np.all(np.diff(latency_s) >= 1e-3)


@pytest.mark.thorough
def test_replaying_the_measured_service_times_gives_the_measured_ends() -> None:
    rng = np.random.default_rng(4)
    queries = Queries(np.sort(rng.uniform(0.0, 0.2, 150)), rng.integers(1, 40, 150))
    run = served(queries, Spinner(fixed_s=2e-4, item_s=2e-5))
    np.testing.assert_allclose(replayed_s(run), run.finish_s, atol=1e-6)


@pytest.mark.thorough
def test_a_run_that_is_cut_short_keeps_the_requests_that_ended() -> None:
    queries = Queries(np.linspace(0.0, 60.0, 600), np.full(600, 5))
    run = served(queries, limit_s=0.4)
    whole = queries_of(run, queries)
    assert 0 < len(whole.latency_s) < 60
    assert whole.index.tolist() == list(range(len(whole.latency_s)))


@pytest.mark.thorough
def test_an_interrupted_run_keeps_the_requests_that_ended_and_says_so() -> None:
    queries = Queries(np.linspace(0.0, 60.0, 600), np.full(600, 5))

    def interrupt(elapsed_s: float) -> None:
        if elapsed_s > 0.3:
            os.kill(os.getpid(), SIGINT)

    run = served(queries, notify=interrupt)
    assert run.interrupted
    piece = first_queries(run, queries)
    assert piece is not None
    assert 0 < len(piece.queries) == len(piece.latencies.latency_s) < 60


def test_a_query_with_a_request_that_was_not_served_is_left_out() -> None:
    queries = Queries(np.array([0.0, 0.1]), np.array([20, 20]))
    every = requests_of(queries, POLICY)
    three = RequestList(
        query=every.query[:3],
        num_items=every.num_items[:3],
        arrival_s=every.arrival_s[:3],
        offloaded=every.offloaded[:3],
    )
    run = Served(
        requests=three,
        start_s=np.array([0.0, 0.01, 0.1]),
        finish_s=np.array([0.01, 0.02, 0.11]),
        cpu_s=np.full(3, 0.01),
        worker=np.zeros(3, dtype=np.int64),
        num_workers=1,
    )
    assert queries_of(run, queries).index.tolist() == [0]


def test_busy_workers_are_counted_one_after_the_other_when_requests_start_together() -> None:
    queries = Queries(np.array([0.0, 5.0]), np.array([20, 10]))
    run = Served(
        requests=requests_of(queries, POLICY),
        start_s=np.array([0.0, 0.0, 5.0]),
        finish_s=np.array([1.0, 5.0, 6.0]),
        cpu_s=np.ones(3),
        worker=np.array([0, 1, 0]),
        num_workers=2,
    )
    assert run.num_busy.tolist() == [1, 2, 1]
    assert run.utilisation == pytest.approx((1.0 + 5.0 + 1.0) / (2 * 6.0))


@pytest.mark.thorough
def test_what_a_worker_raises_is_one_line_for_the_user(capfd: pytest.CaptureFixture[str]) -> None:
    queries = Queries(np.array([0.0]), np.array([7]))
    with pytest.raises(PerfplanError, match="ValueError: no batch of 7"):
        served(queries, Failing())
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("real_time", [False, True])
def test_a_wait_ends_when_due_and_a_stopped_one_before(real_time: bool) -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        if real_time:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pytest.skip("real-time priority needs the right to it")
    try:
        due_s = perf_counter() + 3e-3
        assert wait_until(due_s, lambda: False, real_time=real_time)
        assert perf_counter() >= due_s
        assert (os.sched_getscheduler(0) == os.SCHED_FIFO) == real_time  # has it while it serves
        assert not wait_until(perf_counter() + 3600.0, lambda: True, real_time=real_time)
    finally:
        os.sched_setscheduler(0, *before)


def test_more_workers_than_cores_are_refused_with_the_number_there_is() -> None:
    there = len(os.sched_getaffinity(0))
    with pytest.raises(InputError, match=f"this machine has {there}"):
        cores_for(there + 1, 1)


def test_inputs_of_a_size_repeat_only_where_the_budget_is_too_small() -> None:
    sizes = np.full(50, 100)
    rng = np.random.default_rng(0)

    def variants(budget: float) -> Sequence[object]:
        return draw_inputs(SPIN, sizes, rng, bytes_per_item=10.0, budget_bytes=budget).by_size[0, 100]

    assert len(variants(1e9)) == 50
    assert len(variants(8_000.0)) == 8


@pytest.mark.thorough
def test_records_are_written_whole_with_one_line_a_query(tmp_path: Path) -> None:
    queries = Queries(np.array([0.0, 0.01]), np.array([5, 15]))
    pieces = [queries_of(served(queries), queries)] * 2
    write_queries(tmp_path / "q.csv", pieces, [7.0, 12.5])  # the second starts 5.5 s after the first
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert lines[0] == QUERY_COLUMNS
    rows = [line.split(",") for line in lines[1:]]
    assert [[*row[:4], row[-1]] for row in rows] == [
        ["0", "5", "0", "0.000000", "1"],
        ["1", "15", "0", "0.010000", "1"],
        ["2", "5", "0", "5.500000", "2"],
        ["3", "15", "0", "5.510000", "2"],
    ]
    assert float(rows[2][5]) - float(rows[0][5]) == pytest.approx(5.5)
    assert [path.name for path in tmp_path.iterdir()] == ["q.csv"]


@pytest.mark.thorough
def test_offloaded_requests_are_served_beside_the_cores_by_a_worker_of_their_own() -> None:
    policy = SplitAndOffload(batch_size=10, offload_threshold_items=50)
    queries = Queries(np.linspace(0.0, 0.05, 20), np.tile([5, 60], 10))
    requests = requests_of(queries, policy)
    workers = Workers(servable=SPIN, num_workers=1, accelerated=Spinner(fixed_s=3e-3))
    run = serve(workers, requests, pool_of(SPIN, requests))
    assert run.requests.offloaded.tolist() == requests.offloaded.tolist()
    assert np.all(run.service_s[~run.on_cores] >= 3e-3)
    assert set(run.worker[~run.on_cores].tolist()) == {1}
    assert set(run.worker[run.on_cores].tolist()) == {0}


def test_a_process_without_cores_of_its_own_takes_those_that_are_left() -> None:
    here = sorted(os.sched_getaffinity(0))
    assert spare_cores([here]) == here
    assert spare_cores([here[:1]]) == (here[1:] or here)


def test_inputs_that_no_memory_holds_are_refused() -> None:
    sizes, kinds, rng = np.array([100, 100, 50]), np.array([0, 1, 1]), np.random.default_rng(0)
    by_kind = {"variety": kinds, "by_variety": (SPIN, SPIN)}
    # By hand: 100 x 10 + 1000 of the first kind; 100 x 20 and 50 x 20 of the second, without a query.
    given = {"bytes_per_item": np.array([10.0, 20.0]), "bytes_per_query": np.array([1000.0, 0.0])}
    pool = draw_inputs(SPIN, sizes, rng, most_bytes=5000.0, budget_bytes=1.0, **given, **by_kind)  # type: ignore[arg-type]
    assert sorted(pool.by_size) == [(0, 100), (1, 50), (1, 100)]
    with pytest.raises(InputError, match="inputs of 3 sizes and kinds of requests would take"):
        draw_inputs(SPIN, sizes, rng, most_bytes=4999.0, budget_bytes=1.0, **given, **by_kind)  # type: ignore[arg-type]
