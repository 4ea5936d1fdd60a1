"""What the threads of a worker process make of a batch: Amdahl's law, kernel family by kernel family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from perfmodel.costmodel.service_time import BatchTime, TimedKernel


def thread_factor(parallel_fraction: float, threads: int) -> float:
    """Time on `threads` threads over time on one: Amdahl's law [1]_, (1 - p) + p / t. [1]

    Parameters
    ----------
    parallel_fraction : float
        Share p of the time that is shared out among the threads, in [0, 1]. [1]
    threads : int
        Threads t, >= 1.

    References
    ----------
    .. [1] G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing
       capabilities", AFIPS Spring Joint Computer Conference, 1967.

    Examples
    --------
    >>> thread_factor(0.5, 2)
    0.75
    """
    return (1.0 - parallel_fraction) + parallel_fraction / threads


def with_threads(time: BatchTime, parallel_fractions: Mapping[str, float], threads: int) -> BatchTime:
    """Return the time of the same batch on a worker of several threads.

    Source: `thread_factor`, by kernel family.

    Parameters
    ----------
    time : BatchTime
        On one thread, all cores of all busy workers at work.
    parallel_fractions : mapping of str to float
        Share of a kernel family's time that is shared out among the threads; a family not named stays on
        one. [1]
    threads : int
        Threads of the worker.
    """
    if threads == 1:
        return time

    def shortened(timed: TimedKernel) -> TimedKernel:
        factor = thread_factor(parallel_fractions.get(timed.kernel.family, 0.0), threads)
        return replace(
            timed, parts=timed.parts.scaled(np.asarray(factor)), seconds=np.asarray(timed.seconds * factor)
        )

    return replace(time, kernels=tuple(shortened(timed) for timed in time.kernels))
