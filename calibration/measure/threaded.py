"""How much of each kind of call threads share out: sequences on one thread and on several, in turn."""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

import numpy as np
import torch

from calibration.children import child, end, start
from calibration.measure.probes import weighted_median
from calibration.measure.visits import Pool, batch_sizes, built_sequence
from calibration.runtime import operators
from calibration.runtime.programme import Programme
from calibration.runtime.timing import Floats, call_seconds, fresh_inputs, kernel_seconds, pass_seconds
from perfmodel.costmodel.threads import thread_factor
from perfmodel.errors import PerfplanError

_FIRST_SEED = 2 * 10**6
"""Other sequences than those of the surfaces and of contention."""
_WARM_S, _TIMED_S = 0.02, 0.04
_FEWEST, _MOST = 5, 21

Ratios = dict[str, list[tuple[float, float]]]
"""Kernel family to times on several threads over those on one [1], each with the latter [s]."""


def threaded_ratios(pool: Pool, duration_s: float, threads: int) -> dict[str, float]:
    """Time of each kernel family on so many threads over its time on one: the median over calls. [1]

    By the wall clock, since threads that wait for each other spend processor time too. In a process of its
    own: a thread pool, once started, does not survive the forks by which neighbours are started.

    Raises
    ------
    PerfplanError
        If that process is gone.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = child(context, _measure, (theirs, pool, duration_s, threads))
    start(process)
    theirs.close()
    try:
        ratios: Ratios = ours.recv()
    except (EOFError, OSError):
        raise PerfplanError("a process of this run was killed; was there enough memory?") from None
    finally:
        end(process)
    return {family: weighted_median(pairs) for family, pairs in ratios.items()}


def parallel_fraction(ratios: Mapping[int, float]) -> float:
    """Share of a kind's time that threads share out, from its ratio by threads: least squares. [1]

    Source: Amdahl's law, as `thread_factor` states it: 1 - r = p (1 - 1 / t). A kind that several threads
    make slower has nothing to share out.
    """
    threads, slower = np.array(list(ratios), dtype=float), np.array(list(ratios.values()))
    gained = 1.0 - np.array([thread_factor(1.0, int(count)) for count in threads])
    return float(np.clip((1.0 - slower) @ gained / (gained @ gained), 0.0, 1.0))


def _measure(talk: Connection, pool: Pool, duration_s: float, threads: int) -> None:
    talk.send(dict(_ratios(pool, duration_s, threads)))


def _ratios(pool: Pool, duration_s: float, threads: int) -> Ratios:
    found: Ratios = defaultdict(list)
    seed, end_s = _FIRST_SEED, time.monotonic() + duration_s
    while time.monotonic() < end_s:
        seed += 1
        programme = built_sequence(seed, pool, operators, torch.inference_mode)
        if programme is None:
            continue
        families = [kernel.family for kernel in programme.kernels]
        for batch_size in batch_sizes(programme.model, np.random.default_rng((seed, 1))):
            one, several = (_seconds(programme, batch_size, count) for count in (1, threads))
            _add(found, families, one, several)
    return found


def _seconds(programme: Programme, batch_size: int, threads: int) -> Floats:
    """Wall-clock time of each kernel on so many threads, the median over passes. [s]"""
    torch.set_num_threads(threads)
    inputs = fresh_inputs(programme, batch_size, np.random.default_rng(batch_size))
    once_s = float(pass_seconds(programme, inputs, 2, clock=time.perf_counter_ns)[-1])
    pass_seconds(programme, inputs[2:] or inputs, int(np.clip(_WARM_S / once_s, 2, _MOST)))
    passes = int(np.clip(_TIMED_S / once_s, _FEWEST, _MOST))
    calls = call_seconds(programme, inputs[len(inputs) // 2 :], passes, clock=time.perf_counter_ns)
    return np.asarray(np.median(kernel_seconds(programme, calls), axis=0))


def _add(found: Ratios, families: Sequence[str], one: Floats, several: Floats) -> None:
    for family, before_s, after_s in zip(families, one, several, strict=True):
        if before_s > 0.0 and after_s > 0.0:
            found[family].append((after_s / before_s, before_s))
