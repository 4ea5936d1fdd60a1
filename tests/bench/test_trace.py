"""How many modules the path of `predict` takes: counts, so always."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MOST_RUN, MOST_LOADED = 90, 136
"""As many as were counted last; a module more has to be worth it."""


@pytest.mark.thorough
def test_predict_takes_no_more_modules_than_it_did() -> None:
    trace = [sys.executable, "-m", "benchmarks.trace"]
    for _ in range(2):  # the first run after an install writes machine code, too
        done = subprocess.run(
            trace, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
        )
        printed = done.stdout.splitlines()
        marks = dict(reversed(line.split()) for line in printed[:-1])
        run = [name for name, mark in marks.items() if mark == "runs"]
        if len(run) <= MOST_RUN and len(marks) <= MOST_LOADED:
            break
    assert printed[-1] == f"{len(run)} modules of perfmodel run, {len(marks)} are loaded"
    assert len(run) <= MOST_RUN
    assert len(marks) <= MOST_LOADED
    assert marks["perfmodel.planning.predict.computation"] == "runs"
    assert marks["perfmodel.domain.base"] == "loaded"
    assert "perfmodel.planning.predict.own_policy" not in marks
