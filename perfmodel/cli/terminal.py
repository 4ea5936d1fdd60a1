"""Pages on stdout."""

from __future__ import annotations

from rich.console import RenderableType

from perfmodel.report.console import PageConsole


def print_page(page: RenderableType) -> None:
    """Print a page on stdout, as wide as the terminal, at least wide enough for the tables."""
    PageConsole().print(page)
