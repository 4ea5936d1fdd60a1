"""What the columns of a table are, by their names: roles, units of time, and names that look like a slip."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import NamedTuple

from perfmodel.loading.words import LONGEST_QUOTE


class Role(StrEnum):
    """What a column says of a query."""

    ARRIVAL = "arrival"
    SIZE = "size"
    START = "start"
    END = "end"
    EXECUTOR = "executor"
    QUERY = "query"
    COUNT = "count"


TIMES = (Role.ARRIVAL, Role.START, Role.END)

NAMES: Mapping[Role, tuple[str, ...]] = {
    Role.ARRIVAL: (
        *("arrival", "arrived", "arrival_time", "arrival_timestamp", "arrival_ts", "timestamp", "time", "ts"),
        *("t", "datetime", "date", "request_time", "received", "issued", "send_time"),
    ),
    Role.SIZE: (
        *("num_items", "items", "item_count", "size", "query_size", "batch_size", "batch", "batchsize"),
        *("num_candidates", "candidates", "contexttokens", "context_tokens", "input_tokens", "prompt_tokens"),
    ),
    Role.START: ("start", "started", "start_time", "start_timestamp", "start_ts", "service_start", "begin"),
    Role.END: (
        *("end", "ended", "end_time", "end_timestamp", "end_ts", "service_end", "finish", "finished"),
        *("finish_time", "completion", "completed", "completion_time", "done", "stop"),
    ),
    Role.EXECUTOR: (
        *(
            "executor",
            "executor_id",
            "worker",
            "worker_id",
            "core",
            "core_id",
            "server",
            "instance",
            "thread",
        ),
        *("thread_id", "pid"),
    ),
    Role.QUERY: ("query", "query_id"),
    Role.COUNT: ("count", "frequency", "weight", "queries"),
}
"""By role, the names that columns have in logs and published traces, the most telling first."""

UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Of times. [s]"""

_UNIT_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "micros", "microsecond", "microseconds", "µs"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanosecond", "nanoseconds"), "ns"),
}

_LIKE_A_SLIP = 0.88
"""How alike a name must be to one that is known to be taken for a slip of it: one letter in nine."""


class Column(NamedTuple):
    """A column that says something of queries: its name and place, its role, and the unit its name gives."""

    name: str
    position: int
    role: Role
    unit: str | None


def known_columns(names: Sequence[str]) -> dict[Role, Column]:
    """Find the columns that say something of queries; of several with one role, the most telling.

    Examples
    --------
    >>> columns = known_columns(["", "Arrival (ms)", "num_items", "user"])
    >>> [(role.value, column.position, column.unit) for role, column in columns.items()]
    [('arrival', 1, 'ms'), ('size', 2, None)]
    """
    found: dict[Role, tuple[int, Column]] = {}
    for index, name in enumerate(names):
        word, unit = _word_and_unit(name)
        for role, known in NAMES.items():
            if word in known and (unit is None or role in TIMES):
                rank = known.index(word)
                if role not in found or rank < found[role][0]:
                    found[role] = rank, Column(name, index, role, unit)
    return {role: found[role][1] for role in Role if role in found}


def slip(name: str, missing: Sequence[Role]) -> str | None:
    """The name that a column's is probably a slip of, of a role that no column has.

    Examples
    --------
    >>> slip("num_item", [Role.SIZE]), slip("user", [Role.SIZE])
    ('num_items', None)
    """
    if len(name) > LONGEST_QUOTE or not missing:
        return None
    word, _ = _word_and_unit(name)
    known = [each for role in missing for each in NAMES[role] if len(each) > 3]
    close = get_close_matches(word, known, n=1, cutoff=_LIKE_A_SLIP)
    if not close:
        return None
    return "arrival_s" if close[0] == "arrival" else close[0]


def _word_and_unit(name: str) -> tuple[str, str | None]:
    """A name in lower case with underscores, and the unit at its end."""
    word = re.sub(r"[\s\-.@/]+", "_", name.strip().strip("\"'").lower()).strip("_")
    if match := re.fullmatch(r"(.+?)_?[\(\[]\s*(\w+|µs)\s*[\)\]]", word):
        word = f"{match.group(1)}_{match.group(2)}"
    stem, _, last = word.rpartition("_")
    if stem and last in _UNIT_WORDS:
        return stem, _UNIT_WORDS[last]
    return word, None
