"""Timing a programme: whole passes and single calls, in thread-CPU time, with inputs that do not repeat."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from calibration.runtime.programme import Inputs, Programme

Floats = npt.NDArray[np.float64]
Clock = Callable[[], int]
"""Reads a time. [ns]"""

_RENEWED_BYTES = 160e6
"""Rows that different inputs touch before any of them returns: more than a last-level cache holds."""
_MOST_INPUTS = 1000
_MOST_LOOKUPS = 1.5e6
"""Of all inputs together: beyond, drawing them takes longer than using them."""


def fresh_inputs(programme: Programme, batch_size: int, rng: np.random.Generator) -> list[Inputs]:
    """As many batches as it takes to touch more rows than caches hold, so that none is found hot."""
    model = programme.model
    touched = batch_size * model.embedding_bytes_per_item + model.embedding_bytes_per_query
    if touched == 0.0:
        return [programme.inputs(batch_size, rng)]
    lookups = batch_size * model.lookups_per_item + model.lookups_per_query
    wanted = min(_RENEWED_BYTES / touched, _MOST_LOOKUPS / lookups)
    return programme.many_inputs(batch_size, int(np.clip(np.ceil(wanted), 2, _MOST_INPUTS)), rng)


def clock_overhead_s(clock: Clock = time.thread_time_ns) -> float:
    """What reading a clock adds to an interval. [s]"""
    readings = np.array([clock() for _ in range(2000)])
    return float(np.median(np.diff(readings))) * 1e-9


def pass_seconds(
    programme: Programme, inputs: list[Inputs], repeats: int, clock: Clock = time.thread_time_ns
) -> Floats:
    """Time of whole passes, going round the inputs; of the thread, unless another clock is given. [s]"""
    seconds = np.empty(repeats)
    for index in range(repeats):
        given = inputs[index % len(inputs)]
        start = clock()
        programme.run(given)
        seconds[index] = clock() - start
    return seconds * 1e-9


def call_seconds(
    programme: Programme, inputs: list[Inputs], repeats: int, clock: Clock = time.thread_time_ns
) -> Floats:
    """Time of each call of each pass, `(repeats, calls)`, as of `pass_seconds`, less the clock's own. [s]"""
    calls = programme.calls
    stamps = np.empty((repeats, len(calls) + 1))
    with programme.mode():
        for index in range(repeats):
            slots = programme.slots(inputs[index % len(inputs)])
            row = [clock()]
            for call in calls:
                call.run(slots)
                for slot in call.frees:
                    slots[slot] = None
                row.append(clock())
            stamps[index] = row
    return np.diff(stamps, axis=1) * 1e-9 - clock_overhead_s(clock)


def kernel_seconds(programme: Programme, by_call: Floats) -> Floats:
    """Times of calls summed by the last kernel that each carries out, `(repeats, kernels)`. [s]"""
    summed = np.zeros((len(by_call), len(programme.kernels)))
    for index, call in enumerate(programme.calls):
        summed[:, call.kernels[-1]] += by_call[:, index]
    return summed
