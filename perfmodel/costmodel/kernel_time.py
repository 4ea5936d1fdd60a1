"""One kernel on one device: work in, seconds out.

Every time is a fixed part for the framework call plus what the work takes. Arithmetic and streamed
traffic overlap (roofline); random rows, packing and conversion do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from perfmodel.costmodel.kernels import ELEMENT_BYTES, Floats, Kernel
from perfmodel.domain.hardware import Device

LINE_BYTES = 64
LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the caches and the co-located work leave to this worker.

    Attributes
    ----------
    weights_in_l2, weights_in_l3 : array
        Fractions of the model's weights found there; the rest comes from memory. [1]
    row_hit_rates : mapping
        Fraction of a table's rows that the last-level cache holds, by (rows, row bytes, skew). [1]
    memory_slowdown : array
        Time of a memory access over its time alone on the machine, >= 1. [1]
    gemm_slowdown, lookup_slowdown : array
        What hyper-threading and the serving stack add, >= 1. [1]
    """

    weights_in_l2: Floats
    weights_in_l3: Floats
    row_hit_rates: dict[tuple[int, float, float], Floats]
    memory_slowdown: Floats
    gemm_slowdown: Floats
    lookup_slowdown: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """Parts of a kernel's time, all calls together. [s]

    Attributes
    ----------
    overhead_s, compute_s, stream_s, weights_s, lookup_s, input_s : array
        Framework calls; arithmetic; streamed traffic; weights that the caches do not hold; random
        rows; conversion and transfer.
    memory_s : array
        How much of it waits for main memory, and so feels co-located work.
    """

    overhead_s: Floats
    compute_s: Floats
    stream_s: Floats
    weights_s: Floats
    lookup_s: Floats
    input_s: Floats
    memory_s: Floats

    @property
    def seconds(self) -> Floats:
        """The kernel's time: arithmetic and streams overlap. [s]"""
        overlapped = np.maximum(self.compute_s, self.stream_s)
        return self.overhead_s + overlapped + self.weights_s + self.lookup_s + self.input_s


def _parts(
    batch_size: Floats,
    *,
    overhead: Floats | float = 0.0,
    compute: Floats | float = 0.0,
    stream: Floats | float = 0.0,
    weights: Floats | float = 0.0,
    lookup: Floats | float = 0.0,
    inputs: Floats | float = 0.0,
    memory: Floats | float = 0.0,
) -> KernelTime:
    zero = np.zeros_like(batch_size)
    return KernelTime(
        overhead_s=zero + overhead,
        compute_s=zero + compute,
        stream_s=zero + stream,
        weights_s=zero + weights,
        lookup_s=zero + lookup,
        input_s=zero + inputs,
        memory_s=zero + memory,
    )


