"""HTML pages: they hold what the JSON says, need nothing else, and read well in a browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from math import ceil, log
from pathlib import Path
from typing import Any

import pytest

import perfmodel
from benchmarks.plan import large_fleet
from calibration.validation.suite_page import suite_html
from calibration.validation.suite_report import SuiteReport
from perfmodel.cli.main import main
from perfmodel.loading.shipped import find_file
from perfmodel.planning.plan.computation import plan as plan_of
from perfmodel.planning.question import as_asked
from perfmodel.report.documents.plan import plan_document
from perfmodel.report.pages.sweep import _all_metrics
from perfmodel.report.tables import number
from tests.contract.browser import AXE, CHROMIUM, found
from tests.golden.pages import SIZES, observed
from tests.golden.scenarios import QUICK

FEW = [part for setting in QUICK for part in ("--set", setting)]
WIDTHS = [(1280, False), (390, True)]
PAGES = ["predict", "tune", "plan", "fleet", "diff", "explain", "latency", "sweep", "validate"]
PAGES += ["capacity", "mlperf", "map", "pipeline", "stages", "users", "reproduce"]
USERS = "traffic.arrivals={process: closed, users: 40, think_s: 0.5}"
REPORTS = Path(__file__).parents[2] / "docs" / "reports"

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


ASKED = {
    "predict": ["predict", "rm3_skylake", *FEW],
    "tune": ["tune", "ncf_skylake", *FEW, "--batch-sizes", "32,64,128"],
    "plan": ["plan", "two_services", "--no-simulate"],
    "fleet": ["fleet", "rm1_broadwell_diurnal", "-n", "3", "--windows", "4", *FEW],
    "diff": ["diff", "rm3_skylake", "rm3_broadwell", *FEW],
    "explain": ["explain", "wnd_broadwell", *FEW],
    "latency": ["latency", "-m", "dlrm-rmc3", "--on", "skylake", "--on", "broadwell"],
    "sweep": [
        *("sweep", "rm3_skylake", *FEW, "--jobs", "1", "--question", "capacity"),
        *("--over", "policy.batch_size=64,128,0", "--over", "node.cores=20,40"),
        *("--pareto", "qps,qps_per_w"),
    ],
    "capacity": ["capacity", "ncf_skylake", *FEW],
    "mlperf": ["mlperf", "mlperf_dlrm_v2_skylake", "--target-qps", "40", *FEW],
    "map": ["map", "-m", "dlrm-rmc1,wnd", "--on", "broadwell,gtx1080ti", "-b", "1,64"],
    "pipeline": ["predict", "ranking_two_stages", *FEW],
    "stages": ["tune", "ranking_two_stages", *FEW, "--sub-batches", "1,4"],
    "users": ["capacity", "rm3_skylake", *FEW, "--set", USERS],
    "reproduce": ["reproduce", "hpca"],
}

GIVEN = "capacities={feed: {skylake: 5900, broadwell: 1900}, ads: {skylake: 800, broadwell: 300}}"
PLAN = ["plan", "two_services", "--no-simulate", "--no-sla-curves"]
FURTHER = {
    "unstable": ["predict", "rm3_skylake", *FEW, "--scale-load", "20"],
    "uncertain": ["predict", "rm3_skylake", *FEW, "--set", "sla.latency_ms=10"],
    "none": ["capacity", "rm3_skylake", *FEW, "--set", "sla.latency_ms=5"],
    "shedding": ["predict", "rm1_broadwell_overloaded_shedding", *FEW],
    "card": ["predict", "rm1_broadwell_gtx1080ti", *FEW],
    "two-cards": ["predict", "wnd_emerald_h200", *FEW],
    "table": ["predict", "rm3_skylake_table", *FEW],
    "sharded": ["predict", "five_terabytes_sharded", *FEW],
    "tiered": ["predict", "five_terabytes_tiered", *FEW],
    "near-memory": ["predict", "rm2_near_memory", *FEW],
    "calibrated": ["predict", "rm3_amd_epyc_turin_2c", *FEW],
    "levels": ["tune", "ncf_skylake", *FEW, "--batch-sizes", "32,128", "--sla-levels"],
    "infeasible": [*PLAN, "--set", "services.feed.demand.growth=20"],
    "growth": [*PLAN, "--growth", "1.0:3.0"],
    "shared": [*PLAN, "--set", "provision.sharing=true"],
    "unpriced": ["plan", "hercules", "--no-simulate", "--no-sla-curves"],
    "failure": ["plan", "two_services", "--no-sla-curves"],
    "grid": [
        *("sweep", "rm3_skylake_table", *FEW, "--jobs", "1", "--over", "node.executors=20,30,40"),
        *("--over", "traffic.arrivals.rate_qps=100,400,900", "--over", "sla.latency_ms=25,50,100"),
    ],
    "plans": [
        *("sweep", "two_services", "--jobs", "1", "--question", "plan", "--set", GIVEN),
        *("--over", "provision.headroom=0.1,0.3", "--over", "services.feed.demand.growth=1,1.5"),
    ],
    "fleets": ["diff", "two_services", "two_services", "--set", GIVEN, "--set-b", "provision.headroom=0.3"],
    "two-kinds": ["fleet", "rm3_skylake", "-n", "4", "--also", "rm3_broadwell=4", *FEW],
    "offline": ["mlperf", "mlperf_dlrm_v2_skylake", "--loadgen-scenario", "offline", *FEW],
    "explained-stages": ["explain", "ranking_two_stages", *FEW],
    "hercules": ["reproduce", "hercules"],
    "recnmp": ["reproduce", "recnmp"],
    "audited": [],
    "saved": [],
    "suite": [],
    "trace": [],
    "observe": [],
    "import": [],
    "many-services": [],
}
"""Kinds of pages beside those of PAGES: a command each, or made below of what is saved."""
ASKED |= FURTHER
NOW_AND_THEN = set(FURTHER) - {"unstable", "none", "grid", "infeasible", "suite", "observe"}
"""Tried by `pytest -m slow` alone: a browser a page and width takes seconds."""

quick_pages = pytest.mark.by_default("predict", "latency", "validate")


class Pages(dict[str, tuple[Path, Path]]):
    """Each page and the JSON that was printed beside it, made when it is first looked at."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, name: str) -> tuple[Path, Path]:
        make = SAVED.get(name)
        self[name] = _answered(name, self.folder) if make is None else make(self)
        return self[name]


