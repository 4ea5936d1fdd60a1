"""Whose lookups are whose: those of one shard, those of the main node itself, and what is sent for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import expm1, log1p

import numpy as np

from perfmodel.costmodel.hot_rows import HotRows
from perfmodel.costmodel.kernels import Floats, Gather, Kernel
from perfmodel.costmodel.shard_places import Ints, Shards
from perfmodel.costmodel.table_groups import TableGroup

HOT = " (hot rows)"
"""What the main node's own lookups are called, after their operator."""


def shard_kernels(
    groups: Sequence[TableGroup], tables: Ints, rows: Ints, hot: HotRows | None = None
) -> tuple[Kernel, ...]:
    """Return the lookups of one shard: of all of a pass those in the rows that it has, and the main one not.

    Derived here: of a bag of p rows a shard with a share f of the table's lookups has f p, and none with the
    chance (1 - f)^p; it sends a vector for each bag of which it has a row. Indices are taken to fall on all
    shards alike, the popular ones too: f is its share of the rows times the share of lookups that are not
    in hot rows; its own most popular row is the first that is not hot.

    Parameters
    ----------
    groups : sequence of TableGroup
        The model's tables.
    tables, rows : (groups,) int arrays
        Tables of each group that the shard has rows of, and the rows of each.
    hot : HotRows or None
        What the main node has copies of.
    """
    kernels = []
    for column, group in enumerate(groups):
        part = rows[column] / group.num_rows
        share = float(part) * _missed(hot, column)
        if tables[column] == 0 or share == 0.0:
            continue
        first_rank = 1.0 if hot is None else 1.0 + float(part) * float(hot.rows[column])
        num_rows = max(1, round(float(rows[column]) - (first_rank - 1.0)))
        for reader in group.readers:
            calls = int(tables[column]) if reader.calls == group.count else reader.calls
            part_of_it = _part(reader, share, num_rows, first_rank)
            kernels.append(replace(part_of_it, calls=calls, is_elsewhere=True))
    return tuple(kernels)


def main_kernels(
    kernels: Sequence[Kernel], groups: Sequence[TableGroup], hot: HotRows | None
) -> tuple[Kernel, ...]:
    """Return what the main node does: all but the lookups, and of those the ones in hot rows.

    Source: counts as in `shard_kernels`, of the share of the lookups that is in hot rows.

    Parameters
    ----------
    kernels : sequence of Kernel
        The whole pass.
    groups : sequence of TableGroup
        The model's tables.
    hot : HotRows or None
        What the main node has copies of.
    """
    columns: dict[Kernel, list[int]] = {}  # equal lookups of tables that differ are told apart by their order
    for column, group in enumerate(groups):
        for reader in group.readers:
            columns.setdefault(reader, []).append(column)
    found = []
    for kernel in kernels:
        if kernel.family != "embedding_bag":
            found.append(kernel)
        elif hot is not None and (share := float(hot.share[column := columns[kernel].pop(0)])) > 0.0:
            own = _part(kernel, share, max(1, round(float(hot.rows[column]))), 1.0)
            found.append(replace(own, operator=f"{kernel.operator}{HOT}"))
    return tuple(found)


def _part(reader: Kernel, share: float, num_rows: int, first_rank: float) -> Kernel:
    """A share of a kernel's lookups, which are in so many of the rows."""
    gather, touched = _gather_of(reader), touched_share(share, reader)
    own = replace(
        gather,
        rows_per_item=gather.rows_per_item * share,
        bags_per_item=gather.bags_per_item * touched,
        num_rows=num_rows,
        first_rank=first_rank,
        rows_in_use=_used_of(gather, num_rows, first_rank),
    )
    return replace(
        reader,
        flop_per_item=reader.flop_per_item * share,
        read_bytes_per_item=reader.read_bytes_per_item * share,
        written_bytes_per_item=reader.written_bytes_per_item * touched,
        gather=own,
    )


