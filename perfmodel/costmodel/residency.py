"""Which embedding rows, and page-table entries, a call finds cached when passes of a model follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, inf
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.contention import PAGE_BYTES, PAGE_ENTRY_BYTES
from perfmodel.costmodel.footprint import popularity_bins, tables_in_memory
from perfmodel.costmodel.kernels import INDEX_BYTES, Floats, Gather, Kernel
from perfmodel.costmodel.timing import LINE_BYTES
from perfmodel.domain.shapes import Scope

HUGE_PAGE_BYTES = 2.0**21
"""Of the pages that the runtime asks for: x86-64's huge ones. [bytes]"""
_MAPPED_BYTES = LINE_BYTES / PAGE_ENTRY_BYTES * PAGE_BYTES
"""Table whose page-table entries share a cache line. Hypervisors map huge pages by small ones. [bytes]"""
_KNOTS = 32
"""Sizes of passes between which what is far is interpolated."""
_LOG_TIME_BOUND = 40.0
_BISECTIONS = 34
"""Of a logarithm between -40 and 40: to 5e-9."""
_UNUSED_SHARE = 0.2
"""Space that a line takes up until it is looked up a second time: last-level caches resist scans, and drop
first what was read only once. A fit to the lookups of two calibrations of one EPYC, between 0 and 0.5. [1]"""
_CYCLE_SHARPNESS = 3.0
"""How fast rows of the last pass are gone where what lies between no longer fits: an LRU cache loses all at
once, one of limited associativity some. [1]"""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_PROGRESS, _PROGRESS_WEIGHTS = 0.5 * (1.0 + _NODES), 0.5 * _WEIGHTS
"""Gauss-Legendre: shares of a call that are done, and how much each counts. [1]"""


class Missed(NamedTuple):
    """Fractions of a table's lookups, `(n,)` arrays.

    Attributes
    ----------
    rows : (n,) array
        Whose row is not in the cache. [1]
    entries : (n,) array
        For whose page the page-table entry is not in the cache: it is read before the row. [1]
    """

    rows: Floats
    entries: Floats


class _Lines(NamedTuple):
    """Pieces of memory that lookups read: how many of each popularity, lookups per item of each, bytes.

    Of lookups of the query, the lookups are per query: a pass has one, whatever its items.
    """

    number: Floats
    rate: Floats
    bytes_each: float
    scope: Scope = "item"

    def of(self, items: Floats) -> Floats:
        """How many look up in a pass of so many items: all of them, or the query."""
        return np.ones_like(items) if self.scope == "query" else items


class _Cache(NamedTuple):
    """A cache's size, and the space that a line takes until it is looked up again."""

    capacity_bytes: float
    unused_share: float


def missed_rows(
    kernels: Sequence[Kernel],
    batch_size: Floats,
    capacity_bytes: float,
    others_bytes: Floats,
    earlier_size: Floats,
    *,
    unused_share: float = _UNUSED_SHARE,
) -> Mapping[Gather, Missed]:
    """Fraction of each table's lookups whose row, or its page's entry, is not in a cache of this capacity.

    A call fills the cache with its own rows, beside those that earlier passes have left: LRU over everything
    that passes touch, by Che's approximation [1]_. A row is missed with the probability that it was not
    looked up since the call began, or within the last rows that fill the cache, and that no earlier pass left
    it. Between two calls of a kind lie half of a pass before and half of the one at hand: passes that do not
    fit leave nothing. The entries of page tables are cached like any other data.

    Derived here: what follows the passes of a model, and that a line takes a share of its space until it is
    looked up a second time.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of one pass; passes follow each other for ever, with other rows each time.
    batch_size : (n,) float array
        Items of the pass at hand.
    capacity_bytes : float
        Of the cache. [bytes]
    others_bytes : (n,) float array
        What others put into it from one pass to the next. [bytes]
    earlier_size : (n,) float array
        Items of the passes before. [items]
    unused_share : float, default 0.2
        Space that a line takes up until it is looked up again; 1 is a plain LRU cache. [1]

    Returns
    -------
    mapping of Gather to Missed
        Fractions of the lookups in each table, `(n,)` arrays. [1]

    References
    ----------
    .. [1] H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems", IEEE JSAC 20(7), 2002.
    """
    tables, table_of = tables_in_memory(kernels)
    streamed, once = np.zeros_like(batch_size), others_bytes
    for kernel in kernels:  # weights and activations: touched in each pass; indices: others in each pass
        activations = kernel.activation_bytes(earlier_size)
        if kernel.family == "embedding_bag" and kernel.gather is not None:
            activations = kernel.of(earlier_size) * kernel.written_bytes_per_item
            indices = kernel.of(earlier_size) * kernel.gather.rows_per_item
            once = once + kernel.calls * INDEX_BYTES * indices
        if kernel.family != "input":
            streamed = streamed + kernel.calls * (kernel.weight_bytes + activations)
    lines = [(_rows(gather), count) for gather, count in tables.items()]
    lines += [(_entries(gather), count) for gather, count in tables.items()]
    cache = _Cache(capacity_bytes, unused_share)
    missed = _missed(lines, batch_size, earlier_size, streamed, once, cache)
    pairs = zip(missed[: len(tables)], missed[len(tables) :], strict=True)
    found = {table: Missed(*pair) for table, pair in zip(tables, pairs, strict=True)}
    return {gather: found[table] for gather, table in table_of.items()}


