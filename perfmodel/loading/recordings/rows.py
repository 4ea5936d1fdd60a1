"""Rows of a recording in another order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from perfmodel.loading.recordings.recording import Recording


def sorted_by_arrival(recording: Recording) -> Recording:
    """Return the same with rows in the order of their arrivals; what has none stays as it is."""
    if recording.arrival_s is None or not (recording.arrival_s[1:] < recording.arrival_s[:-1]).any():
        return recording
    found = taken(recording, np.argsort(recording.arrival_s, kind="stable"))
    return found.without(notes=("rows were sorted by arrival",))


def taken(recording: Recording, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Recording:
    """Return the same with some of the rows, or in another order; each knows which one of the file it was."""
    columns = ("arrival_s", "num_items", "start_s", "end_s", "executor", "query")
    given = {name: column for name in columns if (column := getattr(recording, name)) is not None}
    number = len(next(iter(given.values())))
    file_rows = np.arange(number) if recording.file_rows is None else recording.file_rows
    moved = {name: column[rows] for name, column in given.items()}
    return replace(recording, file_rows=file_rows[rows], **moved)
