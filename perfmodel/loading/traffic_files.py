"""Recorded traffic: lists of query sizes and arrival traces, from text files to arrays.

numpy reads a file in one go, in C. What it refuses is read again line by line, which finds the place of the
first mistake, or that there is none: people may write what numpy does not know, such as 1_000.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perfmodel.domain.bounds import LEAST_RATE_QPS, MOST_ITEMS, MOST_RATE_QPS
from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_lines
from perfmodel.loading.words import nearest, quoted

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_DATA = Path(__file__).resolve().parent.parent / "traffic_data"


@dataclass(frozen=True, slots=True, eq=False)
class SizeFrequencies:
    """How often each query size occurs.

    Attributes
    ----------
    num_items : (m,) int
        Distinct sizes, ascending. [items]
    probabilities : (m,) float
        Of sum 1. [1]
    """

    num_items: IntArray
    probabilities: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Recorded queries in order of arrival.

    Attributes
    ----------
    arrival_s : (num_queries,) float
        Ascending, from any origin. [s]
    num_items : (num_queries,) int or None
        Sizes; None where the trace records none. [items]
    """

    arrival_s: FloatArray
    num_items: IntArray | None


def named_sizes(distribution: str) -> SizeFrequencies:
    """Load one of the published lists of query sizes, by its name in a scenario.

    Examples
    --------
    >>> named_sizes("mlperf-dlrm").num_items.tolist()
    [100, 200, 300, 400, 500, 600, 700]
    """
    match distribution:
        case "deeprecsys-production":
            return read_sizes(_DATA / "deeprecsys_production.txt")
        case "mlperf-dlrm":
            return read_sizes(_DATA / "mlperf_dlrm.txt")
        case "hercules-service":
            return _read_histogram(_DATA / "hercules_service.csv")
        case _:
            raise InputError(f"unknown list of query sizes {distribution!r}")


def read_sizes(path: Path) -> SizeFrequencies:
    """Read equiprobable sizes, one whole number a line; a size listed twice is twice as likely.

    Blank lines and what follows a `#` are left out.

    Raises
    ------
    InputError
        At the first bad line, `file:line:column: …`; or if there is no size at all.
    """
    table = _table(path, ("num_items",), header_line=0)
    if table is not None and _are_sizes(table["num_items"]):
        sizes = table["num_items"]
    else:
        sizes = np.array([_whole_items(_Cell(line.text, line, offset=0)) for line in _lines(path)], np.int64)
    if not len(sizes):
        raise InputError(f"{path}:1:1: expected query sizes, one whole number a line, found none")
    values, counts = np.unique(sizes, return_counts=True)
    return SizeFrequencies(values, counts / len(sizes))


def read_trace(path: Path) -> Trace:
    """Read a trace: a CSV file with the column `arrival_s` [s] and, optionally, `num_items` [items].

    Raises
    ------
    InputError
        At the first bad line, `file:line:column: …`: a wrong header, a missing or bad value, a time
        before the one above it; if there are fewer than two queries, or their mean rate is that of no
        traffic.
    """
    header, names = _header(path, required=("arrival_s",), optional=("num_items",))
    table = _table(path, names, header_line=header.number)
    trace = None if table is None else _trace_of(table)
    if trace is None:
        trace = _trace_by_line(path)
    if len(trace.arrival_s) < 2:
        raise InputError(f"{path}:1:1: expected a trace of at least 2 queries, found {len(trace.arrival_s)}")
    with np.errstate(over="ignore"):
        lasts_s = float(trace.arrival_s[-1] - trace.arrival_s[0])
    if lasts_s == 0.0:
        raise header.error("arrival_s: all times are equal, so there is no rate")
    rate_qps = (len(trace.arrival_s) - 1) / lasts_s
    if not LEAST_RATE_QPS <= rate_qps <= MOST_RATE_QPS:
        allowed = f"expected a mean rate from {LEAST_RATE_QPS:g} to {MOST_RATE_QPS:g} queries/s"
        raise header.error(f"arrival_s: {allowed}, got {rate_qps:.3g}")
    return trace


def _trace_of(table: npt.NDArray[np.void]) -> Trace | None:
    """The trace in a table; None where a value is not what a trace holds."""
    arrival_s = np.ascontiguousarray(table["arrival_s"])
    if not (np.isfinite(arrival_s).all() and (arrival_s[1:] >= arrival_s[:-1]).all()):
        return None
    if "num_items" not in (table.dtype.names or ()):
        return Trace(arrival_s, None)
    num_items = np.ascontiguousarray(table["num_items"])
    return Trace(arrival_s, num_items) if _are_sizes(num_items) else None


