"""Policy classes that the user brings: in a file, or installed as an entry point.

This is the one place where perfplan executes code that is not its own: only for an option of the command
line that asks for it, never because a scenario file says so.
"""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.text_file import is_file
from perfmodel.loading.words import cut_path, nearest, quoted

GROUP = "perfplan.policies"

_MOST_BYTES = 1_000_000
"""Of a Python file: compiling ten times that takes minutes and gigabytes. [bytes]"""


def policy_class_of_file(path: Path) -> type[Any]:
    """Run a Python file and return the one class in it that has a method `decide`.

    Raises
    ------
    InputError
        If there is no such file, it fails, or it does not define exactly one policy.
    """
    if not is_file(path):
        raise InputError(f"--policy-file: expected a Python file, found none at {cut_path(path)}")
    if (size := path.stat().st_size) > _MOST_BYTES:
        expected = f"expected at most {_MOST_BYTES / 1e6:g} MB"
        raise InputError(f"{path}:1:1: the file has {size / 1e6:.1f} MB; {expected}")
    module = _run(path)
    kinds = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "decide")
    ]
    if len(kinds) != 1:
        found = ", ".join(kind.__name__ for kind in kinds) or "none"
        raise InputError(f"{path}: expected one class with a method decide, found {found}")
    return kinds[0]


def installed_policy_class(name: str) -> type[Any]:
    """Load the policy class that is installed under a name in the entry-point group `perfplan.policies`.

    Raises
    ------
    InputError
        If there is no such entry point, or it does not lead to a class.
    """
    installed = installed_policies()
    if name not in installed:
        known = f"; installed: {', '.join(installed)}" if installed else ""
        raise InputError(
            f"--policy: no policy {quoted(name)} is installed in the entry-point group {GROUP}"
            f"{nearest(name, installed) or known}"
        )
    try:
        kind = installed[name].load()
    except (Exception, SystemExit) as error:
        raise InputError(f"--policy {name}: {installed[name].value}: {_shown(error)}") from error
    if not isinstance(kind, type):
        raise InputError(f"--policy {name}: {installed[name].value}: expected a class, got {kind!r}")
    return kind


def installed_policies() -> dict[str, EntryPoint]:
    """Map the names of installed policies to their entry points, without loading any."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def _run(path: Path) -> ModuleType:
    name = f"perfplan_policy_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: expected a Python file, ending in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"{path}:{_line_of(error, path)}: {_shown(error)}") from error
    return module


def _line_of(error: BaseException, path: Path) -> int:
    """Line of the file at which it failed."""
    if isinstance(error, SyntaxError) and error.lineno:
        return error.lineno
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return (lines[-1] if lines else None) or 1


def _shown(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else error
    return " ".join(f"{type(error).__name__}: {text}".split())
