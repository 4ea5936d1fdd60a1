"""Recognise products: layers with weights, products of activations, attention, recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx

from calibration.importing import contraction
from calibration.importing.builder import Builder, is_activation, shape_of, unrepeated
from calibration.importing.contraction import batched, contract, layer, with_bias
from calibration.importing.experts import grouped
from calibration.importing.lookups import argument
from calibration.importing.packed import QUANTISED
from calibration.importing.pointwise import Handler, call_name, elementwise, one_call
from calibration.importing.values import AnyValue, Constant, Joined, Pairs, Part, Result, Several, Value
from perfmodel.domain import operators as ops
from perfmodel.domain.tensor_operators import Conv1d


def linear(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """x W' + b, with the weight as (outer, inner)."""
    left, right = shape_of(node.args[0]), shape_of(node.args[1])
    product = contraction.of_matmul(left, right[::-1])
    found = contract(node, product, given[0], given[1], to)
    if isinstance(given[1], Constant) or not isinstance(found, (Result, Part, Joined, Pairs)):
        return found
    return with_bias(node, to.settle(found), argument(node, given, "bias"), to)  # weights made in each pass


def matmul(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """x W where one side is a weight; else a product of two activations. An addend goes with the product."""
    sides = [index for index, argument in enumerate(node.args) if isinstance(argument, fx.Node)][-2:]
    left, right = (
        _without_copies(node.args[index])
        if isinstance(given[index], Constant)
        else shape_of(node.args[index])
        for index in sides
    )
    return contract(node, contraction.of_matmul(left, right), given[sides[0]], given[sides[1]], to)


def whole_numbers(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A product of bytes: where one side is a weight, it is held in bytes."""
    before, weights = to.precision, [side for side in given[:2] if isinstance(side, Constant)]
    to.precision = "int8" if len(weights) == 1 and weights[0].element_bytes == 1 else before
    found = matmul(node, given, to)
    to.precision = before
    return found


def _without_copies(node: object) -> tuple[int, ...]:
    """Shape of weights: matrices that `expand` repeats are one matrix."""
    shape = shape_of(node)
    return (*unrepeated(node)[:-2], *shape[-2:])


def sum_of_products(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Products of matrices one by one, summed: one product over both dimensions."""
    left, right = shape_of(node.args[1]), shape_of(node.args[2])
    sizes = {0: left[0], 1: left[1], 2: left[2], 3: right[2]}
    product = contraction.Contraction((0, 1, 2), (0, 2, 3), (1, 3), sizes)
    return contract(node, product, given[1], given[2], to)


def distances(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Distances of all vectors from all others: a product, which squares and roots come on top of."""
    left, right = shape_of(node.args[0]), shape_of(node.args[1])
    product = contraction.of_matmul(left, (*right[:-2], right[-1], right[-2]))
    return contract(node, product, given[0], given[1], to)


def outer(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Each element of one vector times each of another: nothing is summed over."""
    return elementwise(node, given, to)


def tensordot(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A product over named dimensions."""
    shapes = shape_of(node.args[0]), shape_of(node.args[1])
    return contract(node, contraction.of_tensordot(*shapes, given[2], given[3]), given[0], given[1], to)


def einsum(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A product of two operands, by its letters."""
    nodes, operands = node.args[1], given[1]
    assert isinstance(nodes, (list, tuple))
    product = contraction.of_equation(given[0], [shape_of(operand) for operand in nodes])
    if product is None or len(operands) != 2:
        return None
    return contract(node, product, operands[0], operands[1], to)


def bilinear(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """x' W y for each output: x through all its weights, then the products with y."""
    x, y, weight = given[0], given[1], given[2]
    if not (is_activation(x) and is_activation(y) and isinstance(weight, Constant)):
        return None
    outputs, inner, other = weight.shape
    rows = math.prod(shape_of(node)) // (outputs * to.units)
    mapped = layer(node, x, weight, (1, rows, inner, outputs * other), to, bias=False)
    pairs = batched(node, (mapped, y), (rows, outputs, other, 1), to, "pairs")
    return with_bias(node, pairs, argument(node, given, "bias"), to)


def convolution(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A layer over each window: kernel x channels inputs; with groups, layers side by side."""
    x, weight = given[0], given[1]
    if is_activation(x) and is_activation(weight):
        return _made_convolution(node, given, to)
    if not is_activation(x) or not isinstance(weight, Constant):
        return None
    outputs, inner = weight.shape[0], math.prod(weight.shape[1:])
    name = call_name(node)
    groups = argument(node, given, "groups", 1)
    if "transpose" in name or argument(node, given, "transposed", False):
        windows, groups = shape_of(node.args[0]), groups or 1
        positions, rest = divmod(math.prod(windows), to.units * weight.shape[0])
        per_group = weight.shape[0] // groups
        if rest or not positions:
            return None
        spread = layer(node, x, weight, (groups, positions, per_group, inner), to, bias=False)
        result = one_call(node, [spread], to, "add")  # what neighbours spread to one place is added up
        return None if result is None else with_bias(node, result, argument(node, given, "bias"), to)
    positions, rest = divmod(math.prod(shape_of(node)), to.units * outputs)
    if rest or not positions:
        return None
    if len(weight.shape) == 3 and (own := _conv1d(node, given, to)) is not None:
        return own
    return layer(node, x, weight, (groups, positions, inner, outputs // groups), to)


def _made_convolution(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A convolution whose weights each pass makes: a product of its windows with them."""
    if argument(node, given, "groups", 1) != 1 or argument(node, given, "transposed", False):
        return None
    if "transpose" in call_name(node):
        return None
    outputs, *window = shape_of(node.args[1])
    inner = math.prod(window)
    positions, rest = divmod(math.prod(shape_of(node)), to.units * outputs)
    if rest or not positions:
        return None
    found = batched(node, (given[0], given[1]), (1, positions, inner, outputs), to)
    return with_bias(node, found, argument(node, given, "bias"), to)


def _conv1d(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A convolution over an item's sequence as an operator of its own; None where it is of another form."""
    x, weight = given[0], given[1]
    seen = shape_of(node.args[0])
    if len(seen) != 3 or seen[0] != to.units:
        return None
    moves = {key: argument(node, given, key, 0 if key == "padding" else 1) for key in _MOVES}
    if not all(isinstance(value, int) or len(value) == 1 for value in moves.values()):
        return None
    fields = {key: value if isinstance(value, int) else value[0] for key, value in moves.items()}
    if isinstance(moves["padding"], str) or fields["padding"] < 0:
        return None  # "same" pads one side more than the other
    channels, length = seen[1:]
    result = to.emit(
        Conv1d,
        call_name(node),
        to.label(node, weight),
        kind="conv1d",
        input=to.read(x, length, channels),
        channels=weight.shape[0],
        kernel_size=weight.shape[2],
        **{key: value for key, value in fields.items() if value != (0 if key == "padding" else 1)},
        **({} if argument(node, given, "bias", None) is not None else {"bias": False}),
    )
    to.used(weight, result)
    return result


_MOVES = ("stride", "padding", "dilation", "groups")
"""What says how a convolution's window moves."""


def attention(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Scaled dot-product attention in one call: no score leaves it."""
    if not all(map(is_activation, given[:3])):
        return None
    q, k, v = (shape_of(node.args[index]) for index in range(3))
    (rows, head), columns, out = q[-2:], k[-2], v[-1]
    heads, rest = divmod(math.prod(shape_of(node)), to.units * rows * out)
    if rest and rows % to.units == 0:  # the items of one query, one vector each
        heads, rows, rest = math.prod(q[:-2]), rows // to.units, 0
    if rest or not heads:
        return None
    sizes = ((rows, head), (columns, head), (columns, out))
    query, key, value = (
        to.part(one, heads * count * width) if one.elements != heads * count * width else one
        for one, (count, width) in zip(given[:3], sizes, strict=True)
    )
    if head != out:
        scores = batched(node, (query, key), (heads, rows, head, columns), to, "scores")
        name, label = to.read(scores, heads * rows, columns), f"{to.label(node)}.weights"
        weights = to.emit(ops.Softmax, call_name(node), label, kind="softmax", input=name)
        return batched(node, (weights, value), (heads, rows, columns, out), to, "values")
    names = [
        to.read(one, count, heads * width)
        for one, (count, width) in zip((query, key, value), sizes, strict=True)
    ]
    return to.emit(
        ops.Attention,
        call_name(node),
        to.label(node),
        kind="attention",
        query=names[0],
        key=names[1],
        value=names[2],
        num_heads=heads,
        head_dim=head,
        projected=False,
        fused=True,
    )


def quantised_linear(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A layer whose weights are packed whole numbers, or halves; what it reads and gives are floats."""
    x, weight = given[0], given[1]
    if not is_activation(x) or not isinstance(weight, Constant) or len(weight.shape) != 2:
        return None
    outer, inner = weight.shape
    rows, rest = divmod(math.prod(shape_of(node)), to.units * outer)
    if rest or not rows:
        return None
    to.read(x, rows, inner)  # what joins its inputs is in floats
    before = to.precision
    to.precision = "int8" if weight.element_bytes == 1 else "fp16"
    result = layer(node, x, weight, (1, rows, inner, outer), to)
    to.precision = before
    if "relu" not in call_name(node):
        return result
    label = f"{result.name}.relu"
    return to.emit(ops.Activation, "relu", label, kind="activation", function="relu", input=result.name)


def recurrent_cell(kind: str) -> Handler:
    """One step of a recurrent layer, with the state handed in."""
    gates = {"lstm_cell": 4, "gru_cell": 3}.get(kind, 1)

    def cell(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
        x, state, w_input, w_hidden = given[0], given[1], given[2], given[3]
        states = list(state) if isinstance(state, (list, tuple)) else [state]
        if not isinstance(w_input, Constant) or not isinstance(w_hidden, Constant):
            return None
        x, hidden = to.as_activation(x), to.as_activation(states[0])
        if x is None or hidden is None:
            return None
        size = w_hidden.shape[-1]
        rows = max(1, x.elements // w_input.shape[-1])
        mapped = [
            layer(node, source, weight, (1, rows, weight.shape[-1], weight.shape[0]), to)
            for source, weight in ((x, w_input), (hidden, w_hidden))
        ]
        names = tuple(to.read_all(value) for value in mapped)
        label = f"{to.label(node, w_hidden)}.gates"
        result = to.emit(
            ops.Elementwise, call_name(node), label, kind="elementwise", function=kind, inputs=names
        )
        state_of = to.part(result, result.elements // gates)
        return state_of if len(states) == 1 else Several((state_of, to.part(result, rows * size, ("cell",))))

    return cell


def recurrent(kind: str) -> Handler:
    """A recurrent layer over a sequence, layer by layer; two directions are two operators, joined."""

    def layers(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
        x, weights, num_layers = (
            given[0],
            argument(node, given, "params"),
            argument(node, given, "num_layers"),
        )
        bidirectional = bool(argument(node, given, "bidirectional", False))
        per_item = to.per_item(node.args[0])  # type: ignore[arg-type]
        if not is_activation(x) or per_item is None:
            return None
        if weights and isinstance(weights[0], Several):  # packed: each direction of a layer holds its own
            weights = [weight for holder in weights for weight in holder.members]
            to.precision = "int8" if weights[0].element_bytes == 1 else "fp16"
        (length, width), directions = per_item, 1 + bidirectional
        value: Value = x
        last: list[Value] = []
        tensors = len(weights) // (num_layers * directions)
        for index in range(num_layers):
            source, parts = to.read(value, length, width), list[Result]()
            for direction in range(directions):
                weight = weights[(index * directions + direction) * tensors + 1]
                label = to.label(node, weight) + (f".{index}" if num_layers > 1 else "")
                hidden = weight.shape[0] // {"lstm": 4, "gru": 3}.get(kind, 1)
                if weight.shape[1] != hidden:
                    return None  # an LSTM with projections
                parts.append(
                    to.emit(
                        *(ops.Recurrent, call_name(node), label),
                        kind=kind,
                        input=source,
                        hidden_size=hidden,
                        bias=bool(argument(node, given, "has_biases", True)),
                    )
                )
                to.used(weight, parts[-1])
            last += [to.part(part, hidden, ("last",)) for part in parts]
            joined = f"{to.label(node)}.joined"
            value = Joined(tuple(parts), joined, call_name(node), to.scope) if bidirectional else parts[0]
            width = hidden * directions
        final = last[0] if len(last) == 1 else Joined(tuple(last), f"{to.label(node)}.last", "cat", to.scope)
        return Several((value, final, final))

    return layers


_CONVOLUTIONS = (
    "conv1d conv2d conv3d convolution _convolution conv_transpose1d conv_transpose2d conv_transpose3d"
)
PRODUCTS: Mapping[str, Handler] = {
    "linear": linear,
    **dict.fromkeys(("addmm", "mm", "mv", "addmv", "bmm", "matmul", "baddbmm", "dot", "vdot"), matmul),
    "_int_mm": whole_numbers,
    "_addmm_activation": matmul,
    "addbmm": sum_of_products,
    "_grouped_mm": grouped,
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist"), distances),
    **dict.fromkeys(("outer", "ger", "addr"), outer),
    "tensordot": tensordot,
    "einsum": einsum,
    **dict.fromkeys(("bilinear", "_trilinear"), bilinear),
    **dict.fromkeys(_CONVOLUTIONS.split(), convolution),
    "scaled_dot_product_attention": attention,
    **dict.fromkeys(QUANTISED.split(), quantised_linear),
    "_weight_int8pack_mm": quantised_linear,
    "quantized_lstm": recurrent("lstm"),
    "quantized_gru": recurrent("gru"),
    "lstm": recurrent("lstm"),
    "gru": recurrent("gru"),
    "rnn_tanh": recurrent("rnn"),
    "rnn_relu": recurrent("rnn"),
    **{f"{kind}_cell": recurrent_cell(f"{kind}_cell") for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
}
"""Handlers of products by the name of the ATen operator."""
