"""What a serving process asks of the operating system: its cores, exact waiting, no garbage collector."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter, sleep

from perfmodel.errors import InputError

SPIN_S = 250e-6
"""The last part of a wait is spent spinning: sleeps overshoot by 50 to 150 us on a virtual machine."""

NAP_S = 0.05
"""Longest single sleep, so that a waiting worker notices a stop."""

_PR_SET_TIMERSLACK = 29


def cores_for(workers: int, threads: int) -> list[list[int]]:
    """Choose the cores of each worker among those that this process may use.

    Raises
    ------
    InputError
        If there are fewer cores than threads.
    """
    available = sorted(os.sched_getaffinity(0))
    needed = workers * threads
    if needed > len(available):
        raise InputError(
            f"node.cores: {workers} workers of {threads} threads need {needed} cores, this machine has "
            f"{len(available)}; --set node.cores={max(1, len(available) // threads)}"
        )
    return [available[first : first + threads] for first in range(0, needed, threads)]


def prepare_process(cores: list[int]) -> None:
    """Pin this process, put it first, stop its garbage collector, and let its timers be exact."""
    os.sched_setaffinity(0, cores)
    ask_for_priority()
    gc.collect()
    gc.freeze()
    gc.disable()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # [ns]; 50 us by default


def ask_for_priority() -> str:
    """Put this process before ordinary programs, where it has the right to; the priority it now has.

    Without it, whatever else runs on the machine for a moment stalls a request by a scheduler's slice of
    3 to 8 ms: the p99 measured is then that of the other programs.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return "real-time priority (SCHED_FIFO 1)"
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        return "nice -20"
    return "ordinary priority"


def priority_here() -> str:
    """The priority that a worker gets on this machine, and how it is run, in words."""
    before = os.sched_getscheduler(0), os.sched_getparam(0), os.getpriority(os.PRIO_PROCESS, 0)
    got = ask_for_priority()
    os.sched_setscheduler(0, before[0], before[1])
    os.setpriority(os.PRIO_PROCESS, 0, before[2])
    return f"pinned workers with {got}, garbage collector frozen and disabled"


def wait_until(due_s: float, stopped: Callable[[], bool]) -> bool:
    """Sleep, then spin, until `perf_counter()` reads `due_s`; False where stopped before. [s]"""
    while (left_s := due_s - perf_counter()) > SPIN_S:
        sleep(min(left_s - SPIN_S, NAP_S))
        if stopped():
            return False
    while perf_counter() < due_s:
        pass
    return True
