"""Paths that a scenario or a fleet names, such that they lead to the same files from any folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from perfmodel.loading.shipped import SUFFIXES, shipped_directory
from perfmodel.loading.text_file import is_file
from perfmodel.loading.yaml_tree import KeyPath, YamlSource

_DATA_KEYS = ("file", "service_times", "grid_g_per_kwh")
"""Keys whose values are paths, whatever they look like."""
_NAME_KEYS = ("scenario", "model", "cpu", "accelerators")
"""Keys whose values are shipped names, or paths."""

FolderOf = Callable[[KeyPath], Path | None]


def asked_of(source: YamlSource) -> Any:
    """What a scenario says, as plain values, its relative paths made absolute.

    Those beside a shipped scenario stay as they are, wherever perfplan is installed: see `found_again`.

    Examples
    --------
    >>> from perfmodel.loading.shipped import find_file
    >>> from perfmodel.loading.yaml_source import read_yaml
    >>> asked_of(read_yaml(find_file("scenario", "five_terabytes_sharded")))["model"]
    'models/five-terabytes.yaml'
    """

    def folder_of(path: KeyPath) -> Path | None:
        folder = source.directory_of(*path)
        return None if folder == shipped_directory("scenario") else folder

    return with_paths(source.data(), folder_of)


def found_again(asked: Mapping[str, Any]) -> Any:
    """The question of a shipped scenario, as an answer states it, its relative paths made absolute.

    Examples
    --------
    >>> asked = found_again({"model": "models/five-terabytes.yaml", "node": {"cpu": "skylake"}})
    >>> asked["model"].startswith("/"), asked["node"]["cpu"]
    (True, 'skylake')
    """
    return with_paths(asked, lambda _: shipped_directory("scenario"))


def with_paths(value: Any, folder_of: FolderOf, path: KeyPath = ()) -> Any:
    """Plain values, in which what names a file by a relative path has an absolute one.

    Parameters
    ----------
    value : mapping, list or scalar
        What stands at `path`.
    folder_of : callable
        Where a relative path at a key path starts; None: it stays.
    path : tuple of str and int
        The keys that lead to the value.
    """
    if isinstance(value, Mapping):
        return {key: with_paths(inner, folder_of, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_paths(inner, folder_of, (*path, index)) for index, inner in enumerate(value)]
    key = next((each for each in reversed(path) if isinstance(each, str)), None)
    if not isinstance(value, str) or key not in (*_DATA_KEYS, *_NAME_KEYS):
        return value
    folder = folder_of(path)
    return value if folder is None else _absolute(folder, value, is_data=key in _DATA_KEYS)


def _absolute(folder: Path, name: str, *, is_data: bool) -> str:
    """A name that is the path of a file; a stack behind its `@` stays; other names stay as they are."""
    profile, at, stack = name.rpartition("@")
    for file, rest in ((name, ""), (profile, at + stack)):
        is_path = is_data or "/" in file or os.sep in file or file.endswith(SUFFIXES)
        if file and is_path and is_file(folder / file):
            return os.path.abspath(folder / file) + rest
    return name
