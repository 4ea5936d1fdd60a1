"""Tidy an imported model: layers to MLPs, tables to one operator, cross layers and attention by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from calibration.importing.patterns import fold_attention, fold_cross
from calibration.importing.rewriting import Operators, readers_of, with_common_names, with_updates
from perfmodel.domain import operators as ops
from perfmodel.domain.operators import Operator, Shapes


def tidy(operators: Iterable[Operator], shapes: Shapes) -> Operators:
    """Return the same work in fewer, larger operators; views and ids that nothing reads are dropped.

    Activations join their layers, layers become MLPs, lookups that are read together one operator, and
    cross layers and attention, whose parts the graph shows, become operators of that name.
    """
    result = pruned(list(operators))
    for step in (
        _own_ids,
        _fold_activations,
        fold_attention,
        fold_cross,
        _chain_layers,
        _join_lookups,
    ):
        result = step(result, shapes)
    return pruned(result)


def pruned(operators: Operators) -> Operators:
    """All operators but those that cost nothing, and that nothing reads; the last one is the output."""
    kept = list(operators)
    while True:
        read = {name for operator in kept for name in operator.reads()}
        left = [
            op
            for op in kept[:-1]
            if op.name in read or not isinstance(op, (ops.View, ops.Ids, ops.Parameters))
        ]
        if len(left) == len(kept) - 1:
            return kept
        kept = [*left, kept[-1]]


def _own_ids(operators: Operators, shapes: Shapes) -> Operators:  # noqa: ARG001  # one signature for all
    """Ids that one lookup alone reads are its own: they need no name."""
    readers, by_name = readers_of(operators), {operator.name: operator for operator in operators}
    own: dict[str, Operator] = {}
    gone: set[str] = set()
    for op in operators:
        if not isinstance(op, ops.EmbeddingBag) or len(op.tables) > 1:
            continue
        name = op.tables[0].indices
        ids = by_name.get(name or "")
        if isinstance(ids, ops.Ids) and len(readers[ids.name]) == 1 and ids.scope == op.scope:
            own[op.name] = op.model_copy(
                update={"tables": (op.tables[0].model_copy(update={"indices": None}),)}
            )
            gone.add(ids.name)
    return [own.get(op.name, op) for op in operators if op.name not in gone]


def _fold_activations(operators: Operators, shapes: Shapes) -> Operators:  # noqa: ARG001  # one signature for all
    """A layer and the function that alone reads it become one operator under the layer's name."""
    readers, by_name = readers_of(operators), {operator.name: operator for operator in operators}
    folded: dict[str, Operator] = {}
    renamed: dict[str, str] = {}
    for op in operators:
        if not isinstance(op, ops.Activation):
            continue
        layer = by_name.get(op.input)
        if isinstance(layer, ops.Mlp) and len(readers[layer.name]) == 1 and _whose(layer) == _whose(op):
            folded[layer.name] = layer.model_copy(update={"activation": op.function})
            renamed[op.name] = layer.name
    return with_updates(operators, folded, renamed)


def _chain_layers(operators: Operators, shapes: Shapes) -> Operators:  # noqa: ARG001  # one signature for all
    """Layers of which each alone reads the one before become one MLP, if their functions allow it."""
    readers = readers_of(operators)
    done: dict[str, Operator] = {}
    merged: dict[str, str] = {}
    for op in operators:
        before = done.get(op.input) if isinstance(op, ops.Mlp) else None
        chained = None
        if isinstance(op, ops.Mlp) and isinstance(before, ops.Mlp) and len(readers[before.name]) == 1:
            chained = _chained(before, op)
        if chained is not None and before is not None:
            del done[before.name]
            merged[before.name] = op.name
        done[op.name] = chained or op
    return with_common_names(list(done.values()), merged)


