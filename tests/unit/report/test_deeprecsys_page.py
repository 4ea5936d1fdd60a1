"""The page of DeepRecSys mode."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.deeprecsys.climb import Attempt, Climb, ClimbReport
from perfmodel.planning.deeprecsys.settings import PUBLISHED, Shortcut
from perfmodel.planning.deeprecsys.shortcuts import ShortcutCapacity, ShortcutReport
from perfmodel.planning.prepare import prepare
from perfmodel.planning.tune.question import Configuration
from perfmodel.report.deeprecsys import deeprecsys_page

EXACT = ShortcutCapacity(
    name="exact",
    shortcuts=frozenset(),
    qps=400.0,
    lowest_qps=398.0,
    highest_qps=402.0,
    repetitions=4,
    of_exact=1.0,
    exact_latency_s=0.0999,
    note="",
)


def page(report: ShortcutReport, climbs: ClimbReport) -> str:
    console = Console(width=110, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(deeprecsys_page(report, climbs))
    return capture.get()


def test_page_shows_the_cost_of_a_shortcut_and_of_the_forgotten_threshold() -> None:
    windows = replace(
        EXACT,
        name="percentile over windows of 64",
        shortcuts=frozenset({Shortcut.WINDOWS}),
        qps=440.0,
        of_exact=1.1,
        exact_latency_s=None,
    )
    question = prepare(load_scenario("rm3_broadwell_gtx1080ti"))
    report = ShortcutReport(question=question, settings=PUBLISHED, rows=(EXACT, windows))
    forgotten, without = Configuration(512, 96), Configuration(512, 1024)
    climb = Climb((Attempt(forgotten, without, 390.0),), forgotten, 390.0)
    exact_qps = {forgotten: 100.0, without: 380.0}
    climbs = ClimbReport(settings=PUBLISHED, climbs=(climb,), exact_qps=exact_qps)
    text = page(report, climbs)
    assert "+10.0 %" in text
    assert "overload" in text
    assert "batch 512, threshold 96" in text
    assert "26 %" in text  # 100 of 380
    assert "1 of 1 climbs chose the first threshold of the list" in text


def test_page_says_that_no_load_meets_the_sla() -> None:
    question = prepare(load_scenario("rm3_broadwell"))
    report = ShortcutReport(question=question, settings=PUBLISHED, rows=())
    climbs = ClimbReport(settings=PUBLISHED, climbs=(), exact_qps={})
    assert "no load meets p95 within 100 ms" in page(report, climbs)
