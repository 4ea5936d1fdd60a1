"""Traces and logs in Parquet: columns of every type, values at their ends, files that are damaged."""

from __future__ import annotations

import decimal
import io
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.hostile.running import Case
from benchmarks.hostile.text_files import QUICK, log

_ROWS = 2000
_FLIPPED = 60
"""Files of which a byte is another one."""
_CUT = 10
_TRACE = ("arrival_s", "num_items")
_PREDICT = ("predict", "ncf_skylake", "--json", "--set", QUICK, "--set")
_READ: dict[str, tuple[str, ...]] = {
    "show": ("trace", "show", "file.parquet", "--json"),
    "trace": (*_PREDICT, "traffic.arrivals={process: trace, file: file.parquet}"),
    "sizes": (*_PREDICT, "traffic.query_sizes={distribution: file, file: file.parquet}"),
    "observe": ("observe", "file.parquet", "--json", "--sla-ms", "50", "--out", "observed"),
}
"""What reads a file, by what is said of it."""
_ENDS: dict[str, Any] = {
    "null": None,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "-1": -1.0,
    "-0": -0.0,
    "0": 0.0,
    "1e308": 1e308,
    "1e-308": 1e-308,
    "2^63": 2.0**63,
    "half": 1.5,
}
"""Values in the place of one number."""


def parquet_cases() -> Iterator[Case]:
    """All of them; none where pyarrow, which is an extra, is not installed."""
    if find_spec("pyarrow") is None:
        return
    for read, names in (
        ("show", _TRACE),
        ("trace", _TRACE),
        ("sizes", _TRACE[1:]),
        ("observe", _log_names()),
    ):
        for name in names:
            for what, array in _arrays().items():
                yield _case(read, f"{name} of {what}", partial(_written, read, {name: array}))
            for what, value in _ENDS.items():
                for row in (0, 7, _ROWS - 1):
                    changed = partial(_one_value, read, name, row, value)
                    yield _case(read, f"{name}: row {row + 1}: {what}", changed)
            yield _case(read, f"no {name}", partial(_written, read, {name: None}))
            yield _case(read, f"{name} twice", partial(_twice, read, name))
        for what, content in _damaged(read):
            yield _case(read, what, content)
        yield _case(read, "no row", partial(_first_rows, read, 0))
        yield _case(read, "one row", partial(_first_rows, read, 1))
        yield _case(read, "no column", partial(_written, read, dict.fromkeys(_columns(read))))


def _case(read: str, what: str, content: Callable[[], bytes]) -> Case:
    def write(folder: Path) -> None:
        (folder / "file.parquet").write_bytes(content())

    return Case(group="Parquet", what=f"{read}: {what}", arguments=_READ[read], files=write)


@cache
def _columns(read: str) -> dict[str, list[float]]:
    if read != "observe":
        return {
            "arrival_s": [row / 100 for row in range(_ROWS)],
            "num_items": [1 + row % 300 for row in range(_ROWS)],
        }
    header, *lines = log().splitlines()[: _ROWS + 1]
    rows = [[float(cell) for cell in line.split(",")] for line in lines]
    return dict(zip(header.split(","), map(list, zip(*sorted(rows), strict=True)), strict=True))


def _log_names() -> Sequence[str]:
    return list(_columns("observe"))


