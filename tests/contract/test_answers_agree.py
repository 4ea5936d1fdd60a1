"""Terminal, JSON, HTML and Python show the same numbers, for every kind of answer that Python gives too."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import perfmodel
from benchmarks.observed_cases import truth, write_log
from perfmodel.cli.main import main
from perfmodel.report.console import page_text
from perfmodel.report.pages.validate import validate_html
from perfmodel.report.tables import number
from tests.golden.measured import validation
from tests.golden.pages import SIZES, USERS
from tests.golden.scenarios import QUICK

FEW = [part for setting in QUICK for part in ("--set", setting)]
SWEPT = {"policy.batch_size": [64, 128], "node.cores": [20, 40]}
OVER = ["--over", "policy.batch_size=64,128", "--over", "node.cores=20,40", "--jobs", "1"]
WIDE = 200
"""Columns of a terminal that leaves none out."""

Values = Callable[[Any], Iterator[float]]


def _capacity(found: Any) -> Iterator[float]:
    yield from (found["plan_for_qps"], found["latency_bounded_qps"])
    yield from (found["latency_ms"][key] for key in ("p50", "p95", "p99"))


def _tune(found: Any) -> Iterator[float]:
    yield from (found[key]["latency_bounded_qps"] for key in ("static", "climb", "tuned"))


def _latency(found: Any) -> Iterator[float]:
    yield from (row["latency_ms"] for row in found["rows"])


def _map(found: Any) -> Iterator[float]:
    for each in found["rows"]:
        yield from (device["latency_ms"] for device in each["devices"])


def _mlperf(found: Any) -> Iterator[float]:
    yield from (found["largest_valid_qps"], *(found["latency_ms"][key] for key in ("p50", "p95", "p99")))


def _offline(found: Any) -> Iterator[float]:
    yield from (found[key] for key in ("largest_valid_qps", "plan_for_qps", "least_target_qps"))


def _explain(found: Any) -> Iterator[float]:
    yield from (each["latency_bounded_qps"] for each in found["changes"] if each["reason"] is None)


def _diff(found: Any) -> Iterator[float]:
    for each in found["differences"]:
        yield from (each["a"], each["b"])


def _sweep(found: Any) -> Iterator[float]:
    for row in found["rows"]:
        yield from (row["sla.predicted_ms"], row["plan_for_qps"], row["latency_bounded_qps"])


def _stages(found: Any) -> Iterator[float]:
    yield from (found[key]["latency_bounded_qps"] for key in ("static", "tuned"))


def _plan(found: Any) -> Iterator[float]:
    yield from (found["static"]["num_nodes"], found["static"]["price_usd_per_h"])
    for hour in found["hours"]:
        yield from (sum(hour["demand_qps"].values()), hour["num_nodes"], hour["price_usd_per_h"])


def _trace(found: Any) -> Iterator[float]:
    yield from (found["sizes_items"][key] for key in ("mean", "p50", "p95", "p99", "max"))


def _observe(found: Any) -> Iterator[float]:
    yield from (found["traffic"]["rate_qps"]["value"], found["plan_for_qps"])
    yield from (row["service_ms"] for row in found["service_times"])
    yield from (found["replay"]["whole"]["measured_ms"][key] for key in ("mean", "p95", "p99"))


def _predict(found: Any) -> Iterator[float]:
    yield from (found["plan_for_qps"], found["latency_bounded_qps"])
    yield from (found["latency_ms"][key] for key in ("mean", "p50", "p95", "p99"))
    for stage in found["pipeline"]["stages"] if found["pipeline"] else ():
        yield from (stage["latency_ms"][key] for key in ("p95", "p99"))


def _users(found: Any) -> Iterator[float]:
    yield from (found["plan_for_users"], found["latency_bounded_users"])
    yield from (found["latency_ms"][key] for key in ("p50", "p95", "p99"))


def _deeprecsys(found: Any) -> Iterator[float]:
    yield from (row["latency_bounded_qps"] for row in found["rows"])


def _reproduce(found: Any) -> Iterator[float]:
    for section in found["sections"]:
        for row in section["rows"]:
            if not row["detail"]:  # which a terminal leaves out
                yield from (row["predicted"], row["published"])


def _validate(found: Any) -> Iterator[float]:
    for side in ("measured", "predicted"):
        yield from (found[side]["latency_ms"][key] for key in ("p50", "p95", "p99"))
        yield found[side]["throughput_qps"]
    for row in found["service_time_by_batch"]:
        yield from (row["measured_ms"], row["predicted_ms"])


def _fleet(found: Any) -> Iterator[float]:
    for window in found["windows"]:
        yield from (window["offered_qps"], *(window["latency_ms"][key] for key in ("p50", "p95", "p99")))


CASES: dict[str, tuple[Callable[[], Any], list[str], Values]] = {
    "capacity": (
        lambda: perfmodel.capacity("ncf_skylake", overrides=QUICK),
        ["capacity", "ncf_skylake", *FEW],
        _capacity,
    ),
    "tune": (
        lambda: perfmodel.tune("ncf_skylake", overrides=QUICK, batch_sizes=[32, 128]),
        ["tune", "ncf_skylake", *FEW, "--batch-sizes", "32,128"],
        _tune,
    ),
    "latency": (
        lambda: perfmodel.latency("dlrm-rmc3", on="skylake", batch_sizes=[1, 64]),
        ["latency", "-m", "dlrm-rmc3", "--on", "skylake", "-b", "1,64"],
        _latency,
    ),
    "map": (
        lambda: perfmodel.map_devices(["dlrm-rmc1", "wnd"], ["broadwell", "gtx1080ti"], [1, 64]),
        ["map", "-m", "dlrm-rmc1,wnd", "--on", "broadwell,gtx1080ti", "-b", "1,64"],
        _map,
    ),
    "mlperf": (
        lambda: perfmodel.mlperf("mlperf_dlrm_v2_skylake", 40.0, overrides=QUICK),
        ["mlperf", "mlperf_dlrm_v2_skylake", "--target-qps", "40", *FEW],
        _mlperf,
    ),
    "explain": (
        lambda: perfmodel.explain("wnd_broadwell", overrides=QUICK),
        ["explain", "wnd_broadwell", *FEW],
        _explain,
    ),
    "diff": (
        lambda: perfmodel.diff("rm3_skylake", "rm3_broadwell", overrides=QUICK),
        ["diff", "rm3_skylake", "rm3_broadwell", *FEW],
        _diff,
    ),
    "sweep": (
        lambda: perfmodel.sweep("rm3_skylake", SWEPT, question="predict", overrides=QUICK),
        ["sweep", "rm3_skylake", *FEW, *OVER],
        _sweep,
    ),
    "tune-stages": (
        lambda: perfmodel.tune_stages("ranking_two_stages", overrides=QUICK, sub_batches=[1, 4]),
        ["tune", "ranking_two_stages", *FEW, "--sub-batches", "1,4"],
        _stages,
    ),
    "plan": (
        lambda: perfmodel.plan("two_services", simulate=False),
        ["plan", "two_services", "--no-simulate", "--no-sla-curves"],
        _plan,
    ),
    "fleet": (
        lambda: perfmodel.fleet("rm1_broadwell_diurnal", 3, windows=4, overrides=QUICK),
        ["fleet", "rm1_broadwell_diurnal", "-n", "3", "--windows", "4", *FEW],
        _fleet,
    ),
    "predict": (
        lambda: perfmodel.predict("rm1_broadwell_gtx1080ti", overrides=QUICK),
        ["predict", "rm1_broadwell_gtx1080ti", *FEW],
        _predict,
    ),
    "pipeline": (
        lambda: perfmodel.predict("ranking_two_stages", overrides=QUICK),
        ["predict", "ranking_two_stages", *FEW],
        _predict,
    ),
    "users": (
        lambda: perfmodel.capacity("rm3_skylake", overrides=[*QUICK, USERS]),
        ["capacity", "rm3_skylake", *FEW, "--set", USERS],
        _users,
    ),
    "offline": (
        lambda: perfmodel.mlperf("mlperf_dlrm_v2_skylake", loadgen_scenario="Offline", overrides=QUICK),
        ["mlperf", "mlperf_dlrm_v2_skylake", "--loadgen-scenario", "offline", *FEW],
        _offline,
    ),
    "observe": (
        lambda: perfmodel.observe("log.csv", sla_ms=40),
        ["observe", "log.csv", "--sla-ms", "40"],
        _observe,
    ),
    "deeprecsys": (
        lambda: perfmodel.deeprecsys("rm1_broadwell_gtx1080ti", overrides=QUICK),
        ["tune", "rm1_broadwell_gtx1080ti", "--deeprecsys-mode", *FEW],
        _deeprecsys,
    ),
    "trace": (lambda: perfmodel.trace(SIZES), ["trace", "show", str(SIZES)], _trace),
}


MINUTES = ["deeprecsys"]


@pytest.mark.by_default("latency", "trace")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in MINUTES)) for kind in CASES]
)
def test_terminal_json_page_and_python_show_the_same_numbers(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, command, values = CASES[kind]
    if kind == "observe":
        monkeypatch.chdir(tmp_path)
        write_log(truth(13), Path("log.csv"), num_queries=4000, seed=1)
    answer, saved, page = ask(), tmp_path / "answer.json", tmp_path / "page.html"
    assert main([*command, "--json"]) in (0, 3, 6)
    saved.write_text(capsys.readouterr().out, encoding="utf-8")
    printed = json.loads(saved.read_text(encoding="utf-8"))
    assert printed == answer.to_dict()
    assert main(["report", str(saved), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text == answer.to_html()
    _assert_shown(values(printed), text, page_text(answer._page(), WIDE))


@pytest.mark.thorough
def test_terminal_json_and_page_of_a_reproduction_show_the_same_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    monkeypatch.setenv("COLUMNS", str(WIDE))
    assert main(["reproduce", "hpca", "--json", "--out", str(page)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert main(["reproduce", "hpca"]) == 0
    _assert_shown(_reproduce(printed), page.read_text(encoding="utf-8"), capsys.readouterr().out)


def test_terminal_json_and_page_of_a_validation_show_the_same_numbers() -> None:
    found = validation()
    printed = json.loads(json.dumps(found.to_dict()))
    terminal = page_text(found.page(), WIDE)
    _assert_shown(_validate(printed), validate_html(printed), terminal)


def _assert_shown(values: Iterator[float | None], page: str, terminal: str) -> None:
    cells = re.findall(r">([^<>]+)<", html.unescape(page.replace("<wbr>", "")))
    said = {*cells, *(cell.partition(" (")[0] for cell in cells)}  # some have an error behind the figure
    shown = [value for value in values if value is not None]
    assert len(shown) > 1
    for value in shown:
        assert _as_shown(value) & said, value
        assert any(re.search(rf"(?<![\d.,]){re.escape(each)}(?![\d])", terminal) for each in _as_shown(value))


def _as_shown(value: float) -> set[str]:
    """How an answer may write a number: in the digits that it has room for."""
    return {number(value, digits) for digits in (3, 4, 5)}
