"""What a model computes, reads and holds: for each item, and once for the query."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import RecModel


class ModelCounts(NamedTuple):
    """Counts of one model.

    Attributes
    ----------
    flop_per_item, flop_per_query : float
        Arithmetic of all calls. [FLOP/item], [FLOP/query]
    bytes_per_item, bytes_per_query : float
        Rows, operands and results, weights left out. [bytes/item], [bytes/query]
    lookups_per_item, lookups_per_query : float
        Embedding rows. [lookups/item], [lookups/query]
    parameters : int
        Weights and biases, embedding tables left out. [elements]
    table_bytes : float
        Memory of the embedding tables. [bytes]
    """

    flop_per_item: float
    flop_per_query: float
    bytes_per_item: float
    bytes_per_query: float
    lookups_per_item: float
    lookups_per_query: float
    parameters: int
    table_bytes: float


def model_counts(model: RecModel) -> ModelCounts:
    """Count what a pass of a model does on a CPU, whose the work is, and what the model holds.

    Derived here: sums over `lower`'s kernels by scope, input conversion left out; results of the query that
    items read count once a query.

    Parameters
    ----------
    model : RecModel
        A model whose shapes fit.
    """
    kernels = [kernel for kernel in lower(model) if kernel.family != "input"]
    of_items = [kernel for kernel in kernels if kernel.scope == "item"]
    of_query = [kernel for kernel in kernels if kernel.scope == "query"]
    read_once = sum(kernel.calls * kernel.read_bytes_per_query for kernel in of_items)
    return ModelCounts(
        flop_per_item=_flop(of_items),
        flop_per_query=_flop(of_query),
        bytes_per_item=_moved_bytes(of_items),
        bytes_per_query=_moved_bytes(of_query) + read_once,
        lookups_per_item=model.lookups_per_item,
        lookups_per_query=model.lookups_per_query,
        parameters=model.dense_parameter_bytes // 4,
        table_bytes=model.embedding_bytes,
    )


def _flop(kernels: list[Kernel]) -> float:
    return float(sum(kernel.calls * kernel.flop_per_item for kernel in kernels))


def _moved_bytes(kernels: list[Kernel]) -> float:
    return float(sum(kernel.calls * kernel.activation_bytes_per_item for kernel in kernels))
