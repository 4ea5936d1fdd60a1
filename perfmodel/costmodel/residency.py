"""Which embedding rows, and page-table entries, a call finds cached when passes of a model follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
_BINS_AT_ONCE = 2**15
"""Bins of tables whose arithmetic is done together: an array of 10 MB where there are 40 sizes."""
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
    """Fractions of the lookups in each table, `(tables, n)` arrays.

    Attributes
    ----------
    rows : (tables, n) array
        Whose row is not in the cache. [1]
    entries : (tables, n) array
        For whose page the page-table entry is not in the cache: it is read before the row. [1]
    """

    rows: Floats
    entries: Floats


class _Lines(NamedTuple):
    """Pieces of memory that the lookups of some tables read, the bins of all tables in a row.

    Of each bin of a popularity: how many pieces one table has, and lookups of each. Of each table: its first
    bin, how many it has, the bytes of a piece, and how many tables are like it. All are looked up for the
    items, or all for the query: the lookups are then per query, of which a pass has one, whatever its items.
    """

    number: Floats
    rate: Floats
    first: NDArray[np.intp]
    bins: NDArray[np.intp]
    bytes_each: Floats
    alike: Floats
    scope: Scope

    def of(self, items: Floats) -> Floats:
        """How many look up in a pass of so many items: all of them, or the query."""
        return np.ones_like(items) if self.scope == "query" else items

    def to_bins(self, of_tables: Floats) -> Floats:
        """What holds of each table, for each of its bins."""
        return np.repeat(of_tables, self.bins)

    def sums(self, of_bins: Floats) -> Floats:
        """Sums over the bins of each table."""
        return np.asarray(np.add.reduceat(of_bins, self.first, axis=0))


class _Cache(NamedTuple):
    """A cache's size, and the space that a line takes until it is looked up again."""

    capacity_bytes: float
    unused_share: float


class _Affine(NamedTuple):
    """What a pass reads besides its lines: of each pass, and of each item more. [bytes], [bytes/item]"""

    each_pass: float
    item: float

    def of(self, items: Floats) -> Floats:
        return np.asarray(self.each_pass + self.item * items)


class Lookups(NamedTuple):
    """The tables that a pass of a model looks up, with all that it reads besides: made once a pass.

    Attributes
    ----------
    tables : mapping of Gather to int
        Of each lookup of the pass, which of the tables it reads: the row of `Missed`.
    """

    tables: Mapping[Gather, int]
    rows: Sequence[_Lines]
    entries: Sequence[_Lines]
    pages: Sequence[_Lines]
    streamed: _Affine
    once: _Affine

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> Lookups:
        """Those of the kernels of a pass, in execution order."""
        counts, table_of = tables_in_memory(kernels)
        tables = sorted(counts, key=lambda gather: gather.scope)
        at = {table: index for index, table in enumerate(tables)}
        found = [(table, popularity_bins(table)) for table in tables]
        streamed, once = _besides(kernels)
        return cls(
            {gather: at[table] for gather, table in table_of.items()},
            _in_blocks(counts, [_rows(table, *bins) for table, bins in found]),
            _in_blocks(counts, [_entries(table, *bins) for table, bins in found]),
            _in_blocks(counts, [_pages(table) for table in tables]),
            streamed,
            once,
        )


def _besides(kernels: Sequence[Kernel]) -> tuple[_Affine, _Affine]:
    """Weights and activations, touched in each pass; and indices, others in each pass."""
    streamed, once = _Affine(0.0, 0.0), _Affine(0.0, 0.0)
    for kernel in kernels:
        item, query = kernel.activation_bytes_per_item, kernel.read_bytes_per_query
        if kernel.family == "embedding_bag" and kernel.gather is not None:
            item, query = kernel.written_bytes_per_item, 0.0
            indices = kernel.calls * INDEX_BYTES * kernel.gather.rows_per_item
            once = _with(once, kernel.scope, indices, 0.0)
        if kernel.family != "input":
            each = kernel.calls * (kernel.weight_bytes + query)
            streamed = _with(streamed, kernel.scope, kernel.calls * item, each)
    return streamed, once


def _with(known: _Affine, scope: Scope, item: float, each_pass: float) -> _Affine:
    """More of it: what is per item, of the query's once a pass."""
    if scope == "query":
        return _Affine(known.each_pass + each_pass + item, known.item)
    return _Affine(known.each_pass + each_pass, known.item + item)


