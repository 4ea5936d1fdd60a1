"""Times of a model's kernels from a calibrated device's surfaces, alone and beside busy workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from math import inf, isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfmodel.costmodel.calls import attention_parts
from perfmodel.costmodel.contention import hyper_thread_slowdown
from perfmodel.costmodel.kernels import (
    FUSED,
    Floats,
    Kernel,
    is_narrow,
    is_part_of_another,
    is_stand_in,
    measured_as,
    surface_key,
)
from perfmodel.costmodel.moments import Before, Mix, Moments, Passes
from perfmodel.costmodel.places import TOUCHED, Place, log_touched, place_of, touched_bytes
from perfmodel.costmodel.saturation import Traffic, memory_traffic, saturation_slowdowns
from perfmodel.costmodel.surfaces import surface_seconds
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Caches, Device
from perfmodel.domain.surface import AnyFamily, Surface, law_names

_EVERY_SIZE_UP_TO = 16
_KNOTS = 48
"""Batch sizes at which many others are interpolated: between them times are smooth to 0.1 %."""
_ROUNDS = 3
"""How cold a pass finds the L3 depends on how long it takes, and that on how cold: settled after so many."""
_UTILISATIONS = np.array([0.1, 0.3, 0.6, 1.0])
"""Where there are many workers, times are interpolated between these shares of busy ones. [1]"""
_NO_TIME_S = 1e-30
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

_WARM_PART = 0.5
"""Of an L2: what others touch of it leaves the rest, replaced as it is by what was used last. Assumed. [1]"""
_LOOKUPS_AT_ONCE = 512
"""Lookups whose places are worked out together: arrays of some 10 MB, for as many sizes as there are."""

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
    method: docs/calibration-method.md. Surfaces that were carried over from another device: the law has this
    device's coefficients and caches; what it leaves is asked where the call lies on the measured device, for
    it corrects that law and knows nothing of other caches; and no call is sooner done than memory with what
    no cache holds.

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
    parts = [_measured_parts(kernel, device) for kernel in kernels]
    timed = iter(_surface_times(tuple(chain(*parts)), device, batch_size, busy, mix))
    return [_together([*islice(timed, len(of_kernel))]) for of_kernel in parts]


def _measured_parts(kernel: Kernel, device: Device) -> tuple[Kernel, ...]:
    """The kernel; where attention in one call was not measured, the calls that it does the work of."""
    if kernel.variant != FUSED or surface_key(kernel) in device.surfaces:
        return (kernel,)
    return attention_parts(kernel)


def _together(parts: Sequence[Timed]) -> Timed:
    """Times of what one call does, one after the other: that it takes as long is assumed."""
    if len(parts) == 1:
        return parts[0]
    seconds = [each for each, _ in parts if each is not None]
    whole = np.asarray(np.sum(seconds, axis=0)) if len(seconds) == len(parts) else None
    return whole, max(Basis.ASSUMED, *(basis for _, basis in parts))


def _surface_times(
    kernels: tuple[Kernel, ...], device: Device, batch_size: Floats, busy: Floats, mix: Mix | None
) -> list[Timed]:
    """Times of kernels that were measured as they are, or have kin that was."""
    sizes, inverse = np.unique(batch_size, return_inverse=True)
    counts, which = np.unique(busy, return_inverse=True)
    own = _own(kernels, device)
    utilisation = np.ones_like(counts) if mix is None else np.minimum(1.0, counts / (mix.workers + 1.0))
    levels, knots = _levels(utilisation), _knots(sizes)
    settled = [*_settled(kernels, own, device, knots, mix, levels)]
    tables = [
        _beside(_between(settled, levels, used), kernels, own, device, mix, float(count))[:, : len(knots)]
        for count, used in zip(counts, utilisation, strict=True)
    ]
    at_sizes = _at_sizes(np.array(tables).transpose(1, 0, 2), knots, sizes)
    outside = sizes[0] < device.batch_range[0] or sizes[-1] > device.batch_range[1]
    is_far = np.any([found.is_far for found in settled], axis=0) | outside
    row = {index: row for row, index in enumerate(own.kernels)}
    timed: list[Timed] = []
    for index, kernel in enumerate(kernels):
        if index in row:
            seconds = at_sizes[row[index]][which.ravel(), inverse.ravel()].reshape(batch_size.shape)
            timed.append((seconds, Basis.EXTRAPOLATED if is_far[row[index]] else Basis.INTERPOLATED))
        elif is_part_of_another(kernel):
            timed.append((np.zeros_like(batch_size), Basis.INTERPOLATED))
        else:
            timed.append((None, Basis.EXTRAPOLATED))
    return timed


class _Own(NamedTuple):
    """The kernels that surfaces time, by their place in the pass; those that are looked up together."""

    kernels: Sequence[int]
    groups: Sequence[tuple[str, Sequence[int]]]


def _own(kernels: Sequence[Kernel], device: Device) -> _Own:
    """Lookups of one surface are one group, some hundreds at a time; any other kernel is one by itself."""
    groups, open_groups = list[tuple[str, list[int]]](), dict[str, list[int]]()
    for index, kernel in enumerate(kernels):
        key = None if is_part_of_another(kernel) else measured_as(kernel, device.surfaces)
        if key is None:
            continue
        group = open_groups.get(key)
        if group is None or len(group) >= _LOOKUPS_AT_ONCE:
            group = list[int]()
            groups.append((key, group))
            if kernel.family == "embedding_bag":
                open_groups[key] = group
        group.append(index)
    return _Own([index for _, group in groups for index in group], groups)


class _Round(NamedTuple):
    """The moments of passes and their times, which depend on each other."""

    moments: Moments
    found: _Found


class _Found(NamedTuple):
    """All calls of the kernels at some batch sizes: times, traffic, and which lie far out of range.

    `(kernels, n)` arrays, the last `(kernels,)`.
    """

    seconds: Floats
    traffic: Traffic
    is_far: NDArray[np.bool_]


def _settled(
    kernels: tuple[Kernel, ...], own: _Own, device: Device, knots: Floats, mix: Mix | None, levels: Floats
) -> Iterator[_Found]:
    """The kernels with surfaces at the knots, then at the sizes of the mix; other workers idle.

    Of surfaces that were carried over from another device, first where their calls lie on that one.
    """
    sizes = knots if mix is None else np.append(knots, mix.batch_size)
    passes = _passes(kernels, device, sizes, mix)
    measured = None if device.carried_from is None else _passes(kernels, device.carried_from, sizes, mix)
    for utilisation in levels:
        there = list[_Round]()
        if measured is not None and device.carried_from is not None:
            there = _rounds(kernels, own, device.carried_from, measured, sizes, mix, float(utilisation))
        yield _rounds(kernels, own, device, passes, sizes, mix, float(utilisation), there)[-1].found


def _passes(kernels: tuple[Kernel, ...], device: Device, sizes: Floats, mix: Mix | None) -> Passes:
    first = _before(sizes, np.zeros_like(sizes), mix, 1.0)
    return Passes(kernels, sizes, _caches(device), first.share, first.batch_size)


def _caches(device: Device) -> Caches:
    if device.caches is None:
        raise AssertionError(f"{device.name}: surfaces without caches")
    return device.caches


def _rounds(
    kernels: tuple[Kernel, ...],
    own: _Own,
    device: Device,
    passes: Passes,
    sizes: Floats,
    mix: Mix | None,
    utilisation: float,
    there: Sequence[_Round] = (),
) -> list[_Round]:
    """The passes of these sizes, closer each time; `there` is the same of the device carried over from."""
    rounds = list[_Round]()
    pass_seconds = np.zeros_like(sizes)
    for number in range(_ROUNDS if isfinite(_caches(device).l3_lifetime_s) else 1):
        at = passes.at(pass_seconds, _before(sizes, pass_seconds, mix, utilisation))
        measured = there[min(number, len(there) - 1)] if there else None
        found = _found(kernels, own, at, device, sizes, measured)
        rounds.append(_Round(at, found))
        pass_seconds = found.seconds.sum(axis=0)
    return rounds


def _before(sizes: Floats, pass_seconds: Floats, mix: Mix | None, utilisation: float) -> Before:
    """What runs before passes of these sizes, of which the last are those of the mix."""
    if mix is None:
        return Before.alike(sizes, pass_seconds)
    shape = (len(mix.batch_size), len(sizes))
    last = pass_seconds[len(sizes) - len(mix.batch_size) :]
    sizes_before, seconds = (np.broadcast_to(column[:, None], shape) for column in (mix.batch_size, last))
    return Before(mix.share, sizes_before, seconds, utilisation)


def _found(
    kernels: Sequence[Kernel],
    own: _Own,
    moments: Moments,
    device: Device,
    sizes: Floats,
    measured: _Round | None,
) -> _Found:
    """Times of these kernels; alike ones are looked up once.

    What a law leaves is looked up where the calls were measured, on the device of `measured`.
    """
    rate, ranges = device.gemm.weight_memory_bytes_per_s, _caches(device.carried_from or device)
    known: dict[tuple[object, ...], tuple[Floats, NDArray[np.bool_]]] = {}
    found = [(np.empty((0, len(sizes))),) * 3 + (np.empty(0, dtype=bool),)]
    row = 0
    for key, group in own.groups:
        members, at = [kernels[index] for index in group], moments.of(*group)
        surface, place = device.surfaces[key], place_of(members, sizes, at, key)
        if measured is not None:
            there = place_of(members, sizes, measured.moments.of(*group), key)
            place = place._replace(coordinates=there.coordinates)
        once = (key, place.coordinates.tobytes(), place.amounts.tobytes())
        if once not in known:
            each_s = surface_seconds(surface, place)
            far_out = _is_far(surface, place, each_s, _highest(key, surface, ranges)).reshape(len(group), -1)
            known[once] = each_s, np.asarray(np.any(far_out, axis=1))
        each_s, is_far = known[once]
        stand_in = [is_stand_in(kernel, key) or is_narrow(kernel) for kernel in members]
        calls = np.array([float(kernel.calls) for kernel in members])
        seconds = calls[:, None] * each_s.reshape(len(group), -1)
        traffic = memory_traffic(members, sizes, at, seconds, rate)
        if measured is not None and device.carried_from is not None:
            there_s, there_read = (
                each[row : row + len(group)]
                for each in (measured.found.seconds, measured.found.traffic.bytes_read)
            )
            # No sooner than memory; a count that the measured device was faster than is too large by as much.
            counted_there_s = _memory_seconds(members, sizes, there_read, device.carried_from)
            share = np.minimum(1.0, there_s / np.maximum(counted_there_s, _NO_TIME_S))
            least_s = share * _memory_seconds(members, sizes, traffic.bytes_read, device)
            seconds = np.maximum(seconds, least_s)
            traffic = memory_traffic(members, sizes, at, seconds, rate)
        found.append((seconds, *traffic, is_far | stand_in))
        row += len(group)
    seconds, read, waiting, far = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return _Found(seconds, Traffic(read, waiting), far)


def _memory_seconds(kernels: Sequence[Kernel], sizes: Floats, bytes_read: Floats, device: Device) -> Floats:
    """What memory takes for what no cache of the device holds, at its data sheet's bandwidth. [s]"""
    caches = _caches(device)
    held = caches.l3_bytes + (caches.l2_bytes if caches.exclusive else 0.0)
    moved = [
        np.zeros_like(sizes)
        if kernel.family == "embedding_bag"
        else kernel.calls * np.maximum(0.0, kernel.activation_bytes(sizes) - held)
        for kernel in kernels
    ]
    return np.asarray((bytes_read + moved) / device.memory.bandwidth_bytes_per_s)


