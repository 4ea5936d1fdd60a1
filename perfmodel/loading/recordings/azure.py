"""The public traces of Azure, by their schemas in the repository Azure/AzurePublicDataset.

- AzureFunctionsDataset2019.md: invocations of each function by minute of a day, and tables of durations and
  memory without any times.
- AzureFunctionsInvocationTrace2021.md: the end and the duration of each invocation [s].
- AzureLLMInferenceDataset2023.md, AzureLLMInferenceDataset2024.md: a date and two numbers of tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import islice

import numpy as np

from perfmodel.loading.recordings.cells import MOST_COUNTED, cells_of
from perfmodel.loading.recordings.columns import Column, Role
from perfmodel.loading.recordings.delimited import Layout, read_columns
from perfmodel.loading.recordings.recording import Counts, FloatArray, Recording
from perfmodel.loading.recordings.source import Source

MINUTE_S = 60.0
_ROWS_AT_ONCE = 2000
"""Functions, each with 1440 numbers: some 20 MB."""

LLM_NAMES = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}
LLM = "an Azure LLM inference trace"
LLM_NOTE = "a query's size is its context tokens; generated tokens are left out"
INVOCATIONS_NAMES = {"app", "func", "end_timestamp", "duration"}
INVOCATIONS = "an Azure Functions invocation trace, 2021"
MINUTES_NAMES = {"HashOwner", "HashApp", "HashFunction", "Trigger"}
MINUTES = "Azure Functions invocations by minute, 2019"
DURATIONS_NAMES = {"HashFunction", "Average", "Count"}
DURATIONS = "Azure Functions durations, 2019"
MEMORY_NAMES = {"HashApp", "SampleCount", "AverageAllocatedMb"}
MEMORY = "Azure Functions memory, 2019"


def summaries(names: Sequence[str]) -> str | None:
    """The table without times that these columns are; None of others."""
    found = set(names)
    if found >= MEMORY_NAMES:
        return MEMORY
    return DURATIONS if found >= DURATIONS_NAMES else None


def read_invocations(source: Source, layout: Layout) -> Recording:
    """Read ends and durations: a query arrives, and starts, its duration before its end."""
    index = {name: position for position, name in enumerate(layout.names)}
    columns = {
        Role.END: Column("end_timestamp", index["end_timestamp"], Role.END, "s"),
        Role.COUNT: Column("duration", index["duration"], Role.COUNT, None),
    }
    found = read_columns(source, layout._replace(columns=columns))
    end_s, duration_s = found[Role.END], found[Role.COUNT]
    order = np.argsort(end_s - duration_s, kind="stable")
    start_s = (end_s - duration_s)[order]
    return Recording(
        path=source.path,
        format=INVOCATIONS,
        arrival_s=start_s,
        start_s=start_s,
        end_s=end_s[order],
        time_unit="s",
        time_reason="the schema says seconds",
        ignored=("app", "func"),
        notes=(
            "a query arrives when its function starts, end less duration; the file is by end, and was sorted",
        ),
    )


def read_minutes(source: Source, layout: Layout) -> Recording:
    """Read invocations by minute, all functions together."""
    first = len(MINUTES_NAMES)
    expected = [str(minute) for minute in range(1, len(layout.names) - first + 1)]
    if layout.names[first:] != expected or not expected:
        raise layout.header.error(
            f"expected the columns Trigger, 1, 2, … after the hashes; {MINUTES} have them"
        )
    added = _added(source, layout, first)
    if added is None:
        counts = _counts_by_line(source, layout)
        added = counts.sum(axis=0), len(counts)
    total, functions = added
    start_s = np.arange(len(total), dtype=np.float64) * MINUTE_S
    return Recording(
        path=source.path,
        format=MINUTES,
        counts=Counts(start_s, np.full(len(total), MINUTE_S), total),
        time_unit="min",
        time_reason="the schema says minutes of a day",
        ignored=("HashOwner", "HashApp", "HashFunction", "Trigger"),
        notes=(f"{functions} functions, added up",),
    )


def _added(source: Source, layout: Layout, first: int) -> tuple[FloatArray, int] | None:
    """Counts of all functions by minute, and how many functions; None where a line is not as expected."""
    total, functions = np.zeros(len(layout.names) - first), 0
    try:
        with source.open_text() as file:
            rows = islice(file, layout.header.number, None)
            while lines := list(islice(rows, _ROWS_AT_ONCE)):
                counts = _counts(lines, first, len(layout.names))
                if counts is None:
                    return None
                total += counts.sum(axis=0)
                functions += len(counts)
    except (ValueError, OSError, EOFError):  # bytes that are no text, or a compressed file that was cut
        return None
    return total, functions


def _counts(lines: list[str], first: int, columns: int) -> FloatArray | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            counts: FloatArray = np.loadtxt(lines, delimiter=",", usecols=range(first, columns), ndmin=2)
    except (ValueError, Warning):
        return None
    wide = all(line.count(",") == columns - 1 for line in lines if line.strip())
    good = wide and ((counts >= 0) & (counts <= MOST_COUNTED) & (counts == np.rint(counts))).all()
    return counts if good else None


def _counts_by_line(source: Source, layout: Layout) -> FloatArray:
    """Read slowly, up to the first mistake."""
    found = []
    for line in source.content():
        if line.number <= layout.header.number:
            continue
        cells = cells_of(line, ",")
        if len(cells) != len(layout.names):
            raise line.error(
                f"expected {len(layout.names)} values (hashes, Trigger, minutes), got {len(cells)}"
            )
        row = []
        for name, cell in list(zip(layout.names, cells, strict=True))[len(MINUTES_NAMES) :]:
            value = cell._replace(column=name).number()
            if not 0 <= value <= MOST_COUNTED or value != int(value):
                raise cell._replace(column=name).unexpected(f"a whole number from 0 to {MOST_COUNTED:.0f}")
            row.append(value)
        found.append(row)
    return np.array(found).reshape(len(found), len(layout.names) - len(MINUTES_NAMES))
