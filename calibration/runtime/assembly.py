"""A model's graph as a flat list of steps: which call reads what, writes where, carries out which kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch

from calibration.runtime import broadcast
from calibration.runtime import operators as calls
from calibration.runtime.memory import Weights
from perfmodel.costmodel.broadcast import is_shared_product
from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.domain import operators as ops
from perfmodel.domain.model import DENSE, QUERY_DENSE, RecModel
from perfmodel.domain.operators import Scope, Shapes
from perfmodel.errors import InputError

Pieces = tuple[int, ...]
"""Slots of a result: one, or one for each pooled table, which a concat then joins one by one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call: its function, the slots that it reads and writes, and the kernels that it carries out.

    `kernels` index `lower(model)`: one for most calls, two for a recurrent layer (its input products and
    its steps). Several calls share a kernel where a model has several equal tables.
    """

    function: calls.Function
    reads: Pieces
    writes: int
    kernels: tuple[int, ...]


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
class Assembly:
    """The steps so far; `device` is where the weights are, and so where constants must be.

    `shared` holds the slots of the query's results, whose batch dimension is 1; `items` is the slot of an
    input with a row for each item and nothing in it, for what repeats the query's results.
    """

    model: RecModel
    shapes: Shapes
    weights: Weights
    kernels: tuple[Kernel, ...]
    remaining: Iterator[int]
    device: torch.device
    dtype: torch.dtype = torch.float32
    library: calls.Library = calls
    results: dict[str, Pieces] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)
    tables: dict[str, torch.Tensor] = field(default_factory=dict)
    num_slots: int = 0
    dense: int | None = None
    query_dense: int | None = None
    items: int | None = None
    shared: set[int] = field(default_factory=set)

    def slot(self) -> int:
        """A new slot."""
        self.num_slots += 1
        return self.num_slots - 1

    def take_kernel(self, family: str) -> int:
        """The next kernel of the lowered model, which must be of the family that the call is of."""
        index = next(self.remaining)
        if self.kernels[index].family != family:
            raise AssertionError(f"{self.kernels[index]}: the runtime makes a call of family {family} here")
        return index

    def step(self, function: calls.Function, reads: Pieces, family: str, *more: str) -> int:
        """Append a call that carries out the next kernel, or several; the slot of its result."""
        kernels = tuple(self.take_kernel(name) for name in (family, *more))
        return self.append(function, reads, kernels)

    def append(self, function: calls.Function, reads: Pieces, kernels: tuple[int, ...]) -> int:
        """Append a call; the slot of its result."""
        self.steps.append(Step(function, reads, self.slot(), kernels))
        return self.steps[-1].writes

    def one(self, name: str) -> int:
        """The slot of a result as one tensor; separate vectors are stacked, in their reader's time."""
        pieces = self.results[name]
        if len(pieces) > 1:
            upcoming = self.steps[-1].kernels[-1] + 1  # the kernel that reads it
            joined = self.append(calls.concat_length, pieces, (upcoming,))
            if pieces[0] in self.shared:
                self.shared.add(joined)
            pieces = (joined,)
            self.results[name] = pieces
        return pieces[0]

    def repeat(self, slot: int) -> int:
        """A result of the query with a row for each item; no kernel stands for it: it copies nothing."""
        if self.items is None:
            self.items = self.slot()
        before = self.steps[-1].kernels[-1:] if self.steps else (0,)
        return self.append(broadcast.repeat, (slot, self.items), before)

    def some_shared(self, slots: Pieces) -> bool:
        """Whether any of them is the query's, and others an item's."""
        return not self.shared.isdisjoint(slots) and not self.shared.issuperset(slots)

    def items_first(self, slots: Pieces) -> Pieces:
        """The same slots, of which those of the query come last: the first result has a row for each item."""
        return tuple(sorted(slots, key=self.shared.__contains__))

    def linear(self, x: int, inner: int, outer: int) -> int:
        """A fully connected layer."""
        return self.step(self.library.linear(self.weights(outer, inner), self.weights(outer)), (x,), "fc")

    def activate(self, x: int, function: str, *, own: bool) -> int:
        """An activation, in place where the input is the layer's own."""
        if function == "prelu":
            return self.step(
                self.library.prelu(torch.full((1,), 0.25, device=self.device, dtype=self.dtype)),
                (x,),
                "activation",
            )
        return self.step(self.library.activation(function, in_place=own), (x,), "activation")


