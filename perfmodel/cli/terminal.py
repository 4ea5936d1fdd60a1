"""Pages on stdout."""

from __future__ import annotations

from rich.console import RenderableType

from perfmodel.report.console import PageConsole, Trimmed


def print_page(page: RenderableType) -> None:
    """Print a page on stdout, as wide as the terminal."""
    PageConsole().print(Trimmed(page), crop=False)
