"""`perfplan predict --trace-out FILE`: a trace that viewers open, of what the engines simulate."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.sim.engines import simulate
from tests.golden.scenarios import QUICK

FEW = [part for setting in QUICK for part in ("--set", setting)]
QUERIES = 200

BATCHING = "policy={name: dynamic-batching, max_batch_items: 256, timeout_ms: 5}"
SHEDDING = "policy={name: split, batch_size: 64, shedding: {queue_limit_requests: 40}}"

ASKED = {
    "cores": ["rm3_skylake"],
    "cores and a card": ["rm1_broadwell_gtx1080ti", "--set", "traffic.arrivals.rate_qps=1900"],
    "launches of several queries": ["rm1_skylake", "--set", BATCHING],
    "queries that are shed": ["rm3_skylake", "--set", SHEDDING, "--set", "traffic.arrivals.rate_qps=2500"],
    "pauses of the node": [
        *("rm3_skylake", "--set"),
        "node.pauses=[{rate_per_s: 2, length_ms: 20, lengths: exponential, scope: node}]",
    ],
}


@pytest.fixture(scope="module", params=ASKED)
def asked(request: pytest.FixtureRequest) -> list[str]:
    """A scenario and its changes."""
    return ASKED[request.param]


@pytest.fixture(scope="module")
def events(asked: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The events of its trace."""
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    more = ["--trace-out", str(path), "--trace-queries", str(QUERIES), "--json"]
    assert main(["predict", *asked, *FEW, *more]) in (0, 3, 4, 6)
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert trace["displayTimeUnit"] == "ms"
    found: list[dict[str, Any]] = trace["traceEvents"]
    return found


def spans_by_track(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    return {track: sorted(spans, key=lambda span: span["ts"]) for track, spans in tracks.items()}


@pytest.mark.by_default("cores", "cores and a card")
def test_spans_of_one_track_do_not_overlap_and_every_track_has_a_name(events: list[dict[str, Any]]) -> None:
    tracks = spans_by_track(events)
    for spans in tracks.values():
        assert all(span["dur"] > 0 and span["ts"] >= 0 for span in spans)
        for one, other in itertools.pairwise(spans):
            assert one["ts"] + one["dur"] <= other["ts"] + 1e-6
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert tracks.keys() <= names.keys()
    assert len(set(names.items())) == len(names)


@pytest.mark.by_default("cores", "cores and a card")
def test_every_arrow_leads_from_a_query_to_one_of_its_requests(
    asked: list[str], events: list[dict[str, Any]]
) -> None:
    tracks = spans_by_track(events)
    begins = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert begins
    assert begins.keys() == ends.keys()
    assert 2 * len(begins) == sum(e["ph"] in "sf" for e in events)

    def span_at(event: dict[str, Any]) -> dict[str, Any]:
        here = [
            span
            for span in tracks[event["pid"], event["tid"]]
            if span["ts"] - 1e-6 <= event["ts"] < span["ts"] + span["dur"] - 1e-6
        ]
        (found,) = here
        return found

    reached: dict[int, int] = defaultdict(int)
    for flow, begin in begins.items():
        query, launch = span_at(begin), span_at(ends[flow])
        assert query["cat"] == "query"
        assert launch["cat"] == "request"
        number = int(query["name"].split()[1])
        assert number in launch["args"]["queries"]
        assert query["ts"] <= launch["ts"]
        assert launch["ts"] + launch["dur"] <= query["ts"] + query["dur"] + 2e-3
        reached[number] += 1
    queries = [e for e in events if e["ph"] == "X" and e["cat"] == "query"]
    assert {int(query["name"].split()[1]) for query in queries} == reached.keys()
    shared = [e for e in events if e["ph"] == "X" and len(set(e["args"].get("queries", ()))) > 1]
    assert bool(shared) == (BATCHING in asked)


@pytest.mark.by_default("cores", "cores and a card")
def test_queries_take_what_they_take_in_the_compiled_run(
    asked: list[str], events: list[dict[str, Any]]
) -> None:
    scenario, *changes = asked
    question = prepare(load_scenario(scenario, [*QUICK, *changes[1::2]]))
    drawn = question.traffic.draw(2 * QUERIES, seed=question.simulation.seed)
    record = simulate(drawn, question.times.table, question.policy)
    shown = [e for e in events if e["ph"] == "X" and e["cat"] == "query"]
    for event in shown:
        query = int(event["name"].split()[1])
        assert event["args"]["items"] == record.num_items[query]
        assert event["args"]["latency_ms"] == pytest.approx(1e3 * record.latency_s[query], rel=1e-9)
        assert event["dur"] == pytest.approx(1e6 * record.node_latency_s[query], abs=2e-3)
    numbers = {int(e["name"].split()[1]) for e in shown}
    refused = {int(e["name"].split()[1]) for e in events if e["ph"] == "i"}
    window = set(range(QUERIES, 2 * QUERIES))
    expected = {query for query in window if record.served[query]}
    assert expected <= numbers
    assert refused == {query for query in window if not record.served[query]}


@pytest.mark.by_default("cores", "cores and a card")
def test_requests_that_wait_are_counted(events: list[dict[str, Any]]) -> None:
    counts = [e["args"]["requests"] for e in events if e["ph"] == "C"]
    assert counts
    assert min(counts) >= 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trace-queries", "5"], "--trace-queries: expected --trace-out FILE with it"),
        (["--trace-out", "/nowhere/at/all.json"], "--trace-out"),
    ],
)
def test_what_cannot_be_traced_is_refused(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "rm3_skylake", *FEW, *more]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.out == ""


@pytest.mark.thorough
def test_the_window_of_a_recording_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    recorded = tmp_path / "arrivals.csv"
    lines = [f"{0.01 * index:.3f},{50 + index % 7}" for index in range(1500)]
    recorded.write_text("\n".join(["arrival_s,num_items", *lines]), encoding="utf-8")
    arrivals = f"traffic.arrivals={{process: trace, file: {recorded}}}"
    sizes = "traffic.query_sizes={distribution: trace}"
    changes = ["--set", arrivals, "--set", sizes]
    more = ["--trace-out", str(path), "--trace-queries", "1200"]
    assert main(["predict", "rm3_skylake", *changes, *more]) in (0, 3, 6)
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    assert sum(e["ph"] == "X" and e["cat"] == "query" for e in events) >= 1200
