"""Recognise calls that move or combine elements: lookups, joins, views, elementwise functions, reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import fx

from calibration.importing.builder import Builder, is_activation, shape_of
from calibration.importing.pointwise import Handler, call_name, elementwise, one_call
from calibration.importing.values import AnyValue, Constant, Index, Joined, Pairs, Result, Several
from perfmodel.domain import operators as ops


def embedding(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Rows of a table, each a vector of its own."""
    table, index = given[0], given[1]
    if not isinstance(index, Index):
        return None
    return _lookup(node, table, index.elements, to, pooling="none")


def embedding_bag(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Rows of a table, pooled to one vector an item; the other results are of use in training only."""
    table, index = given[0], given[1]
    if not isinstance(index, Index) or not isinstance(table, Constant):
        return None
    bags = int(_bags(node))
    if bags % to.batch_size:
        return None
    per_item = bags // to.batch_size
    found = _lookup(node, table, index.elements / per_item, to, pooling="sum", count=per_item)
    return None if found is None else Several((found, Index(0.0), Index(0.0), Index(0.0)))


def join(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Results side by side or one after the other, which its reader's shape will say."""
    parts = given[0]
    if not parts or not all(is_activation(part) for part in parts):
        return None
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Joined) else (part,))]
    joined = Joined(tuple(flat), to.label(node), call_name(node))
    return joined if len(flat) > 1 else flat[0]


