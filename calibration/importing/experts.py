"""Experts that get only the rows that a gate or a mask gives them: as many as in the example, on average.

Each of them is followed by itself, as what is done to its rows; where the rows come back together, equal
experts become one `mlp` whose groups are `routed`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from calibration.importing.builder import Builder, is_activation, shape_of, source_line
from calibration.importing.contraction import has_bias
from calibration.importing.pointwise import call_name
from calibration.importing.values import (
    AnyValue,
    Chosen,
    Constant,
    Gathered,
    Layered,
    Picked,
    Pointed,
    Result,
    Seen,
    Several,
    Step,
    Value,
)
from perfmodel.domain import operators as ops
from perfmodel.errors import InputError

_CHOOSING = frozenset({"index", "index_select", "slice", "narrow", "masked_select"})
_SPLITS = frozenset({"split", "split_with_sizes", "chunk", "tensor_split"})
_BACK = frozenset({"index_add", "index_put", "index_copy", "scatter_add", "masked_scatter"})
"""Calls that put rows back where they came from."""
_JOINS = frozenset({"cat", "concat", "concatenate"})
_SAME = frozenset(
    {"view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "view_as", "contiguous", "clone", "alias"}
    | {"to", "_to_copy", "type_as", "float", "detach", "dropout"}
)
"""Calls that leave the rows as they are."""
_PARTS = frozenset({"chunk", "split", "split_with_sizes", "slice", "narrow", "select"})
"""Calls that see a part of each row."""
_LAYERS = frozenset({"linear", "matmul", "mm", "addmm"})


def is_of_experts(leaves: Sequence[Any]) -> bool:
    """Whether a call reads rows that were given to an expert, or that come back from some."""
    return any(isinstance(leaf, (Chosen, Gathered)) for leaf in leaves)


def comes_back(node: fx.Node, given: Sequence[Any]) -> bool:
    """Whether a call puts rows to others, or takes some out of those that are being put together."""
    name = call_name(node)
    return bool(given) and isinstance(given[0], Gathered) and (name in _BACK or name == "index")


def chosen(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Rows that are given to an expert: not as many for each item. None where the call chooses otherwise."""
    name = call_name(node)
    x: Any = given[0] if given else None
    before = shape_of(node.args[0]) if node.args else ()
    if to.scope != "item" or not before or not (is_activation(x) or isinstance(x, (Constant, Gathered))):
        return None
    if name in _SPLITS and is_activation(x):
        pieces = [tuple(piece.shape) for piece in node.meta["val"]]
        if all(piece[1:] == before[1:] for piece in pieces) and any(_is_some(piece, to) for piece in pieces):
            return Several(tuple(_picked(x, piece, piece[0]) for piece in pieces))
    shape = shape_of(node)
    if name not in _CHOOSING or not shape or not _is_some(shape, to):
        return None
    if isinstance(x, Constant) and not (x.items and not x.name):
        return None
    places = [shape_of(one) for one in node.all_input_nodes[1:]]
    rows = places[0][0] if places and len(places[0]) == 1 and places[0][0] in shape else shape[0]
    return _picked(x, shape, rows)


def _is_some(shape: tuple[int, ...], to: Builder) -> bool:
    return math.prod(shape) == 0 or math.prod(shape) % to.units != 0


def _picked(x: Any, shape: tuple[int, ...], rows: int) -> Chosen:
    source = x if is_activation(x) else None
    width = math.prod(shape) // rows if rows else math.prod(shape[1:])
    return Chosen(rows, width, Picked(source, width))


def followed(node: fx.Node, given: Sequence[Any], to: Builder, *, is_pointwise: bool) -> AnyValue | None:
    """What a call does to the rows of an expert, or to rows that come back; None where that is not known."""
    name = call_name(node)
    if name in _JOINS:
        return _joined(node, given[0], to)
    if name in _BACK:
        return _put_back(node, given, to)
    rows = [leaf for leaf in tree_leaves(list(given)) if isinstance(leaf, Chosen)]
    others = [leaf for leaf in tree_leaves(list(given)) if is_activation(leaf)]
    first = rows[0]
    if others or any(row.rows != first.rows for row in rows):
        return None
    if name in _LAYERS:
        return _layer(node, given, first, to)
    values = node.meta.get("val")
    if name in _PARTS:
        pieces = [piece for piece in tree_leaves(values) if isinstance(piece, torch.Tensor)]
        if any(piece.shape[0] != first.rows for piece in pieces):
            return None
        widths = [math.prod(piece.shape[1:]) for piece in pieces]
        parts = tuple(Chosen(first.rows, width, Seen(first.step, width)) for width in widths)
        return Several(parts) if isinstance(values, (list, tuple)) else parts[0]
    shape = shape_of(node)
    width = max(shape[-1:], default=1) if first.rows == 0 else math.prod(shape) // first.rows
    if name in _SAME:
        same = shape[-1] if first.rows == 0 and len(shape) > 1 else width
        return Chosen(first.rows, same, first.step if same == first.width else Seen(first.step, same))
    if not is_pointwise and "norm" not in name and name not in ("softmax", "glu"):
        return None
    return Chosen(first.rows, width, Pointed(name, tuple(row.step for row in rows), width))


