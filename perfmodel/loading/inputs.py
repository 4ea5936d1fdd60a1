"""The files behind an answer, each by its name and a checksum: what to compare where two answers differ."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from perfmodel.loading.file_kinds import Kind
from perfmodel.loading.shipped import shipped_directory

_KINDS: tuple[Kind, ...] = ("model", "profile", "scenario")


class InputFile(NamedTuple):
    """A file that was read, and the SHA-256 of its bytes."""

    name: str
    sha256: str


def input_files(paths: Iterable[Path]) -> tuple[InputFile, ...]:
    """Name each file once, in order; one that is gone since has no checksum.

    Examples
    --------
    >>> from perfmodel.loading.shipped import find_file
    >>> [file.name for file in input_files([find_file("profile", "skylake")])]
    ['hardware_profiles/skylake.yaml']
    """
    return tuple(InputFile(_name(path), _checksum(path)) for path in dict.fromkeys(paths))


def _name(path: Path) -> str:
    """As it was written; of a shipped file folder and name, wherever perfplan is installed."""
    if path.parent == shipped_directory("fleet"):
        return f"scenarios/{path.parent.name}/{path.name}"
    if path.parent in map(shipped_directory, _KINDS):
        return f"{path.parent.name}/{path.name}"
    return str(path)


def _checksum(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
