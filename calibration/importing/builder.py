"""Write operators down one by one, in the shapes that their readers ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import fx

from calibration.importing.values import ACTIVATIONS, AnyValue, Joined, Part, Result, Value
from perfmodel.domain import operators as ops
from perfmodel.domain.model import DENSE
from perfmodel.domain.operators import Operator, Shape
from perfmodel.domain.shapes import OperatorBase

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")

T = TypeVar("T", bound=OperatorBase)


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """A call that no operator stands for, and its work for one item."""

    call: str
    flop_per_item: float
    bytes_per_item: float


@dataclass(slots=True)
class Builder:
    """Operators so far; `origins` names the torch call behind each."""

    batch_size: int
    weights: Mapping[str, str]
    dense_features: int = 0
    operators: list[Operator] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    values: dict[fx.Node, AnyValue] = field(default_factory=dict)
    unmodelled: list[Unmodelled] = field(default_factory=list)
    _views: dict[tuple[str, int, int], Result] = field(default_factory=dict)
    _joins: dict[tuple[Joined, str], Result] = field(default_factory=dict)

    def emit(self, type_: type[T], call: str, label: str, /, **fields: Any) -> Result:
        """Append an operator under a name made from `label`; its result."""
        name = self._free_name(label)
        operator = type_(name=name, **fields)
        self.operators.append(operator)  # type: ignore[arg-type]  # every kind is one of the union
        self.origins[name] = call
        self.shapes[name] = operator.output_shape(self.shapes)
        return Result(name, self.shapes[name])

    def per_item(self, node: fx.Node) -> tuple[int, int] | None:
        """Vectors and elements of each, of one item, as the graph sees a result; None: it has no items."""
        shape = shape_of(node)
        elements, rest = divmod(_product(shape), self.batch_size)
        if rest or not elements:
            return None
        width = shape[-1] if len(shape) > 1 else 1
        return (elements // width, width) if elements % width == 0 else (1, elements)

    def read(self, value: Value, length: int, width: int) -> str:
        """Name of a result of exactly this shape; views and joins are written down where needed."""
        if isinstance(value, Joined):
            value = self._join(value, length, width)
        result = self.settle(value)
        if isinstance(value, Part) or result.shape != (length, width):
            return self._view(result, length, width).name
        return result.name

    def read_all(self, value: Value) -> str:
        """Name of a result that holds these elements, in whatever shape it has."""
        if isinstance(value, Part):
            return self._view(value.source, 1, value.elements).name
        return self.settle(value).name

    def settle(self, value: Value) -> Result:
        """The operator's result behind a value, which is written down where it is still pending."""
        if isinstance(value, Result):
            return value
        if isinstance(value, Part):
            return value.source
        if isinstance(value, Joined):
            return self._join(value, 1, value.elements)
        name = self.read(value.vectors, value.num_vectors, value.width)
        return self.emit(
            ops.BatchMatmul, "bmm", value.label, kind="batch_matmul", left=name, right=name, inner=value.width
        )

    def part(self, value: Value, elements: int) -> Value:
        """Some of the elements of a value, or repeated ones; all of them are the value itself."""
        return value if elements == value.elements else Part(self.settle(value), elements)

    def from_request(self, elements: int) -> Value:
        """Numbers that the request brings beside its dense input, as converted truth values do."""
        self.dense_features = self.dense_features or elements
        self.shapes[DENSE] = Shape(1, self.dense_features)
        return Part(Result(DENSE, self.shapes[DENSE]), elements)

    def label(self, node: fx.Node, weight: AnyValue | None = None) -> str:
        """Name of the module that holds the weight, else of the node."""
        owner: str = getattr(weight, "name", "").rpartition(".")[0]
        return f"layers.{owner}" if owner[:1].isdigit() else owner or node.name

    def _view(self, result: Result, length: int, width: int) -> Result:
        key = (result.name, length, width)
        if key not in self._views:
            label = f"{result.name}.view"
            self._views[key] = self.emit(
                ops.View, "view", label, kind="view", input=result.name, length=length, width=width
            )
        return self._views[key]

    def _join(self, value: Joined, length: int, width: int) -> Result:
        """Write a join down along the features, or along the length where all parts have that width."""
        names = [self.read_all(part) for part in value.parts]
        in_sequence = length > 1 and all(self.shapes[name].width == width for name in names)
        along = "length" if in_sequence else "features"
        key = (value, along)
        if key not in self._joins:
            self._joins[key] = self.emit(
                ops.Concat, value.call, value.label, kind="concat", inputs=tuple(names), along=along
            )
        return self._joins[key]

    def _free_name(self, label: str) -> str:
        """A name that is not taken and that model files accept."""
        clean = _NOT_IN_NAMES.sub("_", label).strip(".-") or "operator"
        name, number = clean, 1
        while name in self.shapes or name == DENSE:
            number += 1
            name = f"{clean}_{number}"
        return name


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of a node's result in the example; empty where it is no tensor."""
    value = node.meta.get("val")
    return tuple(int(size) for size in value.shape) if isinstance(value, torch.Tensor) else ()


def is_activation(value: object) -> bool:
    """Say whether operators can read it."""
    return isinstance(value, ACTIVATIONS)


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
