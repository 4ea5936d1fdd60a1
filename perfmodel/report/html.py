"""A self-contained HTML page of prose, tables, figures and controls: one file that can be sent to anyone.

Nothing on it comes from elsewhere: no script, font or picture. It is read in the light and in the dark, on a
phone and on paper, with a keyboard and by a screen reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import compress
from pathlib import Path
from typing import Protocol

from perfmodel.report.drawing import Drawing

FOLDER = Path(__file__).parent
"""Of the sheet and the scripts that pages carry."""

SOME, LONG = 16, 50
"""Cells of more characters are not narrowed to a word a line on a phone, where they would make rows high."""

_NUMERIC = re.compile(r"[-+−]?[0-9]")
"""What a cell with a number begins with."""

_MISSING = re.compile("[-+–−]?$")
"""A cell without anything, or a dash for what does not exist."""

_WORD = re.compile("[A-Za-z]{3,}")

_LONG_WORD = re.compile(rf"[^\s&;<>]{{{SOME + 1},}}")
_BREAKS = re.compile("(?<=[._/=@])(?=[A-Za-z0-9])")
"""Where a name of several parts may break; each part stays whole."""

MOST_WORDS = 1
"""In a cell that is a number, such as `12.4 to no end`; `85 instances, 94 % of Offline` is a text."""


class Block(Protocol):
    """A part of a page."""

    def to_html(self) -> str:
        """Return the markup, every text in it escaped."""
        ...


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section: an entry of the table of contents, and a place to link to."""

    text: str

    @property
    def anchor(self) -> str:
        """The section's name in an address.

        Examples
        --------
        >>> Heading("What each change buys").anchor
        'what-each-change-buys'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.text.lower()).strip("-") or "section"

    def to_html(self) -> str:
        """Return the markup."""
        text = escape(self.text)
        label = f"Link to {escape(self.text, quote=True)}"
        link = f'<a class="self" href="#{self.anchor}" aria-label="{label}">#</a>'
        return f'<h2 id="{self.anchor}">{text}&nbsp;{link}</h2>'


def prose(text: str) -> str:
    """Markup of a text, what stands between back quotes as what one types.

    Examples
    --------
    >>> prose("1 < 2: `--set a=1`")
    '1 &lt; 2: <code>--set a=1</code>'
    """
    kept = re.sub("(?<=[0-9]) %", "\u00a0%", escape(text))  # a number never ends a line without its sign
    return re.sub("`([^`]+)`", r"<code>\1</code>", kept)


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph of plain text."""

    text: str
    is_answer: bool = False

    def to_html(self) -> str:
        """Return the markup."""
        return f'<p class="answer">{prose(self.text)}</p>' if self.is_answer else f"<p>{prose(self.text)}</p>"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; cells are shown as given, words to the left and columns of numbers to the right.

    On a phone the last cell of a row stands below the others where the table `is_stacked`. Where it
    `is_grouped`, rows whose first cells are the same stand below that cell, which has a line of its own.
    Where it `is_trimmed`, columns in which no cell says anything are left out.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    name: str = ""
    is_stacked: bool = False
    is_grouped: bool = False
    is_trimmed: bool = False

    def to_html(self) -> str:
        """Return the markup; who does not see a table hears its name, else its caption or first headings."""
        if self.is_trimmed:
            says = [any(not _MISSING.match(row[i]) for row in self.rows) for i in range(len(self.headings))]
            rows = [list(compress(row, says)) for row in self.rows]
            return replace(
                self, headings=list(compress(self.headings, says)), rows=rows, is_trimmed=False
            ).to_html()
        begin = 1 if self.is_grouped else 0
        words = [
            _is_of_words([row[index] for row in self.rows if index < len(row)])
            for index in range(len(self.headings))
        ]
        head = "".join(
            f'<th scope="col"{_left(is_words)}>{escape(heading)}</th>'
            if heading
            else f"<td{_left(is_words)}></td>"
            for heading, is_words in zip(self.headings[begin:], words[begin:], strict=True)
        )
        lines, group = [], None
        for row in self.rows:
            if self.is_grouped and row[0] != group:
                group = row[0]
                span = len(self.headings) - 1
                lines.append(
                    f'<tr class="group"><th scope="rowgroup" colspan="{span}">{escape(group)}</th></tr>'
                )
            cells = zip(row[begin:], words[begin:], strict=False)
            lines.append(f"<tr>{''.join(_cell(cell, is_words) for cell, is_words in cells)}</tr>")
        body = "\n".join(lines)
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        label = escape(
            self.name or self.caption or " and ".join(filter(None, self.headings[:2])) or "table", quote=True
        )
        kind = ' class="stacked"' if self.is_stacked else ""
        table = f"<table{kind}>{caption}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
        return f'<div class="wide" role="region" tabindex="0" aria-label="{label}">{table}</div>'


