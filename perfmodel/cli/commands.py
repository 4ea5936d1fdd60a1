"""The commands by name, each imported when it is the one to run, and the command line around them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import wraps
from io import StringIO
from typing import Annotated, Any, NamedTuple

import typer
from typer.main import get_command

from perfmodel.cli.completion import VARIABLE, as_bash_breaks, asked_as_typer_does, words_so_far
from perfmodel.cli.entry_points import entry_point
from perfmodel.cli.once import StrictCommand, StrictGroup
from perfmodel.errors import InputError, InterruptionError
from perfmodel.units import GIB

Command = Callable[..., None]


class LazyCommand(NamedTuple):
    """A command whose module is imported only when it is the one to run: `--help` and `list` stay fast.

    `summary` is the first line of the command's docstring; a test holds the two together. `examples` end its
    help, each a line to paste; `parsing` is how its words are read where that is otherwise than usual.
    """

    summary: str
    load: Callable[[], Command]
    examples: Sequence[str] = ()
    parsing: Mapping[str, Any] = {}


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


def _report() -> Command:
    from perfmodel.cli.report import report

    return report


def _show() -> Command:
    from perfmodel.cli.show import show_file

    return show_file


def _init() -> Command:
    from perfmodel.cli.init import init

    return init


def _plan() -> Command:
    from perfmodel.cli.plan import plan

    return plan


def _observe() -> Command:
    from perfmodel.cli.observe import observe

    return observe


def _profile() -> Command:
    from perfmodel.cli.profile import profile

    return profile


def _trace() -> Command:
    from perfmodel.cli.trace import trace

    return trace


def _diff() -> Command:
    from perfmodel.cli.diff import diff

    return diff


def _explain() -> Command:
    from perfmodel.cli.explain import explain

    return explain


def _map() -> Command:
    from perfmodel.cli.map import map_devices

    return map_devices


def _mlperf() -> Command:
    from perfmodel.cli.mlperf import mlperf

    return mlperf


def _measuring(name: str) -> Callable[[], Command]:
    """Load a command that measures or runs models: it lives outside the library."""

    def load() -> Command:
        found: Command = entry_point(name)
        return found

    return load


COMMANDS: Mapping[str, LazyCommand] = {
    "predict": LazyCommand(
        "Predict tail latency, throughput and power of a scenario.",
        _predict,
        (
            "perfplan predict rm3_skylake",
            "perfplan predict rm3_skylake --scale-load 1.4",
            "perfplan predict my_scenario.yaml --set sla.latency_ms=50 --json",
        ),
    ),
    "capacity": LazyCommand(
        "Find the largest load that a node carries within its SLA.",
        _capacity,
        (
            "perfplan capacity rm3_skylake",
            "perfplan capacity rm3_skylake --set sla.latency_ms=50",
        ),
    ),
    "tune": LazyCommand(
        "Find the batch size and offload threshold that carry the most load.",
        _tune,
        (
            "perfplan tune rm1_broadwell_gtx1080ti",
            "perfplan tune rm3_skylake --batch-sizes 64,128,256 --objective qps-per-watt",
        ),
    ),
    "latency": LazyCommand(
        "Predict the latency of one batch on one executor, operator by operator.",
        _latency,
        (
            "perfplan latency --model dlrm-rmc3 --on skylake",
            "perfplan latency -m my_model.yaml --on skylake --on broadwell --batch 1,64,256",
        ),
    ),
    "fleet": LazyCommand(
        "Predict tail latency and power of many nodes behind a router, over a day.",
        _fleet,
        (
            "perfplan fleet rm3_skylake --nodes 30 --qps 12000",
            "perfplan fleet rm1_broadwell_diurnal --nodes 8 --windows 24",
        ),
    ),
    "sweep": LazyCommand(
        "Ask one question at many points of a scenario, on all cores or a cluster.",
        _sweep,
        (
            "perfplan sweep rm3_skylake --over policy.batch_size=16..512*2 --out sweep.csv",
            "perfplan sweep rm3_skylake --over sla.latency_ms=20:100:5 --question capacity",
        ),
    ),
    "plan": LazyCommand(
        "Plan a fleet: how many nodes of which kind, hour by hour, at what power and price.",
        _plan,
        (
            "perfplan plan two_services",
            "perfplan plan my_fleet.yaml --set services.feed.demand.growth=1.4 --json",
        ),
    ),
    "observe": LazyCommand(
        "Fit traffic and service times to a node's log, replay it, and say whether the load has drifted.",
        _observe,
        (
            "perfplan observe my_log.csv --sla-ms 50 --out observed",
            "perfplan observe my_log.csv --scenario observed/scenario.yaml",
        ),
    ),
    "profile": LazyCommand(
        "Begin a profile of a machine that nobody measured, as changes to one that somebody did.",
        _profile,
        ("perfplan profile new --base skylake --from-lscpu lscpu.json --out my_server.yaml",),
    ),
    "trace": LazyCommand(
        "Say what a file of recorded traffic holds: format, rate, burstiness, sizes.",
        _trace,
        ("perfplan trace show my_trace.csv",),
    ),
    "explain": LazyCommand(
        "Say what binds a node, how far the cliff is, and what single changes would bring.",
        _explain,
        ("perfplan explain rm3_skylake",),
    ),
    "map": LazyCommand(
        "Map which device is the fastest, or most efficient, for which model and batch size.",
        _map,
        (
            "perfplan map --models dlrm-rmc1,dlrm-rmc3,wnd --on broadwell,gtx1080ti --batch 1,16,64,256",
            "perfplan map -m wnd,din --on h200,intel-xeon-emerald-16c --by efficiency --out map.html",
        ),
    ),
    "mlperf": LazyCommand(
        "Say whether MLPerf's LoadGen would call a run VALID, and which rate is the largest.",
        _mlperf,
        (
            "perfplan mlperf mlperf_dlrm_v2_skylake --target-qps 40",
            "perfplan mlperf mlperf_dlrm_v2_skylake --loadgen-scenario offline --conf user.conf",
        ),
    ),
    "diff": LazyCommand(
        "Compare two scenarios on the same random numbers, two fleets, or two saved answers.",
        _diff,
        (
            "perfplan diff rm3_skylake rm3_broadwell",
            "perfplan diff before.json after.json",
        ),
    ),
    "calibrate": LazyCommand(
        "Measure what operators cost on this machine, and write a hardware profile.",
        _measuring("calibrate"),
        ("perfplan calibrate --out here.yaml", "perfplan calibrate --out card.yaml --device cuda"),
    ),
    "import": LazyCommand(
        "Turn a PyTorch module into a model file, and say what was not recognised.",
        _measuring("import"),
        ("perfplan import my_model.py:make_model --out my_model.yaml",),
    ),
    "reproduce": LazyCommand(
        "Recompute a published evaluation, beside its published figures.",
        _measuring("reproduce"),
        ("perfplan reproduce hpca --out hpca.html",),
    ),
    "validate": LazyCommand(
        "Compare the prediction of a scenario with a real server on this machine.",
        _measuring("validate"),
        (
            "perfplan validate rm1_skylake --profile here.yaml --utilisation 0.5",
            "perfplan validate --suite --profile here.yaml --out validation.html",
        ),
    ),
    "doctor": LazyCommand(
        "Say what would disturb a calibration on this machine, and how to fix it.",
        _measuring("doctor"),
        ("perfplan doctor",),
    ),
    "dev": LazyCommand(
        "Run a programme of perfplan's own workshop: fits, comparisons, and how far profiles are off.",
        _measuring("dev"),
        ("perfplan dev", "perfplan dev compare --points"),
        {
            "ignore_unknown_options": True,
            "allow_interspersed_args": False,
        },  # what follows the name is its own
    ),
    "list": LazyCommand(
        "List what comes with perfplan and what scenarios may name.",
        _list,
        ("perfplan list scenarios", "perfplan list profiles --json"),
    ),
    "show": LazyCommand(
        "Print a file that comes with perfplan: a scenario, a model, a profile or a fleet.",
        _show,
        ("perfplan show rm3_skylake", "perfplan show skylake --path"),
    ),
    "init": LazyCommand(
        "Copy an annotated scenario, model and fleet to start from.",
        _init,
        ("perfplan init", "perfplan init my_service"),
    ),
    "report": LazyCommand(
        "Write one self-contained HTML page of a scenario, a fleet or a saved answer.",
        _report,
        (
            "perfplan report rm3_skylake --out rm3.html",
            "perfplan report two_services --out fleet.html",
            "perfplan report answer.json --out answer.html",
        ),
    ),
    "schema": LazyCommand(
        "Print the JSON Schema of a kind of YAML file, or of a command's answer.",
        _schema,
        ("perfplan schema scenario > scenario.schema.json", "perfplan schema --of predict"),
    ),
}


HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

SIMULATING = (
    "predict",
    "capacity",
    "tune",
    "fleet",
    "sweep",
    "plan",
    "diff",
    "observe",
    "reproduce",
    "validate",
    "calibrate",
    "report",
)
MEASURING = ("calibrate", "validate", "doctor", "dev")
"""Commands whose processes have the user's own settings, which are part of what is measured."""
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
    if VARIABLE in os.environ:
        return _offer(asked_as_typer_does(os.environ[VARIABLE]))
    return _run(arguments, arguments)


