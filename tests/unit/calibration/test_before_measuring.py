"""What would make a calibration's work worth nothing is refused before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from calibration.commands import calibrate as command
from calibration.measure.records import Records
from calibration.measure.visits import Visit
from perfmodel.cli.main import main
from perfmodel.errors import InputError


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the profiles that something was measured for."""
    names: list[str] = []

    def instead(name: str, *_: object, **__: object) -> dict[str, object]:
        names.append(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_calibrate_cpu", instead)
    return names


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "_mine.yaml"], "--out _mine.yaml: the profile is named after it"),
        (["--out", ".mine.yaml"], "--out .mine.yaml: the profile is named after it"),
        (["--out", "x.yaml", "--name", "My Machine"], "--name: expected a name of lower-case letters"),
        (["--out", "x.yaml", "--name", ""], "--name: expected a name"),
        (["--out", "x.yaml", "--name", "x\n"], "--name: expected a name"),
        (["--out", "x.txt"], "--out 'x.txt': expected a name that ends in .yaml or .yml"),
        (["--out", "x"], "--out 'x': expected a name that ends in .yaml or .yml"),
        (["--out", "folder"], "--out folder: is a directory"),
        (["--out", ".", "--name", "x"], "--out .: is a directory"),
        (["--out", "no/x.yaml"], "--out no/x.yaml: no directory no"),
        (["--out", "taken.yaml"], "--out taken.measured.csv: is a directory"),
        (["--out", "n" * 250 + ".yaml"], "ile name too long"),
        (["--out", "x.yaml", "--device", "tpu"], "--device: expected cpu or cuda"),
        (["--out", "x.yaml", "--precision", "bf16"], "--precision: expected fp32 on a CPU, got 'bf16'"),
        (["--out", "x.yaml", "--budget", "1s"], "--budget: expected a time from 10s"),
        (["--out", "bad.yaml", "--resume"], "bad.measured.csv:1:1: expected"),
    ],
)
def test_one_line_before_anything_is_measured(
    arguments: list[str],
    says: str,
    measured: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "taken.measured.csv"):
        Path(folder).mkdir()
    Path("bad.measured.csv").write_text("# null\n")
    before = sorted(tmp_path.rglob("*"))
    assert main(["calibrate", *arguments]) == 2
    assert measured == []
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--out", "My Machine.yaml"], "my-machine"),
        (["--out", "_mine.yaml", "--name", "mine"], "mine"),
    ],
)
def test_an_interruption_before_anything_says_so(
    arguments: list[str],
    name: str,
    measured: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *arguments]) == 130
    assert measured == [name]
    assert capsys.readouterr().err == "interrupted before anything was measured\n"


def test_an_interruption_names_what_was_kept_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def some(*given: Any, **_: object) -> dict[str, object]:
        records: Records = given[-1]
        records.visits.append((0, Visit(seed=0, batch_size=1, seconds=[1e-6], spread=[0.0])))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_calibrate_cpu", some)
    assert main(["calibrate", "--out", "x.yaml"]) == 130
    said = capsys.readouterr().err
    assert (
        said
        == "interrupted: x.measured.csv holds 1 sequences; calibrate --out x.yaml --resume adds to them\n"
    )


def test_a_profile_that_cannot_be_written_in_the_end_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def full(path: Path, _: object) -> None:
        raise InputError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(command, "_calibrate_cpu", lambda *_, **__: {"name": "x", "stacks": {}})
    monkeypatch.setattr(command, "_summary", lambda *_: {"calls": 1})
    monkeypatch.setattr(command, "write_profile", full)
    assert main(["calibrate", "--out", "x.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("name: x\n")
    assert captured.err == "x.yaml: cannot be written: No space left on device\n"
