"""Tables of service times, CSV: `items,service_ms`, perhaps `busy`, and `std_ms` or `p50_ms,p99_ms`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from pathlib import Path

import numpy as np

from perfmodel.domain.bounds import MOST_CORES, MOST_ITEMS
from perfmodel.domain.service_table import ServiceTable
from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_lines
from perfmodel.loading.words import nearest, quoted
from perfmodel.units import MS

REQUIRED = ("items", "service_ms")
OPTIONAL = ("busy", "std_ms", "p50_ms", "p99_ms")
HEADER = "items,service_ms, and perhaps busy, and std_ms or p50_ms,p99_ms"

MOST_TABLE_ROWS = 100_000
"""Of a table: every size up to a thousand on a hundred executors."""

LEAST_MS, MOST_MS = 1e-6, 1e9
"""From a nanosecond, in which nothing here happens, to eleven days. [ms]"""


def read_service_table(path: Path) -> ServiceTable:
    """Read a table of service times, its rows in any order.

    Blank lines and what follows a `#` are left out.

    Raises
    ------
    InputError
        At the first mistake, `file:line:column: …`: a wrong header, a missing or bad value, a size that is
        given twice; or if there is no row.
    """
    header, names = _header(path)
    columns: dict[str, list[float]] = {name: [] for name in names}
    first_line: dict[tuple[float, ...], int] = {}
    for line in _lines(path):
        if line.number <= header.number:
            continue
        cells = line.named(names)
        values = {name: _value(name, cell) for name, cell in cells.items()}
        if "p99_ms" in values and values["p99_ms"] < values["p50_ms"]:
            raise cells["p99_ms"].unexpected(f"at least p50_ms, {values['p50_ms']:g}")
        key = tuple(values[name] for name in ("items", "busy") if name in values)
        if key in first_line:
            beside = f" with busy {key[1]:.0f}" if len(key) > 1 else ""
            twice = f"a size once, got {key[0]:.0f}{beside} again, first in line {first_line[key]}"
            raise cells["items"].error(f"items: expected {twice}")
        first_line[key] = line.number
        if len(first_line) > MOST_TABLE_ROWS:
            raise line.error(f"expected a table of at most {MOST_TABLE_ROWS} rows")
        for name, value in values.items():
            columns[name].append(value)
    if not first_line:
        raise header.error("expected rows of service times below the header, found none")
    array = {name: np.array(column) for name, column in columns.items()}
    in_s = {name: MS * array[name] for name in array if name.endswith("_ms")}
    return ServiceTable(
        name=path.name,
        items=array["items"],
        busy=array.get("busy"),
        service_s=in_s["service_ms"],
        std_s=in_s.get("std_ms"),
        p50_s=in_s.get("p50_ms"),
        p99_s=in_s.get("p99_ms"),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that holds more than a comment."""

    path: Path
    number: int
    text: str

    def error(self, message: str, offset: int = 0) -> InputError:
        """Build an error at this line, `offset` characters in."""
        return InputError(f"{self.path}:{self.number}:{offset + 1}: {message}")

    def cells(self) -> list[_Cell]:
        """What stands between the commas."""
        texts = self.text.split(",")
        offsets = accumulate((len(text) + 1 for text in texts), initial=0)
        return [_Cell(self, text, offset) for text, offset in zip(texts, offsets, strict=False)]

    def named(self, names: list[str]) -> dict[str, _Cell]:
        """The same by column."""
        cells = self.cells()
        if len(cells) != len(names):
            raise self.error(f"expected {len(names)} values ({', '.join(names)}), got {len(cells)}")
        return {
            name: _Cell(self, cell.text, cell.offset, name) for name, cell in zip(names, cells, strict=True)
        }


@dataclass(frozen=True, slots=True)
class _Cell:
    """One value, and where it stands."""

    line: _Line
    text: str
    offset: int
    column: str = ""

    @property
    def value(self) -> str:
        """The text without what surrounds it."""
        return self.text.strip().strip('"').strip()

    def error(self, message: str) -> InputError:
        """Build an error at this cell."""
        return self.line.error(message, self.offset + len(self.text) - len(self.text.lstrip()))

    def unexpected(self, expected: str) -> InputError:
        """Build the error that names this cell's column and value."""
        return self.error(
            f"{self.column}: expected {expected}, got {quoted(self.value) if self.value else 'nothing'}"
        )


def _lines(path: Path) -> Iterator[_Line]:
    for number, text in enumerate(read_lines(path), start=1):
        line = _Line(path, number, text.partition("#")[0].rstrip())
        if line.text:
            yield line


def _header(path: Path) -> tuple[_Line, list[str]]:
    """The first line, and the columns in their order."""
    header = next(_lines(path), None)
    if header is None:
        raise InputError(f"{path}:1:1: expected a header with {HEADER}, found an empty file")
    cells = header.cells()
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(cells) == 1 and separator in header.text:
            raise header.error(f"expected commas between columns, got {name}")
    names = [cell.value for cell in cells]
    for cell in cells:
        if cell.value not in (*REQUIRED, *OPTIONAL):
            hint = nearest(cell.value, (*REQUIRED, *OPTIONAL)) or f"; expected a header with {HEADER}"
            raise cell.error(f"unknown column {quoted(cell.value)}{hint}")
        if names.count(cell.value) > 1:
            raise cell.error(f"column {cell.value!r} is given twice")
    if missing := [name for name in REQUIRED if name not in names]:
        raise header.error(f"missing column {missing[0]!r}; expected a header with {HEADER}")
    if ("p50_ms" in names) != ("p99_ms" in names):
        raise header.error("expected p50_ms and p99_ms together: one says nothing of the scatter")
    if "std_ms" in names and "p50_ms" in names:
        raise header.error("expected std_ms or p50_ms,p99_ms, got both")
    return header, names


def _value(name: str, cell: _Cell) -> float:
    """A value of a column, in the file's unit."""
    if name in ("items", "busy"):
        most = MOST_ITEMS if name == "items" else MOST_CORES
        value = _number(cell, f"a whole number from 1 to {most}")
        if not (1 <= value <= most and value.is_integer()):
            raise cell.unexpected(f"a whole number from 1 to {most}")
        return value
    expected = "a time from 0 ms on" if name == "std_ms" else "a time > 0 ms"
    value = _number(cell, expected)
    if not (value >= LEAST_MS or (name == "std_ms" and value == 0.0)) or value > MOST_MS:
        raise cell.unexpected(expected if value <= 0.0 else f"{LEAST_MS:g} to {MOST_MS:g} ms")
    return value


def _number(cell: _Cell, expected: str) -> float:
    try:
        value = float(cell.value)
    except ValueError:
        raise cell.unexpected(expected) from None
    if not isfinite(value):
        raise cell.unexpected(expected)
    return value
