"""Rows that the main node keeps itself of tables that are on nodes of their own: which, and how often hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.popularity import by_popularity, by_recency
from perfmodel.costmodel.table_groups import TableGroup
from perfmodel.domain.shards import HotRowSettings
from perfmodel.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HotRows:
    """Copies of rows on the main node, by group of tables; the shards have all rows still.

    Attributes
    ----------
    rows : (groups,) float array
        Of each table of a group, the most popular first. [rows]
    share : (groups,) float array
        Of the lookups in one that find their row there. [1]
    lookups_share : float
        The same of all lookups of an item. [1]
    held_bytes : float
        Memory that they take. [bytes]
    is_cache : bool
        Whether they are those looked up last, and not chosen once.
    """

    rows: Floats
    share: Floats
    lookups_share: float
    held_bytes: float
    is_cache: bool


def hot_rows(groups: Sequence[TableGroup], settings: HotRowSettings) -> HotRows:
    """Choose the rows that a memory on the main node keeps.

    Source: `by_popularity`, or `by_recency` of a cache.

    Parameters
    ----------
    groups : sequence of TableGroup
        The model's tables.
    settings : HotRowSettings
        How much memory, and what it keeps.
    """
    capacity = settings.memory_gib * GIB
    all_bytes = sum(group.count * group.table_bytes for group in groups)
    is_cache = settings.kept == "lru"
    kept = by_recency(groups, capacity) if is_cache else by_popularity(groups, [capacity])
    lookups = np.array([group.count * group.looked_up_bytes / group.row_bytes for group in groups])
    return HotRows(
        rows=kept.rows[0],
        share=kept.share[0],
        lookups_share=float(lookups @ kept.share[0] / lookups.sum()),
        held_bytes=min(capacity, all_bytes),
        is_cache=is_cache,
    )
