"""The walk over a model's graph: which call does what for which operator, reads what, and writes where.

It is the one place where operators become framework calls. Each operator's function (`simple_operators`,
`sequence_operators`, `tensor_operators`) puts its calls down here: the kernel, which is what a call costs;
the name and settings, by which `calibration/runtime` binds it to PyTorch; and the operands. What an item's
operator does with results of the query, `Walk.call` and `Walk.product` count for all operators alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, compress
from typing import Any, NamedTuple

from perfmodel.costmodel import calls as counted
from perfmodel.costmodel.broadcast import read_once, shared_product
from perfmodel.costmodel.kernels import ELEMENT_BYTES, GROUPED, Kernel
from perfmodel.domain import operators as ops
from perfmodel.domain.operators import Function, Scope, Shapes

_SHARED: Mapping[str, str] = {
    "attention_scores": "shared_attention_scores",
    "attention_values": "shared_attention_values",
    "batch_matmul": "shared_batch_matmul",
    "state_scores": "shared_state_scores",
    "weigh": "shared_weigh",
}
"""Products of activations, and the same where one side is a matrix of the query."""


class Value(NamedTuple):
    """A result, or a part of one: where it lies, its elements an item, and whether it is the query's."""

    slot: int
    elements: float
    is_query: bool


Values = tuple[Value, ...]
"""A result: one, or one for each pooled table, which a concat then joins one by one."""


