"""What co-located work costs: shared cache, shared memory bandwidth, hyper-threads, the serving stack."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np

from perfmodel.costmodel.footprint import cached_fraction, l3_share_bytes, table_hit_rates, tables_in_memory
from perfmodel.costmodel.kernels import Floats, Gather, Kernel
from perfmodel.costmodel.timing import LINE_BYTES, Conditions
from perfmodel.domain.hardware import Device

T = TypeVar("T", float, Floats)

PAGE_BYTES = 4096
PAGE_ENTRY_BYTES = 8
"""A page, and its entry in the last level of the page table: x86-64 without huge pages. [bytes]"""


def conditions_alone(
    kernels: tuple[Kernel, ...], weight_bytes: float, device: Device, busy: Floats, *, copies: bool
) -> Conditions:
    """Cache residency with `busy` workers, before memory bandwidth is shared out.

    Weights and activations are private to a worker. Embedding tables are one read-only copy, so the
    rows that a socket's L3 holds serve all its workers; co-located copies each bring their own tables.

    Derived here, from what inclusive and exclusive caches hold; the rows' hit rate is `table_hit_rates`. What
    hyper-threads add was published: 1.6 and 1.3 times, for FC and lookups [1]_. Assumed: conversion of inputs
    is slowed as lookups are, since an interpreter waits for loads and branches and fills no vector unit.

    Parameters
    ----------
    kernels : tuple of Kernel
        The model's.
    weight_bytes : float
        All weights, which every batch streams through the caches once. [bytes]
    device : Device
        Caches, sockets, and what hyper-threading and the serving stack add.
    busy : (...) float array
        Busy workers on the node, this one included.
    copies : bool
        Workers are pinned to one socket (a co-location experiment) and not spread over all.

    Returns
    -------
    Conditions
        With a memory slow-down of 1; arrays of the shape of `busy`.

    References
    ----------
    .. [1] U. Gupta et al., "The Architectural Implications of Facebook's DNN-based Personalized
       Recommendation", HPCA 2020.
    """
    per_socket = _per_socket(device, busy, copies=copies)
    in_l2, in_l3, rows_capacity = _cached(device, weight_bytes, per_socket, copies=copies)
    entries_in_l2, entries_in_l3 = _entries_cached(kernels, device, rows_capacity)
    interference = device.interference
    stack = _stack_slowdown(device, busy, interference.node_factor)
    interpreter = _stack_slowdown(device, busy, interference.conversion_factor)
    paired = paired_fraction(device, busy, copies=copies)
    return Conditions(
        weights_in_l2=in_l2,
        weights_in_l3=in_l3,
        row_hit_rates=_row_hit_rates(kernels, rows_capacity),
        entries_in_l2=entries_in_l2,
        entries_in_l3=entries_in_l3,
        memory_slowdown=np.ones_like(busy),
        gemm_slowdown=stack * _of_a_request(interference.hyper_thread_gemm, paired),
        lookup_slowdown=stack * _of_a_request(interference.hyper_thread_lookup, paired),
        input_slowdown=interpreter * _of_a_request(interference.hyper_thread_lookup, paired),
    )


def _cached(
    device: Device, weight_bytes: float, per_socket: Floats, *, copies: bool
) -> tuple[Floats, Floats, Floats]:
    """Weights in L2 and, beyond those, in L3; and what both leave to embedding rows. [1], [1], [bytes]

    An inclusive L3 repeats what the L2s hold. Rows of shared tables find the whole rest of the L3, and of
    an exclusive cache's private L2 only the worker's own. Processes of one socket that have copies of the
    tables each find their part of it.
    """
    if device.caches is None:
        return np.zeros_like(per_socket), np.zeros_like(per_socket), np.zeros_like(per_socket)
    caches = device.caches
    in_l2 = cached_fraction(weight_bytes, np.full_like(per_socket, caches.l2_bytes))
    in_l3 = np.maximum(0.0, cached_fraction(weight_bytes, l3_share_bytes(device, per_socket)) - in_l2)
    own_l2 = np.maximum(0.0, caches.l2_bytes - weight_bytes * in_l2) if caches.exclusive else 0.0
    taken = weight_bytes * (in_l3 if caches.exclusive else in_l2 + in_l3)
    rest = np.maximum(0.0, caches.l3_bytes - taken * per_socket)
    apart = per_socket if copies else np.minimum(per_socket, caches.table_copies)
    return in_l2, in_l3, own_l2 + rest / apart


def memory_slowdown(
    device: Device, busy: Floats, memory_share: Floats, *, copies: bool, at_work: float = 1.0
) -> Floats:
    """Time of a memory access with `busy` workers over its time alone. [1]

    Each of the others is at the memory for `memory_share` of its time. Their common demand x, over what
    the socket's memory reaches with random rows, stretches an access by s(x) / s(x1), x1 being one
    worker's demand and s that of `saturation_stretch`.

    Derived here; its two constants were fitted to RecNMP's bandwidth by threads [1]_.

    Parameters
    ----------
    device : Device
        Bandwidth B of a socket, its random fraction f, and the time t of a line: x1 = 64 B / (t f B).
    busy : (...) float array
        Busy workers on the node, this one included.
    memory_share : (...) float array
        Fraction of a worker's time that waits for memory. [1]
    copies : bool
        Workers are pinned to one socket.
    at_work : float, default 1
        Share of their time that the others are at work; between two passes they hold their caches, but ask
        for no memory. [1]

    Returns
    -------
    (...) float array
        Slow-down of an access, >= 1. [1]

    References
    ----------
    .. [1] L. Ke et al., "RecNMP: Accelerating Personalized Recommendation with Near-Memory Processing",
       ISCA 2020, figure 6.
    """
    per_socket = _per_socket(device, busy, copies=copies)
    reachable = device.memory.bandwidth_bytes_per_s * device.memory.random_fraction
    one = LINE_BYTES / device.lookup.memory_line_s / reachable
    demand = one * (1.0 + (per_socket - 1.0) * memory_share * at_work)
    sharpness = device.memory.saturation_sharpness
    return np.asarray(saturation_stretch(demand, sharpness) / saturation_stretch(one, sharpness))


def saturation_stretch(demand: T, sharpness: float) -> T:
    """Time over time without demand: (1 + x^p)^(1/p), about 1 below saturation and x beyond. [1]

    Derived here: the two limits are known, and the p-norm joins them with one constant.

    Parameters
    ----------
    demand : float or array
        Traffic x asked for over the traffic that the memory reaches, >= 0. [1]
    sharpness : float
        Exponent p > 0: how abrupt the change is. [1]

    Examples
    --------
    >>> [round(saturation_stretch(x, 4.0), 3) for x in (0.1, 1.0, 10.0)]
    [1.0, 1.189, 10.0]
    """
    stretch: T = (1.0 + demand**sharpness) ** (1.0 / sharpness)
    return stretch


def _per_socket(device: Device, busy: Floats, *, copies: bool) -> Floats:
    """Busy workers on this worker's socket: all of them, or their share where they spread out."""
    return busy if copies else np.maximum(1.0, busy / device.sockets)


