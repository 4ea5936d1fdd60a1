"""Time stamps as seconds: units by name, by size or by option, and dates by ISO 8601."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.loading.recordings.columns import UNITS
from perfmodel.loading.recordings.recording import FloatArray, IntArray

_EPOCHS = ((1e9, 4e9, "s"), (1e12, 4e12, "ms"), (1e15, 4e15, "us"), (1e18, 4e18, "ns"))
"""Numbers that are times since 1970 of the years 2001 to 2096, by unit."""

WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?\s*(Z|UTC|[+-]\d\d:?\d\d)?)?$", re.ASCII)
_OFFSET = re.compile(rb"\s*(Z|UTC|[+-]\d\d:?\d\d)$")
_TEXT_BYTES = 40
"""Of an ISO stamp: nanoseconds, an offset and some room."""

ISO_DTYPE = f"S{_TEXT_BYTES}"

FIRST_YEAR, LAST_YEAR = b"1678", b"2261"
"""Whole years that nanoseconds since 1970 hold in 64 bits."""

A_DATE = f"a date, such as 2023-11-16 18:15:46.680, from {FIRST_YEAR.decode()} to {LAST_YEAR.decode()}"
"""What is expected where one is none."""


class TimeUnit(NamedTuple):
    """What the stamps of a column are: a unit, whether they count from 1970, and why they were taken so."""

    unit: str
    epoch: bool
    reason: str

    @property
    def seconds(self) -> float:
        """Of one unit. [s]"""
        return UNITS[self.unit]


def is_iso(text: str) -> bool:
    """Whether this is a date, with or without a time of day.

    Examples
    --------
    >>> is_iso("2023-11-16 18:15:46.6805900"), is_iso("2024-05-10T00:00:00Z"), is_iso("12.5")
    (True, True, False)
    """
    return _ISO.match(text.strip().strip('"')) is not None


def epoch_unit(value: float) -> str | None:
    """The unit in which a number is a time since 1970; None where it is none of this century."""
    return next((unit for low, high, unit in _EPOCHS if low <= value < high), None)


def unit_of(name: str, named: str | None, first: float, *, asked: str | None) -> TimeUnit:
    """Say what the numbers of a column of times are.

    Parameters
    ----------
    name : str
        Of the column.
    named : str or None
        The unit that its name gives.
    first : float
        Its first value.
    asked : str or None
        The unit that the user gives.

    Examples
    --------
    >>> unit_of("ts", None, 1.7e12, asked=None).reason
    'ts begins at 1700000000000, which is 2023 in milliseconds since 1970'
    """
    of_size = epoch_unit(first)
    if asked is not None:
        return TimeUnit(asked, of_size == asked, f"--time-unit {asked}")
    if named is not None:
        return TimeUnit(named, of_size == named, f"the name of {name} says {named}")
    if of_size is None:
        return TimeUnit("s", False, f"seconds, since the name of {name} gives no unit and its values no date")
    year = datetime.fromtimestamp(first * UNITS[of_size], UTC).year
    said = f"{name} begins at {first:.0f}, which is {year} in {WORDS[of_size]} since 1970"
    return TimeUnit(of_size, True, said)


def iso_ns(texts: npt.NDArray[np.bytes_]) -> IntArray | None:
    """Dates as nanoseconds since 1970, UTC where they give no offset; None where one is none of these.

    Parameters
    ----------
    texts : (n,) bytes array
        Stamps, all with the same offset from UTC.
    """
    if not len(texts):
        return np.empty(0, np.int64)
    texts = np.char.strip(texts, b' "')
    found = _OFFSET.search(bytes(texts[0]))
    shift_ns = 0
    # A date alone ends in what looks like an offset.
    if found is not None and b":" in bytes(texts[0]):
        suffix = found.group()
        if not np.char.endswith(texts, suffix).all():
            return None
        texts = np.char.replace(texts, suffix, b"")
        shift_ns = _offset_ns(found.group(1).decode())
    texts = np.char.replace(texts, b",", b".")
    years = texts.astype("S4")
    if ((years < FIRST_YEAR) | (years > LAST_YEAR)).any():  # NumPy wraps them round
        return None
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):  # of an offset within a date
            stamps = texts.astype("U").astype("datetime64[ns]")
    except (ValueError, UserWarning):
        return None
    if np.isnat(stamps).any():
        return None
    return stamps.astype(np.int64) - shift_ns


def iso_number_ns(text: str) -> int | None:
    """One date as nanoseconds since 1970; None where it is none."""
    found = iso_ns(np.array([text.strip()], dtype=ISO_DTYPE)) if is_iso(text) else None
    return None if found is None else int(found[0])


def since_first_s(stamps_ns: IntArray, first_ns: int) -> FloatArray:
    """Nanoseconds as seconds since the first, which keeps their digits. [s]"""
    return np.asarray((stamps_ns - first_ns) * 1e-9, dtype=np.float64)


def _offset_ns(offset: str) -> int:
    if offset in ("Z", "UTC"):
        return 0
    sign = -1 if offset[0] == "-" else 1
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    return sign * (hours * 3600 + minutes * 60) * 10**9
