"""Find cross layers and attention among the calls that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from calibration.importing.rewriting import Operators, readers_of, renamed_after_members
from perfmodel.domain import operators as ops
from perfmodel.domain.operators import Operator, Shapes


def fold_cross(operators: Operators, shapes: Shapes) -> Operators:
    """x0 * (W x) + x, layer after layer, becomes one cross operator named after its layers."""
    readers, by_name = readers_of(operators), {operator.name: operator for operator in operators}
    members: dict[str, set[str]] = {}
    for op in operators:
        found = _cross_layer(op, by_name, readers)
        if found is None or not _of_one_scope((*found[3], op.name), by_name):
            continue
        first, before, rank, parts = found
        layers = {part for part in parts if isinstance(by_name[part], ops.Mlp)}
        previous = by_name.get(before)
        if first == before and shapes[first].length == 1:
            cross = ops.Cross(
                name=op.name,
                kind="cross",
                input=first,
                num_layers=1,
                rank=rank,
                scope=op.scope,
                precision=op.precision,
            )
        elif (
            isinstance(previous, ops.Cross)
            and (previous.input, previous.rank) == (first, rank)
            and readers[before] <= {*parts, op.name}
        ):
            cross = previous.model_copy(update={"name": op.name, "num_layers": previous.num_layers + 1})
            layers |= members.pop(before)
            parts = {*parts, before}
        else:
            continue
        members[op.name] = layers
        by_name[op.name] = cross
        for part in parts:
            by_name.pop(part)
    return renamed_after_members(list(by_name.values()), members)


def _cross_layer(
    op: Operator, by_name: Mapping[str, Operator], readers: Mapping[str, set[str]]
) -> tuple[str, str, int | None, set[str]] | None:
    """The first vector, the vector before, the rank and the parts of a cross layer that ends in `op`."""
    if not isinstance(op, ops.Sum) or len(op.inputs) != 2:
        return None
    for product_name, before in (op.inputs, op.inputs[::-1]):
        product = by_name.get(product_name)
        if not isinstance(product, ops.Elementwise) or len(product.inputs) != 2 or product.function != "mul":
            continue
        for first, layer_name in (product.inputs, product.inputs[::-1]):
            layers = _linear_layers(layer_name, before, by_name)
            parts = {product_name, *(layer.name for layer in layers or ())}
            if layers and all(len(readers[part]) == 1 for part in parts):
                rank = layers[0].widths[1] if len(layers) == 2 else None
                return first, before, rank, parts
    return None


def _linear_layers(name: str, source: str, by_name: Mapping[str, Operator]) -> list[ops.Mlp] | None:
    """One or two layers without functions that lead from `source` to `name`, and keep its width."""
    layers: list[ops.Mlp] = []
    while name != source:
        layer = by_name.get(name)
        if not isinstance(layer, ops.Mlp) or not _plain(layer):
            return None
        layers.insert(0, layer)
        if len(layers) > 2:
            return None
        name = layer.input
    return layers if layers and layers[0].widths[0] == layers[-1].widths[-1] else None


def fold_attention(operators: Operators, shapes: Shapes) -> Operators:
    """Projections, scores, softmax, weighted sums and output layer become one attention operator."""
    by_name = {operator.name: operator for operator in operators}
    readers, members = readers_of(operators), dict[str, set[str]]()
    for op in operators:
        found = _attention(op, by_name, readers, shapes)
        if found is not None:
            operator, parts = found
            members[op.name] = {op.name, *(part for part in parts if isinstance(by_name[part], ops.Mlp))}
            by_name[op.name] = operator
            for part in parts:
                by_name.pop(part)
    return renamed_after_members(list(by_name.values()), members)


def _attention(
    out: Operator, by_name: Mapping[str, Operator], readers: Mapping[str, set[str]], shapes: Shapes
) -> tuple[ops.Attention, set[str]] | None:
    """Attention that ends in the layer `out`, and the operators that it stands for."""
    if not isinstance(out, ops.Mlp) or len(out.widths) != 2 or out.activation != "none":
        return None
    parts: set[str] = set()

    def single(name: str, kind: type[Any]) -> Any:
        """The operator behind a name, through views and copies, if it is of a kind."""
        operator = by_name.get(name)
        while isinstance(operator, ops.View) or _is_copy(operator):
            parts.add(operator.name)
            operator = by_name.get(operator.reads()[0])
        if not isinstance(operator, kind):
            return None
        parts.add(operator.name)
        return operator

    found = _scores(single, out.input)
    if found is None or any(not _plain(layer) for layer in found[0]):
        return None
    (query, key, value), heads, head, fused = found
    inner = heads * head
    packed = 3 if query is key else 1
    fits = (
        query.widths[1] == key.widths[1] == value.widths[1] == packed * inner
        and (query is key is value if packed == 3 else key is not value and query is not value)
        and key.input == value.input
        and out.widths == (inner, shapes[query.input].width)
        and _plain(out)
        and _of_one_scope((*parts, out.name), by_name)
        and all(readers[part] <= {*parts, out.name} for part in parts)
    )
    if not fits:
        return None
    return ops.Attention(
        name=out.name,
        kind="attention",
        query=query.input,
        key=None if key.input == query.input else key.input,
        num_heads=heads,
        head_dim=head,
        fused=fused,
        scope=out.scope,
        precision=out.precision,
    ), parts


def _scores(
    single: Callable[[str, type[Any]], Any], name: str
) -> tuple[list[ops.Mlp], int, int, bool] | None:
    """Layers of query, key and value, heads and their size: of one fused call, or of two products."""
    attention = single(name, ops.Attention)
    if attention is not None:
        if attention.projected or not attention.value:
            return None
        layers = [single(side, ops.Mlp) for side in (attention.query, attention.key, attention.value)]
        return layers, attention.num_heads, attention.head_dim, attention.fused
    values = single(name, ops.BatchMatmul)
    weights = values and single(values.left, ops.Softmax)
    scores = weights and single(weights.input, ops.BatchMatmul)
    if not scores:
        return None
    layers = [single(side, ops.Mlp) for side in (scores.left, scores.right, values.right)]
    return layers, scores.products, scores.inner, False


def _is_copy(operator: Operator | None) -> TypeGuard[ops.Elementwise]:
    return isinstance(operator, ops.Elementwise) and operator.function == "copy"


def _plain(layer: ops.Mlp | None) -> bool:
    """A layer of its own weights, without a function."""
    if layer is None or len(layer.widths) != 2 or layer.activation != "none":
        return False
    return layer.groups == 1 and layer.memory is None and not layer.casts


def _of_one_scope(names: Iterable[str], by_name: Mapping[str, Operator]) -> bool:
    return len({(by_name[name].scope, by_name[name].precision) for name in names}) == 1