def _offer(asked: str) -> int:
    """Answer a shell that asks for completions, or for the script that asks."""
    os.environ[VARIABLE] = asked
    if asked != "complete_bash":
        return _run([], words_so_far(os.environ))
    as_bash_wants = as_bash_breaks(os.environ)
    with redirect_stdout(StringIO()) as offered:
        code = _run([], words_so_far(os.environ))
    print("\n".join(as_bash_wants(each) for each in offered.getvalue().splitlines()))
    return code


def _run(arguments: list[str], words: list[str]) -> int:
    """Run the command that is named in the words."""
    wanted = next((word for word in words if not word.startswith("-")), None)
    if wanted not in MEASURING:
        # Products here are small, and both cores have their own work: threads of a library make them slower.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if wanted in SIMULATING:
        _require_room()
        _require_compiler()
    try:
        get_command(_app(wanted)).main(args=arguments, prog_name="perfplan")
    except SystemExit as exit_:  # Typer ends every run like this, with its own code for usage errors
        if exit_.code == InterruptionError.exit_code:  # ours are raised: it was Typer that an interrupt met
            raise InterruptionError("interrupted: there is no answer") from None
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


def _app(wanted: str | None) -> typer.Typer:
    """Build the command line with the wanted command; of the others only name and summary."""
    app = typer.Typer(
        cls=StrictGroup,
        help="How much recommendation traffic can this hardware serve within its SLA?",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=HELP,
    )
    app.callback()(_common_options)
    for name, command in COMMANDS.items():
        if name == wanted:
            settings = HELP | dict(command.parsing)
            app.command(name, cls=StrictCommand, context_settings=settings, epilog=_examples(command))(
                _interruptible(command.load())
            )
        else:
            app.command(name, help=command.summary)(_unloaded)
    return app


def _examples(command: LazyCommand) -> str | None:
    """What ends a command's help; the sign at the beginning keeps the lines as they are."""
    return (
        "\n".join(["\b", "Examples:", *(f"  {line}" for line in command.examples)])
        if command.examples
        else None
    )


def _interruptible(command: Command) -> Command:
    """A command whose interruption is an error of ours: Typer's own way with it differs by version."""

    @wraps(command)
    def run_command(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            raise InterruptionError(
                "interrupted: there is no answer yet; every file is there whole, or as it was"
            ) from None

    return run_command


def _unloaded() -> None:
    """Stand in for a command that is not the one to run."""


def _show_version(value: bool) -> None:
    if value:
        from perfmodel.report.documents import perfplan_version

        print(f"perfplan {perfplan_version()}")
        raise typer.Exit


def _common_options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """How much recommendation traffic can this hardware serve within its SLA?"""
