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
from perfmodel.cli.main import main
from perfmodel.report.console import page_text
from perfmodel.report.tables import number
from tests.golden.pages import SIZES
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
    "trace": (lambda: perfmodel.trace(SIZES), ["trace", "show", str(SIZES)], _trace),
}


@pytest.mark.by_default("latency", "trace")
@pytest.mark.parametrize("kind", CASES)
def test_terminal_json_page_and_python_show_the_same_numbers(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask, command, values = CASES[kind]
    answer, saved, page = ask(), tmp_path / "answer.json", tmp_path / "page.html"
    assert main([*command, "--json"]) in (0, 6)
    saved.write_text(capsys.readouterr().out, encoding="utf-8")
    printed = json.loads(saved.read_text(encoding="utf-8"))
    assert printed == answer.to_dict()
    assert main(["report", str(saved), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text == answer.to_html()
    said = set(re.findall(r">([^<>]+)<", html.unescape(text.replace("<wbr>", ""))))
    terminal = page_text(answer._page(), WIDE)
    shown = [value for value in values(printed) if value is not None]
    assert len(shown) > 1
    for value in shown:
        assert _as_shown(value) & said, value
        assert any(re.search(rf"(?<![\d.,]){re.escape(each)}(?![\d])", terminal) for each in _as_shown(value))


def _as_shown(value: float) -> set[str]:
    """How an answer may write a number: in the digits that it has room for."""
    return {number(value, digits) for digits in (3, 4, 5)}
