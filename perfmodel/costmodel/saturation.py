"""Memory bandwidth that busy workers share: what a pass reads from memory, and what that costs the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.contention import saturation_stretch
from perfmodel.costmodel.kernels import INDEX_BYTES, Floats, Kernel
from perfmodel.costmodel.moments import Moment
from perfmodel.costmodel.timing import LINE_BYTES
from perfmodel.domain.hardware import Device

_ROUNDS = 4
"""Workers that wait longer are found waiting more often: settled after so many."""


class Traffic(NamedTuple):
    """What all calls of a kernel have to do with memory, `(n,)` arrays.

    Attributes
    ----------
    bytes_read : (n,) array
        From memory: what no cache holds. [bytes]
    waiting : (n,) array
        Share of the kernel's time that waits for it, alone on the machine. [1]
    """

    bytes_read: Floats
    waiting: Floats


def memory_traffic(
    kernel: Kernel, batch_size: Floats, at: Moment, seconds: Floats, bandwidth_bytes_per_s: float
) -> Traffic:
    """Rows, or weights, that the last-level cache does not hold, and the indices of lookups.

    Lookups wait for every row that they miss. Weights and indices stream in ahead of their use: the time of
    reading them, at the rate of one worker, is what may be stretched.

    Derived here: r rows of a lookup read m R + e 64 + 8 bytes each, of which m and e miss row and page-table
    entry, R the bytes of its lines; a product reads its weights that were evicted.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    batch_size : (n,) float array
        Items.
    at : Moment
        What it finds in the caches.
    seconds : (n,) float array
        Of all calls, alone. [s]
    bandwidth_bytes_per_s : float
        At which one worker reads memory. [bytes/s]
    """
    gather = kernel.gather if kernel.family == "embedding_bag" else None
    if gather is None:
        read = kernel.calls * kernel.weight_bytes * at.evicted[1]
        return Traffic(read, np.minimum(1.0, read / bandwidth_bytes_per_s / seconds))
    rows = kernel.calls * kernel.of(batch_size) * gather.rows_per_item
    row_bytes = np.ceil(gather.row_bytes / LINE_BYTES) * LINE_BYTES
    entries = at.entries_missed[1] * LINE_BYTES
    read = rows * (at.missed[1] * row_bytes + entries + INDEX_BYTES)
    return Traffic(read, np.maximum(at.missed[1], np.minimum(1.0, read / bandwidth_bytes_per_s / seconds)))


def saturation_slowdowns(
    traffic: Sequence[Traffic],
    seconds: Sequence[Floats],
    demand_bytes_per_s: Floats,
    device: Device,
    busy: float,
) -> list[Floats]:
    """Time of each kernel with `busy` workers over its time alone. [1]

    A kernel that reads r bytes/s while n others on its socket read d each, of a memory that gives W to all,
    waits s((r + n d') / W) / s(r / W) times as long for it, with s(x) = (1 + x^p)^(1/p): about 1 while there
    is enough for all, and x beyond. Others that wait longer are more often found waiting: d' is d times what
    their reading is stretched by, over what their passes are; both are taken to be this pass's.

    Derived here, with `saturation_stretch`; W and p are measured (docs/calibration-method.md).

    Parameters
    ----------
    traffic, seconds
        Of each kernel of a pass, `(n,)` arrays. [bytes], [s]
    demand_bytes_per_s : (n,) array
        What one of the others reads, alone: d, the mean over its passes. [bytes/s]
    device : Device
        Bandwidth W of a socket and sharpness p; workers spread over the sockets.
    busy : float
        Workers on the node, this one included.

    Returns
    -------
    list of (n,) float arrays
        Slow-down of each kernel, >= 1. [1]
    """
    memory, others = device.memory, max(0.0, busy / device.sockets - 1.0)
    reachable, sharpness = memory.bandwidth_bytes_per_s * memory.random_fraction, memory.saturation_sharpness
    total = np.sum(seconds, axis=0)
    read = np.sum([one.bytes_read for one in traffic], axis=0)
    more_often = np.ones_like(total)
    stretches = list[Floats]()
    for _ in range(_ROUNDS):
        stretches = []
        for one, alone_s in zip(traffic, seconds, strict=True):
            own = one.bytes_read / alone_s / reachable
            beside = own + others * demand_bytes_per_s * more_often / reachable
            stretches.append(saturation_stretch(beside, sharpness) / saturation_stretch(own, sharpness))
        pairs = list(zip(traffic, stretches, strict=True))
        slowed = [1.0 + one.waiting * (stretch - 1.0) for one, stretch in pairs]
        passes = np.sum([alone_s * by for alone_s, by in zip(seconds, slowed, strict=True)], axis=0) / total
        reading = np.sum([one.bytes_read * stretch for one, stretch in pairs], axis=0) / np.maximum(read, 1.0)
        more_often = np.maximum(1.0, reading / passes)
    return [1.0 + one.waiting * (stretch - 1.0) for one, stretch in zip(traffic, stretches, strict=True)]
