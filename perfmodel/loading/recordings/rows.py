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
    """Return the same with some of the rows, or in another order; rows are no lines any more."""
    columns = ("arrival_s", "num_items", "start_s", "end_s", "executor", "query")
    moved = {name: getattr(recording, name)[rows] for name in columns if getattr(recording, name) is not None}
    return replace(recording, first_line=0, **moved)
