"""Recognise calls that move or combine elements: lookups, joins, views, elementwise functions, reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from calibration.importing.builder import Builder, holds_ids, is_activation, shape_of, unrepeated
from calibration.importing.lookups import argument, elements_of, embedding, embedding_bag, indexed, packed_bag
from calibration.importing.pointwise import Handler, call_name, elementwise, numbers, one_call
from calibration.importing.values import (
    AnyValue,
    Constant,
    Index,
    Joined,
    Key,
    Result,
    Several,
    Value,
)
from perfmodel.domain import operators as ops
from perfmodel.domain.tensor_operators import LayerNorm


def join(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Results side by side or one after the other, which its reader's shape will say."""
    parts = given[0]
    if not parts or not any(is_activation(part) for part in parts):
        return numbers(node, given, to) if parts else None
    seen = [value for part in parts if (value := _joinable(part, to)) is not None]
    if len(seen) < len(parts):
        return None
    flat = [
        inner
        for part in seen
        for inner in (part.parts if isinstance(part, Joined) and part.scope == to.scope else (part,))
    ]
    joined = Joined(tuple(flat), to.label(node), call_name(node), to.scope)
    return joined if len(flat) > 1 else flat[0]


def _joinable(part: Any, to: Builder) -> Value | None:
    """An operand of a join, of which each item has a copy where the join is made for items."""
    value = to.as_activation(part)
    return None if value is None else to.part(value, value.elements)


