"""How many executors a log shows: by its column, or by how many requests ran side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from perfmodel.planning.observe.log import ServedLog

IntArray = npt.NDArray[np.int64]

WAITED = 0.02
"""Share of the median service time from which a request has waited, and not just been handed over. [1]"""
LEAST_WAITED = 30
"""Requests that waited from which they tell how many executors there are."""
ALL_BUSY = 0.9
"""Share of those that must have found as many at work as ever were: the rest are ties of the clock. [1]"""


@dataclass(frozen=True, slots=True)
class Executors:
    """Executors of a node, as far as its log shows them.

    Attributes
    ----------
    number : int
        As many as are known to be there.
    exact : bool
        Whether these are all; else at least so many.
    why : str
        What tells.
    source : {"column", "waiting", "side by side"}
        The log's column; requests that waited while so many were busy; most that ran side by side.
    """

    number: int
    exact: bool
    why: str
    source: Literal["column", "waiting", "side by side"]


def busy_at_start(log: ServedLog) -> IntArray:
    """Requests at work when each starts, itself included; what ends in that instant has ended."""
    order = np.argsort(log.start_s, kind="stable")
    ended = np.searchsorted(np.sort(log.end_s), log.start_s[order] + 0.5 * log.clock_s, side="right")
    busy = np.empty(len(order), np.int64)
    busy[order] = np.arange(1, len(order) + 1) - ended
    return np.maximum(busy, 1)


def find_executors(log: ServedLog, busy: IntArray) -> Executors:
    """Tell executors by the column, or by those who waited: they found all of them busy.

    Assumes that no request waits while an executor is idle.
    """
    most = int(busy.max())
    if log.executor is not None:
        seen = len(np.unique(log.executor))
        if not _overlaps(log):
            return Executors(seen, True, f"{seen} are named in the log", "column")
        return Executors(
            max(seen, most),
            False,
            f"{seen} are named, but requests overlap on one: {most} ran side by side",
            "side by side",
        )
    threshold_s = max(2.0 * log.clock_s, WAITED * float(np.median(log.service_s)))
    waited = log.start_s - log.arrival_s > threshold_s
    count = int(waited.sum())
    if count >= LEAST_WAITED and float((busy[waited] >= most).mean()) >= ALL_BUSY:
        return Executors(most, True, f"{count:,} requests waited, all {most} being busy", "waiting")
    if count >= LEAST_WAITED:
        why = f"at most {most} ran side by side; requests also waited while fewer did"
    else:
        why = f"at most {most} ran side by side, and hardly a request waited: there may be more"
    return Executors(most, False, why, "side by side")


def _overlaps(log: ServedLog) -> bool:
    """Whether more than a few requests of one executor run at once."""
    assert log.executor is not None
    order = np.lexsort((log.start_s, log.executor))
    same = np.diff(log.executor[order]) == 0
    early = log.start_s[order][1:] < log.end_s[order][:-1] - log.clock_s - 1e-9
    return bool((same & early).sum() > 0.001 * len(order))
