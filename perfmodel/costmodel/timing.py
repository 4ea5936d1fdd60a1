"""What a kernel's time is made of, and the conditions it is worked out under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.costmodel.kernels import Floats, Gather, Kernel

LINE_BYTES = 64
"""A cache line. [bytes]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the caches and the co-located work leave to this worker.

    Attributes
    ----------
    weights_in_l2, weights_in_l3 : array
        Fractions of the model's weights found there; the rest comes from memory. [1]
    row_hit_rates : mapping
        Fraction of a table's rows that the last-level cache holds, by its lookups. [1]
    entries_in_l2, entries_in_l3 : array
        Fractions of the tables' page-table entries found there; the rest comes from memory. [1]
    memory_slowdown : array
        Time of a memory access over its time alone on the machine, >= 1. [1]
    gemm_slowdown, lookup_slowdown, input_slowdown : array
        What hyper-threading and the serving stack add to calls, lookups and conversion of inputs, >= 1. [1]
    """

    weights_in_l2: Floats
    weights_in_l3: Floats
    row_hit_rates: Mapping[Gather, Floats]
    entries_in_l2: Floats
    entries_in_l3: Floats
    memory_slowdown: Floats
    gemm_slowdown: Floats
    lookup_slowdown: Floats
    input_slowdown: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """Parts of a kernel's time, all calls together. [s]

    Attributes
    ----------
    overhead_s, compute_s, stream_s, weights_s, lookup_s, input_s : array
        Framework calls; arithmetic; streamed traffic; weights that the caches do not hold; random
        rows; conversion and transfer.
    memory_s : array
        Time at main memory at the rate of random rows: what co-located work feels of this kernel.
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
        """The kernel's time: arithmetic and streams overlap, everything else adds up. [s]

        t = t_call + max(t_compute, t_stream) + t_weights + t_lookup + t_input: the roofline model [1]_, with
        what does not overlap beside it.

        References
        ----------
        .. [1] S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for
           Multicore Architectures", Communications of the ACM 52(4), 2009.
        """
        overlapped = np.maximum(self.compute_s, self.stream_s)
        return self.overhead_s + overlapped + self.weights_s + self.lookup_s + self.input_s

    def scaled(self, factor: Floats) -> KernelTime:
        """Every part longer by a factor: what hyper-threading and the serving stack do. [s]"""
        return KernelTime(
            overhead_s=self.overhead_s * factor,
            compute_s=self.compute_s * factor,
            stream_s=self.stream_s * factor,
            weights_s=self.weights_s * factor,
            lookup_s=self.lookup_s * factor,
            input_s=self.input_s * factor,
            memory_s=self.memory_s * factor,
        )

    @classmethod
    def together(cls, times: Sequence[KernelTime]) -> KernelTime:
        """The times of several kernels of one shape, along a first axis: what `apart` takes apart."""
        return cls(
            overhead_s=np.array([time.overhead_s for time in times]),
            compute_s=np.array([time.compute_s for time in times]),
            stream_s=np.array([time.stream_s for time in times]),
            weights_s=np.array([time.weights_s for time in times]),
            lookup_s=np.array([time.lookup_s for time in times]),
            input_s=np.array([time.input_s for time in times]),
            memory_s=np.array([time.memory_s for time in times]),
        )

    def apart(self) -> Iterator[KernelTime]:
        """The times of each kernel, where the parts' first axis is the kernels."""
        parts = (
            *(self.overhead_s, self.compute_s, self.stream_s, self.weights_s, self.lookup_s),
            *(self.input_s, self.memory_s),
        )
        for overhead_s, compute_s, stream_s, weights_s, lookup_s, input_s, memory_s in zip(
            *parts, strict=True
        ):
            yield KernelTime(
                overhead_s=overhead_s,
                compute_s=compute_s,
                stream_s=stream_s,
                weights_s=weights_s,
                lookup_s=lookup_s,
                input_s=input_s,
                memory_s=memory_s,
            )


def kernel_parts(
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
    """Gather the parts that a kernel has, each as an array of the batch's shape. [s]

    Source: the functions of the families, which give the parts.

    Parameters
    ----------
    batch_size : (...) float array
        Items.
    overhead, compute, stream, weights, lookup, inputs, memory : float or (...) array
        As of `KernelTime`; 0 where a kernel has none. [s]
    """
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


def streamed_s(kernel: Kernel, batch_size: Floats, bytes_per_s: float) -> Floats:
    """Time to move what one call reads and writes of a batch, weights left out. [s]

    Derived here: bytes over a rate.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    batch_size : (...) float array
        Items.
    bytes_per_s : float
        Rate of streamed traffic. [bytes/s]
    """
    return kernel.activation_bytes(batch_size) / bytes_per_s
