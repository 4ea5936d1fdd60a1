"""Operators to kernels: which framework calls a model makes for one batch.

`lower` walks the graph; `simple_operators` and `sequence_operators` hold one function for each operator.
Layers in one operator become kernels of their own, as the papers count them: FC apart from its activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from perfmodel.costmodel import calls
from perfmodel.costmodel import sequence_operators as sequence
from perfmodel.costmodel import simple_operators as simple
from perfmodel.costmodel.broadcast import broadcast
from perfmodel.costmodel.kernels import ELEMENT_BYTES, INDEX_BYTES, Kernel
from perfmodel.domain import operators as ops
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Shapes

_LOWERINGS: Mapping[type, Callable[[Any, Shapes], list[Kernel]]] = {
    ops.Mlp: simple.mlp,
    ops.EmbeddingBag: simple.embedding_bag,
    ops.Ids: simple.nothing,
    ops.Parameters: simple.nothing,
    ops.DotInteraction: simple.dot_interaction,
    ops.Activation: simple.activation,
    ops.Softmax: simple.softmax,
    ops.Cross: simple.cross,
    ops.View: simple.view,
    ops.Elementwise: simple.elementwise,
    ops.BatchMatmul: simple.batch_matmul,
    ops.LocalActivation: sequence.local_activation,
    ops.AttentionScores: sequence.attention_scores,
    ops.Attention: sequence.attention,
    ops.Recurrent: sequence.recurrent,
}


def lower(model: RecModel) -> tuple[Kernel, ...]:
    """Return the kernels of one forward pass, in execution order.

    Operators of the query become kernels of the query; what other operators read of it, `broadcast` counts.

    Source: one kernel for each call that PyTorch, and Caffe2 before it, makes for an operator; the functions
    of `simple_operators` and `sequence_operators` say which.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit (validation has seen to it).

    Returns
    -------
    tuple of Kernel
        Input handling first (family `input`), then the operators' kernels.

    Examples
    --------
    >>> top = ops.Mlp(name="top", kind="mlp", input="dense", widths=(4, 8, 1), final_activation="none")
    >>> model = RecModel(name="tiny", dense_features=4, operators=(top,))
    >>> [f"{kernel.operator} {kernel.family}" for kernel in lower(model)]
    ['input input', 'top fc', 'top.relu activation', 'top fc']
    """
    shapes, scopes = model.shapes(), model.scopes
    pieces = _pieces(model)
    kernels = _input_kernels(model)
    for operator in model.operators:
        if isinstance(operator, ops.Concat):
            joined = sum(pieces.get(name, 1) for name in operator.inputs)
            own = [simple.concat(operator, shapes, joined)]
        elif isinstance(operator, ops.Sum):
            own = [simple.add(operator, shapes, sum(pieces.get(name, 1) for name in operator.inputs))]
        else:
            own = _LOWERINGS[type(operator)](operator, shapes)
        if operator.scope == "query":
            kernels += [replace(kernel, scope="query") for kernel in own]
        else:
            shared = {name for name in operator.reads() if scopes[name] == "query"}
            kernels += broadcast(operator, own, shapes, shared) if shared else own
    return tuple(kernels)


def gemm_flop_per_item(model: RecModel) -> float:
    """FLOP of all matrix products with weights, as the published counts take them. [FLOP/item]

    F = sum over products of 2 r k n: biases, activations, products of activations, and work of the query
    (`gemm_flop_per_query`) left out.

    Derived here: as `calls.fc`; `tests/validation/test_model_counts.py` holds it to the models as published.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit.

    Examples
    --------
    >>> top = ops.Mlp(name="top", kind="mlp", input="dense", widths=(4, 8, 1))
    >>> gemm_flop_per_item(RecModel(name="tiny", dense_features=4, operators=(top,)))  # 2 (4x8 + 8x1)
    80.0
    """
    return _gemm_flop(model, "item")


def gemm_flop_per_query(model: RecModel) -> float:
    """FLOP of the matrix products with weights that belong to the query. [FLOP/query]

    Derived here: as `gemm_flop_per_item`.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit.
    """
    return _gemm_flop(model, "query")


def _gemm_flop(model: RecModel, scope: ops.Scope) -> float:
    total = 0.0
    for kernel in lower(model):
        product = kernel.product
        if product is not None and product.is_weight and kernel.scope == scope:
            total += kernel.calls * 2.0 * product.rows_per_item * product.inner * product.outer
    return total


def _pieces(model: RecModel) -> dict[str, int]:
    """Tensors that each pooled lookup hands on: one a table, which a concat then joins one by one."""
    return {
        op.name: sum(table.count for table in op.tables)
        for op in model.embedding_operators
        if op.pooling != "none"
    }


def _input_kernels(model: RecModel) -> list[Kernel]:
    """Conversion and feeding: a tensor of indices and one of lengths for each table, dense tensors."""
    widths: tuple[tuple[int, ops.Scope], ...] = (
        (model.dense_features, "item"),
        (model.query_dense_features, "query"),
    )
    kernels = [
        Kernel(
            operator="input",
            family="input",
            read_bytes_per_item=float(ELEMENT_BYTES * width),
            pieces=1,
            scope=scope,
        )
        for width, scope in widths
        if width
    ]
    tables = [
        (table, op.scope) for op in model.embedding_operators for table in op.tables if table.indices is None
    ]
    ids = [op for op in model.operators if isinstance(op, ops.Ids)]
    return [
        *kernels,
        *(_index_kernel(table, scope) for table, scope in tables),
        *(_index_kernel(_as_table(op), op.scope) for op in ids),
    ]


def _as_table(ids: ops.Ids) -> ops.EmbeddingTable:
    """The lists of ids, as if they were those of one table: what it has for rows is never looked at."""
    return ops.EmbeddingTable(num_rows=1, dim=1, pooling_factor=ids.count)


def _index_kernel(table: ops.EmbeddingTable, scope: ops.Scope) -> Kernel:
    return Kernel(
        operator="input",
        family="input",
        calls=table.count,
        read_bytes_per_item=table.pooling_factor * INDEX_BYTES,
        gather=calls.gather(table, pooled=True, scope=scope),
        pieces=2,
        scope=scope,
    )
