"""`perfplan trace show`: figures that are known beforehand, keys, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from perfmodel.cli.main import main
from perfmodel.report.documents.trace import TraceDocument


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["trace", "show", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_plain_trace_in_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,num_items,user\n0,100,x\n1,200,y\n4,300,z\n")
    code, out, _ = ask(capsys, str(file), "--json")
    found = json.loads(out)
    TypeAdapter(TraceDocument).validate_python(found)
    assert code == 0
    assert found["rate_qps"]["value"] == 0.5  # two gaps in four seconds
    assert found["interarrival_cv"] == 0.5  # gaps of 1 s and 3 s
    assert found["sizes_items"]["mean"] == 200
    assert found["ignored"] == ["user"]
    assert found["format"] == "a table separated by commas"
    code, out, _ = ask(capsys, str(file))
    assert code == 0
    assert "rate 0.5 [" in out
    assert "left out: user" in out


def test_a_time_unit_may_be_said_and_rows_sorted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("t,items\n0,1\n4000,1\n1000,1\n")
    code, _, err = ask(capsys, str(file))
    assert code == 2
    assert err == f"{file}:4:1: t: expected a time >= 4000.0, that of the query before, got '1000'\n"
    code, out, _ = ask(capsys, str(file), "--json", "--sort", "--time-unit", "ms")
    assert code == 0
    assert json.loads(out)["span_s"] == 4.0
    code, _, err = ask(capsys, str(file), "--time-unit", "h")
    assert (code, err) == (2, "--time-unit: expected one of s, ms, us, ns, got 'h'\n")


@pytest.mark.parametrize("content", ["", "arrival_s\n", "arrival_s\n1\n", "a\n1\n", "{}", "[]", "\x00"])
def test_what_is_no_traffic_ends_in_2_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(content)
    code, out, err = ask(capsys, str(file))
    assert (code, out) == (2, "")
    assert err.startswith(f"{file}:1:1: ")
    assert err.count("\n") == 1
