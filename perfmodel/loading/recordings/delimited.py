"""Tables of separated values with a header, whatever separates them and whatever else they hold.

numpy reads a table in one go, in C. What it refuses is read again line by line, which finds the place of the
first mistake, or that there is none: people may write what numpy does not know, such as 1_000.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.domain.bounds import MOST_ITEMS
from perfmodel.loading.recordings.cells import (
    BLANKS,
    MOST_COUNTED,
    Cell,
    cells_of,
    is_number,
    numbered,
    separator_of,
)
from perfmodel.loading.recordings.columns import TIMES, Column, Role, known_columns, slip
from perfmodel.loading.recordings.source import Line, Source
from perfmodel.loading.recordings.stamps import A_DATE, ISO_DTYPE, is_iso, iso_ns, iso_number_ns

Columns = dict[Role, npt.NDArray[Any]]

_DATED_ROWS = 200_000
"""Read at once where stamps are dates: as texts they take five times as much memory."""
_NAME_DTYPE = "U24"
MOST_SLIPS = 200
"""Columns among which slips are looked for, which takes half a millisecond each."""
_CHUNK_BYTES = 1 << 20


class Layout(NamedTuple):
    """How a table is laid out.

    Attributes
    ----------
    header : Line
        The line with the names of the columns.
    separator : str
        Between values; " ": blanks.
    names : list of str
        Of the columns, in order.
    columns : dict of Role to Column
        Those that say something of queries.
    first : list of Cell
        The first row; empty where there is none.
    """

    header: Line
    separator: str
    names: list[str]
    columns: dict[Role, Column]
    first: list[Cell]

    @property
    def dated(self) -> tuple[Role, ...]:
        """Columns of times that hold dates."""
        return tuple(role for role in TIMES if (text := self._first(role)) is not None and is_iso(text))

    @property
    def named(self) -> tuple[Role, ...]:
        """Columns of executors or queries that hold names instead of whole numbers."""
        return tuple(
            role
            for role in (Role.EXECUTOR, Role.QUERY)
            if (text := self._first(role)) is not None and not text.removeprefix("-").isdecimal()
        )

    def _first(self, role: Role) -> str | None:
        column = self.columns.get(role)
        return (
            None if column is None or column.position >= len(self.first) else self.first[column.position].text
        )


def find_layout(source: Source) -> Layout | None:
    """Find the header of a table; None where the first line is one of values.

    Raises
    ------
    InputError
        At a column that is given twice, or whose name looks like a slip of one that is missing.
    """
    comment = None
    for number, text in enumerate(source.head.splitlines(), start=1):
        bare = text.partition("#")[0].rstrip()
        if not bare:
            comment = Line(source.path, number, text.partition("#")[2].rstrip()) if "#" in text else comment
            continue
        line = Line(source.path, number, bare)
        separator = separator_of(bare)
        cells = cells_of(line, separator)
        if not all(is_number(cell.text) or is_iso(cell.text) for cell in cells if cell.text):
            return _layout(source, line, separator)
        if comment is not None:  # numpy.savetxt writes its header as a comment
            separator = separator_of(comment.text)
            found = known_columns([cell.text for cell in cells_of(comment, separator)])
            if Role.ARRIVAL in found or Role.SIZE in found:
                return _layout(source, comment, separator)
        return None
    return None


def _layout(source: Source, header: Line, separator: str) -> Layout:
    cells = cells_of(header, separator)
    names = [cell.text for cell in cells]
    columns = known_columns(names)
    missing = [role for role in (Role.ARRIVAL, Role.SIZE) if role not in columns]
    used = {column.position for column in columns.values()}
    for index, cell in enumerate(cells):
        if cell.text and names.count(cell.text) > 1 and names.index(cell.text) in used:
            raise cells[_last(names, cell.text)].error(f"column {cell.text!r} is given twice")
        if len(cells) <= MOST_SLIPS and index not in used and (meant := slip(cell.text, missing)) is not None:
            raise cell.error(f"unknown column {cell.text!r}; did you mean {meant!r}?")
    following = (
        Line(source.path, number, text.partition("#")[0].rstrip())
        for number, text in enumerate(source.head.splitlines(), start=1)
        if number > header.number and text.partition("#")[0].strip()
    )
    first = next(following, None)
    return Layout(header, separator, names, columns, [] if first is None else cells_of(first, separator))


def _last(names: list[str], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)


def read_columns(source: Source, layout: Layout) -> Columns:
    """Read the columns of a table that say something of queries.

    Times are numbers as they stand, or nanoseconds since 1970 where they are dates; sizes are whole numbers;
    executors and queries are numbered from 0 where they have names.

    Raises
    ------
    InputError
        At the first bad value, `file:line:column: …`.
    """
    columns = _all_at_once(source, layout)
    if columns is None:
        columns = _line_by_line(source, layout)
    for role in layout.named:
        columns[role] = np.unique(columns[role], return_inverse=True)[1].astype(np.int64)
    return columns


def _all_at_once(source: Source, layout: Layout) -> Columns | None:
    """The columns as numpy reads them; None where it cannot, or where a line is not as long as the header."""
    sizes = layout.columns.get(Role.SIZE)
    whole = (
        sizes is None or sizes.position >= len(layout.first) or layout.first[sizes.position].text.isdecimal()
    )
    if len(layout.columns) < len(layout.names) and not _is_even(source, layout):
        return None
    for size_type in (np.int64, np.float64) if whole else (np.float64,):
        table = _loaded(source, layout, _types(layout, size_type))
        columns = None if table is None else _checked(table, layout)
        if columns is not None:
            return columns
    return None


def _types(layout: Layout, size_type: type[np.generic]) -> list[tuple[str, Any]]:
    """Type of each column, in the order of the file."""
    types: list[tuple[str, Any]] = []
    for role, _ in sorted(layout.columns.items(), key=lambda item: item[1].position):
        if role in layout.dated:
            types.append((role, ISO_DTYPE))
        elif role in layout.named:
            types.append((role, _NAME_DTYPE))
        elif role is Role.SIZE:
            types.append((role, size_type))
        else:
            types.append((role, np.int64 if role in (Role.EXECUTOR, Role.QUERY) else np.float64))
    return types


def _loaded(source: Source, layout: Layout, types: list[tuple[str, Any]]) -> Columns | None:
    options: dict[str, Any] = {
        "dtype": types,
        "delimiter": None if layout.separator == BLANKS else layout.separator,
        "quotechar": '"' if '"' in source.head else None,
        "ndmin": 1,
    }
    if len(layout.columns) < len(layout.names):
        options["usecols"] = sorted(column.position for column in layout.columns.values())
    dated = layout.dated
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # whole numbers written as floats, an empty file
            if not dated and not source.compressed:
                table = np.loadtxt(
                    source.path, skiprows=layout.header.number, encoding="utf-8-sig", **options
                )
                return {Role(name): np.ascontiguousarray(table[name]) for name, _ in types}
            with source.open_text() as file:
                parts = list(_parts(islice(file, layout.header.number, None), types, dated, options))
    except (ValueError, Warning, OSError, EOFError):
        return None
    if not parts or any(part is None for part in parts):
        return None
    return {Role(name): np.concatenate([part[Role(name)] for part in parts if part]) for name, _ in types}


def _parts(
    lines: Iterator[str], types: list[tuple[str, Any]], dated: tuple[Role, ...], options: dict[str, Any]
) -> Iterator[Columns | None]:
    """The table piece by piece, with dates as nanoseconds; None of a piece where one is no date."""
    while batch := list(islice(lines, _DATED_ROWS)):
        table = np.loadtxt(batch, **options)
        piece: Columns = {}
        for name, _ in types:
            values = np.ascontiguousarray(table[name])
            if Role(name) in dated:
                if (stamps := iso_ns(values)) is None:
                    yield None
                    return
                values = stamps
            piece[Role(name)] = values
        yield piece


def _checked(columns: Columns, layout: Layout) -> Columns | None:
    """The columns, sizes as whole numbers; None where a value is not what a recording holds."""
    for role in (*TIMES, Role.COUNT):
        if role in columns and role not in layout.dated and not np.isfinite(columns[role]).all():
            return None
    counts = columns.get(Role.COUNT)
    if counts is not None and ((counts < 0) | (counts > MOST_COUNTED)).any():
        return None
    sizes = columns.get(Role.SIZE)
    if sizes is None:
        return columns
    if len(sizes) and not (sizes.min() >= 1 and sizes.max() <= MOST_ITEMS):
        return None
    if sizes.dtype != np.int64:
        if not (sizes == np.rint(sizes)).all():
            return None
        columns[Role.SIZE] = sizes.astype(np.int64)
    return columns


def _is_even(source: Source, layout: Layout) -> bool:
    """Whether all lines have as many separators as the header, so far as counting tells."""
    if layout.separator == BLANKS or '"' in source.head or "#" in source.head:
        return '"' in source.head or layout.separator == BLANKS
    separator, found, lines, last = layout.separator.encode(), 0, 0, b"\n"
    opened = source.open_text()
    with opened as file:
        raw = file.buffer
        try:
            while chunk := raw.read(_CHUNK_BYTES):
                found += chunk.count(separator)
                lines += chunk.count(b"\n")
                last = chunk[-1:]
        except (OSError, EOFError):
            return False
    lines += last != b"\n"
    return found == lines * (len(layout.names) - 1)


def rows_of(source: Source, layout: Layout) -> Iterator[Mapping[Role, Cell]]:
    """Read a table line by line: the cells that say something of queries, by role."""
    for line in source.content():
        if line.number <= layout.header.number:
            continue
        cells = cells_of(line, layout.separator)
        if len(cells) != len(layout.names):
            values = f"{len(layout.names)} value{'s' if len(layout.names) > 1 else ''}"
            listed = ", ".join(layout.names[:6]) + (", …" if len(layout.names) > 6 else "")
            raise line.error(f"expected {values} ({listed}), got {len(cells)}")
        yield {
            role: cells[column.position]._replace(column=column.name)
            for role, column in layout.columns.items()
        }


def _line_by_line(source: Source, layout: Layout) -> Columns:
    """Read a table slowly, up to its first mistake."""
    found: dict[Role, list[Any]] = {role: [] for role in layout.columns}
    dated, named, decimal_comma = layout.dated, layout.named, layout.separator != ","
    for row in rows_of(source, layout):
        for role, cell in row.items():
            found[role].append(_value(role, cell, role in dated, role in named, decimal_comma))
    columns: Columns = {}
    for role, values in found.items():
        if role in (Role.EXECUTOR, Role.QUERY) and role not in named:
            columns[role] = numbered(values)
            continue
        kind: Any = (
            np.str_ if role in named else np.int64 if role is Role.SIZE or role in dated else np.float64
        )
        columns[role] = np.array(values, dtype=kind)
    return columns


def _value(role: Role, cell: Cell, dated: bool, named: bool, decimal_comma: bool) -> float | int | str:
    if role is Role.SIZE:
        return cell.whole_items()
    if named:
        if not cell.text:
            raise cell.unexpected("a name")
        return cell.text
    if dated:
        if (stamp := iso_number_ns(cell.text)) is None:
            raise cell.unexpected(A_DATE)
        return stamp
    if role in (Role.EXECUTOR, Role.QUERY):
        return cell.whole_number(decimal_comma=decimal_comma)
    value = cell.number(decimal_comma=decimal_comma)
    if role is Role.COUNT and not 0 <= value <= MOST_COUNTED:
        raise cell.unexpected(f"a number from 0 to {MOST_COUNTED:.0f}")
    return value