def _levels(utilisation: Floats) -> Floats:
    """Utilisations at which to look times up: all, or where they are many a few that enclose them."""
    distinct = np.unique(utilisation)
    return distinct if len(distinct) <= len(_UTILISATIONS) else _UTILISATIONS


def _between(settled: Sequence[_Found], levels: Floats, utilisation: float) -> _Found:
    """Interpolated between utilisations; at the lowest below it."""
    right = min(int(np.searchsorted(levels, utilisation)), len(levels) - 1)
    left = max(right - 1, 0)
    span = levels[right] - levels[left]
    weight = min(1.0, max(0.0, (utilisation - levels[left]) / span)) if span else 1.0

    def blend(low: Floats, high: Floats) -> Floats:
        return np.asarray((1.0 - weight) * low + weight * high)

    low, high = settled[left], settled[right]
    return _Found(
        blend(low.seconds, high.seconds), Traffic(*map(blend, low.traffic, high.traffic)), high.is_far
    )


def _beside(
    found: _Found, kernels: Sequence[Kernel], own: _Own, device: Device, mix: Mix | None, busy: float
) -> Floats:
    """Times of these kernels with so many workers busy: slowed as their kind was, or by their memory. [s]"""
    seconds, traffic = found.seconds, found.traffic
    if busy <= 1.0 or not len(seconds):
        return seconds
    read, total = traffic.bytes_read.sum(axis=0), seconds.sum(axis=0)
    if mix is not None:
        count = len(mix.batch_size)
        read, total = mix.share @ read[-count:], mix.share @ total[-count:]
    by_memory = saturation_slowdowns(traffic, seconds, read / total, device, busy)
    at = np.array(busy)
    of_kind = {
        family: (kind_slowdown(family, device, at), hyper_thread_slowdown(family, device, at))
        for family in {kernels[index].family for index in own.kernels}
    }
    kind, threads = np.array([of_kind[kernels[index].family] for index in own.kernels]).T[..., None]
    return np.asarray(seconds * np.maximum(by_memory, kind) * threads)


