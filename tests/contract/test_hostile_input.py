"""No value of any key, file or option hangs perfplan, ends in a traceback or eats the memory."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.hostile.cases import KINDS, all_cases
from benchmarks.hostile.documents import legal_extremes, targets, unreached
from perfmodel.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.hostile", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| exit 2 |" in run.stdout.partition("\n")[0]


@pytest.mark.slow
def test_a_sample_of_hostile_cases_ends_well() -> None:
    _run("--sample", "8", "--pairs", "2", "--seed", "5")


@pytest.mark.slow
def test_a_middling_sample_of_hostile_cases_ends_well() -> None:
    _run("--sample", "60", "--pairs", "10", "--seed", "5")


@pytest.mark.slow
def test_a_large_sample_of_hostile_cases_ends_well() -> None:
    _run("--sample", "1500", "--seed", "6")


@pytest.mark.slow
def test_pairs_of_legal_extremes_end_well() -> None:
    _run("--only", "pairs", "--pairs", "100", "--seed", "7")


@pytest.mark.thorough
def test_every_key_of_the_schemas_and_every_command_is_among_the_cases() -> None:
    """A new key that no document has is named here: it needs one in `benchmarks.hostile.documents`."""
    assert [key for kind in KINDS for key in unreached(kind)] == []
    cases = list(all_cases(seed=1, num_pairs=5))
    groups = {case.group for case in cases}
    assert len(groups) == 11 + (find_spec("pyarrow") is not None)
    tried = {case.arguments[0] for case in cases if case.group == "options"}
    assert tried == set(COMMANDS)


def test_legal_extremes_are_those_that_the_types_accept() -> None:
    extremes = {target.label: legal_extremes(target) for target in targets("scenario")}
    assert extremes["scenario.policy(split).batch_size"] == [1, 10**9]
    assert extremes["scenario.traffic.arrivals(poisson).rate_qps"] == [1e-6, 10**12]
    assert extremes["scenario.model"] == []
