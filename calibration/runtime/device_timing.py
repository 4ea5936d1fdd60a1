"""Timing a programme on an accelerator, call by call: the device's own time, and the host's to issue it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch

from calibration.runtime.accelerator import Accelerator
from calibration.runtime.programme import Inputs, Programme, Slots
from calibration.runtime.timing import Floats

_EMPTY_INTERVALS = 50
_HOLD_S, _LONGEST_HOLD_S = 1e-3, 0.02
_STAMP_S = 1e-5
"""What the host needs for a time stamp, at most: first guess of how long to hold the device for it. [s]"""
_HELD = 1.5
"""How long the device is held, over what the host needs to issue the calls. [1]"""
_IN_A_HOLD = 50
"""Calls issued while the device is held once."""


def stamp_overhead_s(accelerator: Accelerator) -> float:
    """What two time stamps with nothing in between are apart on a device that is not waiting. [s]"""

    def issue() -> list[object]:
        return [accelerator.event() for _ in range(_EMPTY_INTERVALS)]

    return float(np.median(held_intervals_s(accelerator, issue, hold_s=_HOLD_S)))


def held_intervals_s(accelerator: Accelerator, issue: Callable[[], list[object]], *, hold_s: float) -> Floats:
    """Times between the stamps that `issue` gives, all of them issued while the device was held. [s]

    Had the device come to the first stamp before the host issued the last, later ones would wait for the
    host, and its time pass for the device's: then all is issued again under a longer hold.
    """
    while True:
        accelerator.synchronise()
        accelerator.hold(hold_s)
        stamps = issue()
        was_late = accelerator.is_taken(stamps[0])
        accelerator.synchronise()
        if not was_late or hold_s >= _LONGEST_HOLD_S:
            return _intervals_s(accelerator, stamps)
        hold_s = min(2.0 * hold_s, _LONGEST_HOLD_S)


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
                slots, seconds[index, group] = _group_seconds(programme, slots, group, accelerator, issue_s)
    return np.maximum(0.0, seconds - overhead_s)


def _group_seconds(
    programme: Programme, slots: Slots, group: Sequence[int], accelerator: Accelerator, issue_s: Floats
) -> tuple[Slots, Floats]:
    """Run some calls of a pass, stamped; the slots after them, and the times between the stamps. [s]"""
    after = slots

    def issue() -> list[object]:
        nonlocal after
        after = list(slots)  # as they were: a group may be issued again
        return _stamped(programme, after, group, accelerator)

    host_s = float(issue_s[group].sum()) + _STAMP_S * len(group)
    hold_s = min(_HOLD_S + _HELD * host_s, _LONGEST_HOLD_S)
    intervals_s = held_intervals_s(accelerator, issue, hold_s=hold_s)
    return after, intervals_s


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
