"""Lookups that memory modules do themselves: all ranks read rows at once, and send back what they sum up to.

A core sends an instruction a row, in packets of a few bags; each rank reads its rows, but those that its
cache holds, and a packet is done when its fullest rank is. What is left on the core are the other operators,
whose weights no longer share the channel with rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from perfmodel.costmodel.footprint import require_fit, tables_in_memory
from perfmodel.costmodel.kernels import ELEMENT_BYTES, Floats, Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.moments import Mix
from perfmodel.costmodel.network import shared_transfer_s
from perfmodel.costmodel.rank_cache import NearMemory, rank_cache_hit_rates, same_row_chances
from perfmodel.costmodel.rank_loads import ALL_DIFFERENT, fullest_rank
from perfmodel.costmodel.service_time import BatchTime, TimedKernel, kernels_time
from perfmodel.costmodel.timing import kernel_parts
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.near_memory import BURST_BYTES, Dram
from perfmodel.errors import InputError
from perfmodel.units import NS, PICO

INSTRUCTION_BITS = 79
"""Of an instruction, one a row: RecNMP, ISCA 2020, section III (not read again here). [bits]"""
INSTRUCTIONS_PER_BURST = 8
"""Instructions that reach a channel while a burst of 64 bytes would: they go over command and data pins, two
a clock, so that eight ranks are kept busy: RecNMP, section III ("up to 8x"). [instructions/burst]"""
PROFILING_SHARE = 0.02
"""Of a pass, to find the rows that a request uses again: RecNMP, section III, "less than 2 %". [1]"""
ACTIVATE_J = 2.1 * NS
READ_J_PER_BIT, CHANNEL_J_PER_BIT = 14.0 * PICO, 22.0 * PICO
CACHE_J, ADD_J = 50.0 * PICO, 7.89 * PICO
"""To open a row, read a bit in it, move a bit over the channel, read 64 bytes of a rank's cache, add two
fp32: RecNMP, table I (not read again here). [J], [J/bit], [J]"""

_SIZES = 24
"""Batch sizes at which hit rates are worked out; straight lines in the logarithm between."""


def near_row_s(dram: Dram, row_bytes: float) -> float:
    """Time between two rows that a rank reads at random. [s]

    t = max(b t_burst, t_FAW / 4, t_RC / banks): its b bursts on the rank's own bus, its share of the window
    in which a rank opens four rows, and of a bank's cycle. Derived here from the memory's data sheet; with
    some sixteen instructions at hand, banks that are taken twice in a row are waited for beside others.

    Parameters
    ----------
    dram : Dram
        Timing.
    row_bytes : float
        Of an embedding row, which lies in one row of the memory. [bytes]
    """
    bursts = ceil(row_bytes / BURST_BYTES)
    return max(bursts * dram.burst_s, dram.four_activates_s / 4.0, dram.row_cycle_s / dram.banks)


def host_row_s(dram: Dram, ranks: int, row_bytes: float) -> float:
    """Time between two rows that a host reads at random over a channel with so many ranks. [s]

    t = max(b t_burst + (1 - 1/R) t_switch, t_row / R): the bus idles where the next row is in another rank,
    as it is for R - 1 of R rows. Derived here from the memory's data sheet, for a controller that takes rows
    as they come; one that takes those of a rank together comes nearer to b t_burst.

    Parameters
    ----------
    dram, row_bytes
        As of `near_row_s`.
    ranks : int
        Ranks R of the channel.
    """
    bus_s = ceil(row_bytes / BURST_BYTES) * dram.burst_s + (1.0 - 1.0 / ranks) * dram.switch_s
    return max(bus_s, near_row_s(dram, row_bytes) / ranks)


def _is_pooled(kernel: Kernel) -> bool:
    return kernel.family == "embedding_bag" and kernel.variant == "pooled"


def pooled_lookups(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """Return the lookups that the modules do: those whose rows are summed up.

    Source: RecNMP's instructions, which pool; rows that are wanted one by one gain nothing.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of a pass.
    """
    return tuple(one for one in kernels if _is_pooled(one))


def require_pooled(model: RecModel) -> None:
    """Refuse a model without lookups that the modules could do.

    Source: `pooled_lookups`.

    Parameters
    ----------
    model : RecModel
        What is to run.

    Raises
    ------
    InputError
        If no table of it is pooled.
    """
    if not pooled_lookups(lower(model)):
        raise InputError(f"{model.name} has no lookups that are pooled, and near memory does no others")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What the modules do for one kernel in passes of several sizes, all its calls together.

    Attributes
    ----------
    hit_rate : (...) float array
        Of its rows in the caches. [1]
    rows, bags : (...) float arrays
        Looked up, and vectors that come back.
    fullest : (...) float array
        Rows that the fullest rank reads over those of a mean one, >= 1. [1]
    seconds : (...) float array
        On one channel of its own. [s]
    """

    hit_rate: Floats
    rows: Floats
    bags: Floats
    fullest: Floats
    seconds: Floats


