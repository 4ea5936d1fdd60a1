"""Recognise calls over all elements: pointwise functions, norms, copies; and what all handlers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from calibration.importing.builder import Builder, holds_ids, is_activation, shape_of
from calibration.importing.values import AnyValue, Constant, Index, Joined, Result, Several, Value
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
    leaves = tree_leaves(list(given))
    operands = [value for value in leaves if is_activation(value)]
    if not operands:
        return None
    masks = [leaf for leaf in leaves if isinstance(leaf, Index)]
    weights = [leaf for leaf in leaves if isinstance(leaf, Constant) and leaf.name in to.parameters]
    result = one_call(node, operands, to, call_name(node), masks, weights)
    outputs = node.meta.get("val")
    if result is None or not isinstance(outputs, (list, tuple)):
        return result
    return Several((result, *(_beside(output, result, to) for output in outputs[1:])))


def _beside(output: torch.Tensor, result: Value, to: Builder) -> AnyValue:
    """A further result of a call: places of what it chose, as `topk` gives, or nothing that is read."""
    if output.numel() and holds_ids(output):
        return Index(prod(output.shape) / to.units, to.scope, result=to.settle(result))
    return Constant(tuple(output.shape))


def one_call(
    node: fx.Node,
    operands: Sequence[Value],
    to: Builder,
    function: str,
    masks: Sequence[Index] = (),
    weights: Sequence[Constant] = (),
) -> Value | None:
    """Write one call over all elements down; None where the result has no items.

    Numbers made from ids (`masks`), and parameters (`weights`) such as positions or those of a norm, are read
    beside the operands where they repeat to the result's shape. What chooses or pools reads all of its input,
    and its result is a part of that.
    """
    per_item = to.per_item(node) if shape_of(node) else _per_item_of_first(node, to) or to.per_item(node)
    if per_item is None:
        return None
    given = per_item[0] * per_item[1]
    wanted = max(given, *(operand.elements for operand in operands))
    if wanted > given:
        per_item = (1, wanted)
    shapes = [_broadcast(operand, per_item) for operand in operands]
    if None in shapes:  # what does not repeat by whole vectors is read in the result's own shape
        operands = [
            operand if shape is not None else to.part(operand, wanted)
            for operand, shape in zip(operands, shapes, strict=True)
        ]
        shapes = [shape or per_item for shape in shapes]
    known = [shape for shape in shapes if shape is not None]
    if max(length for length, _ in known) < per_item[0] or max(width for _, width in known) < per_item[1]:
        operands = [to.part(operands[0], wanted), *operands[1:]]  # each with each
        known[0] = per_item
    names = [to.read(operand, *shape) for operand, shape in zip(operands, known, strict=True)]
    beside: tuple[Index | Constant, ...] = (*masks, *weights)
    for one in beside:
        shape = _broadcast(one, per_item)
        seen = to.as_activation(one) if shape is not None else None
        if shape is not None and seen is not None:
            names.append(to.read(seen, *shape))
    weight = next((to.values.get(arg) for arg in node.args[1:] if isinstance(arg, fx.Node)), None)
    label = to.label(node, weight if isinstance(weight, Constant) else None)
    clean = "".join(letter if letter.isalnum() else "_" for letter in function.lower()).strip("_")
    clean = clean if clean[:1].isalpha() else f"f_{clean}"
    result = to.emit(
        ops.Elementwise, call_name(node), label, kind="elementwise", function=clean, inputs=tuple(names)
    )
    return result if wanted == given else to.part(result, given, (clean, node.name))


def _per_item_of_first(node: fx.Node, to: Builder) -> tuple[int, int] | None:
    """Shape of the first result, of a call that has several."""
    outputs = node.meta.get("val")
    if not isinstance(outputs, (list, tuple)) or not isinstance(outputs[0], torch.Tensor):
        return None
    shape = tuple(outputs[0].shape)
    elements, rest = divmod(prod(shape), to.units)
    return None if rest or not elements else (max(1, elements // shape[-1]), min(shape[-1], elements))


def _broadcast(operand: Value | Index | Constant, per_item: tuple[int, int]) -> tuple[int, int] | None:
    """Shape in which an operand repeats to the result's: whole vectors, or one element for each vector."""
    length, width = per_item
    elements = prod(operand.shape) if isinstance(operand, Constant) else operand.elements
    if elements != int(elements) or not elements:
        return None
    elements = int(elements)
    if elements % width == 0 and length % (elements // width) == 0:
        return elements // width, width
    if length % elements == 0:
        return elements, 1
    return None


def numbers(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A call on ids or truth values alone: masks, hashes, lengths. Its result is numbers again, or a mask."""
    leaves = [leaf for leaf in tree_leaves(list(given)) if isinstance(leaf, Index)]
    outputs = [leaf for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)]
    if not outputs or not leaves:
        return None
    sources = [source for leaf in leaves if (source := to.as_activation(leaf)) is not None]
    if not sources:
        return Index(prod(outputs[0].shape) / to.units, to.scope)
    elements = max(1, round(max(prod(output.shape) for output in outputs) / to.units))
    names = dict.fromkeys(to.read_all(_fitting(source, elements, to)) for source in sources)
    name = call_name(node)
    clean = "".join(letter if letter.isalnum() else "_" for letter in name.lower()).strip("_")
    result = to.emit(
        ops.Elementwise,
        name,
        to.label(node),
        kind="elementwise",
        function=clean if clean[:1].isalpha() else "ids",
        inputs=tuple(names),
    )
    values = tuple(_numbers_of(output, result, to) for output in outputs)
    return values[0] if isinstance(node.meta.get("val"), torch.Tensor) else Several(values)


def _fitting(source: Value, elements: int, to: Builder) -> Value:
    """As many numbers as the result has, seen in place."""
    return source if source.elements == elements else to.part(source, elements, ("repeated", elements))


def _numbers_of(output: torch.Tensor, result: Result, to: Builder) -> AnyValue:
    elements = prod(output.shape) / to.units
    if holds_ids(output):
        return Index(elements, to.scope, result=result)
    return to.part(result, max(1, round(elements)))


def shape_text(node: fx.Node) -> str:
    """The shapes that a call gets, for a message."""
    return ", ".join("x".join(map(str, shape_of(argument))) or "scalar" for argument in node.all_input_nodes)


__all__ = ["Handler", "Joined", "call_name", "elementwise", "numbers", "one_call", "shape_text"]
