"""Operators to framework calls: which a model makes for one batch, and the kernels that they are.

`walk_over` goes over the graph; `simple_operators`, `sequence_operators` and `tensor_operators` hold one
function for each operator. Layers in one operator become kernels of their own, as the papers count them: FC
apart from its activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.costmodel import calls, sequence_operators, simple_operators, tensor_operators
from perfmodel.costmodel.kernels import ELEMENT_BYTES, INDEX_BYTES, Kernel
from perfmodel.costmodel.walk import Value, Values, Walk
from perfmodel.domain import operators as ops
from perfmodel.domain.model import DENSE, QUERY_DENSE, RecModel
from perfmodel.domain.shapes import DeviceKind

_LOWERINGS: Mapping[type, Callable[[Any, Walk], Values]] = {
    **simple_operators.LOWERINGS,
    **sequence_operators.LOWERINGS,
    **tensor_operators.LOWERINGS,
}


def lower(model: RecModel, on: DeviceKind = "cpu") -> tuple[Kernel, ...]:
    """Return the kernels of one forward pass, in execution order.

    Operators of the query become kernels of the query; what other operators read of it, `Walk.call` counts.

    Source: one kernel for each call that PyTorch, and Caffe2 before it, makes for an operator; the functions
    of `simple_operators` and `sequence_operators` say which.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit (validation has seen to it).
    on : {"cpu", "gpu"}, default "cpu"
        What runs it: a card leaves out what only cores do.

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
    return tuple(walk_over(model, on).kernels)


def walk_over(model: RecModel, on: DeviceKind = "cpu") -> Walk:
    """Return the calls of one forward pass, their operands, and the kernels that they carry out.

    What works for an item and reads the query alone has its operands repeated for each item first.

    Source: as `lower`, which gives the kernels of it; `calibration/runtime` binds the calls to PyTorch.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit.
    on : {"cpu", "gpu"}, default "cpu"
        What runs it; slots are the same on either, so that inputs drawn for one do for the other.

    Examples
    --------
    >>> top = ops.Mlp(name="top", kind="mlp", input="dense", widths=(4, 8), final_activation="relu")
    >>> walk = walk_over(RecModel(name="tiny", dense_features=4, operators=(top,)))
    >>> [(call.name, call.reads, call.writes, call.kernels) for call in walk.calls]
    [('linear', (0,), 1, (1,)), ('activation', (1,), 2, (2,))]
    """
    walk = Walk(model.shapes(), _input_kernels(model), model.operators[0])
    if model.dense_features:
        walk.dense = walk.given(DENSE, is_query=False)
    if model.query_dense_features:
        walk.query_dense = walk.given(QUERY_DENSE, is_query=True)
    for operator in model.operators:
        _put_down(operator, walk)
    if elsewhere := {op.name for op in model.embedding_operators if op.only_on not in (None, on)}:
        walk.leave_out(elsewhere)
    return walk


def _put_down(operator: ops.Operator, walk: Walk) -> None:
    walk.operator = operator
    read = {name: walk.results[name] for name in operator.reads()}
    alone = bool(read) and all(value.is_query for values in read.values() for value in values)
    if alone and operator.scope == "item":
        for name, values in read.items():
            walk.results[name] = tuple(walk.repeat(value) for value in values)
    result = _LOWERINGS[type(operator)](operator, walk)
    walk.results |= read
    if len(result) == 1:
        shape = walk.shapes[operator.name]
        result = (Value(result[0].slot, shape.elements, operator.scope == "query"),)
        if shape.length == 1 and isinstance(operator, _SEQUENCES) and walk.calls:
            last = walk.calls[-1]
            walk.calls[-1] = last._replace(gives_vector=last.writes == result[0].slot)
    walk.results[operator.name] = result


_SEQUENCES = (ops.EmbeddingBag, ops.Concat, ops.BatchMatmul, ops.Attention)
"""Operators that give sequences, of one vector too."""


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
    ids = [op for op in model.operators if isinstance(op, ops.Ids)]
    return [
        *kernels,
        *index_kernels(model),
        *(_index_kernel(_as_table(op), op.scope) for op in ids),
    ]


def index_kernels(model: RecModel) -> tuple[Kernel, ...]:
    """Return those of `lower` that convert the indices of tables: one for each list of equal tables.

    Source: `lower`; indices that are a result of the model are none of them.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit.
    """
    return tuple(
        _index_kernel(table, op.scope)
        for op in model.embedding_operators
        for table in op.tables
        if table.indices is None
    )


def index_kernels_of_tables_alone(model: RecModel) -> tuple[Kernel, ...]:
    """Return those of `lower` that convert indices that tables alone read, be it several.

    Source: `lower`.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit.
    """
    others = {name for op in model.operators if not isinstance(op, ops.EmbeddingBag) for name in op.reads()}
    of_tables = {table.indices for op in model.embedding_operators for table in op.tables} - others
    ids = (op for op in model.operators if isinstance(op, ops.Ids) and op.name in of_tables)
    return (*index_kernels(model), *(_index_kernel(_as_table(op), op.scope) for op in ids))


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
