"""Tables that fit: as wide as the page, columns left out in a stated order, long names cut in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

GAP = 2
"""Blanks between two columns."""

LEAST_NAME = 16
"""Characters that are left of the longest names before other columns go."""

WIDEST_BAR = 40
NARROWEST_BAR = 6
"""Cells of a bar."""

EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes
    ----------
    heading : str
        What stands above it; two columns never have one heading.
    right : bool
        Whether cells stand at the right: numbers do.
    leaves : int
        When it goes where the page is too narrow: 1 first; 0 never.
    is_name : bool
        Whether its cells may be cut in the middle.
    is_bar : bool
        Whether its cells are fractions of a bar, written as numbers.
    """

    heading: str
    right: bool = False
    leaves: int = 0
    is_name: bool = False
    is_bar: bool = False


@dataclass(frozen=True, slots=True)
class FittingTable:
    """Rows under headings, drawn at the width that there is.

    A cell is text in a page's own styles; of a bar, a number from 0 to 1, perhaps with a style before it.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = [
            [
                Text() if column.is_bar else console.render_str(cell)
                for column, cell in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]
        widths = [self._width(index, cells) for index in range(len(self.columns))]
        kept = self._kept(widths, options.max_width)
        self._fit(widths, kept, options.max_width)
        if self.title:
            yield Text(self.title, style="bold")
        if any(self.columns[index].heading for index in kept):
            heads = [self._placed(Text(self.columns[index].heading), index, widths) for index in kept]
            yield _joined(heads, style="bold")
        for row, given in zip(cells, self.rows, strict=True):
            shown = [
                _bar(given[index], widths[index])
                if self.columns[index].is_bar
                else self._placed(row[index], index, widths)
                for index in kept
            ]
            yield _joined(shown)
        left_out = [self.columns[index].heading for index in range(len(self.columns)) if index not in kept]
        if named := [heading for heading in left_out if heading]:
            yield Text(f"(a wider terminal shows {', '.join(named)} too)", style="dim")

    def _width(self, index: int, cells: Sequence[Sequence[Text]]) -> int:
        column = self.columns[index]
        widest = NARROWEST_BAR if column.is_bar else max((row[index].cell_len for row in cells), default=0)
        return max(widest, len(column.heading))

    def _kept(self, widths: Sequence[int], width: int) -> list[int]:
        """Columns that are shown: those that leave first go until the others fit, names cut if need be."""
        kept = list(range(len(self.columns)))
        going = sorted((column.leaves, index) for index, column in enumerate(self.columns) if column.leaves)
        for _, index in going:
            least = sum(min(widths[i], LEAST_NAME) if self.columns[i].is_name else widths[i] for i in kept)
            if least + GAP * (len(kept) - 1) <= width:
                break
            kept.remove(index)
        return kept

    def _fit(self, widths: list[int], kept: Sequence[int], width: int) -> None:
        """Cut names, and give a bar what is left."""
        spare = width - sum(widths[index] for index in kept) - GAP * (len(kept) - 1)
        for index in kept:
            if self.columns[index].is_name and spare < 0:
                cut = min(-spare, max(0, widths[index] - LEAST_NAME))
                widths[index] -= cut
                spare += cut
            if self.columns[index].is_bar and spare > 0:
                more = min(spare, WIDEST_BAR - widths[index])
                widths[index] += max(0, more)

    def _placed(self, cell: Text, index: int, widths: Sequence[int]) -> Text:
        cell = cut_in_the_middle(cell, widths[index])
        blanks = " " * (widths[index] - cell.cell_len)
        return Text.assemble(blanks, cell) if self.columns[index].right else Text.assemble(cell, blanks)


def cut_in_the_middle(text: Text, width: int) -> Text:
    """Leave out the middle of a text that is too long: names differ at both ends.

    Examples
    --------
    >>> cut_in_the_middle(Text("embedding_table_for_items_and_users"), 15).plain
    'embeddi…d_users'
    """
    if text.cell_len <= width or width < 3:
        return text
    head = width // 2
    return Text.assemble(text[:head], "…", text[len(text) - (width - head - 1) :])


def bar(fraction: float, cells: int) -> str:
    """A bar of that part of so many cells, in eighths of a cell.

    Examples
    --------
    >>> bar(0.5, 4), bar(0.3, 4)
    ('██', '█▎')
    """
    eighths = round(8 * cells * min(1.0, max(0.0, fraction)))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _bar(cell: str, cells: int) -> Text:
    style, _, fraction = cell.rpartition(" ")
    drawn = bar(float(fraction), cells) if fraction else ""
    return Text.assemble((drawn, style or "blue"), " " * (cells - len(drawn)))


def _joined(cells: Sequence[Text], style: str = "") -> Text:
    line = Text(" " * GAP).join(cells)
    line.rstrip()
    line.stylize(style)
    line.no_wrap = True
    line.overflow = "ignore"
    return line
