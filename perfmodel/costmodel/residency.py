"""Which embedding rows, and their pages, a call finds cached when passes of a model follow each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, inf

import numpy as np

from perfmodel.costmodel.footprint import popularity_bins
from perfmodel.costmodel.kernels import INDEX_BYTES, Floats, Gather, Kernel
from perfmodel.costmodel.timing import LINE_BYTES

PAGE_BYTES = 2.0**21
"""Of the pages that the runtime asks for: x86-64's huge ones. [bytes]"""
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

    A call fills the cache with its own rows, beside those that earlier passes have left: LRU over everything
    that a pass touches, by Che's approximation. A row is missed with the probability that it was not looked
    up since the call began, or within the last rows that fill the cache, and that no earlier pass left it.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of one pass; it is repeated for ever, with other rows each time.
    batch_size : (n,) float array
        Items.
    capacity_bytes : float
        Cache that the worker has to itself. [bytes]
    """
    tables, streamed = _tables(kernels), np.zeros_like(batch_size)
    for kernel in kernels:  # weights, activations and indices: touched once in each pass
        per_item = kernel.activation_bytes_per_item
        if kernel.family == "embedding_bag" and kernel.gather is not None:
            per_item = INDEX_BYTES * kernel.gather.rows_per_item + kernel.written_bytes_per_item
        if kernel.family != "input":
            streamed = streamed + kernel.calls * (kernel.weight_bytes + batch_size * per_item)
    return _missed(tables, batch_size, streamed, capacity_bytes)


def missed_pages(
    kernels: Sequence[Kernel], batch_size: Floats, reach_bytes: float
) -> Mapping[Gather, Floats]:
    """Fraction of each table's lookups whose page is not in a TLB of this reach. [1]

    As `missed_rows`, with huge pages in the place of lines. Popular rows are taken to lie all over a table.

    Parameters
    ----------
    kernels, batch_size
        As for `missed_rows`.
    reach_bytes : float
        Entries times the size of a page. [bytes]
    """
    pages = {
        gather: replace(
            gather, row_bytes=PAGE_BYTES, num_rows=ceil(gather.table_bytes / PAGE_BYTES), zipf_exponent=0.0
        )
        for gather in _tables(kernels)
    }
    counts: Counter[Gather] = Counter()
    for gather, count in _tables(kernels).items():
        counts[pages[gather]] += count
    missed = _missed(counts, batch_size, np.zeros_like(batch_size), reach_bytes)
    return {gather: missed[page] for gather, page in pages.items()}


def _tables(kernels: Sequence[Kernel]) -> Counter[Gather]:
    """Tables of a pass, and how many are like each."""
    tables: Counter[Gather] = Counter()
    for kernel in kernels:
        if kernel.family == "embedding_bag" and kernel.gather is not None:
            tables[kernel.gather] += kernel.calls
    return tables


def _missed(
    tables: Mapping[Gather, int], batch_size: Floats, streamed_bytes: Floats, capacity_bytes: float
) -> Mapping[Gather, Floats]:
    bins = {gather: popularity_bins(gather) for gather in tables}

    def cached_bytes(log_passes: Floats) -> Floats:
        passes = np.exp(log_passes)
        held = streamed_bytes * np.minimum(1.0, passes)
        for gather, count in tables.items():
            rows, rate = bins[gather]
            held = held + count * _line_bytes(gather) * (rows @ _touched(rate, batch_size * passes))
        return held

    passes = _filling_time(cached_bytes, capacity_bytes, len(batch_size)) if tables else batch_size
    missed = {}
    for gather in tables:
        rows, rate = bins[gather]
        kept = _touched(rate, batch_size * passes) * np.minimum(1.0, passes) ** _CYCLE_SHARPNESS
        alone = _filling_items(gather, rows, rate, capacity_bytes)
        within = _touched(rate, np.minimum(batch_size, alone)) / rate[:, None]
        beyond = np.outer(np.exp(-rate * alone), np.maximum(0.0, batch_size - alone))
        missed[gather] = (
            (rows * rate) @ ((1.0 - kept) * within + beyond) / (batch_size * gather.rows_per_item)
        )
    return missed


def _touched(rate: Floats, items: Floats) -> Floats:
    """Probability that a row of each bin is looked up within each number of items, `(bins, n)`."""
    return np.asarray(-np.expm1(-np.outer(rate, items)))


def _line_bytes(gather: Gather) -> float:
    """Cache that a row takes: whole lines. [bytes]"""
    return float(np.ceil(gather.row_bytes / LINE_BYTES) * LINE_BYTES)


def _filling_items(gather: Gather, rows: Floats, rate: Floats, capacity_bytes: float) -> float:
    """Items after which one call's rows fill the cache; infinite where the whole table fits."""
    line_bytes = _line_bytes(gather)
    if line_bytes * rows.sum() <= capacity_bytes:
        return inf

    def cached_bytes(log_items: Floats) -> Floats:
        return np.asarray(line_bytes * (rows @ _touched(rate, np.exp(log_items))))

    return float(_filling_time(cached_bytes, capacity_bytes, 1)[0])


def _filling_time(cached_bytes: Callable[[Floats], Floats], capacity_bytes: float, cases: int) -> Floats:
    """Time after which a growing set of lines fills the capacity; very long where it never does."""
    low, high = np.full(cases, -_LOG_TIME_BOUND), np.full(cases, _LOG_TIME_BOUND)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_short = cached_bytes(middle) < capacity_bytes
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return np.asarray(np.exp(high))
