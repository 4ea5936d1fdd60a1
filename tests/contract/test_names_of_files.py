"""A name that no file or folder can have is one line, whichever option gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hostile.text_files import log
from perfmodel.cli.main import main

LONG = "x" * 300
OBSERVE = ("observe", "log.csv", "--sla-ms", "50")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", LONG), "cannot be made: File name too long"),
        ((*OBSERVE, "--out", LONG), "cannot be made: File name too long"),
        ((*OBSERVE, "--out", "log.csv"), "is a file; expected a folder"),
        ((*OBSERVE, "--scenario-out", LONG), "cannot be written: File name too long"),
        ((*OBSERVE, "--scenario-out", "."), "is a directory"),
        ((*OBSERVE, "--scenario-out", ""), "is a directory"),
    ],
)
def test_no_name_of_a_file_ends_in_a_traceback(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "log.csv").write_text(log())
    monkeypatch.chdir(tmp_path)
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert len(line) < 400