def assemble(
    model: RecModel,
    weights: Weights,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    library: calls.Library = calls,
) -> Assembly:
    """Turn a model into steps on a device, in the order of its kernels; calls with weights are the library's.

    Raises
    ------
    InputError
        If a table's elements are not fp32, or the runtime has no call for an operator.
    """
    kernels = lower(model)
    first = sum(kernel.family == "input" for kernel in kernels)
    remaining = iter(range(first, len(kernels)))
    assembly = Assembly(model, model.shapes(), weights, kernels, remaining, device, dtype, library)
    if model.dense_features:
        assembly.dense = assembly.slot()
        assembly.results[DENSE] = (assembly.dense,)
    if model.query_dense_features:
        assembly.query_dense = assembly.slot()
        assembly.shared.add(assembly.query_dense)
        assembly.results[QUERY_DENSE] = (assembly.query_dense,)
    for operator in model.operators:
        assembler = _ASSEMBLERS.get(type(operator))
        if assembler is None:
            raise InputError(f"{model.name}: {operator.name}: the runtime has no call for {operator.kind}")
        of_query: dict[str, Pieces] = {}
        if operator.scope == "item" and _reads_the_query_alone(operator, assembly):
            of_query = {name: assembly.results[name] for name in operator.reads()}
            for name, pieces in of_query.items():
                assembly.results[name] = tuple(assembly.repeat(slot) for slot in pieces)
        result = assembler(operator, assembly)
        if assembly.shapes[operator.name].length == 1 and len(result) == 1:
            _give_a_vector(operator, result[0], assembly)
        if operator.scope == "query":
            assembly.shared.update(result)
        assembly.results |= of_query
        assembly.results[operator.name] = result
    return assembly


def _give_a_vector(op: ops.Operator, slot: int, to: Assembly) -> None:
    """A sequence of one vector is that vector: what reads it may add it to others."""
    last = to.steps[-1] if to.steps else None
    if last is not None and last.writes == slot and isinstance(op, _SEQUENCES):
        to.steps[-1] = replace(last, function=calls.as_vector(last.function))


def _reads_the_query_alone(op: ops.Operator, to: Assembly) -> bool:
    """Whether an item's operator reads something, and nothing of the items."""
    slots = [slot for name in op.reads() for slot in to.results[name]]
    return bool(slots) and to.shared.issuperset(slots)


def _shared_product(op: ops.Operator, to: Assembly) -> bool:
    """Whether the cost model counts its products as those with a result of the query."""
    shared = {name for name in op.reads() if to.shared.issuperset(to.results[name])}
    return op.scope == "item" and is_shared_product(op, shared)


def _mlp(op: ops.Mlp, to: Assembly) -> Pieces:
    x = to.one(op.input)
    for inner, outer, function in op.layers:
        if op.groups > 1:
            weights = to.weights(op.groups, inner, outer), to.weights(op.groups, 1, outer)
            x = to.step(calls.grouped_linear(*weights), (x,), "fc")
        else:
            x = to.linear(x, inner, outer)
        if function != "none":
            x = to.activate(x, function, own=True)
    return (x,)


def _embedding_bag(op: ops.EmbeddingBag, to: Assembly) -> Pieces:
    pieces: list[int] = []
    for table in op.tables:
        if table.element_bytes not in ((2, 4) if op.pooling == "none" else (4,)):
            got = f"got {table.element_bytes} bytes an element"
            raise InputError(f"{to.model.name}: {op.name}: the runtime runs fp32 tables only, {got}")
        kernel = to.take_kernel("embedding_bag")
        pieces += [_lookup(op, table, kernel, to) for _ in range(table.count)]
    if op.pooling == "none" and len(pieces) > 1:
        return (to.append(calls.concat_length, tuple(pieces), (kernel,)),)
    return tuple(pieces)


def _lookup(op: ops.EmbeddingBag, table: ops.EmbeddingTable, kernel: int, to: Assembly) -> int:
    rows = _rows(table, to)
    if op.pooling == "none":
        to.lookups.append(Lookup(table, to.slot(), None, op.scope))
        short = table.element_bytes == 2
        look_up = calls.converted_rows(rows, to.dtype) if short else to.library.embedding(rows)
        return to.append(look_up, (to.lookups[-1].indices,), (kernel,))
    lookup = Lookup(table, to.slot(), to.slot(), op.scope)
    to.lookups.append(lookup)
    reads: Pieces = (lookup.indices, lookup.indices + 1)
    if op.weights is not None:
        return to.append(calls.weighted_bag(rows), (*reads, to.one(op.weights)), (kernel,))
    if op.pooling != "sum":
        return to.append(calls.embedding_bag(rows, op.pooling), reads, (kernel,))
    return to.append(to.library.embedding_bag(rows), reads, (kernel,))


