"""What fits where: models in memory, weights and embedding rows in caches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from perfmodel.costmodel.kernels import Floats, Gather, Kernel
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.units import GIB

_ZIPF_BINS = 64
"""Groups of rows of similar popularity; hit rates move by less than 1 % with more."""
_LOG_TIME_BOUND = 60.0
_BISECTIONS = 45
"""Of the characteristic time's logarithm, bracketed by its bound: to 1e-11."""
_MOST_AT_ONCE = 1_000_000
"""Probabilities worked out in one array: 8 MB."""


def require_fit(model: RecModel, device: Device, *, copies: int = 1) -> None:
    """Refuse a model whose tables and weights exceed the device's memory.

    Workers of a process share one read-only copy of the tables; a GPU holds all of them.

    Derived here: bytes of all tables and of all weights in fp32.

    Parameters
    ----------
    model : RecModel
        What is to fit.
    device : Device
        Whose memory.
    copies : int, default 1
        Processes that have one each.

    Raises
    ------
    InputError
        Naming the largest table and the memory that is missing.
    """
    needed = copies * (model.embedding_bytes + model.dense_parameter_bytes)
    if needed <= device.memory.capacity_bytes:
        return
    of_all = "needs" if copies == 1 else f"{copies} copies need"
    missing = f"{of_all} {needed / GIB:.1f} GiB, memory has {device.memory.capacity_bytes / GIB:.1f} GiB"
    raise InputError(f"{model.name} does not fit {device.name}: {missing}{_largest_table(model)}")


def require_weights_fit(model: RecModel, device: Device) -> None:
    """Refuse a main node whose memory does not hold the weights beside the tables.

    Derived here: bytes of all weights.

    Parameters
    ----------
    model : RecModel
        What is to fit.
    device : Device
        Whose memory.

    Raises
    ------
    InputError
        Naming both.
    """
    needed, capacity = model.dense_parameter_bytes, device.memory.capacity_bytes
    if needed > capacity:
        raise InputError(
            f"{model.name} does not fit {device.name}: its weights without tables need {needed / GIB:.1f} "
            f"GiB, memory has {capacity / GIB:.1f} GiB"
        )


def _largest_table(model: RecModel) -> str:
    sizes = {
        f"{op.name}.tables.{index}": table.size_bytes
        for op in model.embedding_operators
        for index, table in enumerate(op.tables)
    }
    if not sizes:
        return ""
    name = max(sizes, key=sizes.__getitem__)
    return f"; largest table: {name} with {sizes[name] / GIB:.2f} GiB"


def l3_share_bytes(device: Device, busy_per_socket: Floats) -> Floats:
    """Last-level cache that one of `busy_per_socket` busy cores has to itself. [bytes]

    An inclusive L3 holds copies of all L2 lines, so the private L2 adds nothing to it; an exclusive one
    is filled by evictions, so each core has its L2 on top. 0 where a device has no caches (GPU).

    Derived here: busy cores share the L3 equally.

    Parameters
    ----------
    device : Device
        L2 of a core, L3 of a socket, and which of the two kinds it is.
    busy_per_socket : (...) float array
        Busy cores of the socket, this one included, >= 1.
    """
    if device.caches is None:
        return np.zeros_like(busy_per_socket)
    own_l2 = device.caches.l2_bytes if device.caches.exclusive else 0.0
    return device.caches.l3_bytes / busy_per_socket + own_l2


def cached_fraction(footprint_bytes: float, capacity_bytes: Floats) -> Floats:
    """Fraction of a footprint, used over and over, that a cache of this capacity holds. [1]

    Derived here: min(1, capacity / footprint), as of a cache that keeps the same part of a cycle.

    Parameters
    ----------
    footprint_bytes : float
        What is used over and over; of nothing all is held. [bytes]
    capacity_bytes : (...) float array
        The cache, or the part of it that is there for this. [bytes]

    Examples
    --------
    >>> cached_fraction(10e6, np.array([5e6, 35e6])).tolist()
    [0.5, 1.0]
    """
    if footprint_bytes <= 0.0:
        return np.ones_like(capacity_bytes)
    return np.minimum(1.0, capacity_bytes / footprint_bytes)


