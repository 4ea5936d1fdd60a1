"""`perfplan sweep`: its rows are the commands' answers, it goes on after every end, on cores and clusters."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.planning.sweep.answer import named_column
from perfmodel.report.columns import columns_of

QUICK = ["simulation.min_queries=5000", "simulation.max_queries=5000", "simulation.precision=0.5"]
FEW = [part for setting in QUICK for part in ("--set", setting)]
SWEEP = ["sweep", "ncf_skylake", *FEW, "--jobs", "1"]
BATCHES = ["--over", "policy.batch_size=64,128"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.thorough_cases("capacity", "predict")
@pytest.mark.parametrize("question", ["predict", "capacity", pytest.param("tune", marks=pytest.mark.slow)])
def test_a_row_is_the_answer_of_the_command(question: str, capsys: pytest.CaptureFixture[str]) -> None:
    key, values = ("node.cores", [20, 40]) if question == "tune" else ("policy.batch_size", [64, 128])
    over = f"{key}={values[0]},{values[1]}"
    code, document = ask(capsys, *SWEEP, "--over", over, "--question", question)
    assert code == 0
    assert [row[key] for row in document["rows"]] == values
    known = [*columns_of(question), key, "exit_code"]
    for row in document["rows"]:
        for name in (name for name, value in row.items() if type(value) in (int, float)):
            assert named_column(name, known, "--metric"), (
                "what a row has could be named before it was computed"
            )
        setting = f"{key}={row[key]}"
        alone, answer = ask(capsys, question, "-s", "ncf_skylake", *FEW, "--set", setting)
        assert row["exit_code"] == alone
        metrics = answer["tuned"] if question == "tune" else answer
        prefix = "tuned." if question == "tune" else ""
        assert row[f"{prefix}latency_bounded_qps"] == metrics["latency_bounded_qps"]
        assert row[f"{prefix}qps_per_w"] == metrics["qps_per_w"]
        if question != "tune":
            assert row["latency_ms.p95"] == answer["latency_ms"]["p95"]


@pytest.mark.thorough
def test_points_without_an_answer_are_rows_with_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.csv"
    keys = ["--over", "policy.batch_size=64,0,5000", "--over", "traffic.arrivals.rate_qps=100,1e7"]
    huge = ["--set", "traffic.query_sizes={distribution: fixed, num_items: 5000}"]
    assert main([*SWEEP, *keys, *huge, "--out", str(out)]) == 0
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    codes = [row["exit_code"] for row in rows]
    assert codes[1:] == ["4", "2", "2", "5", "5"]
    assert rows[1]["reason"].startswith("unstable: cpu: the load needs")
    assert rows[2]["reason"] == "--over policy.batch_size: expected a whole number >= 1, got 0"
    assert "outside the calibrated range" in rows[4]["reason"]
    assert rows[2]["verdict"] == "", "what does not exist is empty"
    page = capsys.readouterr().out
    assert "no answer at points 3, 4: exit 2" in page
    assert list(tmp_path.glob("*.unfinished")) == [], "nothing is left of a sweep that is over"


def test_a_sweep_without_any_answer_ends_as_its_first_point(capsys: pytest.CaptureFixture[str]) -> None:
    huge = ["--set", "traffic.query_sizes={distribution: fixed, num_items: 9000}"]
    code, document = ask(capsys, *SWEEP, *huge, "--over", "policy.batch_size=5000,6000")
    assert code == 5
    assert document["answered"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "at least one --over"),
        (["--over", "policy.batchsize=1,2"], "did you mean 'batch_size'"),
        ([*BATCHES, "--pareto", "latency,qqps"], "--pareto: no metric 'qqps'"),
        ([*BATCHES, "--out", "table.xls"], "ends in .csv, .parquet or .json"),
        ([*BATCHES, "--out", "none/table.csv"], "cannot be written"),
        ([*BATCHES, "--plot", "plot.gif"], "ends in .svg, .png or .pdf"),
        ([*BATCHES, "--backend", "dask"], "expected --address"),
        ([*BATCHES, "--address", "tcp://127.0.0.1:1"], "expected --backend dask"),
        ([*BATCHES, "--scenario", "ncf_skylake"], "expected one scenario, got 2"),
        ([*BATCHES, "--metric", "qps"], "expected --plot"),
        ([*BATCHES, "--metric", "late_ms", "--plot", "plot.svg"], "--metric: no metric 'late_ms'"),
        ([*BATCHES, "--pareto", "p95,qps"], "--pareto: p95 may be latency_ms.p95, node_latency_ms.p95"),
        (
            [*BATCHES, "--over", "node.cores=1..20+1", "--plot", "plot.svg"],
            "expected at most 10 lines, got 20",
        ),
        ([*BATCHES, "--question", "tune"], "--over policy.batch_size: tune looks for it"),
        (
            ["--over", "traffic.arrivals.rate_qps=9,99", "--question", "capacity"],
            "capacity looks for it, and would answer the same at every point; --question predict",
        ),
    ],
)
def test_mistakes_are_one_line_before_any_point_is_answered(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answered(*_: object, **__: object) -> None:
        raise AssertionError("points were answered first")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("perfmodel.cli.sweep.answer_points", answered)
    assert main([*SWEEP, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[-1]


@pytest.mark.thorough
def test_all_files_hold_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SWEEP, *BATCHES, "--pareto", "latency,qps_per_w"]
    names = ["t.csv", "t.json", *(["t.parquet"] if find_spec("pyarrow") else [])]
    for name in names:
        assert main([*arguments, "--out", str(tmp_path / name), "--plot", str(tmp_path / "plot.svg")]) == 0
    capsys.readouterr()
    rows = json.loads((tmp_path / "t.json").read_text())["rows"]
    with (tmp_path / "t.csv").open() as file:
        from_csv = list(csv.DictReader(file))
    for row, cells in zip(rows, from_csv, strict=True):
        assert list(cells) == list(row)
        assert [float(cells["latency_ms.p95"]), cells["pareto"]] == [
            row["latency_ms.p95"],
            str(row["pareto"]).lower(),
        ]
    if "t.parquet" in names:
        from pyarrow import parquet

        assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == rows
    assert any(row["pareto"] for row in rows)
    assert (tmp_path / "plot.svg").read_text().count("<svg") == 1


@pytest.mark.thorough
def test_python_gets_the_rows_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    answer = perfmodel.sweep("ncf_skylake", {"policy.batch_size": [64, 128]}, overrides=QUICK)
    _, document = ask(capsys, *SWEEP, *BATCHES)
    assert json.loads(json.dumps(answer.to_dict())) == document


@pytest.mark.thorough
def test_fleets_are_swept_too(capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["--over", "services.feed.demand.growth=1,1.5,-1"]
    code, document = ask(capsys, "sweep", "two_services", *keys, "--jobs", "1")
    assert (code, document["question"]) == (0, "plan")
    rows = document["rows"]
    assert [row["exit_code"] for row in rows] == [0, 0, 2]
    assert "--over services.feed.demand.growth: expected a number" in rows[2]["reason"]
    for row in rows[:2]:
        growth = f"services.feed.demand.growth={row['services.feed.demand.growth']}"
        alone, plan = ask(capsys, "plan", "two_services", "--set", growth)
        assert row["exit_code"] == alone
        assert row["static.num_nodes"] == plan["static"]["num_nodes"]
        assert row["static.power_w"] == plan["static"]["power_w"]
    assert main(["sweep", "two_services", *keys, "--question", "tune"]) == 2
    assert main([*SWEEP, *BATCHES, "--question", "plan"]) == 2


@pytest.mark.thorough
def test_predict_does_not_import_what_only_sweeps_need() -> None:
    unwanted = "{'joblib', 'distributed', 'pyarrow'}"
    code = f"import sys, perfmodel.cli.predict; sys.exit(not {unwanted}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


COMMAND = [sys.executable, "-m", "perfmodel.cli.main"]


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_table(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    out, whole = tmp_path / "table.csv", tmp_path / "whole.csv"
    sweep = [*COMMAND, "sweep", "ncf_skylake", *FEW, "--over", "traffic.arrivals.rate_qps=100..4000+100"]
    subprocess.run([*sweep, "--jobs", "1", "--out", str(whole)], check=True, capture_output=True)
    journal, kills = tmp_path / "table.csv.unfinished", 0
    moments = random.Random(13)

    def finished() -> int:
        return journal.read_bytes().count(b'"point"') if journal.exists() else 0

    while not out.exists():
        process = subprocess.Popen([*sweep, "--jobs", "2", "--out", str(out)], stderr=subprocess.DEVNULL)
        before, wanted = finished(), moments.randrange(4, 16)
        while process.poll() is None and finished() < before + wanted:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        assert out.exists() or finished() >= before, "what was finished stays so"
        assert kills < 40
    assert kills > 0, "too fast to be killed"
    subprocess.run([*sweep, "--jobs", "2", "--out", str(out)], check=True, capture_output=True)
    assert out.read_text() == whole.read_text(), "never half-written, and no point lost or twice"
    assert not journal.exists()
    time.sleep(2.0)
    workers = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"{sys.executable} -m joblib" not in workers, "no worker outlives its sweep"


@contextmanager
def local_cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, processes of their own; its address and the workers."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    port = random.Random(os.getpid()).randrange(20_000, 60_000)
    address = f"tcp://127.0.0.1:{port}"
    scheduler = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--no-dashboard",
        ],
        **quiet,  # type: ignore[call-overload]
    )
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(2):
            workers.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "distributed.cli.dask_worker",
                        address,
                        "--nthreads",
                        "1",
                        "--no-nanny",
                        "--no-dashboard",
                    ],
                    **quiet,  # type: ignore[call-overload]
                )
            )
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_loses_no_point_and_doubles_none(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    keys = ["--over", "traffic.arrivals.rate_qps=100..6000+100"]
    whole = tmp_path / "whole.json"
    sweep = [*COMMAND, "sweep", "ncf_skylake", *FEW, *keys]
    subprocess.run([*sweep, "--jobs", "1", "--out", str(whole)], check=True, capture_output=True)
    out, journal = tmp_path / "table.json", tmp_path / "table.json.unfinished"
    with local_cluster() as (address, workers):
        with distributed.Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=120)
        process = subprocess.Popen(
            [*sweep, "--backend", "dask", "--address", address, "--out", str(out)], stdout=subprocess.DEVNULL
        )
        seen = Counter[str]()
        while process.poll() is None:
            time.sleep(0.01)
            if journal.exists():
                lines = [line for line in journal.read_bytes().split(b"\n") if line.endswith(b"}")]
                seen = Counter(json.loads(line).get("point", "") for line in lines)
                if len(seen) > 10 and workers[0].poll() is None:
                    workers[0].send_signal(signal.SIGKILL)
        assert process.returncode == 0
        assert workers[0].poll() is not None, "a worker was killed in the middle"
    assert json.loads(out.read_text())["rows"] == json.loads(whole.read_text())["rows"]
    assert max(seen.values()) == 1, "no point was written down twice"


def test_a_scheduler_that_does_not_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    arguments = ["sweep", "ncf_skylake", *FEW, *BATCHES, "--backend", "dask", "--address", "nonsense"]
    assert main(arguments) == 2
    assert "no Dask scheduler answers" in capsys.readouterr().err