def view(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """The same elements, or some of them, or the same ones repeated: free, unless they have to move."""
    x = given[0]
    if isinstance(x, Constant):
        return Constant(shape_of(node), x.name, x.element_bytes)
    elements = math.prod(shape_of(node)) / to.batch_size
    if isinstance(x, Index):
        return Index(elements)
    if not is_activation(x) or elements != int(elements) or not elements:
        return None
    seen = to.part(x, int(elements))
    return one_call(node, [seen], to, "copy") if _copies(node) else seen


def gathered(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Chosen elements copied; one triangle of all pairs is the rest of a dot interaction."""
    x = given[0]
    kept = math.prod(shape_of(node)) // to.batch_size
    if not is_activation(x) or kept * to.batch_size != math.prod(shape_of(node)):
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
    return one_call(node, [to.part(x, kept)], to, "gather")


def split(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Parts of a result, seen in place."""
    x = given[0]
    pieces = [math.prod(piece.shape) / to.batch_size for piece in node.meta["val"]]
    if isinstance(x, Index):
        return Several(tuple(Index(piece) for piece in pieces))
    if not is_activation(x) or any(piece != int(piece) for piece in pieces):
        return None
    if isinstance(x, Joined) and [part.elements for part in x.parts] == pieces:
        return Several(x.parts)
    return Several(tuple(to.part(x, int(piece)) for piece in pieces))


def activation(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Functions that layers commonly end in."""
    per_item = to.per_item(node)
    if per_item is None or not is_activation(given[0]):
        return None
    function, name = call_name(node), to.read(given[0], *per_item)
    return to.emit(ops.Activation, function, to.label(node), kind="activation", function=function, input=name)


def softmax(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Over one dimension, whose elements are taken for neighbours."""
    shape = shape_of(node)
    width = shape[given[1]]
    rows, rest = divmod(math.prod(shape), to.batch_size * width)
    if rest or not is_activation(given[0]):
        return None
    name = to.read(given[0], rows, width)
    return to.emit(ops.Softmax, call_name(node), to.label(node), kind="softmax", input=name)


def add(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A sum of results of one shape; anything else is elementwise."""
    operands = [value for value in given if is_activation(value)]
    sizes = {operand.elements for operand in operands}
    per_item = to.per_item(node)
    if len(operands) < 2 or len(sizes) > 1 or per_item is None:
        return elementwise(node, given, to)
    names = tuple(to.read(operand, *per_item) for operand in operands)
    return to.emit(ops.Sum, "add", to.label(node), kind="sum", inputs=names)


def reduction(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A sum, mean or maximum over dimensions: its vectors to one."""
    x, out = given[0], math.prod(shape_of(node)) // to.batch_size
    if not is_activation(x) or not out or x.elements % out:
        return None
    if x.elements == out:
        return x  # type: ignore[no-any-return]  # `is_activation` has told, but not mypy
    name = to.read(x, x.elements // out, out)
    return to.emit(ops.Sum, call_name(node), to.label(node), kind="sum", inputs=(name,))


def _lookup(
    node: fx.Node, table: Any, lookups: float, to: Builder, *, pooling: str, count: int = 1
) -> Result | None:
    if not isinstance(table, Constant) or lookups <= 0 or (pooling == "none" and lookups != int(lookups)):
        return None
    num_rows, dim = table.shape
    tables = (
        ops.EmbeddingTable(
            num_rows=num_rows,
            dim=dim,
            pooling_factor=lookups,
            count=count,
            element_bytes=table.element_bytes,
        ),
    )
    label = to.label(node, table)
    return to.emit(
        ops.EmbeddingBag, call_name(node), label, kind="embedding_bag", tables=tables, pooling=pooling
    )


def _bags(node: fx.Node) -> int:
    """Bags that an embedding bag pools in the batch: the rows of its first result."""
    values = node.meta.get("val")
    if values is None:
        first = next(user for user in node.users if user.args[1] == 0)
        return shape_of(first)[0]
    return int(values[0].shape[0])


def _vectors(pairs: Pairs, to: Builder) -> tuple[str, ...]:
    """Results whose vectors interact: the joined ones, which the interaction itself stacks."""
    parts = pairs.vectors.parts if isinstance(pairs.vectors, Joined) else (pairs.vectors,)
    return tuple(to.read(part, part.elements // pairs.width, pairs.width) for part in parts)


def _triangles(n: int) -> tuple[int, int]:
    """Pairs without and with those of a vector with itself."""
    return n * (n - 1) // 2, n * (n + 1) // 2


def _copies(node: fx.Node) -> bool:
    """Say whether the elements move: a reshape that no view can make, or a copy of strided elements."""
    source, name = node.args[0], call_name(node)
    if not isinstance(source, fx.Node) or not isinstance(source.meta.get("val"), torch.Tensor):
        return False
    value: torch.Tensor = source.meta["val"]
    if name == "contiguous":
        return not value.is_contiguous()
    if name in ("clone", "repeat", "repeat_interleave"):
        return True
    if name not in ("reshape", "flatten"):
        return False
    try:
        value.view(shape_of(node))
    except (RuntimeError, ValueError):
        return True
    return False


_FREE = (
    "view _unsafe_view reshape flatten unflatten transpose permute t numpy_T mT movedim swapaxes unsqueeze "
    "squeeze expand expand_as select slice narrow detach detach alias contiguous clone dropout alpha_dropout "
    "feature_dropout to _to_copy lift_fresh lift_fresh_copy repeat repeat_interleave diagonal view_as "
    "reshape_as identity type_as"
)
_NORMS = "layer_norm batch_norm group_norm rms_norm instance_norm _native_batch_norm_legit native_layer_norm"
_REDUCTIONS = "sum mean amax amin max min prod logsumexp norm linalg_vector_norm var std all any"

CALLS: Mapping[str, Handler] = {
    "embedding": embedding,
    "embedding_bag": embedding_bag,
    "_embedding_bag_forward_only": embedding_bag,
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "column_stack"), join),
    **dict.fromkeys(_FREE.split(), view),
    **dict.fromkeys(("index", "index_select", "gather", "masked_select", "take_along_dim", "take"), gathered),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unbind", "tensor_split"), split),
    **dict.fromkeys(set(get_args(ops.Function)) - {"none"}, activation),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    "add": add,
    **dict.fromkeys(_NORMS.split(), elementwise),
    **dict.fromkeys(_REDUCTIONS.split(), reduction),
}
"""Handlers of all other calls by the name of the ATen operator; pointwise ones need no entry."""
