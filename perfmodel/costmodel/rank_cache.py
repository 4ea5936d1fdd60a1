"""Caches of rows in the ranks of memory modules: what they find, by the tables' skew and packets' order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.costmodel.footprint import popularity_bins, table_hit_rates
from perfmodel.costmodel.kernels import Floats, Gather
from perfmodel.costmodel.rank_loads import Repeats
from perfmodel.domain.hardware import Device
from perfmodel.domain.near_memory import (
    DEFAULT_CHANNEL_BYTES_PER_S,
    DRAMS,
    Dram,
    NearMemorySettings,
)

UNIT_W = 0.184
"""Of the logic in a module (two ranks), its caches included: RecNMP, table II (not read again here). [W]"""
RANKS_PER_MODULE = 2

_BISECTIONS = 50
_LOG_BOUND = 60.0
_LEAST = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMemory:
    """The memory of a node whose modules pool rows.

    Attributes
    ----------
    settings : NearMemorySettings
        As a scenario gives them.
    channels : int
        Of the node.
    """

    settings: NearMemorySettings
    channels: int

    @property
    def dram(self) -> Dram:
        """Timing of its memory."""
        return DRAMS[self.settings.dram]

    @property
    def units_w(self) -> float:
        """Power of the logic in all modules. [W]"""
        return UNIT_W * self.channels * max(1.0, self.settings.ranks / RANKS_PER_MODULE)


def near_memory(settings: NearMemorySettings, device: Device) -> NearMemory:
    """Return the memory of a node with these modules.

    Source: channels as given, or the profile's bandwidth over that of DDR4-2400, at least one a socket.

    Parameters
    ----------
    settings : NearMemorySettings
        Of each channel.
    device : Device
        The node's CPU.
    """
    a_socket = max(1, int(device.memory.bandwidth_bytes_per_s / DEFAULT_CHANNEL_BYTES_PER_S))
    return NearMemory(settings=settings, channels=settings.channels or device.sockets * a_socket)


def same_row_chances(table: Gather) -> Repeats:
    """Chances that two, and that three, lookups of a table are of the same row; the largest share. [1]

    Source: `popularity_bins`.

    Parameters
    ----------
    table : Gather
        With its skew.
    """
    rows, rate = popularity_bins(table)
    share = rate / float(rows @ rate)
    return Repeats(float(rows @ share**2), float(rows @ share**3), float(share.max()))


@dataclass(frozen=True, slots=True)
class _Visits:
    """Lookups of one table in passes of several sizes.

    Attributes
    ----------
    rows, share : (bins,) float arrays
        Rows of each bin, and what one of them has of the lookups.
    lookups : (sizes,) float array
        Of one pass.
    """

    rows: Floats
    share: Floats
    lookups: Floats

    def distinct(self, lookups: Floats) -> Floats:
        """Rows among so many lookups, lookups being drawn one by one. [rows]"""
        return np.asarray(self.rows @ -np.expm1(-np.outer(self.share, lookups)))

    def new(self, lookups: Floats) -> Floats:
        """Chance that the next lookup, after so many, is of a row not among them. [1]"""
        return np.asarray((self.rows * self.share) @ np.exp(-np.outer(self.share, lookups)))

    @property
    def twice(self) -> Floats:
        """Chance that a row is looked up twice or more in a pass, `(bins, sizes)`. [1]"""
        mean = np.outer(self.share, self.lookups)
        return np.asarray(-np.expm1(-mean) - mean * np.exp(-mean))


def _filled_after(visits: _Visits, capacity_rows: Floats) -> Floats:
    """Lookups after which as many rows as this have been among them; infinite of all rows. [lookups]"""
    low, high = np.full_like(capacity_rows, -_LOG_BOUND), np.full_like(capacity_rows, _LOG_BOUND)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_short = visits.distinct(np.exp(middle)) < capacity_rows
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return np.asarray(np.where(capacity_rows >= visits.rows.sum(), np.inf, np.exp(high)))


def _table_by_table(visits: _Visits, capacity_rows: float, between_rows: Floats, mixed: Floats) -> Floats:
    """Hit rate of passes of a table that come in turn with others: see `rank_cache_hit_rates`. [1]

    What a pass finds of itself: a row comes again after g lookups and before the cache is full. What it finds
    of the last one: after g lookups of this table and `between_rows` of the others, for g up to where both
    fill the cache; the mean over places x < g in the pass of exp(-p x) - exp(-p g).
    """
    n = np.maximum(visits.lookups, _LEAST)
    filling = np.minimum(n, _filled_after(visits, np.full_like(n, capacity_rows)))
    found = 1.0 - (visits.distinct(filling) + (n - filling) * visits.new(filling)) / n
    left = np.maximum(0.0, capacity_rows - between_rows)
    gap = np.minimum(n, np.where(left > 0.0, _filled_after(visits, left), 0.0))
    found = found + (visits.distinct(gap) - gap * visits.new(gap)) / n
    return np.clip(np.where(gap >= n, np.maximum(mixed, found), found), 0.0, 1.0)


def rank_cache_hit_rates(tables: Sequence[tuple[Gather, int]], memory: NearMemory, items: Floats) -> Floats:
    """Hit rate of each table's rows in the caches of the ranks, in passes of so many items. [1]

    In the order of arrival all tables share the caches: Che's approximation [1]_ (`table_hit_rates`) of one
    LRU cache as large as all of them, each rank having its part of the rows and of the cache.

    Table by table, a pass has the cache of its channel to itself, and finds what it looks up again before
    as many other rows have come: 1 - D(n)/n, D(n) = sum (1 - exp(-p n)) rows among n lookups, up to where D
    fills the cache. Of the last pass it finds what the other tables in between have left, and where the rows
    of all tables in turn fit, that is what the order of arrival finds.

    With hot entries only rows that a pass uses twice or more are cached, a share q of it. They last for k
    passes, k such that the rows that were hot in one of them fill the cache of all tables; the first lookup
    in a pass then finds 1 - (1 - q)^k of its rows beside the others: Che's argument in units of passes. Where
    those of one pass do not fit, which the threshold is raised for, their share does.

    Parameters
    ----------
    tables : sequence of (Gather, int)
        Tables of the model, and how many are like each.
    memory : NearMemory
        Caches, channels, and how packets go there.
    items : (n,) float array
        Of a pass.

    Returns
    -------
    (len(tables), n) float array

    References
    ----------
    .. [1] H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems", IEEE JSAC 20(7), 2002.
    """
    settings = memory.settings
    of_channel = settings.ranks * settings.rank_cache_bytes
    if of_channel == 0.0 or not tables:
        return np.zeros((len(tables), len(items)))
    of_node = of_channel * min(memory.channels, sum(count for _, count in tables))
    mixed = np.minimum(1.0, table_hit_rates(tables, np.array([of_node]))) + np.zeros((1, len(items)))
    if settings.scheduling == "arrival" and not settings.hot_entries:
        return mixed
    visits = [_visits(table, items) for table, _ in tables]
    ordered = mixed
    if settings.scheduling == "table":
        used = [
            table.row_bytes * each.distinct(each.lookups)
            for each, (table, _) in zip(visits, tables, strict=True)
        ]
        in_turn = sum(count * each for (_, count), each in zip(tables, used, strict=True))
        of_turn = in_turn * of_channel / of_node  # of the tables of one channel
        ordered = np.array(
            [
                _table_by_table(
                    each,
                    of_channel / table.row_bytes,
                    np.maximum(0.0, of_turn - own) / table.row_bytes,
                    hit_rate,
                )
                for each, (table, _), own, hit_rate in zip(visits, tables, used, mixed, strict=True)
            ]
        )
    if not settings.hot_entries:
        return ordered
    return np.maximum(ordered, _with_hot_entries(visits, tables, of_channel, of_node))


def _visits(table: Gather, items: Floats) -> _Visits:
    rows, rate = popularity_bins(table)
    served = np.ones_like(items) if table.scope == "query" else items
    return _Visits(rows, rate / float(rows @ rate), served * table.rows_per_item)


def _with_hot_entries(
    visits: Sequence[_Visits], tables: Sequence[tuple[Gather, int]], of_channel: float, of_node: float
) -> Floats:
    """Hit rate where only rows that a pass uses twice or more are cached: see `rank_cache_hit_rates`. [1]"""
    hot = [each.twice for each in visits]
    row_bytes = [count * table.row_bytes for table, count in tables]

    def held(passes: Floats) -> Floats:
        return np.asarray(
            sum(
                size * (each.rows @ (1.0 - (1.0 - chance) ** passes))
                for size, each, chance in zip(row_bytes, visits, hot, strict=True)
            )
        )

    low = np.full(visits[0].lookups.shape, -_LOG_BOUND)
    high = -low / 2.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_short = held(np.exp(middle)) < of_node
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    passes = np.exp(high)
    rates = []
    for each, chance, (table, _) in zip(visits, hot, tables, strict=True):
        lookups = np.maximum(each.lookups, _LEAST)
        again = 1.0 - each.distinct(each.lookups) / lookups
        fits = np.minimum(1.0, of_channel / np.maximum(table.row_bytes * (each.rows @ chance), _LEAST))
        touched = -np.expm1(-np.outer(each.share, each.lookups))
        from_before = (each.rows @ (touched * (1.0 - (1.0 - chance) ** passes))) / lookups
        rates.append(np.maximum(0.0, again) * fits + from_before)
    return np.minimum(1.0, np.array(rates))
