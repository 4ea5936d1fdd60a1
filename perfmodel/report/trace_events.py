"""A window of a run as a Chrome trace, which Perfetto and chrome://tracing open.

One process for the queries, one for the cores, one for the accelerators; a track an executor. A query is a
span from its arrival to its end, on the lowest track that is free; an arrow leads from it to each of its
requests, which are spans of the launch that they were part of. A counter says how many requests wait.
A simulated run and a measured one have the same events, so that they can be laid side by side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from perfmodel.planning.predict.window import LoggedWindow
from perfmodel.report.documents import perfplan_version
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.units import MS

Event = dict[str, Any]

QUERIES, CORES, ACCELERATORS = 1, 2, 3
"""Processes of the trace."""

PER_US = 1e6
"""A trace counts microseconds. [us/s]"""

NS_DIGITS = 3


def trace_events(window: LoggedWindow, *, name: str) -> dict[str, Any]:
    """Return the trace of a window as the JSON object that viewers read.

    Parameters
    ----------
    name : str
        What was simulated, or served.
    """
    record, log = window.record, window.record.requests
    assert log is not None, "the window's run is logged"
    chosen = np.flatnonzero(log.finish_s >= window.begin_s)
    shown = np.unique(log.query[chosen])
    shed = np.zeros(0, dtype=np.int64)
    if record.shed is not None:
        in_time = (record.arrival_s >= window.begin_s) & (record.arrival_s <= window.end_s)
        shed = np.flatnonzero(record.shed & in_time)
        shown = shown[~record.shed[shown]]
    origin_s = float(min(record.arrival_s[shown].min(initial=window.begin_s), window.begin_s))
    lanes = _lanes(record.arrival_s[shown], record.finish_s[shown])
    lane_of = dict(zip(shown.tolist(), lanes, strict=True))
    events = [
        *_names(window, chosen, max(lanes, default=0)),
        *_queries(window, shown, lanes, origin_s),
        *_launches(window, chosen, origin_s),
        *_flows(window, chosen, lane_of, origin_s),
        *_waiting(window, origin_s),
        *_shed(window, shed, origin_s),
    ]
    made_by = {"engine": record.engine} if window.how == "simulated" else {}
    return {
        "displayTimeUnit": "ms",
        "otherData": {"of": name, "perfplan": perfplan_version(), "run": window.how, **made_by},
        "traceEvents": events,
    }


def trace_text(window: LoggedWindow, *, name: str) -> str:
    """The same as the text of a file."""
    return json.dumps(trace_events(window, name=name), separators=(",", ":"))


def _us(seconds: float, origin_s: float) -> float:
    """Time since the window's origin, to the nanosecond. [us]"""
    return round(PER_US * (seconds - origin_s), NS_DIGITS)


def _span(begin_s: float, end_s: float, origin_s: float) -> Event:
    begin = _us(begin_s, origin_s)
    return {"ts": begin, "dur": round(_us(end_s, origin_s) - begin, NS_DIGITS)}


def _lanes(begin_s: FloatArray, end_s: FloatArray) -> list[int]:
    """For spans in order of their beginning, the lowest lane that is free, from 1 up.

    Examples
    --------
    >>> _lanes(np.array([0.0, 1.0, 2.0]), np.array([1.5, 3.0, 2.5]))
    [1, 2, 1]
    """
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    lanes, count = [], 0
    for begin, end in zip(begin_s.tolist(), end_s.tolist(), strict=True):
        while busy and busy[0][0] <= begin:
            heappush(free, heappop(busy)[1])
        if free:
            lane = heappop(free)
        else:
            lane = count = count + 1
        heappush(busy, (end, lane))
        lanes.append(lane)
    return lanes


def _pid(on_accelerator: bool) -> int:
    return ACCELERATORS if on_accelerator else CORES


def _names(window: LoggedWindow, chosen: IntArray, num_lanes: int) -> Iterator[Event]:
    """Names of processes and tracks, in the order in which they are to stand."""
    log = window.record.requests
    assert log is not None
    used = {(_pid(bool(log.on_accelerator[i])), int(log.executor[i])) for i in chosen}
    cores = {(CORES, executor) for executor in range(window.record.num_executors)}
    streams = {(ACCELERATORS, executor) for executor in range(window.record.num_accelerators)}
    for pid, name in ((QUERIES, "queries"), (CORES, "cores"), (ACCELERATORS, "accelerator streams")):
        if pid != ACCELERATORS or streams:
            yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
            yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    tracks = [(QUERIES, lane, f"queries {lane}") for lane in range(1, num_lanes + 1)]
    words = {CORES: "executor", ACCELERATORS: "stream"}
    for pid, executor in sorted(used | cores | streams):
        tracks.append((pid, executor + 1, f"{words[pid]} {executor + 1}"))
    for pid, tid, name in tracks:
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}


