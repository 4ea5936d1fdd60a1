"""Timing a programme on an accelerator, call by call: the device's own time, and the host's to issue it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch

from calibration.runtime.accelerator import Accelerator
from calibration.runtime.programme import Inputs, Programme, Slots
from calibration.runtime.timing import Floats

_EMPTY_INTERVALS = 50
_HOLD_S, _LONGEST_HOLD_S = 2e-4, 0.02
_HELD = 1.5
"""How long the device is held, over what the host needs to issue the calls. [1]"""
_IN_A_HOLD = 50
"""Calls issued while the device is held once."""


def stamp_overhead_s(accelerator: Accelerator) -> float:
    """What two time stamps with nothing in between are apart on a device that is not waiting. [s]"""
    accelerator.synchronise()
    accelerator.hold(_HOLD_S)
    stamps = [accelerator.event() for _ in range(_EMPTY_INTERVALS)]
    accelerator.synchronise()
    return float(np.median(_intervals_s(accelerator, stamps)))


def device_call_seconds(
    programme: Programme, inputs: Sequence[Inputs], accelerator: Accelerator, issue_s: Floats
) -> Floats:
    """Time of each call on the device, `(passes, calls)`; that of the time stamps taken off. [s]

    Calls are issued while the device is held, so that it never waits for the host; some dozens at a time,
    since a device's queue takes some 1000 launches, and stops the host when it is full.

    Parameters
    ----------
    programme : Programme
        With weights on the device.
    inputs : sequence of Inputs
        On the device; one pass for each.
    accelerator : Accelerator
        The device.
    issue_s : (calls,) float array
        What the host needs to issue each call: how long the device is held. [s]
    """
    overhead_s = stamp_overhead_s(accelerator)
    numbers = range(len(programme.calls))
    groups = [numbers[first : first + _IN_A_HOLD] for first in range(0, len(numbers), _IN_A_HOLD)]
    seconds = np.empty((len(inputs), len(numbers)))
    with torch.inference_mode():
        for index, given in enumerate(inputs):
            slots = programme.slots(given)
            for group in groups:
                accelerator.synchronise()
                accelerator.hold(min(_HOLD_S + _HELD * float(issue_s[group].sum()), _LONGEST_HOLD_S))
                stamps = _stamped(programme, slots, group, accelerator)
                accelerator.synchronise()
                seconds[index, group] = _intervals_s(accelerator, stamps)
    return np.maximum(0.0, seconds - overhead_s)


def _stamped(
    programme: Programme, slots: Slots, group: Sequence[int], accelerator: Accelerator
) -> list[object]:
    """Issue some calls of a pass, with a time stamp before and after each."""
    stamps: list[object] = [accelerator.event()]
    for number in group:
        call = programme.calls[number]
        call.run(slots)
        for slot in call.frees:
            slots[slot] = None
        stamps.append(accelerator.event())
    return stamps


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
