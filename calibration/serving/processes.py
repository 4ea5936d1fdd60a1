"""What a serving process asks of the operating system: its cores, exact waiting, no garbage collector."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

from perfmodel.errors import InputError
from perfmodel.threads import threads_here

LEAD_S = 300e-6
"""A waiting worker takes its priority back this long before its request is due."""

POLLS = 64
"""Looks at the clock between two looks at the stop flag: some 5 us."""

_PR_SET_TIMERSLACK = 29


def cores_for(workers: int, threads: int) -> list[list[int]]:
    """Choose the cores of each worker among those that this process may use.

    Raises
    ------
    InputError
        If there are fewer cores than threads.
    """
    available = threads_here()
    needed = workers * threads
    if needed > len(available):
        raise InputError(
            f"node.cores: {workers} workers of {threads} threads need {needed} cores, this machine has "
            f"{len(available)}; --set node.cores={max(1, len(available) // threads)}"
        )
    return [available[first : first + threads] for first in range(0, needed, threads)]


def spare_cores(taken: list[list[int]]) -> list[int]:
    """Cores for a process that has none of its own: those that are left, else all."""
    used = {core for mine in taken for core in mine}
    return sorted(set(threads_here()) - used) or sorted(used)


def prepare_process(cores: list[int]) -> bool:
    """Pin this process, put it first, stop its garbage collector; whether it has real-time priority."""
    os.sched_setaffinity(0, cores)
    ask_for_priority()
    gc.collect()
    gc.freeze()
    gc.disable()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # [ns]; 50 us by default
    return os.sched_getscheduler(0) == os.SCHED_FIFO


def ask_for_priority() -> str:
    """Put this process before ordinary programs, where it has the right to; the priority it now has.

    Without it, whatever else runs on the machine for a moment stalls a request by a scheduler's slice of
    3 to 8 ms: the p99 measured is then that of the other programs.
    """
    got = "ordinary priority"
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)  # also while a real-time worker waits as an ordinary process
        got = "nice -20"
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        got = "real-time priority (SCHED_FIFO 1)"
    return got


def priority_here() -> str:
    """The priority that a worker gets on this machine, and how it is run, in words."""
    before = os.sched_getscheduler(0), os.sched_getparam(0), os.getpriority(os.PRIO_PROCESS, 0)
    got = ask_for_priority()
    os.sched_setscheduler(0, before[0], before[1])
    os.setpriority(os.PRIO_PROCESS, 0, before[2])
    return f"pinned workers with {got}, garbage collector frozen and disabled"


def wait_until(due_s: float, stopped: Callable[[], bool], *, real_time: bool) -> bool:
    """Poll the clock until it reads `due_s`; False where stopped before. [s]

    A sleeping worker halts its virtual core, which comes back late and with cold caches: after a pause of
    3 to 10 ms a request then takes 8 to 18 % longer. So it polls; but the kernel takes the core from
    a real-time process for 50 ms in each second in which it leaves nothing to ordinary ones. The worker
    therefore waits as an ordinary process, and takes its priority back just before its request is due.
    """
    if real_time and due_s - perf_counter() > 2.0 * LEAD_S:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        there = _poll_until(due_s - LEAD_S, stopped)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        if not there:
            return False
    return _poll_until(due_s, stopped)


def _poll_until(due_s: float, stopped: Callable[[], bool]) -> bool:
    while perf_counter() < due_s:
        for _ in range(POLLS):
            if perf_counter() >= due_s:
                return True
        if stopped():
            return False
    return True
