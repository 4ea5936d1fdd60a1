"""An interrupt (Ctrl-C) ends the run, wherever it falls: Python loses those that fall into a callback.

So do SIGTERM, with which `timeout` and schedulers end a run, and SIGHUP, of a terminal that is closed: what
was measured is kept and told. In what a shell runs in the background they alone do: such a shell has
interrupts ignored, and `nohup` has SIGHUP.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from perfmodel.errors import InterruptionError, PerfplanError

AGAIN_S = 0.01
"""After a callback that lost an interrupt, until it is sent again: the callback has ended by then. [s]"""

ONE_S = 0.3
"""Within this it is one interrupt: `timeout -s INT` sends it to the process, then to its group. [s]"""

STUCK_S = 5.0
"""After an interrupt, until a process is ended whose main thread runs machine code and never sees it. [s]"""

STUCK = (
    "interrupted in the midst of a long computation: there is no answer; where something was kept (sweep, "
    "calibrate --resume) the same command goes on"
)

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""What others end a run with: served as an interrupt is where nobody has said otherwise."""

AT_ONCE = "interrupted twice: ended at once, and what was being written may be incomplete"


class Interrupts:
    """Watches over interrupts from its making until `end`.

    What is raised while Python runs a weak reference's callback (each import has one), a hook of a fork, a
    `__del__` or a C library's callback is printed and forgotten. Such an interrupt is sent again. Whoever
    interrupts twice no longer wants to wait for anything: the process ends there.

    Parameters
    ----------
    is_process : bool
        Whether the command is all that this process is for; otherwise it is never ended here.

    Attributes
    ----------
    seen : bool
        Whether there was one.
    """

    def __init__(self, *, is_process: bool) -> None:
        self.seen = False
        self._is_process = is_process
        self._last_s = 0.0
        self._is_again = False
        self._is_over = False
        self._thread = _thread.get_ident()
        self._unraisable = sys.unraisablehook
        self._process = os.getpid()
        # Only what Python's own handler, or none, would serve gets ours; in the background SIGINT is ignored.
        is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self._handlers: dict[signal.Signals, Callable[..., None]] = {}
        if is_heard:
            self._handlers[signal.SIGINT] = self._interrupt
        if is_process:
            heard = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
            self._handlers |= dict.fromkeys(heard, self._terminate)
        try:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        except ValueError:  # only the main thread can have a handler
            self._handlers.clear()
        sys.unraisablehook = self._lost
        if is_process and self._handlers:
            self._watch()

    def end(self) -> None:
        """Give back what was there before; in a process that ends anyway, nothing is left to interrupt."""
        self._is_over = True
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == handler:
                signal.signal(number, signal.SIG_IGN if self._is_process else signal.default_int_handler)
        sys.unraisablehook = self._unraisable

    def leave(self, code: int) -> None:
        """End a process that has said all it has to, before the interpreter takes its libraries down.

        That takes a fifth of a short command's time, in which signals would end what has its answer. Of an
        interrupted one it would wait for threads that know nothing of the interrupt, and libraries that were
        cut short complain.
        """
        if not self._is_process:
            return
        for number in self._handlers:  # whoever waits for nothing need not
            signal.signal(number, lambda *_: os._exit(code))
        if not self.seen:
            threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter waits for threads
        _end_now(code)

    def _watch(self) -> None:
        """Let a thread hear of signals when they come: a handler runs between two steps of Python only."""
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        _thread.start_new_thread(self._end_if_stuck, (heard,))

    def _end_if_stuck(self, heard: int) -> None:
        first_s: float | None = None
        while not self._is_over:
            if not {signal.SIGINT, *ENDING}.intersection(os.read(heard, 1)):
                continue
            now_s = time.monotonic()
            if first_s is None:
                first_s = now_s
                _thread.start_new_thread(self._end_after, (STUCK_S, STUCK))
            elif now_s - first_s > ONE_S:
                self._end_after(ONE_S, AT_ONCE)

    def _end_after(self, wait_s: float, words: str) -> None:
        """End the process unless our handler has run by then, or is not the one that is asked."""
        time.sleep(wait_s)
        is_asked = any(signal.getsignal(number) == handler for number, handler in self._handlers.items())
        if not self.seen and not self._is_over and is_asked:
            _write(words)
            os._exit(InterruptionError.exit_code)

    def _interrupt(self, *_: object) -> None:
        now_s = time.monotonic()
        is_new = not self.seen or now_s - self._last_s > ONE_S
        if not is_new and not self._is_again:
            return
        if self.seen and self._is_process and not self._is_again:
            _write(AT_ONCE)
            os._exit(InterruptionError.exit_code)
        self.seen, self._last_s, self._is_again = True, now_s, False
        raise KeyboardInterrupt

    def _terminate(self, number: int, *_: object) -> None:
        if os.getpid() != self._process:  # a fork: whoever made it wants it gone, and waits for nothing
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif self._is_again or not self.seen:
            self._interrupt()

    def _lost(self, unraisable: sys.UnraisableHookArgs, /) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(
                self._again, ()
            )  # a `threading.Thread` takes locks that may be held here
        else:
            self._unraisable(unraisable)

    def _again(self) -> None:
        time.sleep(AGAIN_S)
        if not self._is_over:
            self._is_again = True
            number = next(iter(self._handlers), signal.SIGINT)
            signal.pthread_kill(self._thread, number)  # a real signal: it also ends a sleep


def _write(words: str) -> None:
    with suppress(OSError):  # stderr is closed, or its terminal is gone
        os.write(2, f"{words}\n".encode())


def _end_now(code: int) -> None:
    with suppress(Exception):
        atexit._run_exitfuncs()  # of libraries with processes and semaphores of their own
    for stream in (sys.stdout, sys.stderr):
        with suppress(PerfplanError, OSError, ValueError):
            if stream is not None:
                stream.flush()
    os._exit(code)
