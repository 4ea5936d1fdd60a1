"""One kernel on one device: work in, seconds out.

Every time is a fixed part for the framework call plus what the work takes. Arithmetic and streamed
traffic overlap (roofline); random rows, packing and conversion do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from perfmodel.costmodel.kernels import ELEMENT_BYTES, Floats, Gather, Kernel
from perfmodel.costmodel.product_time import batch_matmul_time, product_time, recurrent_time
from perfmodel.costmodel.timing import LINE_BYTES, Conditions, KernelTime, kernel_parts, streamed_s
from perfmodel.domain.hardware import Device
from perfmodel.domain.surface import AnyFamily

LENGTH_BYTES = 4
"""Bytes of one list length, handed over beside the indices. [bytes]"""
_MOST_AT_ONCE = 1_000_000
"""Times of lookups that are worked out in one array: 8 MB each."""


def kernel_time(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Time of all calls of a kernel for batches of `batch_size` items under `at`.

    t = t_call + max(t_compute, t_stream) + t_weights + t_lookup + t_input, stretched by what hyper-threading
    and the serving stack add. That arithmetic and streamed traffic overlap is the roofline model [1]_; which
    of the others a family has, and what they are, is derived here, in the functions of the families.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    device : Device
        Where; costs of one executor.
    batch_size : (...) float array
        Items in the batch; broadcasts with the arrays in `at`.
    at : Conditions
        Cache residency and contention.

    Returns
    -------
    KernelTime
        Its parts, each of the batch's shape. [s]

    References
    ----------
    .. [1] S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for
       Multicore Architectures", Communications of the ACM 52(4), 2009.
    """
    time = _TIMES[kernel.family](kernel, device, kernel.of(batch_size), at)
    slowdown = {"embedding_bag": at.lookup_slowdown, "input": at.input_slowdown}
    return time.scaled(slowdown.get(kernel.family, at.gemm_slowdown))


