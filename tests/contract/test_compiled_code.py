"""A copy of the package and its machine code: edited, and read-only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import perfmodel

CHECKOUT = Path(perfmodel.__file__).parent.parent
QUICK = ("--set", "simulation.precision=0.2")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of what is needed to predict, without any machine code."""
    for name in ("perfmodel", "hardware_profiles", "scenarios"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def predict(root: Path, scenario: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the copy's `predict` with a home that holds nothing and cannot be written."""
    code = "import sys; from perfmodel.cli.main import main; sys.exit(main())"
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NUMBA_") and name != "XDG_CACHE_HOME"
    }
    return subprocess.run(
        [sys.executable, "-B", "-c", code, "predict", "--json", "--scenario", scenario, *QUICK, *options],
        cwd=root,
        env={**plain, "PYTHONPATH": str(root), "HOME": "/dev/null", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def answer(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode in (0, 3, 6), run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.slow  # all is compiled twice; tests/unit/sim/test_machine_code.py has the parts
def test_an_edit_moves_every_number_that_the_edited_function_is_compiled_into(copy: Path) -> None:
    # With 3.2 ms the queue decides how much is carried, and not how much work the executors hold.
    before = answer(predict(copy, "rm1_skylake", "--set", "sla.latency_ms=3.2"))
    engine = copy / "perfmodel" / "sim" / "compiled_engine.py"
    source = engine.read_text(encoding="utf-8")
    old, new = "table_s[np.uintp(row) + others]", "0.8 * table_s[np.uintp(row) + others]"
    assert source.count(old) == 1
    engine.write_text(source.replace(old, new), encoding="utf-8")
    after = answer(predict(copy, "rm1_skylake", "--set", "sla.latency_ms=3.2"))
    # Service times of four fifths: what is not queued takes four fifths as long, and five fourths fit.
    assert after["latency_ms"]["p95"] < 0.85 * before["latency_ms"]["p95"]
    assert after["latency_bounded_qps"] > 1.15 * before["latency_bounded_qps"]


@pytest.mark.slow
def test_an_install_that_cannot_be_written_answers_with_one_note(copy: Path) -> None:
    (copy / "perfmodel" / "sim" / "__pycache__").touch()  # in the way, also of one who may write anywhere
    run = predict(copy, "wnd_broadwell_size_priority")
    answer(run)
    assert run.stderr.startswith("note: compiled code cannot be kept (")
    assert run.stderr.count("\n") == 1
