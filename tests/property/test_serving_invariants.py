"""What holds for every case: nothing is lost, time runs forward, nobody idles beside a waiting request."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.records import RequestLog, RunRecord, broken_rules
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries
from tests.examples import examples

Case = tuple[Queries, ServiceTimes, SplitAndOffload]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A few queries, some at the same instant, on a small node with contention and perhaps accelerators."""
    num_queries = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch_size, num_accelerators = draw(st.integers(1, 6)), draw(st.integers(0, 2))
    grid_s = draw(st.sampled_from([0.125, 1e-7]))
    arrival_s = np.cumsum(np.round(rng.exponential(1.0, num_queries) / grid_s) * grid_s)
    contention = 1.0 + rng.random() * np.arange(draw(st.integers(1, 5)))
    service = ServiceTimes(
        cpu_s=np.cumsum(rng.integers(1, 8, batch_size))[:, None] * 0.125 * contention,
        accelerator_s=np.cumsum(rng.integers(1, 4, 20)) * 0.125 if num_accelerators else None,
        num_accelerators=num_accelerators,
    )
    threshold = draw(st.none() | st.integers(1, 21)) if num_accelerators else None
    queries = Queries(arrival_s, rng.integers(1, 21, num_queries))
    return queries, service, SplitAndOffload(batch_size=batch_size, offload_threshold_items=threshold)


def logged(case: Case) -> tuple[RunRecord, RequestLog]:
    record = simulate(*case, log_requests=True)
    assert record.requests is not None
    return record, record.requests


@examples(100)
@given(case=cases())
def test_items_and_queries_are_conserved_and_stamps_are_ordered(case: Case) -> None:
    record, _ = logged(case)
    assert broken_rules(record) == []
    assert broken_rules(simulate(*case, engine="compiled")) == []


@examples(100)
@given(case=cases())
def test_no_executor_idles_while_a_request_it_may_serve_waits(case: Case) -> None:
    record, log = logged(case)
    for on_accelerator in (False, True):
        in_pool = log.on_accelerator == on_accelerator
        start_s, finish_s = log.start_s[in_pool], log.finish_s[in_pool]
        queued_s = record.arrival_s[log.query[in_pool]]
        executors = record.num_accelerators if on_accelerator else record.num_executors
        for instant_s in np.unique(np.concatenate([queued_s, finish_s])):
            waiting = np.any((queued_s <= instant_s) & (instant_s < start_s))
            busy = np.count_nonzero((start_s <= instant_s) & (instant_s < finish_s))
            assert not waiting or busy == executors


@examples(100)
@given(case=cases())
def test_a_request_sees_the_executors_that_are_busy_when_it_starts(case: Case) -> None:
    _, service, policy = case
    _, log = logged(case)
    for index in range(len(log.query)):
        earlier = slice(0, index)
        still_busy = log.finish_s[earlier] > log.start_s[index]
        # Cores of the node slow each other down; an accelerator with one stream is alone.
        contending = ~log.on_accelerator[earlier] & ~log.on_accelerator[index]
        assert log.num_busy[index] == 1 + np.count_nonzero(contending & still_busy)
        if not log.on_accelerator[index]:
            expected_s = service.cpu_s[log.num_items[index] - 1, log.num_busy[index] - 1]
            assert log.finish_s[index] == log.start_s[index] + expected_s
            assert log.num_items[index] <= policy.batch_size


@examples(100)
@given(case=cases())
def test_requests_start_in_the_order_in_which_their_queries_arrived(case: Case) -> None:
    _, log = logged(case)
    for on_accelerator in (False, True):
        assert np.all(np.diff(log.query[log.on_accelerator == on_accelerator]) >= 0)


@examples(100)
@given(case=cases())
def test_same_input_gives_the_same_result(case: Case) -> None:
    np.testing.assert_array_equal(simulate(*case).finish_s, simulate(*case).finish_s)


@examples(100)
@given(case=cases())
def test_a_longer_run_begins_with_the_shorter_one_wherever_starts_are_settled(case: Case) -> None:
    queries, service, policy = case
    half = len(queries) // 2
    first = Queries(queries.arrival_s[:half], queries.num_items[:half])
    # FIFO: whoever arrives later changes nothing for whoever came before.
    np.testing.assert_array_equal(simulate(first, service, policy).finish_s, simulate(*case).finish_s[:half])


def without_contention(service: ServiceTimes, executors: int) -> ServiceTimes:
    alone_s: FloatArray = np.repeat(service.cpu_s[:, :1], executors, axis=1)
    return ServiceTimes(
        cpu_s=alone_s, accelerator_s=service.accelerator_s, num_accelerators=service.num_accelerators
    )


@examples(100)
@given(case=cases(), executors=st.integers(1, 4))
def test_one_more_executor_without_contention_delays_no_query(case: Case, executors: int) -> None:
    queries, service, policy = case
    fewer, more = (
        simulate(queries, without_contention(service, n), policy) for n in (executors, executors + 1)
    )
    assert np.all(more.finish_s <= fewer.finish_s + 1e-9)


@examples(100)
@given(case=cases(), factor=st.sampled_from([0.25, 0.5, 2.0, 64.0]))
def test_slowing_the_clock_stretches_every_latency_alike(case: Case, factor: float) -> None:
    queries, service, policy = case
    slower = ServiceTimes(
        cpu_s=service.cpu_s * factor,
        accelerator_s=None if service.accelerator_s is None else service.accelerator_s * factor,
        num_accelerators=service.num_accelerators,
    )
    stretched = Queries(queries.arrival_s * factor, queries.num_items)
    np.testing.assert_array_equal(
        simulate(stretched, slower, policy).latency_s, simulate(*case).latency_s * factor
    )


@examples(100)
@given(case=cases())
def test_the_pools_never_wait_for_each_other(case: Case) -> None:
    queries, service, policy = case
    record = simulate(*case)
    slower_cpu = ServiceTimes(
        cpu_s=service.cpu_s * 3,
        accelerator_s=service.accelerator_s,
        num_accelerators=service.num_accelerators,
    )
    again = simulate(queries, slower_cpu, policy)
    np.testing.assert_array_equal(again.finish_s[record.offloaded], record.finish_s[record.offloaded])
