"""Workers of several threads: Amdahl's law by kernel family, and what tuning makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfmodel.cli.main import main
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import find_profile
from perfmodel.planning.prepare import prepare
from perfmodel.sim.policies import SplitAndOffload

SCALING = """
    thread_scaling:
      fc: {value: 0.5, source: "assumed: a test"}
"""


@pytest.fixture
def threaded(tmp_path: Path) -> str:
    """Skylake's profile, its last stack knowing that half of an FC layer's time is shared out."""
    text = find_profile("skylake").path.read_text(encoding="utf-8").rstrip()
    path = tmp_path / "threaded.yaml"
    path.write_text(text + SCALING, encoding="utf-8")
    return f"{path}@deeprecsys-repository"


def test_two_threads_halve_the_parallel_half_of_an_fc_layer(threaded: str) -> None:
    settings = [f"node.cpu={threaded}"]
    one = prepare(load_scenario("rm3_skylake", settings)).node
    two = prepare(load_scenario("rm3_skylake", [*settings, "node.threads=2"])).node
    assert two.num_workers == 20
    for before, after in zip(one.cpu_time(128, 40).kernels, two.cpu_time(128, 40).kernels, strict=True):
        factor = 0.75 if before.kernel.family == "fc" else 1.0
        assert after.seconds == pytest.approx(factor * before.seconds)


def test_a_busy_worker_keeps_all_its_cores_busy(threaded: str) -> None:
    settings = [f"node.cpu={threaded}", "node.threads=4", "node.engine.input_queue_blobs=0"]
    node = prepare(load_scenario("rm3_skylake", settings)).node
    table_s = node.service_times(SplitAndOffload(batch_size=64), 64).cpu_s
    assert table_s.shape == (64, 10)
    assert table_s[63, 4] == pytest.approx(float(np.squeeze(node.cpu_time(64, 20).seconds)))


def test_threads_need_a_profile_that_knows_how_they_scale(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "-s", "rm3_skylake", "--set", "node.threads=2"]) == 2
    assert "does not know how threads scale" in capsys.readouterr().err


def test_a_worker_has_no_more_threads_than_the_node_has_cores(
    threaded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change = ["--set", f"node.cpu={threaded}", "--set", "node.threads=64"]
    assert main(["predict", "-s", "rm3_skylake", *change]) == 2
    assert "expected at most the 40 cores, got 64" in capsys.readouterr().err


@pytest.mark.thorough
def test_tune_chooses_processes_and_threads_where_the_profile_knows(
    threaded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change = ["--set", f"node.cpu={threaded}", "--set", "node.cores=8", "--set", "sla.latency_ms=15"]
    change += ["--set", "node.engine.stored_batch_items=0"]
    assert main(["tune", "-s", "rm3_skylake", *change, "--batch-sizes", "32,128", "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    workers = answer["workers"]
    tried = {row["threads"]: row["latency_bounded_qps"] for row in workers["tried"]}
    assert workers["known"]
    assert set(tried) == {1, 2, 4}
    assert answer["tuned"]["latency_bounded_qps"] == max(rate for rate in tried.values() if rate is not None)
    assert workers["processes"] * workers["threads"] == 8
    assert f"node.threads={workers['threads']}" in answer["set"]