def _rows(table: ops.EmbeddingTable, to: Assembly) -> torch.Tensor:
    """The table, once for all that read the same memory."""
    if table.memory is None:
        return _new_rows(table, to)
    if table.memory not in to.tables:
        to.tables[table.memory] = _new_rows(table, to)
    return to.tables[table.memory]


def _new_rows(table: ops.EmbeddingTable, to: Assembly) -> torch.Tensor:
    rows = to.weights(table.num_rows, table.dim)
    return rows.to(torch.float16) if table.element_bytes == 2 else rows


def _ids(op: ops.Ids, to: Assembly) -> Pieces:
    """Numbers for masks and the like; lookups draw indices of their own."""
    to.numbers.append(Numbers(to.slot(), to.shapes[op.name].width, op.scope))
    return (to.numbers[-1].slot,)


def _parameters(op: ops.Parameters, to: Assembly) -> Pieces:
    """The model's own numbers, one copy for all items; as for a view, no kernel stands for them."""
    held = to.weights(1, op.length * op.width)
    held = held if op.length == 1 else held.view(1, op.length, op.width)
    before = to.steps[-1].kernels[-1:] if to.steps else (0,)
    return (to.append(lambda: held, (), before),)


def _concat(op: ops.Concat, to: Assembly) -> Pieces:
    pieces = tuple(slot for name in op.inputs for slot in to.results[name])
    function = calls.concat_features if op.along == "features" else calls.concat_length
    if to.some_shared(pieces):
        function = broadcast.concat(along_length=op.along == "length")
    return (to.step(function, pieces, "concat"),)


def _sum(op: ops.Sum, to: Assembly) -> Pieces:
    if len(op.inputs) > 1:
        inputs = to.items_first(tuple(to.one(name) for name in op.inputs))
        return (to.step(calls.add, inputs, "sum"),)
    pieces = to.results[op.inputs[0]]
    return (to.step(calls.add if len(pieces) > 1 else calls.sum_vectors, pieces, "sum"),)


def _dot_interaction(op: ops.DotInteraction, to: Assembly) -> Pieces:
    pieces = tuple(slot for name in op.inputs for slot in to.results[name])
    stack = broadcast.concat(along_length=True) if to.some_shared(pieces) else calls.concat_length
    stacked = to.step(stack, pieces, "concat")
    pairs = to.step(calls.all_pairs, (stacked,), "batch_matmul")
    n = op.num_vectors(to.shapes)
    row, column = torch.tril_indices(n, n, offset=0 if op.with_self else -1, device=to.device)
    return (to.step(calls.take(row * n + column), (pairs,), "elementwise"),)


def _activation(op: ops.Activation, to: Assembly) -> Pieces:
    return (to.activate(to.one(op.input), op.function, own=False),)


def _softmax(op: ops.Softmax, to: Assembly) -> Pieces:
    return (to.step(calls.softmax, (to.one(op.input),), "softmax"),)


def _cross(op: ops.Cross, to: Assembly) -> Pieces:
    width = to.shapes[op.input].width
    first = x = to.one(op.input)
    for _ in range(op.num_layers):
        product = x
        for inner, outer in pairwise((width, width) if op.rank is None else (width, op.rank, width)):
            product = to.linear(product, inner, outer)
        x = to.step(calls.cross_residual, (x, first, product), "elementwise")
    return (x,)


def _local_activation(op: ops.LocalActivation, to: Assembly) -> Pieces:
    behaviours, candidate = to.one(op.behaviours), to.one(op.candidate)
    matched = to.step(calls.match, (behaviours, candidate), "elementwise")
    x = to.step(calls.join_unit_inputs, (behaviours, matched, candidate), "concat")
    for inner, outer in pairwise(op.unit_widths(to.shapes)):
        x = to.linear(x, inner, outer)
        if outer != 1:
            x = to.activate(x, "relu", own=True)
    if _shared_product(op, to):
        return (to.step(broadcast.weigh, (x, behaviours), "fc"),)
    return (to.step(calls.weigh, (x, behaviours), "batch_matmul"),)


def _attention_scores(op: ops.AttentionScores, to: Assembly) -> Pieces:
    states = to.one(op.states)
    mapped = to.linear(to.one(op.candidate), to.shapes[op.candidate].width, to.shapes[op.states].width)
    if _shared_product(op, to):
        scores = to.step(broadcast.state_scores, (states, mapped), "fc")
    else:
        scores = to.step(calls.state_scores, (states, mapped), "batch_matmul")
    return (to.step(calls.softmax_scores, (scores,), "softmax"),)