def _queries(window: LoggedWindow, shown: IntArray, lanes: Sequence[int], origin_s: float) -> Iterator[Event]:
    record, latencies_s = window.record, window.record.latency_s.tolist()
    for query, lane in zip(shown.tolist(), lanes, strict=True):
        arrival_s, finish_s = float(record.arrival_s[query]), float(record.finish_s[query])
        args = {"items": int(record.num_items[query]), "latency_ms": latencies_s[query] / MS}
        span = _span(arrival_s, finish_s, origin_s)
        yield (
            {"ph": "X", "cat": "query", "name": f"query {query}", "pid": QUERIES, "tid": lane}
            | span
            | {"args": args}
        )


def _launches(window: LoggedWindow, chosen: IntArray, origin_s: float) -> Iterator[Event]:
    """A span a launch: several requests may share one."""
    record, log = window.record, window.record.requests
    assert log is not None
    members: dict[int, list[int]] = {}
    for index in chosen.tolist():
        members.setdefault(int(log.launch[index]), []).append(index)
    for launch, requests in members.items():
        first = requests[0]
        start_s = float(log.start_s[first])
        items = int(log.num_items[requests].sum())
        waited_s = max(start_s - float(record.arrival_s[log.query[index]]) for index in requests)
        pid = _pid(bool(log.on_accelerator[first]))
        args = {
            "items": items,
            "queries": [int(log.query[index]) for index in requests],
            "waited_ms": waited_s / MS,
            "busy": int(log.num_busy[first]),
            "launch": launch,
        }
        track = {"pid": pid, "tid": int(log.executor[first]) + 1}
        span = _span(start_s, float(log.finish_s[first]), origin_s)
        yield {"ph": "X", "cat": "request", "name": f"{items} items", **track, **span, "args": args}


def _flows(
    window: LoggedWindow, chosen: IntArray, lane_of: dict[int, int], origin_s: float
) -> Iterator[Event]:
    """An arrow from each query to each of its requests."""
    record, log = window.record, window.record.requests
    assert log is not None
    for index in chosen.tolist():
        query = int(log.query[index])
        if query not in lane_of:  # shed before its end
            continue
        flow = {"cat": "flow", "name": "request", "id": index}
        begin = {"pid": QUERIES, "tid": lane_of[query], "ts": _us(float(record.arrival_s[query]), origin_s)}
        end = {
            "pid": _pid(bool(log.on_accelerator[index])),
            "tid": int(log.executor[index]) + 1,
            "ts": _us(float(log.start_s[index]), origin_s),
        }
        yield {"ph": "s", **flow, **begin}
        yield {"ph": "f", "bp": "e", **flow, **end}


def _waiting(window: LoggedWindow, origin_s: float) -> Iterator[Event]:
    """How many requests wait, at each change within the window."""
    record, log = window.record, window.record.requests
    assert log is not None
    joined_s, begin_s, end_s = record.arrival_s[log.query], window.begin_s, window.end_s
    waiting = int(((joined_s < begin_s) & (log.start_s >= begin_s)).sum())
    changes: dict[float, int] = {_us(begin_s, origin_s): 0}
    for stamps_s, change in ((joined_s, 1), (log.start_s, -1)):
        for stamp_s in stamps_s[(stamps_s >= begin_s) & (stamps_s <= end_s)].tolist():
            at = _us(stamp_s, origin_s)
            changes[at] = changes.get(at, 0) + change
    for at in sorted(changes):
        waiting += changes[at]
        track = {"pid": QUERIES, "tid": 0}
        yield {
            "ph": "C",
            "name": "requests waiting",
            **track,
            "ts": at,
            "args": {"requests": waiting},
        }


def _shed(window: LoggedWindow, shed: IntArray, origin_s: float) -> Iterator[Event]:
    for query in shed.tolist():
        at = _us(float(window.record.arrival_s[query]), origin_s)
        args = {"items": int(window.record.num_items[query])}
        yield {
            "ph": "i",
            "s": "p",
            "cat": "query",
            "name": f"query {query} shed",
            "pid": QUERIES,
            "tid": 0,
            "ts": at,
            "args": args,
        }