@dataclass(frozen=True, slots=True)
class Definitions:
    """Terms and what they mean."""

    terms: Sequence[tuple[str, str]]

    def to_html(self) -> str:
        """Return the markup."""
        return "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in self.terms) + "</dl>"


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text to copy, with a button for it; where it is a file, with one that saves it under that name."""

    text: str
    label: str
    file: str = ""

    def to_html(self) -> str:
        """Return the markup; buttons are there where scripts run, as what they do needs one."""
        label, file = escape(self.label, quote=True), escape(self.file, quote=True)
        save = f' <button type="button" hidden data-save="{file}">Save {file}</button>' if file else ""
        return (
            f'<div class="take"><button type="button" hidden data-copy aria-label="Copy: {label}">'
            f"Copy</button>{save} "
            f'<span role="status"></span><pre tabindex="0" role="region" aria-label="{label}">'
            f"<code>{escape(self.text)}</code></pre></div>"
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing, what it shows, and its data as a table; or bare markup of an SVG, which is not escaped."""

    drawing: Drawing | str
    caption: str = ""

    def to_html(self) -> str:
        """Return the markup."""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        if isinstance(self.drawing, str):
            return f"<figure>{self.drawing}{caption}</figure>"
        drawing = self.drawing
        caption = (
            f"<figcaption><b>{escape(drawing.title)}.</b> {escape(self.caption or drawing.text)}</figcaption>"
        )
        data = Table(drawing.headings, drawing.rows, name=f"The data of {drawing.title}").to_html()
        table = f"<details><summary>The data of “{escape(drawing.title)}”</summary>{data}</details>"
        return f"<figure>{caption}{drawing.svg}{table}</figure>"


@dataclass(frozen=True, slots=True)
class Folded:
    """Parts that few want: a line that opens them."""

    summary: str
    blocks: Sequence[Block]

    def to_html(self) -> str:
        """Return the markup."""
        inside = "\n".join(block.to_html() for block in self.blocks)
        return f'<details class="folded"><summary>{escape(self.summary)}</summary>\n{inside}\n</details>'


@dataclass(frozen=True, slots=True)
class Markup:
    """What is made elsewhere as markup, its texts escaped there."""

    html: str

    def to_html(self) -> str:
        """Return the markup."""
        return self.html


def page(title: str, blocks: Sequence[Block], *, facts: Iterable[str] = (), script: str = "") -> str:
    """Write a page that needs no other file.

    Parameters
    ----------
    title : str
        Of the page.
    blocks : sequence of Block
        In order; what precedes the first heading comes before the table of contents.
    facts : iterable of str
        What made the page, when, and of what: below the title.
    script : str
        JavaScript that belongs to the page; may be empty.

    Examples
    --------
    >>> "<p>1 &lt; 2</p>" in page("Order", [Prose("1 < 2")])
    True
    """
    first = next((i for i, block in enumerate(blocks) if isinstance(block, Heading)), len(blocks))
    before = "\n".join(_in_rows(blocks[:first]))
    after = "\n".join(_in_rows(blocks[first:]))
    heads = [block for block in blocks if isinstance(block, Heading)]
    entries = "".join(f'<li><a href="#{head.anchor}">{escape(head.text)}</a></li>' for head in heads)
    contents = f'<nav aria-label="Contents"><ol>{entries}</ol></nav>' if len(heads) > 1 else ""
    sheet = figure_sheet() + (FOLDER / "page.css").read_text(encoding="utf-8")
    heading = escape(title).replace("_", "_<wbr>")  # where a phone may break a long name
    made = " · ".join(escape(fact) for fact in facts)
    made = f'<p class="facts">{made}</p>' if made else ""
    scripts = [(FOLDER / "take.js").read_text(encoding="utf-8")] if 'class="take"' in after else []
    scripts += [script] if script else []
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{sheet}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{heading}</h1>\n{made}\n{before}\n{contents}\n{after}\n</main>\n"
        + "".join(f"<script>\n{each}\n</script>\n" for each in scripts)
        + "</body>\n</html>\n"
    )


