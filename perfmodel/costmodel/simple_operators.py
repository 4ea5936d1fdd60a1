"""Kernels of the operators that work on one item's vectors: MLPs, lookups, joins, interactions.

Every function takes the operator, puts its calls down in the walk, and returns its result; it counts for one
item of the batch: elements are 4 bytes, indices 8, a multiply-add is 2 FLOP. `docs/cost-model.md` has them as
a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from perfmodel.costmodel import calls
from perfmodel.costmodel.kernels import ELEMENT_BYTES, INDEX_BYTES, Kernel
from perfmodel.costmodel.walk import Lookup, Numbers, Value, Values, Walk, items_first, some_shared
from perfmodel.domain import operators as ops


def mlp(op: ops.Mlp, at: Walk) -> Values:
    """Each layer's product, then its activation; with groups, a product for each of them.

    Routed groups are calls of their own over the vectors that each is given: rows / groups on average, and
    all weights, which holds from about as many vectors in a batch on as there are groups.

    Source: `calls.fc` and `calls.activation`, over the vectors of the input. Weights that each pass makes
    anew are an elementwise call of their own, and so is the bias, once a request.

    Parameters
    ----------
    op : Mlp
        Widths and activations.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    x, rows = at.one(op.input), at.shapes[op.input].length
    for inner, outer, function in op.layers:
        if op.casts:
            at.cast_weights(op.groups * inner * outer, op.groups * outer if op.bias else 0)
        x = at.linear(x, rows, inner, outer, op.groups, is_routed=op.routed)
        x = at.layer_activation(x, function, rows * outer)
    return (x,)


def embedding_bag(op: ops.EmbeddingBag, at: Walk) -> Values:
    """Rows and indices read, pooled rows written; FLOP are the additions.

    Derived here: L lookups of rows of R bytes and d elements are L d FLOP, L (R + 8) bytes read, and 4 d
    written, or 4 L d where they are not pooled. A mean divides d times more; weighted rows are L d
    multiplications more, and 4 L bytes of weights.

    Parameters
    ----------
    op : EmbeddingBag
        Tables, and whether their rows are pooled.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    pieces: list[Value] = []
    for table in op.tables:
        kernel = at.kernel(_lookups(op, table))
        pieces += [_lookup(op, table, kernel, at) for _ in range(table.count)]
    if op.pooling == "none" and len(pieces) > 1:
        return (at.stacked(op.name, tuple(pieces)),)
    return tuple(pieces)


def _lookup(op: ops.EmbeddingBag, table: ops.EmbeddingTable, kernel: int, at: Walk) -> Value:
    pooled, is_query = op.pooling != "none", op.scope == "query"
    indices, offsets = at.slot(), at.slot() if pooled else None
    at.lookups.append(Lookup(table, indices, offsets, op.scope))
    reads = tuple(Value(slot, 0, is_query) for slot in (indices, offsets) if slot is not None)
    if not pooled:
        return at.looked_up("embedding", reads, kernel, table.dim, table=table)
    if op.weights is not None:
        reads = (*reads, at.one(op.weights))
    weighted = op.weights is not None
    return at.looked_up(
        "embedding_bag", reads, kernel, table.dim, table=table, pooling=op.pooling, weighted=weighted
    )


def _lookups(op: ops.EmbeddingBag, table: ops.EmbeddingTable) -> Kernel:
    pooled = op.pooling != "none"
    gather = calls.gather(table, pooled=pooled, scope=op.scope)
    lookups = table.pooling_factor
    weighted = 0.0 if op.weights is None else lookups
    return Kernel(
        operator=op.name,
        family="embedding_bag",
        calls=table.count,
        flop_per_item=(lookups + weighted + (op.pooling == "mean")) * table.dim,
        read_bytes_per_item=lookups * (table.row_bytes + INDEX_BYTES) + weighted * ELEMENT_BYTES,
        written_bytes_per_item=gather.bags_per_item * table.dim * ELEMENT_BYTES,
        gather=gather,
        variant="pooled" if pooled else "sequence",
    )


def ids(op: ops.Ids, at: Walk) -> Values:
    """No call: they are converted with the request's input. Lookups draw indices of their own.

    Derived here: what a pass does not call costs no time in it.

    Parameters
    ----------
    op : Ids
        What the request brings.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    given = Numbers(at.slot(), at.shapes[op.name].width, op.scope)
    at.numbers.append(given)
    return (Value(given.slot, given.count, op.scope == "query"),)


def parameters(op: ops.Parameters, at: Walk) -> Values:
    """No kernel: the model's own numbers, one copy for all items, are read by who reads them.

    Derived here: what a pass does not call costs no time in it.

    Parameters
    ----------
    op : Parameters
        What the model brings.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    return (at.moved("parameters", (), length=op.length, width=op.width),)


def concat(op: ops.Concat, at: Walk) -> Values:
    """One call that copies every element of all tensors that go in: one a pooled table.

    Derived here: each element of the result is read once and written once.

    Parameters
    ----------
    op : Concat
        What is joined, and along which side.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    pieces = at.pieces(op.inputs)
    moved = float(ELEMENT_BYTES * at.shapes[op.name].elements)
    along_length = op.along == "length"
    kernel = Kernel(
        operator=op.name,
        family="concat",
        read_bytes_per_item=moved,
        written_bytes_per_item=moved,
        pieces=len(pieces),
        variant="stack" if along_length else "features",
    )
    repeats = some_shared(pieces)
    return (at.call("concat", pieces, kernel, along_length=along_length, repeats=repeats),)


