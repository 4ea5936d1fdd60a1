"""What an item's operator does with results of the query: reads them once, and shares them among its items.

A result of the query is a right-hand matrix that all items multiply with, as a layer's weights are: what were
small products an item become one product over the rows of all items. Where an operator reads nothing but
results of the query, they are repeated for each item first, and its counts stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perfmodel.costmodel.kernels import ELEMENT_BYTES, Kernel, Product
from perfmodel.domain import operators as ops
from perfmodel.domain.operators import Shapes


def broadcast(
    op: ops.Operator, kernels: Sequence[Kernel], shapes: Shapes, shared: Collection[str]
) -> list[Kernel]:
    """The kernels of an item's operator, some of whose inputs belong to the query.

    Derived here: an operand that all items share is read once a call. A product of items' rows with it is one
    product with shared weights, (b r, k) x (k, n); a projection of it belongs to the query.

    Parameters
    ----------
    op : Operator
        Of the items.
    kernels : sequence of Kernel
        As they would be if all its inputs were items'.
    shapes : mapping of str to Shape
        Length and width of every result. [elements]
    shared : collection of str
        Those of its inputs that belong to the query; at least one.
    """
    if all(name in shared for name in op.reads()):
        return list(kernels)
    rule = _RULES.get(type(op))
    return list(kernels) if rule is None else rule(op, kernels, shapes, shared)


def is_shared_product(op: ops.Operator, shared: Collection[str]) -> bool:
    """Whether the products of activations that an operator makes have a right-hand side of the query.

    Source: the rules of `broadcast`; the runtime asks, so that it makes the calls that are counted.

    Parameters
    ----------
    op : Operator
        Of the items.
    shared : collection of str
        Those of its inputs that belong to the query.
    """
    match op:
        case ops.BatchMatmul():
            return (op.left in shared) != (op.right in shared)
        case ops.LocalActivation():
            return op.behaviours in shared and op.candidate not in shared
        case ops.AttentionScores():
            return op.states in shared and op.candidate not in shared
        case ops.Attention():
            return not op.fused and (op.key or op.query) in shared and op.query not in shared
        case _:
            return False


def _read_once(kernel: Kernel, elements: float) -> Kernel:
    """Some of what it reads for each item is read once."""
    moved = ELEMENT_BYTES * elements
    return replace(
        kernel,
        read_bytes_per_item=kernel.read_bytes_per_item - moved,
        read_bytes_per_query=kernel.read_bytes_per_query + moved,
    )


def _product(kernel: Kernel, rows: int, inner: int, outer: int) -> Kernel:
    """A batched product as one product a head, over the rows of all items."""
    return Kernel(
        operator=kernel.operator,
        family="fc",
        calls=round(kernel.rows_per_item),
        flop_per_item=2.0 * rows * inner * outer,
        read_bytes_per_item=float(ELEMENT_BYTES * rows * inner),
        written_bytes_per_item=float(ELEMENT_BYTES * rows * outer),
        product=Product(rows_per_item=rows, inner=inner, outer=outer, is_weight=False),
    )


def _joined(
    op: ops.Concat | ops.Sum | ops.Elementwise | ops.DotInteraction,
    kernels: Sequence[Kernel],
    shapes: Shapes,
    shared: Collection[str],
) -> list[Kernel]:
    """The first call reads all inputs."""
    elements = sum(shapes[name].elements for name in op.inputs if name in shared)
    return [_read_once(kernels[0], elements), *kernels[1:]]


def _batch_matmul(
    op: ops.BatchMatmul, kernels: Sequence[Kernel], shapes: Shapes, shared: Collection[str]
) -> list[Kernel]:
    rows, outer = op.sizes(shapes)
    if op.left in shared:  # the transpose of it: rows of items are what a shared matrix multiplies
        rows, outer = outer, rows
    return [_product(kernels[0], rows, op.inner, outer)]


def _local_activation(
    op: ops.LocalActivation, kernels: Sequence[Kernel], shapes: Shapes, shared: Collection[str]
) -> list[Kernel]:
    if op.candidate in shared:
        return list(kernels)
    match, join, *unit, _ = kernels
    length, width = shapes[op.behaviours]
    weigh = _product(kernels[-1], 1, length, width)
    return [_read_once(match, length * width), _read_once(join, length * width), *unit, weigh]


def _attention_scores(
    op: ops.AttentionScores, kernels: Sequence[Kernel], shapes: Shapes, shared: Collection[str]
) -> list[Kernel]:
    mapped, match, normalised = kernels
    length, width = shapes[op.states]
    if op.candidate in shared:
        return [replace(mapped, scope="query"), _read_once(match, width), normalised]
    return [mapped, _product(match, 1, width, length), normalised]


def _attention(
    op: ops.Attention, kernels: Sequence[Kernel], shapes: Shapes, shared: Collection[str]
) -> list[Kernel]:
    if op.fused:
        return _fused_attention(op, kernels, shapes, shared)
    inner = op.inner_width(shapes)
    head = inner // op.num_heads
    query, key = shapes[op.query], shapes[op.key or op.query]
    projections, output = (list(kernels[:3]), list(kernels[6:])) if op.projected else ([], [])
    scores, normalised, values = kernels[3:6] if op.projected else kernels
    if op.query in shared:
        projections[:1] = [replace(one, scope="query") for one in projections[:1]]
        return [*projections, _read_once(scores, query.length * inner), normalised, values, *output]
    projections[1:] = [replace(one, scope="query") for one in projections[1:]]
    scores = _product(scores, query.length, head, key.length)
    values = _product(values, query.length, key.length, head)
    return [*projections, scores, normalised, values, *output]


def _fused_attention(
    op: ops.Attention, kernels: Sequence[Kernel], shapes: Shapes, shared: Collection[str]
) -> list[Kernel]:
    """One call between the projections, which reads once what the query brings."""
    names = (op.query, op.key or op.query, op.value or op.key or op.query)
    inner = op.inner_width(shapes)
    once = [name in shared for name in names]
    before, after = (list(kernels[:3]), list(kernels[4:])) if op.projected else ([], [])
    projections = [
        replace(kernel, scope="query") if is_once else kernel
        for kernel, is_once in zip(before, once, strict=False)
    ]
    elements = sum(shapes[name].length * inner for name, is_once in zip(names, once, strict=True) if is_once)
    fused = kernels[3] if op.projected else kernels[0]
    return [*projections, _read_once(fused, elements), *after]


_RULES: Mapping[type, Callable[[Any, Sequence[Kernel], Shapes, Collection[str]], list[Kernel]]] = {
    ops.Concat: _joined,
    ops.Sum: _joined,
    ops.Elementwise: _joined,
    ops.DotInteraction: _joined,
    ops.BatchMatmul: _batch_matmul,
    ops.LocalActivation: _local_activation,
    ops.AttentionScores: _attention_scores,
    ops.Attention: _attention,
}