@cache
def _arrays() -> dict[str, Any]:
    """A column's values, in every type that Parquet has."""
    import pyarrow as pa  # an extra

    counted = list(range(1, _ROWS + 1))
    of_types = {
        **{
            str(kind): pa.array(counted).cast(kind)
            for kind in (pa.int16(), pa.int32(), pa.uint32(), pa.uint64())
        },
        **{str(kind): pa.array(counted, pa.int64()).cast(kind) for kind in (pa.date64(), pa.time64("us"))},
        **{
            str(kind): pa.array(counted, pa.int64()).cast(kind)
            for unit in ("s", "ms", "us", "ns")
            for kind in (
                pa.timestamp(unit),
                pa.timestamp(unit, "UTC"),
                pa.timestamp(unit, "+01:30"),
                pa.duration(unit),
            )
        },
        **{str(kind): pa.array(counted, pa.int32()).cast(kind) for kind in (pa.date32(), pa.time32("ms"))},
    }
    ends = {
        f"{kind} at its {end}": pa.array([value] * _ROWS, kind)
        for kind, end, value in (
            (pa.int64(), "least", -(2**63)),
            (pa.int64(), "largest", 2**63 - 1),
            (pa.uint64(), "largest", 2**64 - 1),
            (pa.timestamp("s"), "largest", 2**53),
            (pa.timestamp("ms"), "least", -(2**62)),
            (pa.timestamp("us", "UTC"), "largest", 2**63 - 1),
            (pa.timestamp("ns"), "least", -(2**63) + 1),
            (pa.date32(), "largest", 2**31 - 1),
        )
    }
    return {
        **of_types,
        **ends,
        "halves of a float": pa.array(counted, pa.float32()).cast(pa.float16()),
        "text": pa.array([str(number) for number in counted]),
        "large text": pa.array(["x" * 1000] * _ROWS, pa.large_string()),
        "dates as text": pa.array(
            [f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z" for number in counted]
        ),
        "bytes": pa.array([b"\xff\xfe"] * _ROWS),
        "bytes of one length": pa.array([b"abcd"] * _ROWS, pa.binary(4)),
        "true": pa.array([True] * _ROWS),
        "decimals": pa.array([decimal.Decimal(number) for number in counted], pa.decimal128(38, 3)),
        "large decimals": pa.array([decimal.Decimal(10**70)] * _ROWS, pa.decimal256(76, 0)),
        "nothing": pa.nulls(_ROWS),
        "lists": pa.array([[number] for number in counted]),
        "empty lists": pa.array([[]] * _ROWS, pa.list_(pa.int64())),
        "lists of one length": pa.array([[number, 1] for number in counted], pa.list_(pa.int64(), 2)),
        "structures": pa.array([{"a": number} for number in counted]),
        "maps": pa.array([[("a", number)] for number in counted], pa.map_(pa.string(), pa.int64())),
        "a dictionary of numbers": pa.array([1 + number % 9 for number in counted]).dictionary_encode(),
        "a dictionary of text": pa.array([str(number % 9) for number in counted]).dictionary_encode(),
    }


def _file_of(columns: Sequence[tuple[str, Any]]) -> bytes:
    import pyarrow as pa  # an extra
    import pyarrow.parquet as pq

    table = pa.Table.from_arrays(
        [pa.array(values) if isinstance(values, list) else values for _, values in columns],
        [name for name, _ in columns],
    )
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=500, store_schema=True)
    return file.getvalue()


def _written(read: str, changed: dict[str, Any]) -> bytes:
    """The file with other columns; None leaves one out."""
    columns = {**_columns(read), **changed}
    return _file_of([(name, values) for name, values in columns.items() if values is not None])


def _one_value(read: str, name: str, row: int, value: Any) -> bytes:
    values = list(_columns(read)[name])
    values[row] = value
    return _written(read, {name: [None if each is None else float(each) for each in values]})


def _twice(read: str, name: str) -> bytes:
    columns = _columns(read)
    return _file_of([*columns.items(), (name, columns[name])])


def _first_rows(read: str, number: int) -> bytes:
    return _file_of([(name, values[:number]) for name, values in _columns(read).items()])


def _damaged(read: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Files that end early, of which a byte is another one, and that only begin as one."""
    whole = _written(read, {})
    draw = random.Random(1)
    for _ in range(_CUT):
        length = draw.randrange(4, len(whole))
        yield f"cut after {length} bytes", partial(_cut, whole, length)
    for _ in range(_FLIPPED):
        near_end = draw.random() < 0.5  # where the footer says what is where
        place = draw.randrange(len(whole) - 1500 if near_end else 4, len(whole))
        yield f"byte {place}", partial(_flipped, whole, place, draw.randrange(1, 256))
    yield "its name alone", lambda: b"PAR1"
    yield "twice its name", lambda: b"PAR1PAR1"
    yield "zeros within", lambda: b"PAR1" + bytes(1000) + b"PAR1"
    yield "an encrypted end", lambda: whole[:-4] + b"PARE"
    yield "two files in one", lambda: whole + whole


def _cut(content: bytes, length: int) -> bytes:
    return content[:length]


def _flipped(content: bytes, place: int, by: int) -> bytes:
    return content[:place] + bytes([content[place] ^ by]) + content[place + 1 :]
