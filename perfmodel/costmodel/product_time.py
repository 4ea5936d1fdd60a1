"""Time of matrix products: with weights (GEMM), step by step (recurrent), and of activations alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfmodel.costmodel.kernels import FUSED, Floats, Kernel, Product
from perfmodel.costmodel.timing import LINE_BYTES, Conditions, KernelTime, kernel_parts, streamed_s
from perfmodel.domain.hardware import Device


def product_time(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Multiply with packed weights, or stream them once for each row: whichever is faster.

    For m rows and weights of k x n elements and W bytes::

        t_packed   = max(2 k n (m + m_half) / (e(k, n) P), A / S) + W_memory / B_memory
        t_streamed = max(m W_l2 / B_l2 + m W_l3 / B_l3 + (m - 1) W_memory / B_l3, A / S) + W_memory / B_memory
        e(k, n)    = e k / (k + w) n / (n + w)

    with P the peak, S the rate of streamed activations A, and W_x the weights found in level x: a
    library packs the weights before it multiplies [1]_, which pays from a few rows on. Memory is read once
    for all rows either way, so that the choice does not depend on co-located work. On a GPU no level
    but memory holds weights, and m_half is the rows that fill the chip.

    That arithmetic hides streamed activations is the roofline model [2]_. Derived here: what packing costs is
    that of m_half more rows, and narrow sides lose half of the rate at a width of w.

    Parameters
    ----------
    kernel : Kernel
        A product with weights (family `fc` or `recurrent`).
    device : Device
        P, S [FLOP/s], [bytes/s]; `gemm` holds e [1], w [elements], m_half [rows], B [bytes/s].
    batch_size : (...) float array
        Items; m is the batch times the product's rows an item.
    at : Conditions
        Where the weights are found, and what co-located work adds.

    Returns
    -------
    KernelTime
        Its parts, of the batch's shape. [s]

    References
    ----------
    .. [1] K. Goto, R. A. van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
       ACM Transactions on Mathematical Software 34(3), 2008.
    .. [2] S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for
       Multicore Architectures", Communications of the ACM 52(4), 2009.
    """
    product = _product_of(kernel)
    rows = batch_size * product.rows_per_item
    packed, streamed = _packed_s(product, device, rows), _streamed_s(product, device, rows, at)
    streams = streamed < packed
    waits = kernel.calls * _from_memory_s(product, device, at)
    moved = streamed_s(kernel, batch_size, device.stream_bytes_per_s)
    return kernel_parts(
        batch_size,
        overhead=kernel.calls * device.calls.call_s.get(kernel.family, 0.0),
        compute=kernel.calls * np.where(streams, 0.0, packed),
        stream=kernel.calls * np.maximum(np.where(streams, streamed, 0.0), moved),
        weights=waits,
        memory=waits * _traffic_fraction(device),
    )


def recurrent_time(kernel: Kernel, device: Device, batch_size: Floats, at: Conditions) -> KernelTime:
    """Steps one after the other, each with its product and the calls of its gates.

    Derived here: `product_time` of the hidden product, once a step, and a fixed cost of each step.

    Parameters
    ----------
    kernel : Kernel
        The input products of all steps, or the steps themselves (family `recurrent`).
    device, batch_size, at
        As of `product_time`; `calls` holds the cost of a step. [s]
    """
    time = product_time(kernel, device, batch_size, at)
    return replace(time, overhead_s=time.overhead_s + kernel.steps * device.calls.recurrent_step_s)


def batch_matmul_time(kernel: Kernel, device: Device, batch_size: Floats, _: Conditions) -> KernelTime:
    """A small product for each row: its own set-up, and arithmetic at the library's efficiency.

    t = t_call + max(b r t_small + F / (e P) + b t_softmax, A / S) for b items of r small products each; only
    attention in one call has a softmax between them, r rows of scores for each of its queries.

    That arithmetic hides streamed operands is the roofline model [1]_. Derived here: a set-up for each
    product, since each is too small for the library to pack.

    Parameters
    ----------
    kernel : Kernel
        Products of activations (family `batch_matmul`): r, F [FLOP] and A [bytes] an item.
    device : Device
        P [FLOP/s], S [bytes/s], e [1]; `calls` holds t_call, t_small, and those of a softmax [s].
    batch_size : (...) float array
        Items b.
    _ : Conditions
        Not used: nothing is cached from one batch to the next.

    References
    ----------
    .. [1] S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for
       Multicore Architectures", Communications of the ACM 52(4), 2009.
    """
    rate = device.peak_flop_per_s * device.gemm.efficiency
    per_item = kernel.rows_per_item * device.calls.small_product_s + kernel.flop_per_item / rate
    if kernel.variant == FUSED:
        rows, width = kernel.shape[0], kernel.shape[-1]
        row_s = device.calls.softmax_row_s + width * device.calls.softmax_element_s
        per_item += kernel.rows_per_item * rows * row_s
    moved = streamed_s(kernel, batch_size, device.stream_bytes_per_s)
    return kernel_parts(
        batch_size,
        overhead=kernel.calls * device.calls.call_s["elementwise"],
        compute=kernel.calls * batch_size * per_item,
        stream=kernel.calls * moved,
    )


def _product_of(kernel: Kernel) -> Product:
    if kernel.product is None:
        raise AssertionError(f"{kernel.operator}: family {kernel.family} without a product")
    return kernel.product


def _packed_s(product: Product, device: Device, rows: Floats) -> Floats:
    """Arithmetic of one call, packing included. [s]"""
    costs = device.gemm
    narrow = (product.inner / (product.inner + costs.half_width)) * (
        product.outer / (product.outer + costs.half_width)
    )
    rate = device.peak_flop_per_s * costs.efficiency * narrow
    return 2.0 * product.inner * product.outer * (rows + costs.half_rows) / rate


def _streamed_s(product: Product, device: Device, rows: Floats, at: Conditions) -> Floats:
    """Weights read anew for each row; what memory holds is in the L3 from the second row on. [s]"""
    costs = device.gemm
    from_l3 = at.weights_in_l3 * rows + _in_memory(at) * (rows - 1.0)
    return product.weight_bytes * (
        at.weights_in_l2 * rows / costs.weight_l2_bytes_per_s + from_l3 / costs.weight_l3_bytes_per_s
    )


def _from_memory_s(product: Product, device: Device, at: Conditions) -> Floats:
    """Weights that the caches do not hold, read once. [s]"""
    rate = device.gemm.weight_memory_bytes_per_s
    return product.weight_bytes * _in_memory(at) * at.memory_slowdown / rate


def _traffic_fraction(device: Device) -> float:
    """Traffic of streamed weights over that of random rows, whose rate counts as one worker's demand. [1]"""
    return min(1.0, device.gemm.weight_memory_bytes_per_s * device.lookup.memory_line_s / LINE_BYTES)


def _in_memory(at: Conditions) -> Floats:
    return 1.0 - at.weights_in_l2 - at.weights_in_l3