def _used_of(gather: Gather, num_rows: int, first_rank: float) -> int | None:
    """How many of some rows are in use: as large a part as of the rows that are not more popular."""
    if gather.rows_in_use is None:
        return None
    before = first_rank - 1.0
    left = max(0.0, gather.rows_in_use - before) / max(1.0, gather.num_rows - before)
    return min(num_rows, max(1, round(num_rows * left)))


def _gather_of(reader: Kernel) -> Gather:
    """What a lookup looks up."""
    assert reader.gather is not None, "what looks rows up says which"
    return reader.gather


def _missed(hot: HotRows | None, column: int) -> float:
    """Share of a table's lookups that are not in hot rows. [1]"""
    return 1.0 if hot is None else max(0.0, float(1.0 - hot.share[column]))  # a share may be 1 + 2e-16


def touched_share(share: float, reader: Kernel) -> float:
    """Vectors that a holder of a share of a table's lookups sends, over those of the whole table. [1]

    Derived here: of pooled bags of p rows 1 - (1 - f)^p, an empty bag counting as one row, since something is
    sent for it; rows that are not pooled are sent one by one, f.

    Parameters
    ----------
    share : float
        Share f of the lookups, in (0, 1]. [1]
    reader : Kernel
        A lookup.

    Examples
    --------
    >>> gather = Gather(rows_per_item=2, bags_per_item=1, row_bytes=128, num_rows=10, zipf_exponent=0)
    >>> touched_share(0.5, Kernel(operator="e", family="embedding_bag", gather=gather, variant="pooled"))
    0.75
    """
    gather = _gather_of(reader)
    if reader.variant != "pooled" or share >= 1.0:
        return min(1.0, share)
    return -expm1(max(1.0, gather.rows_per_item / gather.bags_per_item) * log1p(-share))


def sent_bytes(groups: Sequence[TableGroup], shards: Shards, batch_size: Floats) -> tuple[Floats, Floats]:
    """Bytes that a pass sends to the shards, and gets back from them. [bytes]

    Derived here: out go the indices of rows that are not hot, with weights of rows where there are any; back
    comes a vector for each bag and shard that has a row of it, in fp32. What headers and lengths of bags take
    is left out.

    Parameters
    ----------
    groups : sequence of TableGroup
        The model's tables.
    shards : Shards
        Where they are.
    batch_size : (...) float array
        Items of the pass.
    """
    out, back = np.zeros_like(batch_size), np.zeros_like(batch_size)
    for column, group in enumerate(groups):
        missed = _missed(shards.hot, column)
        shares = shards.rows[:, column] / group.num_rows
        weights = shards.tables[:, column] / group.count
        for reader in group.readers:
            gather = _gather_of(reader)
            index_bytes = reader.read_bytes_per_item - gather.rows_per_item * gather.row_bytes
            vectors = sum(
                weight * touched_share(float(share) * missed, reader)
                for share, weight in zip(*_distinct(shares, weights), strict=True)
            )
            served = reader.calls * reader.of(batch_size)
            out = out + served * missed * index_bytes
            back = back + served * reader.written_bytes_per_item * vectors
    return out, back


def _distinct(shares: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Shares that occur, and the weight of all that are alike."""
    used, which = np.unique(shares, return_inverse=True)
    return used, np.bincount(which, weights, len(used)).astype(np.float64)


def asking_chance(groups: Sequence[TableGroup], hot: HotRows | None, batch_size: Floats) -> Floats:
    """Chance that a pass asks the shards at all: that any of its lookups is not in hot rows. [1]

    Derived here: 1 - the product over lookups of the share in hot rows, lookups being independent.

    Parameters
    ----------
    groups : sequence of TableGroup
        The model's tables.
    hot : HotRows or None
        What the main node has copies of.
    batch_size : (...) float array
        Items of the pass.
    """
    if hot is None:
        return np.ones_like(batch_size)
    log_none = np.zeros_like(batch_size)
    for group, share in zip(groups, hot.share, strict=True):
        if share < 1.0:
            each = sum(
                one.calls * _gather_of(one).rows_per_item * one.of(batch_size) for one in group.readers
            )
            log_none = log_none + each * (np.log(share) if share > 0.0 else -np.inf)
    return np.asarray(-np.expm1(log_none))
