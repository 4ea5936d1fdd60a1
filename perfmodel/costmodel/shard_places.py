"""Embedding tables on nodes of their own: which tables and rows lie on which of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf

import numpy as np
import numpy.typing as npt

from perfmodel.costmodel.hot_rows import HotRows, hot_rows
from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.table_groups import TableGroup, require_movable, table_groups
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.shards import MOST_SHARDS, NetworkSettings, ShardSettings
from perfmodel.errors import InputError
from perfmodel.units import GIB

Ints = npt.NDArray[np.int64]

MOST_PLACED = 100_000
"""Whole tables that are placed one by one."""
MOST_CHAINED = 50_000
"""Tables times shards up to which the fullest shard is held to that of one shard fewer: half a second."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardMachine:
    """What a part of the tables lies on, where that is not a machine like the main node.

    Attributes
    ----------
    device : Device
        Its CPU.
    cores : int
        Cores that look rows up.
    """

    device: Device
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shards:
    """Where the tables are, and how they are asked.

    Attributes
    ----------
    by_row : bool
        Whether every shard has a part of each table; else each table is whole on one.
    replicas : int
        Nodes with the same part.
    network : NetworkSettings or None
        The way to them; None: they answer at once.
    tables, rows : (num_shards, groups) int arrays
        How many tables of each group a shard has rows of, and how many rows of each of them.
    row_bytes : (groups,) float array
        Of a row of each group. [bytes]
    slowest : float
        Mean time of the slowest answer over the mean time of one, >= 1. [1]
    hot : HotRows or None
        What the main node has copies of; None: it asks for all.
    on : ShardMachine or None
        Each of the nodes; None: like the main one, and a request finds a core free.
    """

    by_row: bool
    replicas: int
    network: NetworkSettings | None
    tables: Ints
    rows: Ints
    row_bytes: Floats
    slowest: float = 1.0
    hot: HotRows | None = None
    on: ShardMachine | None = None

    @property
    def num_shards(self) -> int:
        """Parts that the tables are in."""
        return len(self.tables)

    @property
    def num_nodes(self) -> int:
        """Machines that hold them, the main one not among them."""
        return self.num_shards * self.replicas

    @property
    def held_bytes(self) -> Floats:
        """Memory that each shard's tables take, `(num_shards,)`. [bytes]"""
        return np.asarray((self.tables * self.rows) @ self.row_bytes)


def place_tables(
    model: RecModel,
    device: Device,
    settings: ShardSettings,
    *,
    slowest: float = 1.0,
    on: ShardMachine | None = None,
) -> Shards:
    """Share out the tables of a model over nodes whose memory holds them.

    By row a table's rows are dealt out evenly: each shard has R // S of them, and the R % S that are left
    over go to shards in turn, beginning where the last table's ended. By table each goes to the shard that
    has the least to look up yet and room for it, those with the most to look up first; where that does not
    fit, the largest first; then each to the first with room. More shards never leave more on the fullest one.

    Derived here: `auto` tries counts from the least that holds all bytes upwards, and takes the first that
    works out. By row that is the fewest nodes; by table no fewer may be found, though they may exist.

    Parameters
    ----------
    model : RecModel
        Whose tables.
    device : Device
        Of the main node.
    settings : ShardSettings
        How many, and by what.
    slowest, on
        As of `Shards`.

    Raises
    ------
    InputError
        If the model has no tables, a weight is a table too, or the nodes do not hold them.
    """
    groups = table_groups(model)
    require_movable(model, groups, "to put on nodes of their own")
    holder = device if on is None else on.device
    capacity = holder.memory.capacity_bytes
    hot = None if settings.hot_rows is None else hot_rows(groups, settings.hot_rows)
    _require_room(model, hot, device)
    total = sum(group.count * group.table_bytes for group in groups)
    counts: Sequence[int]
    if settings.count == "auto":
        counts = range(max(1, ceil(total / capacity)), MOST_SHARDS + 1)
    else:
        counts = [settings.count]
    if settings.by == "table":
        _require_placeable(model, groups, capacity, holder)
    for count in counts:
        found = _by_row(groups, count) if settings.by == "row" else _by_table(groups, count, capacity)
        if found is None:
            continue
        shards = Shards(
            by_row=settings.by == "row",
            replicas=settings.replicas,
            network=settings.network,
            tables=found[0],
            rows=found[1],
            row_bytes=np.array([group.row_bytes for group in groups]),
            slowest=slowest,
            hot=hot,
            on=on,
        )
        if shards.held_bytes.max() <= capacity:
            return shards
    most = f"{counts[-1]} x {capacity / GIB:.1f} GiB of {holder.name}" if counts else "no number of nodes"
    raise InputError(
        f"the tables of {model.name}, {total / GIB:.1f} GiB, do not fit {most} by {settings.by}; count: auto "
        "takes the fewest nodes that hold them"
    )


