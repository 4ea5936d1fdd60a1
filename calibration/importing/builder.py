"""Write operators down one by one, in the shapes that their readers ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

import torch
from torch import fx

from calibration.importing.values import (
    ACTIVATIONS,
    AnyValue,
    Chosen,
    Constant,
    Gathered,
    Index,
    Joined,
    Key,
    Pairs,
    Part,
    Result,
    Scope,
    Step,
    Value,
)
from perfmodel.domain import operators as ops
from perfmodel.domain.model import DENSE, ELEMENT_BYTES, QUERY_DENSE
from perfmodel.domain.operators import Operator, Shape
from perfmodel.domain.shapes import OperatorBase, Precision
from perfmodel.errors import InputError

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_LETTERS = 48
"""Of an operator's name: longer ones are cut in the middle, so that tables stay readable."""

T = TypeVar("T", bound=OperatorBase)


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """A call that no operator stands for, its work for one item, and the line of the module that makes it.

    `is_of_parts`: it works on some of the items only, or on one after the other.
    """

    call: str
    flop_per_item: float
    bytes_per_item: float
    where: str = ""
    is_of_parts: bool = False


MADE_OUTSIDE = "what NumPy or Python makes of ids"
"""Stands for what no call shows; a pass is told of such work by what comes back of it."""
OF_WEIGHTS = "of weights"
"""Ends the name of a call that makes weights of weights in every pass."""


