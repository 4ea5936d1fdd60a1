"""`perfplan reproduce`: one JSON document, one page that stands alone, and mistakes in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfmodel.cli.main import main


def test_json_is_all_of_stdout_and_the_page_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "hpca.html"
    assert main(["reproduce", "hpca", "--json", "--out", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["evaluation"] == "hpca"
    rows = [row for section in document["sections"] for row in section["rows"]]
    assert {"case", "quantity", "predicted", "published", "deviation_percent"} <= rows[0].keys()
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["hpca.html"]  # nothing half-written is left


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["reproduce", "hercules"], "hercules"),
        (["reproduce", "hpca", "--out", "no-such-folder/page.html"], "no-such-folder"),
        (["reproduce", "deeprecsys", "--queries", "10"], "20000"),
    ],
)
def test_mistakes_are_told_and_end_with_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err
