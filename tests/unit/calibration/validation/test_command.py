"""`perfplan validate` from end to end on a small model; what it measures is not judged, only that it does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from calibration.documents import ValidateDocument
from calibration.serving import server
from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.report.pages.validate import validate_html

pytest.importorskip("torch")
from calibration.runtime import assembly  # these need torch
from calibration.validation import question, single, suite
from calibration.validation.question import Options
from calibration.validation.suite_report import Found, SuiteReport
from tests.unit.calibration.runtime.standin import StandIn
from tests.unit.calibration.validation.test_suite_report import loaded

OPTIONS = Options(
    profile=None,
    overrides=(),
    anchor=False,
    capacity=True,
    shrink_tables=False,
    extrapolate=False,
    settings="",
)
CORES = len(os.sched_getaffinity(0))
ANSWERED = (0, 3, 6)
"""Met, missed, or disturbed by what else ran: whatever the machine did, there is an answer."""
SMALL_MODEL = """\
name: small
description: a small model
source: made up for a test
dense_features: 16
operators:
  - {name: bottom, kind: mlp, input: dense, widths: [16, 8], activation: relu}
  - {name: embeddings, kind: embedding_bag, tables: [{count: 2, num_rows: 1000, dim: 8, pooling_factor: 4}]}
  - {name: joined, kind: concat, inputs: [bottom, embeddings]}
  - {name: top, kind: mlp, input: joined, widths: [24, 1], activation: relu, final_activation: sigmoid}
"""
SCENARIO = f"""\
model: small.yaml
node: {{cpu: skylake, cores: {CORES}}}
traffic:
  arrivals: {{process: poisson, rate_qps: 300}}
  query_sizes: {{distribution: deeprecsys-production}}
policy: {{name: split, batch_size: 128}}
sla: {{percentile: 0.95, latency_ms: 100}}
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(server, "WARM_UP_S", 0.02)
    monkeypatch.setattr(single, "PILOT_S", 0.3)
    (tmp_path / "small.yaml").write_text(SMALL_MODEL)
    (tmp_path / "here.yaml").write_text(SCENARIO)
    return tmp_path / "here.yaml"


