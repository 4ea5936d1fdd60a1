"""What a pass takes more where its calls are made by modules in a process as people run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from perfmodel.costmodel.kernels import GROUPED, Floats, Kernel, is_part_of_another
from perfmodel.costmodel.timing import LINE_BYTES
from perfmodel.units import KIB

KEPT_BYTES: Final = 128 * KIB
"""Largest result that glibc's malloc takes from what the process has, not from the kernel: M_MMAP_THRESHOLD
as it is without tuning (mallopt(3)). [bytes]"""
_SEQUENCE: Final = "sequence"
"""Variant of a lookup that gives its rows one by one."""


def module_amounts(kernel: Kernel, batch_size: Floats) -> dict[str, Floats]:
    """How much of each term all calls of a kernel have; terms that it has nothing of are left out.

    Derived here: counts of the kernel. Results above `KEPT_BYTES` are taken to be fresh in each pass, which
    is the worst case: malloc may have kept their memory. What activations write beside their input counts
    as fresh at any size, since in the flat list of calls they write in place.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    batch_size : (...) float array
        Items.

    Returns
    -------
    dict of str to (...) float array
        Of `MODULE_TERMS`: calls, indices, vectors, cache lines, KiB.
    """
    if is_part_of_another(kernel):
        return {}
    batch = np.asarray(batch_size, dtype=float)
    is_recurrent = kernel.family == "recurrent"
    counted = "recurrent_step" if is_recurrent else f"{_kind(kernel)}_call"
    made = 1 if kernel.variant == GROUPED else kernel.calls
    amounts = {counted: np.full_like(batch, float(kernel.shape[0] if is_recurrent else made))}
    written = kernel.written_bytes_per_item * batch
    fresh = np.where((written > KEPT_BYTES) | (kernel.family == "activation"), written, 0.0)
    amounts["fresh_kib"] = kernel.calls * fresh / KIB
    if kernel.gather is not None and kernel.family == "embedding_bag":
        gather = kernel.gather
        rows = kernel.calls * gather.rows_per_item * batch
        amounts["row_line"] = rows * np.ceil(gather.row_bytes / LINE_BYTES)
        if kernel.variant != _SEQUENCE:
            amounts["pooled_index"] = rows
            amounts["pooled_bag"] = kernel.calls * gather.bags_per_item * batch
    return amounts


def module_seconds(kernel: Kernel, law: Mapping[str, float], batch_size: Floats) -> Floats:
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
    """
    total = np.zeros_like(np.asarray(batch_size, dtype=float))
    for term, amount in module_amounts(kernel, batch_size).items():
        total = total + law[term] * amount
    return total


def _kind(kernel: Kernel) -> str:
    """Modules of layers and of tables do more in Python than others."""
    if kernel.family == "embedding_bag":
        return "lookup" if kernel.variant == _SEQUENCE else "bag"
    return kernel.family if kernel.family in ("fc", "activation") else "other"
