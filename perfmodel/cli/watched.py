"""A line on a terminal that says how far long work is, and about how long it still takes.

Nothing is shown of what takes less than two seconds, nor where stderr is no terminal; the line is gone when
the work ends, so that neither stdout nor what is kept of stderr ever holds it.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from perfmodel.loading.words import duration
from perfmodel.threads import Tell, untold

SILENT_S = 2.0
"""What takes less needs no line. [s]"""

EVERY_S = 0.25
"""Between two looks at the clock. [s]"""

BAR = 24
"""Characters of the bar."""

LEAST_SHARE = 0.02
"""Of the work, before the time left is told: of less, nothing is known. [1]"""


class Watch:
    """Work in stages, each of which is told how much of it is done.

    Parameters
    ----------
    stream : text stream
        A terminal.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._begin_s = self._stage_s = clock()
        self._name, self._share = "", 0.0
        self._of_s: float | None = None
        self._width = 0
        self._lock = threading.Lock()

    def stage(self, name: str, of_s: float | None = None) -> Tell:
        """Begin a stage; returns what takes the share of it that is done, from 0 to 1.

        Parameters
        ----------
        name : str
            What is done, in a few words.
        of_s : float, optional
            How long it takes, where that is known beforehand. [s]
        """
        with self._lock:
            self._name, self._share, self._stage_s = name, 0.0, self._clock()
            self._of_s = of_s

        def tell(share: float) -> None:
            if self._name == name:
                self._share = min(1.0, max(self._share, share))

        return tell

    def line(self) -> str:
        """What there is to say now; nothing, as long as it is too early."""
        now_s = self._clock()
        if now_s - self._begin_s < SILENT_S or not self._name:
            return ""
        with self._lock:
            spent_s, share = now_s - self._stage_s, self._share
            if self._of_s is not None:
                share = min(0.99, max(share, spent_s / self._of_s))
            filled = round(BAR * share)
            text = f"{self._name} {'#' * filled}{'.' * (BAR - filled)} {100 * share:3.0f} %"
            if share >= LEAST_SHARE:
                left_s = self._of_s - spent_s if self._of_s is not None else spent_s * (1.0 - share) / share
                return f"{text}, about {duration(max(1.0, left_s))} left"
            return f"{text}, {duration(spent_s)} until now"

    def draw(self) -> None:
        """Write the line over the one before."""
        text = self.line()[: max(10, shutil.get_terminal_size().columns - 1)]
        if text or self._width:
            self._stream.write(f"\r{text:<{self._width}}")
            self._stream.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            self._stream.write(f"\r{'':<{self._width}}\r")
            self._stream.flush()
            self._width = 0


class Unwatched:
    """The same where nobody watches."""

    def stage(self, name: str, of_s: float | None = None) -> Tell:
        """Begin a stage of which nobody hears."""
        del name, of_s
        return untold

    def clear(self) -> None:
        """Nothing was written."""


AnyWatch = Watch | Unwatched


@contextmanager
def watched() -> Iterator[AnyWatch]:
    """Watch what happens within, if stderr is a terminal."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        yield Unwatched()
        return
    watch, done = Watch(stream), threading.Event()

    def tick() -> None:
        while not done.wait(EVERY_S):
            try:
                watch.draw()
            except (OSError, ValueError):  # the terminal is gone
                return

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
        try:
            watch.clear()
        except (OSError, ValueError):
            done.set()
