"""The entry point: turns errors, interrupts and streams that fail into one line and an exit code.

It imports next to nothing, so that an interrupt finds it ready: commands are imported under its care.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from perfmodel.cli.interrupts import Interrupts
from perfmodel.cli.streams import guard_streams, silence_stdout
from perfmodel.errors import InputError, InterruptionError, Note, PerfplanError

LONGEST_LINE = 800
"""Of a message: a few lines of a terminal. [characters]"""

GARBAGE_THRESHOLD = 100_000
"""Objects made since the last collection that start the next one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; by default that of this process, whose streams are then guarded.

    Returns
    -------
    int
        0 done, and the SLA is met; 2 bad input, too little memory, or an answer that cannot be written;
        3 the SLA is missed; 4 unstable; 5 outside the calibrated range; 6 cannot tell; 130 interrupted;
        141 whoever read stdout has gone.
    """
    interrupts = Interrupts(is_process=arguments is None)
    try:
        code = _guarded(arguments)
    except KeyboardInterrupt:
        code = _tell(InterruptionError("interrupted: nothing was done"))
    except Exception:
        if not interrupts.seen:
            raise
        code = _tell(InterruptionError("interrupted"))  # what a library made of it
    finally:
        interrupts.end()
    if interrupts.seen and code != InterruptionError.exit_code:
        code = _tell(InterruptionError("interrupted, which a library lost: the run has gone on to its end"))
    interrupts.leave(code)
    return code


def _guarded(arguments: Sequence[str] | None) -> int:
    """Run the command line, and write out its answer."""
    # Imports make some hundred thousand objects that stay: looking among them for garbage again and again
    # takes a tenth of the time of a short command.
    gc.set_threshold(GARBAGE_THRESHOLD)
    # Nor does pydantic have to look through all that is installed for plugins; there is none for perfplan.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        if arguments is None:
            guard_streams()
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except PerfplanError as error:
        return _tell(error)
    except MemoryError as error:
        wanted = f": {error}" if str(error) else ""
        return _tell(InputError(f"out of memory{wanted}"))


def _tell(error: PerfplanError) -> int:
    """Say what is wrong in a line on stderr, and the exit code; what was answered until then stays."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except PerfplanError:
        silence_stdout()
    if str(error):
        print(_in_a_line(str(error)), file=sys.stderr)
    return error.exit_code


def _in_a_line(text: str) -> str:
    """A message as one line; of one that quotes a megabyte, from another library say, beginning and end."""
    line = " ".join(text.split("\n"))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 203]} … {line[-200:]}"


def _run(arguments: list[str]) -> int:
    from perfmodel.cli.commands import run  # behind what handles an interrupt while it loads

    with warnings.catch_warnings():
        _show_notes_in_a_line()
        return run(arguments or ["--help"])


def _show_notes_in_a_line() -> None:
    """Print each of perfplan's own warnings once, as a line on stderr; the others stay as they are."""
    otherwise, shown = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if not issubclass(category, Note):
            otherwise(message, category, *place, **options)
        elif str(message) not in shown:
            shown.add(str(message))
            print(f"note: {message}", file=sys.stderr)

    warnings.showwarning = show
    warnings.simplefilter("always", Note)


if __name__ == "__main__":
    sys.exit(main())
