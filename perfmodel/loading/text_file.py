"""Text files in UTF-8: read whole or line by line; what is not text is refused at its place."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.words import cut

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what the error handler makes of bytes that are no UTF-8

_MOST_DIGITS = 300
"""Of a whole number in JSON: with more no float holds it."""
_TEXT_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:Infinity|NaN|[0-9][-+.0-9eE]*)')


def read_text(path: Path, *, most_bytes: int | None = None) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Parameters
    ----------
    path : Path
        The file.
    most_bytes : int, optional
        A larger one is refused before it is read. [bytes]

    Raises
    ------
    InputError
        If the file cannot be read, is too large, is not UTF-8 or holds control characters.
    """
    size = _size_bytes(path)
    if most_bytes is not None and size > most_bytes:
        expected = f"expected at most {most_bytes / 1e6:.0f} MB"
        raise InputError(f"{path}:1:1: the file has {size / 1e6:.1f} MB; {expected}")
    return "".join(_checked(path, keep_ends=True))


def read_json(path: Path, *, most_bytes: int | None = None) -> Any:
    """Read a JSON document; parameters as of `read_text`.

    Raises
    ------
    InputError
        As `read_text`; at its place if the text is no JSON, or has a number that no float holds (nan and
        infinities, too); if it is nested deeper than can be read.
    """
    text = read_text(path, most_bytes=most_bytes)
    try:
        return json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_finite)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{path}:1:1: not JSON that can be read: nested too deeply") from None
    except OverflowError as error:
        place = place_in(text, _number_at(text, str(error)))
        raise InputError(f"{path}:{place}: expected a finite number, got {cut(str(error))}") from None


def place_in(text: str, offset: int) -> str:
    """Line and column of a character, both from 1: `3:14`.

    Examples
    --------
    >>> place_in("a\\nbcd", 4)
    '2:3'
    """
    return f"{text.count(chr(10), 0, offset) + 1}:{offset - text.rfind(chr(10), 0, offset)}"


def _finite(text: str) -> float:
    if not isfinite(value := float(text)):
        raise OverflowError(text)
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise OverflowError(text)
    return int(text)


def _number_at(text: str, number: str) -> int:
    """Where in a JSON text a number stands, texts in quotes left out."""
    for match in _TEXT_OR_NUMBER.finditer(text):
        if match.group() == number:
            return match.start()
    return 0


def is_file(path: Path) -> bool:
    """Whether there is such a file; there is none whose name no file can have."""
    return os.path.isfile(path)  # Path.is_file raises where a name is too long


def read_lines(path: Path, *, compressed: bool = False) -> Iterator[str]:
    """Read a text file, perhaps gzipped, line by line, without the ends of the lines.

    Raises
    ------
    InputError
        As `read_text`, once the line is reached.
    """
    return _checked(path, keep_ends=False, compressed=compressed)


def unprintable(text: str) -> tuple[int, str] | None:
    """Find the first character that no text has: where it is, and what to say of it."""
    found = _UNPRINTABLE.search(text)
    if found is None:
        return None
    if _NOT_UTF8.match(found.group()):
        return found.start(), "not UTF-8 text"
    return found.start(), f"unprintable character U+{ord(found.group()):04X}"


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def _checked(path: Path, *, keep_ends: bool, compressed: bool = False) -> Iterator[str]:
    opened = gzip.open if compressed else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                if (bad := unprintable(line)) is not None:
                    raise InputError(f"{path}:{number}:{bad[0] + 1}: {bad[1]}")
                yield line if keep_ends else line.removesuffix("\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}:1:1: cannot be unpacked: damaged gzip ({error})") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError | ValueError) -> InputError:
    """Say that a file cannot be read, and why."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return InputError(f"{path}: cannot read the file: {reason or error}")
