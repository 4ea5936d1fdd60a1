"""Every mistake is one line on stderr that says where, what, and what was expected; exit code 2."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from perfmodel.cli.main import main

HUGE = "99999999999999999999999"
LONG = "x" * 300


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must refuse its input; return its one line."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert len(lines[0]) < 500
    return lines[0]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("predict -s rm3_skylake -s rm3_broadwell", "--scenario: given 2 times; expected one value"),
        ("latency -m ncf -b 1 -b 2 --on skylake", "--batch: given 2 times; expected one value"),
        ("fleet -s rm1_skylake -n 1 --nodes 2", "--nodes: given 2 times; expected one value"),
        ("tune -s rm1_skylake --objective qps --objective qps", "--objective: given 2 times"),
        ("predict", "expected a scenario, such as rm3_skylake"),
        ("nosuch", "Error: No such command 'nosuch' (perfplan --help)"),
        ("list nosuch", "Error: Invalid value for '[TOPIC]': 'nosuch' is not one of 'models', 'profiles'"),
        ("predict -s nofile.yaml", "the scenario file 'nofile.yaml' does not exist"),
        ("latency -m nofile.yaml --on skylake", "the model file 'nofile.yaml' does not exist"),
        ("predict -s rm3", "unknown scenario 'rm3'; did you mean 'rm3_amd_epyc_turin_2c' or 'rm3_broadwell'"),
        (f"predict -s {LONG}", "unknown scenario 'xxx"),
        (f"predict -s {LONG}.yaml", "the scenario file 'xxx"),
        ("predict -s " + "a/" * 5000, "expected a scenario file, found none at …"),
        (f"predict -s rm1_skylake --set model={LONG}", "--set model: unknown model 'xxx"),
        (f"predict -s rm1_skylake --set {LONG}", "--set xxx"),
        (f"predict -s rm1_skylake --policy {LONG}", "--policy: no policy 'xxx"),
        (f"predict -s rm1_skylake --policy-file {LONG}", "--policy-file: expected a Python file, found none"),
        ("latency -m dlrm-v2 --on gtx1080ti", "--on: dlrm-v2 does not fit gtx1080ti: needs"),
        (f"latency -m ncf --on skylake -b {HUGE}", "--batch: expected at most 1_000_000_000, got"),
        ("latency -m ncf --on skylake -b " + "9" * 5000, "--batch: expected at most 1_000_000_000, got"),
        ("latency -m ncf --on skylake -b 0", "--batch: expected whole numbers from 1 up, such as 16,32,64"),
        (f"latency -m ncf --on skylake --co-located {HUGE}", "--co-located: expected 1 to"),
        (f"tune -s rm1_skylake --batch-sizes {HUGE}", "--batch-sizes: expected at most 1_000_000_000, got"),
        (f"tune -s rm1_skylake --static-batch {HUGE}", "Error: Invalid value for '--static-batch'"),
        (f"tune -s rm1_broadwell_gtx1080ti --thresholds {HUGE}", "--thresholds: expected at most"),
        ("tune -s rm1_skylake --thresholds 5", "--thresholds: rm1_skylake has no accelerator"),
        ("tune -s rm1_skylake --batch-sizes 4,2", "--batch-sizes: expected ascending whole numbers"),
        ("fleet -s rm1_skylake -n 1 --qps inf", "--qps: expected a rate from 1e-06 to 1e+12, got inf"),
        ("fleet -s rm1_skylake -n 1 --qps nan", "--qps: expected a rate > 0, got nan"),
        ("fleet -s rm1_skylake -n 1 --qps 1e-9", "--qps: expected a rate from 1e-06 to 1e+12, got 1e-09"),
        ("predict rm3_skylake --set node.cores=4 --set node.cores=5", "--set node.cores: given twice"),
        ("sweep rm3_skylake --over node.cores=4,5 --set node.cores=6", "--set node.cores: expected no value"),
        ("fleet -s rm1_skylake -n 1 --qps -5", "--qps: expected a rate > 0, got -5"),
        (
            "fleet -s rm1_skylake -n 1 --windows 7",
            "--windows: expected arrivals that follow the time of day, got poisson",
        ),
        (
            "sweep two_services --over provision.headroom=0,0.1 --accept-uncertain",
            "--accept-uncertain: expected predict or capacity",
        ),
        (
            "sweep rm1_skylake --over sla.latency_ms=50,100 --question tune --accept-uncertain",
            "--accept-uncertain: expected predict or capacity",
        ),
        ("init some --items-per-request 40", "--items-per-request: expected --from-torchserve beside it"),
        ("report answer.json --extrapolate", "--extrapolate: expected a scenario or a fleet; an answer is"),
        ("report answer.json --mixed-stacks", "--mixed-stacks: expected a scenario or a fleet; an answer is"),
        (f"fleet -s rm1_skylake -n {HUGE}", "Error: Invalid value for '--nodes' / '-n'"),
        (f"fleet -s rm1_skylake -n 1 --windows {HUGE}", "Error: Invalid value for '--windows'"),
        (f"fleet -s rm1_skylake -n 1 --also rm1_skylake={HUGE}", "--also: expected SCENARIO=N with N from 1"),
    ],
)
def test_a_mistake_is_one_line(command: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *command.split()).startswith(expected)


def test_choices_of_several_kinds_of_node_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "predict", "rm3_skylake", "--set", "node.scatter={}")
    assert said.endswith(": expected one of lognormal, factors, exponential")


def test_options_that_may_be_repeated_still_may(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["latency", "-m", "ncf", "--on", "skylake", "-b", "1", "--json", "--json"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("{")


def test_a_whole_number_with_a_point_is_told_how_to_write_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "name: m\noperators:\n"
        "  - {name: e, kind: embedding_bag, tables: [{num_rows: 1000000.0, dim: 8}]}\n"
        "  - {name: f, kind: activation, input: e, function: relu}\n"
    )
    line = refused(capsys, "latency", "-m", str(file), "--on", "skylake")
    assert line.startswith(f"{file}:3:56: ")
    assert line.endswith("num_rows: expected a whole number >= 1, got 1000000.0 (write 1000000)")


def test_a_whole_number_may_be_written_with_an_exponent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for rows in ("1e6", "1000000"):
        file = tmp_path / "m.yaml"
        file.write_text(
            "name: m\noperators:\n"
            f"  - {{name: e, kind: embedding_bag, tables: [{{num_rows: {rows}, dim: 8}}]}}\n"
            "  - {name: f, kind: activation, input: e, function: relu}\n"
        )
        assert main(["latency", "-m", str(file), "--on", "skylake", "--batch", "1e1"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] != ""


@pytest.mark.parametrize("function", ["gelu", "silu"])
def test_activations_of_transformers_cost_what_others_do(
    function: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = []
    for each in (function, "tanh"):
        file = tmp_path / f"{each}.yaml"
        layer = f"{{name: f, kind: fc, input: dense, widths: [256, 64], activation: {each}}}"
        file.write_text(f"name: m\ndense_features: 256\noperators:\n  - {layer}\n")
        assert main(["latency", "-m", str(file), "--on", "skylake", "--json"]) == 0
        times.append([row["latency_ms"] for row in json.loads(capsys.readouterr().out)["rows"]])
    assert times[0] == times[1]


def test_a_function_that_no_layer_has_is_told_where_it_belongs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.yaml"
    layer = "{name: f, kind: fc, input: dense, widths: [4, 1], activation: mish}"
    file.write_text(f"name: m\ndense_features: 4\noperators:\n  - {layer}\n")
    line = refused(capsys, "latency", "-m", str(file), "--on", "skylake")
    assert line.endswith("an operator of its own does it: {kind: elementwise, function: mish}")
    assert "did you mean" not in line


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"\xff\xfe" + "model: ncf\n".encode("utf-16-le")),
        lambda path: path.write_text("model: [" + "1, " * 4_000_000),
        lambda path: path.write_bytes(os.urandom(2000)),
        lambda path: path.write_text(""),
    ],
    ids=["directory", "utf-16", "large", "noise", "empty"],
)
@pytest.mark.parametrize("command", ["predict -s", "latency --on skylake -m", "latency -m ncf --on"])
def test_a_file_that_is_none_is_refused_in_a_line(
    make: object, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.yaml"
    assert callable(make)
    make(path)
    assert str(path) in refused(capsys, *command.split(), str(path))


def test_a_trace_too_short_for_an_interval_is_refused_at_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "short.csv"
    trace.write_text("arrival_s\n1\n2\n")
    override = f"traffic.arrivals={{process: trace, file: {trace}}}"
    line = refused(capsys, "predict", "-s", "rm1_skylake", "--set", override)
    assert line == "--set traffic.arrivals: file: expected a trace of at least 200 queries, found 2"


def test_a_policy_of_ten_megabytes_is_refused_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    pass\n" * 480_000)
    line = refused(capsys, "predict", "-s", "rm1_skylake", "--policy-file", str(file))
    assert line.endswith("mine.py:1:1: the file has 10.1 MB; expected at most 1 MB")
