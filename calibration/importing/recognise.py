"""Walk a captured graph, and write down an operator for each call that has one."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves, tree_map

from calibration.importing.builder import (
    MADE_OUTSIDE,
    OF_WEIGHTS,
    Builder,
    TakenValuesError,
    Unmodelled,
    holds_ids,
    is_activation,
    precision_of,
    scopes_of,
    shape_of,
    source_line,
)
from calibration.importing.calls import CALLS, converted
from calibration.importing.capture import Graph
from calibration.importing.composite import taken_apart
from calibration.importing.counting import flop_counter
from calibration.importing.experts import chosen, comes_back, followed, is_of_experts, settled
from calibration.importing.packed import Packed
from calibration.importing.pointwise import call_name, elementwise, numbers
from calibration.importing.products import PRODUCTS
from calibration.importing.values import (
    ACTIVATIONS,
    AnyValue,
    Constant,
    Gathered,
    Index,
    Joined,
    Key,
    Part,
    Result,
    Scope,
    Several,
    Value,
)
from perfmodel.domain import operators as ops
from perfmodel.domain.model import DENSE, ELEMENT_BYTES, QUERY_DENSE
from perfmodel.domain.operators import Shape
from perfmodel.errors import InputError

_HANDLERS = {**CALLS, **PRODUCTS}
_MANY_WEIGHTS = 4096
"""Elements of weights that a pass takes more than a microsecond to make anew."""
_OF_IDS = frozenset(
    name
    for name in _HANDLERS
    if name.startswith("embedding")
    or name in ("_embedding_bag", "_embedding_bag_forward_only")
    or _HANDLERS[name].__name__ in ("view", "converted", "split", "indexed", "join", "reduction", "combined")
)
"""Calls whose handlers know what to do with ids."""
_TO_PYTHON = (
    torch.ops.aten.resolve_neg.default,  # tolist, and numpy
    torch.ops.aten.item.default,
    torch.ops.aten._local_scalar_dense.default,
)
_CHECKS = ("item", "_local_scalar_dense", "is_nonzero", "equal", "allclose", "_assert_async", "sym_size")
"""Calls that hand a number to Python; they compute no tensor."""
_MAKING = frozenset(
    [
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "rand_like",
        "randn_like",
        "randint_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_tensor",
        "zeros",
        "ones",
        "full",
        "empty",
        "arange",
        "eye",
        "linspace",
        "scalar_tensor",
        "bernoulli",
    ]
)
"""Calls that make a tensor of a given size, whatever is in the one that they are given."""
_EXPANDING = ("expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile")
_LOOKUPS = ("embedding", "embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")


def recognise(graph: Graph, batch_size: int) -> Builder:
    """Write down an operator for each call; what is not recognised is passed through and counted.

    Raises
    ------
    InputError
        If the output does not come from anything that a model file can hold, or if control flow depends on
        what the model computes.
    """
    _require_no_rows_by_number(graph)
    to = Builder(batch_size, graph.weights, graph.parameters, graph.is_distinctive)
    to.unmodelled += _made_outside(graph, batch_size)
    for node in graph.nodes:
        if node in graph.inputs and _is_float(node):
            scope, elements = _shared_out(node, graph, batch_size)
            if scope == "item":
                to.dense_features += elements
            else:
                to.query_dense_features += elements
    to.shapes |= {
        name: Shape(1, width)
        for name, width in ((DENSE, to.dense_features), (QUERY_DENSE, to.query_dense_features))
        if width
    }
    for node in graph.nodes:
        if node.op == "output":
            _write_output(node, to)
        else:
            _require_plain(node)
            to.values[node] = _value(node, graph, to)
            _write_through(node, to)
    return to


def _require_plain(node: fx.Node) -> None:
    """Refuse a tensor in a layout whose products nobody counts."""
    name = call_name(node).strip("_")
    if name.startswith(("sparse_", "to_sparse", "to_mkldnn")):
        where = source_line(node)
        raise InputError(f"{where}{': ' * bool(where)}{_OWN_LAYOUT if 'mkldnn' in name else _SPARSE}")


_SPARSE = (
    "what products of sparse tensors take is not known: expected rows looked up and added up, as "
    "embedding_bag does, or dense matrices"
)
_OWN_LAYOUT = (
    "tensors in the layout of oneDNN cannot be read: expected the module as it was before "
    "optimize_for_inference or to_mkldnn"
)


def _value(node: fx.Node, graph: Graph, to: Builder) -> AnyValue:
    if node in graph.inputs:
        return _input(node, graph, to)
    if node.name in graph.packed:
        return _packed(*graph.packed[node.name])
    if node.op in ("get_attr", "placeholder"):
        tensor = node.meta.get("val")
        size: Any = tensor.element_size() if isinstance(tensor, torch.Tensor) else 4
        is_index = isinstance(tensor, torch.Tensor) and holds_ids(tensor)
        name = to.weights.get(node.name, "")
        return Constant(shape_of(node), name, size, is_index=is_index and name not in graph.parameters)
    to.precision = precision_of(next(iter(tree_leaves(node.meta.get("val"))), None))
    given = [_resolved(argument, to) for argument in node.args]
    named = {key: _resolved(argument, to) for key, argument in node.kwargs.items()}
    if not comes_back(node, given):
        given, named = tree_map(lambda one: _settled(one, node, to), (given, named))
    leaves = [leaf for leaf in tree_leaves([given, named]) if leaf is not None]
    if node.target is operator.getitem and isinstance(given[0], Several):
        member: AnyValue = given[0].members[given[1]]
        return member
    if call_name(node) in _CHECKS:
        _require_no_branch(node, given)
        to.is_by_example |= bool(given) and to.is_computed(given[0])
        return Constant(())
    if call_name(node) in _MAKING:
        return _made(node, leaves, to)
    if _chooses_by_value(node) and any(to.is_computed(leaf) for leaf in leaves):
        to.is_by_example = True
    active = any(is_activation(leaf) or isinstance(leaf, Index) for leaf in leaves) or is_of_experts(leaves)
    to.scope = _scope(node, leaves, to) if active else "query"
    if not active and not _works_on_weights(node, leaves):
        made = _made_of_weights(node, given, named, graph, to)
        if made is None and _HANDLERS.get(call_name(node)) is CALLS["split"]:
            made = CALLS["split"](node, given, to)
        return _constant(node, to) if made is None else made
    if not active:
        to.scope = "item" if to.are_items(shape_of(node)) else "query"
    mark = to.mark()
    if is_of_experts(leaves) and not comes_back(node, given):
        recognised = followed(node, given, to, is_pointwise=_is_pointwise(node, call_name(node)))
    elif comes_back(node, given) and call_name(node) != "index":
        recognised = followed(node, given, to, is_pointwise=False)
    else:
        recognised = chosen(node, given, to)
        if recognised is None:
            recognised = _handled(node, [*given, *named.values()] if named else given, to)
    if recognised is not None:
        _count_casts(node, leaves, to.operators[mark:], graph, to)
    if recognised is None and not active:
        return _constant(node, to)
    if recognised is None:
        recognised = _of_parts(node, graph, to)
    return _unmodelled(node, leaves, to) if recognised is None else recognised


def _made(node: fx.Node, leaves: Sequence[Any], to: Builder) -> AnyValue:
    """A tensor that sizes alone make; one of many numbers is written anew in every pass."""
    to.scope = _scope(node, leaves, to)
    made, name, shape = node.meta.get("val"), call_name(node), shape_of(node)
    whole = isinstance(made, torch.Tensor) and holds_ids(made)
    items = to.scope == "item" and to.are_items(shape)
    value = Constant(shape, items=items, is_index=whole, is_made=True)
    if items or whole or math.prod(shape) < _MANY_WEIGHTS or "empty" in name:
        return value
    to.scope, width = "query", shape[-1]
    one, length = to.learned(Constant(())), math.prod(shape) // width
    sides = tuple(
        to.read(to.part(one, size), *seen) for size, seen in ((length, (length, 1)), (width, (1, width)))
    )
    return to.emit(ops.Elementwise, name, name, kind="elementwise", function=name, inputs=sides)


def _settled(value: Any, node: fx.Node, to: Builder) -> Any:
    """Rows that came back from experts, as a result, where something else than more of them is done."""
    if not isinstance(value, Gathered):
        return value
    result = settled(value, node, to)
    if result is None:
        raise InputError(f"{source_line(node)}: {SOME_ROWS}")
    return result


SOME_ROWS = (
    "experts of different shapes, or that drop rows, get parts of the items' rows that no whole number of an "
    "item stands for: expected equal experts that share all rows"
)


def _packed(name: str, matrices: Sequence[Packed]) -> AnyValue:
    """What a quantised layer holds: one matrix, or those of a recurrent layer."""
    held = tuple(
        Constant(one.shape, name, one.element_bytes, key=(place,) if place else (), packed_bias=one.has_bias)
        for place, one in enumerate(matrices)
    )
    return held[0] if len(held) == 1 else Several(held)


def _of_parts(node: fx.Node, graph: Graph, to: Builder) -> AnyValue | None:
    """A composite call by those that it is made of; None where one of them has no operator either."""
    if (found := taken_apart(node)) is None:
        return None
    inside, outside = found
    scope, precision = to.scope, to.precision
    mark, before = to.mark(), len(to.unmodelled)
    placeholders = [inner for inner in inside if inner.op == "placeholder"]
    to.values |= {
        inner: to.values[outer] for inner, outer in zip(placeholders, outside, strict=True) if inner.users
    }
    result: AnyValue | None = None
    for inner in inside:
        if inner.op == "output":
            made = _resolved(inner.args[0], to)
            result = Several(tuple(made)) if isinstance(made, list) else made
        elif inner.op != "placeholder":
            to.values[inner] = _value(inner, graph, to)
            _write_through(inner, to)
        if len(to.unmodelled) > before:
            to.undo(mark)
            del to.unmodelled[before:]
            result = None
            break
    to.scope, to.precision = scope, precision
    to.origins |= {operator.name: call_name(node) for operator in to.operators[mark:]}
    return result


def _constant(node: fx.Node, to: Builder) -> Constant:
    """What does not depend on the request: it is made of parameters and sizes."""
    value = node.meta.get("val")
    is_index = isinstance(value, torch.Tensor) and holds_ids(value)
    shape = shape_of(node)
    sources = [to.values[argument] for argument in node.all_input_nodes]
    source = next(iter(sources), None)
    made = all(isinstance(one, Constant) and one.is_made for one in sources)
    name = ""
    key: Key = ()
    if isinstance(source, Constant) and source.name and _HANDLERS.get(call_name(node)) is CALLS["view"]:
        seen = CALLS["view"](node, [_resolved(argument, to) for argument in node.args], to)
        assert isinstance(seen, Constant)
        name, key = seen.name, seen.key
    size: Any = value.element_size() if isinstance(value, torch.Tensor) else 4
    if isinstance(source, Constant) and _HANDLERS.get(call_name(node)) is converted and not is_index:
        name, key, size = (
            source.name,
            source.key,
            source.element_bytes,
        )  # as it is kept: each pass makes it anew
    return Constant(shape, name, size, to.are_items(shape), key, is_index, is_made=made)


def _works_on_weights(node: fx.Node, leaves: Sequence[Any]) -> bool:
    """Whether a call that no input leads to is a product or a lookup: work of every pass all the same."""
    name = call_name(node)
    if name in PRODUCTS:
        return sum(isinstance(leaf, Constant) for leaf in leaves) > 1
    return name in (*_LOOKUPS, "index", "index_select", "gather") and bool(
        leaves and isinstance(leaves[0], Constant) and leaves[0].name
    )


def _made_of_weights(node: fx.Node, given: Any, named: Any, graph: Graph, to: Builder) -> AnyValue | None:
    """What a call makes of weights in every pass, such as a mask of them or their norm, as the query's work.

    What makes a few numbers, a bias or a temperature, is next to nothing: None. So is what no operator stands
    for, which is counted.
    """
    leaves = tree_leaves([given, named])
    if not _makes_weights(node, leaves, graph):
        return None
    to.scope = "query"
    many = any(_are_many(leaf, graph) for leaf in leaves)  # else few make many: all of them are read
    is_read = _are_many if many else _is_weight
    read = tree_map(lambda one: to.as_activation(one) if is_read(one, graph) else one, given)
    found = _handled(node, [*read, *named.values()] if named else read, to)
    if found is None:
        found = _of_parts(node, graph, to)
    if found is None:
        _count_work_on_weights(node, to)
    return found


def _are_many(value: Any, graph: Graph) -> bool:
    return _is_weight(value, graph) and math.prod(value.shape) >= _MANY_WEIGHTS


def _makes_weights(node: fx.Node, leaves: Sequence[Any], graph: Graph) -> bool:
    """Whether a call computes on many weights, or makes many, and does not only see them in another way."""
    name = call_name(node)
    handler = _HANDLERS.get(name)
    if handler is converted:
        return any(_are_many(leaf, graph) and _becomes_fractions(node) for leaf in leaves)
    if handler in (CALLS["view"], CALLS["split"]) or node.target is operator.getitem:
        return False
    if any(_are_many(leaf, graph) for leaf in leaves):
        return True
    made = node.meta.get("val")
    return (
        isinstance(made, torch.Tensor)
        and not holds_ids(made)
        and made.numel() >= _MANY_WEIGHTS
        and any(_is_weight(leaf, graph) for leaf in leaves)
    )


def _is_weight(value: Any, graph: Graph) -> bool:
    """Whether a call that no input leads to reads numbers of the module, or ones that sizes make."""
    if not isinstance(value, Constant) or value.items:
        return False
    return value.name in graph.weights.values() or (value.is_made and not value.is_index)


def _becomes_fractions(node: fx.Node) -> bool:
    """Whether whole numbers become fractions, as weights that are kept in bytes do in each pass."""
    before, after = node.args[0], node.meta.get("val")
    whole = before.meta.get("val") if isinstance(before, fx.Node) else None
    return (
        isinstance(whole, torch.Tensor)
        and isinstance(after, torch.Tensor)
        and holds_ids(whole)
        and not holds_ids(after)
    )


def _count_work_on_weights(node: fx.Node, to: Builder) -> None:
    """Of a call that makes weights of weights in every pass, and has no operator."""
    name = call_name(node)
    moved = sum(
        each.numel() * each.element_size()
        for each in tree_leaves(
            [node.meta.get("val"), *(one.meta.get("val") for one in node.all_input_nodes)]
        )
        if isinstance(each, torch.Tensor)
    )
    call = f"{name} {OF_WEIGHTS}"
    to.unmodelled.append(Unmodelled(call, 0.0, moved / to.batch_size, source_line(node)))


def _count_casts(
    node: fx.Node, leaves: Sequence[Any], made: Sequence[ops.Operator], graph: Graph, to: Builder
) -> None:
    """Of weights in fp32 that a call in 2 bytes casts in every pass, where its operator does not say so."""
    if to.precision not in ("bf16", "fp16") or any(isinstance(op, ops.Mlp) and op.casts for op in made):
        return
    wide = [leaf for leaf in leaves if isinstance(leaf, Constant) and leaf.name in graph.parameters]
    elements = sum(math.prod(leaf.shape) for leaf in wide if leaf.element_bytes == ELEMENT_BYTES["fp32"])
    if elements >= _MANY_WEIGHTS:
        moved = elements * (ELEMENT_BYTES["fp32"] + ELEMENT_BYTES[to.precision])
        call = f"{call_name(node)}'s casts {OF_WEIGHTS}"
        to.unmodelled.append(Unmodelled(call, 0.0, moved / to.batch_size, source_line(node)))


def _chooses_by_value(node: fx.Node) -> bool:
    """Whether the size of a result depends on values: places of what is true, rows that a mask chooses."""
    name = call_name(node)
    if name == "where":
        return len(node.args) == 1
    if name in ("index", "index_put"):
        chosen = [one.meta.get("val") for one in node.all_input_nodes[1:]]
        return any(isinstance(one, torch.Tensor) and one.dtype == torch.bool for one in chosen)
    return name in ("nonzero", "nonzero_numpy", "masked_select", "_unique2", "unique_dim")


def _scope(node: fx.Node, leaves: Sequence[Any], to: Builder) -> Scope:
    """Whom a call works for: the items if any operand is theirs, or if it makes a copy for each of them."""
    if "item" in scopes_of(leaves):
        return "item"
    outputs = [
        tuple(leaf.shape) for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)
    ]
    if to.is_distinctive:
        return (
            "item"
            if any(math.prod(shape) % to.batch_size == 0 and math.prod(shape) for shape in outputs)
            else "query"
        )
    before = shape_of(node.all_input_nodes[0]) if node.all_input_nodes else ()
    if call_name(node) in _EXPANDING and outputs and to.batch_size > 1:
        repeats = math.prod(outputs[0]) // max(1, math.prod(before))
        if repeats % to.batch_size == 0 and to.batch_size in outputs[0]:
            return "item"
    return "query"


_UNTAGGED = (
    frozenset({"fill", "floor_divide", "log_sigmoid", "hardswish", "special_ndtr"})
    | {
        "fake_quantize_per_tensor_affine",
        "fake_quantize_per_channel_affine",
    }
    | {f"__{name}" for name in ("and", "or", "xor", "lshift", "rshift")}
)
"""Functions of each element that PyTorch does not mark as such."""


def _is_pointwise(node: fx.Node, name: str) -> bool:
    """Say whether a call works on each element by itself.

    Forms that work in place are often not marked; the one of the same name that does not is.
    """
    if name in _UNTAGGED or torch.Tag.pointwise in getattr(node.target, "tags", ()):
        return True
    packet = getattr(torch.ops.aten, name, None)
    forms = [] if packet is None else [getattr(packet, form) for form in packet.overloads()]
    return any(torch.Tag.pointwise in form.tags for form in forms)


def _handled(node: fx.Node, given: Sequence[Any], to: Builder) -> AnyValue | None:
    """What a handler makes of a node; None where there is none, or the form is new to it."""
    name = call_name(node)
    handler = _HANDLERS.get(name)
    leaves = tree_leaves(list(given))
    if handler is None and _is_pointwise(node, name):
        handler = elementwise
    only_ids = any(isinstance(leaf, Index) for leaf in leaves) and not any(map(is_activation, leaves))
    if only_ids and name not in _OF_IDS and name not in PRODUCTS:
        handler = numbers if handler is not None or not _reads_weights(node, leaves) else None
    if handler is None:
        return None
    mark = to.mark()
    try:
        found = handler(node, given, to)
    except InputError:
        raise
    except (
        NotImplementedError,
        ValueError,
        IndexError,
        AttributeError,
        TypeError,
        KeyError,
        ZeroDivisionError,
    ):
        found = None
    if found is None:
        to.undo(mark)
    return found


def _reads_weights(node: fx.Node, leaves: Sequence[Any]) -> bool:
    """Whether a call reads tensors of the module, or what holds some, as quantised layers do."""
    named = any(isinstance(leaf, Constant) and leaf.name for leaf in leaves)
    packed = [argument for argument in node.all_input_nodes if argument.op == "get_attr"]
    return named or any(not isinstance(argument.meta.get("val"), torch.Tensor) for argument in packed)


def _require_no_branch(node: fx.Node, given: Sequence[Any]) -> None:
    """Refuse a truth value that the model computes: which way it goes is no property of the model."""
    source = node.args[0].meta.get("val") if isinstance(node.args[0], fx.Node) else None
    if isinstance(source, torch.Tensor) and source.dtype == torch.bool and is_activation(given[0]):
        where = source_line(node)
        raise InputError(f"{where}{': ' * bool(where)}its control flow depends on the values of tensors")


def _require_no_rows_by_number(graph: Graph) -> None:
    """Refuse rows of a table, or matrices of a stack, that Python chose by ids: the graph does not read them.

    Taking all rows by number, as a loop over experts does, chooses none.
    """
    if not any(_is_read_by_python(node) for node in graph.nodes):
        return
    chosen: dict[str, dict[int, fx.Node]] = {}
    for node in graph.nodes:
        table = node.args[0] if node.args else None
        if not (node.target is torch.ops.aten.select.int and isinstance(table, fx.Node)):
            continue
        name, dim, place = graph.weights.get(table.name), node.args[1], node.args[2]
        is_row = table.op == "get_attr" and table.meta["val"].dim() >= 2 and dim == 0
        if name is not None and is_row and isinstance(place, int):
            chosen.setdefault(name, {})[place] = node
    for name, rows in chosen.items():
        first = next(iter(rows.values()))
        if len(rows) < shape_of(first.all_input_nodes[0])[0]:
            where = source_line(first)
            raise TakenValuesError(
                f"{where}{': ' * bool(where)}{name}: rows are chosen by numbers that Python took out of a "
                "tensor (tolist, item): look them up in the table by the tensor itself"
            )


def _made_outside(graph: Graph, batch_size: int) -> list[Unmodelled]:
    """What NumPy or Python makes for each item of ids out of tensors, and gives back as fractions.

    How long it takes nobody knows, nor what it computes: what is listed are the bytes that come back.

    Raises
    ------
    TakenValuesError
        If it took fractions, or made a choice among weights by what it took.
    """
    taken = [
        argument.meta.get("val")
        for node in graph.nodes
        if node.target in _TO_PYTHON and not node.users
        for argument in node.all_input_nodes
    ]
    if not taken:
        return []
    known = {*graph.weights, *graph.packed, *(node.name for node in graph.inputs)}
    of_fractions = any(isinstance(value, torch.Tensor) and not holds_ids(value) for value in taken)
    made: dict[str, Unmodelled] = {}
    for node in graph.nodes:
        value, sources = node.meta.get("val"), node.all_input_nodes
        if not isinstance(value, torch.Tensor) or holds_ids(value):
            continue
        if not value.numel() or value.numel() % batch_size or not graph.is_distinctive:
            continue
        brought = [source for source in sources if source.op == "get_attr" and source.name not in known]
        chosen = call_name(node) in ("stack", "cat") and all(
            source.op == "get_attr" and source.name in graph.weights for source in sources
        )
        where = source_line(node)
        if (brought and of_fractions) or (chosen and sources):
            raise TakenValuesError(
                f"{where}{': ' * bool(where)}what NumPy or Python makes of values of tensors, no call shows: "
                "expected it written with tensors"
            )
        for source in brought:
            given = source.meta.get("val")
            if isinstance(given, torch.Tensor) and not holds_ids(given):
                moved = float(given.numel() * given.element_size()) / batch_size
                made.setdefault(source.name, Unmodelled(MADE_OUTSIDE, 0.0, moved, where))
    return list(made.values())


def _is_read_by_python(node: fx.Node) -> bool:
    """Whether numbers of a whole-numbered tensor became Python's own."""
    if node.target not in _TO_PYTHON:
        return False
    value = node.all_input_nodes[0].meta.get("val")
    return isinstance(value, torch.Tensor) and holds_ids(value) and not node.users


