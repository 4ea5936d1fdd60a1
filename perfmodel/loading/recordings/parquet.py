"""Parquet, by pyarrow, which is an extra: `pip install perfplan[parquet]`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perfmodel.domain.bounds import MOST_ITEMS
from perfmodel.errors import InputError
from perfmodel.loading.recordings.columns import TIMES, Role, known_columns, slip
from perfmodel.loading.recordings.recording import Recording
from perfmodel.loading.recordings.source import Source
from perfmodel.loading.recordings.stamps import A_DATE
from perfmodel.loading.recordings.tables import recording_of

PARQUET = "Parquet"


def read_parquet(source: Source, *, asked: str | None) -> Recording:
    """Read the columns of a trace or a log.

    Raises
    ------
    InputError
        If pyarrow is not installed, the file is damaged, or a value is bad; names the row.
    """
    try:
        import pyarrow as pa  # an extra
        import pyarrow.parquet as pq
    except ImportError:
        raise source.error("reading Parquet needs pyarrow: pip install 'perfplan[parquet]'") from None
    try:
        schema = pq.read_schema(source.path)
    except (pa.ArrowException, OSError) as error:
        raise source.error(f"damaged Parquet: {str(error).splitlines()[0]}") from None
    names = list(schema.names)
    known = known_columns(names)
    missing = [role for role in (Role.ARRIVAL, Role.SIZE) if role not in known]
    for name in names:
        if (meant := slip(name, missing)) is not None:
            raise source.error(f"unknown column {name!r}; did you mean {meant!r}?")
    try:
        table = pq.read_table(source.path, columns=[column.name for column in known.values()])
    except (pa.ArrowException, OSError) as error:
        raise source.error(f"damaged Parquet: {str(error).splitlines()[0]}") from None
    columns: dict[Role, npt.NDArray[Any]] = {}
    dated = []
    with_a_unit = pa.types.is_timestamp, pa.types.is_date, pa.types.is_duration
    for role, column in known.items():
        found = table.column(column.name)
        if found.null_count:
            row = found.is_null().to_numpy().argmax() + 1
            raise InputError(f"{source.path}: row {row}: {column.name}: expected a value, got nothing")
        if role in TIMES and any(each(found.type) for each in with_a_unit):
            columns[role] = _since_1970_ns(source, column.name, found)
            dated.append(role)
        elif role in (Role.EXECUTOR, Role.QUERY):
            columns[role] = _numbered(source, column.name, found)
        else:
            columns[role] = _numbers(source, column.name, found, role)
    return recording_of(
        source.path,
        PARQUET,
        columns,
        known,
        names=names,
        dated=dated,
        asked=asked,
        place=f"{source.path}:1:1",
    )


def _since_1970_ns(source: Source, name: str, found: Any) -> npt.NDArray[np.int64]:
    """Dates as nanoseconds; durations since whatever they begin at."""
    import pyarrow as pa  # an extra

    lasts = pa.types.is_duration(found.type)
    try:
        stamps = found.cast(
            pa.duration("ns") if lasts else pa.timestamp("ns", getattr(found.type, "tz", None))
        )
    except pa.ArrowInvalid:
        raise source.error(f"{name}: expected {A_DATE}, got others") from None
    nanoseconds: npt.NDArray[np.int64] = stamps.to_numpy().astype(np.int64)
    return nanoseconds


def _numbered(source: Source, name: str, found: Any) -> npt.NDArray[np.int64]:
    """Names of any kind, counted from 0 in their order."""
    try:
        return np.unique(found.to_numpy(), return_inverse=True)[1].astype(np.int64)
    except (TypeError, ValueError):  # lists and structures have no order
        raise source.error(f"{name}: expected numbers or text, got {found.type}") from None


def _numbers(source: Source, name: str, found: Any, role: Role) -> npt.NDArray[Any]:
    try:
        plain = found.to_numpy()
        if plain.dtype.kind in "bmM":  # NumPy would count with truth and dates
            raise TypeError
        values = np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError):
        expected = "numbers or times" if role in TIMES else "numbers"
        raise source.error(f"{name}: expected {expected}, got {found.type}") from None
    if role is Role.SIZE:
        good = (values >= 1) & (values <= MOST_ITEMS) & (values == np.rint(values))
        expected = f"a whole number from 1 to {MOST_ITEMS}"
    else:
        good, expected = np.isfinite(values), "a finite number"
    if not good.all():
        row = int(np.argmin(good))
        raise InputError(f"{source.path}: row {row + 1}: {name}: expected {expected}, got {values[row]:g}")
    return values.astype(np.int64) if role is Role.SIZE else np.ascontiguousarray(values)
