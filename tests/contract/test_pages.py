"""HTML pages: they hold what the JSON says, need nothing else, and read well in a browser."""

from __future__ import annotations

import json
import re
import time
from math import ceil
from pathlib import Path
from typing import Any

import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.report.tables import number
from tests.contract.browser import AXE, CHROMIUM, found
from tests.golden.scenarios import QUICK

FEW = [part for setting in QUICK for part in ("--set", setting)]
WIDTHS = [(1280, False), (390, True)]

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Each page and the JSON that was printed beside it."""
    folder = tmp_path_factory.mktemp("pages")
    asked = {
        "predict": ["predict", "rm3_skylake", *FEW],
        "tune": ["tune", "ncf_skylake", *FEW, "--batch-sizes", "32,64,128"],
        "plan": ["plan", "two_services", "--no-simulate"],
        "fleet": ["fleet", "rm1_broadwell_diurnal", "-n", "3", "--windows", "4", *FEW],
        "diff": ["diff", "rm3_skylake", "rm3_broadwell", *FEW],
    }
    made = {}
    for name, arguments in asked.items():
        page, answer = folder / f"{name}.html", folder / f"{name}.json"
        with pytest.MonkeyPatch.context() as patch, answer.open("w", encoding="utf-8") as stdout:
            patch.setattr("sys.stdout", stdout)
            assert main([*arguments, "--json", "--out", str(page)]) in (0, 3, 6)
        made[name] = (page, answer)
    return made


def document(pages: dict[str, tuple[Path, Path]], name: str) -> Any:
    return json.loads(pages[name][1].read_text(encoding="utf-8"))


def test_terminal_json_page_and_python_show_the_same_numbers(pages: dict[str, tuple[Path, Path]]) -> None:
    printed = document(pages, "predict")
    answer = perfmodel.predict("rm3_skylake", overrides=QUICK)
    assert answer.to_dict() == printed
    page, terminal = pages["predict"][0].read_text(encoding="utf-8"), str(answer)
    values = [printed["plan_for_qps"], printed["latency_bounded_qps"], *printed["latency_ms"].values()]
    for value in values:
        assert number(value, 4) in terminal
        assert f">{number(value, 4)}<" in page
    for operator in printed["operators"]:
        cells = f"<td>{number(operator['time_ms'])}</td><td>{100 * operator['share']:.1f} %</td>"
        assert cells in page
        assert f"{100 * operator['share']:.1f} %" in terminal


@pytest.mark.parametrize("name", ["predict", "tune", "plan", "fleet", "diff"])
def test_a_saved_answer_becomes_the_same_page_within_two_seconds_and_five_megabytes(
    name: str, pages: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    begin = time.process_time()
    assert main(["report", str(pages[name][1]), "--out", str(tmp_path / "again.html")]) == 0
    assert time.process_time() - begin < 2.0
    again = (tmp_path / "again.html").read_bytes()
    assert len(again) < 5_000_000
    assert again == pages[name][0].read_bytes()


@pytest.mark.parametrize("name", ["predict", "tune", "plan", "fleet", "diff"])
def test_a_page_begins_with_the_answer_and_needs_nothing_else(
    name: str, pages: dict[str, tuple[Path, Path]]
) -> None:
    html = pages[name][0].read_text(encoding="utf-8")
    assert html.index('class="answer"') < html.index("<h2")
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', html)
    assert not re.search(r"<(link|img|iframe)\b|@import|url\(|fetch\(|XMLHttp|import\(", html)
    figures = html.count("<figure>")
    assert html.count('role="img" aria-labelledby=') == html.count("<details>") == figures
    assert name == "diff" or figures >= 1


@needs_browser
@pytest.mark.parametrize(("width", "dark"), WIDTHS)
@pytest.mark.parametrize("name", ["predict", "tune", "plan", "fleet", "diff"])
def test_a_page_reads_well(name: str, width: int, dark: bool, pages: dict[str, tuple[Path, Path]]) -> None:
    script = """
        const over = [];
        for (const svg of document.querySelectorAll("svg")) {
          const texts = [...svg.querySelectorAll("text")].map(
            (t) => [t.textContent, t.getBoundingClientRect()]);
          for (let i = 0; i < texts.length; i++) for (let j = i + 1; j < texts.length; j++) {
            const [a, b] = [texts[i][1], texts[j][1]];
            if (a.left + 1 < b.right && b.left + 1 < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom)
              over.push(texts[i][0] + " | " + texts[j][0]);
          }
          const box = svg.getBoundingClientRect();
          for (const [text, t] of texts)
            if (t.left < box.left - 1 || t.right > box.right + 1) over.push("cut: " + text);
        }
        return { over, errors: ERRORS, requests: performance.getEntriesByType("resource").length,
          wide: document.documentElement.scrollWidth - document.documentElement.clientWidth };
    """
    assert found(pages[name][0], script, width=width, dark=dark) == {
        "over": [],
        "errors": [],
        "requests": 0,
        "wide": 0,
    }


@needs_browser
@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core here: npm install axe-core, or AXE_CORE=its file")
@pytest.mark.parametrize(("width", "dark"), WIDTHS)
@pytest.mark.parametrize("name", ["predict", "tune", "plan", "fleet", "diff"])
def test_axe_finds_nothing(name: str, width: int, dark: bool, pages: dict[str, tuple[Path, Path]]) -> None:
    script = """
        const result = await axe.run(document);
        return result.violations.map((v) => v.id + ": " + v.nodes[0].html.slice(0, 200));
    """
    assert found(pages[name][0], script, width=width, dark=dark, axe=True) == []


SET = """
    const set = (name, value) => { const e = document.getElementById("i-" + name); e.value = value;
      e.dispatchEvent(new Event("input")); };
    const text = (name) => document.getElementById("o-" + name).textContent;
"""


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


@needs_browser
def test_controls_of_a_node_give_the_numbers_of_perfplan_plan(
    pages: dict[str, tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = document(pages, "predict")
    script = (
        SET
        + """
        set("demand", 30000); set("growth", 1.4); set("headroom", 20); set("failures", 2); set("price", 1.5);
        const own = [text("nodes"), text("power"), text("price")];
        set("sla", 20);
        const begin = performance.now();
        set("sla", 60);
        const took = performance.now() - begin;
        const looser = parseFloat(text("capacity").replaceAll(",", ""));
        set("sla", 12);
        return { own, took, looser, tighter: parseFloat(text("capacity").replaceAll(",", "")) };
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
