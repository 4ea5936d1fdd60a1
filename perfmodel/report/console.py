"""Pages on a terminal, as text, and in a notebook: whatever is in brackets is shown as it is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Text

LEAST_WIDTH = 100
"""Of a page whose width is ours to choose, in a file or a notebook. [characters]"""

LEAST_TERMINAL = 40
"""Narrower ones are written as if they had this width: figures have to stay whole. [characters]"""

_STYLE = re.compile(r"(\[(?:/|dim|bold(?: [a-z]+)?)\])")
"""The styles that pages use; every other bracket is text, such as an extra of a package or a file's name."""


class PageConsole(Console):
    """Takes only a page's own styles for markup: names, paths and notes are shown as they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, force_jupyter=False, **options)
        if "width" not in options:
            # A terminal knows its width, COLUMNS states one; what is piped has none.
            is_known = self.is_terminal or os.environ.get("COLUMNS", "").isdecimal()
            self.width = max(self.width, LEAST_TERMINAL) if is_known else LEAST_WIDTH

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
        return _Indented(shown) if plain.startswith("  ") and "\n" not in plain else shown


class _Indented(Text):
    """A line that begins with blanks, and goes on below its first word where it is too long for the page."""

    def __init__(self, line: Text) -> None:
        super().__init__(line.plain, style=line.style, spans=list(line.spans))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        blanks = len(self.plain) - len(self.plain.lstrip(" "))
        yield from console.render(Padding(self[blanks:], (0, 0, 0, blanks)), options)


class Trimmed:
    """A page whose lines end with their last sign: no blanks that wrap on a narrow terminal."""

    def __init__(self, page: RenderableType) -> None:
        self._page = page

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._page, options, pad=False):
            yield from _trimmed(line)
            yield Segment.line()


def _trimmed(line: Iterable[Segment]) -> Iterator[Segment]:
    """The segments of a line without the blanks at its end."""
    segments = list(line)
    while segments and not segments[-1].text.rstrip():
        segments.pop()
    if segments:
        last = segments.pop()
        segments.append(Segment(last.text.rstrip(), last.style, last.control))
    yield from segments


def page_text(page: RenderableType, width: int | None = None) -> str:
    """A page without colours, as wide as the terminal is, or so many characters."""
    options = {} if width is None else {"width": width}
    console = PageConsole(color_system=None, **options)
    with console.capture() as captured:
        console.print(Trimmed(page), crop=False)
    return captured.get().removesuffix("\n")


def page_html(page: RenderableType) -> str:
    """A page as HTML that stands in another page: one block of text with its colours."""
    console = PageConsole(file=StringIO(), record=True, color_system="truecolor", width=LEAST_WIDTH)
    console.print(Trimmed(page), crop=False)
    style = "white-space: pre; overflow-x: auto; line-height: normal; font-family: Menlo, Consolas, monospace"
    return console.export_html(inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>')