def _attention(op: ops.Attention, to: Assembly) -> Pieces:
    query, key = to.one(op.query), to.one(op.key or op.query)
    width, key_width = to.shapes[op.query].width, to.shapes[op.key or op.query].width
    inner, value = op.inner_width(to.shapes), key
    if op.projected:
        query, key, value = (
            to.linear(query, width, inner),
            to.linear(key, key_width, inner),
            to.linear(value, key_width, inner),
        )
    if op.value is not None:
        value = to.one(op.value)
    if op.fused:
        weighed = to.step(calls.fused_attention(op.num_heads), (query, key, value), "batch_matmul")
        return (to.linear(weighed, inner, width) if op.projected else weighed,)
    if _shared_product(op, to):
        scores = to.step(broadcast.attention_scores(op.num_heads), (query, key), "fc")
        weights = _attention_weights(op, scores, to)
        length = to.shapes[op.query].length
        weighed = to.step(broadcast.attention_values(op.num_heads, length), (weights, value), "fc")
    else:
        scores = to.step(calls.attention_scores(op.num_heads), (query, key), "batch_matmul")
        weights = _attention_weights(op, scores, to)
        weighed = to.step(calls.attention_values(op.num_heads), (weights, value), "batch_matmul")
    return (to.linear(weighed, inner, width) if op.projected else weighed,)


def _attention_weights(op: ops.Attention, scores: int, to: Assembly) -> int:
    if op.weights == "softmax":
        return to.step(calls.softmax, (scores,), "softmax")
    return to.activate(scores, op.weights, own=True)


def _recurrent(op: ops.Recurrent, to: Assembly) -> Pieces:
    gates = op.num_gates * op.hidden_size
    width, last = to.shapes[op.input].width, op.returns == "last"
    shapes = ((gates, width), (gates, op.hidden_size), (gates,), (gates,))
    weights = [to.weights(*shape) for shape in shapes]
    x = to.one(op.input)
    if op.attention is None:
        layer = to.library.recurrent(op.kind, weights, last=last)
        return (to.step(layer, (x,), "recurrent", "recurrent"),)
    layer = calls.augru(weights, last=last)
    if x in to.shared and op.scope == "item":
        x = to.repeat(x)
    return (to.step(layer, (x, to.one(op.attention)), "recurrent", "recurrent"),)


def _view(op: ops.View, to: Assembly) -> Pieces:
    """No kernel stands for it: its time, next to nothing, goes to the call before it."""
    source = to.one(op.input)
    before = to.steps[-1].kernels[-1:] if to.steps else (0,)
    return (to.append(calls.view(op.length, op.width), (source,), before),)


def _elementwise(op: ops.Elementwise, to: Assembly) -> Pieces:
    length, width = to.shapes[op.name]
    function = calls.elementwise(length, width, len(op.inputs), op.function)
    inputs = to.items_first(tuple(to.one(name) for name in op.inputs))
    return (to.step(function, inputs, "elementwise"),)


def _batch_matmul(op: ops.BatchMatmul, to: Assembly) -> Pieces:
    sides = (to.one(op.left), to.one(op.right))
    if _shared_product(op, to):
        left = sides[0] in to.shared
        own, shared = reversed(sides) if left else sides
        return (to.step(broadcast.products(op.products, op.inner, left=left), (own, shared), "fc"),)
    return (to.step(calls.batch_matmul(op.products, op.inner), sides, "batch_matmul"),)


_SEQUENCES = (ops.EmbeddingBag, ops.Concat, ops.BatchMatmul, ops.Attention)
"""Operators that give sequences, of one vector too."""

_ASSEMBLERS: Mapping[type, Callable[[Any, Assembly], Pieces]] = {
    ops.Mlp: _mlp,
    ops.EmbeddingBag: _embedding_bag,
    ops.Ids: _ids,
    ops.Parameters: _parameters,
    ops.Concat: _concat,
    ops.Sum: _sum,
    ops.DotInteraction: _dot_interaction,
    ops.Activation: _activation,
    ops.Softmax: _softmax,
    ops.Cross: _cross,
    ops.LocalActivation: _local_activation,
    ops.AttentionScores: _attention_scores,
    ops.Attention: _attention,
    ops.Recurrent: _recurrent,
    ops.View: _view,
    ops.Elementwise: _elementwise,
    ops.BatchMatmul: _batch_matmul,
}
