"""An interrupt ends the run wherever it falls: exit code 130, one line, no traceback."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest

import perfmodel
from perfmodel.cli import commands
from perfmodel.cli.commands import LazyCommand
from perfmodel.cli.interrupts import AT_ONCE, ONE_S, STUCK
from perfmodel.cli.main import main

CHECKOUT = Path(perfmodel.__file__).parent.parent
BEGINS = "import sys; from perfmodel.cli.main import main; print('begun', flush=True); sys.exit(main())"
LONG_S = 60.0


def in_weakref_callback() -> None:
    """As each import has one."""

    class Thing:
        pass

    thing = Thing()
    watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    time.sleep(LONG_S)
    assert watched


def in_finaliser() -> None:
    class Thing:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    Thing()
    time.sleep(LONG_S)


def in_fork_hook() -> None:
    armed = [True]
    os.register_at_fork(after_in_parent=lambda: armed and armed.pop() and signal.raise_signal(signal.SIGINT))
    if os.fork() == 0:
        os._exit(0)
    time.sleep(LONG_S)


def in_plain_code() -> None:
    signal.raise_signal(signal.SIGINT)
    time.sleep(LONG_S)


def where_a_library_makes_something_else_of_it() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
        time.sleep(LONG_S)
    except KeyboardInterrupt:
        raise RuntimeError("initialisation failed") from None


def where_a_library_swallows_it() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
        time.sleep(LONG_S)
    except BaseException:
        print("answer")


@pytest.mark.parametrize(
    "body",
    [
        in_plain_code,
        in_weakref_callback,
        in_finaliser,
        in_fork_hook,
        where_a_library_makes_something_else_of_it,
        where_a_library_swallows_it,
    ],
)
def test_no_interrupt_is_lost(
    body: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "COMMANDS", {"wait": LazyCommand("Wait.", lambda: body)})
    hook, started_s = sys.unraisablehook, time.monotonic()
    assert main(["wait"]) == 130
    assert time.monotonic() - started_s < 0.5 * LONG_S
    error = capsys.readouterr().err
    assert error.startswith("interrupted")
    assert error.count("\n") == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.unraisablehook is hook


def test_an_interrupt_outside_of_the_command_is_a_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Typer makes of it an exit code of 130 and no word: while options are read, say, or from a second one.
    monkeypatch.setattr(commands, "_interruptible", lambda command: command)
    monkeypatch.setattr(commands, "COMMANDS", {"wait": LazyCommand("Wait.", lambda: in_plain_code)})
    assert main(["wait"]) == 130
    assert capsys.readouterr().err == "interrupted: there is no answer\n"


WAITS_FOR_THREADS = """
from perfmodel.threads import side_by_side
def body():
    side_by_side(lambda _: (print("begun", flush=True), time.sleep(60)), range(2))
"""
WAITS_FOR_NOBODY_KNOWS_WHAT = """
def body():
    for word in ("begun", "again"):
        try:
            print(word, flush=True)
            time.sleep(60)
        except BaseException:
            pass
"""

FORKS = """
import os, signal
def body():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print("begun", flush=True)
    time.sleep(0.3)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
IN_MACHINE_CODE = """
import hashlib, threading
from perfmodel.cli import interrupts
interrupts.STUCK_S = 0.2
def body():
    threading.Timer(0.3, print, ["begun"], {"flush": True}).start()  # once the call is under way
    hashlib.pbkdf2_hmac("sha256", b"one call", b"without the lock", 1_000_000_000)
"""


LOSES_IT = """
import signal, weakref
def body():
    class Thing:
        pass
    thing = Thing()
    watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
    print("begun", flush=True)
    del thing
    time.sleep(60)
"""
HOLDS_IT = """
import signal
from calibration.children import interrupts_held
def body():
    with interrupts_held():
        print("begun", flush=True)
        time.sleep(0.5)
        print("written", flush=True)
    time.sleep(60)
"""

IN_BACKGROUND = ["sh", "-c", '"$@" & trap "kill -TERM $!" TERM; wait $!; wait $!', "sh"]
"""A shell's job, which begins with SIGINT ignored; SIGTERM to the shell goes on to it. [command]"""