def _at_sizes(at_knots: Floats, knots: Floats, sizes: Floats) -> Floats:
    """Times at all sizes from those at knots, along the last axis. [s]"""
    if knots is sizes or not len(at_knots):
        return at_knots
    x, logs = np.log(sizes), np.log(at_knots)
    return np.asarray(np.exp(np.apply_along_axis(lambda row: np.interp(x, np.log(knots), row), -1, logs)))


def _knots(sizes: Floats) -> Floats:
    """The sizes themselves where they are few; else all small ones and some of the others."""
    if len(sizes) <= _KNOTS:
        return sizes
    small = sizes[sizes <= _EVERY_SIZE_UP_TO]
    return np.union1d(small, np.geomspace(sizes[0], sizes[-1], _KNOTS))


def _is_far(surface: Surface, at: Place, seconds: Floats, highest: Floats) -> NDArray[np.bool_]:
    """Which calls lie far from what was measured: outside it, and not merely smaller.

    A call of less work than the smallest measured one takes at least what a call by itself does, which the
    law has. Where it takes no more than twice that, it cannot be off by more.
    """
    above = np.any(at.coordinates > highest[:, None] + _MARGIN, axis=0)
    below = np.any(at.coordinates < surface.low[:, None] - _MARGIN, axis=0)
    itself = [name in _BY_ITSELF for name in at.terms]
    coefficients = np.array([surface.law[name] for name in at.terms])[itself]
    at_least_s = coefficients @ at.amounts[itself]
    return np.asarray(above | (below & (seconds > np.exp(_MARGIN) * at_least_s)))