def _input(node: fx.Node, graph: Graph, to: Builder) -> AnyValue:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return Constant(())
    scope, elements = _shared_out(node, graph, to.batch_size)
    if not _is_float(node):
        units = to.batch_size if scope == "item" else 1
        return Index(math.prod(value.shape) / units, scope, graph.names.get(node, node.name))
    name = DENSE if scope == "item" else QUERY_DENSE
    dense = Result(name, to.shapes[name], scope) if name in to.shapes else None
    if dense is None or not elements:
        return Constant(tuple(value.shape))
    return dense if elements == dense.elements else Part(dense, elements, (node.name,), scope)


def _shared_out(node: fx.Node, graph: Graph, batch_size: int) -> tuple[Scope, int]:
    """Whom an input belongs to, and how many of its elements each has."""
    shape = shape_of(node)
    if node in graph.of_items:
        return "item", math.prod(shape) // batch_size
    return "query", math.prod(shape)


def _is_float(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point


def _unmodelled(node: fx.Node, leaves: Sequence[Any], to: Builder) -> AnyValue:
    """Count a call that no operator stands for; its result is the first activation in another shape."""
    outputs = [leaf for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)]
    if not outputs:
        return Constant(())  # a check, such as of a tensor's type: it computes nothing
    inputs = [argument.meta.get("val") for argument in node.all_input_nodes]
    read = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    if call_name(node) in _LOOKUPS:  # the rows that it reads, not its table
        rows = math.prod(read[1].shape) * read[0].shape[-1] * read[0].element_size()
        moved = rows + sum(tensor.numel() * tensor.element_size() for tensor in (*read[1:], *outputs[:1]))
    else:
        moved = sum(tensor.numel() * tensor.element_size() for tensor in (*read, *outputs))
    items = to.batch_size
    of_parts = to.scope == "item" and any(tensor.numel() % items for tensor in (*outputs, *read[:1]))
    with_others = call_name(node) in PRODUCTS and all(tensor.numel() % items**2 == 0 for tensor in outputs)
    of_parts |= to.scope == "item" and items > 1 and with_others
    to.unmodelled.append(
        Unmodelled(call_name(node), _flop(node, outputs) / items, moved / items, source_line(node), of_parts)
    )
    first = next((leaf for leaf in leaves if is_activation(leaf)), None)
    if first is None:
        first = next((leaf for leaf in leaves if isinstance(leaf, Index)), None)
    values = [_passed_on(output, first, to) for output in outputs]
    return values[0] if isinstance(node.meta.get("val"), torch.Tensor) else Several(tuple(values))