def far_entries(
    kernels: Sequence[Kernel], batch_size: Floats, l2_bytes: float, *, part: float = 1.0
) -> Mapping[Gather, Floats]:
    """Share of each table's lookups whose page's entry is not in a core's L2, tables on pages of 4 KiB. [1]

    Source: `missed_rows`, of passes of one size that follow each other; between some sizes interpolated.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of one pass.
    batch_size : (...) float array
        Items of the pass.
    l2_bytes : float
        Of the core. [bytes]
    part : float, default 1
        Of the tables' bytes that are there: a half in bf16, which as much L2 holds twice as well. [1]
    """
    sizes, inverse = np.unique(batch_size, return_inverse=True)
    knots = sizes if len(sizes) <= _KNOTS else np.unique(np.geomspace(sizes[0], sizes[-1], _KNOTS))
    missed = missed_rows(kernels, knots, l2_bytes / part, np.zeros_like(knots), knots, unused_share=1.0)
    return {
        gather: np.interp(sizes, knots, found.entries)[inverse].reshape(np.shape(batch_size))
        for gather, found in missed.items()
    }


def _rows(gather: Gather) -> _Lines:
    """A table's rows, in whole cache lines."""
    line_bytes = float(np.ceil(gather.row_bytes / LINE_BYTES) * LINE_BYTES)
    return _Lines(*popularity_bins(gather), line_bytes, gather.scope)


def _entries(gather: Gather) -> _Lines:
    """The page-table entries of a table, in whole cache lines; popular rows lie scattered over the table."""
    rows, rate = popularity_bins(gather)
    number = max(1.0, gather.table_bytes / _MAPPED_BYTES)
    alone = np.cumsum(rows) < number
    lookups = np.sum(rows[~alone] * rate[~alone])
    return _Lines(
        np.append(rows[alone], number - rows[alone].sum()),
        np.append(rate[alone], 0.0) + lookups / number,
        LINE_BYTES,
        gather.scope,
    )


def missed_pages(
    kernels: Sequence[Kernel], batch_size: Floats, reach_bytes: float, earlier_size: Floats
) -> Mapping[Gather, Floats]:
    """Fraction of each table's lookups whose page is not in a TLB of this reach. [1]

    Derived here: as `missed_rows`, with huge pages in the place of rows. Popular rows are taken to lie all
    over a table.

    Parameters
    ----------
    kernels, batch_size, earlier_size
        As for `missed_rows`.
    reach_bytes : float
        Entries times the size of a page. [bytes]

    Returns
    -------
    mapping of Gather to (n,) float array
        Fraction of the lookups in each table. [1]
    """
    tables, table_of = tables_in_memory(kernels)
    pages = [(_pages(gather), count) for gather, count in tables.items()]
    nothing = np.zeros_like(batch_size)
    missed = _missed(pages, batch_size, earlier_size, nothing, nothing, _Cache(reach_bytes, 1.0))
    found = dict(zip(tables, missed, strict=True))
    return {gather: found[table] for gather, table in table_of.items()}


