"""The columns that the rows of a sweep may have, known from the schemas before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perfmodel.planning.sweep.answer import ANY, named_column
from perfmodel.report.documents.schemas import document_schema
from perfmodel.report.frames import NOT_OF_THE_ANSWER, has_ends


def columns_of(question: str) -> list[str]:
    """Names of the columns with numbers that a question's rows may have, patterns where names are open.

    Examples
    --------
    >>> columns = columns_of("predict")
    >>> [name in columns for name in ("latency_ms.p95", "latency_ci95_ms.p95.low", "verdict")]
    [True, True, False]
    """
    schema = document_schema(question)
    return list(dict.fromkeys(_columns(schema, "", schema.get("$defs", {}))))


def require_metrics(names: Iterable[str], question: str, keys: Iterable[str], option: str) -> None:
    """Refuse names of metrics that no row can have, before a sweep computes any.

    Parameters
    ----------
    names : iterable of str
        As `named_column` takes them.
    question : str
        What is asked at every point.
    keys : iterable of str
        What is swept: columns, too.
    option : str
        What the refusal begins with.

    Raises
    ------
    InputError
        If a name is of no column, or of several.
    """
    wanted = list(names)
    columns = [*columns_of(question), *keys] if wanted else []
    for name in wanted:
        named_column(name, columns, option)


def _columns(schema: Mapping[str, Any], name: str, definitions: Mapping[str, Any]) -> Iterator[str]:
    """What `flat` makes of a document of this schema, where it is a number."""
    if (reference := schema.get("$ref")) is not None:
        yield from _columns(definitions[reference.rpartition("/")[2]], name, definitions)
        return
    for branch in schema.get("anyOf", ()):
        yield from _columns(branch, name, definitions)
    match schema.get("type"):
        case "object":
            for key, inner in schema.get("properties", {}).items():
                if name or key not in NOT_OF_THE_ANSWER:
                    yield from _columns(inner, f"{name}.{key}" if name else key, definitions)
            for inner in schema.get("patternProperties", {}).values():
                yield from _columns(inner, f"{name}.{ANY}", definitions)
            if isinstance(inner := schema.get("additionalProperties"), Mapping):
                yield from _columns(inner, f"{name}.{ANY}", definitions)
        case "array" if has_ends(name):
            yield from (f"{name}.{end}" for end in ("low", "high"))
        case "array" if _is_number(schema.get("items", {})):
            yield f"{name}.{ANY}"
        case "number" | "integer":
            yield name


def _is_number(schema: Mapping[str, Any]) -> bool:
    kinds = [schema, *schema.get("anyOf", ())]
    return any(kind.get("type") in ("number", "integer") for kind in kinds)
