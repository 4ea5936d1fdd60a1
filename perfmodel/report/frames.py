"""Answers as tables of pandas: the JSON documents, flattened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perfmodel.errors import InputError
from perfmodel.loading.words import quoted

if TYPE_CHECKING:
    import pandas

ANSWER = "answer"
"""The table that is the whole answer in one row."""

FULLEST_STAGE = "stage.fullest.utilisation"
"""How full the fullest stage of a pipeline is, as a column of a sweep. [1]"""

_NAMING = ("scenario", "model", "device", "stack", "co_located")
"""What tells answers apart: each row of a list carries it."""

_WITH_ENDS = frozenset({"ci95", "band", "range"})
"""Words in the keys of intervals, whose values are [low, high]."""


def data_frame(documents: Sequence[Mapping[str, Any]], table: str) -> pandas.DataFrame:
    """Return one table of several documents of a kind, below each other.

    Raises
    ------
    InputError
        If there is no such table, or no pandas.
    """
    rows = [row for document in documents for row in table_rows(document, table)]
    try:
        import pandas  # an extra: who wants no tables need not have it
    except ImportError:
        raise InputError("to_pandas needs pandas: pip install 'perfplan[pandas]'") from None
    return pandas.DataFrame(rows)


def table_rows(document: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    """Return the rows of a table: of the whole answer, or of one of its lists.

    Examples
    --------
    >>> document = {"scenario": "a", "sla": {"ci95_ms": [1.0, None]}, "windows": [{"start_s": 0.0}]}
    >>> table_rows(document, "answer")
    [{'scenario': 'a', 'sla.ci95_ms.low': 1.0, 'sla.ci95_ms.high': None}]
    >>> table_rows(document, "windows")
    [{'scenario': 'a', 'start_s': 0.0}]
    """
    if table == ANSWER:
        return [flat(document)]
    tables = list_paths(document)
    if table not in tables:
        known = ", ".join([ANSWER, *tables])
        raise InputError(f"to_pandas: expected one of {known}, got {quoted(table)}")
    named = {key: document[key] for key in _NAMING if key in document}
    return [named | row for row in _entries(document, table.split("."))]


NOT_OF_THE_ANSWER = ("schema", "perfplan", "date", "inputs", "asked")
"""Keys by which a document says what it is, when it was made, and of what."""


def list_paths(document: Mapping[str, Any]) -> list[str]:
    """Where the lists of sections stand in a document, keys joined by points."""
    paths = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            paths += [f"{key}.{path}" for path in list_paths(value)]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            paths += [key, *(f"{key}.{path}" for path in list_paths(value[0]))]
    return paths


def flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The single values of a section, keys within keys joined by points; other lists are left out."""
    row: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        if name in NOT_OF_THE_ANSWER:
            continue
        if isinstance(value, Mapping):
            row |= flat(value, f"{name}.")
        elif has_ends(name) and (value is None or isinstance(value, list)):
            row[f"{name}.low"], row[f"{name}.high"] = value or (None, None)
        elif isinstance(value, list):
            row |= {f"{name}.{i}": each for i, each in enumerate(value) if isinstance(each, int | float)}
        else:
            row[name] = value
    return row


def has_ends(name: str) -> bool:
    """Whether a value of this name is an interval, [low, high]."""
    return not _WITH_ENDS.isdisjoint(name.replace(".", "_").split("_"))


def _entries(section: Mapping[str, Any], path: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a list, those of a list within a list beside what the outer entry says."""
    key, *rest = path
    inner = section[key]
    if isinstance(inner, Mapping):
        yield from _entries(inner, rest)
        return
    for entry in inner:
        if rest:
            yield from (flat(entry) | row for row in _entries(entry, rest))
        else:
            yield flat(entry)
