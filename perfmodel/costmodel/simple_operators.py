"""Kernels of the operators that work on one item's vectors: MLPs, lookups, joins, interactions.

Every function takes the operator and the shapes of all results for one item, and counts for one item of the
batch: elements are 4 bytes, indices 8, a multiply-add is 2 FLOP. `docs/cost-model.md` has them as a table.
"""

from __future__ import annotations

from dataclasses import replace

from perfmodel.costmodel import calls
from perfmodel.costmodel.kernels import ELEMENT_BYTES, INDEX_BYTES, PRODUCTS, Kernel
from perfmodel.domain import operators as ops
from perfmodel.domain.operators import Shapes
from perfmodel.domain.tensor_operators import NORMS, TRANSCENDENTAL


def mlp(op: ops.Mlp, shapes: Shapes) -> list[Kernel]:
    """Each layer's product, then its activation; with groups, a product for each of them.

    Source: `calls.fc` and `calls.activation`, over the vectors of the input.

    Parameters
    ----------
    op : Mlp
        Widths and activations.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]
    """
    rows = shapes[op.input].length
    kernels: list[Kernel] = []
    for inner, outer, function in op.layers:
        layer = calls.fc(op.name, rows // op.groups, inner, outer)
        kernels.append(replace(layer, calls=op.groups) if op.groups > 1 else layer)
        kernels += calls.activation(op.name, function, rows * outer)
    return kernels


def embedding_bag(op: ops.EmbeddingBag, shapes: Shapes) -> list[Kernel]:  # noqa: ARG001  # one signature for all
    """Rows and indices read, pooled rows written; FLOP are the additions.

    Derived here: L lookups of rows of R bytes and d elements are L d FLOP, L (R + 8) bytes read, and 4 d
    written, or 4 L d where they are not pooled. A mean divides d times more; weighted rows are L d
    multiplications more, and 4 L bytes of weights.

    Parameters
    ----------
    op : EmbeddingBag
        Tables, and whether their rows are pooled.
    shapes : mapping of str to Shape
        Not used: what is read comes with the request.
    """
    return [_lookups(op, table) for table in op.tables]


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


def nothing(op: ops.Ids | ops.Parameters, shapes: Shapes) -> list[Kernel]:  # noqa: ARG001  # one signature
    """No call: ids are converted with the request's input, and parameters are read by who reads them.

    Derived here: what a pass does not call costs no time in it.

    Parameters
    ----------
    op : Ids or Parameters
        What the request or the model brings.
    shapes : mapping of str to Shape
        Not used.
    """
    return []


def concat(op: ops.Concat, shapes: Shapes, pieces: int) -> Kernel:
    """One call that copies every element; `pieces` tensors go in.

    Derived here: each element of the result is read once and written once.

    Parameters
    ----------
    op : Concat
        What is joined, and along which side.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]
    pieces : int
        Tensors that the call joins: one a pooled table, one of every other input.
    """
    moved = float(ELEMENT_BYTES * shapes[op.name].elements)
    return Kernel(
        operator=op.name,
        family="concat",
        read_bytes_per_item=moved,
        written_bytes_per_item=moved,
        pieces=pieces,
        variant="stack" if op.along == "length" else "features",
    )


def add(op: ops.Sum, shapes: Shapes, pieces: int) -> Kernel:
    """All inputs read, one result written; an addition for each element that goes. `pieces` tensors go in.

    Derived here: as many additions as elements that are read beyond those that are written.

    Parameters
    ----------
    op : Sum
        What is added: results of one shape, or the vectors of one result.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]
    pieces : int
        Tensors that the call adds: one a pooled table, one of every other input.
    """
    read = sum(shapes[name].elements for name in op.inputs)
    written = shapes[op.name].elements
    return Kernel(
        operator=op.name,
        family="sum",
        flop_per_item=float(read - written),
        read_bytes_per_item=float(ELEMENT_BYTES * read),
        written_bytes_per_item=float(ELEMENT_BYTES * written),
        pieces=pieces,
        variant="tensors" if pieces > 1 else "vectors",
    )


def dot_interaction(op: ops.DotInteraction, shapes: Shapes) -> list[Kernel]:
    """Stack the vectors, multiply them with their transpose, keep one triangle.

    DLRM's interaction [1]_: of n vectors of w elements all n^2 products are computed, 2 n^2 w FLOP, and about
    half of them are kept. Counts are those of `calls`.

    Parameters
    ----------
    op : DotInteraction
        The vectors, and whether each meets itself.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]

    References
    ----------
    .. [1] M. Naumov et al., "Deep Learning Recommendation Model for Personalization and Recommendation
       Systems", arXiv:1906.00091, 2019.
    """
    n, width = op.num_vectors(shapes), shapes[op.inputs[0]].width
    stacked = float(ELEMENT_BYTES * n * width)
    kept = float(ELEMENT_BYTES * shapes[op.name].elements)
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
    return [stack, calls.batch_matmul(op.name, 1, n, width, n, variant="pairs"), keep]


def activation(op: ops.Activation, shapes: Shapes) -> list[Kernel]:
    """One call over all elements.

    Source: `calls.elementwise` of one operand.

    Parameters
    ----------
    op : Activation
        The function.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]
    """
    elements = float(shapes[op.input].elements)
    return [calls.elementwise(op.name, elements, family="activation", variant=op.function)]


def softmax(op: ops.Softmax, shapes: Shapes) -> list[Kernel]:
    """One call; each vector of the input is a row.

    Source: `calls.softmax`.

    Parameters
    ----------
    op : Softmax
        Its input.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]
    """
    given = shapes[op.input]
    return [calls.softmax(op.name, float(given.length), float(given.width))]


def cross(op: ops.Cross, shapes: Shapes) -> list[Kernel]:
    """Each layer: one product, or two of low rank, then x0 * y + x elementwise.

    DCN-v2 ([1]_, equations 1 and 2): of w elements 2 w^2 FLOP a layer, of rank r 4 w r. Counts are those of
    `calls`.

    Parameters
    ----------
    op : Cross
        Layers, and their rank.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]

    References
    ----------
    .. [1] R. Wang et al., "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning
       to Rank Systems", WWW 2021.
    """
    width = shapes[op.input].width
    kernels: list[Kernel] = []
    for _ in range(op.num_layers):
        if op.rank is None:
            kernels.append(calls.fc(op.name, 1, width, width))
        else:
            kernels += [calls.fc(op.name, 1, width, op.rank), calls.fc(op.name, 1, op.rank, width)]
        kernels.append(calls.elementwise(op.name, width, inputs=3, variant="addcmul"))
    return kernels


def view(op: ops.View, shapes: Shapes) -> list[Kernel]:  # noqa: ARG001  # one signature for all
    """No call: only the shape is written down anew.

    Source: PyTorch's views, which move nothing.

    Parameters
    ----------
    op : View
        The new shape.
    shapes : mapping of str to Shape
        Not used.
    """
    return []


def elementwise(op: ops.Elementwise, shapes: Shapes) -> list[Kernel]:
    """One call: every input read once however often it repeats, the result written.

    Source: `calls.elementwise`, but for inputs that are smaller than the result.

    Parameters
    ----------
    op : Elementwise
        Its inputs; the function is for people to read.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]
    """
    written = float(shapes[op.name].elements)
    return [
        Kernel(
            operator=op.name,
            family="elementwise",
            flop_per_item=written * max(1, len(op.inputs) - 1),
            read_bytes_per_item=float(ELEMENT_BYTES * sum(shapes[name].elements for name in op.inputs)),
            written_bytes_per_item=ELEMENT_BYTES * written,
            variant=_kind_of(op.function),
        )
    ]


def _kind_of(function: str) -> str:
    """What bounds an elementwise call: memory, a function of each element, or sums over each vector."""
    if function in NORMS:
        return "norm"
    return "transcendental" if function in TRANSCENDENTAL else "pointwise"


def batch_matmul(op: ops.BatchMatmul, shapes: Shapes) -> list[Kernel]:
    """One call for all products.

    Source: `calls.batch_matmul`.

    Parameters
    ----------
    op : BatchMatmul
        Both sides, and how many products they hold.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]
    """
    rows, outer = op.sizes(shapes)
    return [calls.batch_matmul(op.name, op.products, rows, op.inner, outer, variant=PRODUCTS)]
