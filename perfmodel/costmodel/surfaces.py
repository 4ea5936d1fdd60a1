"""Measured surfaces: the time of one call anywhere, from what was measured around it.

A surface is filed under a kernel's family and variant. `amounts` are the work that its law charges for,
`coordinates` where its residual is looked up; calibration fits both with these very functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.kernels import ELEMENT_BYTES, Floats, Kernel
from perfmodel.costmodel.moments import Moment
from perfmodel.costmodel.timing import LINE_BYTES
from perfmodel.domain.surface import Surface

COLD_BYTES = 64e3
"""Traffic below which nothing that matters is evicted: about a first-level cache. [bytes]"""


NEAR_BYTES = 1e6
FAR_BYTES = 32e6
"""Traffic that evicts half of a private cache, and of a shared one: of common servers. [bytes]"""
ALL_EVICTED_BYTES = 256e6
"""Traffic beyond which more of it changes nothing."""
VECTOR, ROW_BLOCK = 16, 4
"""Outputs and rows that a library multiplies at once; a rest is cut into halves, quarters, ... of that, and
each piece costs almost as much as a whole: 31 outputs, in strips of 16, 8, 4, 2 and 1, three times 16.
[elements], [rows]"""
LEAST_LINES = (1.0, 2.0, 4.0)
"""Rows of fewer lines take as long as ones of so many: first lines come one after the other, the next ones of
a row are fetched ahead. [cache lines]"""


class Place(NamedTuple):
    """Where a call lies: `(terms, n)` amounts of work, `(dims, n)` coordinates."""

    amounts: Floats
    coordinates: Floats


def place(kernel: Kernel, batch_size: Floats, at: Moment) -> Place:
    """Amounts and coordinates of one call of a kernel.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    batch_size : (n,) float array
        Items.
    at : Moment
        When; arrays as long as `batch_size`.
    """
    amounts, coordinates = _PLACES[kernel.family](kernel, batch_size, at)
    full = np.ones_like(batch_size)
    since = at.since_bytes / kernel.calls
    amounts += [_beyond(since, NEAR_BYTES), _beyond(since, FAR_BYTES)]
    amounts += [_beyond(at.before_bytes / kernel.calls, NEAR_BYTES)]
    before = at.before_bytes / kernel.calls
    coordinates += [_log_touched(COLD_BYTES + since), _log_touched(COLD_BYTES + before)]
    return Place(
        np.array([full * amount for amount in amounts]),
        np.array([full * coordinate for coordinate in coordinates]),
    )


def surface_seconds(surface: Surface, at: Place) -> Floats:
    """Time of one call: the surface's law and residual. [s]"""
    return np.asarray((surface.law @ at.amounts) * np.exp(residual(surface, at.coordinates)))


def residual(surface: Surface, coordinates: Floats) -> Floats:
    """Logarithm of measured time over the law's. [1]"""
    correlation = matern(coordinates.T, surface.points, surface.scales)
    return np.asarray(surface.amplitude**2 * (correlation @ surface.weights))


def matern(left: Floats, right: Floats, scales: Floats) -> Floats:
    """Matern correlation of smoothness 5/2 between `(n, dims)` and `(m, dims)` points, `(n, m)`.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [100.0]])
    >>> matern(x, x[:1], np.array([1.0])).round(3).ravel().tolist()
    [1.0, 0.524, 0.0]
    """
    a, b = left / scales, right / scales
    squared = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None, :] - 2.0 * (a @ b.T)
    d = np.sqrt(5.0 * np.maximum(squared, 0.0))
    return np.asarray((1.0 + d + d**2 / 3.0) * np.exp(-d))


def _beyond(touched_bytes: Floats, capacity_bytes: float) -> Floats:
    """How much of what was used before so much else was touched has left a cache: 0 to 1. [1]"""
    return np.asarray(touched_bytes / (touched_bytes + capacity_bytes))


def _log_touched(touched_bytes: Floats) -> Floats:
    """Logarithm of what was touched, level where nothing is left to evict: large models lie in range."""
    return np.asarray(np.log(touched_bytes / (1.0 + touched_bytes / ALL_EVICTED_BYTES)))


_Lists = tuple[list[Floats | float], list[Floats | float]]


def _fc(kernel: Kernel, batch_size: Floats, at: Moment) -> _Lists:
    if kernel.product is None:
        raise AssertionError(f"{kernel.operator}: a layer without a product")
    k, n = float(kernel.product.inner), float(kernel.product.outer)
    m, beyond_l2, beyond_l3 = batch_size * kernel.product.rows_per_item, *at.evicted
    row_strips, strips = _strips(m, ROW_BLOCK), float(_strips(np.array([n]), VECTOR)[0])
    thin, column = (m < ROW_BLOCK).astype(float), float(n == 1.0)
    wide, each = (
        (1.0 - thin) * k,
        thin * m * k * n,
    )  # fewer rows than a block: weights are read for each of them
    amounts: list[Floats | float] = [1.0, m, wide * m * n, wide * m * strips, wide * row_strips * n]
    amounts += [
        wide * row_strips * strips,
        wide * n,
        wide * n * beyond_l2,
        wide * n * beyond_l3,
        m * k,
        m * n,
    ]
    amounts += [thin, thin * m, each, each * beyond_l2, each * beyond_l3, column, column * m * k]
    tails = [float(np.log(VECTOR * strips / n)), np.log(ROW_BLOCK * row_strips / m)]
    return amounts, [np.log(m), np.log(k), np.log(n), _log_touched(at.reuse_bytes), thin, column, *tails]


