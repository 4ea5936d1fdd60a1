"""A recomputed evaluation as one HTML page, and as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable

from calibration.documents import VERSION
from calibration.reproduce.evaluation import BarPlot, Compared, LinePlot, Reproduction, Section
from perfmodel.report.documents import made_of, saved
from perfmodel.report.drawing import Drawing, Series, bars, lines
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.tables import number

HEADINGS = ("case", "quantity", "predicted", "published", "deviation", "setting", "likely cause")


def reproduction_html(result: Reproduction) -> str:
    """Write the page: each section with its plots and every figure, deviating ones included."""
    blocks: list[Block] = [Prose(_summary(result), is_answer=True), Prose(result.source)]
    for section in result.sections:
        blocks += [Heading(section.title), Prose(section.prose)]
        blocks += [Figure(_drawn(plot)) for plot in section.plots]
        if section.rows:
            blocks.append(_html_table(section))
    return page(result.title, blocks, facts=made_of(saved("reproduce", VERSION)))


def reproduction_page(result: Reproduction) -> RenderableType:
    """Show the figures without their details, and how many of those there are."""
    parts: list[RenderableType] = [f"[bold]{result.title}[/]", _summary(result)]
    for section in result.sections:
        shown = [row for row in section.rows if not row.detail]
        parts += ["", f"[bold]{section.title}[/]", section.prose, _terminal_table(shown)]
        if left := len(section.rows) - len(shown):
            parts.append(f"[dim]and {left} figures behind these: in the page (--out) and in --json[/]")
    return Group(*parts)


def _terminal_table(rows: Sequence[Compared]) -> TerminalTable:
    table = TerminalTable(box=None, pad_edge=False)
    headings, cells = _used_columns(rows, HEADINGS[:-1])
    for heading in headings:
        table.add_column(heading, justify="right" if heading in HEADINGS[2:5] else "left")
    for row in cells:
        table.add_row(*row)
    return table


def _summary(result: Reproduction) -> str:
    """How many figures are how close."""
    deviations = [abs(row.deviation) for row in result.compared if row.deviation is not None]
    within = [sum(deviation <= limit for deviation in deviations) for limit in (0.1, 0.3)]
    text = (
        f"{len(deviations)} figures have a published value: {within[0]} come out within 10 %, "
        f"{within[1]} within 30 %."
    )
    if result.simulated_queries:
        text += f" {result.simulated_queries / 1e6:,.0f} million queries were simulated."
    return text


def _html_table(section: Section) -> Table:
    headings, cells = _used_columns(section.rows, HEADINGS)
    return Table(headings=headings, rows=cells)


def _used_columns(rows: Sequence[Compared], headings: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The columns in which any row has something, and their cells."""
    cells = [_cells(row)[: len(headings)] for row in rows]
    used = [any(column) for column in zip(*cells, strict=True)]
    return list(compress(headings, used)), [list(compress(row, used)) for row in cells]


def _cells(row: Compared) -> tuple[str, ...]:
    deviation = "" if row.deviation is None else f"{100 * row.deviation:+.0f} %"
    published = "" if row.published is None else number(row.published, 4)
    predicted = number(row.predicted, 4)
    return (row.case, row.quantity, predicted, published, deviation, row.setting, row.cause)


def _drawn(plot: LinePlot | BarPlot) -> Drawing:
    """Draw a plot; a value that does not exist is a gap, a published one a mark at the bars beside it."""
    if isinstance(plot, BarPlot):
        heights = {name: each for name, each in plot.heights.items() if "published" not in name}
        marks = {name: each for name, each in plot.heights.items() if name not in heights}
        return bars(plot.groups, heights, y_label=plot.y_label, title=plot.title, marks=marks)
    series = []
    for line in plot.lines:
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None]
        series.append(
            Series(
                name=line.name,
                x=[x for x, _ in points],
                y=[y for _, y in points],
                dashed=line.published,
            )
        )
    return lines(
        series,
        x_label=plot.x_label,
        y_label=plot.y_label,
        title=plot.title,
        log_x=plot.log_x,
        log_y=plot.log_y,
    )
