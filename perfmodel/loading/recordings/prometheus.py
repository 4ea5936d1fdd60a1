"""A range export of Prometheus: the JSON of its HTTP API's `/api/v1/query_range`.

Documented under "HTTP API", "Range queries" and "Expression query result formats": `data.resultType` is
`matrix`, each result has `metric` (labels) and `values`, pairs of a time since 1970 [s] and a text.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from math import isfinite
from typing import Any, cast

import numpy as np

from perfmodel.loading.recordings.recording import Counts, Recording
from perfmodel.loading.recordings.source import Source

RANGE = "a Prometheus range export"

_COUNTERS = ("_total", "_count")
"""Ends of the names of counters, by Prometheus's conventions."""


def is_answer(document: object) -> bool:
    """Whether a JSON document is an answer of Prometheus's API."""
    if not isinstance(document, Mapping) or "status" not in document:
        return False
    data = document.get("data")
    return document["status"] == "error" or (isinstance(data, Mapping) and "resultType" in data)


def read_answer(source: Source, document: Mapping[str, Any]) -> Recording:
    """Read queries by time: the increase of counters, or rates times the step, all series together.

    Raises
    ------
    InputError
        If it is an error, an instant query or a histogram's buckets, or a sample is none.
    """
    data = document.get("data", {})
    if document["status"] == "error":
        raise source.error(f"looks like {RANGE}, but is an error: {document.get('error', 'unknown')}")
    if data["resultType"] != "matrix":
        raise source.error(
            f"looks like an instant query of Prometheus ({data['resultType']}), which gives one moment and "
            "no traffic over time; export query_range"
        )
    series = data.get("result")
    if not isinstance(series, list) or not series:
        raise source.error(f"looks like {RANGE}, but holds no series")
    totals: dict[float, float] = {}
    counted, missing, resets = _are_counters(source, series), 0, 0
    for index, one in enumerate(series):
        where = f"result[{index}]"
        if not isinstance(one, Mapping) or "values" not in one:
            raise source.error(f"{where}: expected values, pairs of a time and a text")
        if "le" in one.get("metric", {}):
            raise source.error(
                f"{where}: looks like the buckets of a histogram (label le), which count latencies and give "
                "no traffic; export its _count"
            )
        samples = [_sample(source, f"{where}.values[{at}]", pair) for at, pair in enumerate(one["values"])]
        times = [time for time, _ in samples]
        if any(after <= before for before, after in itertools.pairwise(times)):
            raise source.error(f"{where}: expected ascending times")
        before = None
        for time, value in samples:
            if not isfinite(value):
                missing += 1
                value = 0.0 if not counted else (before or 0.0)
            if value < 0:
                raise source.error(f"{where}: expected values >= 0, got {value:g}")
            if not counted:
                totals[time] = totals.get(time, 0.0) + value
            else:
                if before is not None:
                    resets += value < before
                    totals[time] = totals.get(time, 0.0) + (value - before if value >= before else value)
                before = value
    return _recording(source, totals, len(series), counted, missing, resets)


def _recording(
    source: Source, totals: Mapping[float, float], series: int, counted: bool, missing: int, resets: int
) -> Recording:
    times = np.array(sorted(totals))
    if len(times) < 2:
        raise source.error(f"looks like {RANGE}, but has fewer than two times; expected a range")
    steps = np.diff(times)
    step_s = float(np.median(steps))
    width_s = np.concatenate([[step_s], np.minimum(steps, step_s)])  # a gap in the export is no traffic
    values = np.array([totals[time] for time in times])
    notes = [
        f"{'an increasing counter' if counted else 'a rate [queries/s], as its values are no counter'}; "
        f"step {step_s:g} s"
    ]
    if series > 1:
        notes.append(f"{series} series, added up")
    if missing:
        notes.append(f"{missing} samples without a number, taken as no traffic")
    if resets:
        notes.append(f"{resets} resets of the counter")
    start_s = times - width_s
    return Recording(
        path=source.path,
        format=RANGE,
        counts=Counts(start_s - start_s[0], width_s, values if counted else values * width_s),
        time_unit="s",
        time_reason="the format says seconds since 1970",
        notes=tuple(notes),
    )


def _are_counters(source: Source, series: list[Any]) -> bool:
    """Whether the series count up: by name, or since none of their values ever falls and they grow."""
    first = series[0]
    name = str(first.get("metric", {}).get("__name__", "")) if isinstance(first, Mapping) else ""
    if name:
        return name.endswith(_COUNTERS)
    grown = False
    for one in series:
        if not isinstance(one, Mapping) or not isinstance(one.get("values"), list):
            return False
        values = [_sample(source, "values", pair)[1] for pair in one["values"]]
        if any(after < before for before, after in itertools.pairwise(values)):
            return False
        grown |= len(values) > 2 and values[-1] > 10 * max(1.0, values[1] - values[0])
    return grown


def _sample(source: Source, where: str, pair: object) -> tuple[float, float]:
    try:
        time, text = cast("tuple[str | float, str]", pair)
        found = float(time), float(text)
    except (TypeError, ValueError, OverflowError):
        raise source.error(f"{where}: expected a time and a number as text") from None
    if not isfinite(found[0]):
        raise source.error(f"{where}: expected a time since 1970 [s]")
    return found
