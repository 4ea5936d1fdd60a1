"""Find the models, profiles and scenarios that come with perfplan, from any working directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from perfmodel.errors import InputError
from perfmodel.loading.file_kinds import Kind, taken_by
from perfmodel.loading.text_file import is_file
from perfmodel.loading.words import cut_path, near, quoted
from perfmodel.units import TFLOP


class ProfileChoice(NamedTuple):
    """A hardware profile, and the software stack asked for with `name@stack`; None: it was not said."""

    path: Path
    stack: str | None


_PACKAGE = Path(__file__).resolve().parent.parent
STARTER = _PACKAGE / "starter"
"""Folder of the annotated files that `perfplan init` copies."""

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
"""What the name of a card's profile ends in, where it is not in fp32."""
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
    if kind == "profile" and (lacking := _lacking(stem)):
        raise InputError(lacking)
    if has_suffix:
        raise InputError(f"the {kind} file {quoted(name)} does not exist{hint} {shows_all}")
    raise InputError(f"unknown {kind} {quoted(name)}{hint} {shows_all}")


def _other_file(kind: Kind, name: str) -> str:
    """A file by another ending, and what makes of it what was expected."""
    if kind == "model" and name.endswith(".py"):
        return f"{quoted(name)}; perfplan import {name}:FACTORY --out FILE.yaml makes one of a PyTorch module"
    return f"{quoted(name)} (./{name} is read whatever its ending)"


def card_of(profile: str) -> str:
    """A card's profile in fp32 by the name of one in another precision.

    Examples
    --------
    >>> card_of("t4-int8"), card_of("h100-80gb"), card_of("t4")
    ('t4', 'h100-80gb', 't4')
    """
    card, _, precision = profile.rpartition("-")
    return card if precision in PRECISIONS else profile


def lacks_precision(card: str, precision: str, peaks_flop_per_s: Mapping[str, float]) -> str:
    """Say that a card does not have a precision, and which it has.

    Examples
    --------
    >>> lacks_precision("t4", "bf16", {"fp32": 8.1e12, "int8": 130e12})
    't4 has no bf16: its data sheet names fp32 8.1, int8 130 TFLOP/s'
    """
    named = ", ".join(f"{key} {peak / TFLOP:g}" for key, peak in peaks_flop_per_s.items())
    return f"{card} has no {precision}: its data sheet names {named} TFLOP/s"


def _lacking(stem: str) -> str | None:
    """What a card lacks that was asked for by the name of a profile that nobody could ship."""
    card = card_of(stem)
    if card == stem or card not in shipped_names("profile"):
        return None
    from perfmodel.loading.yaml_source import read_yaml  # few names are of this kind
    from perfmodel.loading.yaml_tree import Scalar, Section

    source = read_yaml(shipped_directory("profile") / f"{card}.yaml")
    where = ("changes", "peaks_tflop_per_s")
    named = source.find(*where)
    precision = stem.removeprefix(f"{card}-")
    if not isinstance(named, Section) or precision in named.entries:
        return None
    values = {key: source.find(*where, key, "value") for key in named.entries}
    peaks = {key: float(at.text) * TFLOP for key, at in values.items() if isinstance(at, Scalar)}
    return lacks_precision(card, precision, peaks)


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
