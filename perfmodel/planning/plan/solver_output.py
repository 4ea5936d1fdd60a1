"""Keeping standard output for the answer while a solver runs that writes there by itself."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

_STDOUT = 1


class _Nowhere:
    """Where file descriptor 1 leads while at least one solver runs: it is one for all threads of a process.

    The first that comes takes it, the last that goes gives it back. Were each to take and give it back by
    itself, one that came second would keep "nowhere" as what was there before, and leave it behind for good.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._kept: int | None = None

    def enter(self) -> None:
        """Take the descriptor, if nobody has."""
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            if sys.stdout is not None:  # it is where the descriptor was closed from the start
                with suppress(OSError, ValueError):
                    sys.stdout.flush()
            try:
                self._kept = os.dup(_STDOUT)
            except OSError:  # closed: nothing can be written there
                return
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDOUT)
            os.close(nowhere)

    def leave(self) -> None:
        """Give it back, if nobody else is inside."""
        with self._lock:
            self._inside -= 1
            if self._inside or self._kept is None:
                return
            with suppress(OSError, AttributeError):  # no such library: the lines come later, as they did
                ctypes.CDLL(None).fflush(None)
            os.dup2(self._kept, _STDOUT)
            os.close(self._kept)
            self._kept = None


_NOWHERE = _Nowhere()
"""One, as the descriptor is one."""


@contextmanager
def solver_kept_off_stdout() -> Iterator[None]:
    """Send what is written to file descriptor 1 within to nowhere; in any number of threads at once.

    HiGHS prints lines of its own in rare cases, whatever it is told; they would break a JSON document. The
    C library keeps them in a buffer where the descriptor is a pipe, so that it is emptied before the
    descriptor is given back.
    """
    _NOWHERE.enter()
    try:
        yield
    finally:
        _NOWHERE.leave()