def _product(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Multiply with packed weights, or stream them once for each row: whichever is faster.

    t_packed = 2 k n (m + m_half) / (e(k, n) P) + W / B_memory for what the caches do not hold, and
    t_streamed = m W / B, with e(k, n) = e k/(k + w) n/(n + w): a library packs the weights before it
    multiplies, which pays from a few rows on.
    """
    product, costs = kernel.product, device.gemm
    if product is None:
        raise AssertionError(f"{kernel.operator}: family {kernel.family} without a product")
    rows = batch_size * product.rows_per_item
    narrow = (product.inner / (product.inner + costs.half_width)) * (
        product.outer / (product.outer + costs.half_width)
    )
    rate = device.peak_flop_per_s * costs.efficiency * narrow
    in_memory = 1.0 - at.weights_in_l2 - at.weights_in_l3
    from_memory = (
        product.weight_bytes * in_memory * at.memory_slowdown / costs.weight_memory_bytes_per_s
    )
    from_caches = product.weight_bytes * (
        at.weights_in_l2 / costs.weight_l2_bytes_per_s + at.weights_in_l3 / costs.weight_l3_bytes_per_s
    )
    packed = 2.0 * product.inner * product.outer * (rows + costs.half_rows) / rate
    streams = rows * (from_caches + from_memory) < packed + from_memory
    calls = kernel.calls * at.gemm_slowdown
    moved = (kernel.read_bytes_per_item + kernel.written_bytes_per_item) * batch_size
    return _parts(
        batch_size,
        overhead=kernel.calls * device.calls.call_s.get(kernel.family, 0.0),
        compute=calls * np.where(streams, 0.0, packed),
        stream=calls * np.maximum(np.where(streams, rows * from_caches, 0.0), moved / device.stream_bytes_per_s),
        weights=calls * np.where(streams, rows, 1.0) * from_memory,
        memory=calls * np.where(streams, rows, 1.0) * from_memory,
    )


def _recurrent(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Steps one after the other, each with its product and the calls of its gates."""
    time = _product(kernel, device, batch_size, at)
    return replace(time, overhead_s=time.overhead_s + kernel.steps * device.calls.recurrent_step_s)


def _lookup(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Rows line by line, from cache or memory, with the core's overlap of misses; then one output a bag.

    On a GPU the bags run side by side, but the rows of one bag follow each other: few long bags are
    limited by that chain.
    """
    gather, costs = kernel.gather, device.lookup
    if gather is None:
        raise AssertionError(f"{kernel.operator}: lookup without a table")
    lines = np.ceil(gather.row_bytes / LINE_BYTES)
    hit = at.row_hit_rates[gather.num_rows, gather.row_bytes, gather.zipf_exponent]
    memory = batch_size * gather.rows_per_item * lines * (1.0 - hit) * costs.memory_line_s * at.memory_slowdown
    cached = batch_size * gather.rows_per_item * lines * hit * costs.cached_line_s
    bags = batch_size * gather.bags_per_item
    chain = costs.serial_row_s * gather.rows_per_item / gather.bags_per_item
    calls = kernel.calls * at.lookup_slowdown
    return _parts(
        batch_size,
        overhead=kernel.calls * device.calls.call_s.get(kernel.family, 0.0),
        lookup=calls * np.maximum(memory + cached + bags * costs.bag_s, chain),
        memory=calls * memory,
    )


def _input(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Conversion of a request's lists to tensors, and their way to a GPU."""
    costs, gather = device.inputs, kernel.gather
    if gather is None:
        elements = kernel.read_bytes_per_item / ELEMENT_BYTES
        convert, moved = elements * costs.dense_element_s, kernel.read_bytes_per_item
    else:
        convert = gather.bags_per_item * costs.bag_s + gather.rows_per_item * costs.index_s
        moved = gather.rows_per_item * costs.index_bytes + gather.bags_per_item * LENGTH_BYTES
    per_item = convert + moved / costs.transfer_bytes_per_s
    fixed = kernel.pieces * costs.blob_s
    return _parts(batch_size, inputs=kernel.calls * (fixed + batch_size * per_item) * at.gemm_slowdown)


def _moved_s(kernel: Kernel, device: Device, batch_size: Floats) -> Floats:
    moved = kernel.read_bytes_per_item + kernel.written_bytes_per_item
    return moved * batch_size / device.stream_bytes_per_s


def _elementwise(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    return _parts(
        batch_size,
        overhead=kernel.calls * device.calls.call_s["elementwise"],
        stream=kernel.calls * _moved_s(kernel, device, batch_size) * at.gemm_slowdown,
    )


def _concat(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    costs = device.calls
    copies = kernel.pieces * (costs.concat_piece_s + batch_size * costs.concat_row_piece_s)
    return _parts(
        batch_size,
        overhead=kernel.calls * (costs.call_s["concat"] + copies),
        stream=kernel.calls * _moved_s(kernel, device, batch_size) * at.gemm_slowdown,
    )


def _softmax(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    costs = device.calls
    elements = kernel.read_bytes_per_item / ELEMENT_BYTES
    per_item = kernel.rows_per_item * costs.softmax_row_s + elements * costs.softmax_element_s
    return _parts(
        batch_size,
        overhead=kernel.calls * costs.call_s["elementwise"],
        compute=kernel.calls * batch_size * per_item * at.gemm_slowdown,
        stream=kernel.calls * _moved_s(kernel, device, batch_size) * at.gemm_slowdown,
    )


def _batch_matmul(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """A small product for each row: its own set-up, and arithmetic at the library's efficiency."""
    rate = device.peak_flop_per_s * device.gemm.efficiency
    per_item = kernel.rows_per_item * device.calls.small_product_s + kernel.flop_per_item / rate
    return _parts(
        batch_size,
        overhead=kernel.calls * device.calls.call_s["elementwise"],
        compute=kernel.calls * batch_size * per_item * at.gemm_slowdown,
        stream=kernel.calls * _moved_s(kernel, device, batch_size) * at.gemm_slowdown,
    )


_TIMES: dict[str, Callable[[Kernel, Device, Floats, Conditions], KernelTime]] = {
    "input": _input,
    "fc": _product,
    "embedding_bag": _lookup,
    "concat": _concat,
    "sum": _elementwise,
    "activation": _elementwise,
    "elementwise": _elementwise,
    "softmax": _softmax,
    "batch_matmul": _batch_matmul,
    "recurrent": _recurrent,
}


def kernel_time(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Time of all calls of a kernel for batches of `batch_size` items under `at`.

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
    """
    return _TIMES[kernel.family](kernel, device, batch_size, at)