def _highest(key: str, surface: Surface, caches: Caches) -> Floats:
    """Up to where each coordinate was measured. [1]

    Of how cold a call is, without end where one was measured after more was touched than the caches hold:
    nothing was left in them, and no call is colder. At least up to what half an L2 holds: what is touched
    there leaves the rest where it was.
    """
    held = caches.l2_bytes + caches.l3_bytes
    warm = float(log_touched(np.array(_WARM_PART * caches.l2_bytes)))

    def highest(name: str, high: float) -> float:
        if name not in TOUCHED:
            return high
        return inf if touched_bytes(high) > held else max(high, warm)

    return np.array([*map(highest, law_names(key).coordinates, surface.high)])


def kind_slowdown(family: AnyFamily, device: Device, busy: Floats | float) -> Floats:
    """Measured slow-down of a family of kernels beside busy workers. [1]

    Source: `co_located` of the profile, linear between the counts that were measured.

    Parameters
    ----------
    family : str
        Of the kernel that runs.
    device : Device
        Where.
    busy : (...) float array
        Busy workers, this one included.
    """
    measured = device.co_located.get(family)
    if not measured:
        return np.ones_like(np.asarray(busy, dtype=float))
    workers = sorted(measured)
    return np.asarray(np.interp(busy, [1, *workers], [1.0, *(measured[count] for count in workers)]))
