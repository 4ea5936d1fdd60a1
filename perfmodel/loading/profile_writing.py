"""A calibrated profile written as two files: the YAML that people read, and a table of its surfaces.

The profile names the table by its hash, and the table's name has the hash's first digits: a new pair never
overwrites what an older profile names, so that an interruption leaves one of the two whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.surface_files import SHOWN_DIGITS, surface_files
from perfmodel.loading.surface_table import surfaces_csv
from perfmodel.loading.text_file import is_file
from perfmodel.loading.written import is_special, require_writable, write_atomically


def write_profile(path: Path, values: Mapping[str, Any]) -> None:
    """Write a profile, its surfaces in tables beside it; a device or a pipe gets all of it.

    The tables come first, then the profile that names them, then the tables go that the profile before
    named and no other in the folder does. A file is there whole or not at all.

    Parameters
    ----------
    path : Path
        The profile.
    values : mapping
        Its plain values, surfaces as lists.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be written.
    """
    target = path.resolve() if path.is_symlink() else path
    if is_special(target):
        write_atomically(path, profile_text(values))
        return
    before = _named_by(target)
    document, tables = _apart(values, target.stem)
    new = [target.with_name(name) for name in tables if not target.with_name(name).exists()]
    try:
        for name, text in tables.items():
            write_atomically(target.with_name(name), text)
        write_atomically(path, profile_text(document))
    except BaseException:  # an interrupt too: what no profile names is of no use
        if set(_named_by(target)) != set(tables):
            for table in new:
                table.unlink(missing_ok=True)
        raise
    for name in before - set(tables):
        _remove_unless_named(target.with_name(name))


def require_profile_writable(path: Path, option: str = "--out") -> None:
    """Refuse, before anything is computed, a place where a profile and its tables cannot be written.

    Raises
    ------
    InputError
        As `require_writable`.
    """
    require_writable(path, option)
    target = path.resolve() if path.is_symlink() else path
    if not is_special(target):
        require_writable(target.with_name(_table_name(target.stem, "0" * SHOWN_DIGITS)), option)


def _table_name(stem: str, digest: str) -> str:
    return f"{stem}.surfaces-{digest[:SHOWN_DIGITS]}.csv"


def _apart(values: Mapping[str, Any], stem: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The document that names its tables, and the tables by name."""
    tables, stacks = {}, {}
    for stack, section in values["stacks"].items():
        stacks[stack] = section
        if section.get("surfaces"):
            text = surfaces_csv(section["surfaces"])
            digest = sha256(text.encode()).hexdigest()
            tables[_table_name(stem, digest)] = text
            named = {"file": _table_name(stem, digest), "sha256": digest}
            stacks[stack] = section | {"surfaces": named}
    return {**values, "stacks": stacks}, tables


def _named_by(path: Path) -> set[str]:
    """The tables beside a profile that it names; none where there is no profile that can be read."""
    with suppress(InputError):
        if is_file(path):
            return {table.name for table in surface_files(path) if table.parent == path.parent}
    return set()


def _remove_unless_named(table: Path) -> None:
    """Remove a table that no profile in its folder names any more: a copy may."""
    for other in table.parent.glob("*.y*ml"):
        with suppress(OSError):
            if table.name.encode() in other.read_bytes():
                return
    table.unlink(missing_ok=True)
