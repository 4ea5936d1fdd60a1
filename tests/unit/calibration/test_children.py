"""No child outlives its parent, whatever ends the parent and whenever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest

import calibration
from calibration import children
from calibration.children import child, end, in_fresh_process, interrupts_held, start
from perfmodel.errors import InputError, PerfplanError

CHECKOUT = Path(calibration.__file__).parent.parent
PROC = Path("/proc")
MARK = "PERFPLAN_TEST_FAMILY"
Handler = Callable[..., object] | signal.Handlers
GONE_S = 20.0
"""A spawned child looks for its parent when it has imported what it needs."""

needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="finds processes in /proc")


def family(mark: str) -> list[int]:
    """Processes that inherited a mark in their environment and have not ended."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                marked = f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if marked and state != "Z":
                found.append(int(entry.name))
    return found


def left_after(kind: str, number: int, delay_s: float) -> list[int]:
    """Processes that are left when a parent of this kind was killed so long after it began."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.unit.calibration.parents", kind]
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"starting\n"
        time.sleep(delay_s)
        assert parent.poll() is None
        parent.send_signal(number)
        parent.wait(timeout=10)
    try:
        end_s = time.monotonic() + GONE_S
        while (left := family(mark)) and time.monotonic() < end_s:
            time.sleep(0.02)
        return left
    finally:
        for process in family(mark):
            os.kill(process, signal.SIGKILL)


@pytest.mark.thorough
@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(("kind", "longest_s"), [("forks", 0.1), ("spawns", 0.6), ("serves", 0.6)])
def test_no_child_is_left_of_a_parent_that_is_killed(
    kind: str, longest_s: float, number: signal.Signals
) -> None:
    delay_s = Random(f"{kind}{number}").uniform(0.0, longest_s)
    assert left_after(kind, number, delay_s) == []


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("turn", range(20))
@pytest.mark.parametrize(("kind", "longest_s"), [("forks", 0.1), ("spawns", 0.8), ("serves", 1.0)])
def test_no_child_is_left_whenever_the_parent_is_killed(kind: str, longest_s: float, turn: int) -> None:
    number = (signal.SIGTERM, signal.SIGKILL)[turn % 2]
    assert left_after(kind, number, Random(f"{kind}{turn}").uniform(0.0, longest_s)) == []


@needs_proc
def test_the_mark_finds_a_child() -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, env={MARK: mark}) as other:
        time.sleep(0.2)
        assert family(mark) == [other.pid]
        other.kill()


@pytest.mark.thorough
def test_where_the_kernel_cannot_kill_it_a_child_looks_for_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parent ends here: a forked child that starts one of its own and is killed."""
    monkeypatch.setattr(children, "_ask_kernel", lambda: False)
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def grandchild() -> None:
        sender.send(os.getpid())
        time.sleep(60.0)

    def parent() -> None:
        context.Process(target=children._run, args=(os.getpid(), grandchild, ())).start()
        time.sleep(60.0)

    middle = context.Process(target=parent)
    middle.start()
    pid = receiver.recv()
    sender.close()
    middle.kill()
    middle.join()
    assert receiver.poll(5.0)  # the end of the pipe: nobody holds the other side any more
    with pytest.raises(EOFError):
        receiver.recv()
    with pytest.raises(ProcessLookupError):
        _wait_until_gone(pid)


def _wait_until_gone(pid: int) -> None:
    end_s = time.monotonic() + 5.0
    while time.monotonic() < end_s:
        os.kill(pid, 0)
        time.sleep(0.02)


def test_a_child_whose_parent_has_gone_already_ends_at_once() -> None:
    nobody = child(get_context("fork"), time.sleep, (60.0,))
    nobody._args = (1 << 22, *nobody._args[1:])  # no process has this id: it is above the largest
    start(nobody)
    nobody.join(5.0)
    assert nobody.exitcode == 1
    end(nobody)


@pytest.fixture
def sigterm_as_an_interrupt() -> Iterator[Handler]:
    """SIGTERM heard as the command line hears it; the handler."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["heard", "in the background"])
def sigint(request: pytest.FixtureRequest) -> Iterator[Handler]:
    """What serves interrupts: Python, or nobody, as a shell starts what it leaves in the background."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_a_child_starts_is_raised_when_it_is_there() -> None:
    done = []

    def interrupted() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            done.append("went on")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_is_held_as_an_interrupt_is_and_all_is_as_it_was_then(
    sigterm_as_an_interrupt: Handler, sigint: Handler
) -> None:
    done = []

    def interrupted() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # to the process, then to its group
            done.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    held = {signal.SIGTERM} if sigint is signal.SIG_IGN else {signal.SIGINT, signal.SIGTERM}
    assert done == [held]
    assert signal.getsignal(signal.SIGTERM) is sigterm_as_an_interrupt
    assert signal.getsignal(signal.SIGINT) is sigint
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_sigterm_that_ends_a_process_is_not_held() -> None:
    """A program that uses the library, and hears nothing of it, ends at once as any other."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with interrupts_held():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_children_do_not_hear_interrupts() -> None:
    process = child(get_context("fork"), time.sleep, (0.5,))
    start(process)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(10.0)
    assert process.exitcode == 0


@pytest.mark.thorough
def test_a_fresh_process_gives_back_what_a_function_returns_or_raises() -> None:
    assert in_fresh_process(divmod, 7, 2) == (3, 1)
    with pytest.raises(InputError, match="no such thing"):
        in_fresh_process(_refuse, "no such thing")


def _refuse(why: str) -> None:
    raise InputError(why)


def test_a_fresh_process_that_is_killed_is_told_in_a_line() -> None:
    with pytest.raises(PerfplanError, match="was killed"):
        in_fresh_process(os._exit, 9)
