"""`perfplan map`: its keys, its page, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfmodel.cli.main import main
from perfmodel.report.tables import number

ASKED = ["map", "--models", "dlrm-rmc1,wnd", "--on", "broadwell", "--on", "gtx1080ti", "--batch", "1,64"]


def test_json_and_page_show_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "map.html"
    assert main([*ASKED, "--json", "--out", str(page)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(row["model"], row["batch_size"]) for row in answer["rows"]] == [
        *(("dlrm-rmc1", 1), ("dlrm-rmc1", 64), ("wnd", 1), ("wnd", 64))
    ]
    html = page.read_text(encoding="utf-8")
    for row in answer["rows"]:
        times = {each["device"]: each["latency_ms"] for each in row["devices"]}
        assert row["best"] == min(times, key=times.__getitem__)
        assert row["factor_over_second"] == pytest.approx(max(times.values()) / min(times.values()))
        assert f">{number(row['factor_over_second'])}</text>" in html, "a field of the heat map"
        assert all(f"<td>{number(time, 4)}</td>" in html for time in times.values())
    saved = tmp_path / "map.json"
    saved.write_text(json.dumps(answer))
    again = tmp_path / "again.html"
    assert main(["report", str(saved), "--out", str(again)]) == 0
    assert again.read_text(encoding="utf-8") == html


def test_extrapolated_times_end_in_5_or_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    far = [*ASKED[:-1], "1,4096"]
    assert main(far) == 5
    assert main([*far, "--extrapolate"]) == 0
    said = capsys.readouterr().out
    assert "* 4 times outside the calibrated range" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "wnd,,din", "--on", "t4,v100"], "--models: expected names separated by commas"),
        (["-m", "wnd", "--on", "t4"], "--on: expected two devices or more"),
        (["-m", "wnd", "--on", "t4,skylake"], "expected one software stack for all devices"),
        (["-m", "wnd", "--on", "t4,v1000"], "unknown profile 'v1000'; did you mean 'v100'?"),
        (["-m", "wnd", "--on", "t4,v100", "-b", "0"], "--batch: expected whole numbers from 1 up"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", *arguments]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.splitlines()) == 1
