"""`perfplan reproduce`: one JSON document, one page that stands alone, and mistakes in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from calibration.commands import reproduce
from calibration.reproduce.evaluation import Reproduction
from perfmodel.cli.main import main
from perfmodel.report.pages.made import document_html
from perfmodel.report.tables import number


@pytest.mark.thorough
def test_json_is_all_of_stdout_and_the_page_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "hpca.html"
    assert main(["reproduce", "hpca", "--json", "--out", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["evaluation"] == "hpca"
    rows = [row for section in document["sections"] for row in section["rows"]]
    assert {"case", "quantity", "predicted", "published", "deviation_percent"} <= rows[0].keys()
    written = page.read_text(encoding="utf-8")
    assert written.startswith("<!DOCTYPE html>")
    assert document_html(document) == written
    assert all(number(row["predicted"], 4) in written for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["hpca.html"]  # nothing half-written is left


@pytest.mark.slow
def test_audited_servers_are_recomputed_with_their_misses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "mlperf", "--queries", "20000", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["evaluation"] == "mlperf"
    rows = [row for section in document["sections"] for row in section["rows"]]
    tails = [row for row in rows if row["quantity"] == "p99.9 latency [ms]"]
    assert all(row["deviation_percent"] < -50.0 and row["cause"] for row in tails)
    assert {row["case"] for row in rows if row["quantity"] == "largest valid rate [queries/s]"} == {
        row["case"] for row in tails
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["reproduce", "recsys"], "recpipe"),
        (["reproduce", "hpca", "--out", "no-such-folder/page.html"], "no-such-folder"),
        (["reproduce", "deeprecsys", "--queries", "10"], "20000"),
        (["reproduce", "hpca", "--out", "page.txt"], "--out: expected the name of a page"),
    ],
)
def test_mistakes_are_told_and_end_with_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("out", ["folder.html", "no/page.html", f"{'n' * 256}.html"])
def test_a_page_that_cannot_be_written_is_told_before_computing(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    monkeypatch.setattr(reproduce, "_recomputed", lambda *_: pytest.fail("computed"))
    assert main(["reproduce", "hpca", "--out", out]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"--out {out}: ")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.html"]


@pytest.mark.slow
def test_an_answer_whose_page_cannot_be_written_in_the_end_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    computed = reproduce._recomputed
    page = tmp_path / "folder" / "page.html"
    page.parent.mkdir()

    def meanwhile(*arguments: Any) -> Reproduction:
        page.parent.rmdir()
        return computed(*arguments)

    monkeypatch.setattr(reproduce, "_recomputed", meanwhile)
    assert main(["reproduce", "hpca", "--json", "--out", str(page)]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["evaluation"] == "hpca"
    assert captured.err == f"{page}: cannot be written: No such file or directory\n"