class _Pieces(NamedTuple):
    """The pieces of one table: how many of each popularity, lookups of each, bytes of a piece."""

    table: Gather
    number: Floats
    rate: Floats
    bytes_each: float


def _in_blocks(counts: Mapping[Gather, int], of_tables: Sequence[_Pieces]) -> list[_Lines]:
    """The pieces of tables in this order, those of one scope together, not too many at once."""
    blocks, block, bins = list[_Lines](), list[_Pieces](), 0
    for pieces in of_tables:
        bins += len(pieces.number)
        if block and (block[0].table.scope != pieces.table.scope or bins > _BINS_AT_ONCE):
            blocks.append(_block(block, counts))
            block, bins = [], len(pieces.number)
        block.append(pieces)
    return [*blocks, _block(block, counts)] if block else blocks


def _block(pieces: Sequence[_Pieces], counts: Mapping[Gather, int]) -> _Lines:
    bins = np.array([len(each.number) for each in pieces])
    return _Lines(
        np.concatenate([each.number for each in pieces]),
        np.concatenate([each.rate for each in pieces]),
        np.cumsum(bins) - bins,
        bins,
        np.array([each.bytes_each for each in pieces]),
        np.array([float(counts[each.table]) for each in pieces]),
        pieces[0].table.scope,
    )


def missed_rows(
    lookups: Lookups,
    batch_size: Floats,
    capacity_bytes: float,
    others_bytes: Floats,
    earlier_size: Floats,
    *,
    unused_share: float = _UNUSED_SHARE,
) -> Missed:
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
    lookups : Lookups
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
    Missed
        Fractions of the lookups in each table, by `lookups.tables`, `(tables, n)` arrays. [1]

    References
    ----------
    .. [1] H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems", IEEE JSAC 20(7), 2002.
    """
    streamed, once = lookups.streamed.of(earlier_size), others_bytes + lookups.once.of(earlier_size)
    cache = _Cache(capacity_bytes, unused_share)
    lines = [*lookups.rows, *lookups.entries]
    missed = _missed(lines, batch_size, earlier_size, streamed, once, cache)
    num_rows = len(lookups.rows)
    return Missed(_joined(missed[:num_rows], batch_size), _joined(missed[num_rows:], batch_size))


def _joined(blocks: Sequence[Floats], cases: Floats) -> Floats:
    """`(tables, n)` of all blocks; without tables none."""
    return np.concatenate(blocks) if blocks else np.empty((0, len(cases)))


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
    lookups, nothing = Lookups.of(kernels), np.zeros_like(knots)
    missed = missed_rows(lookups, knots, l2_bytes / part, nothing, knots, unused_share=1.0)
    at_sizes = [
        np.interp(sizes, knots, entries)[inverse].reshape(np.shape(batch_size)) for entries in missed.entries
    ]
    return {gather: at_sizes[index] for gather, index in lookups.tables.items()}


def _rows(table: Gather, rows: Floats, rate: Floats) -> _Pieces:
    """A table's rows, of these bins, in whole cache lines."""
    return _Pieces(table, rows, rate, ceil(table.row_bytes / LINE_BYTES) * LINE_BYTES)


def _entries(table: Gather, rows: Floats, rate: Floats) -> _Pieces:
    """The page-table entries of a table, in whole cache lines; popular rows lie scattered over the table."""
    number = max(1.0, table.table_bytes / _MAPPED_BYTES)
    if len(rows) == 1 and rows[0] >= number:  # as below, where all rows are looked up alike
        return _Pieces(table, np.array([number]), rows * rate / number, LINE_BYTES)
    alone = np.cumsum(rows) < number
    scattered = np.sum(rows[~alone] * rate[~alone]) / number
    entries = np.append(rows[alone], number - rows[alone].sum())
    return _Pieces(table, entries, np.append(rate[alone], 0.0) + scattered, LINE_BYTES)


def missed_pages(lookups: Lookups, batch_size: Floats, reach_bytes: float, earlier_size: Floats) -> Floats:
    """Fraction of each table's lookups whose page is not in a TLB of this reach, `(tables, n)`. [1]

    Derived here: as `missed_rows`, with huge pages in the place of rows. Popular rows are taken to lie all
    over a table.

    Parameters
    ----------
    lookups, batch_size, earlier_size
        As for `missed_rows`.
    reach_bytes : float
        Entries times the size of a page. [bytes]
    """
    nothing = np.zeros_like(batch_size)
    cache = _Cache(reach_bytes, 1.0)
    return _joined(_missed(lookups.pages, batch_size, earlier_size, nothing, nothing, cache), batch_size)


