"""Rate stages in every answer: the worst five minutes are the spike's, and both engines serve the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.sim.engines import simulate

SPIKE = (
    "traffic.arrivals={process: stages, stages: [{duration_s: 600, rate_qps: 30}, "
    "{duration_s: 300, rate_qps: 90}, {duration_s: 300, rate_qps: 90, to_qps: 30}]}"
)
FEW = ["--set", "simulation.min_queries=20000", "--set", "simulation.precision=0.2"]
FOUR_CORES = ["--set", "node.cores=4"]
"""So that some hundred queries a second are a load."""


def ask(capsys: pytest.CaptureFixture[str], command: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([command, "rm3_skylake", *FEW, *FOUR_CORES, *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_the_worst_window_is_the_spike(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, "predict", "--set", SPIKE)
    worst = answer["worst_window"]
    assert (worst["start_s"], worst["end_s"], worst["rate_qps"]) == (600.0, 900.0, 90.0)
    assert answer["offered_qps"] == 52.5, "600 s of 30, 300 of 90, 300 of 60 in the mean"
    assert answer["share_within_sla"] is not None
    _, steady = ask(capsys, "predict", "--set", "traffic.arrivals={process: poisson, rate_qps: 90}")
    assert worst["latency_ms"]["p95"] == pytest.approx(steady["latency_ms"]["p95"], rel=0.05)
    assert code in (0, 6)


@pytest.mark.slow
def test_the_largest_load_keeps_the_stages_shape(capsys: pytest.CaptureFixture[str]) -> None:
    _, staged = ask(capsys, "capacity", "--set", SPIKE)
    _, steady = ask(capsys, "capacity")
    # The spike is 90 / 52.5 of the mean, and it is the spike that has to hold.
    expected = steady["latency_bounded_qps"] * 525 / 900
    assert staged["latency_bounded_qps"] == pytest.approx(expected, rel=0.04)


@pytest.mark.thorough
def test_both_engines_serve_the_same() -> None:
    short = SPIKE.replace("600,", "6,").replace("300,", "3,")
    question = prepare(load_scenario("rm3_skylake", [short]))
    queries = question.traffic.draw(3000, seed=1)
    records = [
        simulate(queries, question.times.table, question.policy, engine=engine)
        for engine in ("compiled", "simpy")
    ]
    assert records[0].finish_s.tolist() == records[1].finish_s.tolist()


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ("{process: stages, stages: []}", "stages"),
        ("{process: stages, stages: [{duration_s: 1, rate_qps: 0}]}", "expected a rate > 0"),
        (
            "{process: stages, stages: [{duration_s: 0, rate_qps: 1}]}",
            "duration_s: expected a number > 0, got 0",
        ),
        ("{process: stages, stages: [{duration_s: 1, rate_qps: -1}]}", "rate_qps: expected a number >= 0"),
        ("{process: stages}", "missing key 'stages'"),
    ],
)
def test_stages_that_make_no_sense_are_one_line(
    arrivals: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "rm3_skylake", "--set", f"traffic.arrivals={arrivals}"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
