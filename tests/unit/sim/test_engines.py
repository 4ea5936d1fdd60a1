"""Cases small enough to follow by hand; both engines give the same numbers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from perfmodel.errors import InputError
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

both_engines = pytest.mark.parametrize("engine", ["simpy", "compiled"])
ONE_ITEM_BATCHES = SplitAndOffload(batch_size=1)


def latencies_s(
    engine: EngineName,
    arrival_s: list[float],
    num_items: list[int],
    service: ServiceTimes,
    policy: SplitAndOffload = ONE_ITEM_BATCHES,
) -> list[float]:
    queries = Queries(np.array(arrival_s), np.array(num_items))
    return simulate(queries, service, policy, engine=engine).latency_s.tolist()


def cores(*columns_s: float, rows: int = 1) -> ServiceTimes:
    """A CPU whose requests take `columns_s[n - 1]` with n cores busy, whatever their size."""
    return ServiceTimes(cpu_s=np.tile(columns_s, (rows, 1)))


@both_engines
def test_a_lone_query_takes_its_service_time(engine: EngineName) -> None:
    assert latencies_s(engine, [3.0], [1], cores(2.0)) == [2.0]


@both_engines
def test_latency_counts_from_the_arrival_while_queries_queue_up(engine: EngineName) -> None:
    # One core, 2 s each, one arrival a second: waits of 0, 1, 2 and 3 s.
    assert latencies_s(engine, [0, 1, 2, 3], [1] * 4, cores(2.0)) == [2, 3, 4, 5]


@both_engines
def test_a_query_ends_with_its_last_request(engine: EngineName) -> None:
    # Five requests of 1 s on two cores: 0-1, 0-1, 1-2, 1-2, 2-3.
    assert latencies_s(engine, [0.0], [5], cores(1.0, 1.0)) == [3.0]


@both_engines
def test_full_batches_come_first_and_the_remainder_last(engine: EngineName) -> None:
    # Batches of 2, 2 and 1 items take 4, 4 and 1 s on two cores: 0-4, 0-4, 4-5; the next query runs 4-8.
    # With the remainder first they would run 0-1, 0-4 and 1-5, and the next query as well.
    service = ServiceTimes(cpu_s=np.array([[1.0, 1.0], [4.0, 4.0]]))
    policy = SplitAndOffload(batch_size=2)
    assert latencies_s(engine, [0.0, 0.5], [5, 2], service, policy) == [5.0, 7.5]


@both_engines
def test_contention_counts_busy_cores_one_request_at_a_time(engine: EngineName) -> None:
    # Three requests start together and see 1, 2 and 3 busy cores: 1, 2 and 3 s.
    assert latencies_s(engine, [0.0], [3], cores(1.0, 2.0, 3.0)) == [3.0]
    assert latencies_s(engine, [0.0, 0.0, 0.0], [1, 1, 1], cores(1.0, 2.0, 3.0)) == [1, 2, 3]


@both_engines
def test_contention_is_settled_when_a_request_starts(engine: EngineName) -> None:
    # The first runs alone for 10 s, undisturbed by the second; that sees two busy cores.
    assert latencies_s(engine, [0.0, 1.0], [1, 1], cores(10.0, 20.0)) == [10.0, 20.0]


@both_engines
def test_a_completion_at_the_same_instant_frees_its_core_first(engine: EngineName) -> None:
    # The second arrives as the first ends: it is alone.
    assert latencies_s(engine, [0.0, 1.0], [1, 1], cores(1.0, 5.0)) == [1.0, 1.0]


@both_engines
def test_starts_never_go_back(engine: EngineName) -> None:
    # Both cores end at 5. The queries of t = 1 and t = 2 start then; the second must not start at t = 2,
    # though only one core is pending once the first has started.
    assert latencies_s(engine, [0, 0, 1, 2], [1] * 4, cores(5.0, 5.0)) == [5, 5, 9, 8]


@both_engines
def test_queries_from_the_threshold_on_go_to_the_accelerator_whole(engine: EngineName) -> None:
    service = ServiceTimes(
        cpu_s=np.ones((2, 1)), accelerator_s=np.array([0.1, 0.2, 0.3, 0.4, 0.5]), num_accelerators=1
    )
    policy = SplitAndOffload(batch_size=2, offload_threshold_items=4)
    # Three items: two requests of 1 s on the one core. Four and five items: the accelerator, one by one.
    measured = latencies_s(engine, [0.0, 0.0, 0.0], [3, 4, 5], service, policy)
    assert measured == pytest.approx([2.0, 0.4, 0.9])


@both_engines
def test_streams_share_one_queue(engine: EngineName) -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 1)), accelerator_s=np.array([1.0, 4.0]), num_accelerators=2)
    policy = SplitAndOffload(batch_size=1, offload_threshold_items=1)
    # 4 s on the first stream; the 1 s ones follow each other on the second.
    assert latencies_s(engine, [0, 0, 0, 0], [2, 1, 1, 1], service, policy) == [4, 1, 2, 3]


@both_engines
def test_busy_time_and_utilisation_add_up(engine: EngineName) -> None:
    queries = Queries(np.array([0.0, 6.0]), np.array([3, 1]))
    record = simulate(queries, cores(2.0, 2.0), ONE_ITEM_BATCHES, engine=engine)
    assert record.cpu_busy_s == 8.0
    assert record.makespan_s == 8.0
    assert record.cpu_utilisation == 0.5
    assert record.accelerator_utilisation is None
    assert record.throughput_qps == 0.25


@both_engines
def test_no_queries_give_an_empty_record(engine: EngineName) -> None:
    record = simulate(Queries(np.array([]), np.array([])), cores(1.0), ONE_ITEM_BATCHES, engine=engine)
    assert record.num_queries == 0
    assert record.makespan_s == record.cpu_utilisation == record.throughput_qps == 0.0


def test_a_request_log_names_executors_and_what_they_saw() -> None:
    queries = Queries(np.array([0.0, 0.5]), np.array([3, 1]))
    log = simulate(queries, cores(1.0, 2.0), ONE_ITEM_BATCHES, log_requests=True).requests
    assert log is not None
    assert log.query.tolist() == [0, 0, 0, 1]
    assert log.executor.tolist() == [0, 1, 0, 1]
    assert log.num_busy.tolist() == [1, 2, 2, 2]
    assert log.start_s.tolist() == [0.0, 0.0, 1.0, 2.0]
    assert log.finish_s.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_buffer_receives_the_finish_times() -> None:
    from perfmodel.sim.compiled_engine import simulate_compiled

    buffer_s = np.empty(2)
    queries = Queries(np.array([0.0, 1.0]), np.array([1, 1]))
    record = simulate_compiled(queries, cores(2.0), ONE_ITEM_BATCHES, finish_s=buffer_s)
    assert record.finish_s is buffer_s
    assert buffer_s.tolist() == [2.0, 4.0]


def test_the_compiled_engine_refuses_what_it_cannot_do() -> None:
    queries = Queries(np.array([0.0]), np.array([1]))
    with pytest.raises(InputError, match="logs no requests"):
        simulate(queries, cores(1.0), ONE_ITEM_BATCHES, engine="compiled", log_requests=True)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (SplitAndOffload(batch_size=8), "requests have up to 8 items"),
        (SplitAndOffload(batch_size=1, offload_threshold_items=5), "no accelerator"),
    ],
)
def test_a_missing_service_time_is_an_error_not_a_guess(policy: SplitAndOffload, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(Queries(np.array([0.0]), np.array([9])), cores(1.0, rows=4), policy)


def test_an_offloaded_query_beyond_the_table_is_an_error() -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 1)), accelerator_s=np.ones(4), num_accelerators=1)
    policy = SplitAndOffload(batch_size=1, offload_threshold_items=3)
    with pytest.raises(InputError, match="ends at 4"):
        simulate(Queries(np.array([0.0]), np.array([5])), service, policy)


@pytest.mark.parametrize(
    ("cpu_s", "accelerator_s", "streams", "message"),
    [
        (np.ones((0, 2)), None, 0, "none empty"),
        (np.ones(2), None, 0, "2 dimensions"),
        (np.zeros((1, 1)), None, 0, "finite times > 0"),
        (np.full((1, 1), np.nan), None, 0, "finite times > 0"),
        (np.ones((1, 1)), np.ones(3), 0, "num_accelerators"),
        (np.ones((1, 1)), None, 2, "num_accelerators"),
    ],
)
def test_impossible_service_times_are_refused(
    cpu_s: np.ndarray, accelerator_s: np.ndarray | None, streams: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ServiceTimes(cpu_s=cpu_s, accelerator_s=accelerator_s, num_accelerators=streams)


@pytest.mark.parametrize(
    ("arrival_s", "num_items", "message"),
    [
        ([0.0, 2.0, 1.0], [1, 1, 1], "ascending"),
        ([-1.0], [1], "from 0 on"),
        ([0.0, np.inf], [1, 1], "finite"),
        ([0.0, 1.0], [1], "one size for each"),
        ([0.0], [0], "at least 1 item"),
    ],
)
def test_impossible_queries_are_refused(arrival_s: list[float], num_items: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Queries(np.array(arrival_s), np.array(num_items))


@pytest.mark.thorough
def test_importing_the_simulation_imports_neither_numba_nor_simpy() -> None:
    # They take half a second that commands without a simulation need not spend.
    code = (
        "import sys, perfmodel.sim.run; sys.exit(bool({'numba', 'simpy', 'scipy.stats'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
