"""The one reader: finds out what a file is, and reads it as that."""

from __future__ import annotations

import json
import re
from pathlib import Path

from perfmodel.errors import InputError
from perfmodel.loading.recordings import azure, hdr_histogram, prometheus
from perfmodel.loading.recordings.columns import NAMES, UNITS, Role
from perfmodel.loading.recordings.delimited import Layout, find_layout, read_columns, rows_of
from perfmodel.loading.recordings.json_records import (
    LINES,
    MOST_DOCUMENT_BYTES,
    json_lines,
    json_list,
    read_records,
)
from perfmodel.loading.recordings.recording import Recording
from perfmodel.loading.recordings.size_lists import is_dashed, looks_like_sizes, read_size_list
from perfmodel.loading.recordings.source import Source, open_source
from perfmodel.loading.recordings.tables import recording_of
from perfmodel.loading.words import quoted

KNOWN = (
    "CSV with a header, JSON lines, Parquet, lists of sizes, Azure Functions and LLM traces, HdrHistogram "
    "logs, Prometheus range exports"
)
"""What is read, for those whose file is none of it."""

_SEPARATOR_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}

_NO_TRAFFIC = (
    (re.compile(r"\s*<(!doctype html|html|\?xml)", re.I), "a web page or XML"),
    (
        re.compile(r"# (HELP|TYPE) \w+"),
        "a Prometheus exposition, which gives one moment and no traffic over time",
    ),
    (re.compile(r"\s*-----BEGIN "), "a key or a certificate"),
    (re.compile(r"%PDF-"), "a PDF document"),
)


def read_recording(path: Path, *, time_unit: str | None = None) -> Recording:
    """Read a file of recorded traffic in any format that is known.

    Parameters
    ----------
    path : Path
        The file; gzipped text is unpacked.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Of its stamps, where names and values do not tell.

    Raises
    ------
    InputError
        At the first mistake, `file:line:column: …`; names the format that the file looks like.
    """
    if time_unit is not None and time_unit not in UNITS:
        raise InputError(f"--time-unit: expected one of {', '.join(UNITS)}, got {quoted(time_unit)}")
    source = open_source(path)
    if source.kind == "parquet":
        from perfmodel.loading.recordings.parquet import read_parquet  # pyarrow is an extra

        return read_parquet(source, asked=time_unit)
    for pattern, what in _NO_TRAFFIC:
        if pattern.match(source.head):
            raise source.error(f"looks like {what}; expected recorded traffic: {KNOWN}")
    if hdr_histogram.is_log(source.head):
        return hdr_histogram.read_log(source)
    if hdr_histogram.is_percentiles(source.head):
        return hdr_histogram.read_percentiles(source)
    if source.head.lstrip()[:1] in ("{", "["):
        return _json(source, time_unit)
    return _text(source, time_unit)


def _json(source: Source, asked: str | None) -> Recording:
    first = source.head.strip().partition("\n")[0]
    if first.lstrip().startswith("{") and first.rstrip().endswith("}"):
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            value = None
        if value is None or not _is_document(value):
            return read_records(json_lines(source), asked=asked)
    if (size := source.path.stat().st_size) > MOST_DOCUMENT_BYTES:
        raise source.error(f"a JSON document of {size / 1e6:.0f} MB; expected at most 500 MB, or JSON lines")
    try:
        document = json.loads(source.text())
    except json.JSONDecodeError as error:
        if first.startswith("{") and '"' in first and error.lineno == 1:
            return read_records(json_lines(source), asked=asked)
        raise InputError(f"{source.path}:{error.lineno}:{error.colno}: expected JSON: {error.msg}") from None
    except RecursionError:
        raise source.error("expected JSON, got a document nested too deeply") from None
    except ValueError:  # Python reads no whole number of thousands of digits
        raise source.error("expected JSON, got a number of too many digits") from None
    if prometheus.is_answer(document):
        return prometheus.read_answer(source, document)
    if isinstance(document, list):
        if not document:
            raise source.error("expected recorded traffic, found an empty list")
        return read_records(json_list(source, document), asked=asked)
    if isinstance(document, dict) and "traceEvents" in document:
        raise source.error("looks like a Chrome trace, which gives operators and no traffic")
    if isinstance(document, dict) and isinstance(document.get("schema"), dict):
        raise source.error("looks like an answer of perfplan, which is no recorded traffic")
    if isinstance(document, dict) and any(name.lower() in NAMES[Role.ARRIVAL] for name in document):
        return read_records(json_lines(source), asked=asked)
    raise source.error(f"looks like a JSON document without traffic; expected {KNOWN}")