def _answered(name: str, folder: Path) -> tuple[Path, Path]:
    return _printed(ASKED[name], name, folder)


def _printed(command: list[str], name: str, folder: Path) -> tuple[Path, Path]:
    page, answer = folder / f"{name}.html", folder / f"{name}.json"
    with pytest.MonkeyPatch.context() as patch, answer.open("w", encoding="utf-8") as stdout:
        patch.setattr("sys.stdout", stdout)
        assert main([*command, "--json", "--out", str(page)]) in (0, 3, 4, 6)
    return page, answer


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Each page and the JSON that was printed beside it."""
    return Pages(tmp_path_factory.mktemp("pages"))


def _reported(saved: object, name: str, folder: Path) -> tuple[Path, Path]:
    """The page of an answer that is given."""
    answer, page = folder / f"{name}.json", folder / f"{name}.html"
    answer.write_text(json.dumps(saved), encoding="utf-8")
    assert main(["report", str(answer), "--out", str(page)]) == 0
    return page, answer


def _compared(pages: Pages) -> tuple[Path, Path]:
    """Two saved answers held against each other."""
    return _printed(["diff", str(pages["predict"][1]), str(pages["uncertain"][1])], "saved", pages.folder)


def _suite(pages: Pages) -> tuple[Path, Path]:
    """The suite as it was measured on a machine, from its saved report."""
    saved = json.loads((REPORTS / "validate-amd-epyc-turin-2c.json").read_text(encoding="utf-8"))
    saved.pop("summary")
    page = pages.folder / "suite.html"
    page.write_text(suite_html(SuiteReport(**saved)), encoding="utf-8")
    return page, page


def _imported() -> dict[str, Any]:
    """A module of which something was not recognised."""
    calls = [{"call": "aten.cumsum.default", "count": 2, "flop_share": 0.001, "bytes_share": 0.02}]
    linear = {"call": "linear", "kind": "mlp", "count": 6, "flop_per_item": 1e6, "bytes_per_item": 5e3}
    return {
        "schema": {"name": "import", "version": 1},
        "name": "my-model",
        "method": "torch.export",
        "operators": [{"name": "bottom", "kind": "mlp"}],
        "recognised": [linear],
        "unmodelled": {"flop_share": 0.001, "bytes_share": 0.02, "calls": calls},
        "product_flop_per_item": 1.0e6,
        "counted_flop_per_item": 1.1e6,
    }


def _large_plan() -> Any:
    """40 services on 12 types of nodes."""
    return plan_document(plan_of(large_fleet(0, {"headroom": 0.1})))


SAVED: dict[str, Callable[[Pages], tuple[Path, Path]]] = {
    "validate": lambda pages: _validated(pages.folder),
    "audited": lambda pages: _reported(
        json.loads((REPORTS / "reproduce-mlperf.json").read_text(encoding="utf-8")), "audited", pages.folder
    ),
    "saved": _compared,
    "suite": _suite,
    "trace": lambda pages: _reported(perfmodel.trace(SIZES).to_dict(), "trace", pages.folder),
    "observe": lambda pages: _reported(observed().to_dict(), "observe", pages.folder),
    "import": lambda pages: _reported(_imported(), "import", pages.folder),
    "many-services": lambda pages: _reported(_large_plan(), "many-services", pages.folder),
}


def _validated(folder: Path) -> tuple[Path, Path]:
    """A validation that was measured with a card, as `--json` prints it, and its page."""
    saved = json.loads((REPORTS / "validate-h200-overloaded.json").read_text(encoding="utf-8"))
    saved |= {
        "schema": {"name": "validate", "version": 1},
        "perfplan": "0",
        "date": "2026-01-01",
        "inputs": [],
    }
    sla = {"percentile": 0.95, "latency_ms": 100.0}
    tried = [{"rate_qps": 2000.0, "latency_ms": 80.0}]
    saved["capacity"] = {"sla": sla, "predicted_qps": 2100.0, "measured_qps": 2000.0, "error_percent": 5.0}
    saved["capacity"]["tried"] = tried
    saved["alone"] = [{"batch_size": 1, "measured_ms": 0.2, "predicted_ms": 0.25, "error_percent": 25.0}]
    return _reported(saved, "validate", folder)


def document(pages: dict[str, tuple[Path, Path]], name: str) -> Any:
    return json.loads(pages[name][1].read_text(encoding="utf-8"))


def test_terminal_json_page_and_python_show_the_same_numbers(pages: dict[str, tuple[Path, Path]]) -> None:
    printed = document(pages, "predict")
    answer = perfmodel.predict("rm3_skylake", overrides=QUICK)
    assert answer.to_dict() == printed
    page, terminal = text_of(pages["predict"][0]), str(answer)
    assert answer.to_html() == pages["predict"][0].read_text(encoding="utf-8")
    values = [printed["plan_for_qps"], printed["latency_bounded_qps"], *printed["latency_ms"].values()]
    for value in values:
        assert number(value, 4) in terminal
        assert f">{number(value, 4)}<" in page
    for operator in printed["operators"]:
        cells = f"<td>{number(operator['time_ms'])}</td><td>{100 * operator['share']:.1f} %</td>"
        assert cells in page
        assert f"{100 * operator['share']:.1f} %" in terminal


def text_of(page: Path) -> str:
    """A page whose long names are whole, and whose spaces are all alike."""
    return page.read_text(encoding="utf-8").replace("<wbr>", "").replace("\u00a0%", " %")


def cells(*values: str) -> str:
    return "".join(f"<td>{value}</td>" for value in values)


@pytest.mark.thorough
def test_a_comparison_shows_each_figure_of_its_json(pages: dict[str, tuple[Path, Path]]) -> None:
    page, printed = text_of(pages["diff"][0]), document(pages, "diff")
    for each in printed["differences"]:
        values = [number(each[key], 4) for key in ("a", "b", "difference")]
        assert f">{each['metric']}</td>{cells(*values)}" in page
    moved = {each["key"]: each["contribution"]["latency_ms.p95"] for each in printed["keys"]}
    assert all(f"{key}</td>" in page and f">{number(value)} / " in page for key, value in moved.items())
    largest = next(each for each in printed["differences"] if each["metric"] == "latency_bounded_qps")
    verb = "falls" if largest["b"] < largest["a"] else "rises"
    said = f"the largest load {verb} from {number(largest['a'], 4)} to {number(largest['b'], 4)}"
    assert said in page


@pytest.mark.thorough
def test_an_explanation_shows_each_change_of_its_json(pages: dict[str, tuple[Path, Path]]) -> None:
    page, printed = text_of(pages["explain"][0]), document(pages, "explain")
    assert printed["binds"]["why"] in html.unescape(page)
    for each in printed["changes"]:
        assert html.escape(each["change"]) in page
        if each["reason"] is None:
            assert cells(number(each["latency_bounded_qps"], 4), f"{each['gain_percent']:+.2f}") in page
        else:
            assert html.escape(each["reason"]) in page
    assert "Save it as wnd_broadwell.yaml" in page


def test_a_latency_page_shows_each_batch_and_operator_of_its_json(
    pages: dict[str, tuple[Path, Path]],
) -> None:
    page, printed = text_of(pages["latency"][0]), document(pages, "latency")
    for device in printed["devices"]:
        assert f"Where the time goes on {device['device']}" in page
        assert f"{number(device['roofs']['peak_gflop_per_s'])} GFLOP/s" in page
        for row in device["rows"]:
            us = 1000 * row["latency_ms"] / row["batch_size"]
            assert cells(str(row["batch_size"]), number(row["latency_ms"], 4), number(us, 4)) in page
            for operator in row["operators"]:
                assert cells(number(operator["time_ms"]), f"{100 * operator['share']:.1f} %") in page


@pytest.mark.thorough
def test_a_sweep_shows_every_point_and_the_front_of_its_json(pages: dict[str, tuple[Path, Path]]) -> None:
    page, printed = text_of(pages["sweep"][0]), document(pages, "sweep")
    rows = printed["rows"]
    for place, row in enumerate(rows, start=1):
        setting = cells(str(place), str(row["policy.batch_size"]), str(row["node.cores"]))
        assert f"{setting}<td>{number(row['plan_for_qps'], 4)}</td>" in page
        assert row["reason"] is None or html.escape(row["reason"]) in page
    assert page.count(">front</td></tr>") == sum(row["pareto"] for row in rows)
    best = max(filter(None, (row["plan_for_qps"] for row in rows)))
    assert f"Of {len(rows)} points the greatest load to plan for is {number(best, 4)} queries/s" in page
    assert sum(row["exit_code"] == 2 for row in rows) == 2
    assert "2 points have no answer" in page


@pytest.mark.thorough
def test_a_sweep_keeps_every_metric_of_its_file_as_text(pages: Pages, tmp_path: Path) -> None:
    page, file = pages["sweep"][0].read_text(encoding="utf-8"), tmp_path / "points.csv"
    assert main([*ASKED["sweep"], "--out", str(file)]) == 0
    found = re.search(r'aria-label="All points and metrics as CSV"><code>(.*?)</code>', page, flags=re.DOTALL)
    assert found is not None
    assert html.unescape(found[1]) == file.read_text(encoding="utf-8")
    assert 'data-save="rm3_skylake-points.csv"' in page


def test_a_sweep_that_is_too_large_for_a_page_names_the_files_that_hold_it() -> None:
    row = {"node.cores": 1, "exit_code": 0, "reason": None, "note": "x" * 1000, "latency_bounded_qps": 1.0}
    rows = [row | {"node.cores": cores} for cores in range(1, 2001)]
    blocks = _all_metrics(rows, "points.csv")
    text = "".join(block.to_html() for block in blocks)
    assert "All metrics of all points: --out FILE.csv, .parquet or .json." in text
    assert "data-save" not in text


TAKES = """
    let saved = null;
    HTMLAnchorElement.prototype.click = function () { saved = [this.download, this.href]; };
    const writeText = async (text) => { window.taken = text; };
    Object.defineProperty(navigator, "clipboard", { value: { writeText } });
    const box = [...document.querySelectorAll(".take")].at(-1);
    const [copy, save] = box.querySelectorAll("button");
    save.click();
    const text = await (await fetch(saved[1])).text();
    const said = box.querySelector("[role=status]").textContent;
    copy.click();
    await new Promise((r) => setTimeout(r, 50));
    return { name: saved[0], text, said, taken: window.taken, shown: box.querySelector("code").textContent,
      after: box.querySelector("[role=status]").textContent, hidden: [copy.hidden, save.hidden] };