@dataclass(slots=True)
class Builder:
    """Operators so far; `origins` names the torch call behind each.

    Attributes
    ----------
    batch_size : int
        Items of the example.
    parameters : frozenset of str
        Names of the weights that are parameters, not buffers.
    is_distinctive : bool
        Whether a size that is a multiple of `batch_size` can only mean items.
    scope : {"item", "query"}
        Of the call at hand.
    precision : str
        Of what it gives.
    of_weights : set of str
        Operators whose results are made of weights alone: the same in every pass.
    computed : set of str
        Operators whose results weights have part in.
    is_by_example : bool
        Whether numbers that the model computes go to Python, which may do one thing or another with them.
    """

    batch_size: int
    weights: Mapping[str, str]
    parameters: frozenset[str] = frozenset()
    is_distinctive: bool = False
    dense_features: int = 0
    query_dense_features: int = 0
    scope: Scope = "item"
    precision: Precision = "fp32"
    operators: list[Operator] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    values: dict[fx.Node, AnyValue] = field(default_factory=dict)
    unmodelled: list[Unmodelled] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    of_weights: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    is_by_example: bool = False
    readers: dict[tuple[str, Key], list[str]] = field(default_factory=dict)
    gathered: dict[Gathered, Result] = field(default_factory=dict)
    sides: dict[tuple[int, tuple[Step, ...]], Result | None] = field(default_factory=dict)
    _views: dict[tuple[str, int, int, Key, Scope], Result] = field(default_factory=dict)
    _joins: dict[tuple[Joined, str], Result] = field(default_factory=dict)
    _ids: dict[tuple[str, Key], Result] = field(default_factory=dict)
    _parameters: dict[tuple[str, Key], Result] = field(default_factory=dict)
    _pairs: dict[Pairs, Result] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """How many share the example's work of the call at hand: its items, or the one query."""
        return self.batch_size if self.scope == "item" else 1

    def emit(self, type_: type[T], call: str, label: str, /, **fields: Any) -> Result:
        """Append an operator under a name made from `label`; its result."""
        name = self._free_name(label)
        scope = fields.pop("scope", self.scope)
        if scope == "query":
            fields["scope"] = scope
        if self.precision != "fp32":
            fields["precision"] = self.precision
        operator = type_(name=name, **fields)
        shape = operator.output_shape(self.shapes)
        self._note_origin(operator)
        self.operators.append(operator)  # type: ignore[arg-type]  # every kind is one of the union
        self.origins[name] = call
        self.shapes[name] = shape
        return Result(name, shape, scope)

    def _note_origin(self, operator: OperatorBase) -> None:
        reads = operator.reads()
        if reads and self.of_weights.issuperset(reads):
            self.of_weights.add(operator.name)
        has_weights = isinstance(operator, ops.EmbeddingBag) or operator.num_parameters(self.shapes) > 0
        if has_weights or not self.computed.isdisjoint(reads):
            self.computed.add(operator.name)

    def source(self, value: Value) -> str:
        """Name of the operator behind a value, or behind the first part of one that is still pending."""
        if isinstance(value, Joined):
            return self.source(value.parts[0])
        if isinstance(value, Pairs):
            return self.source(value.vectors)
        return value.source.name if isinstance(value, Part) else value.name

    def is_computed(self, value: AnyValue) -> bool:
        """Whether weights have part in a value, which then no request brings."""
        if isinstance(value, Index):
            return value.result is not None and value.result.name in self.computed
        return isinstance(value, ACTIVATIONS) and self.source(value) in self.computed

    def used(self, weight: Constant, result: Result) -> None:
        """Note which weights an operator reads: two readers of the same ones share their memory."""
        if weight.name:
            self.readers.setdefault((weight.name, weight.key), []).append(result.name)

    def are_items(self, shape: tuple[int, ...]) -> bool:
        """Whether something of this shape that no input leads to has a copy for each item."""
        if self.is_distinctive:
            return prod(shape) % self.batch_size == 0 and prod(shape) > 0
        return shape[:1] == (self.batch_size,)

    def mark(self) -> int:
        """Where the list of operators ends now, for `undo`."""
        return len(self.operators)

    def undo(self, mark: int) -> None:
        """Forget the operators since a mark: their call turned out to be of a form that is not known."""
        gone = {operator.name for operator in self.operators[mark:]}
        del self.operators[mark:]
        for name in gone:
            del self.shapes[name], self.origins[name]
        for names in self.readers.values():
            names[:] = [name for name in names if name not in gone]
        _forget(self._views, gone)
        _forget(self._joins, gone)
        _forget(self._ids, gone)
        _forget(self._parameters, gone)
        _forget(self._pairs, gone)
        _forget(self.gathered, gone)
        _forget(self.sides, gone)

    def per_item(self, node: fx.Node) -> tuple[int, int] | None:
        """Vectors and elements of each, of one item, as the graph sees a result; None: it has no items."""
        shape = shape_of(node)
        elements, rest = divmod(prod(shape), self.units)
        if 0 < prod(shape) < self.units:
            return 1, 1  # of the whole batch, such as a norm over it: next to nothing an item
        if rest or not elements:
            return None
        width = shape[-1] if shape and (len(shape) > 1 or self.scope == "query") else 1
        return (elements // width, width) if elements % width == 0 else (1, elements)

    def read(self, value: Value, length: int, width: int) -> str:
        """Name of a result of exactly this shape; views and joins are written down where needed."""
        if isinstance(value, Joined):
            value = self._join(value, length, width)
        result = self.settle(value)
        if isinstance(value, Part) or result.shape != (length, width):
            return self._view(value, result, length, width).name
        return result.name

    def read_all(self, value: Value) -> str:
        """Name of a result that holds these elements, in whatever shape it has."""
        if isinstance(value, Part):
            return self._view(value, value.source, 1, value.elements).name
        return self.settle(value).name

    def settle(self, value: Value) -> Result:
        """The operator's result behind a value, which is written down where it is still pending."""
        if isinstance(value, Result):
            return value
        if isinstance(value, Part):
            return value.source
        if isinstance(value, Joined):
            return self._join(value, 1, value.elements)
        if value not in self._pairs:
            name = self.read(value.vectors, value.num_vectors, value.width)
            self._pairs[value] = self.emit(
                ops.BatchMatmul,
                "bmm",
                value.label,
                kind="batch_matmul",
                left=name,
                right=name,
                inner=value.width,
                scope=value.scope,
            )
        return self._pairs[value]

    def part(self, value: Value, elements: int, key: Key = ()) -> Value:
        """Some of the elements of a value, or repeated ones; all of them are the value itself."""
        scope: Scope = "item" if "item" in (value.scope, self.scope) else "query"
        if elements == value.elements and value.scope == scope:
            return value
        selected = (*value.key, *key) if isinstance(value, Part) else key
        return Part(self.settle(value), elements, selected, scope)

    def indices(self, index: Index) -> Result:
        """The numbers of an index as a result that operators read."""
        if index.result is not None:
            return index.result
        known = (index.origin, index.key)
        if known not in self._ids:
            label = index.origin or "ids"
            self._ids[known] = self.emit(
                ops.Ids, "ids", label, kind="ids", count=index.elements, scope=index.scope
            )
        return self._ids[known]

    def as_activation(self, value: AnyValue) -> Value | None:
        """What operators can read of a value: parameters as a result of their own, ids as numbers."""
        if isinstance(value, Index):
            result = self.indices(value)
            if value.result is None:
                return result
            whole = int(value.elements)
            same = result.shape.elements == whole and result.scope == value.scope
            return result if same or not whole else Part(result, whole, value.key, value.scope)
        if isinstance(value, Constant) and value.shape:
            return self.learned(value)
        return value if isinstance(value, ACTIVATIONS) else None

    def learned(self, value: Constant) -> Value:
        """Parameters that are read as if they were activations: the same for all items."""
        elements = prod(value.shape) // (self.batch_size if value.items else 1)
        width = value.shape[-1] if value.name else 1  # what sizes alone make, a range or zeros, is no weight
        name = value.name or "made"
        # All of them, where they are a result already; else those of this slice, which are memory of its own.
        known = (name, () if (name, ()) in self._parameters or not value.name else value.key)
        if known not in self._parameters:
            before = self.precision
            if value.element_bytes < ELEMENT_BYTES[before]:  # as they are kept, whatever is made of them
                self.precision = "int8" if value.element_bytes == 1 else "fp16"
            self._parameters[known] = self.emit(
                ops.Parameters,
                "parameters",
                name,
                kind="parameters",
                length=max(1, elements // width) if value.name else 1,
                width=min(width, elements),
                scope="query",
            )
            self.precision = before
            self.used(Constant(value.shape, value.name, key=value.key), self._parameters[known])
        result = self._parameters[known]
        if value.name:
            self.of_weights.add(result.name)
        whole = result.elements == elements and not value.items
        return result if whole else Part(result, elements, value.key, "item" if value.items else "query")

    def label(self, node: fx.Node, weight: AnyValue | None = None) -> str:
        """Name of the module that holds the weight, else of the node."""
        owner: str = getattr(weight, "name", "").rpartition(".")[0]
        return f"layers.{owner}" if owner[:1].isdigit() else owner or node.name

    def _view(self, value: Value, result: Result, length: int, width: int) -> Result:
        key = (result.name, length, width, value.key if isinstance(value, Part) else (), value.scope)
        if key not in self._views:
            self._views[key] = self.emit(
                ops.View,
                "view",
                f"{result.name}.view",
                kind="view",
                input=result.name,
                length=length,
                width=width,
                scope=value.scope,
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
                ops.Concat,
                value.call,
                value.label,
                kind="concat",
                inputs=tuple(names),
                along=along,
                scope=value.scope,
            )
        return self._joins[key]

    def _free_name(self, label: str) -> str:
        """A name that is not taken and that model files accept, short enough to read."""
        clean = as_name(label)
        name, number = clean, 1
        while name in self.shapes or name in (DENSE, QUERY_DENSE):
            number += 1
            name = f"{clean}_{number}"
        return name


def _forget(known: dict[Any, Any], gone: set[str]) -> None:
    for key in [key for key, result in known.items() if result is None or result.name in gone]:
        del known[key]


def as_name(label: str) -> str:
    """A name that model files accept, short enough to read."""
    return cut_in_the_middle(_NOT_IN_NAMES.sub("_", label).strip(".-") or "operator")


def cut_in_the_middle(name: str) -> str:
    """Shorten a dotted name from its middle: where it begins and which layer it ends in are what tells.

    Examples
    --------
    >>> cut_in_the_middle("model.encoder.transformer_blocks.layers.11.attention.self.query")
    'model.encoder.transform...11.attention.self.query'
    """
    if len(name) <= _MOST_LETTERS:
        return name
    head = (_MOST_LETTERS - 2) // 2
    return f"{name[:head]}..{name[-(_MOST_LETTERS - 2 - head) :]}"


def shape_of(node: Any) -> tuple[int, ...]:
    """Shape of a node's result in the example, complex numbers as pairs; empty where it is no tensor."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    if not isinstance(value, torch.Tensor):
        return ()
    shape = tuple(int(size) for size in value.shape)
    return (*shape, 2) if value.is_complex() else shape


class TakenValuesError(InputError):
    """Numbers that Python took out of a tensor decide what is read: no reading of the trace can tell."""


def source_line(node: fx.Node) -> str:
    """File and line of the module that makes a call, outside PyTorch where there is such a line."""
    frames = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if "File " in line]
    own = [frame for frame in frames if "/torch/" not in frame and 'File "<' not in frame]
    if not own:
        return ""
    path, _, rest = own[-1].removeprefix('File "').partition('", line ')
    return f"{path}:{rest.partition(',')[0]}"


def unrepeated(node: Any) -> tuple[int, ...]:
    """Shape of a node's result, with 1 for dimensions along which it repeats without memory of its own."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        return shape_of(node)
    sizes = zip(shape_of(node), value.stride(), strict=False)  # a pair is never a copy
    return tuple(1 if stride == 0 else int(size) for size, stride in sizes) + (2,) * value.is_complex()


_PRECISIONS: Mapping[torch.dtype, Precision] = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "int8",
    torch.qint8: "int8",
}


def precision_of(tensor: object) -> Precision:
    """Precision that operators say of a result; ids and truth values count as numbers of four bytes."""
    return _PRECISIONS.get(tensor.dtype, "fp32") if isinstance(tensor, torch.Tensor) else "fp32"


def holds_ids(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds whole numbers or truth values: ids, lengths, masks."""
    return not (tensor.dtype.is_floating_point or tensor.dtype.is_complex)


def is_activation(value: object) -> bool:
    """Say whether operators can read it."""
    return isinstance(value, ACTIVATIONS)


def scopes_of(values: Iterable[Any]) -> set[Scope]:
    """Whom the values among some arguments belong to; parameters, which are everybody's, left out."""
    found: set[Scope] = set()
    for value in values:
        if isinstance(value, (*ACTIVATIONS, Index)):
            found.add(value.scope)
        elif isinstance(value, (Chosen, Gathered)) or (isinstance(value, Constant) and value.items):
            found.add("item")
    return found
