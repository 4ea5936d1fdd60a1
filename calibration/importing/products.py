"""Recognise products: layers with weights, products of activations, attention, recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx

from calibration.importing.builder import Builder, is_activation, shape_of
from calibration.importing.pointwise import Handler, call_name, elementwise
from calibration.importing.values import AnyValue, Constant, Joined, Pairs, Result, Several, Value
from perfmodel.domain import operators as ops


def linear(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """x W' + b, with the weight as (outer, inner)."""
    x, weight = given[0], given[1]
    return _layer(node, x, weight, weight.shape[-1], to) if isinstance(weight, Constant) else None


def addmm(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """b + x W, with the weight as (inner, outer)."""
    return matmul(node, given[1:3], to)


def matmul(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """x W where one side is a weight; else a product of two activations."""
    left, right = given[0], given[1]
    left_shape, right_shape = _sides(node)
    if isinstance(right, Constant) and len(right.shape) <= 2 and is_activation(left):
        return _layer(node, left, right, right.shape[0], to)
    if isinstance(left, Constant) and len(left.shape) <= 2 and is_activation(right):
        # W x: each column of x is a row of x' W'. The work is that of the transposed product.
        return _layer(node, right, left, left.shape[-1], to)
    if not (is_activation(left) and is_activation(right)):
        return None
    inner = left_shape[-1]
    rows = left_shape[-2] if len(left_shape) > 1 else 1
    outer = right_shape[-1] if len(right_shape) > 1 else 1
    if left == right and rows == outer > 1 and isinstance(node.args[1], fx.Node):
        return Pairs(left, rows, inner, to.label(node))
    return _product(node, (left, right), (rows, inner, outer), to)


def baddbmm(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """c + x y: the addition goes with the product."""
    left_shape, right_shape = shape_of(_node(node, 1)), shape_of(_node(node, 2))
    if not (is_activation(given[1]) and is_activation(given[2])):
        return None
    return _product(node, (given[1], given[2]), (left_shape[-2], left_shape[-1], right_shape[-1]), to)


def einsum(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A product of two operands, by its letters: contracted, of one side only, or of both."""
    equation, operands = given[0], given[1]
    if len(operands) != 2 or "." in equation or "->" not in equation:
        return None
    inputs, _, out = equation.replace(" ", "").partition("->")
    left, _, right = inputs.partition(",")
    nodes = node.args[1]
    assert isinstance(nodes, (list, tuple))
    sizes: dict[str, int] = {}
    for letters, operand in zip((left, right), nodes, strict=True):
        assert isinstance(operand, fx.Node)
        sizes |= dict(zip(letters, shape_of(operand), strict=True))

    def size(letters: set[str]) -> int:
        return math.prod(sizes[letter] for letter in letters)

    shared = set(left) & set(right)
    inner = size(shared - set(out))
    rows, outer = size(set(left) & set(out) - shared), size(set(right) & set(out) - shared)
    if all(isinstance(operand, Constant) for operand in operands):
        return None
    if isinstance(operands[1], Constant):
        return _layer(node, operands[0], operands[1], inner, to)
    if isinstance(operands[0], Constant):
        return _layer(node, operands[1], operands[0], inner, to)
    if inner == 1 or not all(is_activation(operand) for operand in operands):
        return elementwise(node, operands, to)  # nothing is contracted: a product of each pair
    return _product(node, (operands[0], operands[1]), (rows, inner, outer), to)


def attention(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Scaled dot-product attention: scores, softmax, weighted sums, by head."""
    query, key, value = given[0], given[1], given[2]
    if not all(map(is_activation, (query, key, value))):
        return None
    q, k, v = (shape_of(_node(node, index)) for index in range(3))
    rows, head, columns, out = q[-2], q[-1], k[-2], v[-1]
    scores = _product(node, (query, key), (rows, head, columns), to, suffix="scores")
    if scores is None:
        return None
    name = to.read(scores, scores.elements // columns, columns)
    weights = to.emit(ops.Softmax, call_name(node), f"{to.label(node)}.weights", kind="softmax", input=name)
    return _product(node, (weights, value), (rows, columns, out), to, suffix="values")


def gru(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A GRU over a sequence, layer by layer."""
    return _recurrent(node, given, to, "gru")


def rnn_tanh(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A plain recurrent layer with tanh."""
    return _recurrent(node, given, to, "rnn")


def _recurrent(node: fx.Node, given: Sequence[Any], to: Builder, kind: str) -> AnyValue | None:
    """Layer by layer; two directions are two operators, joined."""
    x, weights, has_biases, num_layers, bidirectional = given[0], given[2], given[3], given[4], given[7]
    per_item = to.per_item(_node(node, 0))
    if not is_activation(x) or per_item is None:
        return None
    (length, width), directions, tensors = per_item, 1 + bidirectional, 4 if has_biases else 2
    value: Value = x
    hidden = 0
    for layer in range(num_layers):
        source, parts = to.read(value, length, width), list[Result]()
        for direction in range(directions):
            weight = weights[(layer * directions + direction) * tensors + 1]
            hidden = weight.shape[-1]
            label = to.label(node, weight) + (f".{layer}" if num_layers > 1 else "")
            parts.append(
                to.emit(ops.Recurrent, call_name(node), label, kind=kind, input=source, hidden_size=hidden)
            )
        value = (
            Joined(tuple(parts), f"{to.label(node)}.joined", call_name(node)) if bidirectional else parts[0]
        )
        width = hidden * directions
    return Several((value, to.part(value, hidden * directions * num_layers)))


def _layer(node: fx.Node, x: Any, weight: Constant, inner: int, to: Builder) -> AnyValue | None:
    """A product with a weight of `inner` inputs."""
    if not is_activation(x):
        return None
    outer = math.prod(weight.shape) // inner
    rows, rest = divmod(x.elements, inner)
    if rest:
        return None
    return to.emit(
        ops.Mlp,
        call_name(node),
        to.label(node, weight),
        kind="mlp",
        input=to.read(x, rows, inner),
        widths=(inner, outer),
        activation="none",
    )


def _product(
    node: fx.Node, sides: tuple[Value, Value], sizes: tuple[int, int, int], to: Builder, *, suffix: str = ""
) -> Result | None:
    """Products of activations, (rows, inner) x (inner, outer) each; a side that repeats is a view."""
    rows, inner, outer = sizes
    elements = math.prod(shape_of(node))
    if suffix == "scores":
        elements = elements // math.prod(shape_of(_node(node, 2))[-1:]) * outer
    products, rest = divmod(elements, to.batch_size * rows * outer)
    if rest or not products:
        return None
    left = to.read(to.part(sides[0], products * rows * inner), products * rows, inner)
    right = to.read(to.part(sides[1], products * inner * outer), products * inner, outer)
    return to.emit(
        ops.BatchMatmul,
        call_name(node),
        f"{to.label(node)}.{suffix}" if suffix else to.label(node),
        kind="batch_matmul",
        left=left,
        right=right,
        inner=inner,
        products=products,
    )


def _node(node: fx.Node, index: int) -> fx.Node:
    found = node.args[index]
    assert isinstance(found, fx.Node)
    return found


def _sides(node: fx.Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the two factors, the last two tensors among the arguments."""
    tensors = [shape_of(arg) for arg in node.args if isinstance(arg, fx.Node)]
    return tensors[-2], tensors[-1]


PRODUCTS: Mapping[str, Handler] = {
    "linear": linear,
    "addmm": addmm,
    "mm": matmul,
    "mv": matmul,
    "bmm": matmul,
    "matmul": matmul,
    "baddbmm": baddbmm,
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    "gru": gru,
    "rnn_tanh": rnn_tanh,
}
"""Handlers of products by the name of the ATen operator."""
