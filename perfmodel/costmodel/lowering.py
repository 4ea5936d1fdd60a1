"""Operators to kernels: which framework calls a model makes for one batch.

One function for each operator; `lower` walks the graph. Layers in one operator become kernels of their
own, as the papers count them: FC apart from its activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.costmodel.kernels import ELEMENT_BYTES, INDEX_BYTES, Gather, Kernel, Product
from perfmodel.domain import operators as ops
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Shape

GATE_FLOP = 10
"""Elementwise FLOP of one gate element in a recurrent step: two additions and a transcendental."""


def lower(model: RecModel) -> tuple[Kernel, ...]:
    """Return the kernels of one forward pass, in execution order.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit (validation has seen to it).

    Returns
    -------
    tuple of Kernel
        Input handling first (family `input`), then the operators' kernels.
    """
    shapes = model.shapes()
    pieces = _pieces(model)
    kernels = list(_input_kernels(model))
    for operator in model.operators:
        if isinstance(operator, ops.Concat):
            joined = sum(pieces.get(name, 1) for name in operator.inputs)
            kernels += [_concat(operator, shapes, joined)]
        else:
            kernels += _LOWERINGS[type(operator)](operator, shapes)
    return tuple(kernels)


def _pieces(model: RecModel) -> dict[str, int]:
    """Tensors that each pooled lookup hands on: one a table, which a concat then joins one by one."""
    return {
        op.name: sum(table.count for table in op.tables)
        for op in model.embedding_operators
        if op.pooling == "sum"
    }


def _input_kernels(model: RecModel) -> list[Kernel]:
    """Conversion and feeding: a tensor of indices and one of lengths for each table, one dense tensor."""
    kernels = []
    if model.dense_features:
        dense_bytes = float(ELEMENT_BYTES * model.dense_features)
        kernels.append(Kernel(operator="input", family="input", read_bytes_per_item=dense_bytes, pieces=1))
    for op in model.embedding_operators:
        for table in op.tables:
            gather = _gather(table, pooled=True)
            kernels.append(
                Kernel(
                    operator="input",
                    family="input",
                    calls=table.count,
                    read_bytes_per_item=table.pooling_factor * INDEX_BYTES,
                    gather=gather,
                    pieces=2,
                )
            )
    return kernels


def _gather(table: ops.EmbeddingTable, *, pooled: bool) -> Gather:
    return Gather(
        rows_per_item=table.pooling_factor,
        bags_per_item=1.0 if pooled else table.pooling_factor,
        row_bytes=float(table.row_bytes),
        num_rows=table.num_rows,
        zipf_exponent=table.zipf_exponent,
    )


def fc(operator: str, rows_per_item: float, inner: int, outer: int) -> Kernel:
    """One fully connected layer with bias over `rows_per_item` rows an item; FLOP are those of the product."""
    return Kernel(
        operator=operator,
        family="fc",
        flop_per_item=2.0 * rows_per_item * inner * outer,
        read_bytes_per_item=ELEMENT_BYTES * rows_per_item * inner,
        written_bytes_per_item=ELEMENT_BYTES * rows_per_item * outer,
        product=Product(rows_per_item=rows_per_item, inner=inner, outer=outer),
    )


def elementwise(
    operator: str, elements: float, *, family: str = "elementwise", inputs: int = 1, calls: int = 1
) -> Kernel:
    """One call over `elements` an item that reads `inputs` operands and writes one."""
    return Kernel(
        operator=operator,
        family=family,  # type: ignore[arg-type]  # callers pass literals of Family
        calls=calls,
        flop_per_item=elements * max(1, inputs - 1),
        read_bytes_per_item=ELEMENT_BYTES * elements * inputs,
        written_bytes_per_item=ELEMENT_BYTES * elements,
    )


def _activation(operator: str, function: ops.Function, elements: float) -> list[Kernel]:
    if function == "none":
        return []
    return [elementwise(f"{operator}.{function}", elements, family="activation")]


def _softmax(operator: str, rows: float, width: float) -> Kernel:
    elements = rows * width
    return Kernel(
        operator=operator,
        family="softmax",
        flop_per_item=5.0 * elements,  # max, subtract, exponential, sum, divide
        read_bytes_per_item=ELEMENT_BYTES * elements,
        written_bytes_per_item=ELEMENT_BYTES * elements,
        rows_per_item=rows,
    )


def _batch_matmul(operator: str, products: float, rows: int, inner: int, outer: int) -> Kernel:
    """`products` small products an item, (rows, inner) x (inner, outer) each."""
    return Kernel(
        operator=operator,
        family="batch_matmul",
        flop_per_item=2.0 * products * rows * inner * outer,
        read_bytes_per_item=ELEMENT_BYTES * products * inner * (rows + outer),
        written_bytes_per_item=ELEMENT_BYTES * products * rows * outer,
        rows_per_item=products,
    )


def _mlp(op: ops.Mlp, shapes: Mapping[str, Shape]) -> list[Kernel]:
    rows = shapes[op.input].length
    kernels: list[Kernel] = []
    for inner, outer, activation in op.layers:
        kernels += [fc(op.name, rows, inner, outer), *_activation(op.name, activation, rows * outer)]
    return kernels


def _embedding_bag(op: ops.EmbeddingBag, shapes: Mapping[str, Shape]) -> list[Kernel]:
    """Rows and indices read, pooled rows written; FLOP are the additions."""
    kernels = []
    for table in op.tables:
        gather = _gather(table, pooled=op.pooling == "sum")
        lookups = table.pooling_factor
        kernels.append(
            Kernel(
                operator=op.name,
                family="embedding_bag",
                calls=table.count,
                flop_per_item=lookups * table.dim,
                read_bytes_per_item=lookups * (table.row_bytes + INDEX_BYTES),
                written_bytes_per_item=gather.bags_per_item * table.dim * ELEMENT_BYTES,
                gather=gather,
            )
        )
    return kernels


def _concat(op: ops.Concat, shapes: Mapping[str, Shape], pieces: int) -> Kernel:
    moved = float(ELEMENT_BYTES * shapes[op.name].elements)
    return Kernel(
        operator=op.name,
        family="concat",
        read_bytes_per_item=moved,
        written_bytes_per_item=moved,
        pieces=pieces,
    )


def _sum(op: ops.Sum, shapes: Mapping[str, Shape]) -> list[Kernel]:
    read = sum(shapes[name].elements for name in op.inputs)
    written = shapes[op.name].elements
    return [
        Kernel(
            operator=op.name,
            family="sum",
            flop_per_item=float(read - written),
            read_bytes_per_item=float(ELEMENT_BYTES * read),
            written_bytes_per_item=float(ELEMENT_BYTES * written),
        )
    ]


def _dot_interaction(op: ops.DotInteraction, shapes: Mapping[str, Shape]) -> list[Kernel]:
    """Stack the vectors, multiply them with their transpose, keep one triangle."""
    n, width = op.num_vectors(shapes), shapes[op.inputs[0]].width
    stacked = float(ELEMENT_BYTES * n * width)
    kept = float(ELEMENT_BYTES * shapes[op.name].elements)
    return [
        Kernel(
            operator=op.name,
            family="concat",
            read_bytes_per_item=stacked,
            written_bytes_per_item=stacked,
            pieces=n,
        ),
        _batch_matmul(op.name, 1, n, width, n),
        Kernel(operator=op.name, family="elementwise", read_bytes_per_item=kept, written_bytes_per_item=kept),
    ]


def _activation_operator(op: ops.Activation, shapes: Mapping[str, Shape]) -> list[Kernel]:
    return [
        Kernel(
            operator=op.name,
            family="activation",
            flop_per_item=float(shapes[op.input].elements),
            read_bytes_per_item=float(ELEMENT_BYTES * shapes[op.input].elements),
            written_bytes_per_item=float(ELEMENT_BYTES * shapes[op.input].elements),
        )
    ]


def _softmax_operator(op: ops.Softmax, shapes: Mapping[str, Shape]) -> list[Kernel]:
    return [_softmax(op.name, *map(float, shapes[op.input]))]


def _local_activation(op: ops.LocalActivation, shapes: Mapping[str, Shape]) -> list[Kernel]:
    """All units of an item share one batched MLP: rows are behaviours; then the weighted sum."""
    length, width = shapes[op.behaviours]
    kernels = [
        elementwise(op.name, length * width, inputs=2),
        elementwise(op.name, 3 * length * width, family="concat"),
    ]
    widths = op.unit_widths(shapes)
    for inner, outer in zip(widths, widths[1:], strict=False):
        kernels.append(fc(op.name, length, inner, outer))
        if outer != 1:
            kernels.append(elementwise(op.name, length * outer, family="activation"))
    return [*kernels, _batch_matmul(op.name, 1, 1, length, width)]


def _attention_scores(op: ops.AttentionScores, shapes: Mapping[str, Shape]) -> list[Kernel]:
    """Candidate through the bilinear form once, then one dot product a state, then softmax."""
    length, width = shapes[op.states]
    return [
        fc(op.name, 1, shapes[op.candidate].width, width),
        _batch_matmul(op.name, 1, length, width, 1),
        _softmax(op.name, 1, length),
    ]


def _attention(op: ops.Attention, shapes: Mapping[str, Shape]) -> list[Kernel]:
    query, key = shapes[op.query], shapes[op.key or op.query]
    inner = op.inner_width(shapes)
    head = inner // op.num_heads
    kernels: list[Kernel] = []
    if op.projected:
        kernels.append(fc(op.name, query.length, query.width, inner))
        kernels += [fc(op.name, key.length, key.width, inner)] * 2
    kernels += [
        _batch_matmul(op.name, op.num_heads, query.length, head, key.length),
        _softmax(op.name, op.num_heads * query.length, key.length),
        _batch_matmul(op.name, op.num_heads, query.length, key.length, head),
    ]
    if op.projected:
        kernels.append(fc(op.name, query.length, inner, query.width))
    return kernels


def _recurrent(op: ops.Recurrent, shapes: Mapping[str, Shape]) -> list[Kernel]:
    """Input products of all steps at once; then, step by step, the hidden product and the gates."""
    steps, width = shapes[op.input]
    gates = op.num_gates * op.hidden_size
    hidden = Kernel(
        operator=op.name,
        family="recurrent",
        calls=steps,
        steps=steps,
        flop_per_item=2.0 * op.hidden_size * gates + GATE_FLOP * gates,
        read_bytes_per_item=float(ELEMENT_BYTES * (op.hidden_size + gates)),
        written_bytes_per_item=float(ELEMENT_BYTES * (op.hidden_size + gates)),
        product=Product(rows_per_item=1.0, inner=op.hidden_size, outer=gates),
    )
    projected = Kernel(
        operator=op.name,
        family="recurrent",
        calls=1,
        flop_per_item=2.0 * steps * width * gates,
        read_bytes_per_item=float(ELEMENT_BYTES * steps * width),
        written_bytes_per_item=float(ELEMENT_BYTES * steps * gates),
        product=Product(rows_per_item=float(steps), inner=width, outer=gates),
    )
    return [projected, hidden]


def _cross(op: ops.Cross, shapes: Mapping[str, Shape]) -> list[Kernel]:
    width = shapes[op.input].width
    kernels: list[Kernel] = []
    for _ in range(op.num_layers):
        if op.rank is None:
            kernels.append(fc(op.name, 1, width, width))
        else:
            kernels += [fc(op.name, 1, width, op.rank), fc(op.name, 1, op.rank, width)]
        kernels.append(elementwise(op.name, width, inputs=3))
    return kernels


_LOWERINGS: dict[type, Callable[[Any, Mapping[str, Shape]], list[Kernel]]] = {
    ops.Mlp: _mlp,
    ops.EmbeddingBag: _embedding_bag,
    ops.Sum: _sum,
    ops.DotInteraction: _dot_interaction,
    ops.Activation: _activation_operator,
    ops.Softmax: _softmax_operator,
    ops.LocalActivation: _local_activation,
    ops.AttentionScores: _attention_scores,
    ops.Attention: _attention,
    ops.Recurrent: _recurrent,
    ops.Cross: _cross,
}


def gemm_flop_per_item(model: RecModel) -> float:
    """FLOP of all matrix products for one item, as the published counts take them. [FLOP/item]"""
    total = 0.0
    for kernel in lower(model):
        if kernel.product is not None:
            product = kernel.product
            total += kernel.calls * 2.0 * product.rows_per_item * product.inner * product.outer
    return total
