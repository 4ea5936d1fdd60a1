"""What was found before, by all that it depends on; nothing stale is ever used.

An entry's name is a digest of what was asked (the scenario with the type's node, without its rate), of the
contents of every file that it names, of the stacks, and of perfplan's own sources with the libraries under
them. Change any of these, and it is another entry. Entries are written whole or not at all.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from perfmodel.whole_file import replace_whole, sealed, unsealed

PACKAGE = Path(__file__).resolve().parents[2]
LIBRARIES = ("numba", "numpy", "scipy")

ABANDONED_S = 60.0
"""Age from which on a file that is being written is of a process that was killed: writing takes
milliseconds. [s]"""


class Kept:
    """A folder of entries.

    Parameters
    ----------
    folder : Path, optional
        Where; by default in the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        user_cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
        self.folder = folder or user_cache / "perfplan" / "capacities"
        self._sweep_up()

    def get(self, digest: str) -> dict[str, Any] | None:
        """Return an entry; None where there is none, or none that is whole."""
        try:
            written = unsealed(self._path(digest).read_bytes())
        except OSError:
            return None
        if written is None:  # cut short, damaged, of another make
            return None
        kept: dict[str, Any] = json.loads(written)
        found: dict[str, Any] = kept["found"]
        return found if kept["digest"] == digest else None

    def keep(self, digest: str, found: Mapping[str, Any]) -> None:
        """Write an entry; where that cannot be done, the next run finds it again."""
        content = sealed(json.dumps({"digest": digest, "found": found}).encode())
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_whole(self._path(digest), content)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def _sweep_up(self) -> None:
        """Remove what processes that were killed had begun to write."""
        with suppress(OSError):
            for path in self.folder.glob(".perfplan-*"):
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink(missing_ok=True)


def digest_of(asked: Mapping[str, Any]) -> str:
    """Digest of what an answer depends on, perfplan itself included."""
    text = json.dumps({**asked, "perfplan": perfplan_digest()}, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()


@cache
def perfplan_digest() -> str:
    """Digest of all sources and data of the package, and of the libraries that numbers depend on."""
    digest = sha256(" ".join(f"{name} {version(name)}" for name in LIBRARIES).encode())
    for path in sorted([*PACKAGE.rglob("*.py"), *(PACKAGE / "traffic_data").iterdir()]):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(PACKAGE)} {len(content)} ".encode())
            digest.update(content)
    return digest.hexdigest()