def figure_sheet() -> str:
    """The style of figures, and the colours of all."""
    return (FOLDER / "figures.css").read_text(encoding="utf-8")


def figures_of(page_text: str) -> str:
    """The figures of a page as a part of another, such as a notebook, whose own style they leave alone.

    Examples
    --------
    >>> figures_of(page("Order", [Prose("1 < 2")]))
    ''
    """
    found = re.findall(r"<figure>.*?</figure>", page_text, flags=re.DOTALL)
    if not found:
        return ""
    # Light, on a ground of their own: whether a notebook is dark, the system does not say.
    light = re.sub(r"@media \(prefers-color-scheme: dark\) \{.*?\} \}\n", "", figure_sheet(), flags=re.DOTALL)
    ground = ":scope { color: var(--ink); background: var(--ground); padding: .1rem .6rem }"
    sheet = f"{light.replace(':root', ':scope')} {ground}"
    return f"<div><style>@scope {{ {sheet} }}</style>{''.join(found)}</div>"


def _left(is_words: bool) -> str:
    return ' class="words"' if is_words else ""


def _is_of_words(cells: Sequence[str]) -> bool:
    """Whether a column is one of words: fewer than half of its cells that say something are numbers.

    Examples
    --------
    >>> _is_of_words(["12.4 to 12.5", "the service time of many queries", "–"]), _is_of_words(["–", ""])
    (False, False)
    >>> _is_of_words(["85 instances, 94 % of Offline", ""])
    True
    """
    said = [cell for cell in cells if not _MISSING.match(cell)]
    return 2 * sum(map(_is_number, said)) < len(said)


def _is_number(cell: str) -> bool:
    return _NUMERIC.match(cell) is not None and len(_WORD.findall(cell)) <= MOST_WORDS


def _cell(text: str, is_words: bool) -> str:
    """A cell, on its column's side; a sentence stands to the left everywhere."""
    kinds = ["words"] if is_words or len(text) > LONG else []
    if len(text) > LONG:
        kinds.append("long")
    elif len(text) > SOME and not _is_number(text):
        kinds.append("some")
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{kind}>{_breakable(escape(text))}</td>"


def _breakable(text: str) -> str:
    """A text whose long names may break between their parts.

    Examples
    --------
    >>> _breakable("static.nodes_by_type.skylake of 0.5.1")
    'static.<wbr>nodes_<wbr>by_<wbr>type.<wbr>skylake of 0.5.1'
    """
    return _LONG_WORD.sub(lambda word: _BREAKS.sub("<wbr>", word[0]), text)


def _in_rows(blocks: Sequence[Block]) -> Iterator[str]:
    """Markup, figures beside each other and beside the tables that follow them, where there is room."""
    figures, tables = list[str](), list[str]()

    def row() -> Iterator[str]:
        if figures:
            beside = f'<div class="tables">{"".join(tables)}</div>' if tables else ""
            yield f'<div class="row">{"".join(figures)}{beside}</div>'
        figures.clear()
        tables.clear()

    for block in blocks:
        if isinstance(block, Figure):
            if tables:
                yield from row()
            figures.append(block.to_html())
        elif isinstance(block, Table) and figures:
            tables.append(block.to_html())
        else:
            yield from row()
            yield block.to_html()
    yield from row()
