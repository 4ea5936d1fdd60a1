"""`sla.outside_ms`: the same answers as with an SLA so much tighter, and latencies with and without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel
from perfmodel.cli.main import main
from tests.both_engines import runs_of_both_engines

QUICK = ["simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.1"]
DAY = "traffic.arrivals={process: diurnal, rate_qps: 300, amplitude: 0.5, period_s: 600}"


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, quick: bool = True) -> tuple[int, Any]:
    sets = [part for setting in QUICK if quick for part in ("--set", setting)]
    code = main([*arguments, *sets, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else said.err


def predicted(*settings: str) -> dict[str, Any]:
    return dict(perfmodel.predict("rm3_skylake", overrides=[*QUICK, *settings]).to_dict())


@pytest.mark.thorough_cases("more0")
@pytest.mark.parametrize(
    "more",
    [
        (),
        pytest.param((DAY,), marks=pytest.mark.slow),
        pytest.param(("policy.shedding={queue_limit_requests: 500}",), marks=pytest.mark.slow),
    ],
)
def test_a_number_is_a_tighter_sla_and_longer_latencies(more: tuple[str, ...]) -> None:
    plain = predicted("sla.latency_ms=85", *more)
    outside = predicted("sla.latency_ms=100", "sla.outside_ms=15", *more)
    for key in (
        "verdict",
        "sla_probability",
        "latency_bounded_qps",
        "plan_for_qps",
        "goodput_qps",
    ):
        expected = plain[key] if isinstance(plain[key], str) else pytest.approx(plain[key], rel=1e-3)
        assert outside[key] == expected, key
    for name, value_ms in plain["latency_ms"].items():
        assert outside["node_latency_ms"][name] == pytest.approx(value_ms)
        # Latencies of a day are told apart to 0.2 %, with the time outside as without.
        assert outside["latency_ms"][name] == pytest.approx(value_ms + 15, rel=2e-3 if DAY in more else 1e-6)
    assert (plain["sla"]["outside_ms"], outside["sla"]["outside_ms"]) == (0.0, pytest.approx(15))
    assert plain["node_latency_ms"] == plain["latency_ms"]


@pytest.mark.thorough
def test_a_distribution_is_added_query_by_query(tmp_path: Path) -> None:
    spread = "sla.outside_ms={distribution: lognormal, mu: 2.7, sigma: 0.5}"
    few = ["simulation.min_queries=12000", "simulation.max_queries=12000", "simulation.precision=0.1"]
    one, other = runs_of_both_engines("rm3_skylake", [*few, spread])
    assert one.mean_latency == other.mean_latency
    assert one.percentiles == other.percentiles
    assert one.on_node == other.on_node
    answer = predicted(spread)
    mean_ms = np.exp(2.7 + 0.125)
    assert answer["sla"]["outside_ms"] == pytest.approx(mean_ms, rel=1e-3)
    added_ms = answer["latency_ms"]["mean"] - answer["node_latency_ms"]["mean"]
    assert added_ms == pytest.approx(mean_ms, rel=0.01)
    # Independent of what the node takes: less than the sum of both percentiles.
    p99_ms = np.exp(2.7 + 0.5 * 2.326)
    assert answer["latency_ms"]["p99"] < answer["node_latency_ms"]["p99"] + p99_ms
    listed = tmp_path / "outside.txt"
    listed.write_text("15\n15\n", encoding="utf-8")
    fixed, from_file = (
        perfmodel.capacity("rm3_skylake", overrides=[*QUICK, f"sla.outside_ms={{distribution: {law}}}"])
        for law in ("fixed, time_ms: 15", f"file, file: {listed}")
    )
    assert from_file.latency_bounded_qps == pytest.approx(fixed.latency_bounded_qps, rel=0.01)


def _with_and_without() -> list[list[str]]:
    return [
        ["-s", "rm3_skylake", "--set", f"sla.latency_ms={limit}", "--set", f"sla.outside_ms={more}"]
        for limit, more in ((60, 0), (75, 15))
    ]


@pytest.mark.thorough
def test_capacity_is_judged_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    plain, outside = _with_and_without()
    (_, one), (_, other) = (ask(capsys, "capacity", *where) for where in (plain, outside))
    assert other["latency_bounded_qps"] == pytest.approx(one["latency_bounded_qps"], rel=1e-6)
    assert other["latency_ms"]["p95"] == pytest.approx(other["node_latency_ms"]["p95"] + 15)


@pytest.mark.slow
def test_tune_and_fleet_are_judged_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    plain, outside = _with_and_without()
    grid = ["--batch-sizes", "64,256"]
    (_, one), (_, other) = (ask(capsys, "tune", *where, *grid, quick=False) for where in (plain, outside))
    assert other["tuned"]["latency_bounded_qps"] == one["tuned"]["latency_bounded_qps"]
    assert other["sla"]["outside_ms"] == pytest.approx(15)
    for routing in ("random", "power-of-two"):
        fleet = ["fleet", "-n", "3", "--routing", routing]
        (_, one), (_, other) = (ask(capsys, *fleet, *where) for where in (plain, outside))
        assert other["verdict"] == one["verdict"]
        for name, value_ms in one["latency_ms"].items():
            assert other["node_latency_ms"][name] == pytest.approx(value_ms)
            assert other["latency_ms"][name] == pytest.approx(value_ms + 15)


def test_an_sla_that_is_spent_outside_is_met_by_no_load(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, "predict", "-s", "rm3_skylake", "--set", "sla.outside_ms=100")
    assert (code, answer["verdict"], answer["latency_bounded_qps"]) == (3, "misses_sla", None)


def test_mistakes_have_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    for value, message in (
        ("-1", "expected a section with distribution, … or a number >= 0, got -1"),
        ("{distribution: gamma}", "expected one of fixed, lognormal, normal, file, got 'gamma'"),
        ("{distribution: normal, mean_ms: 3}", "missing key 'std_ms'"),
        ("{distribution: file, file: none.txt}", "expected a file, found none at none.txt"),
    ):
        code, said = ask(capsys, "predict", "-s", "rm3_skylake", "--set", f"sla.outside_ms={value}")
        assert code == 2
        assert message in said
    code, said = ask(
        capsys, "tune", "-s", "rm3_skylake", "--deeprecsys-mode", "--set", "sla.outside_ms=1", quick=False
    )
    assert (code, "outside_ms" in said) == (2, True)
