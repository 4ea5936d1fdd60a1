"""Embedding tables on nodes of their own: which rows lie where, and how long a pass takes that asks for them.

A pass on the main node is its operators without the lookups, what is packed and sent, and the slowest of the
answers. By row every shard has an even part of each table, and sums its part of each bag; by table a shard
has whole tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import numpy.typing as npt

from perfmodel.costmodel.footprint import require_weights_fit
from perfmodel.costmodel.kernels import Floats, Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.moments import Mix
from perfmodel.costmodel.service_time import BatchTime, TimedKernel, kernels_time
from perfmodel.costmodel.timing import kernel_parts
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Mlp
from perfmodel.domain.shards import MOST_SHARDS, NetworkSettings, ShardSettings
from perfmodel.errors import InputError
from perfmodel.units import GIB

Ints = npt.NDArray[np.int64]

MOST_PLACED = 100_000
"""Whole tables that are placed one by one."""
SENT = "network"
"""What a pass spends on packing and sending, as operator tables call it."""
ANSWERED = "slowest answer"
"""What it waits for the way there and back."""
_ROUNDS = 3
"""How many look rows up at once depends on how long that takes, and that on how many: then it is settled."""
_NO_TIME_S = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class TableGroup:
    """Equal tables: `count` of them, each `num_rows` rows of `row_bytes`, and the lookups that read them."""

    name: str
    count: int
    num_rows: int
    row_bytes: float
    readers: tuple[Kernel, ...]

    @property
    def table_bytes(self) -> float:
        """Memory of one of them. [bytes]"""
        return self.num_rows * self.row_bytes

    @property
    def looked_up_bytes(self) -> float:
        """Rows that an item (or a query) reads of one of them. [bytes/item]"""
        rows = sum(one.gather.rows_per_item for one in self.readers if one.gather is not None)
        return rows * self.row_bytes


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
    """

    by_row: bool
    replicas: int
    network: NetworkSettings | None
    tables: Ints
    rows: Ints
    row_bytes: Floats
    slowest: float = 1.0

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


def table_groups(model: RecModel) -> tuple[TableGroup, ...]:
    """Return the tables of a model, equal ones together; one that is read several times is there once.

    Source: the lookups of `lower`.

    Parameters
    ----------
    model : RecModel
        With or without tables.
    """
    groups: list[TableGroup] = []
    shared: dict[str, int] = {}
    for kernel in _lookups(lower(model)):
        gather = kernel.gather
        assert gather is not None, "what looks rows up says which"
        known = shared.get(gather.memory) if gather.memory else None
        if known is not None:
            groups[known] = replace(groups[known], readers=(*groups[known].readers, kernel))
            continue
        if gather.memory:
            shared[gather.memory] = len(groups)
        groups.append(
            TableGroup(
                name=f"{kernel.operator} ({gather.num_rows} rows)",
                count=1 if gather.memory else kernel.calls,
                num_rows=gather.num_rows,
                row_bytes=gather.row_bytes,
                readers=(kernel,),
            )
        )
    return tuple(groups)


