"""`init --from-triton`, `--from-torchserve` and `tune --format`: there and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfmodel.cli.main import main
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.serving_config import read_torchserve, read_triton
from tests.unit.loading.test_serving_config import TRITON

FEW = ["--set", "simulation.min_queries=5000", "--set", "simulation.max_queries=5000"]


def made(tmp_path: Path, option: str, text: str, *more: str) -> Path:
    source, folder = tmp_path / "config", tmp_path / "here"
    source.write_text(text)
    assert main(["init", str(folder), option, str(source), *more]) == 0
    return folder / "scenario.yaml"


@pytest.mark.thorough
def test_dynamic_batching_on_cards_becomes_that_policy(tmp_path: Path) -> None:
    path = made(tmp_path, "--from-triton", TRITON)
    scenario = load_scenario(path).scenario
    policy = scenario.policy.model_dump()
    assert (policy["name"], policy["pool"]) == ("dynamic-batching", "accelerator")
    assert (policy["max_batch_items"], policy["timeout_ms"]) == (256, 1.5)
    assert len(scenario.node.accelerators) == 2
    assert "largest of preferred_batch_size 64, 256" in path.read_text()
    assert main(["predict", str(path), *FEW, "--extrapolate", "--json"]) in (0, 3, 4, 6)


@pytest.mark.thorough
def test_instances_on_cpus_become_executors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "max_batch_size: 64\ninstance_group { count: 12 kind: KIND_CPU }\n"
    path = made(tmp_path, "--from-triton", text)
    scenario = load_scenario(path).scenario
    policy = scenario.policy.model_dump()
    assert (policy["name"], policy["batch_size"]) == ("split", 64)
    assert scenario.node.model_dump()["cores"] == 12
    out = capsys.readouterr().out
    assert "note: model, processor, traffic and SLA are still the example's" in out
    assert out.count("note:") == 1
    assert main(["predict", str(path), *FEW, "--json"]) in (0, 3, 4, 6)


def test_what_is_not_carried_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "--from-triton", TRITON)
    assert "4 instances on 2 cards" in capsys.readouterr().out


def test_requests_of_torchserve_hold_items(tmp_path: Path) -> None:
    text = "batchSize: 4\nmaxBatchDelay: 20\nminWorkers: 8\n"
    path = made(tmp_path, "--from-torchserve", text, "--items-per-request", "50")
    scenario = load_scenario(path).scenario
    policy = scenario.policy.model_dump()
    assert (policy["max_batch_items"], policy["timeout_ms"]) == (200, 20.0)
    assert scenario.node.model_dump()["cores"] == 8
    assert "batchSize 4 requests of 50 items each" in path.read_text()


def test_batches_that_the_examples_profile_does_not_cover_are_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "max_batch_size: {}\ninstance_group {{ count: 4 kind: KIND_CPU }}\n"
        "dynamic_batching {{ max_queue_delay_microseconds: 500 }}\n"
    )
    path = made(tmp_path, "--from-triton", text.format(512))
    out = capsys.readouterr().out
    assert "refuses it: outside the calibrated range: skylake covers batches 1 to 256" in out
    assert f"perfplan predict {path} --extrapolate" in out
    covered = tmp_path / "covered"
    covered.mkdir()
    path = made(covered, "--from-triton", text.format(256))
    out = capsys.readouterr().out
    assert "calibrated range" not in out
    assert f"perfplan predict {path}\n" in out


def test_a_file_that_cannot_be_read_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text("max_batch_size: x")
    assert main(["init", str(tmp_path / "here"), "--from-triton", str(tmp_path / "config")]) == 2
    assert "config:1:17: max_batch_size" in capsys.readouterr().err
    assert not (tmp_path / "here").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", ["rm3_skylake", "rm3_broadwell_gtx1080ti"])
def test_tune_writes_what_it_found_for_triton(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thresholds = ["--thresholds", "300"] if "gtx" in scenario else []
    asked = ["tune", scenario, *FEW, "--batch-sizes", "64,128", *thresholds]
    assert main([*asked, "--format", "triton"]) == 0
    path = tmp_path / "config.pbtxt"
    path.write_text(capsys.readouterr().out)
    config = read_triton(path)
    assert config.max_batch in (64, 128)
    assert config.cpu_instances == load_scenario(scenario).scenario.node.model_dump()["cores"]
    assert ("Triton does not choose by size" in path.read_text()) == ("gtx" in scenario)


@pytest.mark.thorough
def test_tune_writes_what_it_found_for_torchserve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["tune", "rm3_skylake", *FEW, "--batch-sizes", "64,128", "--format", "torchserve"]
    assert main(asked) == 0
    path = tmp_path / "config.properties"
    path.write_text(capsys.readouterr().out)
    served = read_torchserve(path)
    assert served.max_batch == 1
    assert served.cpu_instances == load_scenario("rm3_skylake").scenario.node.model_dump()["cores"]


def test_format_and_json_are_one_or_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "rm3_skylake", "--format", "triton", "--json"]) == 2
    assert "--format" in capsys.readouterr().err


@pytest.mark.thorough
def test_plan_writes_the_settings_of_each_node_type_in_their_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "times.csv").write_text("items,service_ms\n1,1\n100,5\n", encoding="utf-8")
    (tmp_path / "s.yaml").write_text(
        "node: {service_times: times.csv, executors: 4}\n"
        "traffic:\n"
        "  arrivals: {process: poisson, rate_qps: 10}\n"
        "  query_sizes: {distribution: fixed, num_items: 100}\n"
        "policy: {name: split, batch_size: 100}\n"
        "sla: {percentile: 0.95, latency_ms: 20}\n"
        "simulation: {min_queries: 20000, max_queries: 20000}\n",
        encoding="utf-8",
    )
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "services:\n"
        "  a: {scenario: s.yaml, demand: {qps: 1000}, tune: false}\n"
        "  b: {scenario: s.yaml, demand: {qps: 1000}, tune: false}\n"
        "node_types: {one: {node: {service_times: times.csv, executors: 6}, available: 10}}\n"
        "capacities: {b: {one: 500}}\n"
        "provision: {objective: nodes}\n",
        encoding="utf-8",
    )
    asked = ["plan", str(fleet), "--no-simulate"]
    assert main([*asked, "--format", "triton"]) == 0
    text = capsys.readouterr().out
    assert "# b on one, 2 nodes: capacity given, so that its settings are not known" in text
    path = tmp_path / "config.pbtxt"
    path.write_text(text, encoding="utf-8")
    config = read_triton(path)
    assert (config.max_batch, config.cpu_instances) == (100, 6)
    assert main([*asked, "--format", "torchserve"]) == 0
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert read_torchserve(path).cpu_instances == 6
    assert main([*asked, "--format", "triton", "--json"]) == 2
    assert "--format" in capsys.readouterr().err


JOINED = """\
node: {service_times: times.csv, executors: 4}
traffic:
  arrivals: {process: poisson, rate_qps: 10}
  query_sizes: {distribution: fixed, num_items: 10}
