"""Where a call lies: the amounts of work that its law charges for, and where its residual is looked up.

Calibration fits laws and residuals with these very functions; `domain.surface` says what each name means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.kernels import ELEMENT_BYTES, GROUPED, Floats, Kernel, surface_key
from perfmodel.costmodel.moments import Moment
from perfmodel.costmodel.timing import LINE_BYTES
from perfmodel.domain.surface import law_names

COLD_BYTES = 64e3
"""Traffic below which nothing that matters is evicted: about a first-level cache. [bytes]"""
NEAR_BYTES = 1e6
FAR_BYTES = 32e6
"""Traffic that evicts half of a private cache, and of a shared one: of common servers. [bytes]"""
ALL_EVICTED_BYTES = 256e6
"""Traffic beyond which more of it changes nothing."""
VECTOR, ROW_BLOCK = 16, 4
"""Outputs and rows that a library multiplies at once; a rest is cut into halves, quarters, ... of that, and
each piece costs almost as much as a whole: 31 outputs, in strips of 16, 8, 4, 2 and 1, three times 16.
[elements], [rows]"""
LEAST_LINES = (1.0, 2.0, 4.0)
"""Rows of fewer lines take as long as ones of so many: first lines come one after the other, the next ones of
a row are fetched ahead. [cache lines]"""


TOUCHED = ("log_reuse_bytes", "log_since_bytes", "log_before_bytes")
"""Coordinates that say how cold a call finds the caches."""

_ByName = dict[str, Floats | float]
_Named = tuple[_ByName, _ByName]
"""Amounts and coordinates of a call, by their names in `domain.surface`."""


class Place(NamedTuple):
    """Where a call lies: `(terms, n)` amounts of work, `(dims, n)` coordinates, named in `domain.surface`."""

    terms: tuple[str, ...]
    amounts: Floats
    coordinates: Floats


def place(kernel: Kernel, batch_size: Floats, at: Moment, key: str | None = None) -> Place:
    """Amounts and coordinates of one call of a kernel.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    batch_size : (n,) float array
        Items.
    at : Moment
        When; arrays as long as `batch_size`.
    key : str, optional
        Name of the surface that times it; by default its own.
    """
    call = key or surface_key(kernel)
    of_call = _OF_CALLS.get(call) or _PLACES[kernel.family]
    made = 1 if kernel.variant == GROUPED else kernel.calls
    return _placed(call, of_call(kernel, kernel.of(batch_size), at), at, made, made / kernel.calls)


def place_of(kernels: Sequence[Kernel], batch_size: Floats, at: Moment, key: str) -> Place:
    """Amounts and coordinates of one call of each of several kernels, one kernel's after the other's.

    Derived here: `place`, for lookups of many tables at once.

    Parameters
    ----------
    kernels : sequence of Kernel
        Lookups, or one kernel.
    batch_size : (n,) float array
        Items.
    at : Moment
        When; arrays of n for each of the kernels.
    key : str
        Name of the surface that times them.
    """
    if len(kernels) == 1:
        return place(kernels[0], batch_size, at, key)
    of_kernels = np.array([(*_gather_columns(kernel), float(kernel.calls)) for kernel in kernels]).T
    rows, bags, row_bytes, table_bytes, made = np.repeat(of_kernels, len(batch_size), axis=1)
    items = np.concatenate([kernel.of(batch_size) for kernel in kernels])
    return _placed(key, _looked_up(rows, bags, row_bytes, table_bytes, items, at), at, made, 1.0)


def _placed(call: str, named: _Named, at: Moment, made: Floats | int, share: float) -> Place:
    """The place, with how cold the code is: of so many calls in a row each waits for its share of it."""
    amounts, coordinates = named
    since, before = at.since_bytes / made, at.before_bytes / made
    amounts["code_beyond_private"] = share * _beyond(since, NEAR_BYTES)
    amounts["code_beyond_shared"] = share * _beyond(since, FAR_BYTES)
    amounts["framework_beyond_private"] = share * _beyond(before, NEAR_BYTES)
    coordinates["log_since_bytes"] = log_touched(COLD_BYTES + since)
    coordinates["log_before_bytes"] = log_touched(COLD_BYTES + before)
    names, n = law_names(call), len(since)
    return Place(
        tuple(names.terms),
        _in_order(names.terms, amounts, n),
        _in_order(names.coordinates, coordinates, n),
    )


def _in_order(names: Mapping[str, str], values: Mapping[str, Floats | float], n: int) -> Floats:
    """The values as rows, in the order of the names, which are theirs: neither more nor fewer."""
    if names.keys() != values.keys():
        raise AssertionError(f"names differ: {sorted(names.keys() ^ values.keys())}")
    full = np.ones(n)
    return np.array([full * values[name] for name in names])


def _beyond(touched_bytes: Floats, capacity_bytes: float) -> Floats:
    """How much of what was used before so much else was touched has left a cache: 0 to 1. [1]"""
    return np.asarray(touched_bytes / (touched_bytes + capacity_bytes))


def log_touched(touched_bytes: Floats) -> Floats:
    """Logarithm of what was touched, level where nothing is left to evict: large models lie in range.

    Derived here: ln(b / (1 + b / B)), B being what leaves nothing in any cache.

    Parameters
    ----------
    touched_bytes : (...) float array
        Since a line was last read, or before a call. [bytes]

    Examples
    --------
    >>> log_touched(np.array([1e3, 1e12])).round(2).tolist()
    [6.91, 19.36]
    """
    return np.asarray(np.log(touched_bytes / (1.0 + touched_bytes / ALL_EVICTED_BYTES)))


def touched_bytes(logarithm: float) -> float:
    """What was touched, of a coordinate that says so; infinite where it is level. [bytes]

    Source: `log_touched`, the other way round.

    Parameters
    ----------
    logarithm : float
        As `log_touched` gives it.

    Examples
    --------
    >>> round(touched_bytes(float(log_touched(np.array(1e6)))))
    1000000
    """
    level = exp(logarithm)
    return level / (1.0 - level / ALL_EVICTED_BYTES) if level < ALL_EVICTED_BYTES else inf


def _fc(kernel: Kernel, batch_size: Floats, at: Moment) -> _Named:
    if kernel.product is None:
        raise AssertionError(f"{kernel.operator}: a layer without a product")
    k, n = float(kernel.product.inner), float(kernel.product.outer)
    rows = batch_size * kernel.product.rows_per_item
    m, beyond_l2, beyond_l3 = (
        np.maximum(rows, 1.0),
        *at.evicted,
    )  # of experts, fewer may be given: none is less
    row_strips, strips = _strips(m, ROW_BLOCK), float(_strips(np.array([n]), VECTOR)[0])
    thin, column = (m < ROW_BLOCK).astype(float), float(n == 1.0)
    wide, each = (
        (1.0 - thin) * k,
        thin * m * k * n,
    )  # fewer rows than a block: weights are read for each of them
    amounts: _ByName = {
        "call": 1.0 / kernel.calls if kernel.variant == GROUPED else 1.0,
        "row": m,
        "multiply_add": wide * m * n,
        "row_strip": wide * m * strips,
        "block_output": wide * row_strips * n,
        "block_strip": wide * row_strips * strips,
        "weight": wide * n,
        "weight_beyond_l2": wide * n * beyond_l2,
        "weight_beyond_l3": wide * n * beyond_l3,
        "input": m * k,
        "output": m * n,
        "thin_call": thin,
        "thin_row": thin * m,
        "thin_multiply_add": each,
        "thin_multiply_add_beyond_l2": each * beyond_l2,
        "thin_multiply_add_beyond_l3": each * beyond_l3,
        "column_call": column,
        "column_multiply_add": column * m * k,
    }
    return amounts, {
        "log_rows": np.log(m),
        "log_inner": np.log(k),
        "log_outer": np.log(n),
        "log_reuse_bytes": log_touched(at.reuse_bytes),
        "thin": thin,
        "column": column,
        "log_output_tail": float(np.log(VECTOR * strips / n)),
        "log_row_tail": np.log(ROW_BLOCK * row_strips / m),
    }


def _strips(sizes: Floats, block: int) -> Floats:
    """Pieces that a size is cut into: whole blocks, then powers of two.

    Examples
    --------
    >>> _strips(np.array([1.0, 15.0, 16.0, 31.0, 48.0]), 16).tolist()
    [1.0, 4.0, 1.0, 5.0, 3.0]
    """
    whole, rest = np.divmod(np.round(sizes).astype(np.int64), block)
    return np.asarray(whole + sum((rest >> bit) & 1 for bit in range(block.bit_length())), dtype=float)


def _lookup(kernel: Kernel, batch_size: Floats, at: Moment) -> _Named:
    return _looked_up(*_gather_columns(kernel), batch_size, at)


def _gather_columns(kernel: Kernel) -> tuple[float, float, float, float]:
    """Rows and bags of an item, bytes of a row and of the table."""
    gather = kernel.gather
    if gather is None:
        raise AssertionError(f"{kernel.operator}: lookup without a table")
    return gather.rows_per_item, gather.bags_per_item, gather.row_bytes, gather.table_bytes


def _looked_up(
    item_rows: Floats | float,
    item_bags: Floats | float,
    row_bytes: Floats | float,
    table_bytes: Floats | float,
    batch_size: Floats,
    at: Moment,
) -> _Named:
    beyond_l2, beyond_l3 = at.missed
    entries_beyond_l2, entries_beyond_l3 = at.entries_missed
    pages_beyond_tlb1, pages_beyond_tlb2 = at.pages_missed
    rows, bags = batch_size * item_rows, batch_size * item_bags
    lines = np.ceil(np.asarray(row_bytes) / LINE_BYTES)
    amounts: _ByName = {"call": 1.0, "bag": bags, "row": rows, "line": rows * lines}
    for level, missed in (("l2", beyond_l2), ("l3", beyond_l3)):
        for least in LEAST_LINES:  # short rows wait for their first line, long ones for bandwidth
            amounts[f"line_beyond_{level}_least_{least:g}"] = rows * missed * np.maximum(lines, least)
    amounts |= {
        "entry_beyond_l2": rows * entries_beyond_l2,
        "entry_beyond_l3": rows * entries_beyond_l3,
        "page_beyond_tlb1": rows * pages_beyond_tlb1,
        "page_beyond_tlb2": rows * pages_beyond_tlb2,
        "bag_beyond_l3": bags * beyond_l3,  # the first rows of a bag: nothing was fetched ahead
    }
    return amounts, {
        "log_bags": np.log(bags),
        "log_rows_per_bag": np.log(item_rows / item_bags),
        "log_row_bytes": np.log(row_bytes),
        "rows_beyond_l2": beyond_l2,
        "rows_beyond_l3": beyond_l3,
        "entries_beyond_l2": entries_beyond_l2,
        "entries_beyond_l3": entries_beyond_l3,
        "pages_beyond_tlb1": pages_beyond_tlb1,
        "pages_beyond_tlb2": pages_beyond_tlb2,
        "log_table_bytes": np.log(table_bytes),
        "log_reuse_bytes": log_touched(at.reuse_bytes),
    }


def _concat(kernel: Kernel, batch_size: Floats, at: Moment) -> _Named:
    pieces = float(max(kernel.pieces, 1))
    amounts: _ByName = {
        "call": 1.0,
        "piece": pieces,
        "byte": batch_size * kernel.written_bytes_per_item,
        "item_piece": batch_size * pieces,
    }
    return amounts, {
        "log_items": np.log(batch_size),
        "log_pieces": np.log(pieces),
        "log_piece_bytes": np.log(kernel.written_bytes_per_item / pieces),
        "log_reuse_bytes": log_touched(at.reuse_bytes),
    }


def _sum(kernel: Kernel, batch_size: Floats, at: Moment) -> _Named:
    pieces = float(kernel.pieces) if kernel.variant == "tensors" else _ratio(kernel)
    moved = kernel.activation_bytes(batch_size)
    written = batch_size * kernel.written_bytes_per_item
    return {"call": 1.0, "piece": pieces, "byte": moved, "written_byte": written}, {
        "log_written_bytes": np.log(written),
        "log_pieces": np.log(pieces),
        "log_reuse_bytes": log_touched(at.reuse_bytes),
    }


def _ratio(kernel: Kernel) -> float:
    return kernel.read_bytes_per_item / kernel.written_bytes_per_item


_WRITTEN = ("", "mul", "addcmul", "take")
"""Elementwise calls whose inputs are always as many and as large."""


def _elementwise(kernel: Kernel, batch_size: Floats, at: Moment) -> _Named:
    """Elements written; of calls with any number of inputs, some of them repeated, half of what is moved."""
    counted = kernel.variant in _WRITTEN or kernel.family == "activation"
    half = (
        batch_size * kernel.written_bytes_per_item if counted else kernel.activation_bytes(batch_size) / 2.0
    )
    elements = half / ELEMENT_BYTES
    return {"call": 1.0, "element": elements}, {
        "log_elements": np.log(elements),
        "log_reuse_bytes": log_touched(at.reuse_bytes),
    }


def _softmax(kernel: Kernel, batch_size: Floats, at: Moment) -> _Named:
    rows = batch_size * kernel.rows_per_item
    width = kernel.read_bytes_per_item / ELEMENT_BYTES / kernel.rows_per_item
    short = float(width < VECTOR)  # than a vector: worked element by element
    vectors = float(np.ceil(width / VECTOR))
    amounts: _ByName = {
        "call": 1.0,
        "row": rows,
        "element": rows * width,
        "vector": rows * vectors,
        "short_element": short * rows * width,
        **_streamed(ELEMENT_BYTES * rows * width),
    }
    return amounts, {
        "log_rows": np.log(rows),
        "log_width": np.log(width),
        "log_reuse_bytes": log_touched(at.reuse_bytes),
    }


def _streamed(moved_bytes: Floats) -> _ByName:
    """Operands and results too large for a cache: for a private one, and for a shared one. [bytes]"""
    return {
        "byte_beyond_private": moved_bytes * _beyond(moved_bytes, NEAR_BYTES),
        "byte_beyond_shared": moved_bytes * _beyond(moved_bytes, FAR_BYTES),
    }


def _batch_matmul(kernel: Kernel, batch_size: Floats, _: Moment) -> _Named:
    r, k, n = (float(size) for size in kernel.shape)
    p = batch_size * kernel.rows_per_item
    strips = float(_strips(np.array([n]), VECTOR)[0])
    amounts: _ByName = {
        "call": 1.0,
        "product": p,
        "multiply_add": p * r * k * n,
        "row_strip": p * r * k * strips,
        "operand": p * k * (r + n),
        "result": p * r * n,
        **_streamed(ELEMENT_BYTES * p * (k * (r + n) + r * n)),
    }
    return amounts, {
        "log_products": np.log(p),
        "log_rows": np.log(r),
        "log_inner": np.log(k),
        "log_outer": np.log(n),
    }


def _fused_attention(kernel: Kernel, batch_size: Floats, _: Moment) -> _Named:
    """Two products and the softmax between them, whose scores stay in the call."""
    r, k, n = (float(size) for size in kernel.shape)
    p = batch_size * kernel.rows_per_item
    head_strips, strips = _strips(np.array([k, n]), VECTOR).tolist()
    amounts: _ByName = {
        "call": 1.0,
        "product": p,
        "row": p * r,
        "multiply_add": p * r * k * n,
        "row_strip": p * r * k * strips,
        "score": p * r * n,
        "score_strip": p * r * strips,
        "value_strip": p * r * n * head_strips,
        "operand": p * k * (r + 2.0 * n),
        **_streamed(ELEMENT_BYTES * p * k * 2.0 * (r + n)),
    }
    return amounts, {
        "log_products": np.log(p),
        "log_rows": np.log(r),
        "log_inner": np.log(k),
        "log_outer": np.log(n),
    }


_GATES = {"rnn": 1.0, "lstm": 4.0}
"""Products of a recurrent step, side by side; of a GRU and an AUGRU three."""


def _recurrent(kernel: Kernel, batch_size: Floats, _: Moment) -> _Named:
    """A step's share of the whole layer, whose input products and steps are one call of the framework."""
    steps, width, hidden = (float(size) for size in kernel.shape)
    b = batch_size
    outputs = hidden * _GATES.get(kernel.variant, 3.0)
    strips = float(_strips(np.array([outputs]), VECTOR)[0])
    several = (b > 1.0).astype(float)  # one row is multiplied as a vector, several are packed first
    amounts: _ByName = {
        "call": 1.0 / steps,
        "step": 1.0,
        "several": several,
        "state_multiply_add": b * hidden * hidden,
        "input_multiply_add": b * width * hidden,
        "state_strip": b * hidden * strips,
        "input_strip": b * width * strips,
        "state": b * hidden,
        "state_weight": hidden * hidden,
        "several_state_weight": several * hidden * hidden,
        "input": b * width,
    }
    return amounts, {
        "log_items": np.log(b),
        "log_steps": np.log(steps),
        "log_width": np.log(width),
        "log_hidden": np.log(hidden),
        "log_output_tail": float(np.log(VECTOR * strips / outputs)),
    }


_PLACES: Mapping[str, Callable[[Kernel, Floats, Moment], _Named]] = {
    "fc": _fc,
    "embedding_bag": _lookup,
    "concat": _concat,
    "sum": _sum,
    "activation": _elementwise,
    "elementwise": _elementwise,
    "softmax": _softmax,
    "batch_matmul": _batch_matmul,
    "recurrent": _recurrent,
}
_OF_CALLS: Mapping[str, Callable[[Kernel, Floats, Moment], _Named]] = {
    "elementwise.vector_norm": _softmax,
    "batch_matmul.fused": _fused_attention,
}
"""Calls that are not charged as their family is, as `domain.surface` has their names."""
