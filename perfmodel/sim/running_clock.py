"""Pauses of the whole node: the clock that stands still in them.

While the whole node stands still nothing happens on it, so that what it does is a queue like any other in
its *running time*, which stops in a pause: arrivals are handed to the engines at their running times, and
ends are read on the wall clock again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from perfmodel.sim.arrays import FloatArray, frozen_floats
from perfmodel.sim.pauses import NODE_PAUSES, PauseEvents, Pauses
from perfmodel.sim.records import RequestLog, RunRecord
from perfmodel.sim.scatter import Luck
from perfmodel.sim.traffic import Queries


class RunningClock:
    """The time in which a node runs, which stands still while the node is paused.

    Examples
    --------
    A pause of 2 s that begins after 3 s: what arrives in it is served from its end on.

    >>> clock = RunningClock.of_events(np.array([3.0]), np.array([2.0]))
    >>> clock.running_s(np.array([1.0, 4.0, 6.0])).tolist()
    [1.0, 3.0, 4.0]
    >>> clock.wall_s(np.array([3.0, 3.5])).tolist()
    [3.0, 5.5]
    """

    def __init__(self, events: PauseEvents | None) -> None:
        self._events = events
        self._start_s = np.zeros(0)
        self._before_s = np.zeros(1)  # paused time before the n-th pause, and after the last

    @classmethod
    def of(cls, kinds: Sequence[Pauses], luck: Luck) -> RunningClock:
        """Return the clock of a run."""
        return cls(PauseEvents(kinds, luck, NODE_PAUSES))

    @classmethod
    def of_events(cls, start_s: FloatArray, length_s: FloatArray) -> RunningClock:
        """Return the clock with pauses at these running times."""
        clock = cls(None)
        clock._set(start_s, length_s)
        return clock

    def running_s(self, wall_s: FloatArray) -> FloatArray:
        """Running times of ascending times; of those within a pause, its beginning. [s]"""
        if not len(wall_s):
            return wall_s
        self._cover(float(wall_s[-1]))  # running time is never ahead
        number = np.searchsorted(self._start_s + self._before_s[:-1], wall_s, side="right")
        found_s = wall_s - self._before_s[number]
        struck = number > 0
        found_s[struck] = np.maximum(found_s[struck], self._start_s[number[struck] - 1])
        return frozen_floats(found_s)

    def wall_s(self, running_s: FloatArray, *, starts: bool = False) -> FloatArray:
        """When so much time has been run; of what starts exactly at a pause, its end. [s]"""
        finite = running_s[np.isfinite(running_s)]
        if len(finite):
            self._cover(float(finite.max()))
        number = np.searchsorted(self._start_s, running_s, side="right" if starts else "left")
        found_s: FloatArray = running_s + self._before_s[number]
        return found_s

    def on_the_wall(self, record: RunRecord, queries: Queries) -> RunRecord:
        """Return a record of running time as the wall clock shows it."""
        finish_s = self.wall_s(record.finish_s)
        last_end_s = record.makespan_s + record.idle_end_s
        ended_s = float(self.wall_s(np.array([last_end_s]))[0])
        log = record.requests
        return replace(
            record,
            arrival_s=queries.arrival_s,
            finish_s=finish_s,
            last_end_s=None if record.last_end_s is None else ended_s,
            running_share=record.running_share * (last_end_s / ended_s if ended_s else 1.0),
            requests=None if log is None else self._log(log, queries),
        )

    def _log(self, log: RequestLog, queries: Queries) -> RequestLog:
        start_s = np.maximum(self.wall_s(log.start_s, starts=True), queries.arrival_s[log.query])
        return replace(log, start_s=start_s, finish_s=self.wall_s(log.finish_s))

    def _cover(self, until_s: float) -> None:
        if self._events is not None:
            self._events.cover(until_s)
            if len(self._events.start_s) != len(self._start_s):
                self._set(self._events.start_s, self._events.length_s)

    def _set(self, start_s: FloatArray, length_s: FloatArray) -> None:
        self._start_s = start_s
        self._before_s = np.concatenate([[0.0], np.cumsum(length_s)])
