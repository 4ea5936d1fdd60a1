"""SimPy's event core with events at absolute times, ordered within an instant."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush

import simpy

# Order within an instant.
RELEASE, ARRIVE = 0, 1


class Clock(simpy.Environment):
    """SimPy's environment, with events at absolute times.

    SimPy adds delays to the present time, and `now + (arrival - now)` is not always `arrival`.
    """

    def call_at(self, time_s: float, order: float, call: Callable[[], None]) -> None:
        """Let something happen at `time_s`; at one instant the lower order comes first, then the older."""
        heappush(self._queue, (time_s, order, next(self._eid), _Happening(self, call)))  # type: ignore[misc]

    def instant_is_over(self) -> bool:
        """Say whether nothing else can happen at this instant."""
        return self.peek() > self.now


class _Happening(simpy.Event):
    """An event that is certain to happen, like SimPy's `Timeout`."""

    def __init__(self, clock: Clock, call: Callable[[], None]) -> None:
        self.env = clock
        self.callbacks = [lambda _: call()]
        self._value = None
        self._ok = True
        self._defused = False
