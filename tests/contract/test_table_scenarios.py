"""A node that is known by its service times: every command answers, and says what it rests on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.service_table_file import read_service_table
from perfmodel.planning.prepare import prepare
from perfmodel.queueing.closed_forms import mmc_mean_wait_s
from tests.both_engines import runs_of_both_engines

QUICK = ["simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.1"]
TABLE = "items,service_ms,busy\n700,15,1\n100,3,1\n300,6,1\n100,4,86\n700,18,86\n"


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "node: {service_times: table.csv, executors: 86, tdp_w: 700}\n"
        "traffic: {arrivals: {process: poisson, rate_qps: 4000}, query_sizes: {distribution: mlperf-dlrm}}\n"
        "policy: {name: split, batch_size: 1024}\n"
        "sla: {percentile: 0.99, latency_ms: 60}\n",
        encoding="utf-8",
    )
    return path


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, quick: bool = True) -> tuple[int, Any]:
    sets = [part for setting in QUICK if quick for part in ("--set", setting)]
    code = main([*arguments, *sets, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else said.err


@pytest.mark.thorough
def test_the_basis_is_the_table_and_its_error_is_not_known(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = ask(capsys, "predict", "-s", str(scenario))
    assert (code, answer["verdict"], answer["basis"]) == (0, "meets_sla", "measured table")
    assert answer["model"] is None
    assert answer["node"] == {
        "cpu": None,
        "stack": None,
        "cores": 86,
        "accelerator": None,
        "num_accelerators": 0,
        "service_times": "table.csv",
        "num_machines": 1,
        "shards": None,
        "near_memory": None,
        "tiers": None,
        "card_tiers": None,
        "instances": None,
    }
    assert answer["error_of_service_times"] == {"cpu": None, "accelerator": None}
    assert set(answer["calibration_band_ms"].values()) == {None}
    assert answer["qps_per_w"] == pytest.approx(4000 / 700)
    assert answer["power_at_load_w"] is None
    assert any("node.error_percent" in note for note in answer["notes"])


@pytest.mark.thorough
def test_a_stated_error_gives_bands_and_a_probability(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rate = ["--set", "traffic.arrivals.rate_qps=9500"]
    stated = [*rate, "--set", "node.error_percent=10"]
    _, plain = ask(capsys, "predict", "-s", str(scenario), *rate)
    code, answer = ask(capsys, "predict", "-s", str(scenario), *stated)
    assert plain["verdict"] == "meets_sla"
    assert (code, answer["verdict"]) == (6, "within_error")
    assert answer["error_of_service_times"]["cpu"] == pytest.approx(np.log(1.1))
    assert "node.error_percent=" in answer["would_decide"]["command"]
    assert answer["plan_for_qps"] < plain["plan_for_qps"]


@pytest.mark.thorough
def test_capacity_tune_and_fleet_answer_too(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["-s", str(scenario)]
    code, capacity = ask(capsys, "capacity", *where)
    assert (code, capacity["qps_per_w"]) == (0, pytest.approx(capacity["latency_bounded_qps"] / 700))
    code, tuned = ask(capsys, "tune", *where, quick=False)
    assert code == 0
    assert tuned["tuned"]["batch_size"] == tuned["static"]["batch_size"] == 1024  # others leave the table
    assert tuned["tuned"]["latency_bounded_qps"] == pytest.approx(capacity["latency_bounded_qps"], rel=0.02)
    assert any("1, 2, 4" in note for note in tuned["notes"])
    code, fleet = ask(capsys, "fleet", "-n", "3", *where)
    assert (code, fleet["power_w"], fleet["power_at_load_w"]) == (0, 2100, None)
    assert fleet["qps_per_w"] == pytest.approx(3 * 4000 / 2100)


@pytest.mark.thorough
def test_without_a_tdp_no_figure_per_watt_exists(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["-s", str(scenario), "--set", "node.tdp_w=null"]
    for command in (["predict"], ["capacity"], ["fleet", "-n", "2"]):
        _, answer = ask(capsys, *command, *where)
        assert (answer["power_w"], answer["qps_per_w"]) == (None, None)
    code, said = ask(capsys, "tune", *where, "--objective", "qps-per-watt", quick=False)
    assert code == 2
    assert "tdp_w" in said


@pytest.mark.thorough
def test_outside_the_table_is_refused_or_marked(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for setting in ("policy.batch_size=128", "node.executors=90"):
        for command in (["predict"], ["capacity"], ["fleet", "-n", "2"]):
            code, said = ask(capsys, *command, "-s", str(scenario), "--set", setting)
            assert code == 5
            assert said.startswith("outside the table table.csv: it has ")
    code, answer = ask(capsys, "predict", "-s", str(scenario), "--set", "node.executors=90", "--extrapolate")
    assert (code, answer["basis"]) == (0, "extrapolated")
    code, said = ask(capsys, "tune", "-s", str(scenario), "--batch-sizes", "64,1024", quick=False)
    assert (code, "requests of" in said) == (5, True)


def test_one_row_and_fixed_sizes_are_a_queue_with_constant_service(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("items,service_ms\n200,10\n", encoding="utf-8")
    asked = {
        "node": {"service_times": str(tmp_path / "one.csv"), "executors": 1},
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": 70},
            "query_sizes": {"distribution": "fixed", "num_items": 200},
        },
        "policy": {"name": "split", "batch_size": 256},
        "sla": {"percentile": 0.95, "latency_ms": 100},
    }
    answer = perfmodel.predict(asked).to_dict()
    wait_ms = answer["latency_ms"]["mean"] - 10
    assert wait_ms == pytest.approx(0.5e3 * mmc_mean_wait_s(70, 0.010, 1), rel=0.05)  # M/D/1: half of M/M/1
    assert answer["utilisation"]["cpu"] == pytest.approx(0.7, rel=0.01)


def test_both_engines_agree(scenario: Path) -> None:
    few = ["simulation.min_queries=12000", "simulation.max_queries=12000", "simulation.precision=0.5"]
    one, other = runs_of_both_engines(scenario, few)
    assert one.mean_latency == other.mean_latency
    assert one.percentiles == other.percentiles


@pytest.mark.thorough
def test_fleets_of_tables_and_of_models_stand_side_by_side(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = ask(capsys, "fleet", "-n", "2", "-s", str(scenario), "--also", f"{scenario}=1")
    assert (code, [node["num_nodes"] for node in answer["nodes"]]) == (0, [2, 1])
    mixed = ["--also", "rm3_skylake=1", "--qps", "900"]
    code, answer = ask(capsys, "fleet", "-n", "2", "-s", str(scenario), *mixed)
    assert code in (0, 3, 6)
    assert [node["cpu"] for node in answer["nodes"]] == [None, "skylake"]
    assert any("which model" in note for note in answer["notes"])


@pytest.mark.thorough
def test_a_node_is_described_in_one_way(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for setting, message in (
        ("node.cpu=skylake", "expected no cpu, beside service_times"),
        ("node.cores=4", "expected executors, not cores"),
        ("model=ncf", "expected none, since node.service_times takes its place"),
        ("node.service_times=none.csv", "expected a file, found none at"),
        ("node.executors=0", "expected a whole number >= 1, got 0"),
        ("node.error_percent=-1", "expected a number >= 0 or null, got -1"),
        ("policy.offload_threshold_items=3", "expected null, since a node known by its service times"),
        ("node.anchor={service_times: other.csv}", "service_times: expected a load test"),
    ):
        code, said = ask(capsys, "predict", "-s", str(scenario), "--set", setting)
        assert code == 2, setting
        assert said.startswith(f"--set {setting.partition('=')[0]}: {message}")
    code, said = ask(capsys, "predict", "-s", "rm3_skylake", "--set", "node.executors=4")
    assert code == 2
    assert "expected beside service_times only" in said


def test_the_table_lies_beside_the_scenario(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    question = prepare(load_scenario(str(scenario)))
    assert question.times.table.cpu_s.shape == (700, 86)


@pytest.mark.thorough
def test_a_sweep_goes_over_executors(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scenario.with_suffix(".csv")
    over = ["--over", "node.executors=40,80,90", "--out", str(out)]
    sets = [part for setting in QUICK for part in ("--set", setting)]
    code = main(["sweep", str(scenario), *over, *sets])
    assert code == 0, capsys.readouterr().err
    header, *rows = (line.split(",") for line in out.read_text(encoding="utf-8").splitlines())
    codes = [row[header.index("exit_code")] for row in rows]
    assert codes == ["0", "0", "5"]  # the table ends at 86 executors at work


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["rm3_skylake", "rm3_amd_epyc_turin_2c"])
def test_a_table_written_from_a_scenario_answers_as_it_does(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    assert main(["latency", "-s", name, "--table", str(table)]) == 0
    capsys.readouterr()
    loaded = load_scenario(name)
    node = {"service_times": str(table), "executors": prepare(loaded).node.num_workers}
    given = perfmodel.predict(name, overrides=QUICK).to_dict()
    back = perfmodel.predict(
        {**loaded.source.data(), "model": None, "node": node},
        overrides=QUICK,  # type: ignore[dict-item]
    ).to_dict()
    error = given["error_of_service_times"]["cpu"]
    assert error is not None
    for key in ("mean", "p50", "p95", "p99"):
        ratio = back["latency_ms"][key] / given["latency_ms"][key]
        assert abs(ratio - 1.0) < min(0.02, error), key
    assert back["latency_bounded_qps"] == pytest.approx(given["latency_bounded_qps"], rel=0.01)


def test_the_shipped_table_is_what_the_command_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "rm3_skylake_table.csv"
    assert main(["latency", "-s", "rm3_skylake", "--table", str(table)]) == 0
    capsys.readouterr()
    (shipped,) = load_scenario("rm3_skylake_table").node_paths()
    assert read_service_table(table).service_s == pytest.approx(read_service_table(shipped).service_s)


def test_latency_times_single_requests_of_a_scenario(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = ask(
        capsys, "latency", "-s", str(scenario), "--busy", "86", "--batch", "100,300", quick=False
    )
    assert (code, answer["model"], answer["stack"], answer["busy"]) == (0, None, None, 86)
    assert [row["basis"] for row in answer["rows"]] == ["measured table", "interpolated"]
    assert answer["rows"][0]["latency_ms"] == pytest.approx(4)
    for more, message in (
        (["--busy", "87"], "--busy: expected at most the node's 86 executors"),
        (["--batch", "701"], "--batch: expected sizes that mine sends to its cores, requests of up to 700"),
        (["--model", "ncf"], "--scenario: expected no --model"),
    ):
        code, said = ask(capsys, "latency", "-s", str(scenario), *more, quick=False)
        assert code == 2
        assert said.startswith(message)
    code, said = ask(capsys, "latency", "-s", str(scenario), "--batch", "99", quick=False)
    assert (code, said.startswith("batch 99 is outside")) == (5, True)


@pytest.mark.thorough
@pytest.mark.parametrize("column", ["std_ms", "p50_ms,p99_ms"])
def test_scatter_in_the_table_is_scatter_of_the_node(
    column: str, scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log-normal law of relative standard deviation 0.5 has p99 / p50 = exp(2.326 sigma), sigma 0.4724."""
    values = "5" if column == "std_ms" else f"8.944,{8.944 * np.exp(2.3263 * 0.4724):.6g}"
    (scenario.parent / "one.csv").write_text(
        f"items,service_ms,{column}\n200,10,{values}\n", encoding="utf-8"
    )
    sizes = "traffic.query_sizes={distribution: fixed, num_items: 200}"
    where = [
        "-s",
        str(scenario),
        "--set",
        sizes,
        "--set",
        "node.service_times=" + str(scenario.parent / "one.csv"),
    ]
    _, own = ask(capsys, "predict", *where)
    (scenario.parent / "one.csv").write_text("items,service_ms\n200,10\n", encoding="utf-8")
    _, said = ask(
        capsys, "predict", *where, "--set", "node.scatter={distribution: lognormal, relative_std: 0.5}"
    )
    _, plain = ask(capsys, "predict", *where)
    assert own["latency_ms"]["p99"] == pytest.approx(said["latency_ms"]["p99"], rel=0.01)
    assert own["latency_ms"]["p99"] > 1.5 * plain["latency_ms"]["p99"]
    assert own["latency_ms"]["mean"] == pytest.approx(plain["latency_ms"]["mean"], rel=0.02)
    assert any("scatter" in note for note in own["notes"])
