"""Times of a model's kernels from a calibrated device's surfaces, alone and beside busy workers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.contention import hyper_thread_slowdown
from perfmodel.costmodel.kernels import Floats, Kernel, is_part_of_another, is_stand_in, measured_as
from perfmodel.costmodel.moments import Before, Mix, Moment, moments
from perfmodel.costmodel.places import Place, place
from perfmodel.costmodel.saturation import Traffic, memory_traffic, saturation_slowdowns
from perfmodel.costmodel.surfaces import surface_seconds
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.surface import Surface

_EVERY_SIZE_UP_TO = 16
_KNOTS = 48
"""Batch sizes at which many others are interpolated: between them times are smooth to 0.1 %."""
_ROUNDS = 3
"""How cold a pass finds the L3 depends on how long it takes, and that on how cold: settled after so many."""
_UTILISATIONS = np.array([0.1, 0.3, 0.6, 1.0])
"""Where there are many workers, times are interpolated between these shares of busy ones. [1]"""
_MARGIN = np.log(2.0)
"""Beyond the measured range by more than a factor of 2, a time is an extrapolation."""

_BY_ITSELF = frozenset(
    [
        "call",
        "thin_call",
        "column_call",
        "code_beyond_private",
        "code_beyond_shared",
        "framework_beyond_private",
    ]
)
"""What a law charges for a call however little it does."""

Timed = tuple[Floats | None, Basis]


def surface_times(
    kernels: tuple[Kernel, ...],
    device: Device,
    batch_size: Floats,
    busy: Floats,
    mix: Mix | None = None,
) -> list[Timed]:
    """Time of all calls of each kernel [s], and its basis; None for kernels that no surface times.

    Derived here: a surface read at each kernel's moment, in three rounds, since a pass's time and the
    coldness that it finds depend on each other; beside busy workers the larger of the measured slow-down of
    its kind and that of the memory (`saturation_slowdowns`), times that of workers who share a core. The
    method: docs/calibration-method.md.

    Parameters
    ----------
    kernels : tuple of Kernel
        Of one pass.
    device : Device
        With surfaces, and caches.
    batch_size, busy : (...) float arrays
        Items, and busy workers, of one shape.
    mix : Mix, optional
        What the workers serve. A pass then follows one of these sizes, at once or after a pause: with n of
        k workers busy, this one included, it has run for about n / (k + 1) of the time, by the rule of
        succession. None: a closed loop of passes of the same size.

    Returns
    -------
    list of (array or None, Basis)
        Of each kernel, arrays of the shape of `batch_size`. [s]
    """
    sizes, inverse = np.unique(batch_size, return_inverse=True)
    counts, which = np.unique(busy, return_inverse=True)
    knots = _knots(sizes)
    own = [index for index, kernel in enumerate(kernels) if _has_surface(kernel, device)]
    utilisation = np.ones_like(counts) if mix is None else np.minimum(1.0, counts / (mix.workers + 1.0))
    levels = _levels(utilisation)
    settled = [_settled(kernels, own, device, knots, mix, float(level)) for level in levels]
    tables = [
        _beside(_between(settled, levels, used), kernels, own, device, mix, float(count))
        for count, used in zip(counts, utilisation, strict=True)
    ]
    outside = sizes[0] < device.batch_range[0] or sizes[-1] > device.batch_range[1]
    timed: list[Timed] = []
    for index, kernel in enumerate(kernels):
        if index in own:
            row = own.index(index)
            at_knots = np.log([table[row][: len(knots)] for table in tables])
            at_sizes = np.exp([np.interp(np.log(sizes), np.log(knots), each) for each in at_knots])
            seconds = at_sizes[which.ravel(), inverse.ravel()].reshape(batch_size.shape)
            is_far = outside or any(found[row].is_far for found in settled)
            timed.append((seconds, Basis.EXTRAPOLATED if is_far else Basis.INTERPOLATED))
        elif is_part_of_another(kernel):
            timed.append((np.zeros_like(batch_size), Basis.INTERPOLATED))
        else:
            timed.append((None, Basis.EXTRAPOLATED))
    return timed


class _Found(NamedTuple):
    """All calls of a kernel at some batch sizes: time, traffic, and whether it lies far out of range."""

    seconds: Floats
    traffic: Traffic
    is_far: bool


def _has_surface(kernel: Kernel, device: Device) -> bool:
    return not is_part_of_another(kernel) and measured_as(kernel, device.surfaces) is not None


def _settled(
    kernels: tuple[Kernel, ...],
    own: Sequence[int],
    device: Device,
    knots: Floats,
    mix: Mix | None,
    utilisation: float,
) -> list[_Found]:
    """The kernels with surfaces, `own`, at the knots, then at the sizes of the mix; other workers idle."""
    caches = device.caches
    if caches is None:
        raise AssertionError(f"{device.name}: surfaces without caches")
    sizes = knots if mix is None else np.append(knots, mix.batch_size)
    pass_seconds, found = np.zeros_like(sizes), list[_Found]()
    for _ in range(_ROUNDS if isfinite(caches.l3_lifetime_s) else 1):
        before = _before(sizes, pass_seconds, mix, utilisation)
        at = moments(kernels, sizes, caches, pass_seconds, before)
        found = _found([(kernels[index], at[index]) for index in own], device, sizes)
        pass_seconds = sum((one.seconds for one in found), np.zeros_like(sizes))
    return found


def _before(sizes: Floats, pass_seconds: Floats, mix: Mix | None, utilisation: float) -> Before:
    """What runs before passes of these sizes, of which the last are those of the mix."""
    if mix is None:
        return Before.alike(sizes, pass_seconds)
    shape = (len(mix.batch_size), len(sizes))
    last = pass_seconds[len(sizes) - len(mix.batch_size) :]
    sizes_before, seconds = (np.broadcast_to(column[:, None], shape) for column in (mix.batch_size, last))
    return Before(mix.share, sizes_before, seconds, utilisation)


def _found(calls: Sequence[tuple[Kernel, Moment]], device: Device, sizes: Floats) -> list[_Found]:
    """Times of these kernels; alike ones are looked up once."""
    rate = device.gemm.weight_memory_bytes_per_s
    known: dict[tuple[object, ...], tuple[Floats, bool]] = {}
    found = []
    for kernel, moment in calls:
        key = measured_as(kernel, device.surfaces)
        assert key is not None, "only kernels with a surface are looked up"
        surface, at = device.surfaces[key], place(kernel, sizes, moment, key)
        once = (key, at.coordinates.tobytes(), at.amounts.tobytes())
        if once not in known:
            each_s = surface_seconds(surface, at)
            known[once] = each_s, _is_far(surface, at, each_s) or is_stand_in(kernel, key)
        each_s, is_far = known[once]
        seconds = kernel.calls * each_s
        found.append(_Found(seconds, memory_traffic(kernel, sizes, moment, seconds, rate), is_far))
    return found


def _levels(utilisation: Floats) -> Floats:
    """Utilisations at which to look times up: all, or where they are many a few that enclose them."""
    distinct = np.unique(utilisation)
    return distinct if len(distinct) <= len(_UTILISATIONS) else _UTILISATIONS


def _between(settled: Sequence[list[_Found]], levels: Floats, utilisation: float) -> list[_Found]:
    """Interpolated between utilisations; at the lowest below it."""
    right = min(int(np.searchsorted(levels, utilisation)), len(levels) - 1)
    left = max(right - 1, 0)
    span = levels[right] - levels[left]
    weight = min(1.0, max(0.0, (utilisation - levels[left]) / span)) if span else 1.0

    def blend(low: Floats, high: Floats) -> Floats:
        return np.asarray((1.0 - weight) * low + weight * high)

    return [
        _Found(blend(low.seconds, high.seconds), Traffic(*map(blend, low.traffic, high.traffic)), high.is_far)
        for low, high in zip(settled[left], settled[right], strict=True)
    ]


def _beside(
    found: Sequence[_Found],
    kernels: tuple[Kernel, ...],
    own: Sequence[int],
    device: Device,
    mix: Mix | None,
    busy: float,
) -> list[Floats]:
    """Times of these kernels with so many workers busy: slowed as their kind was, or by their memory. [s]"""
    seconds, traffic = [one.seconds for one in found], [one.traffic for one in found]
    if busy <= 1.0 or not found:
        return seconds
    read, total = np.sum([one.bytes_read for one in traffic], axis=0), np.sum(seconds, axis=0)
    if mix is not None:
        count = len(mix.batch_size)
        read, total = mix.share @ read[-count:], mix.share @ total[-count:]
    by_memory = saturation_slowdowns(traffic, seconds, read / total, device, busy)
    return [
        one
        * np.maximum(slowed, kind_slowdown(kernels[index], device, busy))
        * hyper_thread_slowdown(kernels[index].family, device, np.array(busy))
        for one, slowed, index in zip(seconds, by_memory, own, strict=True)
    ]


def _knots(sizes: Floats) -> Floats:
    """The sizes themselves where they are few; else all small ones and some of the others."""
    if len(sizes) <= _KNOTS:
        return sizes
    small = sizes[sizes <= _EVERY_SIZE_UP_TO]
    return np.union1d(small, np.geomspace(sizes[0], sizes[-1], _KNOTS))


def _is_far(surface: Surface, at: Place, seconds: Floats) -> bool:
    """Whether a call lies far from what was measured: outside it, and not merely smaller.

    A call of less work than the smallest measured one takes at least what a call by itself does, which the
    law has. Where it takes no more than twice that, it cannot be off by more.
    """
    above = at.coordinates > surface.high[:, None] + _MARGIN
    below = at.coordinates < surface.low[:, None] - _MARGIN
    if np.any(above) or not np.any(below):
        return bool(np.any(above))
    itself = [name in _BY_ITSELF for name in at.terms]
    coefficients = np.array([surface.law[name] for name in at.terms])[itself]
    at_least_s = coefficients @ at.amounts[itself]
    return bool(np.any(np.any(below, axis=0) & (seconds > np.exp(_MARGIN) * at_least_s)))


def kind_slowdown(kernel: Kernel, device: Device, busy: Floats | float) -> Floats:
    """Measured slow-down of the kernel's family beside busy workers. [1]

    Source: `co_located` of the profile, linear between the counts that were measured.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    device : Device
        Where.
    busy : (...) float array
        Busy workers, this one included.
    """
    measured = device.co_located.get(kernel.family)
    if not measured:
        return np.ones_like(np.asarray(busy, dtype=float))
    workers = sorted(measured)
    return np.asarray(np.interp(busy, [1, *workers], [1.0, *(measured[count] for count in workers)]))
