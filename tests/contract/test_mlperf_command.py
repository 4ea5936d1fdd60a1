"""`perfplan mlperf`: exit codes, keys, and which of several targets counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from tests.golden.scenarios import QUICK

FEW = [part for setting in QUICK for part in ("--set", setting)]
V2 = "mlperf_dlrm_v2_skylake"


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["mlperf", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.thorough
def test_a_target_that_may_be_either_ends_in_6_and_names_what_decides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, answer = ask(capsys, V2, *FEW, "--target-qps", "40")
    assert (code, answer["result"], answer["verdict"]) == (6, "undecided", "within_error")
    assert (answer["target_latency_ms"], answer["min_duration_s"], answer["run_queries"]) == (60, 600, 24_000)
    assert answer["early_stopping"]["most_late"] == 204
    assert answer["early_stopping"]["expected_late"] < 204
    assert answer["deciding"]["command"].startswith("perfplan calibrate")
    assert 40 < answer["largest_valid_qps"] < 60


@pytest.mark.thorough
def test_the_first_dlrm_is_asked_for_30_ms_and_its_own_count(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, "mlperf_dlrm_skylake", *FEW, "--target-qps", "400")
    assert (code, answer["result"], answer["benchmark"]) == (0, "VALID", "dlrm")
    assert (answer["target_latency_ms"], answer["min_queries"], answer["run_queries"]) == (
        30,
        270_336,
        270_336,
    )


@pytest.mark.thorough
def test_a_far_target_is_invalid_and_beyond_the_node_unstable(capsys: pytest.CaptureFixture[str]) -> None:
    sla = ["--set", "sla.confidence=0.6"]
    code, answer = ask(capsys, V2, *FEW, *sla, "--target-qps", "90")
    assert (code, answer["result"]) == (3, "INVALID")
    code, answer = ask(capsys, V2, *FEW, *sla, "--target-qps", "900")
    assert (code, answer["result"], answer["verdict"]) == (4, "INVALID", "unstable")
    assert answer["latency_ms"]["p99"] is None


@pytest.mark.thorough
def test_a_later_file_and_the_option_go_before_what_loadgen_brings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = tmp_path / "user.conf"
    user.write_text("dlrm-v2.Server.target_qps = 7\n*.Server.min_duration = 120000\n")
    _, answer = ask(capsys, V2, *FEW, "--conf", str(user))
    assert (answer["target_qps"], answer["run_queries"], answer["target_latency_ms"]) == (7, 840, 60)
    _, answer = ask(capsys, V2, *FEW, "--conf", str(user), "--target-qps", "20")
    assert (answer["target_qps"], answer["run_queries"]) == (20, 2400)
    _, answer = ask(capsys, V2, *FEW)
    assert answer["target_qps"] == 8, "the scenario's where no file says"


@pytest.mark.thorough
def test_offline_says_how_many_samples_and_from_which_target_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, V2, "--loadgen-scenario", "offline", "--target-qps", "300")
    assert (code, answer["result"], answer["run_queries"]) == (0, "VALID", 198_000)
    assert answer["latency_ms"] is None
    assert answer["least_target_qps"] == pytest.approx(answer["largest_valid_qps"] / 1.1)
    code, answer = ask(capsys, V2, "--loadgen-scenario", "offline", "--target-qps", "30")
    assert (code, answer["run_queries"]) == (3, 24_576), "the fewest that mlperf.conf asks for"
    assert "24,576 samples take" in answer["reason"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rm3_skylake"], "benchmark: expected dlrm, dlrm-v2, dlrm-v3, or one that a --conf file names"),
        ([V2, "--target-qps", "0"], "--target-qps: expected a rate > 0, got 0"),
        (["wnd_broadwell_trace", "--benchmark", "dlrm"], "LoadGen draws its own arrivals"),
        ([V2, "--conf", "none.conf"], "none.conf: cannot read the file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mlperf", *arguments]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.splitlines()) == 1
