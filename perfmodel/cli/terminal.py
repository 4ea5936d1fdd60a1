"""Pages on stdout."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text


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
