"""The tutorial is true: its commands run, end as it says, and answer what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from perfmodel.cli.commands import COMMANDS
from perfmodel.cli.main import main
from tests.contract.tutorial import (
    PAGE,
    Shown,
    answered,
    blocks,
    matched,
    numbers,
    rewritten,
    shown,
    write_files,
)

CLOSE = 0.03
"""How far a number may be off: intervals of searches differ by a per cent between versions. [1]"""
FAST = ("latency", "predict")

COMMANDS_SHOWN = [
    pytest.param(step, marks=[] if step.command.split()[1] in FAST else pytest.mark.slow, id=step.command)
    for step in shown()
]


@pytest.mark.by_default("perfplan latency --model shop.yaml --on skylake --batch 1,128")
@pytest.mark.parametrize("step", COMMANDS_SHOWN)
def test_a_command_answers_what_is_shown(step: Shown, tmp_path: Path) -> None:
    write_files(tmp_path)
    code, answer = answered(step.command, tmp_path)
    assert code == step.exit_code
    for line, found in zip(step.lines, matched(step.lines, answer), strict=True):
        assert found is not None, f"not in the answer: {line}"
        assert numbers(found) == pytest.approx(numbers(line), rel=CLOSE), line


@pytest.mark.thorough
def test_the_page_is_what_its_generator_writes() -> None:
    """To the digit: same scenario and seed, same answer."""
    assert rewritten() == PAGE.read_text(encoding="utf-8")


def test_numbers_of_the_text_are_those_of_the_answers() -> None:
    """The number of servers is the peak over the load to plan for, rounded up."""
    answers = {step.command: step.lines for step in shown()}
    (capacity,) = (lines for command, lines in answers.items() if " capacity " in command)
    planned_qps = numbers(capacity[0])[0]
    nodes = [int(match[1]) for command in answers if (match := re.search(r"--nodes (\d+)", command))]
    assert nodes[0] == -(-20_000 // planned_qps)


def test_commands_that_are_only_shown_exist_with_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for text in blocks("sh") for line in text.splitlines()]
    assert len(lines) >= 3
    for line in lines:
        _, command, *arguments = shlex.split(line, comments=True)
        assert command in COMMANDS
        assert main([command, "--help"]) == 0
        known = capsys.readouterr().out
        assert [a for a in arguments if a.startswith("--") and f"{a} " not in known] == []
