"""Which rows of which tables are looked up most, and what share of lookups they are: miss-ratio curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.footprint import popularity_bins, table_hit_rates
from perfmodel.costmodel.kernels import Floats, Gather
from perfmodel.costmodel.table_groups import TableGroup

_NEXT_TO_NONE = 1e-9
"""Relative: so little of a bin's rows is nothing, and all but so little is all. [1]"""


class Popular(NamedTuple):
    """Rows of each group of tables, and the share of the lookups in them: `(parts, groups)` float arrays.

    Of one table of a group; `first_rank`: that of the most popular of these rows, 1 of all.
    """

    rows: Floats
    share: Floats
    first_rank: Floats


def by_popularity(groups: Sequence[TableGroup], capacity_bytes: Sequence[float]) -> Popular:
    """Deal rows out to memories, the most looked up a byte to the first, until each is full.

    The r-th row of a table is looked up in proportion to r^-s (`popularity_bins`, of which each bin's rows
    count as alike): no other choice of as many bytes is looked up more, which is Belady's bound for lookups
    that are independent of each other [1]_. Tables without skew follow each other, each as a whole.

    Parameters
    ----------
    groups : sequence of TableGroup
        The model's tables.
    capacity_bytes : sequence of float
        Of each memory, fastest first; what none holds is left out of the result. [bytes]

    Returns
    -------
    Popular
        A part for each memory.

    References
    ----------
    .. [1] A. Aho, P. Denning, J. Ullman, "Principles of Optimal Page Replacement", J. ACM 18(1), 1971.
    """
    bins = [popularity_bins(_table_of(group)) for group in groups]
    of_group = np.concatenate([np.full(len(rows), index) for index, (rows, _) in enumerate(bins)])
    rows, rates = (np.concatenate([each[part] for each in bins]) for part in (0, 1))
    row_bytes = np.array([group.row_bytes for group in groups])[of_group]
    counts = np.array([float(group.count) for group in groups])[of_group]
    order = np.argsort(-rates / row_bytes, kind="stable")
    bin_bytes = (counts * rows * row_bytes)[order]
    before = np.cumsum(bin_bytes) - bin_bytes
    ends = np.cumsum([0.0, *capacity_bytes])
    filled = np.clip((ends[:, None] - before) / bin_bytes, 0.0, 1.0)
    filled[filled > 1.0 - _NEXT_TO_NONE] = 1.0
    filled[filled < _NEXT_TO_NONE] = 0.0
    held, looked = rows[order] * np.diff(filled, axis=0), (rows * rates)[order]
    num = len(groups)
    each_rows = np.array([np.bincount(of_group[order], part, num) for part in held])
    lookups = [np.bincount(of_group[order], part, num) for part in looked * np.diff(filled, axis=0)]
    share = np.array(lookups) / np.bincount(of_group[order], looked, num)
    first_rank = 1.0 + np.cumsum(each_rows, axis=0) - each_rows
    return Popular(each_rows, share, first_rank)


def by_recency(groups: Sequence[TableGroup], capacity_bytes: float) -> Popular:
    """Rows in a memory that keeps those looked up last: hit rates by Che's approximation (`table_hit_rates`).

    Derived here: the rows are told as the most popular ones that are looked up as often as the cache hits.

    Parameters
    ----------
    groups : sequence of TableGroup
        The model's tables.
    capacity_bytes : float
        Of the memory. [bytes]
    """
    tables = [(_table_of(group), group.count) for group in groups]
    share = table_hit_rates(tables, np.array([capacity_bytes]))[:, 0]
    rows = np.array([_most_popular(table, float(hit)) for (table, _), hit in zip(tables, share, strict=True)])
    return Popular(rows[None, :], share[None, :], np.ones((1, len(groups))))


def _table_of(group: TableGroup) -> Gather:
    """One table with the lookups of all that read it, of the query and of an item together."""
    first = group.readers[0].gather
    assert first is not None, "what looks rows up says which"
    looked_up = sum(each.gather.rows_per_item for each in group.readers if each.gather is not None)
    return replace(first, rows_per_item=looked_up)


def _most_popular(table: Gather, share: float) -> float:
    """Rows, the most popular first, that a share of the lookups are in. [rows]"""
    rows, rates = popularity_bins(table)
    lookups = np.concatenate([[0.0], np.cumsum(rows * rates)])
    return float(np.interp(share * lookups[-1], lookups, np.concatenate([[0.0], np.cumsum(rows)])))
