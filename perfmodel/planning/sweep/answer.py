"""The answer of a sweep: a row a point, and which rows nothing beats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.inputs import InputFile, input_files
from perfmodel.loading.over import SweptKey
from perfmodel.loading.words import nearest, quoted
from perfmodel.planning.service_times import IDLE_ACCELERATOR
from perfmodel.planning.sweep.journal import Row

ANSWERED = (0, 3, 4, 6)
"""Exit codes of rows that hold an answer: a missed SLA, an overload and "cannot tell" are answers."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "latency": ("sla.predicted_ms", "latency_ms.p95"),
    "qps": ("tuned.latency_bounded_qps", "latency_bounded_qps"),
}
"""Short names of what is looked at most, by the first column that there is."""

MOST_NAMED = 16
"""Columns that a message names."""

ANY = "*"
"""A part of a column's name that is not known before there are rows: a service, a place in a list."""

_LESS_IS_BETTER = frozenset(
    ("ms", "power", "price", "usd", "joules", "co2", "nodes", "utilisation", "shed", "error", "threads")
).union(("late", "gap", "raised"))
"""Words in the names of metrics of which less is better; of all others more is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTable:
    """The answer of `perfplan sweep`.

    Attributes
    ----------
    scenario : str
        What the points change.
    question : str
        Which command's answers the rows hold.
    keys : tuple of SweptKey
        What is changed.
    rows : tuple of dict
        In the order of the points, all with the same columns: the swept keys, then exit code, reason, stack
        and the metrics; None where a point has none.
    pareto : tuple of str
        The metrics that the front is of; empty where nobody asked.
    inputs : tuple of InputFile
        The files that the points' answers were computed from.
    asked : mapping
        What the points change, as its file says it.
    """

    scenario: str
    question: str
    keys: tuple[SweptKey, ...]
    rows: tuple[Row, ...]
    pareto: tuple[str, ...] = ()
    inputs: tuple[InputFile, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.rows[0])

    @property
    def answered(self) -> int:
        """Points that have an answer."""
        return sum(row["exit_code"] in ANSWERED for row in self.rows)

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know."""
        notes = []
        stacks = sorted({row["stack"] for row in self.rows if row["stack"] is not None})
        if len(stacks) > 1:
            listed = ", ".join(stacks)
            notes.append(f"the points have times of different software ({listed}), which is compared too")
        idle = sum(row.get("utilisation.accelerator") == 0.0 for row in self.rows)
        if idle:
            at = "" if idle == len(self.rows) else f"at {idle} of {len(self.rows)} points "
            notes.append(f"{at}{IDLE_ACCELERATOR}; set policy.offload_threshold_items, or let tune find it")
        return notes


def table_of(
    scenario: str,
    question: str,
    keys: Sequence[SweptKey],
    found: Sequence[tuple[Row, Row]],
    pareto: Sequence[str] = (),
    files: Iterable[Path] = (),
    asked: Mapping[str, Any] | None = None,
) -> SweepTable:
    """Put rows below each other, each a pair of what was set and what was found.

    Raises
    ------
    InputError
        If the front is asked of a metric that no row has.
    """
    columns = dict.fromkeys(name for _, row in found for name in row)
    # A section that a point has and another does not is null there, and several columns here.
    split = {name[:at] for name in columns for at, letter in enumerate(name) if letter == "."}
    columns = {name: None for name in columns if name not in split}
    rows = [swept | {name: row.get(name) for name in columns} for swept, row in found]
    metrics = tuple(column_of(name, rows, "--pareto") for name in pareto)
    if metrics:
        best = pareto_front(rows, metrics)
        rows = [row | {"pareto": index in best} for index, row in enumerate(rows)]
    return SweepTable(
        scenario=scenario,
        question=question,
        keys=tuple(keys),
        rows=tuple(rows),
        pareto=metrics,
        inputs=input_files(files),
        asked=asked or {},
    )


