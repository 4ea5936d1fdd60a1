"""The path of `predict` from a scenario's file to its percentiles: which modules of perfmodel it takes.

    python -m benchmarks.trace [COMMAND ARGUMENT ...]

Nothing is timed. A module runs where one of its functions does, once all are loaded; what only an import runs
does not count, nor do the methods that dataclasses and named tuples are given.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from inspect import CO_OPTIMIZED
from io import StringIO
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

import perfmodel
from perfmodel.cli.commands import run

PACKAGE = f"{Path(perfmodel.__file__).parent}/"
PREDICT = ("predict", "--scenario", "rm3_skylake", "--json")


class Trace(NamedTuple):
    """Modules of perfmodel that a command loads, packages included, and those that run."""

    loaded: list[str]
    executed: list[str]


def trace(arguments: Sequence[str]) -> Trace:
    """Run a command in this process, which has run no other before, and tell which modules it took."""
    executed: set[str] = set()
    seen: set[CodeType] = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code in seen or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_flags & CO_OPTIMIZED and not _is_import(frame):  # a function, no module and no class
            seen.add(code)
            executed.add(frame.f_globals["__name__"])

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        with redirect_stdout(StringIO()):
            run(list(arguments))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # None ends it, as for sys.setprofile
    loaded = [name for name in sys.modules if name.partition(".")[0] == "perfmodel"]
    return Trace(sorted(loaded), sorted(executed))


def _is_import(frame: FrameType | None) -> bool:
    """Whether a call is part of loading a module of perfmodel."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


def main() -> None:
    """Print the modules, those that run marked, and how many there are."""
    found = trace(sys.argv[1:] or PREDICT)
    for name in found.loaded:
        print(f"{'runs' if name in found.executed else 'loaded':8s} {name}")
    print(f"{len(found.executed)} modules of perfmodel run, {len(found.loaded)} are loaded")


if __name__ == "__main__":
    main()