def view(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """The same elements, or some of them, or the same ones repeated: free, unless they have to move."""
    x = given[0]
    key = selection(node, given)
    if isinstance(x, Constant):
        shape = shape_of(node)
        size, place = x.element_bytes, x.key + key
        return Constant(
            shape, x.name, size, to.are_items(shape), place, x.is_index, is_repeated=unrepeated(node) != shape
        )
    elements = math.prod(shape_of(node)) / to.units
    if isinstance(x, Index):
        if not elements:
            return None
        return Index(elements, to.scope, x.origin, x.key + key, x.result)
    if not is_activation(x) or elements != int(elements) or not elements:
        return None
    seen = to.part(x, int(elements), key)
    return one_call(node, [seen], to, "copy") if _copies(node) else seen


def converted(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Another type of the same numbers: a copy, and numbers that become ids where the type is whole."""
    source, target = given[0], node.meta.get("val")
    before = node.args[0].meta.get("val") if isinstance(node.args[0], fx.Node) else None
    if not isinstance(target, torch.Tensor) or not isinstance(before, torch.Tensor):
        return None
    if target.dtype == before.dtype:
        return view(node, given, to)
    if isinstance(source, Constant):
        return Constant(shape_of(node), source.name, source.element_bytes, source.items, source.key)
    is_whole = holds_ids(target)
    if isinstance(source, Index):
        return source if is_whole else numbers(node, given, to)
    if before.dtype == torch.float16 and target.dtype == torch.float32 and _is_looked_up(source, to):
        return view(node, given, to)  # what lookups in such a table were measured with
    result = one_call(node, [source], to, "to")
    if result is None or not is_whole:
        return result
    return Index(float(result.elements), to.scope, result=to.settle(result))


def _is_looked_up(source: AnyValue, to: Builder) -> bool:
    """Whether it is what a lookup gives."""
    if not isinstance(source, Result):
        return False
    made = next((op for op in reversed(to.operators) if op.name == source.name), None)
    return isinstance(made, ops.EmbeddingBag)


def split(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Parts of a result, seen in place."""
    x = given[0]
    shapes = [tuple(piece.shape) for piece in node.meta["val"]]
    key = selection(node, given)
    if isinstance(x, Constant):
        return Several(
            tuple(
                Constant(
                    shape, x.name, x.element_bytes, to.are_items(shape), (*x.key, *key, place), x.is_index
                )
                for place, shape in enumerate(shapes)
            )
        )
    pieces = [math.prod(shape) / to.units for shape in shapes]
    if isinstance(x, Index):
        return Several(
            tuple(
                Index(piece, to.scope, x.origin, (*x.key, *key, place), x.result)
                for place, piece in enumerate(pieces)
            )
        )
    if not is_activation(x) or any(piece != int(piece) for piece in pieces):
        return None
    if isinstance(x, Joined) and [part.elements for part in x.parts] == pieces:
        return Several(x.parts)
    return Several(tuple(to.part(x, int(piece), (*key, place)) for place, piece in enumerate(pieces)))


def reversed_order(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """Elements moved, padded, sorted or summed along the way: each read and written once or so."""
    x = given[0]
    if isinstance(x, Index):
        return numbers(node, given, to)
    return elementwise(node, given, to)


def combined(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """What is copied into a place of another tensor: the whole of it is then what both hold."""
    values = [leaf for leaf in tree_leaves(list(given)) if is_activation(leaf)]
    if not values:
        return numbers(node, given, to)
    elements = elements_of(node, to)
    largest = max(values, key=lambda value: value.elements)
    return one_call(node, [to.part(largest, elements)], to, call_name(node))


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
    if isinstance(given[0], Index):
        return numbers(node, given, to)
    width = shape[given[1]]
    if to.scope == "item" and to.is_distinctive and width % to.units == 0:
        return elementwise(node, given, to)  # over all items of the batch
    rows, rest = divmod(math.prod(shape), to.units * width)
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
    x = given[0]
    if isinstance(x, Index):
        return numbers(node, given, to)
    outputs = [leaf for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)]
    if not outputs or not is_activation(x):
        return None
    out, rest = divmod(math.prod(outputs[0].shape), to.units)
    if rest and (not out or to.is_distinctive):
        out = 1  # over the whole batch: all is read, and next to nothing an item is given
    elif rest or not out or x.elements % out:
        return None
    value: Value = x
    if x.elements != out:
        name = to.read(x, x.elements // out, out)
        value = to.emit(ops.Sum, call_name(node), to.label(node), kind="sum", inputs=(name,))
    if len(outputs) > 1 and not holds_ids(outputs[1]):  # a spread and the mean that it is about, of one call
        return Several((value, value))
    if not isinstance(node.meta.get("val"), torch.Tensor):  # a maximum and where it stands
        return Several((value, Index(float(out), to.scope, result=to.settle(value))))
    if holds_ids(outputs[0]):
        return Index(float(out), to.scope, result=to.settle(value))
    return value


def selection(node: fx.Node, given: Sequence[Any]) -> Key:
    """Which elements a view selects: nothing where it keeps all of them."""
    if call_name(node) not in _SELECTING:
        return ()
    source = node.args[0]
    value = source.meta.get("val") if isinstance(source, fx.Node) else None
    seen = (tuple(value.shape), tuple(value.stride())) if isinstance(value, torch.Tensor) else ()
    return (call_name(node), *map(str, given[1:]), str(seen))


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


def layer_norm(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """A norm of each vector with a weight and a bias; a function without both, or over more than a vector."""
    per_item = to.per_item(node)
    weight, bias = (argument(node, given, name, None) for name in ("weight", "bias"))
    sizes = argument(node, given, "normalized_shape")
    held = isinstance(weight, Constant) and isinstance(bias, Constant)
    if not (is_activation(given[0]) and held and per_item and tuple(sizes) == per_item[1:]):
        return elementwise(node, given, to)
    return to.emit(
        LayerNorm,
        call_name(node),
        to.label(node, weight),
        kind="layer_norm",
        input=to.read(given[0], *per_item),
    )


_FREE = (
    "view _unsafe_view reshape flatten unflatten transpose permute t numpy_T mT movedim swapaxes unsqueeze "
    "squeeze expand expand_as broadcast_to select slice narrow detach alias contiguous clone dropout "
    "alpha_dropout feature_dropout lift_fresh lift_fresh_copy repeat repeat_interleave diagonal view_as "
    "reshape_as identity as_strided unfold tile view_copy select_copy ravel swapdims adjoint mH T H "
    "squeeze_copy unsqueeze_copy narrow_copy real view_as_complex view_as_real _reshape_alias "
    "resolve_conj resolve_neg conj _conj _neg_view"
)
_SELECTING = {"select", "slice", "narrow", "diagonal", "split", "split_with_sizes", "chunk", "unbind"} | {
    "tensor_split",
    "as_strided",
    "unfold",
}
_SPLITS = (
    "split split_with_sizes chunk unbind tensor_split unsafe_split unsafe_chunk unsafe_split_with_sizes "
    "hsplit vsplit dsplit"
)
_CONVERSIONS = "to _to_copy type_as to_dense float long int"
_NORMS = (
    "layer_norm batch_norm group_norm rms_norm instance_norm _native_batch_norm_legit native_layer_norm "
    "_native_batch_norm_legit_no_training normalize _weight_norm _weight_norm_interface"
)
_REDUCTIONS = (
    "sum mean amax amin max min prod logsumexp norm linalg_vector_norm var std all any argmax argmin nansum "
    "median mode count_nonzero segment_reduce nanmedian std_mean var_mean aminmax"
)
_MOVES = (
    "flip roll cumsum cumprod cummax sort argsort topk pad constant_pad_nd tril triu rot90 renorm "
    "max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_max_pool1d "
    "max_pool1d_with_indices max_pool2d_with_indices adaptive_avg_pool2d im2col col2im one_hot "
    "bucketize searchsorted nonzero unique_dim _unique2 unique_consecutive bincount cosine_similarity "
    "glu rrelu softplus nan_to_num addcmul addcdiv lerp where masked_fill clamp isin triu_indices histc "
    "pad_sequence _pad_packed_sequence _pack_padded_sequence diag_embed diag kthvalue msort logcumsumexp "
    "cross linalg_cross channel_shuffle pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d "
    "replication_pad1d replication_pad2d upsample_nearest1d upsample_nearest2d upsample_linear1d "
    "upsample_bilinear2d avg_pool3d max_pool3d"
)
_PLACES = (
    "copy index_put scatter scatter_add scatter_reduce index_add index_copy index_fill masked_scatter "
    "slice_scatter select_scatter put fill_diagonal"
)

CALLS: Mapping[str, Handler] = {
    "embedding": embedding,
    "embedding_renorm": numbers,  # of rows that are too long: those that are looked up
    "embedding_bag": embedding_bag,
    "embedding_byte": embedding,
    "embedding_bag_byte": packed_bag,
    "_embedding_bag": embedding_bag,
    "_embedding_bag_forward_only": embedding_bag,
    **dict.fromkeys(
        ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack"), join
    ),
    **dict.fromkeys(_MOVES.split(), reversed_order),
    **dict.fromkeys(_FREE.split(), view),
    **dict.fromkeys(_CONVERSIONS.split(), converted),
    **dict.fromkeys(("index", "index_select", "gather", "masked_select", "take_along_dim", "take"), indexed),
    **dict.fromkeys(_SPLITS.split(), split),
    **dict.fromkeys(set(get_args(ops.Function)) - {"none"}, activation),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    "add": add,
    **dict.fromkeys(_NORMS.split(), elementwise),
    "layer_norm": layer_norm,
    **dict.fromkeys(_REDUCTIONS.split(), reduction),
    **dict.fromkeys(_PLACES.split(), combined),
}
"""Handlers of all other calls by the name of the ATen operator; pointwise ones need no entry."""
