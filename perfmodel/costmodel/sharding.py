"""How long a pass takes whose tables are on nodes of their own.

A pass on the main node is its operators without the lookups but those in hot rows, what is packed and sent,
and the slowest of the answers. By row every shard has an even part of each table, and sums its part of each
bag; by table a shard has whole tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from perfmodel.costmodel.footprint import require_weights_fit
from perfmodel.costmodel.kernels import Floats, Kernel
from perfmodel.costmodel.lowering import index_kernels_of_tables_alone, lower
from perfmodel.costmodel.moments import Mix
from perfmodel.costmodel.network import shared_transfer_s, wait_for_core_s
from perfmodel.costmodel.service_time import BatchTime, TimedKernel, kernels_time
from perfmodel.costmodel.shard_lookups import asking_chance, main_kernels, sent_bytes, shard_kernels
from perfmodel.costmodel.shard_places import Shards
from perfmodel.costmodel.table_groups import TableGroup, table_groups
from perfmodel.costmodel.timing import kernel_parts
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError

SENT = "network"
"""What a pass spends on packing and sending, as operator tables call it."""
ANSWERED = "slowest answer"
"""What it waits for the way there and back."""
QUEUED = "free core of a shard"
"""What it waits at shards whose cores are fewer than the workers that ask them."""
TO_CARD = "answers to the card"
"""The way of the vectors that came back, from the main node to its card."""
_ROUNDS = 3
"""How many look rows up at once depends on how long that takes, and that on how many: then it is settled."""
_NO_TIME_S = 1e-30


def sharded_time(
    model: RecModel,
    device: Device,
    shards: Shards,
    batch_size: Floats,
    busy: Floats | float = 1.0,
    *,
    mix: Mix | None = None,
    served: bool = False,
) -> BatchTime:
    """Time of a batch on a worker of the main node, whose lookups are done on the shards.

    t = D + c V + r + m (q T + w + max L). D: all but the lookups, and those in hot rows, on the main node; V
    bytes (`sent_bytes`), packed and unpacked at c a byte, sent in r (`shared_transfer_s`); then the slowest
    answer: T there and back, with the chance q of asking at all (`asking_chance`), L the lookups of the
    fullest shard, m the mean of the slowest over that of one. Derived here, assuming that a worker waits for
    the answer, that nothing overlaps with it, and that at shards like the main node, which have as many
    cores, it finds one free: w = 0. On machines of their own kind it waits for one of the cores of all
    replicas, w (`wait_for_core_s`). Beside it are those of the other n - 1 workers that look rows up too, in
    the share of the time that this takes, shared out among the replicas; on the main node all n.

    Parameters
    ----------
    model : RecModel
        What runs.
    device : Device
        The main node's CPU, and each shard's where these are like it.
    shards : Shards
        Where its tables are.
    batch_size : (...) float array
        Items in the batch, >= 1.
    busy : (...) float array, default 1
        Busy workers of the main node, this one included; broadcasts with `batch_size`.
    mix, served
        As of `batch_time`; on the main node.

    Raises
    ------
    InputError
        If the weights do not fit the main node.
    """
    weight_bytes = float(model.dense_parameter_bytes)
    require_weights_fit(model, device)
    groups = table_groups(model)
    batch, workers = np.broadcast_arrays(np.asarray(batch_size, float), np.asarray(busy, float))
    kernels = main_kernels(lower(model), groups, shards.hot)
    main = kernels_time(kernels, weight_bytes, device, batch, workers, mix=mix, served=served)
    beside = np.ones_like(workers)
    holder, cores = (device, None) if shards.on is None else (shards.on.device, shards.on.cores)
    for _ in range(_ROUNDS):
        at_once = beside if cores is None else np.minimum(beside, cores)
        answers = _answers(groups, shards, holder, batch, at_once, mix)
        between = [*_on_the_way(groups, shards, main, answers, batch, workers), *answers]
        looking_s = sum((timed.seconds for timed in answers), np.zeros_like(batch)) / shards.slowest
        share = looking_s / (main.seconds + sum(timed.seconds for timed in between))
        looking = share.max(axis=0) if share.ndim > 1 else share  # of all sizes of a table the most
        beside = np.maximum(1.0, 1.0 + (workers - 1.0) * looking / shards.replicas)
    at = next(
        (index for index, timed in enumerate(main.kernels) if timed.kernel.family != "input"),
        len(main.kernels),
    )
    edited = main.is_edited or holder.is_edited
    return replace(main, kernels=(*main.kernels[:at], *between, *main.kernels[at:]), is_edited=edited)


def sharded_launch_time(
    model: RecModel, cpu: Device, card: Device, shards: Shards, batch_size: Floats
) -> BatchTime:
    """Time of a launch on a card of the main node, whose lookups are done on the shards.

    t = h + c V + r + m (T + max L) + D: the host converts the indices (h, as the main node's CPU does), packs
    and sends them; the slowest answer; then the card's pass without lookups, to which the pooled vectors go
    as dense features do (D). One after the other. Derived here, assuming that the launch holds the card
    all the while, that it meets neither the lookups nor the transfers of cores and other launches, that a
    core of a shard is free, and that it asks for all rows: copies of hot ones are the cores'.

    Parameters
    ----------
    model : RecModel
        What runs.
    cpu : Device
        The main node's CPU, and each shard's where these are like it.
    card : Device
        The accelerator.
    shards : Shards
        Where its tables are.
    batch_size : (...) float array
        Items in the launch, >= 1.

    Raises
    ------
    InputError
        If the weights do not fit the card, or there is nothing but lookups.
    """
    require_weights_fit(model, card)
    asked, batch = replace(shards, hot=None), np.asarray(batch_size, float)
    kernels, one = lower(model, card.kind), np.ones_like(batch)
    groups = [  # as they are dealt out, with what the card's pass reads of them
        replace(group, readers=tuple(reader for reader in group.readers if reader in kernels))
        for group in table_groups(model)
    ]
    on_host = tuple(kernel for kernel in index_kernels_of_tables_alone(model) if kernel in kernels)
    pass_kernels = [
        kernel for kernel in kernels if kernel.family != "embedding_bag" and kernel not in on_host
    ]
    if all(kernel.family == "input" for kernel in pass_kernels):
        raise InputError(f"{model.name} has no layers that a card beside shards could do")
    vectors = [
        Kernel(
            operator=TO_CARD,
            family="input",
            calls=reader.calls,
            read_bytes_per_item=reader.written_bytes_per_item,
            pieces=1,
            scope=reader.scope,
        )
        for group in groups
        for reader in group.readers
    ]
    weight_bytes = float(model.dense_parameter_bytes)
    main = kernels_time((*vectors, *pass_kernels), weight_bytes, card, batch)
    converted = kernels_time(on_host, 0.0, cpu, batch).kernels if on_host else ()
    holder = cpu if asked.on is None else asked.on.device
    answers = _answers(groups, asked, holder, batch, one, None)
    free = asked if asked.on is None else replace(asked, on=None)
    between = [*_on_the_way(groups, free, main, answers, batch, one), *answers]
    edited = main.is_edited or cpu.is_edited or holder.is_edited
    return replace(main, kernels=(*converted, *between, *main.kernels), is_edited=edited)


def looking_s(time: BatchTime, shards: Shards) -> Floats:
    """Time for which a core of the shard that takes longest looks rows up. [s]

    Source: the kernels that `sharded_time` and `sharded_launch_time` put in for it.

    Parameters
    ----------
    time : BatchTime
        Of either.
    shards : Shards
        Where the tables are.
    """
    looked = [
        timed.seconds
        for timed in time.kernels
        if timed.kernel.is_elsewhere and timed.kernel.family == "embedding_bag"
    ]
    return np.asarray(sum(looked, np.zeros_like(time.seconds)) / shards.slowest)


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
        kernels_time(kernels, 0.0, device, batch, workers, mix=mix)
        for tables, rows in kinds
        if (kernels := shard_kernels(groups, tables, rows, shards.hot))
    ]
    if not times:  # all rows are hot
        return []
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
    """Packing and sending, the way there and back, and the wait for a core; nothing without a network.

    The wait for a core is that of workers who are in no other queue, which is no shorter.
    """
    looking_s = sum((timed.seconds for timed in answers), np.zeros_like(batch))
    network = shards.network
    if network is None:
        return _queued(shards, looking_s, main.seconds, batch, workers)
    out, back = sent_bytes(groups, shards, batch)
    packing_s = network.serialise_s_per_byte * (out + back)
    waiting_s = asking_chance(groups, shards.hot, batch) * shards.slowest * network.round_trip_s
    queued = _queued(shards, looking_s, main.seconds + packing_s + waiting_s, batch, workers)
    queued_s = sum((timed.seconds for timed in queued), np.zeros_like(batch))
    elsewhere_s = main.seconds + packing_s + waiting_s + queued_s + looking_s
    sending_s = shared_transfer_s((out + back) / network.bytes_per_s, elsewhere_s, workers)
    return [
        _network(SENT, packing_s + sending_s, float(np.max(out / batch)), float(np.max(back / batch)), batch),
        _network(ANSWERED, waiting_s, 0.0, 0.0, batch),
        *queued,
    ]


def _queued(
    shards: Shards, looking_s: Floats, elsewhere_s: Floats, batch: Floats, workers: Floats
) -> list[TimedKernel]:
    """The wait for a core of a shard, of all replicas the first that is free; nothing where one always is."""
    if shards.on is None or not np.any(workers > (cores := shards.on.cores * shards.replicas)):
        return []
    waited_s = shards.slowest * wait_for_core_s(looking_s / shards.slowest, elsewhere_s, workers, cores)
    return [_network(QUEUED, waited_s, 0.0, 0.0, batch)]


def _network(name: str, seconds: Floats, out: float, back: float, batch: Floats) -> TimedKernel:
    kernel = Kernel(
        operator=name,
        family="network",
        read_bytes_per_item=back,
        written_bytes_per_item=out,
        is_elsewhere=name in (ANSWERED, QUEUED),
    )
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
    waiting = [timed.seconds for timed in time.kernels if timed.kernel.is_elsewhere]
    return np.asarray(sum(waiting, np.zeros_like(time.seconds)) / time.seconds)