def _pages(gather: Gather) -> _Lines:
    """A table's huge pages."""
    number = float(ceil(gather.table_bytes / HUGE_PAGE_BYTES))
    return _Lines(
        np.array([number]), np.array([gather.rows_per_item / number]), HUGE_PAGE_BYTES, gather.scope
    )


def _missed(
    tables: Sequence[tuple[_Lines, int]],
    batch_size: Floats,
    earlier_size: Floats,
    streamed_bytes: Floats,
    once_bytes: Floats,
    cache: _Cache,
) -> list[Floats]:
    """Fraction of the lookups that miss, for each kind of line and how many tables have such ones. [1]

    Besides those lines a pass reads some bytes that every pass reads, and some that none reads again.
    """

    def cached_bytes(log_passes: Floats) -> Floats:
        passes = np.exp(log_passes)
        held = streamed_bytes * np.minimum(1.0, passes) + once_bytes * passes
        for lines, count in tables:
            held = held + count * _held_bytes(lines, lines.of(earlier_size) * passes, cache)
        return held

    passes = _filling_time(cached_bytes, cache.capacity_bytes, len(batch_size)) if tables else batch_size
    apart = 0.5 * (1.0 + batch_size / earlier_size)
    kept = np.minimum(1.0, passes / apart) ** _CYCLE_SHARPNESS
    return [
        _missed_lines(lines, lines.of(batch_size), lines.of(earlier_size) * passes, kept, cache)
        for lines, _ in tables
    ]


def _missed_lines(
    lines: _Lines, batch_size: Floats, window_items: Floats, kept: Floats, cache: _Cache
) -> Floats:
    """Fraction of a call's lookups that find their line gone: the mean over its progress. [1]

    After x of its b items a line is there that was looked up since the call began, but no longer ago than
    the cache holds; or, where the last passes left anything, within the rest of the window before it.
    """
    alone, looked_up = _filling_items(lines, cache), lines.number * lines.rate
    missed = np.zeros_like(batch_size)
    for progress, weight in zip(_PROGRESS, _PROGRESS_WEIGHTS, strict=True):
        done = progress * batch_size
        since = 1.0 - _touched(lines.rate, np.minimum(done, alone))
        before = kept * _touched(lines.rate, np.maximum(0.0, window_items - done))
        missed += weight * (looked_up @ (since * (1.0 - np.where(done < alone, before, 0.0))))
    return np.asarray(missed / looked_up.sum())


def _touched(rate: Floats, items: Floats) -> Floats:
    """Probability that a row of each bin is looked up within each number of items, `(bins, n)`."""
    return np.asarray(-np.expm1(-np.outer(rate, items)))


def _held_bytes(lines: _Lines, items: Floats, cache: _Cache) -> Floats:
    """Space that the lines looked up within each number of items take, `(n,)`. [bytes]"""
    lookups = np.outer(lines.rate, items)
    unused = (1.0 - cache.unused_share) * lookups * np.exp(-lookups)
    return np.asarray(lines.bytes_each * (lines.number @ (-np.expm1(-lookups) - unused)))


def _filling_items(lines: _Lines, cache: _Cache) -> float:
    """Items after which one call's lines fill the cache; infinite where all of them fit."""
    if lines.bytes_each * lines.number.sum() <= cache.capacity_bytes:
        return inf

    def cached_bytes(log_items: Floats) -> Floats:
        return _held_bytes(lines, np.exp(log_items), cache)

    return float(_filling_time(cached_bytes, cache.capacity_bytes, 1)[0])


def _filling_time(cached_bytes: Callable[[Floats], Floats], capacity_bytes: float, cases: int) -> Floats:
    """Time after which a growing set of lines fills the capacity; very long where it never does."""
    low, high = np.full(cases, -_LOG_TIME_BOUND), np.full(cases, _LOG_TIME_BOUND)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_short = cached_bytes(middle) < capacity_bytes
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return np.asarray(np.exp(high))