policy: {name: dynamic-batching, max_batch_items: 20, timeout_ms: 4}
sla: {percentile: 0.95, latency_ms: 20}
simulation: {min_queries: 20000, max_queries: 20000}
"""


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A launch of 1 to 80 items takes 2 to 4 ms, so that larger batches carry more, up to the table's end."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "times.csv").write_text("items,service_ms\n1,2\n80,4\n", encoding="utf-8")
    (tmp_path / "joined.yaml").write_text(JOINED, encoding="utf-8")
    return tmp_path


@pytest.mark.thorough
def test_joined_queries_are_tuned_and_the_settings_go_there_and_back(
    joined: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["tune", str(joined / "joined.yaml")]
    assert main([*asked, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    static, tuned = document["static"], document["tuned"]
    assert (static["batch_size"], static["timeout_ms"]) == (20, 4.0), "what the scenario says"
    assert tuned["batch_size"] in (64, 80), "of those up to 80 the largest carry most"
    assert tuned["latency_bounded_qps"] > 1.5 * static["latency_bounded_qps"]
    assert document["set"] == [
        f"policy.max_batch_items={tuned['batch_size']}",
        f"policy.timeout_ms={tuned['timeout_ms']:g}",
    ]
    sets = [part for setting in document["set"] for part in ("--set", setting)]
    assert main(["capacity", str(joined / "joined.yaml"), *sets, "--json"]) in (0, 3, 6)
    alone = json.loads(capsys.readouterr().out)["latency_bounded_qps"]
    assert alone == pytest.approx(tuned["latency_bounded_qps"], rel=0.03)

    assert main([*asked, "--format", "triton"]) == 0
    path = joined / "config.pbtxt"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    config = read_triton(path)
    assert (config.full_batch, config.cpu_instances) == (tuned["batch_size"], 4)
    assert config.delay_ms == pytest.approx(tuned["timeout_ms"], abs=1e-3)
    assert main([*asked, "--format", "torchserve"]) == 0
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    served = read_torchserve(path)
    assert served.max_batch == round(tuned["batch_size"] / 10)
    assert served.cpu_instances == 4
    assert main([*asked, "--thresholds", "5"]) == 2
    assert "--thresholds: dynamic-batching has none" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_plan_tunes_joined_queries_and_writes_their_settings(
    joined: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = joined / "fleet.yaml"
    fleet.write_text(
        "services: {a: {scenario: joined.yaml, demand: {qps: 20000}, tune: true}}\n"
        "node_types: {one: {node: {service_times: times.csv, executors: 4}, available: 10}}\n"
        "provision: {objective: nodes}\n",
        encoding="utf-8",
    )
    assert main(["plan", str(fleet), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    pair = document["capacity_qps"]["a"]["one"]
    assert pair["source"] == "tune"
    assert pair["batch_size"] in (64, 80)
    assert pair["timeout_ms"] is not None
    assert {check["verdict"] for check in document["checks"]} <= {"meets_sla"}
    assert main(["plan", str(fleet), "--no-simulate", "--format", "triton"]) == 0
    path = joined / "config.pbtxt"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert read_triton(path).full_batch == pair["batch_size"]
    assert read_triton(path).delay_ms == pytest.approx(pair["timeout_ms"], abs=1e-3)
