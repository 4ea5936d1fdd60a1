"""`perfplan observe`: its document, its files, its exit codes, and what Python gets."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import perfmodel
from benchmarks.observed_cases import truth, write_log
from perfmodel.cli.main import main
from perfmodel.report.documents.observe import ObserveDocument


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small log of a simulated node: two executors, Poisson arrivals, no scatter."""
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    write_log(truth(13), path, num_queries=4000, seed=1)
    return path


@pytest.mark.thorough
def test_its_scenario_is_answered_and_its_document_follows_the_schema(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "observed"
    assert main(["observe", str(log), "--sla-ms", "40", "--out", str(folder), "--json"]) == 0
    text = capsys.readouterr().out
    TypeAdapter(ObserveDocument).validate_json(text)
    found = json.loads(text)
    assert found["schema"] == {"name": "observe", "version": 1}
    assert found["executors"] | {"reason": ""} == {
        **{"value": 2, "low": 2, "high": 2, "exact": True, "source": "column"},
        "reason": "",
    }
    assert found["inputs"][0]["name"] == str(log)
    assert found["files"][:2] == ["scenario.yaml", "table.csv"]
    assert {each.name for each in folder.iterdir()} == set(found["files"])
    assert (folder / "table.csv").read_text().splitlines()[1] == "items,service_ms"
    errors = [window["error_percent"]["p95"] for window in found["replay"]["windows"]]
    assert all(error is None or abs(error) < 1.0 for error in errors)
    assert main(["predict", "-s", str(folder / "scenario.yaml"), "--json"]) in (0, 3)
    predicted = json.loads(capsys.readouterr().out)
    assert predicted["offered_qps"] == pytest.approx(found["traffic"]["rate_qps"]["value"], rel=1e-6)
    assert main(["observe", str(log), "--sla-ms", "40"]) == 0
    page = capsys.readouterr().out
    assert "backtest: had the node been loaded to that" in page
    assert "executors: 2" in page


@pytest.mark.thorough
def test_a_load_that_has_drifted_ends_in_7(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario, table = tmp_path / "node.yaml", tmp_path / "times.csv"
    arguments = ["--scenario-out", str(scenario), "--table-out", str(table), "--sla-ms", "40"]
    assert main(["observe", str(log), *arguments]) == 0
    capsys.readouterr()
    assert main(["observe", str(log), "--scenario", str(scenario), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["drift"]["drifted"] == []
    changed = ["--set", "traffic.arrivals.rate_qps=1"]
    assert main(["observe", str(log), "--scenario", str(scenario), *changed, "--json"]) == 7
    drift = json.loads(capsys.readouterr().out)["drift"]
    assert drift["drifted"] == ["rate"]
    assert drift["level"] == 0.01
    assert {test["subject"] for test in drift["tests"]} >= {"rate", "sizes", "service times"}
    assert main(["observe", str(log), "--scenario", str(scenario), *changed]) == 7
    assert "drifted from node: rate" in capsys.readouterr().out


@pytest.mark.thorough
def test_python_gets_the_same(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = perfmodel.observe(log, sla_ms=40)
    main(["observe", str(log), "--sla-ms", "40", "--json"])
    assert json.dumps(answer.to_dict(), indent=2) + "\n" == capsys.readouterr().out
    assert repr(answer).startswith("<Observation log.csv: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--percentile", "0.9"], "--percentile: expected beside --sla-ms"),
        (["--sla-ms", "-3"], "--sla-ms: "),
        (["--sla-ms", "5", "--percentile", "2"], "--percentile: "),
        (["--table-out", "t.csv"], "--table-out: expected beside --scenario-out"),
        (["--out", "x", "--scenario-out", "s.yaml"], "--out: expected a folder for all"),
        (["--set", "a=1"], "--set: expected beside --scenario"),
        (["--out", "no/such/folder"], "--out no/such/folder: no directory"),
        (["--time-unit", "h"], "--time-unit: expected one of s, ms, us, ns"),
        (["--scenario", "nowhere"], "unknown scenario"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    log: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["observe", str(log), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1