def _hears_of_a_closed_terminal() -> None:
    """Tests may run under `nohup`, whose children ignore it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def running(body: str, within: Sequence[str] = (), first: str = "begun\n") -> Iterator[subprocess.Popen[str]]:
    """A process whose command does this, once it has said `first`; `within` a command that runs it."""
    source = (
        f"import sys, time\n{body}\nfrom perfmodel.cli import commands, main\n"
        "commands.COMMANDS = {'wait': commands.LazyCommand('Wait.', lambda: body)}\nsys.exit(main.main())"
    )
    with subprocess.Popen(
        [*within, sys.executable, "-c", source, "wait"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hears_of_a_closed_terminal,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(len(first)) == first
        yield process


@pytest.mark.thorough
@pytest.mark.parametrize("with_what", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_process_waits_for_no_thread_that_is_at_work(with_what: signal.Signals) -> None:
    with running(WAITS_FOR_THREADS) as process:
        process.send_signal(with_what)
        _, error = process.communicate(timeout=0.5 * LONG_S)
    assert process.returncode == 130
    assert error == "interrupted: there is no answer yet; every file is there whole, or as it was\n"


@pytest.mark.thorough
@pytest.mark.parametrize("with_what", [signal.SIGINT, signal.SIGTERM])
def test_machine_code_that_never_ends_puts_an_interrupt_off_for_a_while_only(
    with_what: signal.Signals,
) -> None:
    with running(IN_MACHINE_CODE) as process:
        process.send_signal(with_what)
        _, error = process.communicate(timeout=0.5 * LONG_S)
    assert process.returncode == 130
    assert error == f"{STUCK}\n"


@pytest.mark.parametrize(
    ("body", "out"),
    [
        pytest.param(WAITS_FOR_THREADS, "", marks=pytest.mark.thorough),
        pytest.param(LOSES_IT, "", marks=pytest.mark.thorough),
        (HOLDS_IT, "written\n"),
    ],
)
def test_sigterm_ends_what_a_shell_runs_in_the_background(body: str, out: str) -> None:
    with running(body, IN_BACKGROUND) as process:
        if body != LOSES_IT:
            process.send_signal(signal.SIGTERM)
        written, error = process.communicate(timeout=0.5 * LONG_S)
    assert process.returncode == 130
    assert error == "interrupted: there is no answer yet; every file is there whole, or as it was\n"
    assert written.replace("begun\n", "") == out  # threads begin twice


@pytest.mark.thorough
def test_machine_code_in_the_background_puts_sigterm_off_for_a_while_only() -> None:
    with running(IN_MACHINE_CODE, IN_BACKGROUND) as process:
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=0.5 * LONG_S)
    assert (process.returncode, error) == (130, f"{STUCK}\n")


@pytest.mark.thorough
def test_a_terminal_that_is_closed_ends_a_run_as_an_interrupt_does(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    script = (
        "import fcntl, signal, termios, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); from perfmodel.cli.main import main; sys.exit(main())"
    )
    arguments = [
        "sweep",
        "rm1_skylake",
        "--over",
        "simulation.seed=1..400+1",
        "--jobs",
        "1",
        "--out",
        "s.csv",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ) as process:
        os.close(inside)
        shown = b""
        while b"point" not in shown:
            shown += os.read(terminal, 4096)
        os.close(terminal)
        assert process.wait(timeout=LONG_S) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv.unfinished"]


ENDS_SLOWLY = """
import atexit
def body():
    print("answer", flush=True)
    atexit.register(time.sleep, 60)
    atexit.register(print, "begun", flush=True)
"""
ENDS_WITH_A_THREAD = """
import threading
def body():
    print("begun", flush=True)
    threading.Thread(target=lambda: (time.sleep(0.3), print("of the thread"))).start()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("with_what", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_answer_changes_nothing_and_ends_the_wait(with_what: signal.Signals) -> None:
    with running(ENDS_SLOWLY, first="answer\nbegun\n") as process:
        process.send_signal(with_what)
        _, error = process.communicate(timeout=0.5 * LONG_S)
    assert (process.returncode, error) == (0, "")


@pytest.mark.thorough
def test_a_process_that_ends_waits_for_its_threads() -> None:
    with running(ENDS_WITH_A_THREAD) as process:
        out, error = process.communicate(timeout=0.5 * LONG_S)
    assert (process.returncode, out, error) == (0, "of the thread\n", "")


@pytest.mark.thorough
def test_a_fork_of_a_command_ends_with_the_signal_as_any_process_does() -> None:
    with running(FORKS) as process:
        out, _ = process.communicate(timeout=0.5 * LONG_S)
    assert out == f"{-signal.SIGTERM}\n"


@pytest.mark.thorough
def test_a_second_interrupt_ends_machine_code_at_once() -> None:
    with running(IN_MACHINE_CODE.replace("STUCK_S = 0.2", "STUCK_S = 60.0")) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(2.0 * ONE_S)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=0.5 * LONG_S)
    assert process.returncode == 130
    assert error == f"{AT_ONCE}\n"


@pytest.mark.thorough
def test_a_second_interrupt_ends_at_once_what_swallowed_the_first() -> None:
    with running(WAITS_FOR_NOBODY_KNOWS_WHAT) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        assert "again\n" in iter(process.stdout.readline, "")  # an interrupt while it writes: "begun" twice
        time.sleep(2.0 * ONE_S)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=0.5 * LONG_S)
    assert process.returncode == 130
    assert error == f"{AT_ONCE}\n"


def test_an_array_that_is_too_large_is_one_line_and_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def large() -> None:
        np.empty(1 << 60, dtype=np.int8)

    monkeypatch.setattr(commands, "COMMANDS", {"large": LazyCommand("", lambda: large)})
    assert main(["large"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("out of memory: Unable to allocate 1.00 EiB")


def interrupted(arguments: list[str], delay_s: float) -> subprocess.CompletedProcess[str]:
    """A command that is interrupted so long after its entry point was reached."""
    with subprocess.Popen(
        [sys.executable, "-c", BEGINS, *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess([], process.returncode, out, err)


@pytest.mark.parametrize(
    "turn", [0, 1, *(pytest.param(turn, marks=pytest.mark.slow) for turn in range(2, 6))]
)
def test_an_interrupt_while_modules_are_imported_is_a_line(turn: int) -> None:
    done = interrupted(["predict", "--scenario", "rm3_skylake"], Random(turn).uniform(0.005, 0.25))
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("interrupted: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(100))
def test_an_interrupt_at_any_moment_is_a_line_or_came_too_late(turn: int) -> None:
    done = interrupted(["capacity", "--scenario", "rm3_skylake"], Random(turn).uniform(0.0, 2.0))
    assert done.returncode in (0, 130)
    assert len(done.stderr.splitlines()) == (done.returncode == 130)
