"""Every shipped scenario is an example: it runs, and answers with all keys that scripts rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.loading.shipped import shipped_names
from tests.golden.scenarios import EACH_KIND

QUICK = [
    "--set",
    "simulation.min_queries=20000",
    "--set",
    "simulation.max_queries=20000",
    "--set",
    "simulation.precision=0.2",
]
PREDICT_KEYS = {
    "verdict",
    "offered_qps",
    "throughput_qps",
    "throughput_items_per_s",
    "utilisation",
    "latency_ms",
    "latency_ci95_ms",
    "latency_bounded_qps",
    "power_w",
    "qps_per_w",
    "service_time_ms",
    "operators",
    "basis",
    "simulated_queries",
}
OPERATOR_KEYS = {"name", "kind", "scope", "time_ms", "share", "bound", "basis"}


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.thorough_cases(
    "rm3_amd_epyc_turin_2c", "wnd_broadwell_gtx1080ti_batching", "rm1_broadwell_gtx1080ti"
)
@pytest.mark.parametrize(
    "name",
    [
        name if name in EACH_KIND else pytest.param(name, marks=pytest.mark.slow)
        for name in shipped_names("scenario")
        if "overloaded" not in name
    ],
)
def test_a_shipped_scenario_meets_its_sla(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    long_enough = [] if "bursty" in name else QUICK  # for thirty bursts
    code, answer = ask(capsys, "predict", "--scenario", name, *long_enough, "--accept-uncertain")
    assert (code, answer["verdict"]) == (0, "meets_sla")
    assert 0.5 <= answer["sla_probability"] <= 1.0
    assert answer.keys() >= PREDICT_KEYS
    operators = answer["operators"] or answer["accelerator_operators"]  # where the cores have nothing to do
    assert all(operator.keys() >= OPERATOR_KEYS for operator in operators)
    by_table = answer["node"]["service_times"] is not None  # which does not say where the time goes
    assert sum(operator["share"] for operator in operators) == pytest.approx(0.0 if by_table else 1.0)
    latency, intervals = answer["latency_ms"], answer["latency_ci95_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    for percentile, (low, high) in intervals.items():
        assert low <= latency[percentile] <= (float("inf") if high is None else high)
    assert answer["throughput_qps"] == pytest.approx(answer["offered_qps"], rel=0.05)
    assert answer["qps_per_w"] == pytest.approx(answer["throughput_qps"] / answer["power_w"])


@pytest.mark.thorough
def test_an_overload_is_refused_before_simulating_with_its_utilisation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, answer = ask(capsys, "predict", "--scenario", "rm1_broadwell_overloaded")
    assert (code, answer["verdict"], answer["simulated_queries"]) == (4, "unstable", 0)
    assert answer["utilisation"]["cpu"] >= 1
    assert set(answer["latency_ms"].values()) == {None}
    assert answer["throughput_qps"] is None


def test_a_load_beyond_the_sla_exits_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = ask(capsys, "predict", "--scenario", "rm3_skylake", "--set", "sla.latency_ms=5", *QUICK)
    assert (code, answer["verdict"]) == (3, "misses_sla")


@pytest.mark.thorough
def test_between_both_claims_nothing_is_claimed_and_what_would_decide_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    question = ["predict", "--scenario", "rm3_skylake", "--set", "sla.latency_ms=12", *QUICK]
    code, answer = ask(capsys, *question)
    assert (code, answer["verdict"]) == (6, "within_error")
    assert 0.1 < answer["sla_probability"] < 0.9
    decides = answer["would_decide"]
    assert decides["error"] == "service times"
    assert "perfplan calibrate" in decides["command"]
    assert decides["error_then"] < decides["error_now"]
    code, answer = ask(capsys, *question, "--accept-uncertain")
    assert (code, answer["verdict"]) in ((0, "meets_sla"), (3, "misses_sla"))
    assert answer["would_decide"] is None


@pytest.mark.thorough
def test_a_probability_below_the_confidence_asked_is_no_claim(capsys: pytest.CaptureFixture[str]) -> None:
    question = ["predict", "--scenario", "rm3_skylake", "--set", "traffic.arrivals.rate_qps=1000", *QUICK]
    verdicts = {
        confidence: ask(capsys, *question, "--set", f"sla.confidence={confidence}")[1]["verdict"]
        for confidence in (0.6, 0.99)
    }
    assert verdicts == {0.6: "meets_sla", 0.99: "within_error"}


def test_an_sla_below_the_unloaded_latency_has_no_load(capsys: pytest.CaptureFixture[str]) -> None:
    _, answer = ask(capsys, "predict", "--scenario", "rm3_skylake", "--set", "sla.latency_ms=1", *QUICK)
    assert answer["latency_bounded_qps"] is None


@pytest.mark.thorough
def test_batches_beyond_the_calibrated_range_exit_with_5_unless_extrapolated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    large = ["--set", "policy.batch_size=4096", "--set", "sla.latency_ms=900"]
    sizes = ["--set", "traffic.query_sizes={distribution: fixed, num_items: 3000}"]
    rate = ["--set", "traffic.arrivals.rate_qps=20"]
    question = ["predict", "--scenario", "rm3_skylake", *large, *sizes, *rate, *QUICK]
    assert main(question) == 5
    assert "1 to 256" in capsys.readouterr().err
    code, answer = ask(capsys, *question, "--extrapolate")
    assert (code, answer["basis"]) == (0, "extrapolated")


def test_a_model_that_does_not_fit_the_accelerator_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    change = ["--set", "node.accelerators=[gtx1080ti]", "--set", "policy.offload_threshold_items=100"]
    assert main(["predict", "--scenario", "mlperf_dlrm_v2_skylake", *change]) == 2
    assert "dlrm-v2 does not fit gtx1080ti" in capsys.readouterr().err


@pytest.mark.thorough
def test_the_same_question_has_the_same_bytes_for_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for _ in range(2):
        main(["predict", "--scenario", "din_broadwell", "--json", *QUICK])
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


@pytest.mark.thorough
def test_the_terminal_page_says_the_verdict_and_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", "--scenario", "rm3_skylake", *QUICK])
    page = capsys.readouterr().out
    assert "meets the SLA: p95 is " in page
    assert "95 % confidence" in page


def test_latency_answers_with_a_row_for_each_batch(capsys: pytest.CaptureFixture[str]) -> None:
    question = ["latency", "--model", "dlrm-rmc3", "--on", "skylake", "--batch", "1,16,64"]
    code, answer = ask(capsys, *question)
    assert code == 0
    assert [row["batch_size"] for row in answer["rows"]] == [1, 16, 64]
    assert all(row.keys() >= {"latency_ms", "basis", "operators"} for row in answer["rows"])
    assert [row["latency_ms"] for row in answer["rows"]] == sorted(
        row["latency_ms"] for row in answer["rows"]
    )


def test_co_located_copies_slow_each_other_down(capsys: pytest.CaptureFixture[str]) -> None:
    question = ["latency", "--model", "hpca-rmc3", "--on", "broadwell", "--batch", "32"]
    _, alone = ask(capsys, *question)
    _, beside = ask(capsys, *question, "--co-located", "8")
    assert beside["rows"][0]["latency_ms"] > 1.3 * alone["rows"][0]["latency_ms"]


@pytest.mark.parametrize("model", ["hpca-rmc1", "dlrm-rmc1"])
def test_a_model_takes_the_stack_it_was_published_with(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, answer = ask(capsys, "latency", "--model", model, "--on", "broadwell", "--batch", "1")
    assert answer["stack"] == {"hpca-rmc1": "hpca2020", "dlrm-rmc1": "deeprecsys-isca2020"}[model]
    _, named = ask(capsys, "latency", "--model", model, "--on", "broadwell@hpca2020", "--batch", "1")
    assert named["stack"] == "hpca2020"