def _trace_by_line(path: Path) -> Trace:
    """Read a trace slowly, up to its first mistake."""
    arrival_s: list[float] = []
    num_items: list[int] = []
    for row in _rows(path, required=("arrival_s",), optional=("num_items",)):
        time_s = _number(row["arrival_s"])
        if arrival_s and time_s < arrival_s[-1]:
            raise row["arrival_s"].unexpected(f"a time >= {arrival_s[-1]!r}, that of the query before")
        arrival_s.append(time_s)
        if "num_items" in row:
            num_items.append(_whole_items(row["num_items"]))
    return Trace(np.array(arrival_s), np.array(num_items, dtype=np.int64) if num_items else None)


def _are_sizes(num_items: IntArray) -> bool:
    return not len(num_items) or bool(num_items.min() >= 1 and num_items.max() <= MOST_ITEMS)


def _table(path: Path, names: Sequence[str], *, header_line: int) -> npt.NDArray[np.void] | None:
    """Read a comma-separated table, sizes as whole numbers; None where numpy cannot, or finds nothing."""
    kinds = [(name, np.int64 if name == "num_items" else np.float64) for name in names]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # whole numbers written as floats, an empty file
            table: npt.NDArray[np.void] = np.loadtxt(
                path, dtype=kinds, delimiter=",", skiprows=header_line, encoding="utf-8-sig", ndmin=1
            )
    except (ValueError, Warning, OSError):
        return None
    return table


def _read_histogram(path: Path) -> SizeFrequencies:
    """Read bin centres and percents; centres are rounded to whole items, percents normalised."""
    rows = list(_rows(path, required=("size_bin_centre_items", "percent_of_queries")))
    centres = np.array([_number(row["size_bin_centre_items"]) for row in rows])
    percents = np.array([_number(row["percent_of_queries"]) for row in rows])
    values, group = np.unique(np.rint(centres).astype(np.int64), return_inverse=True)
    return SizeFrequencies(values, np.bincount(group, weights=percents) / percents.sum())


@dataclass(frozen=True, slots=True)
class _Cell:
    """One value of a text file, and the line and offset where it stands."""

    text: str
    line: _Line
    offset: int
    column_name: str = ""

    def unexpected(self, expected: str) -> InputError:
        """Build the error that names this cell."""
        label = f"{self.column_name}: " if self.column_name else ""
        got = quoted(self.text.strip()) if self.text.strip() else "nothing"
        return self.error(f"{label}expected {expected}, got {got}")

    def error(self, message: str) -> InputError:
        """Build an error at this cell."""
        return self.line.error(message, self.offset + len(self.text) - len(self.text.lstrip()))


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a text file that holds more than a comment."""

    path: Path
    number: int
    text: str

    def error(self, message: str, offset: int = 0) -> InputError:
        """Build an error at this line, `offset` characters in."""
        return InputError(f"{self.path}:{self.number}:{offset + 1}: {message}")

    def cells(self, names: list[str]) -> dict[str, _Cell]:
        """Split the line at its commas into the named columns."""
        texts = self.text.split(",")
        if len(texts) != len(names):
            values = f"{len(names)} value{'s' if len(names) > 1 else ''}"
            raise self.error(f"expected {values} ({', '.join(names)}), got {len(texts)}")
        offsets = accumulate((len(text) + 1 for text in texts), initial=0)
        return {
            name: _Cell(text, self, offset, name)
            for name, text, offset in zip(names, texts, offsets, strict=False)
        }


def _lines(path: Path) -> Iterator[_Line]:
    for number, line in enumerate(read_lines(path), start=1):
        text = line.partition("#")[0].rstrip()
        if text:
            yield _Line(path, number, text)


def _rows(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[dict[str, _Cell]]:
    """Read a CSV file with a header, line by line; columns come in any order."""
    header, names = _header(path, required, optional)
    for line in _lines(path):
        if line.number > header.number:
            yield line.cells(names)


def _header(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> tuple[_Line, list[str]]:
    """Read the header of a CSV file: its line, and the columns in their order."""
    known = (*required, *optional)
    header = next(_lines(path), None)
    if header is None:
        raise InputError(f"{path}:1:1: expected a header with {', '.join(required)}, found an empty file")
    names = [name.strip() for name in header.text.split(",")]
    for cell in header.cells(names).values():
        name = cell.text.strip()
        if name not in known:
            hint = nearest(name, known) or f"; expected a header with {', '.join(known)}"
            raise cell.error(f"unknown column {quoted(name)}{hint}")
        if names.count(name) > 1:
            raise cell.error(f"column {name!r} is given twice")
    if missing := [name for name in required if name not in names]:
        raise header.error(f"missing column {missing[0]!r}")
    return header, names


def _number(cell: _Cell) -> float:
    try:
        value = float(cell.text)
    except ValueError:
        raise cell.unexpected("a number") from None
    if not isfinite(value):
        raise cell.unexpected("a finite number")
    return value


def _whole_items(cell: _Cell) -> int:
    text = cell.text.strip()
    num_items = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if not 1 <= num_items <= MOST_ITEMS:
        raise cell.unexpected(f"a whole number from 1 to {MOST_ITEMS}")
    return num_items
