"""What is finished of a sweep, kept line by line: whatever ends the process, the next one goes on.

A line is written whole behind its digest; one that a kill cut short, or that anything damaged, counts for
nothing. The first line says what the points are of; a point's line, from which contents of files it was
computed. Where either is no longer so, the point is computed anew.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from hashlib import sha256
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

from perfmodel.errors import InputError, Note
from perfmodel.loading.words import cut_path
from perfmodel.whole_file import sealed, unsealed

Row = dict[str, Any]


class Finished(TypedDict):
    """A point that was answered, or found to have no answer.

    Attributes
    ----------
    point : str
        Its name.
    row : dict
        What the table says of it, but for the swept keys.
    files : dict of str to str
        The files that were read for it, with their digests.
    """

    point: str
    row: Row
    files: dict[str, str]


class Journal:
    """The file; it is locked while it is open, and gone once all points are in the answer.

    Parameters
    ----------
    path : Path
        Where it is.
    of : str
        What its points are of: a digest of all that they share.

    Attributes
    ----------
    is_kept : bool
        Whether all that is finished is in the file: not on a disk that is full.
    """

    def __init__(self, path: Path, of: str) -> None:
        self.path, self._of = path, of
        self.is_kept = True
        self._file: FileIO | None = None
        self._digests = FileDigests()

    def __enter__(self) -> Self:
        try:
            self._file = self.path.open("ab+", buffering=0)  # nothing is left to write when it is closed
        except OSError as error:
            where = cut_path(self.path)
            raise InputError(f"{where}: cannot keep what is finished: {error.strerror or error}") from None
        try:
            _lock(self._file, self.path)
        except InputError:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._file is not None
        self._file.close()

    def finished(self) -> dict[str, Finished]:
        """Return what holds still, by the names of the points, and drop all else."""
        assert self._file is not None
        self._file.seek(0)
        lines = list(_whole_lines(self._file.read()))
        found: dict[str, Finished] = {}
        if lines and lines[0] == {"sweep": self._of}:
            for line in lines[1:]:
                if "point" in line and self._holds(line["files"]):
                    found[line["point"]] = Finished(point=line["point"], row=line["row"], files=line["files"])
        if not found:
            self._file.truncate(0)
            self._write({"sweep": self._of})
        else:
            self._append(b"\n")  # a half-written line ends here, and spoils none
        return found

    def keep(self, finished: Finished) -> None:
        """Write down a point that is finished."""
        self._write(finished)

    def drop(self) -> None:
        """Remove the file: the answer has all of it."""
        self.path.unlink(missing_ok=True)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._append(sealed(json.dumps(line).encode()) + b"\n")

    def _append(self, text: bytes) -> None:
        """Write; where that fails, the sweep goes on without: its answer may have room elsewhere."""
        assert self._file is not None
        if not self.is_kept:
            return
        try:
            while text:
                text = text[self._file.write(text) :]
        except OSError as error:
            self.is_kept = False
            where, why = cut_path(self.path), error.strerror or error
            lost = f"{where}: cannot be written: {why}; an interrupted sweep would begin anew"
            warnings.warn(lost, Note, stacklevel=2)

    def _holds(self, files: Mapping[str, str]) -> bool:
        return all(self._digests.of(Path(path)) == digest for path, digest in files.items())


class FileDigests:
    """Digests of files, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str | None] = {}

    def of(self, path: Path) -> str | None:
        """SHA-256 of what a file holds; None where it cannot be read."""
        if path not in self._known:
            try:
                self._known[path] = sha256(path.read_bytes()).hexdigest()
            except OSError:
                self._known[path] = None
        return self._known[path]


def sources_digest() -> str:
    """Digest of the sources of this package: an answer of other code is another answer."""
    folder = Path(__file__).parents[2]
    digest = sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _whole_lines(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        if (written := unsealed(line)) is not None:
            yield json.loads(written)


def _lock(file: FileIO, path: Path) -> None:
    """Refuse a file that another sweep writes; where a system has no such locks, none is."""
    try:
        import fcntl  # not every system has it
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"{cut_path(path)}: another sweep is at work on it") from None