def _stack_slowdown(device: Device, busy: Floats, all_busy: float) -> Floats:
    """What a loaded node adds, linear in the other busy cores; beyond all cores no more. [1]"""
    others = np.clip((busy - 1.0) / max(1, device.num_cores - 1), 0.0, 1.0)
    return np.asarray(1.0 + (all_busy - 1.0) * others)


def hyper_thread_slowdown(family: str, device: Device, busy: Floats) -> Floats:
    """Mean slow-down of a request's calls of a family where workers share cores as hyper-threads. [1]

    Source: the profile's `hyper_thread_*_slowdown`; lookups and conversion of inputs by one, all else by the
    other.

    Parameters
    ----------
    family : str
        Of the kernel.
    device : Device
        With its cores, and what two threads on one do to each other.
    busy : (...) float array
        Busy workers on the node, this one included.
    """
    interference = device.interference
    waits = family in ("embedding_bag", "input")
    slowdown = interference.hyper_thread_lookup if waits else interference.hyper_thread_gemm
    return _of_a_request(slowdown, paired_fraction(device, busy, copies=False))


def paired_fraction(device: Device, busy: Floats, *, copies: bool) -> Floats:
    """Fraction of the busy workers that share their core with another one (hyper-threading). [1]

    Derived here: 2 (n - c) of n workers on c cores, none before all cores have one.

    Parameters
    ----------
    device : Device
        With its cores.
    busy : (...) float array
        Busy workers on the node, this one included.
    copies : bool
        Workers are pinned to one socket and not spread over all.
    """
    cores = device.cores_per_socket if copies else device.num_cores
    return np.clip(2.0 * (busy - cores) / busy, 0.0, 1.0)


