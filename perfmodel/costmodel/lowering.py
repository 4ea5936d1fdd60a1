"""Operators to kernels: which framework calls a model makes for one batch.

`lower` walks the graph; `simple_operators` and `sequence_operators` hold one function for each operator.
Layers in one operator become kernels of their own, as the papers count them: FC apart from its activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.costmodel import calls
from perfmodel.costmodel import sequence_operators as sequence
from perfmodel.costmodel import simple_operators as simple
from perfmodel.costmodel.kernels import ELEMENT_BYTES, INDEX_BYTES, Kernel
from perfmodel.domain import operators as ops
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Shapes

_LOWERINGS: Mapping[type, Callable[[Any, Shapes], list[Kernel]]] = {
    ops.Mlp: simple.mlp,
    ops.EmbeddingBag: simple.embedding_bag,
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
    shapes = model.shapes()
    pieces = _pieces(model)
    kernels = _input_kernels(model)
    for operator in model.operators:
        if isinstance(operator, ops.Concat):
            joined = sum(pieces.get(name, 1) for name in operator.inputs)
            kernels.append(simple.concat(operator, shapes, joined))
        elif isinstance(operator, ops.Sum):
            kernels.append(simple.add(operator, shapes, sum(pieces.get(name, 1) for name in operator.inputs)))
        else:
            kernels += _LOWERINGS[type(operator)](operator, shapes)
    return tuple(kernels)


def gemm_flop_per_item(model: RecModel) -> float:
    """FLOP of all matrix products with weights, as the published counts take them. [FLOP/item]

    F = sum over products of 2 r k n: biases, activations and batched products of activations left out.

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
    total = 0.0
    for kernel in lower(model):
        if kernel.product is not None:
            product = kernel.product
            total += kernel.calls * 2.0 * product.rows_per_item * product.inner * product.outer
    return total


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
    tables = [table for op in model.embedding_operators for table in op.tables]
    return [*kernels, *(_index_kernel(table) for table in tables)]


def _index_kernel(table: ops.EmbeddingTable) -> Kernel:
    return Kernel(
        operator="input",
        family="input",
        calls=table.count,
        read_bytes_per_item=table.pooling_factor * INDEX_BYTES,
        gather=calls.gather(table, pooled=True),
        pieces=2,
    )
