"""Kernels of the operators of general modules: views, elementwise calls, products, norms, convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from perfmodel.costmodel import calls
from perfmodel.costmodel.kernels import ELEMENT_BYTES, PRODUCTS, VECTOR_NORM, Kernel
from perfmodel.costmodel.walk import Values, Walk, items_first
from perfmodel.domain import tensor_operators as tensors


def view(op: tensors.View, at: Walk) -> Values:
    """No call: only the shape is written down anew.

    Source: PyTorch's views, which move nothing.

    Parameters
    ----------
    op : View
        The new shape.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    return (at.moved("view", (at.one(op.input),), length=op.length, width=op.width),)


def elementwise(op: tensors.Elementwise, at: Walk) -> Values:
    """One call: every input read once however often it repeats, the result written.

    Source: `calls.elementwise`, but for inputs that are smaller than the result.

    Parameters
    ----------
    op : Elementwise
        Its inputs; the function is for people to read.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    shape = at.shapes[op.name]
    kernel = Kernel(
        operator=op.name,
        family="elementwise",
        flop_per_item=float(shape.elements) * max(1, len(op.inputs) - 1),
        read_bytes_per_item=float(ELEMENT_BYTES * sum(at.shapes[name].elements for name in op.inputs)),
        written_bytes_per_item=ELEMENT_BYTES * float(shape.elements),
        variant=_kind_of(op.function),
        rows_per_item=float(shape.length),
    )
    inputs = items_first(tuple(at.one(name) for name in op.inputs))
    x = at.call(
        "elementwise",
        inputs,
        kernel,
        length=shape.length,
        width=shape.width,
        num_inputs=len(inputs),
        function=op.function,
    )
    return (x,)


def _kind_of(function: str) -> str:
    """What bounds an elementwise call: memory, sums over each vector, or the function itself.

    Functions of an element take from 0.2 to 3 ns each on one core: each is a kind of call of its own.
    """
    if function in tensors.NORMS:
        return VECTOR_NORM
    return function if function in tensors.TRANSCENDENTAL else "pointwise"


def batch_matmul(op: tensors.BatchMatmul, at: Walk) -> Values:
    """One call for all products.

    Source: `calls.batch_matmul`.

    Parameters
    ----------
    op : BatchMatmul
        Both sides, and how many products they hold.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    rows, outer = op.sizes(at.shapes)
    left, right = at.one(op.left), at.one(op.right)
    kernel = calls.batch_matmul(op.name, op.products, rows, op.inner, outer, variant=PRODUCTS)
    of_left = left.is_query
    sizes = {"products": op.products, "inner": op.inner, "left": of_left}
    return (at.product("batch_matmul", left, right, kernel, reverse=of_left, **sizes),)


def layer_norm(op: tensors.LayerNorm, at: Walk) -> Values:
    """One call over all vectors: each element read and written once, weights left out.

    Source: `calls.elementwise` of one operand.

    Parameters
    ----------
    op : LayerNorm
        Its input.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    shape = at.shapes[op.input]
    kernel = replace(
        calls.elementwise(op.name, float(shape.elements), variant=VECTOR_NORM),
        rows_per_item=float(shape.length),
    )
    return (at.call("layer_norm", (at.one(op.input),), kernel, weights=((shape.width,), (shape.width,))),)


def conv1d(op: tensors.Conv1d, at: Walk) -> Values:
    """One call: a layer over every window, whose vectors are read once.

    Derived here: at r places, of windows of k elements (of one group) and n channels, 2 r k n FLOP and 4 k n
    bytes of weights, as `calls.fc`; windows overlap, but what they are cut from is read once, 4 bytes an
    element.

    Parameters
    ----------
    op : Conv1d
        Channels, the window, and how it moves.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    given, places = at.shapes[op.input], at.shapes[op.name].length
    kernel = replace(
        calls.fc(op.name, places, op.inner(at.shapes), op.channels),
        variant="conv1d",
        read_bytes_per_item=float(ELEMENT_BYTES * given.elements),
    )
    weights: tuple[tuple[int, ...], ...] = ((op.channels, given.width // op.groups, op.kernel_size),)
    moves = {"stride": op.stride, "padding": op.padding, "dilation": op.dilation, "groups": op.groups}
    if op.bias:
        weights = (*weights, (op.channels,))
    return (at.call("conv1d", (at.one(op.input),), kernel, weights=weights, **dict[str, Any](moves)),)


def swiglu(op: tensors.SwiGlu, at: Walk) -> Values:
    """Two layers side by side, the SiLU of one, their product, and a layer back to the input's width.

    (silu(x W) * x V) U ([1]_, equation 6). Counts are those of `calls`.

    Parameters
    ----------
    op : SwiGlu
        Width between the layers.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]

    References
    ----------
    .. [1] N. Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202, 2020.
    """
    x, (rows, width), hidden = at.one(op.input), at.shapes[op.input], op.hidden_width
    gate = at.layer_activation(at.linear(x, rows, width, hidden), "silu", rows * hidden)
    kernel = calls.elementwise(op.name, rows * hidden, inputs=2, variant="mul")
    sizes = {"length": rows, "width": hidden, "num_inputs": 2}
    gated = at.call("elementwise", (gate, at.linear(x, rows, width, hidden)), kernel, **dict[str, Any](sizes))
    return (at.linear(gated, rows, hidden, width),)


LOWERINGS: Mapping[type, Callable[[Any, Walk], Values]] = {
    tensors.View: view,
    tensors.Elementwise: elementwise,
    tensors.BatchMatmul: batch_matmul,
    tensors.LayerNorm: layer_norm,
    tensors.Conv1d: conv1d,
    tensors.SwiGlu: swiglu,
}
"""What puts each operator's calls down."""
