"""HdrHistogram's logs and percentile tables: latencies by value, and how many in each interval.

A log (format version 1.0 to 1.3) has comments `#[…]`, a legend, and a line an interval: `Tag=NAME,` where
tagged, start [s], length [s], largest value, and the histogram: base64 of a V2 payload, compressed. The
payload, as `EncodableHistogram` and `AbstractHistogram` of the library define it: a cookie, its length, an
offset, significant digits, the least and the greatest value that can be told apart, a ratio (big endian),
then counts by index as ZigZag LEB128 numbers, of which a negative one skips so many.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
import zlib

import numpy as np

from perfmodel.loading.recordings.cells import Cell, cells_of
from perfmodel.loading.recordings.recording import Counts, FloatArray, Frequencies, IntArray, Recording
from perfmodel.loading.recordings.source import Source
from perfmodel.loading.recordings.tables import frequencies_of

LOG = "an HdrHistogram log"
PERCENTILES = "an HdrHistogram percentile table"

LOG_MARKS = ("[Histogram log format version", '"Interval_Compressed_Histogram"')
_TABLE_HEAD = re.compile(r"Value,?\s*\"?Percentile,?\"?\s*\"?TotalCount,?\"?\s*\"?1/\(1-Percentile\)", re.I)

_COMPRESSED, _PLAIN, _ANY_WORD = 0x1C849304, 0x1C849303, 0xF0
"""Cookies of the second encoding; the bits of `_ANY_WORD` say how wide words are."""
_HEADER = struct.Struct(">iiiiqqd")
MOST_INDEX = 1 << 24
"""Counts of a histogram: at five significant digits over 64 bits of values."""


def is_log(head: str) -> bool:
    """Whether a file begins as a log does."""
    return any(mark in head[:4000] for mark in LOG_MARKS)


def is_percentiles(head: str) -> bool:
    """Whether a file has the heading of a percentile table, perhaps below what a load generator printed."""
    return _TABLE_HEAD.search(head[:20000].replace('"', "")) is not None


def read_log(source: Source) -> Recording:
    """Read a log: queries by interval, and the values of all of them."""
    starts: list[float] = []
    widths: list[float] = []
    counts: list[float] = []
    values: list[FloatArray] = []
    weights: list[IntArray] = []
    tags: set[str] = set()
    legend = ""
    for line in source.lines():
        text = line.text.strip()
        if not text or text.startswith("#"):
            continue
        if text.replace('"', "").startswith("StartTimestamp"):
            legend = text
            continue
        cells = cells_of(line, ",")
        if cells[0].text.startswith("Tag="):
            tags.add(cells.pop(0).text.removeprefix("Tag="))
        if len(cells) != 4:
            raise line.error(f"expected start, length, largest value and histogram, got {len(cells)} values")
        start_s, second = (_time(cell) for cell in cells[:2])
        width_s = second - start_s if "EndTimestamp" in legend else second
        if width_s < 0:
            raise cells[1].unexpected("a length >= 0 [s]")
        histogram = decode(cells[3])
        starts.append(start_s)
        widths.append(width_s)
        counts.append(float(histogram.counts.sum()))
        values.append(histogram.values)
        weights.append(histogram.counts.astype(np.int64))
    if not starts:
        raise source.error(f"looks like {LOG}, but holds no interval")
    order = np.argsort(starts, kind="stable")
    found = frequencies_of(np.concatenate(values), np.concatenate(weights))
    notes = ["queries are counted where they end, in the interval that recorded them"]
    if tags:
        notes.append(f"tags added up: {', '.join(sorted(tags)[:8])}")
    stretches = _stretches(np.array(starts)[order], np.array(widths)[order], np.array(counts)[order])
    return Recording(
        path=source.path,
        format=LOG,
        counts=stretches,
        latencies=found,
        time_unit="s",
        time_reason="the format says seconds",
        ignored=("largest value of each interval",),
        notes=tuple(notes),
    )


def _stretches(starts: FloatArray, widths: FloatArray, counts: FloatArray) -> Counts:
    """Intervals, those of several tags that begin together as one."""
    begins, first, group = np.unique(starts, return_index=True, return_inverse=True)
    return Counts(begins, widths[first], np.bincount(group, weights=counts).astype(np.float64))


def _time(cell: Cell) -> float:
    value = cell.number()
    if value < 0:
        raise cell.unexpected("a time >= 0 [s]")
    return value


def read_percentiles(source: Source) -> Recording:
    """Read a percentile table: values and how many lie at or below each."""
    values: list[float] = []
    totals: list[float] = []
    inside = False
    for line in source.lines():
        if _TABLE_HEAD.search(line.text.replace('"', "")):
            inside = True
            continue
        text = line.text.strip()
        if not inside or not text:
            continue
        if text.startswith(("#", "-")):
            break
        cells = cells_of(line, "," if "," in text else " ")
        if len(cells) not in (3, 4):
            raise line.error(
                f"expected value, percentile, count and 1/(1 - percentile), got {len(cells)} values"
            )
        value, total = cells[0].number(), cells[2].number()
        if totals and (value < values[-1] or total < totals[-1]):
            raise cells[0].unexpected(f"a value and count not below those of the line before, {values[-1]:g}")
        values.append(value)
        totals.append(total)
    if not totals or totals[-1] <= 0:
        raise source.error(f"looks like {PERCENTILES}, but counts no value")
    return Recording(
        path=source.path,
        format=PERCENTILES,
        latencies=frequencies_of(np.array(values), np.diff(np.array(totals), prepend=0.0)),
        notes=("latencies are in the unit of the table, of which it says nothing",),
    )


def decode(cell: Cell) -> Frequencies:
    """Decode a histogram of a log: the middle of each bucket of values, and its count.

    Raises
    ------
    InputError
        If it is no base64, of another version, or damaged.
    """
    try:
        packed = base64.b64decode(cell.text, validate=True)
    except (binascii.Error, ValueError):
        raise cell.error("expected a histogram in base64") from None
    if len(packed) < 8:
        raise cell.error("the histogram is cut off")
    cookie, length = struct.unpack_from(">ii", packed)
    if cookie & ~_ANY_WORD != _COMPRESSED:
        raise cell.error(
            f"expected a compressed histogram of encoding V2, got the cookie {cookie & 0xFFFFFFFF:#x}"
        )
    try:
        plain = zlib.decompress(packed[8 : 8 + length])
        inner, payload, _, digits, lowest, _, ratio = _HEADER.unpack_from(plain)
    except (zlib.error, struct.error):
        raise cell.error("the histogram is damaged") from None
    if inner & ~_ANY_WORD != _PLAIN or not 0 <= digits <= 5 or lowest < 1 or len(plain) < 40 + payload:
        raise cell.error("the histogram is damaged")
    indices, counts = _counts(plain[40 : 40 + payload], cell)
    return Frequencies(_middles(indices, digits, lowest) * (ratio or 1.0), counts)


def _counts(data: bytes, cell: Cell) -> tuple[IntArray, FloatArray]:
    """The indices that hold something, and how much."""
    indices, counts, index, position = [], [], 0, 0
    while position < len(data):
        value, shift = 0, 0
        while True:
            if position >= len(data) or shift > 56:
                raise cell.error("the histogram is damaged")
            byte = data[position]
            position += 1
            if shift == 56:  # the ninth byte is all of a number of 64 bits that is left
                value |= byte << shift
                break
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        number = (value >> 1) ^ -(value & 1)
        if number < 0:
            index += -number
        else:
            if number:
                indices.append(index)
                counts.append(float(number))
            index += 1
        if index > MOST_INDEX:
            raise cell.error("the histogram is damaged")
    return np.array(indices, np.int64), np.array(counts, np.float64)


def _middles(indices: IntArray, digits: int, lowest: int) -> FloatArray:
    """The middle of the values that share an index: `valueFromIndex` of the library, and half its width."""
    unit = int(math.log2(lowest))
    sub_magnitude = max(1, math.ceil(math.log2(2 * 10**digits)))
    half = sub_magnitude - 1
    bucket = (indices >> half) - 1
    sub = (indices & ((1 << half) - 1)) + (1 << half)
    low = bucket < 0
    sub = np.where(low, sub - (1 << half), sub)
    shift = np.where(low, 0, bucket) + unit
    values = sub.astype(np.float64) * 2.0**shift
    return np.asarray(values + np.floor(2.0**shift / 2.0))