def kernel_times(
    kernels: Sequence[Kernel], device: Device, batch_size: Floats, at: Conditions
) -> list[KernelTime]:
    """Return `kernel_time` of each kernel: what a model may have thousands of, one a table, many at once.

    Source: `kernel_time`.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of one pass.
    device, batch_size, at
        As of `kernel_time`.

    Returns
    -------
    list of KernelTime
        Of each kernel, in order. [s]
    """
    times: dict[int, KernelTime] = {}
    at_once = max(1, _MOST_AT_ONCE // max(1, batch_size.size))
    kinds = (("embedding_bag", _lookups, at.lookup_slowdown), ("input", _lists, at.input_slowdown))
    for (family, time_of, slowdown), scope in product(kinds, ("item", "query")):
        of_tables = [
            index
            for index, kernel in enumerate(kernels)
            if kernel.family == family and kernel.scope == scope and kernel.gather is not None
        ]
        for first in range(0, len(of_tables), at_once):
            chosen = of_tables[first : first + at_once]
            served = kernels[chosen[0]].of(batch_size)
            together = time_of([kernels[index] for index in chosen], device, served, at)
            times |= zip(chosen, together.scaled(slowdown).apart(), strict=True)
    return [
        times[index] if index in times else kernel_time(kernel, device, batch_size, at)
        for index, kernel in enumerate(kernels)
    ]


def _lookup(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """One kernel of `_lookups`."""
    (time,) = _lookups([kernel], device, batch_size, at).apart()
    return time


def _lookups(kernels: Sequence[Kernel], device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Rows line by line, from cache or memory, with the core's overlap of misses; then one output a bag.

    t = L (h t_cached + (1 - h) t_memory) + b t_bag for L lines and b bags; a row that misses also waits
    for its page's entry, a line of its own, unless that is in L2. On a GPU the bags run side by
    side, but the rows of one bag follow each other: few long bags are limited by that chain.
    Derived here; how far misses overlap is in the costs of a line. The parts' first axis is the kernels.
    """
    costs = device.lookup
    calls, _, rows_per_item, bags_per_item, row_bytes = _columns(kernels, batch_size)
    hit = np.array([at.row_hit_rates[_gather_of(kernel)] for kernel in kernels])
    lines = batch_size * rows_per_item * np.ceil(row_bytes / LINE_BYTES)
    missed = batch_size * rows_per_item * (1.0 - hit)
    far_entries = missed * (1.0 - at.entries_in_l2 - at.entries_in_l3)
    memory = (lines * (1.0 - hit) + far_entries) * costs.memory_line_s * at.memory_slowdown
    cached = (lines * hit + missed * at.entries_in_l3) * costs.cached_line_s
    bags = batch_size * bags_per_item
    chain = costs.serial_row_s * rows_per_item / bags_per_item
    return kernel_parts(
        np.broadcast_to(batch_size, memory.shape),
        overhead=calls * device.calls.call_s.get("embedding_bag", 0.0),
        lookup=calls * np.maximum(memory + cached + bags * costs.bag_s, chain),
        memory=calls * memory,
    )


def _columns(kernels: Sequence[Kernel], batch_size: Floats) -> Iterator[Floats]:
    """Calls, pieces, and an item's rows, bags and bytes a row: a row for each kernel, beside the batches."""
    gathers = [_gather_of(kernel) for kernel in kernels]
    table = np.array(
        [
            (kernel.calls, kernel.pieces, gather.rows_per_item, gather.bags_per_item, gather.row_bytes)
            for kernel, gather in zip(kernels, gathers, strict=True)
        ],
        dtype=np.float64,
    )
    return (column.reshape(-1, *(1,) * batch_size.ndim) for column in table.T)


def _gather_of(kernel: Kernel) -> Gather:
    if kernel.gather is None:
        raise AssertionError(f"{kernel.operator}: lookup without a table")
    return kernel.gather


def _input(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Conversion of a request's dense features, or one of its lists, and their way to a GPU."""
    if kernel.gather is not None:
        (time,) = _lists([kernel], device, batch_size, at).apart()
        return time
    costs, moved = device.inputs, kernel.read_bytes_per_item
    per_item = moved / ELEMENT_BYTES * costs.dense_element_s + moved / costs.transfer_bytes_per_s
    fixed = kernel.pieces * costs.blob_s
    return kernel_parts(batch_size, inputs=kernel.calls * (fixed + batch_size * per_item))


def _lists(kernels: Sequence[Kernel], device: Device, batch_size: Floats, _: Conditions) -> KernelTime:
    """Conversion of a request's lists of indices to tensors, and their way to a GPU: as `_lookups`."""
    costs = device.inputs
    calls, pieces, rows_per_item, bags_per_item, _row_bytes = _columns(kernels, batch_size)
    convert = bags_per_item * costs.bag_s + rows_per_item * costs.index_s
    moved = rows_per_item * costs.index_bytes + bags_per_item * LENGTH_BYTES
    per_item = convert + moved / costs.transfer_bytes_per_s
    inputs = calls * (pieces * costs.blob_s + batch_size * per_item)
    return kernel_parts(np.broadcast_to(batch_size, inputs.shape), inputs=inputs)


def _elementwise(kernel: Kernel, device: Device, batch_size: Floats, _: Conditions) -> KernelTime:
    """Operands read and results written at the streaming rate."""
    return kernel_parts(
        batch_size,
        overhead=kernel.calls * device.calls.call_s["elementwise"],
        stream=_all_streamed_s(kernel, device, batch_size),
    )


def _concat(kernel: Kernel, device: Device, batch_size: Floats, _: Conditions) -> KernelTime:
    """Streamed like an elementwise call, and a copy for each piece: by call (GPU), by row (CPU)."""
    costs = device.calls
    copies = kernel.pieces * (costs.concat_piece_s + batch_size * costs.concat_row_piece_s)
    return kernel_parts(
        batch_size,
        overhead=kernel.calls * (costs.call_s["concat"] + copies),
        stream=_all_streamed_s(kernel, device, batch_size),
    )


def _softmax(kernel: Kernel, device: Device, batch_size: Floats, _: Conditions) -> KernelTime:
    """A cost for each row and each element, or the streaming rate where that is slower."""
    costs = device.calls
    elements = kernel.read_bytes_per_item / ELEMENT_BYTES
    per_item = kernel.rows_per_item * costs.softmax_row_s + elements * costs.softmax_element_s
    return kernel_parts(
        batch_size,
        overhead=kernel.calls * costs.call_s["elementwise"],
        compute=kernel.calls * batch_size * per_item,
        stream=_all_streamed_s(kernel, device, batch_size),
    )


def _all_streamed_s(kernel: Kernel, device: Device, batch_size: Floats) -> Floats:
    return kernel.calls * streamed_s(kernel, batch_size, device.stream_bytes_per_s)


_TIMES: Mapping[AnyFamily, Callable[[Kernel, Device, Floats, Conditions], KernelTime]] = {
    "input": _input,
    "fc": product_time,
    "embedding_bag": _lookup,
    "concat": _concat,
    "sum": _elementwise,
    "activation": _elementwise,
    "elementwise": _elementwise,
    "softmax": _softmax,
    "batch_matmul": batch_matmul_time,
    "recurrent": recurrent_time,
}
