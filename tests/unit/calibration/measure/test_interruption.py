"""An interrupted calibration keeps what it measured, and `--resume` adds to it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calibration.measure.records import read_records
from perfmodel.loading.derived_profile import read_profile

MOST_RESUMED = 5
"""Where other work has the cores, 20 s measure too little to fit, which is said, with what goes on."""

pytestmark = pytest.mark.slow  # two calibrations of 20 s


def started(*options: str, cwd: Path) -> subprocess.Popen[str]:
    run = "from perfmodel.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", run, "calibrate", "--out", "here.yaml", "--budget", "20s", *options]
    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True)


def test_what_was_measured_before_an_interruption_is_part_of_the_resumed_profile(tmp_path: Path) -> None:
    raw = tmp_path / "here.measured.csv"
    first = started(cwd=tmp_path)
    end_s = time.monotonic() + 60.0
    while not raw.exists() and first.poll() is None and time.monotonic() < end_s:
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    assert first.returncode != 0
    assert not (tmp_path / "here.yaml").exists()
    before = read_records(raw).seeds(0)
    assert before

    for _ in range(MOST_RESUMED):
        second = started("--resume", cwd=tmp_path)
        _, said = second.communicate(timeout=300)
        if "too little was measured" not in said:
            break
    assert second.returncode == 0, said
    after = read_records(raw).seeds(0)
    assert before < after
    assert read_profile(tmp_path / "here.yaml").name == "here"
