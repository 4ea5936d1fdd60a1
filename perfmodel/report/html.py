"""A self-contained HTML page of prose, tables and figures: one file that can be sent to anyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.7rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid #d5dae2 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
caption, figcaption { text-align: left; color: #5a6473; padding: .3rem 0; max-width: 60rem }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #e3e7ed; text-align: right }
th { border-bottom: 2px solid #aab3c0 } th:first-child, td:first-child { text-align: left }
td.words { text-align: left } figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
"""


class Block(Protocol):
    """A part of a page."""

    def to_html(self) -> str:
        """Return the markup, every text in it escaped."""
        ...


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section."""

    text: str

    def to_html(self) -> str:
        """Return the markup."""
        return f"<h2>{escape(self.text)}</h2>"


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph of plain text."""

    text: str

    def to_html(self) -> str:
        """Return the markup."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; cells are shown as given, words to the left and numbers to the right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def to_html(self) -> str:
        """Return the markup."""
        head = "".join(f"<th>{escape(heading)}</th>" for heading in self.headings)
        body = "\n".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in self.rows)
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing and what it shows; `svg` is markup (`plots.py` makes it) and is not escaped."""

    svg: str
    caption: str = ""

    def to_html(self) -> str:
        """Return the markup."""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return f"<figure>{self.svg}{caption}</figure>"


def page(title: str, blocks: Sequence[Block]) -> str:
    """Write a page that needs no other file: no script, no font, no picture from elsewhere.

    Examples
    --------
    >>> "<p>1 &lt; 2</p>" in page("Order", [Prose("1 < 2")])
    True
    """
    body = "\n".join(block.to_html() for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _cell(text: str) -> str:
    """A cell; what begins like a number, or stands for a missing one, is set to the right."""
    numeric = text[:1].isdigit() or text[:1] in {"", "+", "-", "–", "−"}
    return f"<td>{escape(text)}</td>" if numeric else f'<td class="words">{escape(text)}</td>'