def _require_room(model: RecModel, hot: HotRows | None, device: Device) -> None:
    """Refuse hot rows that the main node's memory does not hold beside the weights."""
    room = device.memory.capacity_bytes - model.dense_parameter_bytes
    if hot is not None and hot.held_bytes > room:
        raise InputError(
            f"hot_rows of {model.name} take {hot.held_bytes / GIB:.1f} GiB, {device.name} has "
            f"{max(0.0, room) / GIB:.1f} GiB beside the weights"
        )


def _require_placeable(
    model: RecModel, groups: Sequence[TableGroup], capacity: float, device: Device
) -> None:
    """Refuse a table that no node holds, and more tables than are placed one by one."""
    largest = max(groups, key=lambda group: group.table_bytes)
    if largest.table_bytes > capacity:
        raise InputError(
            f"{model.name}: {largest.name} takes {largest.table_bytes / GIB:.1f} GiB, {device.name} "
            f"has {capacity / GIB:.1f} GiB: whole tables do not fit; by: row shares their rows out"
        )
    if (tables := sum(group.count for group in groups)) > MOST_PLACED:
        raise InputError(f"{model.name}: {tables} tables, by: table places up to {MOST_PLACED}; by: row any")


def _by_row(groups: Sequence[TableGroup], num_shards: int) -> tuple[Ints, Ints]:
    """Tables and rows of each shard: even parts of all."""
    rows = np.empty((num_shards, len(groups)), dtype=np.int64)
    first = 0
    for column, group in enumerate(groups):
        each, left = divmod(group.num_rows, num_shards)
        turn = (np.arange(num_shards) - first) % num_shards
        rows[:, column] = each + (turn < left)
        first = (first + left) % num_shards
    tables = np.array([group.count for group in groups], dtype=np.int64)[None, :] * (rows > 0)
    return tables, rows


def _by_table(groups: Sequence[TableGroup], num_shards: int, capacity: float) -> tuple[Ints, Ints] | None:
    """Likewise, each table whole; None: no order of placing them works out.

    Shards are added one by one, and no shard may hold more than the fullest of one shard fewer did: by load
    alone a further shard may well take two large tables that are looked up little.
    """
    every = [index for index, group in enumerate(groups) for _ in range(group.count)]
    first = 1 if num_shards * len(every) <= MOST_CHAINED else num_shards
    most, tables = inf, None
    for count in range(first, num_shards + 1):
        limits = (capacity, most) if capacity < most else (most,)
        if first > 1:
            limits = (capacity,)
        found = next(
            (each for limit in limits if (each := _placed_within(groups, every, count, limit)) is not None),
            None,
        )
        if found is None:
            if tables is None:
                return None
            found = np.vstack([tables, np.zeros_like(tables[:1])])
        tables = found
        most = float((tables @ np.array([group.table_bytes for group in groups])).max())
    if tables is None or most > capacity:
        return None
    return tables, np.array([group.num_rows for group in groups])[None, :] * (tables > 0)


def _placed_within(
    groups: Sequence[TableGroup], every: Sequence[int], num_shards: int, capacity: float
) -> Ints | None:
    """The first order of placing all tables that works out."""
    by_load = sorted(every, key=lambda index: (-groups[index].looked_up_bytes, -groups[index].table_bytes))
    by_size = sorted(every, key=lambda index: (-groups[index].table_bytes, -groups[index].looked_up_bytes))
    for order, evenly in ((by_load, True), (by_size, True), (by_size, False)):
        tables = _placed(groups, order, num_shards, capacity, evenly=evenly)
        if tables is not None:
            return tables
    return None


def _placed(
    groups: Sequence[TableGroup], order: Sequence[int], num_shards: int, capacity: float, *, evenly: bool
) -> Ints | None:
    """Place tables in this order, on the shard with the least to look up, or on the first, that has room."""
    tables = np.zeros((num_shards, len(groups)), dtype=np.int64)
    held = [0.0] * num_shards
    waiting = [(0.0, shard) for shard in range(num_shards)]  # a heap by load where they are placed evenly
    for index in order:
        group = groups[index]
        if evenly:
            full = []
            while waiting and held[waiting[0][1]] + group.table_bytes > capacity:
                full.append(heappop(waiting))
            if not waiting:
                return None
            load, chosen = heappop(waiting)
            for each in (*full, (load + group.looked_up_bytes, chosen)):
                heappush(waiting, each)
        else:
            room = (shard for shard in range(num_shards) if held[shard] + group.table_bytes <= capacity)
            if (first := next(room, None)) is None:
                return None
            chosen = first
        tables[chosen, index] += 1
        held[chosen] += group.table_bytes
    return tables
