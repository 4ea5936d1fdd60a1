"""A calibrated profile used on another machine: one line on stderr, the same answer on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from perfmodel.cli.main import main
from perfmodel.loading.shipped import shipped_directory
from perfmodel.loading.this_machine import read_machine

QUESTION = ["latency", "--model", "ncf", "--batch", "1", "--json", "--on"]


def profile_with(tmp_path: Path, **machine: object) -> Path:
    """The shipped Broadwell, said to be calibrated on this machine with some values changed."""
    here = read_machine().model_dump(mode="json", exclude_none=True) | machine
    document = yaml.safe_load((shipped_directory("profile") / "broadwell.yaml").read_text())
    document["fingerprint"] = {"date": "2026-01-01T00:00:00Z", "machine": here}
    path = tmp_path / "calibrated.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_nothing_is_said_on_the_machine_that_was_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUESTION, str(profile_with(tmp_path))]) == 0
    assert capsys.readouterr().err == ""


def test_another_cpu_is_one_line_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUESTION, str(profile_with(tmp_path))]) == 0
    expected = json.loads(capsys.readouterr().out)
    other = profile_with(tmp_path, cpu_model="Elbrus 8C", cores=64, memory_gib=1.0)
    for _ in range(2):  # the second run of a process says it again
        assert main([*QUESTION, str(other)]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out) == expected
        (line,) = said.err.splitlines()
        assert line.startswith("note: broadwell was calibrated on Elbrus 8C")
        assert "cores" not in line


def test_settings_that_changed_since_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUESTION, str(profile_with(tmp_path, huge_pages="sometimes", quota_cores=0.5))]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "huge pages: calibrated sometimes, here" in line
    assert "quota [cores]: calibrated 0.5, here" in line