def _strips(sizes: Floats, block: int) -> Floats:
    """Pieces that a size is cut into: whole blocks, then powers of two.

    Examples
    --------
    >>> _strips(np.array([1.0, 15.0, 16.0, 31.0, 48.0]), 16).tolist()
    [1.0, 4.0, 1.0, 5.0, 3.0]
    """
    whole, rest = np.divmod(np.round(sizes).astype(np.int64), block)
    return np.asarray(whole + sum((rest >> bit) & 1 for bit in range(block.bit_length())), dtype=float)


def _lookup(kernel: Kernel, batch_size: Floats, at: Moment) -> _Lists:
    gather = kernel.gather
    if gather is None:
        raise AssertionError(f"{kernel.operator}: lookup without a table")
    beyond_l2, beyond_l3 = at.missed
    rows, bags = batch_size * gather.rows_per_item, batch_size * gather.bags_per_item
    lines = np.ceil(gather.row_bytes / LINE_BYTES)
    amounts: list[Floats | float] = [1.0, bags, rows, rows * lines]
    for missed in (beyond_l2, beyond_l3):  # short rows wait for their first line, long ones for bandwidth
        amounts += [rows * missed * max(lines, least) for least in LEAST_LINES]
    amounts += [rows * share for share in (*at.entries_missed, *at.pages_missed)]
    amounts += [bags * beyond_l3]  # the first rows of a bag: nothing was fetched ahead
    sizes = [np.log(bags), np.log(gather.rows_per_item / gather.bags_per_item), np.log(gather.row_bytes)]
    cold = [
        beyond_l2,
        beyond_l3,
        *at.entries_missed,
        *at.pages_missed,
        np.log(gather.table_bytes),
        _log_touched(at.reuse_bytes),
    ]
    return amounts, [*sizes, *cold]


def _concat(kernel: Kernel, batch_size: Floats, at: Moment) -> _Lists:
    pieces = float(max(kernel.pieces, 1))
    moved = batch_size * kernel.read_bytes_per_item
    amounts: list[Floats | float] = [1.0, pieces, moved, batch_size * pieces]
    piece = np.log(kernel.read_bytes_per_item / pieces)
    return amounts, [np.log(batch_size), np.log(pieces), piece, _log_touched(at.reuse_bytes)]


def _sum(kernel: Kernel, batch_size: Floats, at: Moment) -> _Lists:
    pieces = float(kernel.pieces) if kernel.variant == "tensors" else _ratio(kernel)
    moved = batch_size * kernel.activation_bytes_per_item
    written = batch_size * kernel.written_bytes_per_item
    return [1.0, pieces, moved, written], [np.log(written), np.log(pieces), _log_touched(at.reuse_bytes)]


def _ratio(kernel: Kernel) -> float:
    return kernel.read_bytes_per_item / kernel.written_bytes_per_item


def _elementwise(kernel: Kernel, batch_size: Floats, at: Moment) -> _Lists:
    elements = batch_size * kernel.written_bytes_per_item / ELEMENT_BYTES
    return [1.0, elements], [np.log(elements), _log_touched(at.reuse_bytes)]


def _softmax(kernel: Kernel, batch_size: Floats, at: Moment) -> _Lists:
    rows = batch_size * kernel.rows_per_item
    width = kernel.read_bytes_per_item / ELEMENT_BYTES / kernel.rows_per_item
    short = float(width < VECTOR)  # than a vector: worked element by element
    vectors = float(np.ceil(width / VECTOR))
    amounts: list[Floats | float] = [1.0, rows, rows * width, rows * vectors, short * rows * width]
    amounts += _streamed(ELEMENT_BYTES * rows * width)
    return amounts, [np.log(rows), np.log(width), _log_touched(at.reuse_bytes)]


def _streamed(moved_bytes: Floats) -> list[Floats | float]:
    """Operands and results too large for a cache: for a private one, and for a shared one. [bytes]"""
    return [moved_bytes * _beyond(moved_bytes, NEAR_BYTES), moved_bytes * _beyond(moved_bytes, FAR_BYTES)]


def _batch_matmul(kernel: Kernel, batch_size: Floats, _: Moment) -> _Lists:
    r, k, n = (float(size) for size in kernel.shape)
    p = batch_size * kernel.rows_per_item
    strips = float(_strips(np.array([n]), VECTOR)[0])
    amounts: list[Floats | float] = [1.0, p, p * r * k * n, p * r * k * strips, p * k * (r + n), p * r * n]
    amounts += _streamed(ELEMENT_BYTES * p * (k * (r + n) + r * n))
    return amounts, [np.log(p), np.log(r), np.log(k), np.log(n)]


def _recurrent(kernel: Kernel, batch_size: Floats, _: Moment) -> _Lists:
    """A step's share of the whole layer, whose input products and steps are one call of the framework."""
    steps, width, hidden = (float(size) for size in kernel.shape)
    b = batch_size
    outputs = hidden * (1.0 if kernel.variant == "rnn" else 3.0)
    strips = float(_strips(np.array([outputs]), VECTOR)[0])
    several = (b > 1.0).astype(float)  # one row is multiplied as a vector, several are packed first
    amounts: list[Floats | float] = [
        1.0 / steps,
        1.0,
        several,
        b * hidden * hidden,
        b * width * hidden,
        b * hidden * strips,
        b * width * strips,
        b * hidden,
        hidden * hidden,
        several * hidden * hidden,
        b * width,
    ]
    tail = float(np.log(VECTOR * strips / outputs))
    return amounts, [np.log(b), np.log(steps), np.log(width), np.log(hidden), tail]


_PLACES: Mapping[str, Callable[[Kernel, Floats, Moment], _Lists]] = {
    "fc": _fc,
    "embedding_bag": _lookup,
    "concat": _concat,
    "sum": _sum,
    "activation": _elementwise,
    "elementwise": _elementwise,
    "softmax": _softmax,
    "batch_matmul": _batch_matmul,
    "recurrent": _recurrent,
}
