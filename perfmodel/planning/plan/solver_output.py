"""Keeping standard output for the answer while a solver runs that writes there by itself."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STDOUT = 1


@contextmanager
def solver_kept_off_stdout() -> Iterator[None]:
    """Send what is written to file descriptor 1 within to nowhere.

    HiGHS prints lines of its own in rare cases, whatever it is told; they would break a JSON document. The
    C library keeps them in a buffer where the descriptor is a pipe, so that it is emptied before the
    descriptor is given back.
    """
    if sys.stdout is not None:  # it is where the descriptor was closed from the start
        with suppress(OSError, ValueError):
            sys.stdout.flush()
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # closed: nothing can be written there
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    try:
        yield
    finally:
        with suppress(OSError, AttributeError):  # no such library: the lines come later, as they did
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, _STDOUT)
        os.close(kept)
        os.close(nowhere)
