"""`perfplan tune`: its keys, its exit codes, and that what it says to set carries what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfmodel.cli.main import main

FEW = ["--batch-sizes", "128,192,256", "--static-batch", "64"]
QUICK = [
    "--set",
    "simulation.min_queries=50000",
    "--set",
    "simulation.max_queries=50000",
    "--set",
    "simulation.precision=0.1",
]
POINT = {"batch_size", "offload_threshold_items", "latency_bounded_qps", "qps_per_w"}


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.thorough
def test_the_baseline_stays_where_service_times_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    # The largest query over two cores is 500 items; the profile knows batches of up to 256.
    small = ["tune", "ncf_skylake", "--set", "node.cores=2", "--batch-sizes", "64"]
    code, answer = ask(capsys, *small)
    assert code == 0
    assert answer["static"]["batch_size"] == 256
    assert main([*small, "--static-batch", "500"]) == 5
    assert "requests of up to 500 items" in capsys.readouterr().err


@pytest.mark.thorough
def test_batches_that_were_left_out_are_named_where_the_best_is_the_last_before_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "not tried, since skylake is calibrated for batches of 1 to 256: 512, 1024"
    _, answer = ask(capsys, "tune", "rm3_skylake", *QUICK)
    assert answer["tuned"]["batch_size"] == 256
    (note,) = [note for note in answer["notes"] if note.startswith(said)]
    assert note.endswith(
        "the best is the last before them, and larger ones may carry more (--extrapolate tries them)"
    )
    _, answer = ask(capsys, "tune", "rm3_skylake", *QUICK, "--batch-sizes", "128,256")
    assert not any(note.startswith("not tried") for note in answer["notes"]), "what was asked for was tried"


@pytest.mark.thorough
def test_an_answer_says_what_readers_must_know_of_the_tuned_node(capsys: pytest.CaptureFixture[str]) -> None:
    _, answer = ask(capsys, "tune", "rm2_near_memory", *QUICK, "--batch-sizes", "64")
    assert any("a request of 64 items" in note for note in answer["notes"])
    assert any(note.startswith("assumed of near memory") for note in answer["notes"])
    cards = ["--set", "node.accelerators=[gtx1080ti]", "--batch-sizes", "128", "--thresholds", "400"]
    _, answer = ask(capsys, "tune", "rm3_skylake", *QUICK, *cards)
    assert any(note.startswith("node.stack: gtx1080ti was not measured") for note in answer["notes"])
    idle = [note for note in answer["notes"] if "idle" in note]
    offloads = answer["tuned"]["offload_threshold_items"] is not None
    assert idle == ([] if offloads else ["no query is offloaded: the accelerator is paid for and idle"])


@pytest.mark.thorough
def test_a_batch_size_that_is_set_plays_no_part_and_a_line_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["tune", "ncf_skylake", "--batch-sizes", "64", "--set", "policy.batch_size=7", "--json"]
    assert main(asked) == 0
    said = capsys.readouterr()
    assert said.err == (
        "note: --set: policy.batch_size plays no part: tune searches it (--batch-sizes says what is tried)\n"
    )
    assert json.loads(said.out)["tuned"]["batch_size"] != 7


@pytest.mark.thorough
def test_what_it_says_to_set_carries_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, "tune", "-s", "ncf_broadwell", *FEW)
    assert code == 0
    rate = answer["tuned"]["latency_bounded_qps"]
    settings = [part for setting in answer["set"] for part in ("--set", setting)]
    for factor, expected in ((0.97, [0]), (1.03, [3, 4])):
        load = ["--set", f"traffic.arrivals.rate_qps={factor * rate}"]
        assert (
            main(["predict", "-s", "ncf_broadwell", *QUICK, *settings, *load, "--accept-uncertain"])
            in expected
        )
    capsys.readouterr()


@pytest.mark.thorough
def test_the_document_has_the_keys_that_scripts_rely_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, "tune", "-s", "rm3_broadwell_gtx1080ti", *FEW, "--thresholds", "1,200,400")
    assert code == 0
    assert set(answer["static"]) >= POINT
    assert set(answer["tuned"]) >= POINT
    assert all(set(tried) >= POINT - {"qps_per_w"} for tried in answer["tried"])
    assert len(answer["tried"]) == 3 * 4, "the grid, and not the baseline, which is not in it"
    static, tuned = answer["static"], answer["tuned"]
    assert static["offload_threshold_items"] is None
    assert answer["gain"] == pytest.approx(tuned["latency_bounded_qps"] / static["latency_bounded_qps"])
    assert (static["power_w"], tuned["power_w"]) == (240, 490)
    assert tuned["simulated_queries"] == 1_000_000
    assert answer["climb"]["found_optimum"]


@pytest.mark.slow
def test_three_sla_levels_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, "tune", "-s", "ncf_broadwell", *FEW, "--sla-levels")
    levels = {level["level"]: level for level in answer["sla_levels"]}
    assert code == 0
    bounds_ms = [levels[name]["sla"]["latency_ms"] for name in ("low", "medium", "high")]
    assert bounds_ms == pytest.approx([5 / 1.5, 5, 7.5])
    rates = [levels[name]["tuned"]["latency_bounded_qps"] for name in ("low", "medium", "high")]
    assert rates == sorted(rates)
    assert levels["medium"]["tuned"] == answer["tuned"]


@pytest.mark.slow
def test_the_same_question_gets_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    pages = []
    for _ in range(2):
        main(["tune", "-s", "ncf_broadwell", *FEW])
        pages.append(capsys.readouterr().out)
    assert pages[0] == pages[1]


@pytest.mark.thorough
def test_the_page_says_what_to_paste_and_how_flat_the_optimum_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "-s", "rm3_broadwell", *FEW]) == 0
    page = capsys.readouterr().out
    assert "--set policy.batch_size=" in page
    assert "--set policy.offload_threshold_items=null" in page
    assert "within 5 % of the best" in page
    assert "does not know how threads scale" in page


@pytest.mark.thorough
def test_where_no_load_meets_the_sla_there_is_nothing_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    impossible = ["--set", "sla.latency_ms=1"]
    code, answer = ask(capsys, "tune", "-s", "rm3_skylake", *FEW, *impossible)
    assert (code, answer["tuned"]["latency_bounded_qps"], answer["gain"], answer["set"]) == (
        3,
        None,
        None,
        [],
    )
    assert main(["tune", "-s", "rm3_skylake", *FEW, *impossible]) == 3
    assert "no configuration meets" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["wnd_broadwell_gtx1080ti_fusion"], "yaml:12:9: name: expected split"),
        (["rm1_broadwell_overloaded_shedding"], "shedding: expected null"),
        (["rm3_skylake", "--batch-sizes", "16,8"], "expected ascending whole numbers"),
        (["rm3_skylake", "--batch-sizes", "a"], "expected ascending whole numbers"),
        (["rm3_skylake", "--thresholds", "1"], "rm3_skylake has no accelerator"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "-s", *arguments]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.slow
def test_batches_beyond_the_calibrated_range_need_to_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    change = ["--set", "node.stack=hpca2020", "--set", "model=hpca-rmc1"]
    code, answer = ask(capsys, "tune", "-s", "rm1_broadwell", *change)
    assert max(tried["batch_size"] for tried in answer["tried"]) == 256, "where the profile ends"
    assert (code, answer["basis"]) == (0, "fitted")
    assert main(["tune", "-s", "rm1_broadwell", *change, "--batch-sizes", "64,512"]) == 5
    capsys.readouterr()