def _layer(node: fx.Node, given: Sequence[Any], x: Chosen, to: Builder) -> Chosen | None:
    weight = next((one for one in given if isinstance(one, Constant) and len(one.shape) == 2), None)
    if weight is None:
        return None
    outer = shape_of(node)[-1]
    step = Layered(x.step, weight, (x.width, outer), has_bias(node), to.precision)
    return Chosen(x.rows, outer, step) if math.prod(weight.shape) == x.width * outer else None


def _joined(node: fx.Node, parts: Sequence[Any], to: Builder) -> Gathered | None:
    elements, rest = divmod(math.prod(shape_of(node)), to.units)
    known = all(isinstance(part, Chosen) or is_activation(part) for part in parts)
    return None if rest or not known else Gathered(None, tuple(parts), elements, node.name, is_joined=True)


def _put_back(node: fx.Node, given: Sequence[Any], to: Builder) -> Gathered | None:
    elements, rest = divmod(math.prod(shape_of(node)), to.units)
    source = given[2 if call_name(node) in ("index_put", "masked_scatter") else 3]
    if rest or not (isinstance(source, Chosen) or is_activation(source)):
        return None
    base = given[0]
    before = base.parts if isinstance(base, Gathered) else ()
    under = base.base if isinstance(base, Gathered) else base if is_activation(base) else None
    return Gathered(under, (*before, source), elements, node.name)


def settled(value: Gathered, node: fx.Node, to: Builder) -> Result | None:
    """Write down what experts do to their rows, those of equal layers side by side; None where rows do not
    share out to the items.
    """
    if value in to.gathered:
        return to.gathered[value]
    groups: dict[object, list[Chosen]] = {}
    results: list[Value] = [] if value.base is None else [value.base]
    for part in value.parts:
        if isinstance(part, Chosen):
            groups.setdefault(_form(part.step), []).append(part)
        else:
            results.append(part)
    mark, precision, scope = to.mark(), to.precision, to.scope
    to.scope = "item"
    for experts in groups.values():
        length, rest = divmod(sum(expert.rows for expert in experts), to.units)
        made = None if rest or not length else _Side(node, to, length).of([one.step for one in experts])
        if made is None:
            to.undo(mark)
            return None
        results.append(made)
    found = _together(value, results, to)
    to.precision, to.scope = precision, scope
    if found is not None:
        to.gathered[value] = found
    return found


def _together(value: Gathered, results: Sequence[Value], to: Builder) -> Result | None:
    """Rows back in their places: added up where an item has several of them."""
    if value.is_joined:
        names = tuple(to.read_all(one) for one in results)
        if len(names) == 1:
            return to.settle(results[0])
        return to.emit(ops.Concat, "cat", value.label, kind="concat", inputs=names)
    sums = []
    for one in results:
        many, rest = divmod(one.elements, value.elements)
        back = to.emit(
            ops.Elementwise,
            "index_add",
            f"{value.label}.back",
            kind="elementwise",
            inputs=(to.read(one, max(1, many), value.elements if not rest and many else one.elements),),
            function="index_add",
        )
        if many > 1 and not rest:
            back = to.emit(ops.Sum, "index_add", value.label, kind="sum", inputs=(back.name,))
        sums.append(back)
    if len({one.elements for one in sums}) == 1 and len(sums) > 1:
        names = tuple(to.read(one, 1, value.elements) for one in sums)
        return to.emit(ops.Sum, "index_add", value.label, kind="sum", inputs=names)
    return max(sums, key=lambda one: one.elements) if sums else None


