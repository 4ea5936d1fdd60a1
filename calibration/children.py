"""Child processes that end with the process that started them, whatever ends it and whenever."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeVar

from perfmodel.errors import PerfplanError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SENT_TO_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal, at its end too, or `timeout` sends to every process of a group."""
_LOOK_S = 0.2
"""Between two looks for the parent, where the kernel does not tell when it ends."""

P = ParamSpec("P")
R = TypeVar("R")


def child(
    context: ForkContext | SpawnContext, target: Callable[..., None], args: tuple[Any, ...]
) -> BaseProcess:
    """A process, not started yet, that runs `target(*args)` and ends with this one: see `start`."""
    return context.Process(target=_run, args=(os.getpid(), target, args), daemon=True)


def start(process: BaseProcess) -> None:
    """Start a child; an interrupt waits until it is there, and is never the child's: the parent decides.

    The thread that calls this must outlive the child: the kernel takes its end for that of the parent.
    """
    with interrupts_held():
        process.start()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Put an interrupt off until the body has run, SIGTERM and SIGHUP where a command hears them as one.

    Processes that the body starts begin with what is held blocked.
    Within a fork, Python prints what is raised and goes on: the interrupt would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    caught: list[int] = []
    with ExitStack() as then:
        then.callback(_raise_first, caught)
        # What is ignored, or ends the process with no word, is nobody's to hold.
        held = {number: handler for number in _SENT_TO_ALL if callable(handler := signal.getsignal(number))}
        for number, handler in held.items():
            then.callback(signal.signal, number, handler)
            signal.signal(number, lambda number, _: caught.append(number))
        then.callback(
            signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_BLOCK, held)
        )
        yield


def _raise_first(caught: Sequence[int]) -> None:
    for number in caught[:1]:
        signal.raise_signal(number)


def in_fresh_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what the function returns, called in a new interpreter; all of it must be picklable.

    Raises
    ------
    PerfplanError
        If the process is killed; whatever the function raises is raised here.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # As bytes: the child asks to end with its parent before it imports what the function needs.
    process = child(context, _answer, (sender, pickle.dumps((function, args, kwargs))))
    try:
        start(process)
        sender.close()
        result, error = receiver.recv()
    except EOFError:
        raise PerfplanError("a process of this run was killed; was there enough memory?") from None
    finally:
        end(process)
    if error is not None:
        raise error
    answer: R = result
    return answer


def end(process: BaseProcess) -> None:
    """Kill a child, where it was started and still runs."""
    if process.pid is not None:
        process.kill()
        process.join()


def _run(parent: int, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    """What a child does first, and then for the rest of its life."""
    for number in _SENT_TO_ALL:  # the parent ends its children once it has what they did
        signal.signal(number, signal.SIG_IGN)
    _end_with(parent)
    target(*args)


def _end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; where it cannot, a thread looks for the parent.

    A parent that ended before the kernel was asked is not noticed by it, but is no longer the parent.
    """
    if not (sys.platform == "linux" and _ask_kernel()):
        threading.Thread(target=_look_for, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _ask_kernel() -> bool:
    done: int = ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL.value, 0, 0, 0)
    return done == 0


def _look_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _answer(sender: Connection, pickled: bytes) -> None:
    """Call a function and send what it returns, or raises."""
    try:
        function, args, kwargs = pickle.loads(pickled)
        result, raised = function(*args, **kwargs), None
    except Exception as error:
        result, raised = None, error
    sender.send((result, raised))