def _passed_on(output: torch.Tensor, first: Any, to: Builder) -> AnyValue:
    elements, rest = divmod(output.numel(), to.units)
    if rest or not elements or first is None:
        return Constant(tuple(output.shape))
    if holds_ids(output):
        return Index(float(elements), to.scope, result=None if isinstance(first, Index) else to.settle(first))
    value = to.as_activation(first)
    return Constant(tuple(output.shape)) if value is None else to.part(value, elements, ("unmodelled",))


def _flop(node: fx.Node, outputs: Sequence[torch.Tensor]) -> float:
    """FLOP of a call as torch counts them; where it has no count, one for each element of the result."""
    args, kwargs = tree_map(_fake, (node.args, node.kwargs))
    counted = 0
    with contextlib.suppress(Exception), flop_counter() as counter:
        node.target(*args, **kwargs)  # type: ignore[operator]  # on fake tensors: nothing is computed
        counted = counter.get_total_flops()
    return float(counted or sum(output.numel() for output in outputs))


def _fake(argument: Any) -> Any:
    return argument.meta.get("val") if isinstance(argument, fx.Node) else argument


def _write_through(node: fx.Node, to: Builder) -> None:
    """A call in place changes what it works on, and whatever that is a view of."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable or not node.args or not isinstance(node.args[0], fx.Node):
        return
    written, value = node.args[0], to.values[node]
    if not isinstance(value, (*ACTIVATIONS, Index, Gathered)):
        return
    to.values[written] = value
    below = written
    while _HANDLERS.get(call_name(below)) is CALLS["view"] and isinstance(below.args[0], fx.Node):
        below = below.args[0]
        to.values[below] = _assembled(to.values[below], value, below, to)


def _assembled(before: AnyValue, value: AnyValue, node: fx.Node, to: Builder) -> AnyValue:
    """A tensor of which a part was written: what was written, side by side, once it is all of it."""
    if isinstance(value, Index) or not isinstance(value, ACTIVATIONS):
        return value if not isinstance(before, ACTIVATIONS) else before
    elements = math.prod(shape_of(node)) // to.units
    if value.elements >= elements:
        return value
    earlier: tuple[Value, ...] = ()
    if isinstance(before, Joined) and before.call == "copy":
        earlier = tuple(part for part in before.parts if not isinstance(part, Part) or part.key != ("rest",))
    elif isinstance(before, ACTIVATIONS):
        return to.part(to.settle(value), elements, ("written", node.name, len(to.operators)))
    parts = (*earlier, value)
    rest = elements - sum(part.elements for part in parts)
    if rest < 0:
        return to.part(to.settle(value), elements, ("written", node.name, len(to.operators)))
    if rest:
        parts = (*parts, to.part(to.settle(value), rest, ("rest",)))
    return Joined(parts, to.label(node), "copy", to.scope)


def _write_output(node: fx.Node, to: Builder) -> None:
    """Make an output of the module the last operator; further ones are kept, though nothing reads them."""
    found = [
        value
        for leaf in node.all_input_nodes
        for value in tree_leaves(_plain(_settled(to.values[leaf], leaf, to)))
        if isinstance(value, (*ACTIVATIONS, Index))
    ]
    values = [value for value in found if isinstance(value, ACTIVATIONS)]
    if not values:
        values = [seen for value in found if (seen := to.as_activation(value)) is not None]
    if not values:
        raise InputError("the output does not depend on anything that the request brings")
    of_items = [value for value in values if value.scope == "item"]
    if not of_items:
        raise InputError(
            "the output does not depend on anything that an item brings; expected an input with as many rows "
            "as the output has: --batch-example N says how many items the example has"
        )
    names = [to.read_all(value) for value in values]
    main = to.read_all(of_items[0])
    read = {name for operator in to.operators for name in operator.reads()}
    shape = to.shapes[main]
    if main in read or main in (DENSE, QUERY_DENSE):
        length, width = shape
        to.scope = "item"
        main = to.emit(ops.View, "view", "output", kind="view", input=main, length=length, width=width).name
    to.outputs = [main, *(name for name in names if name != main)]
    index = next(i for i, op in enumerate(to.operators) if op.name == main)
    to.operators.append(to.operators.pop(index))


def _plain(value: AnyValue) -> Any:
    return list(value.members) if isinstance(value, Several) else value


def _resolved(argument: Any, to: Builder) -> Any:
    """Replace nodes by their values, inside lists too."""
    if isinstance(argument, fx.Node):
        return to.values[argument]
    if isinstance(argument, (list, tuple)):
        return [_resolved(member, to) for member in argument]
    return argument
