"""The commands by name, each imported when it is the one to run, and the command line around them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, NamedTuple

import typer
from typer.main import get_command

from perfmodel.cli.once import StrictCommand, StrictGroup
from perfmodel.errors import InputError, InterruptionError
from perfmodel.units import GIB

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


def _sweep() -> Command:
    from perfmodel.cli.sweep import sweep

    return sweep


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
    "sweep": LazyCommand("Ask one question at many points of a scenario, on all cores or a cluster.", _sweep),
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
    "schema": LazyCommand("Print the JSON Schema of a kind of YAML file, or of a command's answer.", _schema),
}


SIMULATING = ("predict", "capacity", "tune", "fleet", "sweep", "reproduce", "validate", "calibrate")
LEAST_ROOM_BYTES = 0.65 * GIB
"""Address space that numpy, numba and their threads map before the first query; with less, a library ends
the process, or waits for ever for a thread that could not start. `rm1_skylake` runs in 0.67 GiB."""


def _require_room() -> None:
    """Refuse a limit on this process's memory (`ulimit -v`) that its libraries do not fit in."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit_bytes != resource.RLIM_INFINITY and limit_bytes < LEAST_ROOM_BYTES:
        raise InputError(
            f"out of memory: this process may map {limit_bytes / GIB:.2f} GiB (ulimit -v), "
            f"its libraries need {LEAST_ROOM_BYTES / GIB:g} GiB"
        )


def _require_compiler() -> None:
    """Refuse settings of numba under which nothing of the simulation is compiled, or numba does not load."""
    threads = os.environ.get("NUMBA_NUM_THREADS", "1")
    if not threads.isdecimal() or int(threads) < 1:
        raise InputError(
            f"NUMBA_NUM_THREADS: expected a whole number >= 1, or no such variable, got {threads!r}"
        )
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        raise InputError("NUMBA_DISABLE_JIT: expected no such variable: the simulation is compiled by numba")


def run(arguments: list[str]) -> int:
    """Run a command, and return its exit code.

    Raises
    ------
    PerfplanError
        Whatever the command raises; an interruption is an `InterruptionError`.
    """
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    if wanted in SIMULATING:
        _require_room()
        _require_compiler()
    try:
        get_command(_app(wanted)).main(args=arguments, prog_name="perfplan")
    except SystemExit as exit_:  # Typer ends every run like this, with its own code for usage errors
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


def _app(wanted: str | None) -> typer.Typer:
    """Build the command line with the wanted command; of the others only name and summary."""
    app = typer.Typer(
        cls=StrictGroup,
        help="How much recommendation traffic can this hardware serve within its SLA?",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_common_options)
    for name, command in COMMANDS.items():
        if name == wanted:
            app.command(name, cls=StrictCommand)(_interruptible(command.load()))
        else:
            app.command(name, help=command.summary)(_unloaded)
    return app


def _interruptible(command: Command) -> Command:
    """A command whose interruption is an error of ours: Typer's own way with it differs by version."""

    @wraps(command)
    def run_command(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            raise InterruptionError("interrupted: there is no answer yet, and nothing was written") from None

    return run_command


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