def add(op: ops.Sum, at: Walk) -> Values:
    """All inputs read, one result written; an addition for each element that goes.

    Derived here: as many additions as elements that are read beyond those that are written.

    Parameters
    ----------
    op : Sum
        What is added: results of one shape, or the vectors of one result.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    pieces = at.pieces(op.inputs)
    read = sum(at.shapes[name].elements for name in op.inputs)
    written = at.shapes[op.name].elements
    kernel = Kernel(
        operator=op.name,
        family="sum",
        flop_per_item=float(read - written),
        read_bytes_per_item=float(ELEMENT_BYTES * read),
        written_bytes_per_item=float(ELEMENT_BYTES * written),
        pieces=len(pieces),
        variant="tensors" if len(pieces) > 1 else "vectors",
    )
    if len(op.inputs) > 1:
        return (at.call("add", items_first(tuple(at.one(name) for name in op.inputs)), kernel),)
    return (at.call("add" if len(pieces) > 1 else "sum_vectors", pieces, kernel),)


def dot_interaction(op: ops.DotInteraction, at: Walk) -> Values:
    """Stack the vectors, multiply them with their transpose, keep one triangle.

    DLRM's interaction [1]_: of n vectors of w elements all n^2 products are computed, 2 n^2 w FLOP, and about
    half of them are kept. Counts are those of `calls`.

    Parameters
    ----------
    op : DotInteraction
        The vectors, and whether each meets itself.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]

    References
    ----------
    .. [1] M. Naumov et al., "Deep Learning Recommendation Model for Personalization and Recommendation
       Systems", arXiv:1906.00091, 2019.
    """
    n, width = op.num_vectors(at.shapes), at.shapes[op.inputs[0]].width
    stacked = float(ELEMENT_BYTES * n * width)
    kept = float(ELEMENT_BYTES * at.shapes[op.name].elements)
    stack = Kernel(
        operator=op.name,
        family="concat",
        read_bytes_per_item=stacked,
        written_bytes_per_item=stacked,
        pieces=n,
        variant="stack",
    )
    keep = Kernel(
        operator=op.name,
        family="elementwise",
        read_bytes_per_item=kept,
        written_bytes_per_item=kept,
        variant="take",
    )
    pieces = at.pieces(op.inputs)
    x = at.call("concat", pieces, stack, along_length=True, repeats=some_shared(pieces))
    x = at.call("all_pairs", (x,), calls.batch_matmul(op.name, 1, n, width, n, variant="pairs"))
    return (at.call("take_pairs", (x,), keep, vectors=n, with_self=op.with_self),)


def activation(op: ops.Activation, at: Walk) -> Values:
    """One call over all elements.

    Source: `calls.elementwise` of one operand.

    Parameters
    ----------
    op : Activation
        The function.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    elements = float(at.shapes[op.input].elements)
    kernel = calls.elementwise(op.name, elements, family="activation", variant=op.function)
    return (at.activate(at.one(op.input), op.function, kernel, own=False),)


def softmax(op: ops.Softmax, at: Walk) -> Values:
    """One call; each vector of the input is a row.

    Source: `calls.softmax`.

    Parameters
    ----------
    op : Softmax
        Its input.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    given = at.shapes[op.input]
    kernel = calls.softmax(op.name, float(given.length), float(given.width))
    return (at.call("softmax", (at.one(op.input),), kernel),)


def cross(op: ops.Cross, at: Walk) -> Values:
    """Each layer: one product, or two of low rank, then x0 * y + x elementwise.

    DCN-v2 ([1]_, equations 1 and 2): of w elements 2 w^2 FLOP a layer, of rank r 4 w r. Counts are those of
    `calls`.

    Parameters
    ----------
    op : Cross
        Layers, and their rank.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]

    References
    ----------
    .. [1] R. Wang et al., "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning
       to Rank Systems", WWW 2021.
    """
    width = at.shapes[op.input].width
    first = x = at.one(op.input)
    for _ in range(op.num_layers):
        product = x
        for inner, outer in pairwise((width, width) if op.rank is None else (width, op.rank, width)):
            product = at.linear(product, 1, inner, outer)
        kernel = calls.elementwise(op.name, width, inputs=3, variant="addcmul")
        x = at.call("addcmul", (x, first, product), kernel)
    return (x,)


LOWERINGS: Mapping[type, Callable[[Any, Walk], Values]] = {
    ops.Mlp: mlp,
    ops.EmbeddingBag: embedding_bag,
    ops.Ids: ids,
    ops.Parameters: parameters,
    ops.Concat: concat,
    ops.Sum: add,
    ops.DotInteraction: dot_interaction,
    ops.Activation: activation,
    ops.Softmax: softmax,
    ops.Cross: cross,
}
"""What puts each operator's calls down."""
