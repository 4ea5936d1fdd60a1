"""Timing a programme on an accelerator, call by call: the device's own time, and the host's to issue it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch

from calibration.runtime.accelerator import Accelerator
from calibration.runtime.programme import Inputs, Programme
from calibration.runtime.timing import Floats

_EMPTY_INTERVALS = 50
_HOLD_S = 1e-3


def stamp_overhead_s(accelerator: Accelerator) -> float:
    """What two time stamps with nothing in between are apart on a device that is not waiting. [s]"""
    accelerator.synchronise()
    accelerator.hold(_HOLD_S)
    stamps = [accelerator.event() for _ in range(_EMPTY_INTERVALS)]
    accelerator.synchronise()
    return float(np.median(_intervals_s(accelerator, stamps)))


def device_call_seconds(
    programme: Programme, inputs: Sequence[Inputs], accelerator: Accelerator, *, hold_s: float
) -> Floats:
    """Time of each call on the device, `(passes, calls)`; that of the time stamps taken off. [s]

    Each pass is issued while the device is held, so that it never waits for the host.

    Parameters
    ----------
    programme : Programme
        With weights on the device.
    inputs : sequence of Inputs
        On the device; one pass for each.
    accelerator : Accelerator
        The device.
    hold_s : float
        How long the device is held: at least what the host needs to issue a pass. [s]
    """
    overhead_s = stamp_overhead_s(accelerator)
    seconds = np.empty((len(inputs), len(programme.calls)))
    with torch.inference_mode():
        for index, given in enumerate(inputs):
            slots = programme.slots(given)
            accelerator.synchronise()
            accelerator.hold(hold_s)
            stamps = [accelerator.event()]
            for call in programme.calls:
                call.run(slots)
                for slot in call.frees:
                    slots[slot] = None
                stamps.append(accelerator.event())
            accelerator.synchronise()
            seconds[index] = _intervals_s(accelerator, stamps)
    return np.maximum(0.0, seconds - overhead_s)


def issue_call_seconds(programme: Programme, inputs: Sequence[Inputs], accelerator: Accelerator) -> Floats:
    """Time that the host needs to issue each call, `(passes, calls)`. [s]

    The device is free and follows the host, as in a real pass. Were it held, a pass of more launches than
    its queue takes (some 1000) would stop the host until the device goes on.
    """
    stamps = np.empty((len(inputs), len(programme.calls) + 1))
    with torch.inference_mode():
        for index, given in enumerate(inputs):
            slots = programme.slots(given)
            accelerator.synchronise()
            row = [perf_counter()]
            for call in programme.calls:
                call.run(slots)
                for slot in call.frees:
                    slots[slot] = None
                row.append(perf_counter())
            stamps[index] = row
        accelerator.synchronise()
    return np.asarray(np.diff(stamps, axis=1))


def _intervals_s(accelerator: Accelerator, stamps: Sequence[object]) -> Floats:
    return np.array([accelerator.elapsed_s(start, end) for start, end in pairwise(stamps)])