"""
"""What the buttons beside the last text of a page do with it."""


@pytest.mark.thorough
@needs_browser
def test_buttons_copy_and_save_the_question_as_it_is_shown(pages: Pages) -> None:
    found_ = found(pages["predict"][0], TAKES)
    assert found_["name"] == "rm3_skylake.yaml"
    assert found_["text"] == found_["taken"] == found_["shown"]
    assert found_["shown"].startswith("description: ")
    assert (found_["said"], found_["after"], found_["hidden"]) == ("saved", "copied", [False, False])


@pytest.mark.thorough
def test_what_loadgen_would_say_is_that_of_its_json(pages: dict[str, tuple[Path, Path]]) -> None:
    page, printed = html.unescape(text_of(pages["mlperf"][0])), document(pages, "mlperf")
    assert printed["result"] == "undecided"
    assert "It cannot be told whether LoadGen would call the run VALID at a target of 40 queries/s" in page
    largest = number(printed["largest_valid_qps"], 4)
    assert f"By the central estimate runs are VALID up to {largest} queries/s" in page
    rule = printed["early_stopping"]
    assert (
        cells("expected late", number(rule["expected_late"], 4)).replace(
            "<td>expected", '<td class="words">expected'
        )
        in page
    )
    for key in ("p50", "p95", "p99", "p99.9"):
        assert f"{key}</td>{cells(number(printed['latency_ms'][key], 4))}" in page
    assert printed["deciding"]["command"] in page
    assert printed["reason"] in page


@pytest.mark.thorough
def test_stages_of_a_pipeline_have_the_figures_of_their_json(pages: dict[str, tuple[Path, Path]]) -> None:
    page, printed = text_of(pages["pipeline"][0]), document(pages, "pipeline")
    for stage in printed["pipeline"]["stages"]:
        latency = [number(stage["latency_ms"][key], 4) for key in ("p50", "p95", "p99")]
        assert f"{number(100 * stage['utilisation']['cpu'])}</td>{cells(*latency)}" in page
    page, printed = text_of(pages["stages"][0]), document(pages, "stages")
    best = number(printed["tuned"]["latency_bounded_qps"], 4)
    assert f"{best} queries/s are served with p95 within" in page
    for tried in printed["tried"]:
        if tried["latency_bounded_qps"] is not None:
            assert cells(str(tried["sub_batches"]), number(tried["latency_bounded_qps"], 4)) in page


@pytest.mark.thorough
def test_a_page_of_a_node_that_sheds_says_how_much_is_turned_away(tmp_path: Path) -> None:
    page, answer = tmp_path / "shed.html", tmp_path / "shed.json"
    with pytest.MonkeyPatch.context() as patch, answer.open("w", encoding="utf-8") as stdout:
        patch.setattr("sys.stdout", stdout)
        assert main(["predict", "rm1_broadwell_overloaded_shedding", *FEW, "--json", "--out", str(page)]) == 3
    text, printed = text_of(page), json.loads(answer.read_text(encoding="utf-8"))
    share = number(100 * printed["shed_rate"])
    assert f"at 10,000 queries/s, of which {share} % are turned away" in text
    assert "(those turned away counted as late)" in text
    assert "no latency exists" not in text
    assert "cliff</td>" not in text


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["predict", "rm3_skylake", *FEW, "--scale-load", "20"], 4, "Unstable: 8000 queries/s are more than"),
        (
            ["predict", "rm3_skylake", *FEW, "--set", "sla.latency_ms=10"],
            6,
            "By the central estimate no load meets the SLA",
        ),
        (["capacity", "rm3_skylake", *FEW, "--set", "sla.latency_ms=5"], 3, "No load meets the SLA"),
        (["predict", "rm3_skylake_table", *FEW], 0, "They are those of a table that was measured"),
        (
            ["tune", "ncf_skylake", *FEW, "--batch-sizes", "32,128", "--sla-levels"],
            0,
            "The best at each level of the SLA",
        ),
    ],
)
def test_a_page_says_what_kind_of_answer_it_is(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert main([*arguments, "--out", str(page)]) == code
    text = page.read_text(encoding="utf-8")
    assert said in text
    if code == 4:
        assert text.index(said) < text.index("Plan for ")


@pytest.mark.thorough
def test_a_report_of_a_pipeline_says_what_binds_and_what_each_change_of_a_stage_buys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "stages.html"
    assert main(["report", "ranking_two_stages", *FEW, "--out", str(page)]) == 0
    assert "note: no " not in capsys.readouterr().err
    text = page.read_text(encoding="utf-8")
    assert "Plan for " in text
    assert "Time in each stage" in text
    assert "What each single change buys" in text
    assert "dlrm-rmc3: memory +10 % faster" in text


@pytest.mark.thorough
def test_users_who_wait_for_answers_are_counted_and_have_no_cliff(
    pages: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    page, printed = text_of(pages["users"][0]), document(pages, "users")
    assert f"Plan for {printed['plan_for_users']:,} users a node" in page
    assert cells(f"{printed['latency_bounded_users']:,}") in page
    assert "cliff</td>" not in page
    asked = tmp_path / "asked.html"
    assert main(["predict", "rm3_skylake", *FEW, "--set", USERS, "--out", str(asked)]) == 0
    text = asked.read_text(encoding="utf-8")
    assert "No load meets the SLA" not in text
    assert "How many users a node serves within the SLA, perfplan capacity says. It meets its SLA" in text


def test_a_validation_shows_the_figures_of_its_json(pages: dict[str, tuple[Path, Path]]) -> None:
    page, printed = text_of(pages["validate"][0]), document(pages, "validate")
    for key in ("p50", "p95", "p99"):
        measured, predicted = (printed[side]["latency_ms"][key] for side in ("measured", "predicted"))
        error = f"{printed['error_percent'][key]:+.1f} %"
        assert f"{key} [ms]</td>{cells(number(measured, 4), number(predicted, 4), error)}" in page
    for row in printed["service_time_by_batch"]:
        assert cells(number(row["measured_ms"]), number(row["predicted_ms"])) in page
    assert "Largest load: 2100 queries/s predicted, 2000 measured (+5.0 %)" in page


@quick_pages
@pytest.mark.parametrize("name", PAGES)
def test_a_saved_answer_becomes_the_same_page_within_five_megabytes(
    name: str, pages: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    assert main(["report", str(pages[name][1]), "--out", str(tmp_path / "again.html")]) == 0
    again = (tmp_path / "again.html").read_bytes()
    assert len(again) < 5_000_000
    assert again == pages[name][0].read_bytes()


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["sharded", "tiered", "table"])
def test_a_saved_answer_of_files_beside_a_shipped_scenario_becomes_the_same_page(
    name: str, pages: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    asked = document(pages, name)["asked"]
    beside = asked["node"]["service_times"] if name == "table" else asked["model"]
    assert not Path(beside).is_absolute()  # wherever perfplan is installed
    assert main(["report", str(pages[name][1]), "--out", str(tmp_path / "again.html")]) == 0
    again = (tmp_path / "again.html").read_bytes()
    assert again == pages[name][0].read_bytes()
    assert b"Latency against load" in again


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A scenario of one's own: model, profile and list of sizes are named by paths relative to its file."""
    folder = tmp_path / "home" / "own"
    (folder / "parts").mkdir(parents=True)
    model, profile = find_file("model", "ncf"), find_file("profile", "skylake")
    (folder / "parts" / "model.yaml").write_bytes(model.read_bytes())
    (folder / "cpu.yaml").write_bytes(profile.read_bytes())
    (folder / "sizes.txt").write_text("10\n20\n300\n", encoding="utf-8")
    scenario = find_file("scenario", "ncf_skylake").read_text(encoding="utf-8")
    scenario = re.sub(r"(?m)^model: \S+", "model: parts/model.yaml", scenario)
    scenario = scenario.replace("cpu: skylake", "cpu: ./cpu.yaml")
    scenario = re.sub(r"query_sizes: \{.*\}", "query_sizes: {distribution: file, file: sizes.txt}", scenario)
    (folder / "scenario.yaml").write_text(scenario, encoding="utf-8")
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["predict", "capacity", "explain"])
def test_a_saved_answer_becomes_the_same_page_from_another_folder_while_its_files_are_there(
    command: str, own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(own_folder.parent)
    page, answer = _printed([command, "own/scenario.yaml", *FEW], "own", tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["report", str(answer), "--out", "again.html"]) == 0
    assert Path("again.html").read_bytes() == page.read_bytes()
    assert "Every value of skylake with its source" in text_of(page)
    curve = "<h2" if command == "explain" else "Latency against load"
    assert curve in text_of(page)

    sizes = own_folder / "sizes.txt"
    sizes.write_text("10\n", encoding="utf-8")
    assert main(["report", str(answer), "--out", "again.html"]) == 0
    assert f"is left out: {sizes} changed since." in text_of(Path("again.html"))
    sizes.unlink()
    assert main(["report", str(answer), "--out", "again.html"]) == 0
    again = text_of(Path("again.html"))
    assert re.search(rf"is left out: the question cannot be asked again: .*found none at {sizes}\.", again)


def test_a_path_of_an_option_starts_where_it_was_typed(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_folder)
    loaded = perfmodel.load_scenario(
        "rm3_skylake", ["model=./parts/model.yaml", "node.cpu=cpu.yaml@hpca2020"]
    )
    asked = as_asked(loaded)
    assert asked["model"] == str(own_folder / "parts" / "model.yaml")
    assert asked["node"]["cpu"] == f"{own_folder / 'cpu.yaml'}@hpca2020"
    beside = as_asked(perfmodel.load_scenario("scenario.yaml"))
    assert beside["traffic"]["query_sizes"]["file"] == str(own_folder / "sizes.txt")


@quick_pages
@pytest.mark.parametrize("name", PAGES)
def test_a_page_begins_with_the_answer_and_needs_nothing_else(
    name: str, pages: dict[str, tuple[Path, Path]]
) -> None:
    text = pages[name][0].read_text(encoding="utf-8")
    assert text.index('class="answer"') < text.index("<h2")
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', text)
    assert not re.search(r"<(link|img|iframe)\b|@import|url\(|fetch\(|XMLHttp|import\(", text)
    figures = text.count("<figure>")
    assert text.count('role="img" aria-labelledby=') == text.count("<details>") == figures
    assert figures >= 1


@pytest.mark.by_default("predict", "latency")
@pytest.mark.parametrize("name", [name for name in PAGES if name != "validate"])
def test_a_page_says_where_its_numbers_come_from_and_what_was_asked(
    name: str, pages: dict[str, tuple[Path, Path]]
) -> None:
    text, inputs = pages[name][0].read_text(encoding="utf-8"), document(pages, name)["inputs"]
    profiles = [
        each["name"].rpartition("/")[2].removesuffix(".yaml")
        for each in inputs
        if each["name"].startswith("hardware_profiles/")
    ]
    assert profiles
    for profile in profiles:
        assert f"Every value of {profile} with its source" in text
        assert re.search(rf"Profile {profile}: [0-9]+ values, .*% off, root mean square", text)
    assert "The question as text" in text
    if name == "reproduce":
        assert "<code>perfplan reproduce hpca</code>" in text


def test_a_profile_that_changed_since_the_answer_has_no_sources(
    pages: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    saved = document(pages, "latency")
    saved["inputs"][1]["sha256"] = "0" * 64
    answer, page = tmp_path / "old.json", tmp_path / "old.html"
    answer.write_text(json.dumps(saved), encoding="utf-8")
    assert main(["report", str(answer), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "hardware_profiles/skylake.yaml has changed since: its sources are left out." in text
    assert "Every value of skylake" not in text
    assert "Every value of broadwell" in text


READS = """
    const over = [];
    let smallest = 99;
    for (const svg of document.querySelectorAll("svg")) {
      const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      for (const text of svg.querySelectorAll("text"))
        smallest = Math.min(smallest, scale * parseFloat(getComputedStyle(text).fontSize));
      const texts = [...svg.querySelectorAll("text")].map(
        (t) => [t.textContent, t.getBoundingClientRect()]);
      for (let i = 0; i < texts.length; i++) for (let j = i + 1; j < texts.length; j++) {
        const [a, b] = [texts[i][1], texts[j][1]];
        if (a.left + 1 < b.right && b.left + 1 < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom)
          over.push(texts[i][0] + " | " + texts[j][0]);
      }
      const box = svg.getBoundingClientRect();
      for (const [text, t] of texts)
        if (t.left < box.left - 1 || t.right > box.right + 1 || t.top < box.top - 2
            || t.bottom > box.bottom + 2) over.push("cut: " + text);
    }
    return { over, smallest, errors: ERRORS, requests: performance.getEntriesByType("resource").length,
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth };
"""
"""What in a page cannot be read: texts that overlap or are cut, small ones, errors, requests, width."""


@pytest.mark.thorough
@needs_browser
@pytest.mark.parametrize(("width", "dark"), WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_well(name: str, width: int, dark: bool, pages: dict[str, tuple[Path, Path]]) -> None:
    said = found(pages[name][0], READS, width=width, dark=dark)
    assert said.pop("smallest") >= 11.0  # CSS pixels of a text in a figure: read without zooming
    assert said == {
        "over": [],
        "errors": [],
        "requests": 0,
        "wide": 0,
    }


@pytest.mark.thorough
@needs_browser
@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core-python here, and no AXE_CORE=file")
@pytest.mark.parametrize(("width", "dark"), WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, width: int, dark: bool, pages: dict[str, tuple[Path, Path]]) -> None:
    script = """
        const result = await axe.run(document);
        return result.violations.map((v) => v.id + ": " + v.nodes[0].html.slice(0, 200));
    """
    assert found(pages[name][0], script, width=width, dark=dark, axe=True) == []


@needs_browser
@pytest.mark.parametrize(("width", "dark"), WIDTHS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in NOW_AND_THEN else pytest.mark.thorough)
        for name in FURTHER
    ],
)
def test_further_kinds_of_pages_read_well_and_axe_finds_nothing(
    name: str, width: int, dark: bool, pages: dict[str, tuple[Path, Path]]
) -> None:
    page, has_axe = pages[name][0], AXE.is_file()
    text = page.read_text(encoding="utf-8")
    assert text.index('class="answer"') < text.index("<h2")
    check = f"const said = (() => {{ {READS} }})();"
    if has_axe:
        check += "said.axe = (await axe.run(document)).violations.map((v) => v.id + v.nodes[0].html);"
    said = found(page, f"{check} return said;", width=width, dark=dark, axe=has_axe)
    assert said.pop("smallest") >= 11.0 or "<svg" not in text
    assert said == {"over": [], "errors": [], "requests": 0, "wide": 0} | ({"axe": []} if has_axe else {})


def test_what_was_not_recognised_is_on_the_page_of_an_import(pages: dict[str, tuple[Path, Path]]) -> None:
    page = text_of(pages["import"][0])
    assert "leaves out 0.1 % of the module's FLOP and 2 % of its bytes" in html.unescape(page)
    assert "<h1>import: my-model</h1>" in page
    assert "Unmodelled: calls" in page
    assert '<td class="words some">aten.cumsum.default</td><td>2</td>' in page


SET = """
    const set = (name, value) => { const e = document.getElementById("i-" + name); e.value = value;
      e.dispatchEvent(new Event("input")); };
    const text = (name) => document.getElementById("o-" + name).textContent;
"""


@pytest.mark.thorough
@needs_browser
def test_controls_of_a_plan_give_the_numbers_of_perfplan_plan(
    pages: dict[str, tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [(1.0, 10, 1), (1.4, 10, 1), (1.2, 25, 0), (0.5, 0, 3)]
    script = (
        SET
        + f"""
        const said = [];
        for (const [growth, headroom, failures] of {json.dumps(cases)}) {{
          const begin = performance.now();
          set("growth", growth); set("headroom", headroom); set("failures", failures);
          said.push([text("nodes"), text("power"), text("price"), (performance.now() - begin) / 3]);
        }}
        return said;
    """
    )
    for (growth, headroom, failures), said in zip(cases, found(pages["plan"][0], script), strict=True):
        sets = [
            f"services.feed.demand.growth={growth}",
            f"services.ads.demand.growth={growth}",
            f"provision.headroom={headroom / 100}",
            f"provision.failures={{nodes: {failures}}}" if failures else "provision.failures=null",
            "node_types.skylake.available=1000",
            "node_types.broadwell.available=0",
            "node_types.broadwell.owned=0",
        ]
        arguments = [part for each in sets for part in ("--set", each)]
        main(["plan", "two_services", "--no-simulate", "--json", *arguments])
        planned = json.loads(capsys.readouterr().out)["static"]
        assert said[0] == str(planned["num_nodes"])
        assert float(said[1].split()[0]) == pytest.approx(planned["power_w"] / 1000, rel=5e-4)
        assert float(said[2].split()[0]) == pytest.approx(planned["price_usd_per_h"], rel=5e-4)
        assert said[3] < 50.0


def plan_with_slas(folder: Path, answer: Path) -> tuple[Path, dict[str, list[list[float]]]]:
    """A plan's page whose file knows capacities of the ads at three SLAs, on both types."""
    plan = json.loads(answer.read_text(encoding="utf-8"))
    own = {kind: pair["low_qps"] for kind, pair in plan["capacity_qps"]["ads"].items()}
    low = {
        kind: [[50.0, 0.5 * qps], [100.0, qps], [200.0, (1.1 if kind == "skylake" else 2.4) * qps]]
        for kind, qps in own.items()
    }
    points = {
        kind: [{"latency_ms": ms, "qps": qps, "low_qps": qps} for ms, qps in each]
        for kind, each in low.items()
    }
    plan["capacity_at_sla"] = {"ads": {"percentile": 0.95, "latency_ms": 100.0, "node_types": points}}
    saved, page = folder / "slas.json", folder / "slas.html"
    saved.write_text(json.dumps(plan), encoding="utf-8")
    assert main(["report", str(saved), "--out", str(page)]) == 0
    return page, low


@pytest.mark.thorough
@needs_browser
def test_the_sla_of_a_plan_is_a_control_that_gives_the_numbers_of_perfplan_plan(
    pages: dict[str, tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, low = plan_with_slas(tmp_path, pages["plan"][1])
    mix = document(pages, "plan")["static"]["nodes"]["ads"]
    script = (
        SET
        + """
        const said = [], index = DATA.services.findIndex((s) => s.name === "ads");
        for (const ms of [100, 50, 70, 200, 300]) {
          const begin = performance.now();
          set("sla-" + index, ms);
          said.push([text("nodes"), text("power"), text("mix"), text("note"), performance.now() - begin]);
        }
        return said;
    """
    )
    said = found(page, script)
    assert [kind for kind, count in mix.items() if count] == ["skylake"]
    (_, half), (_, own), (_, twice) = low["skylake"]
    rates = [own, half, half * (own / half) ** (log(70 / 50) / log(2)), twice]
    for qps, (nodes, power, _, note, took_ms) in zip(rates, said, strict=False):
        sets = [
            f"capacities.ads={{skylake: {qps!r}, broadwell: 0}}",
            "capacities.feed={skylake: 5900, broadwell: 0}",
            "node_types.skylake.available=1000",
        ]
        arguments = [part for each in sets for part in ("--set", each)]
        assert main(["plan", "two_services", "--no-simulate", "--json", *arguments]) == 0
        planned = json.loads(capsys.readouterr().out)["static"]
        assert nodes == str(planned["num_nodes"])
        assert float(power.split()[0]) == pytest.approx(planned["power_w"] / 1000, rel=5e-4)
        assert took_ms < 50.0
        assert ("may find other batch sizes" in note) == (qps != own)
    assert "No service is cheaper on one type of node alone" in said[0][3]
    assert "A new plan would change the mix: ads on" in said[3][3]
    assert "broadwell alone takes" in said[3][3]
    assert said[4][0] == "–"
    assert "from 50 to 200 ms" in said[4][3]


SHARED = """
name: five services, not all of which fit one memory
services:
  a: {scenario: mlperf_dlrm_skylake, demand: {qps: 20000}}
  b: {scenario: mlperf_dlrm_v2_skylake, demand: {qps: 6000}}
  c: {scenario: rm3_skylake, demand: {qps: 9000}}
  d: {scenario: ncf_skylake, demand: {qps: 9000}}
  e: {scenario: mlperf_dlrm_skylake, demand: {qps: 9000}}
node_types:
  skylake: {node: {cpu: skylake}, available: 60, price_usd_per_h: 1.5}
  broadwell: {node: {cpu: broadwell@hpca2020}, available: 120, price_usd_per_h: 1.0}
capacities:
  a: {skylake: 900, broadwell: 700}
  b: {skylake: 300, broadwell: 190}
  c: {skylake: 1150, broadwell: 620}
  d: {skylake: 5000, broadwell: 0}
  e: {skylake: 900, broadwell: 700}
provision: {objective: price, headroom: 0.1, failures: {nodes: 1}, sharing: true}
"""


@pytest.mark.thorough
@needs_browser
@pytest.mark.parametrize("power", ["static", "by-utilisation"])
def test_controls_where_nodes_are_shared_give_the_numbers_of_perfplan_plan(
    power: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, page = tmp_path / "shared.yaml", tmp_path / "shared.html"
    fleet.write_text(SHARED, encoding="utf-8")
    asked = ["plan", str(fleet), "--no-simulate", "--json", "--set", f"provision.power={power}"]
    assert main([*asked, "--out", str(page)]) == 0
    groups = json.loads(capsys.readouterr().out)["sharing_groups"]
    assert sum(each["num_nodes"] > 0 for each in groups) >= 2  # sets of services: three of them fit a node
    cases = [(1.0, 10, 1), (1.4, 20, 1), (1.1, 10, 0), (0.5, 0, 2)]
    script = (
        SET
        + f"""
        const said = [];
        for (const [growth, headroom, failures] of {json.dumps(cases)}) {{
          const begin = performance.now();
          set("growth", growth); set("headroom", headroom); set("failures", failures);
          const took = (performance.now() - begin) / 3;
          said.push([text("nodes"), text("power"), text("price"), text("mix"), took]);
        }}
        return said;
    """
    )
    for (growth, headroom, failures), said in zip(cases, found(page, script), strict=True):
        mix = dict.fromkeys(("skylake", "broadwell"), 0)
        for count, name in re.findall(r"(\d+) (skylake|broadwell)", said[3]):
            mix[name] += int(count)
        sets = [
            *(f"services.{name}.demand.growth={growth}" for name in "abcde"),
            f"provision.headroom={headroom / 100}",
            f"provision.failures={{nodes: {failures}}}" if failures else "provision.failures=null",
        ]
        planned = {}
        for fewer in (0, 1):  # as many of each type as the page says carry it, and need all; fewer do not
            own = [f"node_types.{name}.available={count - fewer}" for name, count in mix.items()]
            arguments = [part for each in (*sets, *own) for part in ("--set", each)]
            assert main([*asked, *arguments]) == (3 if fewer else 0)
            planned[fewer] = json.loads(capsys.readouterr().out)["static"]
        assert said[0] == str(planned[0]["num_nodes"])
        assert float(said[1].split()[0]) == pytest.approx(planned[0]["power_w"] / 1000, rel=5e-4)
        assert float(said[2].split()[0]) == pytest.approx(planned[0]["price_usd_per_h"], rel=5e-4)
        assert said[4] < 50.0


def test_shared_nodes_count_once_in_each_hour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "shared.html"
    sets = ["--set", "provision.sharing=true", "--json", "--out", str(page)]
    assert main(["plan", "two_services", "--no-simulate", *sets]) == 0
    hours = json.loads(capsys.readouterr().out)["hours"]
    assert all(sum(hour["nodes_by_type"].values()) == hour["num_nodes"] for hour in hours)
    nodes = [hour["num_nodes"] for hour in hours]
    text = page.read_text(encoding="utf-8")
    assert f"each hour planned for itself: {min(nodes)} to {max(nodes)} of the static {max(nodes)};" in text


def test_shared_nodes_of_an_answer_without_their_groups_have_no_controls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, answer = tmp_path / "old.html", tmp_path / "old.json"
    assert main(["plan", "two_services", "--no-simulate", "--json", "--set", "provision.sharing=true"]) == 0
    old = json.loads(capsys.readouterr().out)
    del old["sharing_groups"]
    answer.write_text(json.dumps(old), encoding="utf-8")
    assert main(["report", str(answer), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "Ask perfplan plan again." in text
    assert 'id="o-nodes"' not in text


@pytest.mark.thorough
@needs_browser
def test_controls_of_a_node_give_the_numbers_of_perfplan_plan(
    pages: dict[str, tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = document(pages, "predict")
    script = (
        SET
        + """
        set("demand", 30000); set("growth", 1.4); set("headroom", 20); set("failures", 2); set("price", 1.5);
        const own = [text("nodes"), text("power"), text("price")], shown = text("capacity");
        set("sla", 20);
        const begin = performance.now();
        set("sla", 60);
        const took = performance.now() - begin;
        const looser = parseFloat(text("capacity").replaceAll(",", ""));
        set("sla", 12);
        return { own, took, looser, shown, tighter: parseFloat(text("capacity").replaceAll(",", "")) };
    """
    )
    said = found(pages["predict"][0], script)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "services: {own: {scenario: rm3_skylake, demand: {qps: 30000, growth: 1.4}}}\n"
        "node_types: {skylake: {node: {cpu: skylake}, available: 1000, price_usd_per_h: 1.5}}\n"
        f"capacities: {{own: {{skylake: {asked['plan_for_qps']!r}}}}}\n"
        "provision: {objective: nodes, headroom: 0.2, failures: {nodes: 2}}\n",
        encoding="utf-8",
    )
    assert main(["plan", str(fleet), "--no-simulate", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["static"]
    assert planned["num_nodes"] == ceil(42000 / (0.8 * asked["plan_for_qps"])) + 2
    assert said["shown"].replace(",", "") == f"{asked['plan_for_qps']:.0f}"
    assert said["own"][0] == str(planned["num_nodes"])
    assert float(said["own"][1].split()[0]) == pytest.approx(planned["power_w"] / 1000, rel=5e-4)
    assert float(said["own"][2].split()[0]) == pytest.approx(planned["price_usd_per_h"], rel=5e-4)
    assert said["took"] < 50.0
    assert said["tighter"] < asked["plan_for_qps"]
    assert said["looser"] <= asked["plan_for_qps"] * 1.0001


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "rm3_skylake", "--out", "page.txt"], "--out: expected the name of a page"),
        (["validate", "rm1_skylake", "--out", "page.txt"], "--out: expected the name of a page"),
        (["report", "nothing.json"], "nothing.json: cannot read the file"),
        (["report", "rm3_skylak"], "unknown scenario 'rm3_skylak'; did you mean 'rm3_skylake'?"),
    ],
)
def test_what_is_no_page_or_no_answer_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(message)


def test_json_that_is_no_answer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("{}", "[1]", "{", '{"schema": {"name": "plan"}}'):
        path = tmp_path / "a.json"
        path.write_text(text, encoding="utf-8")
        assert main(["report", str(path), "--out", str(tmp_path / "a.html")]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