def _is_document(value: object) -> bool:
    """Whether one object in a line is a document of its own, and no row."""
    return prometheus.is_answer(value) or (
        isinstance(value, dict) and ("schema" in value or "traceEvents" in value)
    )


def _text(source: Source, asked: str | None) -> Recording:
    first = next((text for text in source.head.splitlines() if text.partition("#")[0].strip()), "")
    if not first:
        next(source.content(), None)  # says what is no text
        raise source.error("expected recorded traffic, found an empty file")
    if looks_like_sizes(first):
        layout = None if is_dashed(first) else find_layout(source)
        if layout is not None and not layout.columns:
            layout = None
    else:
        for line in source.lines():  # says what is no text, before its letters are taken for names
            if line.text.partition("#")[0].strip():
                break
        layout = find_layout(source)
    if layout is None:  # numbers, which no size may be some of: "-inf"
        return read_size_list(source)
    return _table(source, layout, asked)


def _table(source: Source, layout: Layout, asked: str | None) -> Recording:
    names = set(layout.names)
    if (summary := azure.summaries(layout.names)) is not None:
        raise source.error(
            f"looks like {summary}: summaries by function, which give neither arrival times nor query sizes"
        )
    if names >= azure.MINUTES_NAMES:
        return azure.read_minutes(source, layout)
    if names >= azure.INVOCATIONS_NAMES:
        return azure.read_invocations(source, layout)
    if not layout.columns:
        listed = ", ".join(name for name in layout.names[:6])
        raise layout.header.error(
            f"unknown column {quoted(layout.names[0])}; expected a header with arrival_s, num_items"
            if len(layout.names) == 1
            else f"none of the columns {quoted(listed)} says when queries arrive, or how large they are; "
            "expected a header with arrival_s, num_items"
        )
    columns = read_columns(source, layout)
    compressed = ", gzipped" if source.compressed else ""
    words = f"a table separated by {_SEPARATOR_WORDS[layout.separator]}{compressed}"
    is_llm = names >= azure.LLM_NAMES
    found = recording_of(
        source.path,
        azure.LLM if is_llm else words,
        columns,
        layout.columns,
        names=layout.names,
        dated=layout.dated,
        asked=asked,
        place=f"{source.path}:{layout.header.number}:1",
        first_line=layout.header.number + 1,
    )
    return found.without(notes=(azure.LLM_NOTE,)) if is_llm else found


def row_error(recording: Recording, row: int, role: Role, message: str) -> InputError:
    """Build an error about a row: at its line and column where rows are lines of a table.

    Parameters
    ----------
    recording : Recording
        What was read.
    row : int
        From 0 on, as the recording has them.
    role : Role
        The column that it is about.
    message : str
        What is wrong; `{got}` becomes the text that stands there.
    """
    source = open_source(recording.path)
    times = {Role.ARRIVAL: recording.arrival_s, Role.START: recording.start_s, Role.END: recording.end_s}
    found = times.get(role)
    got = "another" if found is None else f"{float(found[row])!r} s"
    row = row if recording.file_rows is None else int(recording.file_rows[row])
    if recording.first_line and recording.format == LINES:
        for index, line in enumerate(line for line in source.lines() if line.text.strip()):
            if index == row:
                return line.error(message.format(got="the line"))
    layout = find_layout(source) if recording.first_line else None
    if layout is not None and role in layout.columns:
        for index, cells in enumerate(rows_of(source, layout)):
            if index == row:
                return cells[role].error(
                    f"{cells[role].column}: " + message.format(got=quoted(cells[role].text))
                )
    return InputError(f"{recording.path}: row {row + 1}: {role.value}: {message.format(got=got)}")