def looked_up(kernel: Kernel, memory: NearMemory, items: Floats, hit_rate: Floats) -> Looked:
    """Time of a kernel's lookups on one channel, packet by packet. [s]

    A packet of q bags of p rows takes max(q p t_i + q b t_burst, max_r m_r t_row): its instructions come and
    its vectors (b bursts each) go over the channel while the ranks read the m_r rows that they have not
    cached (`fullest_rank`). Packets follow each other; the first row of a call is waited for. Derived here;
    rows that are cached, and additions, are taken to keep up. Rows of one packet that are the same meet in
    one rank where nothing is cached; with a cache the later ones are found in it.

    Parameters
    ----------
    kernel : Kernel
        A pooled lookup.
    memory : NearMemory
        Where.
    items : (...) float array
        Of the pass.
    hit_rate : (...) float array
        Of its rows. [1]
    """
    gather, dram, settings = kernel.gather, memory.dram, memory.settings
    assert gather is not None, "what looks rows up says which"
    served = kernel.of(items)
    bags = served * gather.bags_per_item
    a_bag = gather.rows_per_item / gather.bags_per_item
    in_packet = np.minimum(float(settings.packet_bags), bags)
    rows = in_packet * a_bag
    missed = rows * (1.0 - hit_rate)
    repeats = same_row_chances(gather) if settings.cache_kib is None else ALL_DIFFERENT
    fullest = fullest_rank(missed, settings.ranks, repeats)
    vector_bytes = kernel.written_bytes_per_item / gather.bags_per_item
    channel_s = rows * dram.burst_s / INSTRUCTIONS_PER_BURST
    channel_s = channel_s + in_packet * ceil(vector_bytes / BURST_BYTES) * dram.burst_s
    packet_s = np.maximum(channel_s, fullest * near_row_s(dram, gather.row_bytes))
    packets = bags / np.maximum(in_packet, 1e-300)
    return Looked(
        hit_rate=hit_rate,
        rows=kernel.calls * bags * a_bag,
        bags=kernel.calls * bags,
        fullest=np.where(missed > 0.0, fullest * settings.ranks / np.maximum(missed, 1e-300), 1.0),
        seconds=kernel.calls * (packets * packet_s + dram.first_s),
    )


def host_row_j(row_bytes: float) -> float:
    """Energy of a row that a host reads: opened, read, moved over the channel. [J]

    Source: energies of RecNMP's table I.

    Parameters
    ----------
    row_bytes : float
        Of the row. [bytes]
    """
    return ACTIVATE_J + 8.0 * row_bytes * (READ_J_PER_BIT + CHANNEL_J_PER_BIT)


