"""Write a file whole or not at all, and say beforehand whether that will work."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from perfmodel.errors import InputError
from perfmodel.whole_file import replace_whole

PROBE_BYTES = 1 << 18
"""Of the file that is written to see whether there is room: more than most results take."""


def write_atomically(path: Path, text: str) -> None:
    """Write a file as `replace_whole` does; a link stays a link, and a device or a pipe is written to.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be written.
    """
    try:
        target = path.resolve() if path.is_symlink() else path
        if is_special(target):
            with target.open("w", encoding="utf-8") as device:
                device.write(text)
        else:
            replace_whole(target, text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def require_writable(path: Path, option: str = "--out") -> None:
    """Refuse, before anything is computed, a place where a file cannot be written.

    Raises
    ------
    InputError
        Naming the option: a folder is there, the folder around it is not, or it takes no file or no more
        bytes.
    """
    where = f"{option} {path}"
    try:
        if path.is_dir():
            raise InputError(f"{where}: is a directory; expected the name of a file")
        if not path.parent.is_dir():
            raise InputError(f"{where}: no directory {path.parent}")
        with suppress(FileNotFoundError):
            os.lstat(path)  # a name that is too long
        target = path.resolve() if path.is_symlink() else path
        if is_special(target):
            target.open("a").close()
            return
        if target.exists():
            target.open("r+b").close()
        replace_whole(target, b"\n" * PROBE_BYTES, keep=False)
    except OSError as error:
        raise InputError(f"{where}: cannot be written: {error.strerror or error}") from None


def is_special(path: Path) -> bool:
    """Whether this is a device or a pipe: it must not be replaced by a file."""
    return path.exists() and not path.is_file()