@pytest.mark.thorough
def test_a_validation_has_the_keys_of_the_interface_and_records_every_query(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, trace = scenario.parent / "queries.csv", scenario.parent / "trace.json"
    options = ["--duration", "500ms", "--anchor", "--no-capacity", "--records", str(records), "--json"]
    options += ["--trace-out", str(trace), "--trace-queries", "50"]
    code = main(["validate", "-s", str(scenario), *options])
    answer = json.loads(capsys.readouterr().out)
    TypeAdapter(ValidateDocument).validate_python(answer)
    assert answer["schema"]["name"] == "validate"
    assert code == {"meets_sla": 0, "misses_sla": 3, "disturbed": 6}[answer["verdict"]]
    for key in ("predicted", "measured"):
        assert set(answer[key]["latency_ms"]) == {"mean", "p50", "p95", "p99"}
        assert answer[key]["throughput_qps"] > 0
    assert {"p50", "p95", "p99", "throughput", "service_time"} <= set(answer["error_percent"])
    assert answer["queries"] == 150
    assert len(records.read_text().splitlines()) == 151
    assert answer["anchor"]["requests"] >= 50
    assert answer["asked"]["traffic"]["arrivals"]["rate_qps"] == pytest.approx(answer["offered_qps"])
    page = validate_html(answer)
    for heading in ("Where the numbers come from", "The question as text"):
        assert heading in page
    written = json.loads(trace.read_text())
    assert written["otherData"]["run"] == "measured"
    shown = [e for e in written["traceEvents"] if e.get("cat") == "query" and e["ph"] == "X"]
    line = records.read_text().splitlines()[51].split(",")
    same = next(e for e in shown if e["name"] == f"query {line[0]}")
    assert same["args"]["items"] == int(line[1])
    assert same["args"]["latency_ms"] == pytest.approx(1e3 * (float(line[5]) - float(line[3])), abs=2e-3)


OF_A_USER = """\
name: of-a-user
operators:
  - name: history
    kind: embedding_bag
    scope: query
    pooling: none
    varies: true
    tables: [{num_rows: 1000, dim: 8, pooling_factor: 50}]
  - {name: user, kind: sum, scope: query, inputs: [history]}
  - {name: item, kind: embedding_bag, tables: [{num_rows: 1000, dim: 8, pooling_factor: 1}]}
  - {name: target, kind: attention, query: item, key: history, num_heads: 1}
  - {name: joined, kind: concat, inputs: [user, item, target]}
  - {name: top, kind: mlp, input: joined, widths: [24, 8, 1]}
"""
LENGTHS = "traffic.lengths={distribution: file, file: lengths.txt}"
SHARING = "policy.share_query_work=true"


@pytest.fixture
def of_a_user(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(scenario.parent)  # which names in --set are of
    (scenario.parent / "user.yaml").write_text(OF_A_USER)
    (scenario.parent / "lengths.txt").write_text("5\n5\n200\n1\n")
    one = SCENARIO.replace(f"cores: {CORES}", "cores: 1").replace("batch_size: 128", "batch_size: 64")
    scenario.write_text(one.replace("small.yaml", "user.yaml"))
    return scenario


@pytest.mark.thorough
@pytest.mark.parametrize("changes", [(LENGTHS,), (SHARING,), (LENGTHS, SHARING)], ids=len)
def test_histories_of_several_lengths_and_shared_work_are_served_and_compared(
    of_a_user: Path, capsys: pytest.CaptureFixture[str], changes: tuple[str, ...]
) -> None:
    asked = [word for change in changes for word in ("--set", change)]
    options = ["--duration", "500ms", "--anchor", "--no-capacity", "--json", *asked]
    assert main(["validate", "-s", str(of_a_user), *options]) in ANSWERED
    answer = json.loads(capsys.readouterr().out)
    TypeAdapter(ValidateDocument).validate_python(answer)
    assert answer["anchor"]["requests"] >= 50
    for key in ("predicted", "measured"):
        assert 0.0 < answer[key]["latency_ms"]["p50"] <= answer[key]["latency_ms"]["p95"]
    by_length = answer["service_time_by_length"]
    if LENGTHS not in changes:
        assert by_length == []
        return
    assert [row["length"] for row in by_length] == [1, 5, 200]  # of a list of a few: each as it is
    counts = [row["requests"] for row in by_length]
    assert counts[1] / sum(counts) == pytest.approx(0.5, abs=0.15)  # two of the four of the file
    assert sum(counts) == sum(row["requests"] for row in answer["service_time_by_batch"])
    page = validate_html(answer)
    assert "Service time by length of the history" in page
    assert f"<td>200</td><td>{counts[2]}</td>" in page.replace(' class="n"', "")


def test_a_page_shows_service_times_by_length(of_a_user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--duration", "300ms", "--no-capacity", "--set", LENGTHS]
    assert main(["validate", "-s", str(of_a_user), *options]) in ANSWERED
    assert "service time by length of the history" in capsys.readouterr().out


def test_a_module_of_ones_own_is_served_whole(of_a_user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = of_a_user.parent / "mine.py"
    module.write_text(
        "import torch\n"
        "class Users(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.user, self.item = torch.nn.Linear(8, 4), torch.nn.Embedding(10, 4)\n"
        "    def forward(self, user, items):\n"
        "        return (self.user(user) * self.item(items)).sum(1)\n"
        "def users():\n"
        "    return Users(), (torch.rand(1, 8), torch.randint(0, 10, (5,)))\n"
    )
    options = ["--no-capacity", "--module", f"{module}:users", "--set", SHARING]
    assert main(["validate", "-s", str(of_a_user), *options]) == 2
    assert "--module: is served whole; expected no policy.share_query_work" in capsys.readouterr().err


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("change", [LENGTHS, SHARING])
def test_beside_a_card_lists_have_one_length_and_nothing_is_shared(
    of_a_user: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    options = [*OFFLOADING, "--set", change]
    assert main(["validate", "-s", str(of_a_user), *options]) == 2
    assert "the runtime serves it on cores only" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.parametrize(("asked", "stack"), [((), "eager"), (("--set", "node.stack=pytorch"), "pytorch")])
def test_a_module_is_predicted_as_modules_are_served_whatever_the_scenario_names(
    scenario: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], stack: str
) -> None:
    named = SCENARIO.replace("cpu: skylake", "cpu: amd-epyc-turin-2c-modules, stack: pytorch")
    scenario.write_text(named.replace(f"cores: {CORES}", "cores: 1"))
    module = scenario.parent / "mine.py"
    module.write_text(
        "import torch\n"
        "from torch import nn\n"
        "def small():\n"
        "    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1)), (torch.rand(4, 16),)\n"
    )
    options = ["--duration", "500ms", "--no-capacity", "--module", f"{module}:small", "--json", *asked]
    assert main(["validate", "-s", str(scenario), *options]) in ANSWERED
    answer = json.loads(capsys.readouterr().out)
    assert answer["stack"] == stack
    assert answer["module"].startswith(f"{module}:small as it is, no_grad")
    assert [row["batch_size"] for row in answer["alone"]][:2] == [1, 4]
    assert answer["asked"]["model"] == "small.yaml"  # not where it lay for this run
    assert "small.yaml" in [each["name"] for each in answer["inputs"]]
    assert f"perfplan validate here.yaml --module {module}:small" in validate_html(answer)


@pytest.mark.slow
def test_a_refined_profile_predicts_what_the_anchor_measured(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refined = scenario.parent / "refined.yaml"
    options = ["--duration", "500ms", "--anchor", "--no-capacity", "--refined", str(refined), "--json"]
    assert main(["validate", "-s", str(scenario), *options]) in ANSWERED
    validated = json.loads(capsys.readouterr().out)["predicted"]["service_time_ms"]
    assert main(["predict", "-s", str(scenario), "--set", f"node.cpu={refined}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["service_time_ms"] == pytest.approx(validated, rel=0.05)


def test_a_refined_profile_needs_an_anchor(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-s", str(scenario), "--refined", "x.yaml"]) == 2
    assert "--anchor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--suite", "--records", "q.csv"], "--records: expected no --suite beside it"),
        (["--suite", "--anchor", "--refined", "q.yaml"], "--refined: expected no --suite beside it"),
        (["--suite", "--utilisation", "0.5"], "--utilisation: expected no --suite beside it"),
        (["--suite", "--trace-out", "t.json"], "--trace-out: expected no --suite beside it"),
        (["--trace-queries", "5"], "--trace-queries: expected --trace-out FILE with it"),
        (["--trace-out", "no/t.json"], "--trace-out no/t.json: no directory no"),
        (["--models", "ncf"], "--models: expected --suite beside it"),
        (["--out", "validation.txt"], "--out: expected the name of a page, FILE.html"),
        (["--resume"], "--resume: expected --suite beside it"),
        (["--records", "."], "--records .: is a directory"),
        (["--anchor", "--refined", "no/x.yaml"], "--refined no/x.yaml: no directory no"),
        (
            ["--anchor", "--refined", "q.yaml", "--profile", "genoa-9654"],
            "--refined: expected a calibrated profile, whose stacks an anchor is added to, got a derived one",
        ),
        (["--suite", "--out", "."], "--out .: is a directory"),
        (["--suite", "--out", "x.json"], "--out x.json: expected the name of a page"),
        (["--suite", "--models", "ncf,nfc"], "nfc"),
        (["--suite", "--duration", "1"], "--duration: expected a time"),
    ],
)
def test_options_that_cannot_be_heeded_are_refused_before_anything_is_built(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(question, "build_programme", lambda *_, **__: pytest.fail("built"))
    assert main(["validate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_the_tensor_library_refuses_is_one_line_before_measuring(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("sizes do not match\nat some place")

    monkeypatch.setattr(single, "run", lambda *_, **__: pytest.fail("measured"))
    monkeypatch.setattr(assembly.calls, "concat_features", refuse)
    assert main(["validate", "-s", str(scenario)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "small: the serving runtime cannot run this model: sizes do not match"


@pytest.mark.thorough_cases("run", "pilot")
@pytest.mark.parametrize("moment", ["pilot", "run"])
def test_an_interruption_before_anything_is_measured_says_so(
    moment: str, scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(single, moment, interrupted)
    assert main(["validate", "-s", str(scenario), "--anchor"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "interrupted before anything was measured"


@pytest.mark.slow
def test_an_interruption_after_the_measurement_keeps_the_answer(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(single, "check_capacity", interrupted)
    assert main(["validate", "-s", str(scenario), "--duration", "300ms", "--json"]) == 130
    captured = capsys.readouterr()
    assert json.loads(captured.out)["capacity"] is None
    assert captured.err.splitlines()[-1].startswith("interrupted: the answer is of what was measured")


@pytest.mark.slow
def test_an_answer_whose_records_cannot_be_written_is_printed(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, *_: object) -> None:
        raise InputError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(single, "write_queries", full)
    records = scenario.parent / "q.csv"
    options = ["--duration", "300ms", "--no-capacity", "--json", "--records", str(records)]
    assert main(["validate", "-s", str(scenario), *options]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["measured"]
    assert captured.err.splitlines()[-1] == f"{records}: cannot be written: No space left on device"


@pytest.mark.thorough
@pytest.mark.parametrize("loads", [0, 1])
def test_an_interrupted_suite_says_what_is_there_and_how_to_go_on(
    loads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def entries(*_: object) -> Iterator[Found]:
        yield from [Found("capacity", "ncf", {"error_percent": 1.0})] * loads
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "_entries", entries)
    monkeypatch.setattr(suite, "suite_html", lambda _: "page")
    out = tmp_path / "report.html"
    assert main(["validate", "--suite", "--models", "ncf", "--out", str(out)]) == 130
    kept = f"interrupted: {out.with_suffix('.json')} holds what was measured, --resume goes on"
    expected = kept if loads else "interrupted before anything was measured"
    assert capsys.readouterr().err.splitlines()[-1] == expected
    assert out.with_suffix(".json").exists() == bool(loads)


@pytest.mark.thorough
def test_a_load_beyond_this_machine_is_unstable_and_says_what_would_not_be(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["validate", "-s", str(scenario), "--set", "traffic.arrivals.rate_qps=1e6"])
    assert code == 4
    assert "--utilisation 0.7 would be" in capsys.readouterr().err


def test_more_cores_than_this_machine_has_are_refused(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["validate", "-s", str(scenario), "--set", f"node.cores={CORES + 1}"])
    assert code == 2
    assert f"this machine has {CORES}" in capsys.readouterr().err


def test_a_node_with_an_accelerator_is_refused_and_says_what_would_not_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["validate", "-s", "rm1_broadwell_gtx1080ti", "--set", f"node.cores={CORES}"])
    assert code == 2
    assert "--set node.accelerators=[]" in capsys.readouterr().err


def test_several_accelerators_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    two = "node.accelerators=[gtx1080ti, gtx1080ti]"
    options = ["--set", f"node.cores={CORES}", "--set", two]
    assert main(["validate", "-s", "rm1_broadwell_gtx1080ti", *options]) == 2
    assert "the runtime serves one, got 2" in capsys.readouterr().err


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device as far as the question is concerned; what runs offloaded requests is the CPU."""
    monkeypatch.setattr(question, "missing_cuda", lambda: None)
    monkeypatch.setattr(question, "cuda_accelerator", lambda _asked: StandIn(free=1e9))


OFFLOADING = (
    *("--set", f"node.cores={max(1, CORES - 1)}"),
    *("--set", "node.accelerators=[gtx1080ti]"),
    *("--set", "policy.offload_threshold_items=200"),
)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.slow
def test_offloaded_queries_are_served_and_compared(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = scenario.parent / "queries.csv"
    options = ["--duration", "500ms", "--anchor", "--records", str(records), "--json"]
    assert main(["validate", "-s", str(scenario), *OFFLOADING, *options]) in ANSWERED
    answer = json.loads(capsys.readouterr().out)
    for key in ("predicted", "measured"):
        assert answer[key]["accelerator_service_time_ms"] > 0
    assert answer["error_percent"]["accelerator_service_time"] is not None
    sizes = answer["accelerator_service_time_by_batch"]
    assert min(row["from_items"] for row in sizes) >= 200
    assert answer["capacity"]["measured_qps"] > 0
    assert answer["anchor"]["accelerator_level"] > 0
    rows = [line.split(",") for line in records.read_text().splitlines()[1:]]
    assert {row[2] for row in rows} == {"0", "1"}
    assert all((int(row[1]) >= 200) == (row[2] == "1") for row in rows)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.slow
def test_the_page_shows_the_accelerator_beside_the_cores(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--duration", "300ms", "--no-capacity"]
    assert main(["validate", "-s", str(scenario), *OFFLOADING, *options]) in ANSWERED
    page = capsys.readouterr().out
    assert "on the accelerator" in page
    tables = [line for line in page.splitlines() if "items" in line and "predicted [ms]" in line]
    assert len(tables) == 2  # of the cores, and of the accelerator


@pytest.mark.usefixtures("stand_in")
def test_a_scenario_that_leaves_nothing_to_the_cores_is_refused(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *rest, _ = OFFLOADING
    everything = [*rest, "policy.offload_threshold_items=1"]
    assert main(["validate", "-s", str(scenario), *everything]) == 2
    assert "expected some queries on the cores" in capsys.readouterr().err


@pytest.mark.usefixtures("stand_in")
def test_one_core_is_left_for_the_process_that_issues(scenario: Path) -> None:
    given = ["node.accelerators=[gtx1080ti]", "policy.offload_threshold_items=200"]
    asked = question.question_of(str(scenario), given, "skylake")
    assert asked.node.cores == max(1, CORES - 1)


@pytest.mark.slow
def test_a_suite_writes_its_report_after_each_load_and_goes_on_from_it(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = scenario.parent / "report.html"
    model = str(scenario.parent / "small.yaml")
    options = ["--models", model, "--duration", "200ms", "--no-capacity", "--out", str(out), "--json"]
    assert main(["validate", "--suite", "-s", str(scenario), *options]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [point["aimed_utilisation"] for point in first["points"].values()] == [0.3, 0.5, 0.7, 0.85]
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert main(["validate", "--suite", "-s", str(scenario), *options, "--resume"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == first
    assert main(["validate", "--suite", "-s", str(scenario), *options, "--resume", "--anchor"]) == 2
    assert "was measured with anchor False, not True" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_model_that_cannot_be_measured_is_said_in_its_place_and_the_next_one_is_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def entries(_plan: object, name: str, *_: object) -> Iterator[Found]:
        if name == "broken":
            raise ValueError("no such shape")
        yield Found("capacity", name, {"error_percent": 1.0})

    monkeypatch.setattr(suite, "_entries", entries)
    monkeypatch.setattr(suite, "suite_html", lambda _: "page")
    out = tmp_path / "report.html"
    before = SuiteReport(measured_as={}, settings="", fingerprint={})
    before.add(Found("left_out", "sound", {"reason": "an earlier one"}))
    before.add(Found("points", "sound 0.3", loaded("sound", 0.3, error_percent=1.0)))
    monkeypatch.setattr(suite, "_new_report", lambda _: before)
    plan = suite.SuitePlan(scenario="s", models=("broken", "sound"), duration_s=1.0, options=OPTIONS)
    report, unwritten = suite.run_suite(plan, out, resume=False, say=lambda _: None)
    assert unwritten is None
    assert report.left_out == {"broken": {"reason": "ValueError: no such shape"}}
    assert report.capacity == {"sound": {"error_percent": 1.0}}
    assert json.loads(out.with_suffix(".json").read_text(encoding="utf-8")) == report.to_dict()
