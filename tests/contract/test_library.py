"""What Python users call: listed, light to import, equal to the commands to the byte, shown and tabled."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from rich.console import Console

import perfmodel
from perfmodel.cli.main import main
from perfmodel.library.shown import Shown
from perfmodel.loading.shipped import shipped_directory
from perfmodel.report.frames import table_rows
from perfmodel.report.tables import number
from tests.golden.scenarios import QUICK

RM3 = "rm3_skylake"
SIZES = Path(perfmodel.__file__).parent / "traffic_data" / "mlperf_dlrm.txt"
FEW = [part for setting in QUICK for part in ("--set", setting)]
ASKED: dict[str, tuple[Callable[[], Shown], list[str]]] = {
    "predict": (lambda: perfmodel.predict(RM3, overrides=QUICK), ["predict", "-s", RM3, *FEW]),
    "predict, unstable": (
        lambda: perfmodel.predict(RM3, overrides=[*QUICK, "traffic.arrivals.rate_qps=9000"]),
        ["predict", "-s", RM3, *FEW, "--set", "traffic.arrivals.rate_qps=9000"],
    ),
    "predict, with a card": (
        lambda: perfmodel.predict("rm1_broadwell_gtx1080ti", overrides=QUICK, accept_uncertain=True),
        ["predict", "-s", "rm1_broadwell_gtx1080ti", *FEW, "--accept-uncertain"],
    ),
    "capacity": (lambda: perfmodel.capacity(RM3, overrides=QUICK), ["capacity", "-s", RM3, *FEW]),
    "capacity, none": (
        lambda: perfmodel.capacity(RM3, overrides=[*QUICK, "sla.latency_ms=1"]),
        ["capacity", "-s", RM3, *FEW, "--set", "sla.latency_ms=1"],
    ),
    "tune": (
        lambda: perfmodel.tune(RM3, overrides=QUICK, batch_sizes=[64, 128], objective="qps-per-watt"),
        ["tune", "-s", RM3, *FEW, "--batch-sizes", "64,128", "--objective", "qps-per-watt"],
    ),
    "latency": (
        lambda: perfmodel.latency("din", "skylake", [1, 16], co_located=2, without=["input"]),
        ["latency", "-m", "din", "--on", "skylake", "-b", "1,16", "--co-located", "2", "--without", "input"],
    ),
    "latency, of two": (
        lambda: perfmodel.latency("din", ["skylake", "broadwell"]),
        ["latency", "-m", "din", "--on", "skylake", "--on", "broadwell"],
    ),
    "fleet": (
        lambda: perfmodel.fleet(RM3, 3, also=[("rm3_broadwell", 2)], rate_qps=900, overrides=QUICK),
        ["fleet", "-s", RM3, "-n", "3", "--also", "rm3_broadwell=2", "--qps", "900", *FEW],
    ),
    "sweep": (
        lambda: perfmodel.sweep(RM3, {"policy.batch_size": [64, 0]}, overrides=QUICK, pareto=["latency"]),
        ["sweep", RM3, "--over", "policy.batch_size=64,0", "--pareto", "latency", "--jobs", "1", *FEW],
    ),
    "tune, stages": (
        lambda: perfmodel.tune_stages("ranking_two_stages", overrides=QUICK, sub_batches=[4]),
        ["tune", "ranking_two_stages", "--sub-batches", "4", *FEW],
    ),
    "map": (
        lambda: perfmodel.map_devices(["din", "wnd"], ["skylake", "broadwell"], [1, 16], by="efficiency"),
        ["map", "-m", "din,wnd", "--on", "skylake,broadwell", "-b", "1,16", "--by", "efficiency"],
    ),
    "mlperf": (
        lambda: perfmodel.mlperf("mlperf_dlrm_v2_skylake", 40.0, overrides=QUICK),
        ["mlperf", "mlperf_dlrm_v2_skylake", "--target-qps", "40", *FEW],
    ),
    "trace": (lambda: perfmodel.trace(SIZES), ["trace", "show", str(SIZES)]),
}
EVERY_QUESTION = pytest.mark.parametrize(
    "question", [pytest.param(name, marks=pytest.mark.slow) if name == "tune" else name for name in ASKED]
)


@pytest.mark.by_default("predict", "latency", "latency, of two", "trace")
@EVERY_QUESTION
def test_an_answer_is_the_commands_to_the_byte(question: str, capsys: pytest.CaptureFixture[str]) -> None:
    ask, arguments = ASKED[question]
    answer = ask()
    main([*arguments, "--json"])
    assert json.dumps(answer.to_dict(), indent=2) + "\n" == capsys.readouterr().out
    main(arguments)
    page = capsys.readouterr().out
    print(answer)
    assert capsys.readouterr().out == page
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(answer)
    assert captured.get() == page
    assert repr(answer).startswith(f"<{type(answer).__name__} ")
    assert len(repr(answer).splitlines()) == 1


@pytest.mark.thorough
def test_a_notebook_shows_the_page_with_what_is_in_brackets() -> None:
    answer = perfmodel.predict(RM3, overrides=QUICK)
    shown = answer._repr_html_()
    assert shown.startswith("<pre style=")
    assert "[low, high] are 95 %" in shown
    assert 'font-weight: bold">meets the SLA</span>' in shown
    figures = shown.split("</pre>", 1)[1]
    assert "Latency at this load" in figures
    assert figures.count("<figure>") == figures.count('role="img"') == figures.count("<details>") == 2
    for value in answer.to_dict()["latency_ms"].values():
        assert f"<td>{number(value, 4)}</td>" in figures
    # Its style reaches no further than itself: the notebook's own is left alone.
    assert figures.startswith("<div><style>@scope { ")
    assert ":root" not in figures
    assert "@media" not in figures
    assert "<script" not in shown


@pytest.mark.thorough
def test_a_scenario_may_come_in_any_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = shipped_directory("scenario") / f"{RM3}.yaml"
    loaded = perfmodel.load_scenario(RM3)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    forms = [
        RM3,
        loaded,
        loaded.scenario,
        yaml.safe_load(shipped.read_text(encoding="utf-8")),
        "mine.yaml",
        Path("mine.yaml"),
        str(tmp_path / "mine.yaml"),
    ]
    answers = [perfmodel.predict(form, overrides=QUICK).to_dict() for form in forms]  # type: ignore[arg-type]
    names = [answer["scenario"] for answer in answers]
    assert names == [RM3, RM3, "scenario", "scenario", "mine", "mine", "mine"]
    own = {"scenario": RM3, "inputs": [], "asked": {}}
    assert all(answer | own == answers[0] | own for answer in answers)


@pytest.mark.parametrize("name", perfmodel.scenarios())
def test_a_scenario_made_of_a_scenario_is_the_same(name: str) -> None:
    made = perfmodel.load_scenario(name).scenario
    assert perfmodel.load_scenario(made).scenario == made


def test_overrides_change_a_scenario_that_came_from_no_file() -> None:
    scenario = perfmodel.load_scenario(RM3).scenario
    changed = perfmodel.load_scenario(scenario, ["traffic.arrivals.rate_qps=500"])
    assert changed.scenario.traffic.arrivals.rate_qps == 500.0
    assert perfmodel.load_scenario(changed, ["sla.latency_ms=7"]).scenario.sla.latency_ms == 7.0
    # As in a file: another CPU may have another stack than the scenario names for its own.
    assert perfmodel.load_scenario(scenario, ["node.cpu=broadwell"]).has_changed_devices
    assert not perfmodel.load_scenario(scenario).has_changed_devices


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda: perfmodel.predict("rm3_skylak"), "unknown scenario 'rm3_skylak'; did you mean"),
        (lambda: perfmodel.predict(Path(RM3)), f"expected a scenario file, found none at {RM3}"),
        (
            lambda: perfmodel.predict({"model": 3}),
            "scenario: model: expected text of at least 1 character or null, got 3",
        ),
        (
            lambda: perfmodel.predict({"model": {1}}),
            "scenario: model: expected what a YAML file can say, got set",
        ),
        (lambda: perfmodel.predict(5), "scenario: expected a name, a path, a mapping or a scenario, got int"),
        (lambda: perfmodel.predict(RM3, overrides="a=b"), "overrides: expected a list of KEY=VALUE"),
        (
            lambda: perfmodel.predict(RM3, engine="fast"),
            "predict: engine: expected one of auto, compiled, simpy",
        ),
        (
            lambda: perfmodel.tune(RM3, batch_sizes=[2, 1]),
            "tune: batch_sizes: expected ascending numbers, got 2, 1",
        ),
        (
            lambda: perfmodel.tune(RM3, objective="w"),
            "tune: objective: expected one of qps, qps-per-watt, got 'w'",
        ),
        (
            lambda: perfmodel.latency("din", "skylake", []),
            "latency: batch_sizes: expected a list of at least 1",
        ),
        (lambda: perfmodel.latency("din", []), "latency: on: expected a list of at least 1"),
        (lambda: perfmodel.fleet(RM3, 0), "fleet: nodes: expected a whole number >= 1"),
        (
            lambda: perfmodel.fleet(RM3, 1, routing="near"),
            "fleet: routing: expected one of random, round-robin",
        ),
        (lambda: perfmodel.fleet(RM3, 1, rate_qps=float("inf")), "fleet: rate_qps: expected"),
        (lambda: perfmodel.document_schema("predic"), "schema: expected one of predict, capacity"),
    ],
)
def test_what_cannot_be_accepted_is_one_line(ask: Callable[[], Any], expected: str) -> None:
    with pytest.raises(perfmodel.InputError) as raised:
        ask()
    assert str(raised.value).startswith(expected)
    assert "\n" not in str(raised.value)


def test_a_question_outside_the_calibrated_range_is_an_error_of_its_own() -> None:
    with pytest.raises(perfmodel.ExtrapolationError):
        perfmodel.latency("din", "skylake", [100_000])


def test_the_list_of_public_names_is_complete() -> None:
    assert list(perfmodel.__all__) == sorted(perfmodel.__all__)
    public = {name for name in vars(perfmodel) if not name.startswith("_")} - {"annotations"}
    imported = {name for name in public if isinstance(getattr(perfmodel, name), ModuleType)}
    helpers = {"import_module", "TYPE_CHECKING", "Any"}
    assert public - imported - helpers <= set(perfmodel.__all__)
    assert set(perfmodel._HOMES) <= set(perfmodel.__all__)
    assert set(perfmodel.__all__) <= set(dir(perfmodel))
    with pytest.raises(AttributeError, match="has no attribute 'predickt'"):
        perfmodel.predickt  # noqa: B018


@pytest.mark.parametrize("name", perfmodel.__all__)
def test_a_public_name_is_described_and_typed(name: str) -> None:
    found = getattr(perfmodel, name)
    assert inspect.getdoc(found)
    if inspect.isfunction(found):
        signature = inspect.signature(found)
        assert signature.return_annotation is not signature.empty
        assert all(each.annotation is not each.empty for each in signature.parameters.values())
        text = inspect.getdoc(found) or ""
        for parameter in signature.parameters:
            assert f"{parameter} :" in text or f"{parameter}, " in text or f", {parameter} :" in text


def test_types_are_shipped() -> None:
    assert (Path(perfmodel.__file__).parent / "py.typed").is_file()


def test_the_package_says_its_version() -> None:
    answer = perfmodel.latency("ncf", "skylake")
    assert perfmodel.__version__ == answer.to_dict()["perfplan"]


def test_importing_is_light() -> None:
    code = "import sys, perfmodel; print(*sorted(m for m in sys.modules if m.partition('.')[0] in %r))"
    heavy = ("perfmodel", "numpy", "numba", "pydantic", "rich", "typer", "yaml", "scipy", "pandas")
    printed = subprocess.run(
        [sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split() == ["perfmodel", "perfmodel.errors"]


@pytest.mark.thorough
def test_an_answer_in_one_row_has_the_names_of_the_json() -> None:
    answer = perfmodel.predict(RM3, overrides=QUICK).to_dict()
    (row,) = table_rows(answer, "answer")
    assert row["latency_ms.p95"] == answer["latency_ms"]["p95"]
    assert [row["latency_ci95_ms.p95.low"], row["latency_ci95_ms.p95.high"]] == answer["latency_ci95_ms"][
        "p95"
    ]
    assert all(value is None or isinstance(value, str | int | float) for value in row.values())
    (unstable,) = table_rows(
        perfmodel.predict(RM3, overrides=["traffic.arrivals.rate_qps=9000"]).to_dict(), "answer"
    )
    assert list(unstable) == list(row)  # so that the two can stand below each other


def test_rows_of_operators_say_of_which_batch_they_are() -> None:
    table = perfmodel.latency("din", "skylake", [1, 16])
    rows = table_rows(table.to_dict(), "rows.operators")
    assert {row["batch_size"] for row in rows} == {1, 16}
    for batch in table.rows:
        shares = [row["share"] for row in rows if row["batch_size"] == batch.batch_size]
        assert sum(shares) == pytest.approx(1.0)


def test_without_pandas_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(perfmodel.InputError) as raised:
        perfmodel.latency("din", "skylake", [1]).to_pandas()
    assert str(raised.value) == "to_pandas needs pandas: pip install 'perfplan[pandas]'"


def test_a_table_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(perfmodel.InputError) as raised:
        perfmodel.latency("din", "skylake", [1]).to_pandas("no")
    expected = "to_pandas: expected one of answer, inputs, rows, rows.operators, got 'no'"
    assert str(raised.value) == expected


@pytest.mark.skipif(find_spec("pandas") is None, reason="needs pandas")
def test_tables_of_pandas_are_tidy() -> None:
    table = perfmodel.latency("din", ["skylake", "broadwell"], [1, 16]).to_pandas()
    assert list(table[["device", "batch_size"]].itertuples(index=False, name=None)) == [
        ("skylake", 1),
        ("skylake", 16),
        ("broadwell", 1),
        ("broadwell", 16),
    ]
    tried = perfmodel.tune(RM3, overrides=QUICK, batch_sizes=[64, 128]).to_pandas()
    assert list(tried["batch_size"]) == [64, 128]
