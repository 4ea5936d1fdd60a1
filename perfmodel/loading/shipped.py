"""Find the models, profiles and scenarios that come with perfplan, from any working directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, get_args

from perfmodel.errors import InputError
from perfmodel.loading.file_kinds import Kind, taken_by
from perfmodel.loading.text_file import is_file
from perfmodel.loading.words import cut_path, near, quoted


class ProfileChoice(NamedTuple):
    """A hardware profile, and the software stack asked for with `name@stack`; None: it was not said."""

    path: Path
    stack: str | None


_PACKAGE = Path(__file__).resolve().parent.parent
STARTER = _PACKAGE / "starter"
"""Folder of the annotated files that `perfplan init` copies."""

SUFFIXES = (".yaml", ".yml")
"""How the name of a file ends that a command finds without it."""
_ANSWER = ".json"
"""How the name of a saved answer ends."""


def shipped_directory(kind: Kind) -> Path:
    """Folder of the shipped files of one kind: in the package where it was installed, else beside it."""
    if kind == "model":
        return _PACKAGE / "zoo"
    name = {"profile": "hardware_profiles", "scenario": "scenarios", "fleet": "scenarios/fleets"}[kind]
    installed = _PACKAGE / "shipped" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def shipped_names(kind: Kind) -> list[str]:
    """Names of the shipped files of one kind, in alphabetical order."""
    return sorted(path.stem for path in shipped_directory(kind).glob("*.yaml"))


def find_file(kind: Kind, name: str, *, relative_to: Path = Path()) -> Path:
    """Find a shipped file by its name, or any file by its path.

    Parameters
    ----------
    kind : {"model", "profile", "scenario", "fleet"}
        What is looked for.
    name : str
        A shipped name, with or without `.yaml`; or a path: something with a path separator, or
        ending in `.yaml`. A path that exists goes before a shipped name.
    relative_to : Path
        Where a relative path starts: the folder of the file that names it.

    Raises
    ------
    InputError
        If there is no such file; says which shipped name is nearest. Carries no place: the caller
        knows which key or option gave the name.
    """
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    has_separator = os.sep in name or "/" in name
    path = relative_to / name
    has_suffix = name.endswith(SUFFIXES)
    if (has_separator or has_suffix) and is_file(path):
        return path
    if has_separator:
        raise InputError(f"expected a {kind} file, found none at {cut_path(path)}")
    known = shipped_names(kind)
    if stem in known:
        return shipped_directory(kind) / f"{stem}.yaml"
    others = [other for other in get_args(Kind) if stem in shipped_names(other)]
    if others and not has_suffix:
        raise InputError(f"expected a {kind}, got {taken_by(others[0], name)}")
    if name.endswith(_ANSWER) and is_file(path):
        raise InputError(f"expected a {kind}, got {quoted(name)}, a saved answer, which diff and report take")
    if "." in stem and is_file(path):
        raise InputError(f"expected a {kind}: a shipped name or a YAML file, got {_other_file(kind, name)}")
    if has_suffix and os.path.isdir(path):  # which takes any name, however long
        raise InputError(f"expected a {kind} file, got the folder {quoted(name)}")
    here = (f"./{stem}{suffix}" for suffix in SUFFIXES if is_file(relative_to / f"{stem}{suffix}"))
    hint = f"; did you mean {found!r}?" if (found := next(here, None)) else near(stem, known)
    shows_all = f"(perfplan list {kind}s shows all)"
    if has_suffix:
        raise InputError(f"the {kind} file {quoted(name)} does not exist{hint} {shows_all}")
    raise InputError(f"unknown {kind} {quoted(name)}{hint} {shows_all}")


def _other_file(kind: Kind, name: str) -> str:
    """A file by another ending, and what makes of it what was expected."""
    if kind == "model" and name.endswith(".py"):
        return f"{quoted(name)}; perfplan import {name}:FACTORY --out FILE.yaml makes one of a PyTorch module"
    return f"{quoted(name)} (./{name} is read whatever its ending)"


def find_profile(name: str, *, relative_to: Path = Path()) -> ProfileChoice:
    """Find a hardware profile by its name or path; `broadwell@hpca2020` also names a stack.

    Raises
    ------
    InputError
        As `find_file`, or if nothing follows the `@`.
    """
    profile, at, stack = name.rpartition("@")
    if not at or "/" in stack or stack.endswith(SUFFIXES):  # an @ in the path itself
        return ProfileChoice(find_file("profile", name, relative_to=relative_to), None)
    if not stack:
        raise InputError(f"expected a stack after @ in {quoted(name)}, or no @")
    return ProfileChoice(find_file("profile", profile, relative_to=relative_to), stack)
