"""Rewrite a list of operators: who reads what, new names, and everything that refers to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perfmodel.domain import operators as ops
from perfmodel.domain.model import DENSE, QUERY_DENSE
from perfmodel.domain.operators import Operator

Operators = list[Operator]


def with_common_names(operators: Operators, merged: Mapping[str, str]) -> Operators:
    """Name merged operators by what their parts' names begin with: `top.0` and `top.2` become `top`."""
    members: dict[str, set[str]] = {}
    for name in merged:
        last = name
        while last in merged:
            last = merged[last]
        members.setdefault(last, {last}).add(name)
    return renamed_after_members(operators, members)


def renamed_after_members(operators: Operators, members: Mapping[str, set[str]]) -> Operators:
    """Name operators by what the names of their members have in common, where that is free."""
    taken = {operator.name for operator in operators} | {DENSE, QUERY_DENSE}
    renamed = {}
    for name, parts in members.items():
        common = _common_prefix(parts)
        if common and common not in taken:
            renamed[name] = common
            taken.add(common)
    updates = {
        op.name: op.model_copy(update={"name": renamed[op.name]}) for op in operators if op.name in renamed
    }
    return with_updates(operators, updates, renamed)


def _common_prefix(names: Iterable[str]) -> str:
    split = [name.split(".") for name in names]
    common = []
    for words in zip(*split, strict=False):
        if len(set(words)) > 1:
            break
        common.append(words[0])
    return ".".join(common)


def with_updates(
    operators: Operators, updates: Mapping[str, Operator], renamed: Mapping[str, str]
) -> Operators:
    """Put updated operators in place, drop those that were folded into others, and rename what is read."""
    names = {operator.name for operator in updates.values()}
    kept = [updates.get(op.name, op) for op in operators if op.name not in renamed or op.name in updates]
    assert names <= {operator.name for operator in kept}
    return [_reading(operator, renamed) for operator in kept]


def _reading(operator: Operator, renamed: Mapping[str, str]) -> Operator:
    """The operator with renamed inputs."""
    fields = (
        "input",
        "inputs",
        "left",
        "right",
        "query",
        "key",
        "behaviours",
        "candidate",
        "states",
        "attention",
        "value",
        "weights",
    )
    update: dict[str, Any] = {}
    for field in fields:
        value = getattr(operator, field, None)
        if isinstance(value, str) and value in renamed:
            update[field] = renamed[value]
        elif isinstance(value, tuple):
            update[field] = tuple(renamed.get(name, name) for name in value)
    if isinstance(operator, ops.EmbeddingBag):
        update["tables"] = tuple(
            table.model_copy(update={"indices": renamed.get(table.indices or "", table.indices)})
            for table in operator.tables
        )
    return operator.model_copy(update=update) if update else operator


def readers_of(operators: Operators) -> dict[str, set[str]]:
    """Who reads each result; a reader that reads it twice counts once."""
    readers: dict[str, set[str]] = {operator.name: set() for operator in operators}
    for operator in operators:
        for name in operator.reads():
            readers.setdefault(name, set()).add(operator.name)
    return readers