def _pages(table: Gather) -> _Pieces:
    """A table's huge pages."""
    number = float(ceil(table.table_bytes / HUGE_PAGE_BYTES))
    return _Pieces(table, np.array([number]), np.array([table.rows_per_item / number]), HUGE_PAGE_BYTES)


def _missed(
    blocks: Sequence[_Lines],
    batch_size: Floats,
    earlier_size: Floats,
    streamed_bytes: Floats,
    once_bytes: Floats,
    cache: _Cache,
) -> list[Floats]:
    """Fraction of the lookups that miss, for each block of lines: `(tables, n)` arrays. [1]

    Besides those lines a pass reads some bytes that every pass reads, and some that none reads again.
    """
    spaces = [lines.to_bins(lines.alike * lines.bytes_each) * lines.number for lines in blocks]

    def cached_bytes(log_passes: Floats) -> Floats:
        passes = np.exp(log_passes)
        held = streamed_bytes * np.minimum(1.0, passes) + once_bytes * passes
        for lines, space in zip(blocks, spaces, strict=True):
            held = held + space @ _held(np.outer(lines.rate, lines.of(earlier_size) * passes), cache)
        return held

    if not blocks:
        return []
    passes = _filling_time(cached_bytes, cache.capacity_bytes, len(batch_size))
    apart = 0.5 * (1.0 + batch_size / earlier_size)
    kept = np.minimum(1.0, passes / apart) ** _CYCLE_SHARPNESS
    return [
        _missed_lines(lines, lines.of(batch_size), lines.of(earlier_size) * passes, kept, cache)
        for lines in blocks
    ]


def _missed_lines(
    lines: _Lines, batch_size: Floats, window_items: Floats, kept: Floats, cache: _Cache
) -> Floats:
    """Fraction of a call's lookups that find their line gone: the mean over its progress, `(tables, n)`. [1]

    After x of its b items a line is there that was looked up since the call began, but no longer ago than
    the cache holds; or, where the last passes left anything, within the rest of the window before it.
    """
    alone, looked_up = _filling_items(lines, cache), lines.number * lines.rate
    alone_bins, rate = lines.to_bins(alone)[:, None], lines.rate[:, None]
    missed = np.zeros((len(lines.first), len(batch_size)))
    for progress, weight in zip(_PROGRESS, _PROGRESS_WEIGHTS, strict=True):
        done = progress * batch_size
        gone = np.exp(-rate * np.minimum(done, alone_bins))
        before = kept * -np.expm1(-rate * np.maximum(0.0, window_items - done))
        gone *= 1.0 - np.where(done < alone_bins, before, 0.0)
        missed += weight * lines.sums(looked_up[:, None] * gone)
    return np.asarray(missed / lines.sums(looked_up)[:, None])


def _held(lookups: Floats, cache: _Cache) -> Floats:
    """Space that a line takes that is looked up so many times, of its own. [1]"""
    unused = (1.0 - cache.unused_share) * lookups * np.exp(-lookups)
    return np.asarray(-np.expm1(-lookups) - unused)


def _filling_items(lines: _Lines, cache: _Cache) -> Floats:
    """Items after which one call's lines fill the cache, of each table; infinite where all of them fit."""
    space = lines.to_bins(lines.bytes_each) * lines.number
    fits = lines.sums(space) <= cache.capacity_bytes
    if fits.all():
        return np.full(len(fits), inf)

    def cached_bytes(log_items: Floats) -> Floats:
        return lines.sums(space * _held(lines.rate * lines.to_bins(np.exp(log_items)), cache))

    return np.where(fits, inf, _filling_time(cached_bytes, cache.capacity_bytes, len(fits)))


def _filling_time(cached_bytes: Callable[[Floats], Floats], capacity_bytes: float, cases: int) -> Floats:
    """Time after which a growing set of lines fills the capacity; very long where it never does."""
    low, high = np.full(cases, -_LOG_TIME_BOUND), np.full(cases, _LOG_TIME_BOUND)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_short = cached_bytes(middle) < capacity_bytes
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return np.asarray(np.exp(high))
