"""Progress on stderr: how much is done, and the time left by what the rest took until now."""

from __future__ import annotations

import sys
import time

from perfmodel.loading.words import duration

EVERY_S = 5.0
"""Between two lines, where stderr is no terminal; there one line is written over and over. [s]"""

TERMINAL_EVERY_S = 0.2


class Progress:
    """Counts what is finished of so many.

    Parameters
    ----------
    what : str
        What is counted, such as "points".
    total : int
        How many there are.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._start_s = self._shown_s = time.monotonic()
        self._failed = 0
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._written = False

    def __call__(self, finished: int, before: int, failed: bool) -> None:
        """Show it, if it is time to; `before` of them were finished when this run began."""
        self._failed += failed
        now_s = time.monotonic()
        is_start = finished == before
        if is_start and not before:
            return
        every_s = TERMINAL_EVERY_S if self._is_terminal else EVERY_S
        if not is_start and finished < self._total and now_s - self._shown_s < every_s:
            return
        if finished == self._total and not self._written and not is_start:
            return  # it was over before there was anything to show
        self._shown_s, self._written = now_s, True
        line = f"{finished:,} of {self._total:,} {self._what}"
        if is_start:
            line += " were finished before"
        else:
            line += f", {self._failed:,} without an answer" if self._failed else ""
            left_s = (now_s - self._start_s) / (finished - before) * (self._total - finished)
            line += f", about {duration(left_s)} left" if finished < self._total else ""
        end = "\r" if self._is_terminal and finished < self._total else "\n"
        print(f"{line:<70}" if self._is_terminal else line, end=end, file=sys.stderr, flush=True)