def near_memory_j(kernel: Kernel, looked: Looked) -> Floats:
    """Energy of a kernel's lookups in the modules: rows read or found, added, instructions, vectors. [J]

    Source: energies of RecNMP's table I.

    Parameters
    ----------
    kernel : Kernel
        A pooled lookup.
    looked : Looked
        What the modules do for it.
    """
    gather = kernel.gather
    assert gather is not None, "what looks rows up says which"
    read_j = ACTIVATE_J + 8.0 * gather.row_bytes * READ_J_PER_BIT
    found_j = ceil(gather.row_bytes / BURST_BYTES) * CACHE_J
    vector_bytes = kernel.written_bytes_per_item / gather.bags_per_item
    each = (
        (1.0 - looked.hit_rate) * read_j
        + looked.hit_rate * found_j
        + vector_bytes / ELEMENT_BYTES * ADD_J
        + INSTRUCTION_BITS * CHANNEL_J_PER_BIT
    )
    return looked.rows * each + looked.bags * 8.0 * vector_bytes * CHANNEL_J_PER_BIT


def all_looked_up(model: RecModel, memory: NearMemory, items: Floats) -> list[tuple[Kernel, Looked]]:
    """Return what the modules do for each pooled lookup of a model, in passes of so many items.

    Source: `rank_cache_hit_rates`, `looked_up`.

    Parameters
    ----------
    model : RecModel
        What runs.
    memory : NearMemory
        Where.
    items : (...) float array
        Of the pass.
    """
    lookups = pooled_lookups(lower(model))
    counts, table_of = tables_in_memory(lookups)
    tables = list(counts.items())
    place = {table: index for index, (table, _) in enumerate(tables)}
    sizes = np.unique(items)
    if len(sizes) > _SIZES:
        sizes = np.geomspace(sizes[0], sizes[-1], _SIZES)
    rates = rank_cache_hit_rates(tables, memory, sizes)
    found = []
    for kernel in lookups:
        assert kernel.gather is not None, "what looks rows up says which"
        of_table = rates[place[table_of[kernel.gather]]]
        hit_rate = np.interp(np.log(items), np.log(sizes), of_table)
        found.append((kernel, looked_up(kernel, memory, items, hit_rate)))
    return found


def near_memory_time(
    model: RecModel,
    device: Device,
    memory: NearMemory,
    batch_size: Floats,
    busy: Floats | float = 1.0,
    *,
    mix: Mix | None = None,
    served: bool = False,
) -> BatchTime:
    """Time of a batch on a core whose memory does the lookups.

    t = D + c + r, of which hot entries take 2 % more: D all other operators, beside the same on the other
    cores, lookups no longer being among what waits for memory; c what is left on the core of each lookup: the
    framework's call, an output a bag, and 79 bits of instruction a row, written at the rate of streams; r the
    lookups on a channel (`looked_up`), stretched by the workers that share it (`shared_transfer_s`: of n busy
    ones 1 + (n - 1) / channels). Derived here, assuming that a worker waits for its lookups, that each table
    lies in the ranks of one channel and tables are spread evenly over them, and that other accesses to memory
    are not held up by the modules' own.

    Parameters
    ----------
    model : RecModel
        What runs.
    device : Device
        The node's CPU.
    memory : NearMemory
        Its memory.
    batch_size : (...) float array
        Items in the batch, >= 1.
    busy : (...) float array, default 1
        Busy workers, this one included; broadcasts with `batch_size`.
    mix, served
        As of `batch_time`.

    Raises
    ------
    InputError
        If the model does not fit the memory.
    """
    require_fit(model, device)
    batch, workers = np.broadcast_arrays(np.asarray(batch_size, float), np.asarray(busy, float))
    kernels = lower(model)
    rest = tuple(one for one in kernels if not _is_pooled(one))
    main = kernels_time(
        rest, float(model.dense_parameter_bytes), device, batch, workers, mix=mix, served=served
    )
    found = all_looked_up(model, memory, batch)
    on_core = [_on_core(kernel, looked, device) for kernel, looked in found]
    alone_s = sum((looked.seconds for _, looked in found), np.zeros_like(batch))
    elsewhere_s = main.seconds + sum(on_core, np.zeros_like(batch))
    beside = 1.0 + (workers - 1.0) / memory.channels
    shared_s = shared_transfer_s(alone_s, elsewhere_s, beside)
    stretch = shared_s / np.maximum(alone_s, 1e-300)
    profiling = PROFILING_SHARE if memory.settings.hot_entries else 0.0
    profiling_s = profiling * (elsewhere_s + shared_s) / max(1, len(found))
    timed = []
    for (kernel, looked), core_s in zip(found, on_core, strict=True):
        parts = kernel_parts(batch, overhead=core_s + profiling_s, lookup=looked.seconds * stretch)
        timed.append(TimedKernel(kernel=kernel, parts=parts, seconds=parts.seconds, basis=Basis.ASSUMED))
    return replace(main, kernels=_in_place(kernels, main, timed))


