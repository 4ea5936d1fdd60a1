"""What a page says is shown as it is: brackets are no markup, but for a page's own styles."""

from __future__ import annotations

import pytest
from rich.console import Group
from rich.table import Table

from perfmodel.cli.terminal import print_page

TEXTS = [
    "perfplan[calibration]",
    "[a].yaml",
    "p95 [red]",
    "[/etc/x]",
    ":smile:",
    "a\\[b]",
    "end\\",
    "[1, 2]",
    "[@x]",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_brackets_is_shown(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=text, box=None, pad_edge=False)
    table.add_column(text)
    table.add_row(text)
    print_page(Group(f"[bold green]{text}[/] after", table))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"{text} after", text, text, text]
