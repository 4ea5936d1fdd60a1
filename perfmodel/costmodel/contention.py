"""What co-located work costs: shared cache, shared memory bandwidth, hyper-threads, the serving stack."""

from __future__ import annotations

import numpy as np

from perfmodel.costmodel.kernel_time import LINE_BYTES, Conditions
from perfmodel.costmodel.footprint import cached_fraction, l3_share_bytes, table_hit_rates
from perfmodel.costmodel.kernels import Floats, Gather, Kernel
from perfmodel.domain.hardware import Device


def conditions_alone(
    kernels: tuple[Kernel, ...], weight_bytes: float, device: Device, busy: Floats, *, copies: bool
) -> Conditions:
    """Cache residency with `busy` workers, before memory bandwidth is shared out.

    Weights and activations are private to a worker; embedding tables are one read-only copy, so the
    rows that a socket's L3 holds serve all its workers.

    Parameters
    ----------
    kernels : tuple of Kernel
        The model's.
    weight_bytes : float
        All weights, which every batch streams through the caches once. [bytes]
    busy : (...) float array
        Busy workers on the node, this one included.
    copies : bool
        Workers are pinned to one socket (a co-location experiment) and not spread over all.
    """
    per_socket = busy if copies else np.maximum(1.0, busy / device.sockets)
    share = l3_share_bytes(device, per_socket)
    if device.caches is None:
        in_l2 = in_l3 = np.zeros_like(busy)
    else:
        in_l2 = cached_fraction(weight_bytes, np.full_like(busy, device.caches.l2_bytes))
        in_l3 = (1.0 - in_l2) * cached_fraction(weight_bytes, share)
    rows_capacity = np.maximum(0.0, share - weight_bytes * (in_l2 + in_l3)) * (1.0 if copies else per_socket)
    slowdown = 1.0 + (device.interference.node_factor - 1.0) * np.clip(
        (busy - 1.0) / max(1, device.num_cores - 1), 0.0, 1.0
    )
    paired = _paired_fraction(device, busy, copies=copies)
    return Conditions(
        weights_in_l2=in_l2,
        weights_in_l3=in_l3,
        row_hit_rates=_row_hit_rates(kernels, rows_capacity),
        memory_slowdown=np.ones_like(busy),
        gemm_slowdown=slowdown * (1.0 + (device.interference.hyper_thread_gemm - 1.0) * paired),
        lookup_slowdown=slowdown * (1.0 + (device.interference.hyper_thread_lookup - 1.0) * paired),
    )


def memory_slowdown(device: Device, busy: Floats, memory_share: Floats, *, copies: bool) -> Floats:
    """Time of a memory access with `busy` workers over its time alone. [1]

    Each of the others is at the memory for `memory_share` of its time. Their common demand x, over what
    the socket's memory reaches with random rows, stretches an access by (1 + x^p)^(1/p) / (1 + x1^p)^(1/p),
    x1 being one worker's: none while the memory keeps up, proportional when it is saturated.
    """
    per_socket = busy if copies else np.maximum(1.0, busy / device.sockets)
    reachable = device.memory.bandwidth_bytes_per_s * device.memory.random_fraction
    one = LINE_BYTES / device.lookup.memory_line_s / reachable
    demand = one * (1.0 + (per_socket - 1.0) * memory_share)
    p = device.memory.saturation_sharpness
    stretched = (1.0 + demand**p) ** (1.0 / p) / (1.0 + one**p) ** (1.0 / p)
    return np.asarray(stretched)


def _paired_fraction(device: Device, busy: Floats, *, copies: bool) -> Floats:
    """Fraction of the busy workers that share their core with another one (hyper-threading)."""
    cores = device.cores_per_socket if copies else device.num_cores
    return np.clip(2.0 * (busy - cores) / busy, 0.0, 1.0)


def _row_hit_rates(
    kernels: tuple[Kernel, ...], capacity_bytes: Floats
) -> dict[tuple[int, float, float], Floats]:
    counts: dict[Gather, int] = {}
    for kernel in kernels:
        if kernel.family == "embedding_bag" and kernel.gather is not None:
            counts[kernel.gather] = counts.get(kernel.gather, 0) + kernel.calls
    tables = list(counts.items())
    if not tables:
        return {}
    capacities, inverse = np.unique(capacity_bytes, return_inverse=True)
    by_capacity = np.array([table_hit_rates(tables, float(capacity)) for capacity in capacities])
    return {
        (gather.num_rows, gather.row_bytes, gather.zipf_exponent): by_capacity[:, column][inverse].reshape(
            capacity_bytes.shape
        )
        for column, (gather, _) in enumerate(tables)
    }