def _chained(first: ops.Mlp, second: ops.Mlp) -> ops.Mlp | None:
    """Both as one, where all but the last function are equal."""
    if (
        {first.groups, second.groups} != {1}
        or first.memory
        or second.memory
        or first.bias != second.bias
        or first.casts != second.casts
        or _whose(first) != _whose(second)
    ):
        return None
    functions = [function for _, _, function in (*first.layers, *second.layers)]
    hidden, last = set(functions[:-1]), functions[-1]
    if len(hidden) > 1:
        return None
    return second.model_copy(
        update={
            "input": first.input,
            "widths": (*first.widths, *second.widths[1:]),
            "activation": functions[0],
            "final_activation": None if last == functions[0] else last,
        }
    )


def _join_lookups(operators: Operators, shapes: Shapes) -> Operators:  # noqa: ARG001  # one signature
    """Pooled lookups that one join or interaction reads side by side become one operator."""
    readers, by_name = readers_of(operators), {operator.name: operator for operator in operators}
    merged: dict[str, str] = {}
    for op in operators:
        if not isinstance(op, (ops.Concat, ops.DotInteraction)):
            continue
        for run in _runs(
            op.inputs, lambda name: _joinable(by_name[name], readers) if name in by_name else None
        ):
            first = by_name[run[0]]
            assert isinstance(first, ops.EmbeddingBag)
            tables = [table for name in run for table in _tables(by_name[name])]
            by_name[run[0]] = first.model_copy(update={"tables": _counted(tables)})
            merged |= dict.fromkeys(run[1:], run[0])
    last = {first: name for name, first in merged.items()}  # whose ids all members' are known by
    kept: Operators = []
    for name, operator in by_name.items():
        if name not in merged and name not in last:
            kept.append(operator)
        elif last.get(merged.get(name, "")) == name:
            kept.append(by_name[merged[name]])
    return with_common_names(_drop_repeats(kept, merged), merged)


def _runs(names: Iterable[str], key: Callable[[str], Any]) -> list[list[str]]:
    """Neighbours with the same key, which is not None; two at least."""
    runs: list[tuple[Any, list[str]]] = []
    for name in names:
        found = key(name)
        if found is not None and runs and runs[-1][0] == found:
            runs[-1][1].append(name)
        else:
            runs.append((found, [name]))
    return [run for found, run in runs if found is not None and 1 < len(run) == len(set(run))]


def _joinable(operator: Operator, readers: Mapping[str, set[str]]) -> tuple[object, ...] | None:
    """Dim and pooling of a pooled lookup that has one reader; None where it cannot join others."""
    if not isinstance(operator, ops.EmbeddingBag) or operator.pooling == "none" or operator.weights:
        return None
    dims = {table.dim for table in operator.tables}
    if len(dims) > 1 or len(readers[operator.name]) != 1:
        return None
    return dims.pop(), operator.pooling, *_whose(operator)


def _whose(operator: Operator) -> tuple[str, str]:
    """Scope and precision, which operators that are joined have in common."""
    return operator.scope, operator.precision


def _tables(operator: Operator) -> tuple[ops.EmbeddingTable, ...]:
    assert isinstance(operator, ops.EmbeddingBag)
    return operator.tables


def _counted(tables: list[ops.EmbeddingTable]) -> tuple[ops.EmbeddingTable, ...]:
    """Equal neighbours as one entry with a count."""
    counted: list[ops.EmbeddingTable] = []
    for table in tables:
        if counted and counted[-1].model_copy(update={"count": table.count}) == table:
            counted[-1] = counted[-1].model_copy(update={"count": counted[-1].count + table.count})
        else:
            counted.append(table)
    return tuple(counted)


def _drop_repeats(operators: Operators, merged: Mapping[str, str]) -> Operators:
    """Leave merged names out of the lists of inputs: their operator stands there already."""
    return [
        op.model_copy(update={"inputs": tuple(name for name in op.inputs if name not in merged)})
        if isinstance(op, (ops.Concat, ops.DotInteraction))
        else op
        for op in operators
    ]
