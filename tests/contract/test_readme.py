"""What the README promises: its two commands, and the table that a command prints."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import perfmodel
from calibration.published.compare import compare_shipped, comparison_table
from tests.contract.tutorial import answered, numbers, skeleton

CHECKOUT = Path(perfmodel.__file__).parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The lines of the first code block that are not comments."""
    block = re.search(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    return [line for line in block[1].splitlines() if line and not line.startswith("#")]


def test_the_readme_opens_with_the_main_job_and_the_tests() -> None:
    main_job, tests = commands()
    assert main_job.endswith("perfplan predict --scenario rm3_skylake.yaml")
    assert tests.endswith("python -m pytest -m 'not slow and not bench and not gpu'")
    assert tests.count("pip install") == tests.count("-c constraints.txt") == 2
    assert README.index("```sh") < 200


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    assert commands()[1] in (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.thorough
def test_the_table_of_errors_is_what_the_shipped_profiles_give() -> None:
    assert comparison_table(compare_shipped()) in README


@pytest.mark.slow
def test_the_main_job_runs_in_a_fresh_clone_and_an_empty_environment(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", CHECKOUT, clone], check=True)
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        commands()[0], shell=True, cwd=clone, env=plain, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "meets the SLA" in done.stdout


@pytest.mark.thorough
def test_the_answer_it_shows_is_the_one_that_is_printed(tmp_path: Path) -> None:
    (block,) = re.findall(r"```\n\$ (perfplan predict[^\n]*)\n(.*?)```", README, flags=re.DOTALL)
    command, lines = block
    code, answer = answered(command, tmp_path)
    assert code == 0
    shown = lines.splitlines()
    assert [skeleton(line) for line in answer] == [skeleton(line) for line in shown]
    for found, line in zip(answer, shown, strict=True):
        assert numbers(found) == pytest.approx(numbers(line), rel=1e-3), line
