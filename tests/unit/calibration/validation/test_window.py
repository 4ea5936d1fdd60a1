"""A window of a measured run: every request of its queries, on the executor that served it."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from calibration.serving.requests import requests_of
from calibration.serving.served import Served, ServedQueries, queries_of
from calibration.validation.window import measured_window
from perfmodel.report.trace_events import trace_events
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.records import broken_rules
from perfmodel.sim.traffic import Queries

WORKERS, CARD = 2, 2
"""Two workers on the cores; the next one feeds the card."""


def served(num_queries: int = 300, *, without: tuple[int, ...] = ()) -> tuple[Served, ServedQueries]:
    """What first-in-first-out workers make of queries, each request 1 ms and 20 us an item; some not run."""
    rng = np.random.default_rng(7)
    arrival_s = np.cumsum(rng.exponential(3e-3, num_queries))
    queries = Queries(arrival_s, rng.integers(1, 200, num_queries))
    requests = requests_of(queries, SplitAndOffload(batch_size=32, offload_threshold_items=120))
    free = [0.0, 0.0, 0.0]
    start_s, finish_s, worker = (np.zeros(len(requests)) for _ in range(3))
    for index in range(len(requests)):
        mine = CARD if requests.offloaded[index] else int(np.argmin(free[:WORKERS]))
        start_s[index] = max(free[mine], requests.arrival_s[index])
        free[mine] = finish_s[index] = start_s[index] + 1e-3 + 2e-5 * requests.num_items[index]
        worker[index] = mine
    run = Served(
        requests=requests,
        start_s=start_s,
        finish_s=finish_s,
        cpu_s=finish_s - start_s,
        worker=worker.astype(np.int64),
        num_workers=WORKERS,
    )
    kept = run.only(~np.isin(requests.query, without))
    return kept, queries_of(kept, queries)


def test_the_record_keeps_every_rule_of_a_run() -> None:
    run, queries = served()
    window = measured_window(run, queries, 100)
    assert broken_rules(window.record) == []
    assert window.record.num_executors == WORKERS
    assert window.record.num_accelerators == 1


def test_the_window_has_as_many_queries_as_were_asked_for_after_as_many_that_fill_the_server() -> None:
    run, queries = served()
    window = measured_window(run, queries, 100)
    assert window.begin_s == queries.arrival_s[100]
    assert window.end_s == queries.arrival_s[199]
    last_end_s = queries.finish_s[100:200].max()
    assert window.record.arrival_s[-1] <= last_end_s < queries.arrival_s[window.record.num_queries]


@pytest.mark.parametrize(("asked", "first"), [(290, 10), (300, 0), (5000, 0)])
def test_a_piece_with_fewer_queries_is_shown_from_as_late_as_it_can_be(asked: int, first: int) -> None:
    run, queries = served()
    window = measured_window(run, queries, asked)
    assert window.begin_s == queries.arrival_s[first]
    assert window.end_s == queries.arrival_s[-1]


def test_queries_that_were_cut_short_are_left_out() -> None:
    run, queries = served(without=(150, 151))
    window = measured_window(run, queries, 100)
    assert broken_rules(window.record) == []
    assert queries.arrival_s[149] in window.record.arrival_s
    log = window.record.requests
    assert log is not None
    assert np.bincount(log.query, weights=log.num_items).tolist() == window.record.num_items.tolist()


def test_the_trace_has_a_track_an_executor_and_an_arrow_to_each_request() -> None:
    run, queries = served()
    trace = trace_events(measured_window(run, queries, 100), name="a run")
    assert trace["otherData"]["run"] == "measured"
    events: list[dict[str, Any]] = trace["traceEvents"]
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {"executor 1", "executor 2", "stream 1"} <= names
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    for spans in tracks.values():
        spans.sort(key=lambda span: span["ts"])
        for one, other in itertools.pairwise(spans):
            assert one["ts"] + one["dur"] <= other["ts"] + 2e-3
    requests = [e for e in events if e.get("cat") == "request"]
    begins, ends = ([e for e in events if e["ph"] == kind] for kind in "sf")
    assert len(begins) == len(ends) == len(requests) > 100
    shown = {e["name"]: e for e in events if e.get("cat") == "query"}
    for query in range(100, 200):
        span = shown[f"query {query}"]
        assert span["args"]["items"] == queries.num_items[query]
        assert span["args"]["latency_ms"] == pytest.approx(1e3 * queries.latency_s[query])
