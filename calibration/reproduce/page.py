"""A recomputed evaluation as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult

from calibration.documents import ComparedDocument
from calibration.reproduce.evaluation import Reproduction
from perfmodel.report.fitting import GAP, Column, FittingTable
from perfmodel.report.pages.reproduce import HEADINGS, answer, used_columns


def reproduction_page(result: Reproduction) -> RenderableType:
    """Show the figures without their details, and how many of those there are."""
    found = result.to_dict()
    parts: list[RenderableType] = [f"[bold]{result.title}[/]", answer(found)]
    for section in found["sections"]:
        shown = [row for row in section["rows"] if not row["detail"]]
        parts += ["", f"[bold]{section['title']}[/]", section["prose"], _Figures(shown)]
        if left := len(section["rows"]) - len(shown):
            parts.append(f"[dim]and {left} figures behind these: in the page (--out) and in --json[/]")
    return Group(*parts)


class _Figures:
    """A row a figure; where that is too wide, cases stand above their quantities, and settings go."""

    def __init__(self, rows: Sequence[ComparedDocument]) -> None:
        self.headings, self.cells = used_columns(rows, HEADINGS[:-1])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [Column(heading=heading, right=heading in HEADINGS[2:5]) for heading in self.headings]
        widths = (max(map(len, each)) for each in zip(self.headings, *self.cells, strict=True))
        if sum(widths) + GAP * (len(columns) - 1) <= options.max_width:
            yield FittingTable(columns, self.cells)
            return
        narrow = [
            Column(heading=each.heading, right=each.right, leaves=int(each.heading == "setting"))
            for each in columns[2:]
        ]
        yield FittingTable([Column(heading="", is_name=True), *narrow], list(self._below_their_cases()))

    def _below_their_cases(self) -> Iterator[list[str]]:
        before = None
        for case, quantity, *others in self.cells:
            if case != before:
                yield [f"[bold]{case}[/]", *([""] * len(others))]
            before = case
            yield [f"  {quantity}", *others]
