"""A recording's bytes: compressed or not, and its first lines, by which its format is known."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO, cast

from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_lines, unreadable

HEAD_BYTES = 1 << 18
"""Of a file that is looked at to find out what it is: some hundred lines of the widest format."""

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PAR1": "parquet",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\xfd7zXZ": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"Rar!": "a rar archive",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
}
"""What binary files begin with."""


class Line(NamedTuple):
    """A line of a text file, with its number from 1 on."""

    path: Path
    number: int
    text: str

    def error(self, message: str, offset: int = 0) -> InputError:
        """Build an error at this line, `offset` characters in."""
        return InputError(f"{self.path}:{self.number}:{offset + 1}: {message}")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was looked into.

    Attributes
    ----------
    path : Path
        The file.
    kind : {"text", "gzip", "parquet"}
        What its first bytes say.
    head : str
        The beginning of its text, whole lines, without a byte order mark; empty of a Parquet file.
    """

    path: Path
    kind: str
    head: str

    @property
    def compressed(self) -> bool:
        """Whether the text is gzipped."""
        return self.kind == "gzip"

    def lines(self) -> Iterator[Line]:
        """All lines, without their ends; what is not text is refused at its place."""
        for number, text in enumerate(read_lines(self.path, compressed=self.compressed), start=1):
            yield Line(self.path, number, text.removesuffix("\r"))

    def content(self) -> Iterator[Line]:
        """The lines that hold more than a comment, which begins with `#`; without it."""
        for line in self.lines():
            text = line.text.partition("#")[0].rstrip()
            if text:
                yield line._replace(text=text)

    def open_text(self) -> TextIO:
        """Open the text for a reader that does not look for mistakes."""
        opened = gzip.open if self.compressed else open
        return cast(TextIO, opened(self.path, "rt", encoding="utf-8-sig"))

    def text(self) -> str:
        """The whole text."""
        return "\n".join(line.text for line in self.lines())

    def error(self, message: str) -> InputError:
        """Build an error about the file as a whole."""
        return InputError(f"{self.path}:1:1: {message}")


def open_source(path: Path) -> Source:
    """Look into a file.

    Raises
    ------
    InputError
        If it cannot be read, or is packed or binary in a way that is not read here.
    """
    try:
        with path.open("rb") as file:
            first = file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    found = next((name for magic, name in _PACKED.items() if first.startswith(magic)), "text")
    if found == "parquet":
        return Source(path, found, "")
    if found == "gzip":
        return Source(path, found, _whole_lines(_unpacked_head(path)))
    if found != "text":
        raise InputError(f"{path}:1:1: looks like {found}: unpack it to text, gzip or Parquet first")
    return Source(path, found, _whole_lines(first))


def _unpacked_head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}:1:1: cannot be unpacked: damaged gzip ({error})") from None


def _whole_lines(first: bytes) -> str:
    """The text, cut at the last end of a line where there may be more."""
    text = first.decode("utf-8-sig", errors="replace")
    if len(first) < HEAD_BYTES:
        return text
    return text[: text.rfind("\n") + 1] or text
