"""Which embedding rows a call finds in its worker's cache, when passes of a model follow each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from perfmodel.costmodel.footprint import popularity_bins
from perfmodel.costmodel.kernels import INDEX_BYTES, Floats, Gather, Kernel
from perfmodel.costmodel.timing import LINE_BYTES

_LOG_TIME_BOUND = 40.0
_BISECTIONS = 34
"""Of a logarithm between -40 and 40: to 5e-9."""
_CYCLE_SHARPNESS = 3.0
"""How fast rows of the last pass are gone where a pass no longer fits: an LRU cache loses all at once, one
of limited associativity some. [1]"""


def missed_rows(
    kernels: Sequence[Kernel], batch_size: Floats, capacity_bytes: float
) -> Mapping[Gather, Floats]:
    """Fraction of each table's lookups whose row is not in a cache of this capacity. [1]

    A lookup is the first of its row in this call, or not. The first one finds the row if it was cached since
    an earlier pass: LRU over everything that a pass touches, by Che's approximation. The others find it if
    the table alone, which is all that the call reads at random, has kept it.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of one pass; it is repeated for ever, with other rows each time.
    batch_size : (n,) float array
        Items.
    capacity_bytes : float
        Cache that the worker has to itself. [bytes]
    """
    tables: Counter[Gather] = Counter()
    streamed = np.zeros_like(batch_size)  # weights, activations and indices: touched once in each pass
    for kernel in kernels:
        if kernel.family == "embedding_bag" and kernel.gather is not None:
            tables[kernel.gather] += kernel.calls
            per_item = INDEX_BYTES * kernel.gather.rows_per_item + kernel.written_bytes_per_item
            streamed = streamed + kernel.calls * batch_size * per_item
        elif kernel.family != "input":
            per_item = kernel.activation_bytes_per_item
            streamed = streamed + kernel.calls * (kernel.weight_bytes + batch_size * per_item)
    if not tables:
        return {}
    bins = {gather: popularity_bins(gather) for gather in tables}

    def cached_bytes(log_passes: Floats) -> Floats:
        passes = np.exp(log_passes)
        held = streamed * np.minimum(1.0, passes)
        for gather, count in tables.items():
            rows, rate = bins[gather]
            held = held + count * _line_bytes(gather) * (rows @ _touched(rate, batch_size * passes))
        return held

    passes = _filling_time(cached_bytes, capacity_bytes, len(batch_size))
    missed = {}
    for gather in tables:
        rows, rate = bins[gather]
        first = rows[:, None] * _touched(rate, batch_size)
        again = np.maximum(0.0, np.outer(rows * rate, batch_size) - first)
        kept = _touched(rate, batch_size * passes) * np.minimum(1.0, passes) ** _CYCLE_SHARPNESS
        lost_again = _lost_alone(gather, rows, rate, capacity_bytes)
        lookups = batch_size * gather.rows_per_item
        missed[gather] = (np.sum(first * (1.0 - kept), axis=0) + lost_again @ again) / lookups
    return missed


def _touched(rate: Floats, items: Floats) -> Floats:
    """Probability that a row of each bin is looked up within each number of items, `(bins, n)`."""
    return np.asarray(-np.expm1(-np.outer(rate, items)))


def _line_bytes(gather: Gather) -> float:
    """Cache that a row takes: whole lines. [bytes]"""
    return float(np.ceil(gather.row_bytes / LINE_BYTES) * LINE_BYTES)


def _lost_alone(gather: Gather, rows: Floats, rate: Floats, capacity_bytes: float) -> Floats:
    """Probability that a row of each bin has left a cache that only this table uses, `(bins,)`."""
    line_bytes = _line_bytes(gather)
    if line_bytes * rows.sum() <= capacity_bytes:
        return np.zeros_like(rate)

    def cached_bytes(log_items: Floats) -> Floats:
        return np.asarray(line_bytes * (rows @ _touched(rate, np.exp(log_items))))

    items = _filling_time(cached_bytes, capacity_bytes, 1)
    return np.asarray(np.exp(-rate * items))


def _filling_time(cached_bytes: Callable[[Floats], Floats], capacity_bytes: float, cases: int) -> Floats:
    """Time after which a growing set of lines fills the capacity; very long where it never does."""
    low, high = np.full(cases, -_LOG_TIME_BOUND), np.full(cases, _LOG_TIME_BOUND)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_short = cached_bytes(middle) < capacity_bytes
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return np.asarray(np.exp(high))
