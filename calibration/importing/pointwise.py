"""Recognise calls over all elements: pointwise functions, norms, copies; and what all handlers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import fx

from calibration.importing.builder import Builder, is_activation
from calibration.importing.values import AnyValue, Constant, Result, Value
from perfmodel.domain import operators as ops

Handler = Callable[[fx.Node, Sequence[Any], Builder], AnyValue | None]
"""Writes down what a node stands for and returns its value; None where it does not know the form."""


def call_name(node: fx.Node) -> str:
    """Name of a node's ATen operator, with or without the underscore of the form that works in place."""
    schema = getattr(node.target, "_schema", None)
    name = schema.name.rpartition("::")[2] if schema else getattr(node.target, "__name__", str(node.target))
    return str(name).rstrip("_")


def elementwise(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """One call over all elements: pointwise functions, and norms, which are bound by the same traffic."""
    operands = [value for value in given if is_activation(value)]
    return one_call(node, operands, to, call_name(node)) if operands else None


def one_call(node: fx.Node, operands: Sequence[Value], to: Builder, function: str) -> Result | None:
    """Write one call over all elements down; None where the result has no items."""
    per_item = to.per_item(node)
    if per_item is None:
        return None
    shapes = [_broadcast(operand, per_item) for operand in operands]
    if max(length for length, _ in shapes) < per_item[0] or max(width for _, width in shapes) < per_item[1]:
        operands = [to.part(operands[0], per_item[0] * per_item[1]), *operands[1:]]  # each with each
        shapes[0] = per_item
    names = tuple(to.read(operand, *shape) for operand, shape in zip(operands, shapes, strict=True))
    weight = next((to.values.get(arg) for arg in node.args[1:] if isinstance(arg, fx.Node)), None)
    label = to.label(node, weight if isinstance(weight, Constant) else None)
    clean = "".join(letter if letter.isalnum() else "_" for letter in function.lower()).strip("_")
    return to.emit(ops.Elementwise, call_name(node), label, kind="elementwise", function=clean, inputs=names)


def _broadcast(operand: Value, per_item: tuple[int, int]) -> tuple[int, int]:
    """Shape in which an operand repeats to the result's: whole vectors, or one element for each vector."""
    length, width = per_item
    elements = operand.elements
    if elements % width == 0 and length % (elements // width) == 0:
        return elements // width, width
    if length % elements == 0:
        return elements, 1
    raise NotImplementedError(f"{elements} elements do not repeat to {length} x {width}")
