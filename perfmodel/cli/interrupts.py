"""An interrupt (Ctrl-C) ends the run, wherever it falls: Python loses those that fall into a callback."""

from __future__ import annotations

import _thread
import signal
import sys
import time

AGAIN_S = 0.01
"""After a callback that lost an interrupt, until it is sent again: the callback has ended by then. [s]"""


class Interrupts:
    """Watches over interrupts from its making until `end`.

    What is raised while Python runs a weak reference's callback (each import has one), a hook of a fork, a
    `__del__` or a C library's callback is printed and forgotten. Such an interrupt is sent again.

    Attributes
    ----------
    seen : bool
        Whether there was one.
    """

    def __init__(self) -> None:
        self.seen = False
        self._is_over = False
        self._thread = _thread.get_ident()
        self._unraisable = sys.unraisablehook
        # Only the main thread can have a handler, and only one that Python's own would serve gets ours.
        try:
            self._has_handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            if self._has_handler:
                signal.signal(signal.SIGINT, self._interrupt)
        except ValueError:
            self._has_handler = False
        sys.unraisablehook = self._lost

    def end(self, *, process_ends: bool) -> None:
        """Give back what was there before; in a process that ends anyway, nothing is left to interrupt."""
        self._is_over = True
        if self._has_handler:
            signal.signal(signal.SIGINT, signal.SIG_IGN if process_ends else signal.default_int_handler)
        sys.unraisablehook = self._unraisable

    def _interrupt(self, *_: object) -> None:
        self.seen = True
        raise KeyboardInterrupt

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
            signal.pthread_kill(self._thread, signal.SIGINT)  # a real signal: it also ends a sleep
