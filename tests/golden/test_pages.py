"""Pages are as wide as the terminal, end without blanks, and say what they said."""

from __future__ import annotations

import re

import pytest
from rich.console import Group

from perfmodel.cli.commands import COMMANDS
from perfmodel.cli.main import main
from perfmodel.loading.shipped import shipped_names
from perfmodel.report.console import page_text
from tests.golden.pages import CASES, MEASURED, PRINTED, WIDTHS, page, path_of

AS_THEY_ARE = ("show", "schema", "profile_new", "report", "init")
"""Files, commands and notes of one line each: to be copied, so never broken."""


@pytest.mark.thorough_cases(
    *("predict", "predict_unstable", "predict_card", "capacity", "tune", "explain", "diff", "sweep"),
    *("mlperf", "fleet", "schema", "import"),
    *("predict_stages", "tune_stages", "capacity_users", "explain_shedding", "plan"),
    *("observe", "list_models", "list_profiles", "validate", "validate_disturbed", "tune_deeprecsys_mode"),
    *("mlperf", "fleet", "predict_card", "help"),
    *(f"help_{name}" for name in COMMANDS),
)
@pytest.mark.parametrize("case", [*CASES, *MEASURED, *PRINTED])
def test_pages_say_what_they_said_at_every_width(case: str) -> None:
    if case == "import":
        pytest.importorskip("torch")
    for width in WIDTHS:
        text = page(case, width)
        lines = text.split("\n")
        assert max(map(len, lines)) <= width or case in AS_THEY_ARE
        assert [line for line in lines if line != line.rstrip()] == []
        assert text + "\n" == path_of(case, width).read_text(encoding="utf-8")


@pytest.mark.thorough
def test_an_overload_has_no_figures_that_do_not_exist() -> None:
    assert "–" not in page("predict_unstable", 80)


@pytest.mark.parametrize(("columns", "most"), [("60", 60), ("120", 120), (None, 100)])
def test_a_pipe_is_as_wide_as_it_is_told_or_a_hundred(
    columns: str | None, most: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    assert main(["latency", "-m", "dlrm-rmc3", "--on", "skylake", "--batch", "1,64"]) == 0
    out = capsys.readouterr().out
    longest = max(map(len, out.splitlines()))
    assert most - 25 < longest <= most
    assert "\x1b" not in out


def test_no_color_is_obeyed_where_colours_are_forced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["latency", "-m", "ncf", "--on", "skylake", "--batch", "1"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    main(arguments)
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(arguments)
    without = capsys.readouterr().out
    assert "\x1b[3" not in without
    assert "ncf on skylake" in without


def test_every_command_has_its_pages() -> None:
    kept = {path.name for path in path_of("predict", 60).parent.iterdir()}
    assert kept == {path_of(case, width).name for case in (*CASES, *MEASURED, *PRINTED) for width in WIDTHS}
    shown = {re.split("[_0-9]", name)[0] for name in kept}
    assert shown >= set(COMMANDS)


def test_a_list_in_a_pipe_has_a_line_for_each_name_and_says_the_same_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["list", "scenarios"]) == 0
    piped = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in piped] == shipped_names("scenario")
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["list", "scenarios"]) == 0
    narrow = capsys.readouterr().out.splitlines()
    assert [line for line in narrow if not line.startswith(" ")] == shipped_names("scenario")
    joined = " ".join(line.strip() for line in narrow)
    assert joined == " ".join(" ".join(line.split()) for line in piped)


def test_a_line_that_begins_with_blanks_goes_on_below_its_first_word() -> None:
    text = page_text(Group("what to do:", "  [bold]perfplan[/] calibrate --out FILE, on that machine"), 40)
    assert text.split("\n")[1:] == ["  perfplan calibrate --out FILE, on that", "  machine"]
    assert page_text("  short") == "  short"
