"""Lines of separated values, cut into cells that know where they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.domain.bounds import MOST_ITEMS
from perfmodel.errors import InputError
from perfmodel.loading.recordings.source import Line
from perfmodel.loading.words import quoted

SEPARATORS = (",", ";", "\t", "|")
"""Tried in this order; blanks where none of them occurs."""

BLANKS = " "

MOST_COUNTED = 2.0**53
"""Queries that a row may stand for: floats count no further one by one, and sums of more end nowhere."""


class Cell(NamedTuple):
    """One value of a text file, without its quotes, and the line and offset where it stands."""

    text: str
    line: Line
    offset: int
    column: str = ""

    def unexpected(self, expected: str) -> InputError:
        """Build the error that names this cell."""
        label = f"{self.column}: " if self.column else ""
        got = quoted(self.text) if self.text else "nothing"
        return self.error(f"{label}expected {expected}, got {got}")

    def error(self, message: str) -> InputError:
        """Build an error at this cell."""
        return self.line.error(message, self.offset)

    def number(self, *, decimal_comma: bool = False) -> float:
        """Read a finite number, also as people write it: 1_000, or 1,5 where no comma separates."""
        text = self.text.replace(",", ".") if decimal_comma else self.text
        try:
            value = float(text)
        except ValueError:
            raise self.unexpected("a number") from None
        if not isfinite(value):
            raise self.unexpected("a finite number")
        return value

    def whole_number(self, *, decimal_comma: bool = False) -> int:
        """Read a number that names something, to the last digit: floats are alike from 2^53 up."""
        try:
            return int(self.text)
        except ValueError:
            value = self.number(decimal_comma=decimal_comma)
        if value != int(value):
            raise self.unexpected("a whole number")
        return int(value)

    def whole_items(self) -> int:
        """Read a query's size: a whole number, which may be written as 10.0."""
        text = re.sub(r"\.0*$", "", self.text)
        num_items = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
        if not 1 <= num_items <= MOST_ITEMS:
            raise self.unexpected(f"a whole number from 1 to {MOST_ITEMS}")
        return num_items


def numbered(names: Sequence[int]) -> npt.NDArray[np.int64]:
    """Numbers that name something, as they are; counted from 0 in their order where 64 bits do not hold them.

    Examples
    --------
    >>> numbered([7, 5]).tolist(), numbered([2**64 + 1, 5, 2**64, 5]).tolist()
    ([7, 5], [2, 0, 1, 0])
    """
    if all(-(2**63) <= name < 2**63 for name in names):
        return np.array(names, dtype=np.int64)
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([places[name] for name in names], dtype=np.int64)


def cells_of(line: Line, separator: str) -> list[Cell]:
    """Cut a line at its separators, but not inside quotes.

    Examples
    --------
    >>> from pathlib import Path
    >>> [(cell.text, cell.offset) for cell in cells_of(Line(Path("a"), 1, '7, "a,b",8'), ",")]
    [('7', 0), ('a,b', 3), ('8', 9)]
    """
    if separator == BLANKS:
        return [
            Cell(found.group().strip('"'), line, found.start())
            for found in re.finditer(r'"[^"]*"|\S+', line.text)
        ]
    cells, start, inside = [], 0, False
    text = line.text
    if '"' not in text:
        for part in text.split(separator):
            cells.append(_cell(part, line, start))
            start += len(part) + 1
        return cells
    for index, letter in enumerate(text):
        if letter == '"':
            inside = not inside
        elif letter == separator and not inside:
            cells.append(_cell(text[start:index], line, start))
            start = index + 1
    return [*cells, _cell(text[start:], line, start)]


def _cell(part: str, line: Line, start: int) -> Cell:
    stripped = part.strip()
    offset = start + len(part) - len(part.lstrip()) if stripped else start + len(part)
    if len(stripped) > 1 and stripped[0] == stripped[-1] == '"':
        stripped = stripped[1:-1].strip()
    return Cell(stripped, line, offset)


def separator_of(text: str) -> str:
    """What separates the values of a line, outside quotes.

    Examples
    --------
    >>> separator_of("arrival_s;num_items"), separator_of("1 2"), separator_of("arrival_s")
    (';', ' ', ',')
    """
    bare = re.sub(r'"[^"]*"', '""', text.strip())
    counts = Counter(letter for letter in bare if letter in SEPARATORS)
    if counts:
        return max(SEPARATORS, key=lambda each: counts[each])
    return BLANKS if re.search(r"\S\s+\S", bare) else ","


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
