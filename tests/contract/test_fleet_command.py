"""`perfplan fleet`: exit codes, JSON keys, and where output goes."""

from __future__ import annotations

import json

import pytest

from perfmodel.cli.main import main

QUICK = [
    "--set",
    "simulation.min_queries=20000",
    "--set",
    "simulation.max_queries=20000",
    "--set",
    "simulation.precision=0.05",
]
FLEET = ["fleet", "--scenario", "rm3_skylake", "--nodes", "20", *QUICK]
BEYOND = [
    *["--set", "policy.batch_size=4096"],
    *["--set", "traffic.query_sizes={distribution: fixed, num_items: 4096}"],
]
DAY = ["--set", "traffic.arrivals={process: diurnal, rate_qps: 300, amplitude: 0.5}", "--windows", "4"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*FLEET, *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.thorough
def test_what_cannot_be_told_says_what_would_decide(capsys: pytest.CaptureFixture[str]) -> None:
    load = ["--qps", "24000"]
    code, out, _ = run(capsys, *load, "--json")
    document = json.loads(out)
    assert (code, document["verdict"]) == (6, "within_error")
    decides = document["would_decide"]
    assert decides["error"] == "service times"
    assert 0.0 < decides["error_then"] < decides["error_now"]
    assert "perfplan calibrate" in decides["command"]
    low, high = decides["band_ms_then"]
    assert low < document["latency_ms"]["p95"] < high
    _, page, _ = run(capsys, *load)
    assert f"what would decide: the error of the service times, {100 * decides['error_now']:.2g} %" in page
    code, out, _ = run(capsys, *load, "--accept-uncertain", "--json")
    assert (code, json.loads(out)["would_decide"]) == (0, None)


@pytest.mark.thorough
def test_the_document_of_a_day_has_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *DAY, "--also", "rm3_broadwell=10", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert list(document) == [
        "schema",
        "perfplan",
        "date",
        "inputs",
        "scenario",
        "model",
        "service_times_of",
        "routing",
        "num_nodes",
        "nodes",
        "verdict",
        "sla_probability",
        "would_decide",
        "offered_qps",
        "latency_ms",
        "node_latency_ms",
        "latency_ci95_ms",
        "sla",
        "shed_rate",
        "windows",
        "power_w",
        "qps_per_w",
        "power_model",
        "power_at_load_w",
        "qps_per_w_at_load",
        "power_at_load_model",
        "basis",
        "assumptions",
        "simulated_queries",
        "precision_reached",
        "notes",
    ]
    assert (document["num_nodes"], document["offered_qps"]) == (30, 9000.0)
    assert [node["num_nodes"] for node in document["nodes"]] == [20, 10]
    assert len(document["windows"]) == 4
    for part in (document, *document["windows"]):
        for percentile in ("p50", "p95", "p99"):
            low, high = part["latency_ci95_ms"][percentile]
            assert low <= part["latency_ms"][percentile] <= high
        assert part["verdict"] == "meets_sla"
    window = document["windows"][0]
    assert window.keys() >= {"start_s", "end_s", "offered_qps", "utilisation", "power_at_load_w"}
    assert window["utilisation"]["accelerator"] is None


@pytest.mark.thorough_cases("join-shortest-queue", "power-of-two")
@pytest.mark.parametrize("routing", ["random", "round-robin", "join-shortest-queue", "power-of-two"])
def test_every_routing_answers(routing: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--routing", routing, "--json")
    assert code == 0
    assert json.loads(out)["routing"] == routing


@pytest.mark.thorough_cases("arguments4-3")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], 0),
        (["--set", "sla.latency_ms=5"], 3),
        (["--qps", "100000"], 4),
        (BEYOND, 5),
        ([*BEYOND, "--extrapolate", "--qps", "20"], 3),
        (["--also", "rm3_broadwell"], 2),
        (["--also", "rm3_broadwell=0"], 2),
        (["--also", "nowhere=3"], 2),
        (["--nodes", "0"], 2),
        (["--routing", "nearest"], 2),
    ],
)
def test_exit_codes_are_those_of_predict(
    arguments: list[str], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == expected
    assert bool(err) == (expected in (2, 4, 5))
    assert bool(out) == (expected not in (2, 5))


@pytest.mark.parametrize("routing", ["random", "power-of-two"])
def test_too_few_bursts_cannot_be_told_from_what_is_usual(
    routing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `predict` says of one node."""
    bursts = "{process: mmpp, rate_qps: 200, burst_factor: 3, burst_fraction: 0.2, mean_burst_s: 2}"
    asked = ["--set", f"traffic.arrivals={bursts}", "--routing", routing, "--json"]
    code, out, _ = run(capsys, *asked)
    document = json.loads(out)
    assert (code, document["verdict"], document["sla_probability"]) == (6, "within_error", None)
    assert document["would_decide"]["error"] == "simulation"
    command = document["would_decide"]["command"]
    assert command.startswith("--set simulation.max_queries=")
    assert any(command.removeprefix("--set ") in note for note in document["notes"])


@pytest.mark.parametrize(
    ("arrivals", "routing"),
    [
        ("{process: constant, rate_qps: 400}", "random"),
        ("{process: deeprecsys-integer-ms, rate_qps: 400}", "round-robin"),
        (
            "{process: mmpp, rate_qps: 200, burst_factor: 3, burst_fraction: 0.2, mean_burst_s: 0.01}",
            "power-of-two",
        ),
        ("{process: diurnal, rate_qps: 300, amplitude: 0.5, period_s: 1}", "random"),
        ("{process: stages, stages: [{duration_s: 0.09, rate_qps: 100, to_qps: 300}]}", "power-of-two"),
        (
            "{process: stages, stages: [{duration_s: 9000, rate_qps: 300}, {duration_s: 600, rate_qps: 0}]}",
            "random",
        ),
    ],
)
def test_every_arrival_process_answers(
    arrivals: str, routing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = ["--windows", "1"] if "9000" in arrivals else []
    asked = ["--set", f"traffic.arrivals={arrivals}", "--routing", routing, *windows, "--json"]
    code, out, _ = run(capsys, *asked)
    document = json.loads(out)
    assert code == 0
    assert document["latency_ms"]["p50"] > 5.0
    if "9000" in arrivals:  # cut where a stage begins; in the last one nothing arrives
        assert [window["offered_qps"] for window in document["windows"]] == [6000.0, 0.0]
        assert set(document["windows"][1]["latency_ms"].values()) == {None}
        assert document["offered_qps"] == pytest.approx(20 * 300 * 9000 / 9600)
    else:
        assert len(document["windows"]) == 1


@pytest.mark.parametrize(
    ("scenario", "routing"),
    [
        ("wnd_broadwell_size_priority", "random"),
        ("wnd_broadwell_gtx1080ti_batching", "random"),
        ("wnd_broadwell_gtx1080ti_batching", "join-shortest-queue"),
        ("wnd_broadwell_trace", "random"),
        ("wnd_broadwell_trace", "join-shortest-queue"),
    ],
)
def test_nodes_run_every_policy_and_replay_traces(
    scenario: str, routing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["fleet", scenario, "--nodes", "2", "--routing", routing, "--json", *QUICK]
    assert main([*asked, "--set", "sla.latency_ms=1000"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert 0.0 < document["latency_ms"]["p50"] <= document["latency_ms"]["p99"] < 100.0
    assert document["shed_rate"] is None
    assert any("replay the trace once" in note for note in document["notes"]) == ("trace" in scenario)


@pytest.mark.thorough
def test_a_fleet_that_sheds_says_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["fleet", "rm1_broadwell_overloaded_shedding", "--nodes", "3", "--json", *QUICK]
    main(asked)
    document = json.loads(capsys.readouterr().out)
    assert main(["predict", "rm1_broadwell_overloaded_shedding", "--json", *QUICK]) in (0, 3, 6)
    # One node sheds so much of 10,000 queries/s of its own, and so do three of 30,000 at random.
    alone = json.loads(capsys.readouterr().out)["shed_rate"]
    assert 0.2 < alone < 0.6
    assert document["shed_rate"] == document["windows"][0]["shed_rate"] == pytest.approx(alone, abs=0.01)


@pytest.mark.thorough
def test_the_page_shows_the_day(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *DAY)
    assert code == 0
    assert "20 x 40 cores of skylake" in out
    assert "random routing" in out
    assert out.count("meets the SLA") == 1
    assert sum("  meets  " in line for line in out.splitlines()) == 4