def _of_a_request(slowdown: float, paired: Floats) -> Floats:
    """Mean slow-down of a request, of whose workers a fraction share their core with another. [1]

    Those that share take longer, and so serve fewer: where a fraction p shares and is slowed down by f, n
    workers carry n (1 - p + p / f), and the mean over requests is the inverse of that bracket. By the mean
    over workers, 1 + p (f - 1), a node would carry less with a worker more, though two that share a core
    carry 2 / f of what one alone does there.
    """
    return np.asarray(1.0 / (1.0 - paired + paired / slowdown))


def _entries_cached(
    kernels: tuple[Kernel, ...], device: Device, capacity_bytes: Floats
) -> tuple[Floats, Floats]:
    """Where the page-table entries of the tables' pages are found: fractions in L2 and L3. [1]

    A row in a table far beyond the TLB's reach needs its page's entry first, 8 bytes for each 4 KiB
    page. Entries are cached by the line: rows in use, scattered over the table, need as many lines as have
    any of theirs. A GPU maps pages of 2 MiB and more: its entries cost nothing here.
    """
    if device.caches is None:
        return np.ones_like(capacity_bytes), np.zeros_like(capacity_bytes)
    counts, _ = tables_in_memory(kernels)
    entries_bytes = sum(count * _entries_bytes(gather) for gather, count in counts.items())
    in_l2 = cached_fraction(entries_bytes, np.full_like(capacity_bytes, device.caches.l2_bytes))
    return in_l2, (1.0 - in_l2) * cached_fraction(entries_bytes, capacity_bytes)


def _entries_bytes(gather: Gather) -> float:
    """Page-table entries that lookups in a table read, in whole lines where only some rows are in use."""
    every = gather.table_bytes * PAGE_ENTRY_BYTES / PAGE_BYTES
    if gather.rows_in_use is None:
        return every
    lines = max(1.0, every / LINE_BYTES)
    return float(-np.expm1(-gather.rows_in_use / lines) * lines * LINE_BYTES)


def _row_hit_rates(kernels: tuple[Kernel, ...], capacity_bytes: Floats) -> dict[Gather, Floats]:
    """Hit rate of each kind of table, all tables sharing the capacity."""
    counts, table_of = tables_in_memory(kernels)
    tables = list(counts.items())
    if not tables:
        return {}
    capacities, inverse = np.unique(capacity_bytes, return_inverse=True)
    by_capacity = _table_hit_rates(tuple(tables), tuple(capacities.tolist()))
    rates = {
        gather: by_capacity[row][inverse].reshape(capacity_bytes.shape)
        for row, (gather, _) in enumerate(tables)
    }
    return {gather: rates[table] for gather, table in table_of.items()}


@lru_cache(maxsize=64)
def _table_hit_rates(tables: tuple[tuple[Gather, int], ...], capacity_bytes: tuple[float, ...]) -> Floats:
    """As `table_hit_rates`, once: what a fit changes of a device does not change its caches."""
    return table_hit_rates(tables, np.array(capacity_bytes))