def table_hit_rates(tables: Sequence[tuple[Gather, int]], capacity_bytes: Floats) -> Floats:
    """LRU hit rate of each table's rows when all tables share a cache, by Che's approximation. [1]

    A row of popularity p stays cached with probability 1 - exp(-p T), where T, the cache's
    characteristic time, is such that the expected cached bytes fill the capacity [1]_.

    Parameters
    ----------
    tables : sequence of (Gather, int)
        Tables and how many are like each.
    capacity_bytes : (n,) float array
        Cache for all of them; each entry is a case of its own. [bytes]

    Returns
    -------
    (len(tables), n) float array
        Hit rate of each entry in each case. [1]

    References
    ----------
    .. [1] H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems", IEEE JSAC 20(7), 2002.

    Examples
    --------
    >>> table = Gather(rows_per_item=1, bags_per_item=1, row_bytes=128, num_rows=1000, zipf_exponent=0)
    >>> table_hit_rates([(table, 1)], np.array([0.0, 32_000.0, 1e6])).round(3).tolist()
    [[0.0, 0.25, 1.0]]
    """
    total_bytes = sum(table.table_bytes * count for table, count in tables)
    bins = [popularity_bins(table) for table, _ in tables]
    # The bins of all tables in a row: a call for each table takes a millisecond over the bisection.
    rate = np.concatenate([rate for _, rate in bins])
    bin_bytes = np.concatenate(
        [count * table.row_bytes * rows for (table, count), (rows, _) in zip(tables, bins, strict=True)]
    )

    def cached_bytes(log_time: Floats) -> Floats:
        return np.asarray(sum(bin_bytes[part] @ _cached_probability(rate[part], log_time) for part in parts))

    at_once = max(1, _MOST_AT_ONCE // max(1, len(capacity_bytes)))
    parts = [slice(first, first + at_once) for first in range(0, len(rate), at_once)]
    low, high = np.full_like(capacity_bytes, -_LOG_TIME_BOUND), np.full_like(capacity_bytes, _LOG_TIME_BOUND)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_short = cached_bytes(middle) < capacity_bytes
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    hits = _hit_rates(bins, high)
    rates = np.where(capacity_bytes >= total_bytes, 1.0, np.where(capacity_bytes <= 0.0, 0.0, hits))
    return np.asarray(rates, dtype=np.float64)


def _hit_rates(bins: Sequence[tuple[Floats, Floats]], log_time: Floats) -> Floats:
    """Hit rate of each table's lookups, `(tables, n)`: those without popular rows all at once. [1]"""
    hits = np.empty((len(bins), len(log_time)))
    uniform = [index for index, (rows, _) in enumerate(bins) if len(rows) == 1]
    if uniform:
        # As below, where the rows of a table are one bin; rounded as below, too.
        rows, rate = np.array([bins[index] for index in uniform])[:, :, 0].T
        hits[uniform] = (rows * rate)[:, None] * _cached_probability(rate, log_time) / (rows * rate)[:, None]
    for index, (rows, rate) in enumerate(bins):
        if len(rows) > 1:
            hits[index] = (rows * rate) @ _cached_probability(rate, log_time) / (rows @ rate)
    return hits


def _cached_probability(rate: Floats, log_time: Floats) -> Floats:
    """1 - exp(-p T) for each row bin and each case. [1]"""
    return np.asarray(-np.expm1(-np.outer(rate, np.exp(log_time))))


def tables_in_memory(kernels: Iterable[Kernel]) -> tuple[Counter[Gather], dict[Gather, Gather]]:
    """The tables that kernels look up, how many are like each, and which of them each lookup reads.

    Derived here: a table that several kernels read is in memory once, and its rows are looked up by all of
    them together. Where some are the query's and some the items', the items' rate stands for both.

    Parameters
    ----------
    kernels : iterable of Kernel
        Of one pass.

    Returns
    -------
    counts : Counter of Gather
        Tables, each with the lookups of all that read it.
    table_of : dict of Gather to Gather
        Of each lookup of the kernels the table among those.
    """
    counts: Counter[Gather] = Counter()
    table_of: dict[Gather, Gather] = {}
    shared: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        if kernel.family != "embedding_bag" or kernel.gather is None:
            continue
        if kernel.gather.memory:
            shared.setdefault(kernel.gather.memory, []).append(kernel)
        else:
            counts[kernel.gather] += kernel.calls
            table_of[kernel.gather] = kernel.gather
    for readers in shared.values():
        gathers = [(kernel.gather, kernel.calls) for kernel in readers if kernel.gather is not None]
        leading = [(one, calls) for one, calls in gathers if one.scope == "item"] or gathers
        table = replace(leading[0][0], rows_per_item=sum(calls * one.rows_per_item for one, calls in leading))
        counts[table] = 1
        table_of |= {one: table for one, _ in gathers}
    return counts, table_of


def popularity_bins(table: Gather) -> tuple[Floats, Floats]:
    """Rows of similar popularity together: rows in each bin, and lookups per item of one row in it.

    Derived here: the r-th most popular row is looked up in proportion to r^-s; ranks, from `first_rank` on,
    are cut into 64 bins, equally wide in their logarithm; a bin's rows take the rate of its geometric middle.
    Rows that are not in use are a bin of their own, the last one, which nobody looks up.

    Parameters
    ----------
    table : Gather
        Its rows, their mean lookups an item, and the exponent s: 0 where all are equally popular.

    Returns
    -------
    rows, rate : (bins,) float arrays
        Rows of each bin, which sum to the table's; lookups of one of them. [rows], [lookups/item]
    """
    n = table.num_rows if table.rows_in_use is None else min(table.num_rows, table.rows_in_use)
    if n < table.num_rows:
        rows, rate = popularity_bins(replace(table, num_rows=n, rows_in_use=None))
        return np.append(rows, float(table.num_rows - n)), np.append(rate, 0.0)
    if table.zipf_exponent == 0.0:
        return np.array([float(n)]), np.array([table.rows_per_item / n])
    first = int(table.first_rank)
    edges = np.unique(np.floor(np.geomspace(first, first + n, _ZIPF_BINS)))
    rows = np.diff(edges)
    middle = np.sqrt(edges[:-1] * (edges[1:] - 1).clip(min=1))
    weight = middle**-table.zipf_exponent
    return rows, table.rows_per_item * weight / np.sum(rows * weight)
