"""Pages on a terminal, as text, and in a notebook: whatever is in brackets is shown as it is."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

LEAST_WIDTH = 100
"""Of a page whose width is ours to choose: the tables fit. [characters]"""

_STYLE = re.compile(r"(\[(?:/|dim|bold(?: [a-z]+)?)\])")
"""The styles that pages use; every other bracket is text, such as an extra of a package or a file's name."""


class PageConsole(Console):
    """Takes only a page's own styles for markup: names, paths and notes are shown as they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, force_jupyter=False, **options)
        self.width = max(self.width, LEAST_WIDTH)

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a page's text into styled text."""
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


def page_text(page: RenderableType) -> str:
    """A page without colours, as wide as the terminal is."""
    console = PageConsole(color_system=None)
    with console.capture() as captured:
        console.print(page)
    return captured.get().removesuffix("\n")


def page_html(page: RenderableType) -> str:
    """A page as HTML that stands in another page: one block of text with its colours."""
    console = PageConsole(file=StringIO(), record=True, color_system="truecolor", width=LEAST_WIDTH)
    console.print(page)
    style = "white-space: pre; overflow-x: auto; line-height: normal; font-family: Menlo, Consolas, monospace"
    return console.export_html(inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>')
