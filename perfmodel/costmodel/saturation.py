"""Memory bandwidth that busy workers share: what a pass reads from memory, and what that costs the others."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
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
    """What all calls of each kernel have to do with memory, `(kernels, n)` arrays.

    Attributes
    ----------
    bytes_read : (kernels, n) array
        From memory: what no cache holds. [bytes]
    waiting : (kernels, n) array
        Share of a kernel's time that waits for it, alone on the machine. [1]
    """

    bytes_read: Floats
    waiting: Floats


def memory_traffic(
    kernels: Sequence[Kernel], batch_size: Floats, at: Moment, seconds: Floats, bandwidth_bytes_per_s: float
) -> Traffic:
    """Rows, or weights, that the last-level cache does not hold, and the indices of lookups.

    Lookups wait for every row that they miss. Weights and indices stream in ahead of their use: the time of
    reading them, at the rate of one worker, is what may be stretched.

    Derived here: r rows of a lookup read m R + e 64 + 8 bytes each, of which m and e miss row and page-table
    entry, R the bytes of its lines; a product reads its weights that were evicted.

    Parameters
    ----------
    kernels : sequence of Kernel
        Lookups, or one kernel.
    batch_size : (n,) float array
        Items.
    at : Moment
        What they find in the caches: arrays of n for each kernel.
    seconds : (kernels, n) float array
        Of all calls, alone. [s]
    bandwidth_bytes_per_s : float
        At which one worker reads memory. [bytes/s]
    """
    gathers = [kernel.gather for kernel in kernels if kernel.family == "embedding_bag"]
    if None in gathers or not gathers:
        calls = np.array([kernel.calls * kernel.weight_bytes for kernel in kernels])
        read = calls[:, None] * at.evicted[1].reshape(seconds.shape)
        return Traffic(read, np.minimum(1.0, read / bandwidth_bytes_per_s / seconds))
    missed, entries = (each[1].reshape(seconds.shape) for each in (at.missed, at.entries_missed))
    each = [(one.rows_per_item, ceil(one.row_bytes / LINE_BYTES) * LINE_BYTES) for one in gathers if one]
    item_rows, row_bytes = np.array(each).T[..., None]
    rows = item_rows * [kernel.calls * kernel.of(batch_size) for kernel in kernels]
    read = rows * (missed * row_bytes + entries * LINE_BYTES + INDEX_BYTES)
    return Traffic(read, np.maximum(missed, np.minimum(1.0, read / bandwidth_bytes_per_s / seconds)))


def saturation_slowdowns(
    traffic: Traffic, seconds: Floats, demand_bytes_per_s: Floats, device: Device, busy: float
) -> Floats:
    """Time of each kernel with `busy` workers over its time alone. [1]

    A kernel that reads r bytes/s while n others on its socket read d each, of a memory that gives W to all,
    waits s((r + n d') / W) / s(r / W) times as long for it, with s(x) = (1 + x^p)^(1/p): about 1 while there
    is enough for all, and x beyond. Others that wait longer are more often found waiting: d' is d times what
    their reading is stretched by, over what their passes are; both are taken to be this pass's.

    Derived here, with `saturation_stretch`; W and p are measured (docs/calibration-method.md).

    Parameters
    ----------
    traffic, seconds
        Of the kernels of a pass, `(kernels, n)` arrays. [bytes], [s]
    demand_bytes_per_s : (n,) array
        What one of the others reads, alone: d, the mean over its passes. [bytes/s]
    device : Device
        Bandwidth W of a socket and sharpness p; workers spread over the sockets.
    busy : float
        Workers on the node, this one included.

    Returns
    -------
    (kernels, n) float array
        Slow-down of each kernel, >= 1. [1]
    """
    memory, others = device.memory, max(0.0, busy / device.sockets - 1.0)
    reachable, sharpness = memory.bandwidth_bytes_per_s * memory.random_fraction, memory.saturation_sharpness
    total, read = seconds.sum(axis=0), traffic.bytes_read.sum(axis=0)
    own = traffic.bytes_read / seconds / reachable
    more_often, slowed = np.ones_like(total), np.ones_like(seconds)
    for _ in range(_ROUNDS):
        beside = own + others * demand_bytes_per_s * more_often / reachable
        stretch = saturation_stretch(beside, sharpness) / saturation_stretch(own, sharpness)
        slowed = 1.0 + traffic.waiting * (stretch - 1.0)
        passes = (seconds * slowed).sum(axis=0) / total
        reading = (traffic.bytes_read * stretch).sum(axis=0) / np.maximum(read, 1.0)
        more_often = np.maximum(1.0, reading / passes)
    return slowed
