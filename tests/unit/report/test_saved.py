"""Saved answers: what is not as its command printed it is refused at its place, and whatever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_json
from perfmodel.report.comparing import compare
from perfmodel.report.saved import read_saved, saved_html


def written(folder: Path, text: str) -> Path:
    path = folder / "answer.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "-" + "9" * 5000])
def test_numbers_that_are_none_are_refused_where_they_stand(number: str, tmp_path: Path) -> None:
    text = f'{{"a": "{number}",\n "b": [1, {number}]}}'
    with pytest.raises(InputError, match=r"answer\.json:2:11: expected a finite number, got "):
        read_json(written(tmp_path, text))


def test_numbers_that_floats_hold_are_read(tmp_path: Path) -> None:
    assert read_json(written(tmp_path, f"[1e300, -3, {10**299}]")) == [1e300, -3, 10**299]


@pytest.mark.parametrize("text", ["3", "[]", "{}", '{"schema": "map"}', '{"schema": {"name": 3}}'])
def test_what_is_no_answer_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"answer\.json:1:1: expected an answer that perfplan printed"):
        read_saved(written(tmp_path, text))


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("rows", 3, "rows: expected a list"),
        ("rows", [[]], r"rows\.0: expected a section with model"),
        ("models", 7, "models: expected"),
    ],
)
def test_an_answer_that_was_changed_is_refused_at_the_key(
    key: str, value: Any, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "-m", "ncf", "--on", "skylake,broadwell", "-b", "1,64", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "<html" in saved_html(written(tmp_path, json.dumps(answer)))
    answer[key] = value
    with pytest.raises(InputError, match=rf"answer\.json:\d+:\d+: {line}"):
        saved_html(written(tmp_path, json.dumps(answer, indent=1)))


def test_an_answer_that_lacks_a_key_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["latency", "-m", "ncf", "--on", "skylake", "-b", "1", "--json"])
    answer = json.loads(capsys.readouterr().out)
    del answer["rows"][0]["latency_ms"]
    with pytest.raises(InputError, match=r"answer\.json:\d+:\d+: .*missing key 'latency_ms'"):
        saved_html(written(tmp_path, json.dumps(answer, indent=1)))
    answer = {"schema": {"name": "validate", "version": 1}, "predicted": 3}
    with pytest.raises(InputError, match=r"answer\.json:1:1: expected an answer as its command printed it"):
        saved_html(written(tmp_path, json.dumps(answer)))


def test_keys_that_do_not_go_together_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = "simulation={min_queries: 1000, max_queries: 1000, precision: 0.5}"
    main(["predict", "ncf_skylake", "--set", quick, "--json"])
    answer = json.loads(capsys.readouterr().out)
    answer["asked"]["traffic"] = [1]
    with pytest.raises(InputError, match=r"answer\.json:1:1: expected an answer as its command printed it"):
        saved_html(written(tmp_path, json.dumps(answer)))
    answer["asked"] = "text"
    path = written(tmp_path, json.dumps(answer))
    with pytest.raises(InputError, match=r"answer\.json:1:\d+: asked: expected a section"):
        compare(path, path)