def column_of(name: str, rows: Sequence[Row], option: str) -> str:
    """Find the numeric column that a name means: itself, a short name's, or the only one that ends so.

    Raises
    ------
    InputError
        If there is none, or several.

    Examples
    --------
    >>> column_of("latency", [{"a": 1, "latency_ms.p95": 3.0}], "--pareto")
    'latency_ms.p95'
    """
    numeric = [
        column
        for column in (rows[0] if rows else ())
        if any(_is_number(row[column]) for row in rows) and column not in ("exit_code",)
    ]
    if not numeric:
        raise InputError(f"{option}: no point has an answer with numbers")
    return named_column(name, numeric, option)


def named_column(name: str, columns: Sequence[str], option: str) -> str:
    """Find the column that a name means among those there are, or may be: a part of one may be `*`.

    Raises
    ------
    InputError
        If there is none, or several.

    Examples
    --------
    >>> named_column("nodes.feed.skylake", ["nodes.*.*", "power_w"], "--metric")
    'nodes.*.*'
    """
    for wanted in (name, *_ALIASES.get(name, ())):
        if exact := [column for column in columns if _tail(column, wanted) == column]:
            return exact[0]
    tails = {column: _tail(column, name) for column in columns}
    ending = [column for column, tail in tails.items() if tail == name] or [
        column for column, tail in tails.items() if tail is not None and tail.strip(f".{ANY}")
    ][:1]
    tuned = [column for column in ending if column.startswith("tuned.")]
    if len(tuned or ending) == 1:
        return (tuned or ending)[0]
    if ending:
        raise InputError(f"{option}: {name} may be {', '.join(ending[:6])}; expected one of them")
    short = [column for column in columns if "." not in column][:MOST_NAMED]
    hint = nearest(name, columns) or f"; there are {', '.join(short)} and others, the columns of --out"
    raise InputError(f"{option}: no metric {quoted(name)}{hint}")


def _tail(column: str, name: str) -> str | None:
    """The longest end of a column's name that this name may be, whole parts of it; None: it is none."""
    parts = column.split(".")
    tails = (".".join(parts[start:]) for start in range(len(parts)))
    return next((tail for tail in tails if _may_be(tail, name)), None)


def _may_be(pattern: str, name: str) -> bool:
    if ANY not in pattern:
        return pattern == name
    return re.fullmatch(re.escape(pattern).replace(re.escape(ANY), ".+"), name) is not None


def pareto_front(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> set[int]:
    """Indices of the rows that no other is at least as good as in all metrics, and better in one.

    Examples
    --------
    >>> rows = [{"p95_ms": 1.0, "qps": 5}, {"p95_ms": 2.0, "qps": 5}, {"p95_ms": 2.0, "qps": 9}]
    >>> sorted(pareto_front(rows, ["p95_ms", "qps"]))
    [0, 2]
    """
    signs = [1.0 if less_is_better(metric) else -1.0 for metric in metrics]
    points = {
        index: tuple(sign * row[metric] for sign, metric in zip(signs, metrics, strict=True))
        for index, row in enumerate(rows)
        if all(_is_number(row[metric]) for metric in metrics)
    }
    front: dict[int, tuple[float, ...]] = {}
    for index, point in sorted(points.items(), key=lambda item: item[1]):
        # In this order nothing that comes later beats what is already on the front.
        if not any(_beats(other, point) for other in front.values()):
            front[index] = point
    return set(front)


def less_is_better(metric: str) -> bool:
    """Whether a metric is the better the smaller it is: times, power, prices, errors.

    Examples
    --------
    >>> less_is_better("latency_ms.p95"), less_is_better("qps_per_w"), less_is_better("power_w")
    (True, False, True)
    >>> less_is_better("share_late"), less_is_better("latency_bounded_qps")
    (True, False)
    """
    return not _LESS_IS_BETTER.isdisjoint(re.split(r"[._]", metric))


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
