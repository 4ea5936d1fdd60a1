"""A recomputed evaluation as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable

from calibration.documents import ComparedDocument
from calibration.reproduce.evaluation import Reproduction
from perfmodel.report.pages.reproduce import HEADINGS, answer, used_columns


def reproduction_page(result: Reproduction) -> RenderableType:
    """Show the figures without their details, and how many of those there are."""
    found = result.to_dict()
    parts: list[RenderableType] = [f"[bold]{result.title}[/]", answer(found)]
    for section in found["sections"]:
        shown = [row for row in section["rows"] if not row["detail"]]
        parts += ["", f"[bold]{section['title']}[/]", section["prose"], _terminal_table(shown)]
        if left := len(section["rows"]) - len(shown):
            parts.append(f"[dim]and {left} figures behind these: in the page (--out) and in --json[/]")
    return Group(*parts)


def _terminal_table(rows: Sequence[ComparedDocument]) -> TerminalTable:
    table = TerminalTable(box=None, pad_edge=False)
    headings, cells = used_columns(rows, HEADINGS[:-1])
    for heading in headings:
        table.add_column(heading, justify="right" if heading in HEADINGS[2:5] else "left")
    for row in cells:
        table.add_row(*row)
    return table
