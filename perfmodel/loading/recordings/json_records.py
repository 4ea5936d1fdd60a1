"""JSON: an object a line, or a list of objects; a range export of Prometheus stands in its own module."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.errors import InputError
from perfmodel.loading.recordings.cells import Cell, numbered
from perfmodel.loading.recordings.columns import TIMES, Column, Role, known_columns, slip
from perfmodel.loading.recordings.recording import IntArray, Recording
from perfmodel.loading.recordings.source import Line, Source
from perfmodel.loading.recordings.stamps import A_DATE, ISO_DTYPE, is_iso, iso_ns
from perfmodel.loading.recordings.tables import recording_of

LINES = "JSON lines"
LIST = "a JSON list of objects"
_LINES_AT_ONCE = 20_000
MOST_DOCUMENT_BYTES = 500e6
"""Of a JSON document that is one value, and is read whole."""


class Records(NamedTuple):
    """Rows of JSON objects, and where each stands: rows are lines, or a list in one document."""

    source: Source
    objects: Iterator[list[tuple[Line, Any]]]
    format: str


def json_lines(source: Source) -> Records:
    """Read an object a line, in batches."""
    return Records(source, _batches(source), LINES)


def json_list(source: Source, document: Sequence[Any]) -> Records:
    """Take the objects of a list."""
    rows = [(Line(source.path, 1, f"row {index + 1}"), value) for index, value in enumerate(document)]
    return Records(source, iter([rows]), LIST)


def _batches(source: Source) -> Iterator[list[tuple[Line, Any]]]:
    lines = (line for line in source.lines() if line.text.strip())
    while batch := list(islice(lines, _LINES_AT_ONCE)):
        try:
            values = json.loads("[" + ",".join(line.text for line in batch) + "]")
        except (ValueError, RecursionError):
            values = []
        if len(values) != len(batch):  # a mistake, which is looked for line by line
            values = [_parsed(line) for line in batch]
        yield list(zip(batch, values, strict=True))


def _parsed(line: Line) -> Any:
    try:
        return json.loads(line.text)
    except json.JSONDecodeError as error:
        raise line.error(f"expected a JSON object on each line: {error.msg}", error.colno - 1) from None
    except RecursionError:
        raise line.error("expected a JSON object on each line, got one nested too deeply") from None
    except ValueError:  # Python reads no whole number of thousands of digits
        raise line.error("expected a JSON object on each line, got a number of too many digits") from None


def read_records(records: Records, *, asked: str | None) -> Recording:
    """Read objects with the keys of a trace or a log.

    Raises
    ------
    InputError
        At the first line that is no object, lacks a key of the first, or holds a bad value.
    """
    names: list[str] = []
    known: dict[Role, Column] = {}
    parts: dict[Role, list[npt.NDArray[Any]]] = {}
    first: dict[Role, Any] = {}
    first_line = 0
    for batch in records.objects:
        if not names and batch:
            names, known = _keys(batch[0][0], batch[0][1])
            first = {role: batch[0][1][column.name] for role, column in known.items()}
            first_line = batch[0][0].number
            parts = {role: [] for role in known}
        for role, column in known.items():
            parts[role].append(_values(batch, role, column.name, first[role]))
    columns = {role: np.concatenate(found) for role, found in parts.items()}
    for role in (Role.EXECUTOR, Role.QUERY):
        if role not in columns:
            continue
        if columns[role].dtype.kind == "U":
            columns[role] = np.unique(columns[role], return_inverse=True)[1].astype(np.int64)
        else:
            columns[role] = numbered(columns[role].tolist())
    return recording_of(
        records.source.path,
        records.format,
        columns,
        known,
        names=names,
        dated=[
            role for role in TIMES if role in known and isinstance(first[role], str) and is_iso(first[role])
        ],
        asked=asked,
        place=f"{records.source.path}:{max(1, first_line)}:1",
        first_line=first_line if records.format == LINES else 0,
    )


def _keys(line: Line, value: Any) -> tuple[list[str], dict[Role, Column]]:
    if not isinstance(value, Mapping):
        raise line.error(f"expected an object with arrival, size and so on, got {json.dumps(value)[:40]}")
    names = [str(name) for name in value]
    known = known_columns(names)
    missing = [role for role in (Role.ARRIVAL, Role.SIZE) if role not in known]
    for name in names:
        if (meant := slip(name, missing)) is not None:
            raise line.error(f"unknown key {name!r}; did you mean {meant!r}?")
    return names, known


def _values(batch: Sequence[tuple[Line, Any]], role: Role, key: str, first: Any) -> npt.NDArray[Any]:
    """One key of many objects: numbers, dates as nanoseconds, or names."""
    try:
        raw = [value[key] for _, value in batch]
    except (KeyError, TypeError):
        raise _lacking(batch, key) from None
    named = role in (Role.EXECUTOR, Role.QUERY) and isinstance(first, str)
    if named:
        return np.array([str(value) for value in raw])
    if role in TIMES and isinstance(first, str) and is_iso(first):
        if all(isinstance(value, str) for value in raw):
            stamps = _dates(raw)
            if stamps is not None:
                return stamps
        wrong = (
            (line, value)
            for line, value in batch
            if not isinstance(value[key], str) or _dates([value[key]]) is None
        )
        # Of dates that are some alone, and none together, the longest was cut.
        line, value = next(wrong, max(batch, key=lambda row: len(row[1][key])))
        raise _cell(line, value, key).unexpected(A_DATE)
    if role in (Role.EXECUTOR, Role.QUERY):
        exact = all(type(value) is int for value in raw)
        return np.array(
            raw if exact else [_cell(line, value, key).whole_number() for line, value in batch], object
        )
    if all(type(value) in (int, float) for value in raw):
        try:
            numbers = np.array(raw, np.float64)
        except OverflowError:  # a whole number that no float holds
            numbers = np.array([np.inf])
        if role is Role.SIZE:
            whole = (numbers >= 1) & (numbers <= 1e6) & (numbers == np.rint(numbers))
            if whole.all():
                return numbers.astype(np.int64)
        elif np.isfinite(numbers).all():
            return numbers
    cells = [_cell(line, value, key) for line, value in batch]
    if role is Role.SIZE:
        return np.array([cell.whole_items() for cell in cells], np.int64)
    return np.array([cell.number() for cell in cells], np.float64)


def _dates(texts: Sequence[str]) -> IntArray | None:
    """As nanoseconds since 1970; letters beyond ASCII are in no date."""
    return iso_ns(np.array([text.encode("ascii", "replace") for text in texts], dtype=ISO_DTYPE))


def _cell(line: Line, value: Mapping[str, Any], key: str) -> Cell:
    found = value[key]
    text = found if isinstance(found, str) else json.dumps(found)
    return Cell(text, line, max(0, line.text.find(f'"{key}"')), key)


def _lacking(batch: Sequence[tuple[Line, Any]], key: str) -> InputError:
    for line, value in batch:
        if not isinstance(value, Mapping):
            return line.error("expected an object on each line, as on the first")
        if key not in value:
            return line.error(f"missing key {key!r}, which the first object has")
    raise AssertionError("some object lacks the key")
