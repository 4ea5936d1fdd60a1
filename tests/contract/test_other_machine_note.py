"""A profile of another machine: told where this machine is measured, and never beside a prediction."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import yaml

from calibration.other_machine import warn_of_other_machine
from perfmodel.cli.main import main
from perfmodel.errors import CalibrationWarning
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


def other(tmp_path: Path) -> Path:
    return profile_with(tmp_path, cpu_model="Elbrus 8C", cores=64, memory_gib=1.0)


@pytest.mark.thorough
def test_a_prediction_is_of_the_profiles_machine_wherever_it_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUESTION, str(other(tmp_path))]) == 0
    assert capsys.readouterr().err == ""
    chosen = [
        "--set",
        f"node.cpu={other(tmp_path)}",
        "--set",
        "simulation.precision=0.2",
        "--set",
        "node.cores=28",
    ]
    assert main(["predict", "--scenario", "rm3_skylake", *chosen]) in (0, 3, 4)
    assert "note: " not in capsys.readouterr().err


def test_nothing_is_said_on_the_machine_that_was_calibrated(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_other_machine(profile_with(tmp_path))


def test_another_cpu_is_one_line(tmp_path: Path) -> None:
    with pytest.warns(CalibrationWarning, match="^broadwell was calibrated on Elbrus 8C") as caught:
        warn_of_other_machine(other(tmp_path))
    assert "cores" not in str(caught[0].message)


def test_settings_that_changed_since_are_named(tmp_path: Path) -> None:
    with pytest.warns(CalibrationWarning) as caught:
        warn_of_other_machine(profile_with(tmp_path, huge_pages="sometimes", quota_cores=0.5))
    line = str(caught[0].message)
    assert "huge pages: calibrated sometimes, here" in line
    assert "quota [cores]: calibrated 0.5, here" in line


def test_validate_measures_this_machine_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    cores = len(os.sched_getaffinity(0)) + 1  # refused, after the note
    chosen = ["--set", f"node.cpu={other(tmp_path)}", "--set", f"node.cores={cores}"]
    assert main(["validate", "--scenario", "rm3_skylake", *chosen]) == 2
    assert capsys.readouterr().err.startswith("note: broadwell was calibrated on Elbrus 8C")