def place_tables(model: RecModel, device: Device, settings: ShardSettings, *, slowest: float = 1.0) -> Shards:
    """Share out the tables of a model over nodes whose memory holds them.

    By row a table's rows are dealt out evenly: each shard has R // S of them, and the R % S that are left
    over go to shards in turn, beginning where the last table's ended. By table each goes to the shard that
    has the least to look up yet and room for it, those with the most to look up first; where that does not
    fit, the largest first; then each to the first with room.

    Derived here: `auto` tries counts from the least that holds all bytes upwards, and takes the first that
    works out. By row that is the fewest nodes; by table no fewer may be found, though they may exist.

    Parameters
    ----------
    model : RecModel
        Whose tables.
    device : Device
        Of each of the nodes.
    settings : ShardSettings
        How many, and by what.
    slowest : float
        As of `Shards`.

    Raises
    ------
    InputError
        If the model has no tables, a weight is a table too, or the nodes do not hold them.
    """
    groups = table_groups(model)
    if not groups:
        raise InputError(f"{model.name} has no embedding tables to put on nodes of their own")
    labels = {one.gather.memory for group in groups for one in group.readers if one.gather is not None}
    for operator in model.operators:
        if isinstance(operator, Mlp) and operator.memory is not None and operator.memory in labels:
            raise InputError(
                f"{model.name}: {operator.name} multiplies by a table, which the main node needs"
            )
    capacity = device.memory.capacity_bytes
    total = sum(group.count * group.table_bytes for group in groups)
    counts: Sequence[int]
    if settings.count == "auto":
        counts = range(max(1, ceil(total / capacity)), MOST_SHARDS + 1)
    else:
        counts = [settings.count]
    if settings.by == "table":
        _require_placeable(model, groups, capacity, device)
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
        )
        if shards.held_bytes.max() <= capacity:
            return shards
    most = f"{counts[-1]} x {capacity / GIB:.1f} GiB of {device.name}" if counts else "no number of nodes"
    raise InputError(
        f"the tables of {model.name}, {total / GIB:.1f} GiB, do not fit {most} by {settings.by}; count: auto "
        "takes the fewest nodes that hold them"
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
    """Likewise, each table whole; None: no order of placing them works out."""
    every = [index for index, group in enumerate(groups) for _ in range(group.count)]
    by_load = sorted(every, key=lambda index: (-groups[index].looked_up_bytes, -groups[index].table_bytes))
    by_size = sorted(every, key=lambda index: (-groups[index].table_bytes, -groups[index].looked_up_bytes))
    for order, evenly in ((by_load, True), (by_size, True), (by_size, False)):
        tables = _placed(groups, order, num_shards, capacity, evenly=evenly)
        if tables is not None:
            return tables, np.array([group.num_rows for group in groups])[None, :] * (tables > 0)
    return None


def _placed(
    groups: Sequence[TableGroup], order: Sequence[int], num_shards: int, capacity: float, *, evenly: bool
) -> Ints | None:
    """Place tables in this order, on the shard with the least to look up, or on the first, that has room."""
    tables = np.zeros((num_shards, len(groups)), dtype=np.int64)
    held, load = np.zeros(num_shards), np.zeros(num_shards)
    for index in order:
        group = groups[index]
        room = held + group.table_bytes <= capacity
        if not room.any():
            return None
        chosen = int(np.argmin(np.where(room, load, np.inf)) if evenly else np.argmax(room))
        tables[chosen, index] += 1
        held[chosen] += group.table_bytes
        load[chosen] += group.looked_up_bytes
    return tables


def _lookups(kernels: Sequence[Kernel]) -> list[Kernel]:
    return [kernel for kernel in kernels if kernel.family == "embedding_bag"]


def shard_kernels(groups: Sequence[TableGroup], tables: Ints, rows: Ints) -> tuple[Kernel, ...]:
    """Return the lookups of one shard: of all of a pass those in the rows that it has.

    Derived here: of a bag of p rows a shard with a share f of the table's rows has f p, and none with the
    chance (1 - f)^p; it sends a vector for each bag of which it has a row. Indices are taken to fall on all
    shards alike, the popular ones too.

    Parameters
    ----------
    groups : sequence of TableGroup
        The model's tables.
    tables, rows : (groups,) int arrays
        Tables of each group that the shard has rows of, and the rows of each.
    """
    kernels = []
    for group, count, held in zip(groups, tables, rows, strict=True):
        if count == 0:
            continue
        share = held / group.num_rows
        for reader in group.readers:
            gather = reader.gather
            assert gather is not None, "what looks rows up says which"
            touched = touched_share(share, reader)
            own = replace(
                gather,
                rows_per_item=gather.rows_per_item * share,
                bags_per_item=gather.bags_per_item * touched,
                num_rows=int(held),
            )
            kernels.append(
                replace(
                    reader,
                    calls=int(count) if reader.calls == group.count else reader.calls,
                    flop_per_item=reader.flop_per_item * share,
                    read_bytes_per_item=reader.read_bytes_per_item * share,
                    written_bytes_per_item=reader.written_bytes_per_item * touched,
                    gather=own,
                )
            )
    return tuple(kernels)


def touched_share(share: float, reader: Kernel) -> float:
    """Vectors that a holder of a share of a table's rows sends, over those of the whole table. [1]

    Derived here: of pooled bags of p rows 1 - (1 - f)^p, an empty bag counting as one row, since something is
    sent for it; rows that are not pooled are sent one by one, f.

    Parameters
    ----------
    share : float
        Share f of the rows, in (0, 1]. [1]
    reader : Kernel
        A lookup.

    Examples
    --------
    >>> from perfmodel.costmodel.kernels import Gather
    >>> gather = Gather(rows_per_item=2, bags_per_item=1, row_bytes=128, num_rows=10, zipf_exponent=0)
    >>> touched_share(0.5, Kernel(operator="e", family="embedding_bag", gather=gather, variant="pooled"))
    0.75
    """
    gather = reader.gather
    assert gather is not None, "what looks rows up says which"
    if reader.variant != "pooled":
        return share
    return float(1.0 - (1.0 - share) ** max(1.0, gather.rows_per_item / gather.bags_per_item))


def sent_bytes(groups: Sequence[TableGroup], shards: Shards, batch_size: Floats) -> tuple[Floats, Floats]:
    """Bytes that a pass sends to the shards, and gets back from them. [bytes]

    Derived here: out go the indices, with weights of rows where there are any; back comes a vector for each
    bag and shard that has a row of it, in fp32. What headers and lengths of bags take is left out.

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
        shares = shards.rows[:, column] / group.num_rows
        weights = shards.tables[:, column] / group.count
        for reader in group.readers:
            assert reader.gather is not None, "what looks rows up says which"
            index_bytes = reader.read_bytes_per_item - reader.gather.rows_per_item * reader.gather.row_bytes
            vectors = sum(
                weight * touched_share(float(share), reader)
                for share, weight in zip(*_distinct(shares, weights), strict=True)
            )
            served = reader.calls * reader.of(batch_size)
            out = out + served * index_bytes
            back = back + served * reader.written_bytes_per_item * vectors
    return out, back


def _distinct(shares: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Shares that occur, and the weight of all that are alike."""
    used, which = np.unique(shares, return_inverse=True)
    return used, np.bincount(which, weights, len(used)).astype(np.float64)


def shared_transfer_s(alone_s: Floats, elsewhere_s: Floats, busy: Floats) -> Floats:
    """Time of a transfer on a card that several workers share, each elsewhere between two transfers. [s]

    A transfer is stretched by the others that are in one too, each with the chance r / (r + z):
    r = s (1 + (n - 1) r / (r + z)), solved for r: mean-value analysis [1]_ of a processor-sharing station
    with the others' presence as of n workers (Schweitzer's approximation). s alone, n s where z = 0.

    Parameters
    ----------
    alone_s : (...) float array
        Transfer s on a card of one's own. [s]
    elsewhere_s : (...) float array
        Time z between two transfers of a worker. [s]
    busy : (...) float array
        Workers n, >= 1.

    References
    ----------
    .. [1] M. Reiser, S. Lavenberg, "Mean-Value Analysis of Closed Multichain Queueing Networks", J. ACM
       27(2), 1980.

    Examples
    --------
    >>> shared_transfer_s(np.array(1.0), np.array([0.0, 99.0]), np.array(4.0)).round(3).tolist()
    [4.0, 1.031]
    """
    free = elsewhere_s - busy * alone_s
    root = np.sqrt(free**2 + 4.0 * alone_s * elsewhere_s)
    # Of the two forms of the root the one without a difference of like terms.
    shorter = 2.0 * alone_s * elsewhere_s / np.maximum(root + free, _NO_TIME_S)
    return np.asarray(np.where(free > 0.0, shorter, 0.5 * (root - free)))


def sharded_time(
    model: RecModel,
    device: Device,
    shards: Shards,
    batch_size: Floats,
    busy: Floats | float = 1.0,
    *,
    mix: Mix | None = None,
) -> BatchTime:
    """Time of a batch on a worker of the main node, whose lookups are done on the shards.

    t = D + c V + r + m (T + max L). D: all but the lookups, on the main node; V bytes (`sent_bytes`), packed
    and unpacked at c a byte, and sent in r (`shared_transfer_s`); then the slowest answer: T there and back,
    L the lookups of the fullest shard, m the mean of the slowest over that of one. Derived here, assuming
    that a worker waits for the answer, that nothing overlaps with it, and that at the shards, which have as
    many cores, it finds one free. Beside it are those of the other n - 1 workers that look rows up too, in
    the share of the time that this takes, shared out among the replicas; on the main node all n.

    Parameters
    ----------
    model : RecModel
        What runs.
    device : Device
        The main node's CPU, and each shard's.
    shards : Shards
        Where its tables are.
    batch_size : (...) float array
        Items in the batch, >= 1.
    busy : (...) float array, default 1
        Busy workers of the main node, this one included; broadcasts with `batch_size`.
    mix : Mix, optional
        As of `batch_time`.

    Raises
    ------
    InputError
        If the weights do not fit the main node.
    """
    weight_bytes = float(model.dense_parameter_bytes)
    require_weights_fit(model, device)
    groups = table_groups(model)
    batch, workers = np.broadcast_arrays(np.asarray(batch_size, float), np.asarray(busy, float))
    kernels = lower(model)
    main = kernels_time(
        tuple(kernel for kernel in kernels if kernel.family != "embedding_bag"),
        weight_bytes,
        device,
        batch,
        workers,
        mix=mix,
    )
    beside = np.ones_like(workers)
    for _ in range(_ROUNDS):
        answers = _answers(groups, shards, device, batch, beside, mix)
        between = [*_on_the_way(groups, shards, main, answers, batch, workers), *answers]
        looking_s = sum((timed.seconds for timed in answers), np.zeros_like(batch)) / shards.slowest
        share = looking_s / (main.seconds + sum(timed.seconds for timed in between))
        at_once = share.max(axis=0) if share.ndim > 1 else share  # of all sizes of a table the most
        beside = np.maximum(1.0, 1.0 + (workers - 1.0) * at_once / shards.replicas)
    at = next(
        (index for index, timed in enumerate(main.kernels) if timed.kernel.family != "input"),
        len(main.kernels),
    )
    return replace(main, kernels=(*main.kernels[:at], *between, *main.kernels[at:]))


def _answers(
    groups: Sequence[TableGroup],
    shards: Shards,
    device: Device,
    batch: Floats,
    workers: Floats,
    mix: Mix | None,
) -> list[TimedKernel]:
    """The lookups of the shard that takes longest, as long as the slowest answer lasts."""
    if shards.by_row:  # the fullest of each table stands for all
        kinds = [(shards.tables.max(axis=0), shards.rows.max(axis=0))]
    else:
        distinct = np.unique(np.concatenate([shards.tables, shards.rows], axis=1), axis=0)
        kinds = [(row[: len(groups)], row[len(groups) :]) for row in distinct if row.any()]
    times = [
        kernels_time(shard_kernels(groups, tables, rows), 0.0, device, batch, workers, mix=mix)
        for tables, rows in kinds
    ]
    totals = [time.seconds for time in times]
    fullest = max(range(len(times)), key=lambda index: float(totals[index].max()))
    stretch = shards.slowest * np.max(totals, axis=0) / np.maximum(totals[fullest], _NO_TIME_S)
    return [
        replace(
            timed,
            parts=timed.parts.scaled(stretch),
            seconds=timed.seconds * stretch,
            basis=max(timed.basis, Basis.ASSUMED),
        )
        for timed in times[fullest].kernels
    ]


def _on_the_way(
    groups: Sequence[TableGroup],
    shards: Shards,
    main: BatchTime,
    answers: Sequence[TimedKernel],
    batch: Floats,
    workers: Floats,
) -> list[TimedKernel]:
    """Packing and sending, and the way there and back; nothing without a network."""
    network = shards.network
    if network is None:
        return []
    out, back = sent_bytes(groups, shards, batch)
    packing_s = network.serialise_s_per_byte * (out + back)
    waiting_s = np.zeros_like(batch) + shards.slowest * network.round_trip_s
    elsewhere_s = main.seconds + packing_s + waiting_s + sum(timed.seconds for timed in answers)
    sending_s = shared_transfer_s((out + back) / network.bytes_per_s, elsewhere_s, workers)
    return [
        _network(SENT, packing_s + sending_s, float(np.max(out / batch)), float(np.max(back / batch)), batch),
        _network(ANSWERED, waiting_s, 0.0, 0.0, batch),
    ]


def _network(name: str, seconds: Floats, out: float, back: float, batch: Floats) -> TimedKernel:
    kernel = Kernel(operator=name, family="network", read_bytes_per_item=back, written_bytes_per_item=out)
    parts = kernel_parts(batch, overhead=seconds)
    return TimedKernel(kernel=kernel, parts=parts, seconds=seconds, basis=Basis.ASSUMED)


def waited_share(time: BatchTime) -> Floats:
    """Share of a pass that waits for answers of shards, lookups included. [1]

    Source: the kernels that `sharded_time` puts in for them.

    Parameters
    ----------
    time : BatchTime
        Of `sharded_time`.
    """
    waiting = [
        timed.seconds
        for timed in time.kernels
        if timed.kernel.family == "embedding_bag" or timed.kernel.operator == ANSWERED
    ]
    return np.asarray(sum(waiting, np.zeros_like(time.seconds)) / time.seconds)
