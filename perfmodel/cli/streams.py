"""The process's stdout and stderr, made safe: what they cannot take is an error in one line, or no error.

An answer that cannot be written ends the run with exit code 2, whichever command it is and whichever library
writes it; a note that cannot be written is lost. Characters that the terminal's encoding lacks are replaced.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from perfmodel.errors import InputError, PerfplanError

STDIN, STDOUT, STDERR = 0, 1, 2


class ReaderGoneError(PerfplanError):
    """Whoever read stdout has ended, such as `head`: there is nobody to tell."""

    exit_code = 141  # 128 + SIGPIPE, as a shell reports it


def guard_streams() -> None:
    """Replace this process's stdout and stderr.

    Raises
    ------
    InputError
        If stdout is closed: there is no place for an answer.
    """
    # A file that is opened gets the lowest free number: with stderr closed, notes would land in a file or,
    # since `print` takes None for stdout, in the answer.
    for descriptor in (STDIN, STDERR):
        if not _is_open(descriptor):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    sys.stderr = _text(_Notes(STDERR, "w", closefd=False), sys.stderr, "backslashreplace", by_line=True)
    if sys.stdout is None:
        raise InputError("stdout is closed, where the answer goes; > /dev/null runs without one")
    by_line = bool(sys.stdout.line_buffering)
    sys.stdout = _text(_Answer(STDOUT, "w", closefd=False), sys.stdout, "replace", by_line=by_line)


def silence_stdout() -> None:
    """Let what is still buffered go nowhere: the interpreter writes it out once more at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Answer(io.FileIO):
    """Raises an error of ours, which no library takes for one of its own."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ReaderGoneError from None
        except OSError as error:
            raise InputError(f"stdout: cannot be written: {error.strerror or error}") from None


class _Notes(io.FileIO):
    """Loses what it cannot write: no reason to lose the answer too."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _text(raw: io.FileIO, before: TextIO | None, errors: str, *, by_line: bool) -> io.TextIOWrapper:
    """A text stream like the one before, if there was one."""
    encoding = before.encoding if before is not None else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=by_line)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
