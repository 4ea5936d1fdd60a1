"""What a pass takes more where its calls are made by modules in a process as people run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from perfmodel.costmodel.kernels import (
    ELEMENT_BYTES,
    GROUPED,
    VECTOR_NORM,
    Floats,
    Gather,
    Kernel,
    is_part_of_another,
)
from perfmodel.costmodel.layer_precision import is_layer, layer_seconds
from perfmodel.costmodel.timing import LINE_BYTES
from perfmodel.domain.hardware import MODULE_TERMS, Device, ModuleLaw
from perfmodel.domain.operators import TABLE_PRECISION
from perfmodel.domain.shapes import Precision
from perfmodel.units import KIB, MIB

KEPT_BYTES: Final = 128 * KIB
"""Largest result that glibc's malloc takes from what the process has, not from the kernel: M_MMAP_THRESHOLD
as it is without tuning (mallopt(3)). [bytes]"""
MAPPED_BYTES: Final = 32 * MIB
"""Largest result whose memory glibc's malloc may keep, whatever was freed before: DEFAULT_MMAP_THRESHOLD_MAX
of a machine of 64 bits (mallopt(3)). A larger one is mapped anew, page by page, each time. [bytes]"""
_KINDS: Final = {
    "fc.conv1d": "convolution",
    "recurrent.lstm": "lstm",
    f"elementwise.{VECTOR_NORM}": "norm",
    "elementwise.take": "take",
}
"""Calls of a kind of their own within their family."""
NOTHING_FAR: Final[Mapping[Gather, Floats]] = {}
"""Of tables on huge pages, or so small that all entries are in the L2."""
_SEQUENCE: Final = "sequence"
"""Variant of a lookup that gives its rows one by one."""


_PACKED_PART: Final = (64 + 8) / (64 * ELEMENT_BYTES)
"""Of a row of 64 elements, a byte each, with its scale and offset of 4 bytes. [1]"""


def table_part(precision: Precision, tables: Precision) -> float:
    """Bytes of a process's tables over those in fp32. [1]

    Derived here: what an element takes up.

    Parameters
    ----------
    precision, tables : Precision
        Of all weights, where it is bf16; of the tables.
    """
    if tables == "int8":
        return _PACKED_PART
    return 0.5 if "bf16" in (precision, tables) or tables == "fp16" else 1.0


def as_measured(kernel: Kernel, device: Device) -> Kernel:
    """The kernel whose time in the flat list of calls a way to serve modules starts from.

    Derived here: laws of shorter elements were fitted beside as many in fp32.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    device : Device
        With a way to serve modules.
    """
    gather = kernel.gather
    if gather is None or gather.element_bytes >= ELEMENT_BYTES:
        return kernel
    if not device.has_half_results and table_law(kernel, device) is None:
        return kernel
    row_bytes = gather.row_bytes * ELEMENT_BYTES / gather.element_bytes
    more = gather.rows_per_item * (row_bytes - gather.row_bytes)
    return replace(
        kernel,
        gather=replace(gather, row_bytes=row_bytes, element_bytes=ELEMENT_BYTES),
        read_bytes_per_item=kernel.read_bytes_per_item + more,
    )


def table_law(kernel: Kernel, device: Device) -> ModuleLaw | None:
    """What lookups in a table of shorter elements cost, where that was measured; None of any other kernel.

    Source: the profile's way whose tables are in the precision in which the model's file has this one.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass, as the file has it.
    device : Device
        With a way to serve modules.
    """
    if kernel.gather is None or kernel.family != "embedding_bag":
        return None
    precision = TABLE_PRECISION[kernel.gather.element_bytes]
    if precision == "fp32" or (precision == "fp16" and device.has_half_results):  # as all of it is
        return None
    return next((law for law in device.module_ways.values() if law.tables == precision), None)


def module_amounts(
    kernel: Kernel, batch_size: Floats, far: Mapping[Gather, Floats] = NOTHING_FAR
) -> dict[str, Floats]:
    """How much of each term all calls of a kernel have; terms that it has nothing of are left out.

    Derived here: counts of the kernel. Results above `KEPT_BYTES` are taken to be fresh in each pass, which
    is the worst case: malloc may have kept their memory; that of results above `MAPPED_BYTES` it cannot. What
    activations write beside their input counts as fresh at any size, since in the flat list of calls they
    write in place.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    batch_size : (...) float array
        Items.
    far : mapping of Gather to (...) float array, default empty
        Share of each table's lookups whose page's entry is not in the L2 (`far_entries`). [1]

    Returns
    -------
    dict of str to (...) float array
        Of `MODULE_TERMS`: calls, indices, vectors, cache lines, rows, KiB.
    """
    if is_part_of_another(kernel):
        return {}
    batch = kernel.of(np.asarray(batch_size, dtype=float))
    made = 1 if kernel.variant == GROUPED else kernel.calls
    amounts = {
        term: np.full_like(batch, float(count)) for term, count in _calls(kernel, made).items() if count
    }
    written = kernel.written_bytes_per_item * batch
    fresh = np.where((written > KEPT_BYTES) | (kernel.family == "activation"), written, 0.0)
    amounts["fresh_kib"] = kernel.calls * fresh / KIB
    if np.any(mapped := written > MAPPED_BYTES):
        amounts["mapped_kib"] = kernel.calls * np.where(mapped, written, 0.0) / KIB
    if kernel.gather is not None and kernel.family == "embedding_bag":
        gather = kernel.gather
        share = far.get(gather, np.zeros_like(batch))
        rows = kernel.calls * gather.rows_per_item * batch
        amounts["row_line"] = rows * np.ceil(gather.row_bytes / LINE_BYTES)
        if kernel.variant == _SEQUENCE:
            amounts["far_row"] = rows * share
        else:
            bags = kernel.calls * gather.bags_per_item * batch
            amounts["pooled_index"] = rows
            amounts["pooled_bag"] = bags
            amounts["far_bag"] = bags * share
    return amounts


def served_seconds(
    kernel: Kernel,
    flat_s: Floats,
    law: ModuleLaw,
    batch_size: Floats,
    far: Mapping[Gather, Floats] = NOTHING_FAR,
) -> Floats:
    """Time of all calls of a kernel as a way to serve modules makes them. [s]

    Derived here: that of the flat list of calls, times the factor of its kind, and what modules take more;
    of a fully connected layer in another precision that of its own law.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    flat_s : (...) float array
        Its time in a flat list of calls. [s]
    law : ModuleLaw
        Of the way.
    batch_size : (...) float array
        Items.
    far : mapping of Gather to (...) float array, default empty
        As of `module_amounts`. [1]
    """
    if law.layers and is_layer(kernel):
        return layer_seconds(kernel, law, batch_size)
    factor = law.factors.get(call_kind(kernel), 1.0)
    if is_part_of_another(kernel):
        return np.asarray(factor * flat_s)
    return factor * flat_s + module_seconds(kernel, law.costs, batch_size, far)


def module_seconds(
    kernel: Kernel, law: Mapping[str, float], batch_size: Floats, far: Mapping[Gather, Floats] = NOTHING_FAR
) -> Floats:
    """What all calls of a kernel take more as modules. [s]

    Derived here: a sum of amounts times costs, fitted to sequences run both ways
    (`calibration/measure/served.py`).

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    law : mapping
        Cost of one of each of `MODULE_TERMS`. [s]
    batch_size : (...) float array
        Items.
    far : mapping of Gather to (...) float array, default empty
        As of `module_amounts`. [1]
    """
    total = np.zeros_like(np.asarray(batch_size, dtype=float))
    for term, amount in module_amounts(kernel, batch_size, far).items():
        total = total + law[term] * amount
    return total


def call_kind(kernel: Kernel) -> str:
    """Return the kind of a kernel's calls, of `CALL_KINDS`.

    Derived here: its family; lookups by whether they pool, LSTMs, norms and selected elements apart.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    """
    if kernel.family == "embedding_bag":
        return "lookup" if kernel.variant == _SEQUENCE else "bag"
    return _KINDS.get(f"{kernel.family}.{kernel.variant}", kernel.family)


def _calls(kernel: Kernel, made: int) -> dict[str, int]:
    """Terms of what is called, and how often: modules of layers and of tables do more in Python than others.

    An LSTM is one call of oneDNN's; other recurrent layers are PyTorch's own loops over their steps.
    """
    if kernel.family == "recurrent":
        return {"recurrent_call": 1, "recurrent_step": 0 if kernel.variant == "lstm" else kernel.shape[0]}
    kind = {"batch_matmul": "product", "fc": "fc"}.get(kernel.family, call_kind(kernel))
    return {f"{kind}_call" if f"{kind}_call" in MODULE_TERMS else "other_call": made}
