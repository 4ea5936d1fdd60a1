"""`perfplan dev`: each programme is there, is called with its own arguments, and others are one line."""

from __future__ import annotations

from pathlib import Path

import pytest

import calibration
from calibration.commands.dev import PROGRAMMES
from perfmodel.cli.main import main


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dev"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PROGRAMMES)


@pytest.mark.parametrize("name", PROGRAMMES)
def test_each_is_a_module_with_a_main_that_is_called_so(name: str) -> None:
    file = Path(calibration.__file__).parent / f"{PROGRAMMES[name].module.replace('.', '/')}.py"
    text = file.read_text("utf-8")
    assert "def main(arguments: Sequence[str] | None = None) -> None:" in text
    assert f'prog="perfplan dev {name}"' in text


def test_options_behind_the_name_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dev", "compare", "-h"]) == 0
    assert capsys.readouterr().out.startswith("usage: perfplan dev compare [-h] [--points]")
    assert main(["dev", "compare", "--pointz"]) == 2
    assert "unrecognized arguments: --pointz" in capsys.readouterr().err


def test_another_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dev", "compar"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("dev: expected one of compare, fit, ")
    assert message.endswith("got 'compar'; did you mean 'compare'?\n")
