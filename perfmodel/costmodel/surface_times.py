"""Times of a model's kernels from a calibrated device's surfaces, alone and beside busy workers."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.kernels import Floats, Kernel
from perfmodel.costmodel.surfaces import (
    Moment,
    is_part_of_another,
    moments,
    place,
    surface_key,
    surface_seconds,
)
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.surface import Surface

_EVERY_SIZE_UP_TO = 16
_KNOTS = 48
"""Batch sizes at which many others are interpolated: between them times are smooth to 0.1 %."""
_ROUNDS = 3
"""How cold a pass finds the L3 depends on how long it takes, and that on how cold: settled after so many."""
_MARGIN = np.log(2.0)
"""Beyond the measured range by more than a factor of 2, a time is an extrapolation."""
_NEGLIGIBLE = 0.05
"""Share of a pass below which a call may be extrapolated: off by half, it moves the pass by 2.5 %. [1]"""

Timed = tuple[Floats | None, Basis]


def surface_times(
    kernels: tuple[Kernel, ...],
    device: Device,
    batch_size: Floats,
    busy: Floats,
) -> list[Timed]:
    """Time of all calls of each kernel [s], and its basis; None for kernels that no surface times.

    Parameters
    ----------
    kernels : tuple of Kernel
        Of one pass.
    device : Device
        With surfaces, and caches.
    batch_size, busy : (...) float arrays
        Items, and busy workers, of one shape.
    """
    sizes, inverse = np.unique(batch_size, return_inverse=True)
    knots = _knots(sizes)
    if device.caches is None:
        raise AssertionError(f"{device.name}: surfaces without caches")
    outside = sizes[0] < device.batch_range[0] or sizes[-1] > device.batch_range[1]
    rounds = _ROUNDS if isfinite(device.caches.l3_lifetime_s) else 1
    pass_seconds, at_knots = np.zeros_like(knots), list[_AtKnots | None]()
    for _ in range(rounds):
        found = moments(kernels, knots, device.caches, pass_seconds)
        at_knots = _at_knots(kernels, device, knots, found)
        pass_seconds = np.sum(
            [k.calls * one.seconds for k, one in zip(kernels, at_knots, strict=True) if one], axis=0
        ) + np.zeros_like(knots)
    timed: list[Timed] = []
    for kernel, one in zip(kernels, at_knots, strict=True):
        if is_part_of_another(kernel):
            timed.append((np.zeros_like(batch_size), Basis.INTERPOLATED))
        elif one is None:
            timed.append((None, Basis.EXTRAPOLATED))
        else:
            basis = Basis.EXTRAPOLATED if outside or one.is_far else Basis.INTERPOLATED
            by_size = np.exp(np.interp(np.log(sizes), np.log(knots), np.log(one.seconds)))
            at_batch = by_size[inverse].reshape(batch_size.shape)
            timed.append((kernel.calls * at_batch * _slowdown(kernel, device, busy), basis))
    return [one if one[1] is not Basis.EXTRAPOLATED or outside else _judged(one, timed) for one in timed]


class _AtKnots(NamedTuple):
    """One call's seconds at some batch sizes, and whether it lies far outside of what was measured."""

    seconds: Floats
    is_far: bool


def _at_knots(
    kernels: tuple[Kernel, ...], device: Device, knots: Floats, found: list[Moment]
) -> list[_AtKnots | None]:
    """Times of the kernels that have a surface; alike kernels are looked up once."""
    known: dict[tuple[object, ...], _AtKnots] = {}
    times: list[_AtKnots | None] = []
    for kernel, moment in zip(kernels, found, strict=True):
        surface = device.surfaces.get(surface_key(kernel))
        if is_part_of_another(kernel) or surface is None:
            times.append(None)
            continue
        at = place(kernel, knots, moment)
        once = (surface_key(kernel), at.coordinates.tobytes(), at.amounts.tobytes())
        if once not in known:
            known[once] = _AtKnots(surface_seconds(surface, at), _is_outside(surface, at.coordinates))
        times.append(known[once])
    return times


def _judged(one: Timed, timed: list[Timed]) -> Timed:
    """A call outside the measured range: an extrapolation, unless it hardly matters to the pass."""
    seconds, _ = one
    whole = np.sum([other for other, _ in timed if other is not None], axis=0)
    if seconds is None or np.any(seconds > _NEGLIGIBLE * whole):
        return one
    return seconds, Basis.INTERPOLATED


def _knots(sizes: Floats) -> Floats:
    """The sizes themselves where they are few; else all small ones and some of the others."""
    if len(sizes) <= _KNOTS:
        return sizes
    small = sizes[sizes <= _EVERY_SIZE_UP_TO]
    return np.union1d(small, np.geomspace(sizes[0], sizes[-1], _KNOTS))


def _is_outside(surface: Surface, coordinates: Floats) -> bool:
    low, high = surface.low[:, None] - _MARGIN, surface.high[:, None] + _MARGIN
    return bool(np.any((coordinates < low) | (coordinates > high)))


def _slowdown(kernel: Kernel, device: Device, busy: Floats) -> Floats:
    """Measured slow-down of the kernel's family beside busy workers. [1]"""
    measured = device.co_located.get(kernel.family)
    if not measured:
        return np.ones_like(busy)
    workers = sorted(measured)
    factors = [1.0, *(measured[count] for count in workers)]
    return np.interp(busy, [1, *workers], factors)
