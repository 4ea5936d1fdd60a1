"""The entry point: chooses the command, and turns errors into one line and an exit code."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, NamedTuple

import typer
from typer.main import get_command

from perfmodel.errors import Note, PerfplanError

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
BROKEN_PIPE = 141  # 128 + SIGPIPE

Command = Callable[..., None]


class LazyCommand(NamedTuple):
    """A command whose module is imported only when it is the one to run: `--help` and `list` stay fast.

    `summary` is the first line of the command's docstring; a test holds the two together.
    """

    summary: str
    load: Callable[[], Command]


def _list() -> Command:
    from perfmodel.cli.list import list_topics

    return list_topics


def _schema() -> Command:
    from perfmodel.cli.schema import schema

    return schema


def _predict() -> Command:
    from perfmodel.cli.predict import predict

    return predict


def _capacity() -> Command:
    from perfmodel.cli.capacity import capacity

    return capacity


def _tune() -> Command:
    from perfmodel.cli.tune import tune

    return tune


def _latency() -> Command:
    from perfmodel.cli.latency import latency

    return latency


def _fleet() -> Command:
    from perfmodel.cli.fleet import fleet

    return fleet


def _calibration(module: str, function: str) -> Callable[[], Command]:
    """Load a command that measures or runs models: it lives outside the library, by name only."""

    def load() -> Command:
        found: Command = vars(import_module(f"calibration.commands.{module}"))[function]
        return found

    return load


COMMANDS: Mapping[str, LazyCommand] = {
    "predict": LazyCommand("Predict tail latency, throughput and power of a scenario.", _predict),
    "capacity": LazyCommand("Find the largest load that a node carries within its SLA.", _capacity),
    "tune": LazyCommand("Find the batch size and offload threshold that carry the most load.", _tune),
    "latency": LazyCommand(
        "Predict the latency of one batch on one executor, operator by operator.", _latency
    ),
    "fleet": LazyCommand("Predict tail latency and power of many nodes behind a router, over a day.", _fleet),
    "calibrate": LazyCommand(
        "Measure what operators cost on this machine, and write a hardware profile.",
        _calibration("calibrate", "calibrate"),
    ),
    "import": LazyCommand(
        "Turn a PyTorch module into a model file, and say what was not recognised.",
        _calibration("import_model", "import_model"),
    ),
    "reproduce": LazyCommand(
        "Recompute a published evaluation, beside its published figures.",
        _calibration("reproduce", "reproduce"),
    ),
    "validate": LazyCommand(
        "Compare the prediction of a scenario with a real server on this machine.",
        _calibration("validate", "validate"),
    ),
    "doctor": LazyCommand(
        "Say what would disturb a calibration on this machine, and how to fix it.",
        _calibration("doctor", "doctor"),
    ),
    "list": LazyCommand("List what comes with perfplan and what scenarios may name.", _list),
    "schema": LazyCommand("Print the JSON Schema of a kind of YAML file.", _schema),
}


GARBAGE_THRESHOLD = 100_000
"""Objects made since the last collection that start the next one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; by default that of this process.

    Returns
    -------
    int
        0 done, and the SLA is met; 2 bad input; 3 the SLA is missed; 4 unstable; 5 outside the
        calibrated range; 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Imports make some hundred thousand objects that stay: looking among them for garbage again and again
    # takes a tenth of the time of a short command.
    gc.set_threshold(GARBAGE_THRESHOLD)
    # Nor does pydantic have to look through all that is installed for plugins; there is none for perfplan.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        with warnings.catch_warnings():
            _show_notes_in_a_line()
            return _run(arguments or ["--help"])
    except PerfplanError as error:
        print(" ".join(str(error).split("\n")), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone. The interpreter flushes stdout once more at its end: let that succeed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


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


def _run(arguments: list[str]) -> int:
    """Run the command and what it has printed."""
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        get_command(_app(wanted)).main(args=arguments, prog_name="perfplan")
    except SystemExit as exit_:  # Typer ends every run like this, with its own code for usage errors
        sys.stdout.flush()
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


def _app(wanted: str | None) -> typer.Typer:
    """Build the command line with the wanted command; of the others only name and summary."""
    app = typer.Typer(
        help="How much recommendation traffic can this hardware serve within its SLA?",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_common_options)
    for name, command in COMMANDS.items():
        if name == wanted:
            app.command(name)(command.load())
        else:
            app.command(name, help=command.summary)(_unloaded)
    return app


def _unloaded() -> None:
    """Stand in for a command that is not the one to run."""


def _show_version(value: bool) -> None:
    if value:
        try:
            number = version("perfplan")
        except PackageNotFoundError:
            number = "(not installed: running from a checkout)"
        print(f"perfplan {number}")
        raise typer.Exit


def _common_options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """How much recommendation traffic can this hardware serve within its SLA?"""


if __name__ == "__main__":
    sys.exit(main())
