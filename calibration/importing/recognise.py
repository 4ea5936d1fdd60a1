"""Walk a captured graph, and write down an operator for each call that has one."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from calibration.importing.builder import Builder, Unmodelled, is_activation, shape_of
from calibration.importing.calls import CALLS
from calibration.importing.capture import Graph
from calibration.importing.pointwise import call_name, elementwise
from calibration.importing.products import PRODUCTS
from calibration.importing.values import ACTIVATIONS, AnyValue, Constant, Index, Part, Result, Several
from perfmodel.domain import operators as ops
from perfmodel.domain.model import DENSE
from perfmodel.domain.operators import Shape
from perfmodel.errors import InputError

_HANDLERS = {**CALLS, **PRODUCTS}
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def recognise(graph: Graph, batch_size: int) -> Builder:
    """Write down an operator for each call; what is not recognised is passed through and counted.

    Raises
    ------
    InputError
        If the output does not come from anything that a model file can hold.
    """
    to = Builder(batch_size, graph.weights)
    to.dense_features = sum(_elements(node, batch_size) for node in _float_inputs(graph))
    if to.dense_features:
        to.shapes[DENSE] = Shape(1, to.dense_features)
    for node in graph.nodes:
        if node.op == "output":
            _write_output(node, to)
        else:
            to.values[node] = _value(node, to)
    return to


def _value(node: fx.Node, to: Builder) -> AnyValue:
    if node.op == "get_attr" or node.name in to.weights:
        tensor = node.meta.get("val")
        size: Any = tensor.element_size() if isinstance(tensor, torch.Tensor) else 4
        return Constant(shape_of(node), to.weights.get(node.name, node.name), size)
    if node.op == "placeholder":
        return _input(node, to)
    given = [_resolved(argument, to) for argument in node.args]
    leaves = [leaf for leaf in tree_leaves(given) if leaf is not None]
    if node.target is operator.getitem and isinstance(given[0], Several):
        member: AnyValue = given[0].members[given[1]]
        return member
    if not any(is_activation(leaf) or isinstance(leaf, Index) for leaf in leaves):
        return Constant(shape_of(node))
    recognised = _handled(node, given, to)
    return _unmodelled(node, leaves, to) if recognised is None else recognised


def _handled(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """What a handler makes of a node; None where there is none, or the form is new to it."""
    handler = _HANDLERS.get(call_name(node))
    if handler is None and torch.Tag.pointwise in getattr(node.target, "tags", ()):
        handler = elementwise
    if handler is None:
        return None
    written = len(to.operators)
    try:
        return handler(node, given, to)
    except (NotImplementedError, ValueError, IndexError, AttributeError, TypeError):
        # A form that the handler does not know: what it wrote on the way goes unread, and is pruned.
        assert len(to.operators) >= written
        return None


def _input(node: fx.Node, to: Builder) -> AnyValue:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return Constant(())
    if not value.dtype.is_floating_point:
        return Index(math.prod(value.shape) / to.batch_size)
    elements = _elements(node, to.batch_size)
    if not elements:
        return Constant(tuple(value.shape))
    dense = Result(DENSE, to.shapes[DENSE])
    return dense if elements == dense.elements else Part(dense, elements)


def _unmodelled(node: fx.Node, leaves: Sequence[Any], to: Builder) -> AnyValue:
    """Count a call that no operator stands for; its result is the first activation in another shape."""
    outputs = [leaf for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)]
    inputs = [argument.meta.get("val") for argument in node.all_input_nodes]
    tensors = [*outputs, *(leaf for leaf in tree_leaves(inputs) if isinstance(leaf, torch.Tensor))]
    moved = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    to.unmodelled.append(
        Unmodelled(call_name(node), _flop(node, outputs) / to.batch_size, moved / to.batch_size)
    )
    if not outputs:
        to.unmodelled.pop()  # a check, such as of a tensor's type: it computes nothing
        return Constant(())
    first = next((leaf for leaf in leaves if is_activation(leaf)), None)
    values = [_passed_on(output, first, to) for output in outputs]
    return values[0] if len(values) == 1 else Several(tuple(values))


def _passed_on(output: torch.Tensor, first: Any, to: Builder) -> AnyValue:
    elements, rest = divmod(output.numel(), to.batch_size)
    if rest or not elements:
        return Constant(tuple(output.shape))
    if not output.dtype.is_floating_point:
        return Index(float(elements))
    return to.from_request(elements) if first is None else to.part(first, elements)


def _flop(node: fx.Node, outputs: Sequence[torch.Tensor]) -> float:
    """FLOP of a call as torch counts them; where it has no count, one for each element of the result."""
    if call_name(node) in _RECURRENT:
        return _recurrent_flop(node)
    args, kwargs = tree_map(_fake, (node.args, node.kwargs))
    counted = 0
    with contextlib.suppress(Exception), FlopCounterMode(display=False) as counter:
        node.target(*args, **kwargs)  # type: ignore[operator]  # on fake tensors: nothing is computed
        counted = counter.get_total_flops()
    return float(counted or sum(output.numel() for output in outputs))


def _recurrent_flop(node: fx.Node) -> float:
    """Each step multiplies with all weights once; torch's counter leaves fused recurrent layers out."""
    rows = shape_of(node.all_input_nodes[0])
    sizes = [shape_of(weight) for weight in node.all_input_nodes[1:]]
    weights = sum(math.prod(size) for size in sizes if len(size) == 2)
    return 2.0 * weights * math.prod(rows[:-1])


def _fake(argument: Any) -> Any:
    return argument.meta.get("val") if isinstance(argument, fx.Node) else argument


def _write_output(node: fx.Node, to: Builder) -> None:
    """Make the module's output the last operator: several outputs are joined."""
    outputs = [value for leaf in node.all_input_nodes if isinstance(value := to.values[leaf], ACTIVATIONS)]
    if not outputs:
        raise InputError("the output does not depend on anything that the request brings")
    names = [to.read_all(value) for value in outputs]
    if len(set(names)) > 1:
        to.emit(ops.Concat, "outputs", "outputs", kind="concat", inputs=tuple(dict.fromkeys(names)))
    elif not to.operators or to.operators[-1].name != names[0]:
        shape = to.shapes[names[0]]
        _move_to_end(names[0], shape, to)


def _move_to_end(name: str, shape: Shape, to: Builder) -> None:
    """Drop what was written down after the output; an output that is an input becomes a view."""
    index = next((i for i, op in enumerate(to.operators) if op.name == name), None)
    if index is None:
        to.emit(ops.View, "view", "output", kind="view", input=name, length=shape.length, width=shape.width)
    else:
        del to.operators[index + 1 :]


def _resolved(argument: Any, to: Builder) -> Any:
    """Replace nodes by their values, inside lists too."""
    if isinstance(argument, fx.Node):
        return to.values[argument]
    if isinstance(argument, (list, tuple)):
        return [_resolved(member, to) for member in argument]
    return argument


def _float_inputs(graph: Graph) -> list[fx.Node]:
    return [
        node
        for node in graph.nodes
        if node.op == "placeholder"
        and node.name not in graph.weights
        and isinstance(node.meta.get("val"), torch.Tensor)
        and node.meta["val"].dtype.is_floating_point
    ]


def _elements(node: fx.Node, batch_size: int) -> int:
    """Elements of one item; 0 where the tensor has no batch dimension."""
    shape = shape_of(node)
    return math.prod(shape) // batch_size if batch_size in shape else 0
