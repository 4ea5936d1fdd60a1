"""Kernels of the operators that work on one item's vectors: MLPs, lookups, joins, interactions."""

from __future__ import annotations

from perfmodel.costmodel import calls
from perfmodel.costmodel.kernels import ELEMENT_BYTES, INDEX_BYTES, Kernel
from perfmodel.domain import operators as ops
from perfmodel.domain.operators import Shapes


def mlp(op: ops.Mlp, shapes: Shapes) -> list[Kernel]:
    """Each layer's product, then its activation."""
    rows = shapes[op.input].length
    kernels: list[Kernel] = []
    for inner, outer, function in op.layers:
        kernels.append(calls.fc(op.name, rows, inner, outer))
        kernels += calls.activation(op.name, function, rows * outer)
    return kernels


def embedding_bag(op: ops.EmbeddingBag, shapes: Shapes) -> list[Kernel]:  # noqa: ARG001  # one signature for all
    """Rows and indices read, pooled rows written; FLOP are the additions."""
    return [_lookups(op, table) for table in op.tables]


def _lookups(op: ops.EmbeddingBag, table: ops.EmbeddingTable) -> Kernel:
    gather = calls.gather(table, pooled=op.pooling == "sum")
    lookups = table.pooling_factor
    return Kernel(
        operator=op.name,
        family="embedding_bag",
        calls=table.count,
        flop_per_item=lookups * table.dim,
        read_bytes_per_item=lookups * (table.row_bytes + INDEX_BYTES),
        written_bytes_per_item=gather.bags_per_item * table.dim * ELEMENT_BYTES,
        gather=gather,
        variant="pooled" if op.pooling == "sum" else "sequence",
    )


def concat(op: ops.Concat, shapes: Shapes, pieces: int) -> Kernel:
    """One call that copies every element; `pieces` tensors go in."""
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
    """All inputs read, one result written; an addition for each element that goes. `pieces` tensors go in."""
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
    """Stack the vectors, multiply them with their transpose, keep one triangle."""
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
    """One call over all elements."""
    elements = float(shapes[op.input].elements)
    return [calls.elementwise(op.name, elements, family="activation", variant=op.function)]


def softmax(op: ops.Softmax, shapes: Shapes) -> list[Kernel]:
    """One call; each vector of the input is a row."""
    given = shapes[op.input]
    return [calls.softmax(op.name, float(given.length), float(given.width))]


def cross(op: ops.Cross, shapes: Shapes) -> list[Kernel]:
    """Each layer: one product, or two of low rank, then x0 * y + x elementwise."""
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
    """No call: only the shape is written down anew."""
    return []


def elementwise(op: ops.Elementwise, shapes: Shapes) -> list[Kernel]:
    """One call: every input read once however often it repeats, the result written."""
    written = float(shapes[op.name].elements)
    return [
        Kernel(
            operator=op.name,
            family="elementwise",
            flop_per_item=written * max(1, len(op.inputs) - 1),
            read_bytes_per_item=float(ELEMENT_BYTES * sum(shapes[name].elements for name in op.inputs)),
            written_bytes_per_item=ELEMENT_BYTES * written,
            variant="mul",
        )
    ]


def batch_matmul(op: ops.BatchMatmul, shapes: Shapes) -> list[Kernel]:
    """One call for all products."""
    rows, outer = op.sizes(shapes)
    return [calls.batch_matmul(op.name, op.products, rows, op.inner, outer, variant="weigh")]