def _form(step: Step) -> object:
    """What equal experts have in common: all but their weights' names."""
    if isinstance(step, Picked):
        return (step.source is None, step.width)  # each may have a mask of its own
    if isinstance(step, Layered):
        return (_form(step.of), step.widths, step.has_bias, step.weight.element_bytes, step.precision)
    if isinstance(step, Seen):
        return ("view", _form(step.of), step.width)
    return (step.function, step.width, *map(_form, step.of))


@dataclass(slots=True)
class _Side:
    """Equal experts side by side: `length` vectors an item, all experts together."""

    node: fx.Node
    to: Builder
    length: int

    def of(self, steps: Sequence[Step]) -> Result | None:
        """The result of equal steps of all experts; None: rows of zeros."""
        first, to = steps[0], self.to
        key = (self.length, tuple(steps))
        if key not in to.sides:
            if isinstance(first, Picked):
                to.sides[key] = self._picked(first)
            elif isinstance(first, Layered):
                to.sides[key] = self._layers([step for step in steps if isinstance(step, Layered)])
            elif isinstance(first, Seen):
                below = self.of([step.of for step in steps if isinstance(step, Seen)])
                to.sides[key] = below and self._view(below, first.width)
            else:
                to.sides[key] = self._pointed([step for step in steps if isinstance(step, Pointed)])
        return to.sides[key]

    def _picked(self, step: Picked) -> Result | None:
        if step.source is None:
            return None
        to = self.to
        part = to.part(step.source, self.length * step.width, ("chosen", self.node.name))
        name = to.read(part, self.length, step.width)
        label = f"{to.source(step.source)}.chosen"
        return to.emit(ops.Elementwise, "index", label, kind="elementwise", inputs=(name,), function="index")

    def _view(self, below: Result, width: int) -> Result:
        name = f"{below.name}.part"
        return self.to.emit(
            ops.View, "view", name, kind="view", input=below.name, length=self.length, width=width
        )

    def _layers(self, steps: Sequence[Layered]) -> Result | None:
        below, first, to = self.of([step.of for step in steps]), steps[0], self.to
        if below is None:
            return None
        named = [(step.weight.name, step.weight.key) for step in steps if step.weight.name]
        if len(set(named)) < len(named):
            where = source_line(self.node)
            raise InputError(
                f"{where}: a loop runs one layer for parts of the items, one after the other: expected one "
                "call for all items"
            )
        to.precision = first.precision
        fields: dict[str, Any] = {} if first.has_bias else {"bias": False}
        if len(steps) > 1:
            fields |= {"groups": len(steps), "routed": True}
        result = to.emit(
            ops.Mlp,
            "linear",
            to.label(self.node, first.weight),
            kind="mlp",
            input=to.read(below, self.length, first.widths[0]),
            widths=first.widths,
            activation="none",
            **fields,
        )
        to.used(first.weight, result)
        return result

    def _pointed(self, steps: Sequence[Pointed]) -> Result | None:
        first, to = steps[0], self.to
        below = [self.of([step.of[place] for step in steps]) for place in range(len(first.of))]
        names = [one.name for one in below if one is not None]
        if not names:
            return None
        if first.function in get_args(ops.Function) and len(names) == 1:
            return to.emit(
                ops.Activation,
                first.function,
                f"{names[0]}.{first.function}",
                kind="activation",
                function=first.function,
                input=names[0],
            )
        result = to.emit(
            ops.Elementwise,
            first.function,
            f"{names[0]}.{first.function}",
            kind="elementwise",
            inputs=tuple(names),
            function=first.function.strip("_"),
        )
        return result if result.shape.width == first.width else self._view(result, first.width)


def grouped(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """One call for all experts over rows that are sorted by them: (rows, inner) x (experts, inner, outer)."""
    x, weight = given[0], given[1]
    if not is_activation(x) or not isinstance(weight, Constant) or len(weight.shape) != 3:
        return None
    experts, inner, outer = weight.shape
    length, rest = divmod(math.prod(shape_of(node)), to.units * outer)
    if rest or not length:
        return None
    half = {"casts": True} if to.precision in ("bf16", "fp16") and weight.element_bytes == 4 else {}
    result = to.emit(
        ops.Mlp,
        call_name(node),
        to.label(node, weight),
        kind="mlp",
        input=to.read(to.part(x, length * inner), length, inner),
        widths=(inner, outer),
        activation="none",
        groups=experts,
        routed=True,
        bias=False,
        **half,
    )
    to.used(weight, result)
    return result
