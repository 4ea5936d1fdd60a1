"""Recognise calls that choose elements: rows of tables, pooled or not, and copies of chosen results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from calibration.importing.builder import Builder, is_activation, shape_of
from calibration.importing.pointwise import call_name, numbers, one_call
from calibration.importing.values import AnyValue, Constant, Index, Joined, Pairs, Result, Several
from perfmodel.domain import operators as ops


def embedding(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Rows of a table, each a vector of its own."""
    table, index = given[0], given[1]
    table = _as_table(table, node, index, to)
    if is_activation(table):
        return one_call(node, [to.part(table, elements_of(node, to), ("rows", node.name))], to, "gather")
    if not isinstance(table, Constant):
        return None
    lookups = math.prod(shape_of(node.args[1])) / to.units
    if lookups != int(lookups) and isinstance(index, Index) and index.result is not None:
        return lookup(
            node, table, index, lookups, to, pooling="sum"
        )  # of different ids, as many as there are
    return lookup(node, table, index, lookups, to)


def _as_table(value: Any, node: fx.Node, index: Any, to: Builder) -> Any:
    """What is computed of weights alone is a table of that size, where the request asks for its rows."""
    if not (is_activation(value) and isinstance(index, Index)):
        return value
    rows = shape_of(node.args[0])
    is_table = len(rows) > 1 and to.source(value) in to.of_weights
    return Constant(rows, to.settle(value).name) if is_table else value


def embedding_bag(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Rows of a table, pooled to one vector an item; the other results are of use in training only."""
    table, index = given[0], given[1]
    if not isinstance(table, Constant):
        return None
    mode = argument(node, given, "mode", 0)
    weights = argument(node, given, "per_sample_weights")
    bags, rest = divmod(_bags(node), to.units)
    if rest or not bags:
        return None
    lookups = math.prod(shape_of(node.args[1])) / (to.units * bags)
    weighted: dict[str, Any] = {}
    if weights is not None:
        read = to.as_activation(weights)
        if read is None:
            return None
        weighted = {"weights": to.read_all(read)}
    found = lookup(
        node, table, index, lookups, to, pooling=("sum", "mean", "max")[mode], count=bags, **weighted
    )
    return None if found is None else Several((found, Index(0.0), Index(0.0), Index(0.0)))


def packed_bag(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Rows of a table of bytes, each with a scale, pooled; without offsets, where each list is a row."""
    found = embedding_bag(node, given, to)
    return found.members[0] if isinstance(found, Several) else None


def indexed(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Elements at given places: rows of weights, or a copy of some elements of a result."""
    name = call_name(node)
    asked = next((leaf for leaf in tree_leaves(list(given[1:])) if isinstance(leaf, Index)), None)
    x = _as_table(given[0], node, asked, to)
    if isinstance(x, Constant):
        indices = [leaf for leaf in tree_leaves(list(given[1:])) if isinstance(leaf, (Index, Constant))]
        if not indices or x.is_made or not (x.name or _is_asked_for(node, indices)):
            return numbers(node, given, to)  # places in numbers that are no weights, such as a mask's
        dims = _indexed_dims(given, x, name)
        num_rows = math.prod(x.shape[dim] for dim in dims)
        dim = 1 if name in ("gather", "take", "take_along_dim") else math.prod(x.shape) // num_rows
        seen = Constant((num_rows, dim), x.name, x.element_bytes, key=x.key)
        index = next((index for index in indices if isinstance(index, Index)), indices[0])
        return lookup(node, seen, index, math.prod(shape_of(node)) / (dim * to.units), to)
    if isinstance(x, Index):
        return numbers(node, given, to)
    return gathered(node, given, to)


def _is_asked_for(node: fx.Node, indices: Sequence[Any]) -> bool:
    """Whether ids of the request choose among what is computed of weights, such as normalised rows."""
    value = node.args[0].meta.get("val") if isinstance(node.args[0], fx.Node) else None
    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point or value.dim() < 2:
        return False
    return any(isinstance(index, Index) for index in indices)


def _indexed_dims(given: Sequence[Any], x: Constant, name: str) -> list[int]:
    """Dimensions of weights that an index chooses from."""
    if name == "index":
        return [dim for dim, index in enumerate(given[1]) if index is not None]
    if name in ("take", "take_along_dim", "masked_select"):
        return list(range(len(x.shape)))
    return [int(given[1]) % len(x.shape)] if name == "index_select" else list(range(len(x.shape)))


def gathered(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Chosen elements copied; one triangle of all pairs is the rest of a dot interaction."""
    x = given[0]
    kept, rest = divmod(math.prod(shape_of(node)), to.units)
    if not is_activation(x) or rest or not kept:
        return None
    if isinstance(x, Pairs) and kept in _triangles(x.num_vectors):
        inputs = _vectors(x, to)
        with_self = kept == _triangles(x.num_vectors)[1]
        return to.emit(
            ops.DotInteraction,
            "bmm",
            x.label,
            kind="dot_interaction",
            inputs=inputs,
            with_self=with_self,
        )
    masks = [leaf for leaf in tree_leaves(list(given[1:])) if isinstance(leaf, Index)]
    return one_call(node, [to.part(x, kept, ("gather", node.name))], to, "gather", masks)


def lookup(
    node: fx.Node,
    table: Constant,
    index: Any,
    lookups: float,
    to: Builder,
    *,
    pooling: str = "none",
    count: int = 1,
    **fields: Any,
) -> Result | None:
    """Rows of a table at the places that an index says; where it is no index of the request, its operator."""
    source = to.as_activation(index)
    if lookups <= 0 or source is None or (pooling == "none" and lookups != int(lookups)):
        return None
    num_rows, dim = table.shape[0], math.prod(table.shape[1:])
    entry = ops.EmbeddingTable(
        num_rows=num_rows,
        dim=dim,
        pooling_factor=lookups,
        count=count,
        element_bytes=table.element_bytes,
        indices=to.read_all(source),
    )
    result = to.emit(
        ops.EmbeddingBag,
        call_name(node),
        to.label(node, table),
        kind="embedding_bag",
        tables=(entry,),
        pooling=pooling,
        **fields,
    )
    to.used(table, result)
    return result


def argument(node: fx.Node, given: Sequence[Any], name: str, default: Any = None) -> Any:
    """An argument by its name, wherever it stands."""
    schema = getattr(node.target, "_schema", None)
    for index, known in enumerate(schema.arguments if schema else ()):
        if known.name == name:
            return given[index] if index < len(given) else node.kwargs.get(name, default)
    return default


def elements_of(node: fx.Node, to: Builder) -> int:
    """Elements of a result, of one item or of the query; 0 where they do not divide."""
    elements, rest = divmod(math.prod(shape_of(node)), to.units)
    return 0 if rest else elements


def _bags(node: fx.Node) -> int:
    """Bags that an embedding bag pools in the batch: the rows of its first result."""
    values = node.meta.get("val")
    if values is None:
        first = next(user for user in node.users if user.args[1] == 0)
        return shape_of(first)[0]
    first = values[0] if isinstance(values, (list, tuple)) else values
    return int(first.shape[0])


def _vectors(pairs: Pairs, to: Builder) -> tuple[str, ...]:
    """Results whose vectors interact: the joined ones, which the interaction itself stacks."""
    parts = pairs.vectors.parts if isinstance(pairs.vectors, Joined) else (pairs.vectors,)
    return tuple(to.read(part, part.elements // pairs.width, pairs.width) for part in parts)


def _triangles(n: int) -> tuple[int, int]:
    """Pairs without and with those of a vector with itself."""
    return n * (n - 1) // 2, n * (n + 1) // 2