def _on_core(kernel: Kernel, looked: Looked, device: Device) -> Floats:
    """What a core does of lookups that its memory does: the call, outputs, instructions. [s]"""
    call_s = kernel.calls * device.calls.call_s.get("embedding_bag", 0.0)
    instructions_s = looked.rows * INSTRUCTION_BITS / 8.0 / device.stream_bytes_per_s
    return call_s + looked.bags * device.lookup.bag_s + instructions_s


def _in_place(
    kernels: Sequence[Kernel], main: BatchTime, timed: Sequence[TimedKernel]
) -> tuple[TimedKernel, ...]:
    """The kernels of both in the order in which they run, after what an engine does first."""
    first = len(main.kernels) + len(timed) - len(kernels)
    left, looked = iter(main.kernels[first:]), iter(timed)
    return main.kernels[:first] + tuple(next(looked if _is_pooled(one) else left) for one in kernels)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMemoryFacts:
    """What the memory's modules do for a pass.

    Attributes
    ----------
    hit_rate : float
        Of the rows in the caches. [1]
    fullest : float
        Rows that the fullest rank of a packet reads over those of a mean one, weighted by rows. [1]
    energy_j, host_energy_j : float
        Of memory for the lookups, and where a host would do them without a cache of its own. [J]
    left_on_core : tuple of str
        Operators whose rows are not pooled.
    has_skew : bool
        Whether some rows of a table are more popular than others.
    """

    hit_rate: float
    fullest: float
    energy_j: float
    host_energy_j: float
    left_on_core: tuple[str, ...]
    has_skew: bool


def near_memory_facts(model: RecModel, memory: NearMemory, items: float) -> NearMemoryFacts:
    """Return what answers say of the lookups in memory, in a pass of so many items.

    Source: `all_looked_up`, `near_memory_j`.

    Parameters
    ----------
    model : RecModel
        With pooled lookups.
    memory : NearMemory
        Where.
    items : float
        Of the pass.
    """
    found = all_looked_up(model, memory, np.array([items]))
    rows = np.array([float(looked.rows[0]) for _, looked in found])
    host_j = sum(
        float(looked.rows[0]) * host_row_j(kernel.gather.row_bytes)
        for kernel, looked in found
        if kernel.gather is not None
    )
    others = [one for one in lower(model) if one.family == "embedding_bag" and not _is_pooled(one)]
    return NearMemoryFacts(
        hit_rate=float(rows @ [float(looked.hit_rate[0]) for _, looked in found] / rows.sum()),
        fullest=float(rows @ [float(looked.fullest[0]) for _, looked in found] / rows.sum()),
        energy_j=sum(float(near_memory_j(kernel, looked)[0]) for kernel, looked in found),
        host_energy_j=host_j,
        left_on_core=tuple(dict.fromkeys(one.operator for one in others)),
        has_skew=any(kernel.gather.zipf_exponent > 0.0 for kernel, _ in found if kernel.gather is not None),
    )
