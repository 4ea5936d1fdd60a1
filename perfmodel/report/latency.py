"""The terminal page of `perfplan latency`."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from perfmodel.planning.breakdown import LatencyTable
from perfmodel.report.tables import assumption_lines, number, operator_table
from perfmodel.units import MS


def latency_page(result: LatencyTable) -> RenderableType:
    """Latency by batch, then where the largest batch's time goes."""
    beside = f", {result.co_located} copies on one socket" if result.co_located > 1 else ""
    title = f"[bold]{result.model} on {result.device} ({result.stack}){beside}[/]"
    left_out = f", without {', '.join(result.without)}" if result.without else ""
    table = Table(box=None, pad_edge=False)
    for heading in ("batch", "ms", "us/item"):
        table.add_column(heading, justify="right")
    table.add_column("basis")
    for row in result.rows:
        per_item_us = 1e6 * row.seconds / row.batch_size
        table.add_row(
            str(row.batch_size), number(row.seconds / MS, 4), number(per_item_us, 4), row.basis.label
        )
    last = max(result.rows, key=lambda row: row.batch_size)
    operators = operator_table(f"where batch {last.batch_size} spends its time", last.operators)
    said = f"times: {result.service_times_of}{left_out}"
    return Group(title, said, "", table, "", operators, "", *assumption_lines(result.assumptions))


def print_page(page: RenderableType) -> None:
    """Print a page on stdout, as wide as the terminal, at least wide enough for the tables."""
    console = _PageConsole(highlight=False, emoji=False)
    console.width = max(console.width, 100)
    console.print(page)


_STYLE = re.compile(r"(\[(?:/|dim|bold(?: [a-z]+)?)\])")
"""The styles that pages use; every other bracket is text, such as an extra of a package or a file's name."""


class _PageConsole(Console):
    """Takes only a page's own styles for markup: names, paths and notes are shown as they are."""

    def render_str(self, text: str, **options: Any) -> Text:
        plain, spans, style = "", [], ""
        for part in _STYLE.split(text):
            if _STYLE.fullmatch(part):
                style = part[1:-1].strip("/")
            else:
                spans.append((style, len(plain), len(plain) + len(part)))
                plain += part
        shown = super().render_str(plain, **options | {"markup": False})
        for name, start, end in spans:
            shown.stylize(name, start, end)
        return shown
