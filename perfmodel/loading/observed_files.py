"""The files that `perfplan observe` writes: a scenario, its service times, its sizes or its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from perfmodel.loading.recordings.recording import FloatArray, IntArray


def scenario_text(values: Mapping[str, Any], comments: Sequence[str]) -> str:
    """A scenario file, with what its reader must know on top."""
    head = "".join(f"# {comment}\n" for comment in comments)
    return head + yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True, width=110)


def _plain(value: Any) -> Any:
    """Values that YAML writes as people do: rounded to seven digits."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def table_text(names: Sequence[str], rows: Sequence[Sequence[float | int]], comments: Sequence[str]) -> str:
    """A CSV table, whole numbers as such."""
    head = "".join(f"# {comment}\n" for comment in comments)
    lines = [
        ",".join(str(value) if isinstance(value, int) else f"{value:.7g}" for value in row) for row in rows
    ]
    return head + ",".join(names) + "\n" + "\n".join(lines) + "\n"


def sizes_text(values: IntArray, counts: IntArray) -> str:
    """Query sizes and how often each came."""
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return "num_items,count\n" + "".join(f"{value},{count}\n" for value, count in pairs)


def trace_text(arrival_s: FloatArray, num_items: IntArray) -> str:
    """Arrivals and sizes, to the nanosecond."""
    pairs = zip(arrival_s.tolist(), num_items.tolist(), strict=True)
    return "arrival_s,num_items\n" + "".join(f"{arrival:.9f},{size}\n" for arrival, size in pairs)