class Call(NamedTuple):
    """One framework call: what it is, whose, the slots that it reads and writes, the kernels that it is.

    `kernels` index those of the walk: one for most calls, two for a recurrent layer (its input products and
    its steps). Several calls share a kernel where a model has several equal tables; a view has the kernel
    before it, whose time its own next to nothing goes to. `weights` are the shapes of what it holds.
    `gives_vector`: a result of one vector an item is that vector, not a sequence of one. `is_query`: the
    result is the query's.
    """

    name: str
    operator: str
    reads: tuple[int, ...]
    writes: int
    kernels: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...] = ()
    settings: Mapping[str, Any] = {}
    gives_vector: bool = False
    is_query: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """Inputs of one table: the slots of its indices and, where it pools, of its offsets.

    Those of the query are for one, whatever the batch.
    """

    table: ops.EmbeddingTable
    indices: int
    offsets: int | None
    scope: Scope = "item"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Input of an `ids` that operators make masks and the like of: its slot, and how many an item has."""

    slot: int
    count: int
    scope: Scope = "item"


@dataclass(slots=True)
class Walk:
    """The calls and kernels so far.

    Attributes
    ----------
    shapes : mapping of str to Shape
        Of all results.
    kernels, calls : list
        What a pass costs, and what it calls.
    operator : Operator
        The one that is put down now.
    lookups, numbers : list
        What comes with the request, beside dense features.
    dense, query_dense, items : int or None
        Slots of dense features, and of an input with a row for each item and nothing in it, for what repeats
        the query's results.
    """

    shapes: Shapes
    kernels: list[Kernel]
    operator: ops.Operator
    calls: list[Call] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)
    num_slots: int = 0
    dense: int | None = None
    query_dense: int | None = None
    items: int | None = None
    results: dict[str, Values] = field(default_factory=dict)
    joined: dict[Values, Value] = field(default_factory=dict)

    def slot(self) -> int:
        """A new slot."""
        self.num_slots += 1
        return self.num_slots - 1

    def given(self, name: str, *, is_query: bool) -> int:
        """An input of the model: the slot of it."""
        slot = self.slot()
        self.results[name] = (Value(slot, self.shapes[name].elements, is_query),)
        return slot

    def pieces(self, names: Iterable[str]) -> Values:
        """The tensors of results, those of pooled tables one by one."""
        return tuple(value for name in names for value in self.results[name])

    def one(self, name: str) -> Value:
        """A result as one tensor; separate vectors are stacked once, by a call before their first reader."""
        pieces = self.results[name]
        if len(pieces) == 1:
            return pieces[0]
        if pieces not in self.joined:
            self.joined[pieces] = self.stacked(name, pieces)
        return self.joined[pieces]

    def stacked(self, name: str, pieces: Values) -> Value:
        """Put down the call that copies the vectors of a result one after the other."""
        moved = float(ELEMENT_BYTES * self.shapes[name].elements)
        stack = Kernel(
            operator=name,
            family="concat",
            read_bytes_per_item=moved,
            written_bytes_per_item=moved,
            pieces=len(pieces),
            variant="stack",
        )
        return self.call("concat", pieces, stack, along_length=True, repeats=False)

    def kernel(self, kernel: Kernel) -> int:
        """Put down what a call, or several equal ones, cost; the kernel's index."""
        is_query = self.operator.scope == "query"
        self.kernels.append(replace(kernel, scope="query") if is_query else kernel)
        return len(self.kernels) - 1

    def call(
        self,
        name: str,
        operands: Values,
        kernel: Kernel,
        /,
        *more: Kernel,
        weights: tuple[tuple[int, ...], ...] = (),
        once: Sequence[Value] | None = None,
        **settings: Any,
    ) -> Value:
        """Put down a call that is the next kernel, or several; its result.

        What an item's call reads of the query, it reads once: `once` says which operands are counted so, all
        of them unless it does. A call that reads the query alone is the query's.
        """
        is_query = self.operator.scope == "query"
        if not is_query and any(value.is_query for value in operands):
            is_query = all(value.is_query for value in operands)
            if is_query:
                kernel = replace(kernel, scope="query")
            else:
                shared = [value for value in operands if value.is_query] if once is None else once
                if shared:
                    kernel = read_once(kernel, sum(value.elements for value in shared))
        written = kernel.written_bytes_per_item / ELEMENT_BYTES
        indices = tuple(self.kernel(each) for each in (kernel, *more))
        return self._put(name, operands, indices, Value(self.slot(), written, is_query), weights, settings)

    def moved(self, name: str, operands: Values, kernel: int | None = None, **settings: Any) -> Value:
        """Put down a call that no kernel stands for; it goes to the one before it, or to the one given."""
        if kernel is None:
            kernel = self.calls[-1].kernels[-1] if self.calls else 0
        is_query = self.operator.scope == "query" or (
            bool(operands) and all(value.is_query for value in operands)
        )
        result = Value(self.slot(), sum(value.elements for value in operands), is_query)
        return self._put(name, operands, (kernel,), result, (), settings)

    def looked_up(self, name: str, reads: Values, kernel: int, dim: float, **settings: Any) -> Value:
        """Put down a lookup in one table, of which others may share the kernel."""
        result = Value(self.slot(), dim, self.operator.scope == "query")
        return self._put(name, reads, (kernel,), result, (), settings)

    def product(
        self,
        name: str,
        left: Value,
        right: Value,
        kernel: Kernel,
        /,
        *,
        reverse: bool = False,
        **settings: Any,
    ) -> Value:
        """Put down small products of two results; with a shared side, one product over the items' rows.

        `reverse`: it is the left side that may be a matrix of the query. Where it is not that side that the
        query brings, its operand is read once.
        """
        own, shared = (right, left) if reverse else (left, right)
        if not shared.is_query or own.is_query:
            return self.call(name, (left, right), kernel, **settings)
        one = shared_product(kernel, reverse=reverse)
        return self.call(_SHARED[name], (own, shared), one, once=(), **settings)

    def linear(
        self, x: Value, rows: int, inner: int, outer: int, groups: int = 1, *, is_routed: bool = False
    ) -> Value:
        """A fully connected layer over so many vectors, or one for each run of them."""
        if is_routed and groups > 1:
            kernel = replace(counted.fc(self.operator.name, rows / groups, inner, outer), calls=groups)
            return self.call("routed_linear", (x,), kernel, weights=((groups, outer, inner), (groups, outer)))
        kernel = counted.fc(self.operator.name, rows // groups, inner, outer)
        if groups == 1:
            return self.call("linear", (x,), kernel, weights=((outer, inner), (outer,)))
        weights = ((groups, inner, outer), (groups, 1, outer))
        side_by_side = replace(kernel, calls=groups, variant=GROUPED)
        return self.call("grouped_linear", (x,), side_by_side, weights=weights)

    def cast_weights(self, *tensors: int) -> None:
        """Weights of so many elements each, made in each pass in 2 bytes from ones of 4."""
        for elements in tensors:
            if elements:
                made = counted.elementwise(self.operator.name, float(elements), variant="pointwise")
                half = replace(made, scope="query", written_bytes_per_item=2.0 * elements)
                self.call("cast", (), half, weights=((elements,),))

    def layer_activation(self, x: Value, function: Function, elements: float) -> Value:
        """A layer's activation, in place where it has such a form; nothing for `none`."""
        for kernel in counted.activation(self.operator.name, function, elements):
            x = self.activate(x, function, kernel, own=True)
        return x

    def activate(self, x: Value, function: str, kernel: Kernel, *, own: bool) -> Value:
        """An activation, in place where the input is the layer's own."""
        if function == "prelu":
            return self.call("prelu", (x,), kernel)
        return self.call("activation", (x,), kernel, function=function, in_place=own)

    def repeat(self, value: Value) -> Value:
        """A result of the query with a row for each item; no kernel stands for it: it copies nothing."""
        if not value.is_query or self.operator.scope == "query":
            return value
        if self.items is None:
            self.items = self.slot()
        items = Value(self.items, 0, is_query=False)
        return self.moved("repeat", (value, items))

    def leave_out(self, operators: Collection[str]) -> None:
        """Take these operators' calls and kernels away: another kind of device runs them. Slots stay."""
        kept = [kernel.operator not in operators for kernel in self.kernels]
        places = [max(0, after - 1) for after in accumulate(kept)]  # of one that is gone: the one before it
        self.kernels = list(compress(self.kernels, kept))
        self.calls = [
            call._replace(kernels=tuple(places[index] for index in call.kernels))
            for call in self.calls
            if call.operator not in operators
        ]

    def _put(
        self,
        name: str,
        operands: Values,
        kernels: tuple[int, ...],
        result: Value,
        weights: tuple[tuple[int, ...], ...],
        settings: Mapping[str, Any],
    ) -> Value:
        reads = tuple([value.slot for value in operands])
        self.calls.append(
            Call(
                name,
                self.operator.name,
                reads,
                result.slot,
                kernels,
                weights,
                settings,
                is_query=result.is_query,
            )
        )
        return result


def some_shared(values: Values) -> bool:
    """Whether some of them are the query's, and others an item's.

    Source: their scopes.

    Parameters
    ----------
    values : tuple of Value
        Operands of one call.
    """
    return len({value.is_query for value in values}) > 1


def items_first(values: Values) -> Values:
    """The same values, of which those of the query come last: the first result has a row for each item.

    Source: PyTorch repeats the second operand along a batch of one.

    Parameters
    ----------
    values : tuple of Value
        Operands of one call, whose order does not matter.
    """
    return tuple(sorted(values, key=lambda value: value.is_query))
