"""One batch on one executor: the time of a whole model, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.costmodel.contention import (
    conditions_alone,
    hyper_thread_slowdown,
    memory_slowdown,
)
from perfmodel.costmodel.engine import engine_times, serving_inputs
from perfmodel.costmodel.footprint import require_fit
from perfmodel.costmodel.kernel_time import kernel_time, kernel_times
from perfmodel.costmodel.kernels import Floats, Gather, Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.timing import Conditions, KernelTime
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device, LaunchCosts, ModuleLaw
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Scope

# What only calibrated profiles need is imported where it is used: a published one starts sooner without it.
if TYPE_CHECKING:
    from perfmodel.costmodel.moments import Mix

_CONTENTION_STEPS = 8
"""Fixed-point steps between memory share and slow-down: times within 0.1 % of the limit."""
_NO_TIME_S = 1e-30
_KERNELS_AT_ONCE = 512
"""Kernels whose parts are scaled together: a model may have tables by the ten thousand."""
NEGLIGIBLE = 0.05
"""Share of a pass below which calls may be extrapolated without a word: off by half, they move the pass by
2.5 %. [1]"""
MOST_EXTRAPOLATED = 0.20
"""Share of a pass up to which calls may be extrapolated: off by a factor of two, they move the pass by 20 %,
which is what formulas are off. Beyond, the pass is an extrapolation, refused unless that is asked for. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedKernel:
    """A kernel, its parts, and its time: from a measured curve where the profile has one."""

    kernel: Kernel
    parts: KernelTime
    seconds: Floats
    basis: Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTime:
    """Time of one forward pass of a model, by kernel; arrays broadcast over batch sizes and busy workers.

    `is_edited`: the profile behind it is not as it was fitted, whatever the basis of each kernel.
    """

    batch_size: Floats
    kernels: tuple[TimedKernel, ...]
    is_edited: bool = False

    @property
    def seconds(self) -> Floats:
        """The whole pass: kernels follow each other. [s]"""
        return np.asarray(np.sum([timed.seconds for timed in self.kernels], axis=0))

    def family_s(self, family: str) -> Floats:
        """All kernels of one family, such as the input conversion. [s]"""
        own = [timed.seconds for timed in self.kernels if timed.kernel.family == family]
        return np.asarray(np.sum(own, axis=0)) if own else np.zeros_like(self.batch_size)

    def scope_s(self, scope: Scope) -> Floats:
        """All kernels that work for the items, or for the query. [s]"""
        own = [timed.seconds for timed in self.kernels if timed.kernel.scope == scope]
        return np.asarray(np.sum(own, axis=0)) if own else np.zeros_like(self.batch_size)

    @property
    def basis(self) -> Basis:
        """As weak as its weakest part; of what is extrapolated, by its share of the time.

        Up to 5 % of it hardly moves the pass; up to 20 % is an assumption; beyond, all is extrapolated.
        """
        known = [timed.basis for timed in self.kernels if timed.basis is not Basis.EXTRAPOLATED]
        if self.extrapolated_share > MOST_EXTRAPOLATED:
            return Basis.EXTRAPOLATED
        return max([*known, Basis.ASSUMED] if self.extrapolated_share > NEGLIGIBLE else known)

    @property
    def extrapolated_share(self) -> float:
        """Share of the time that is extrapolated; of several batches, the largest. [1]"""
        return float(np.max(self._extrapolated_s / np.maximum(self.seconds, _NO_TIME_S)))

    @property
    def extrapolated(self) -> Mapping[str, float]:
        """Operators that nothing like was measured, with their share where that is largest together. [1]"""
        seconds = np.broadcast_to(self.seconds, self.batch_size.shape).ravel()
        at = int(np.argmax(np.ravel(self._extrapolated_s) / np.maximum(seconds, _NO_TIME_S)))
        shares: dict[str, float] = {}
        for timed in self.kernels:
            if timed.basis is Basis.EXTRAPOLATED:
                name = timed.kernel.operator
                shares[name] = shares.get(name, 0.0) + float(np.ravel(timed.seconds)[at] / seconds[at])
        return dict(sorted(shares.items(), key=lambda entry: -entry[1]))

    @property
    def _extrapolated_s(self) -> Floats:
        own = [timed.seconds for timed in self.kernels if timed.basis is Basis.EXTRAPOLATED]
        return np.asarray(np.sum(own, axis=0)) if own else np.zeros_like(self.seconds)


def batch_time(
    model: RecModel,
    device: Device,
    batch_size: Floats,
    busy: Floats | float = 1.0,
    *,
    copies: bool = False,
    mix: Mix | None = None,
    served: bool = False,
    others_at_work: float = 1.0,
) -> BatchTime:
    """Time of a batch on one executor, with `busy` executors at work on the node.

    The sum of the times of the model's kernels, which follow each other. Derived here: formulas
    (`kernel_time`) at the memory slow-down that the workers' own share of waiting leads to, by fixed-point
    steps; measured curves and surfaces where the profile has them; on a card with launch costs a pipeline
    (`contributions_s`); where a stack's calls are made by modules, what that adds (`module_seconds`).

    Parameters
    ----------
    model : RecModel
        What runs.
    device : Device
        Where.
    batch_size : (...) float array
        Items in the batch, >= 1.
    busy : (...) float array, default 1
        Busy executors, this one included; broadcasts with `batch_size`.
    copies : bool
        The busy ones are pinned to one socket (a co-location experiment).
    mix : Mix, optional
        What the executors serve beside this batch; what it leaves in the caches counts where calls were
        measured. None: the same batch again and again.
    served : bool
        The batch is a request of a loaded node, for which the stack's engine has costs of its own; else a
        single run, which converts its own inputs (`engine_times`).
    others_at_work : float, default 1
        Share of their time that the other busy executors are at work (`memory_slowdown`). [1]

    Returns
    -------
    BatchTime
        Of each kernel and of the pass, arrays of the common shape. [s]

    Raises
    ------
    InputError
        If tables and weights do not fit the device's memory.
    """
    require_fit(model, device)
    weight_bytes = float(model.dense_parameter_bytes)
    return kernels_time(
        lower(model, device.kind),
        weight_bytes,
        device,
        batch_size,
        busy,
        copies=copies,
        mix=mix,
        served=served,
        others_at_work=others_at_work,
    )


def query_work_time(
    model: RecModel, device: Device, num_queries: Floats, busy: Floats | float = 1.0
) -> BatchTime | None:
    """Time of the work of several queries in one launch, without that of their items; None: there is none.

    Derived here: the kernels that belong to the query, as a pass of their own in which queries are what items
    are in `batch_time`. What further queries add to a launch is the difference to that of one.

    Parameters
    ----------
    model : RecModel
        What runs.
    device : Device
        Where.
    num_queries : (...) float array
        Queries whose requests the launch joins, >= 1.
    busy : (...) float array, default 1
        Busy executors, this one included.
    """
    kernels = tuple(
        replace(
            kernel,
            scope="item",
            gather=None if kernel.gather is None else replace(kernel.gather, scope="item"),
        )
        for kernel in lower(model, device.kind)
        if kernel.scope == "query"
    )
    if all(kernel.family == "input" for kernel in kernels):
        return None
    return kernels_time(kernels, float(model.dense_parameter_bytes), device, num_queries, busy)


def kernels_time(
    kernels: tuple[Kernel, ...],
    weight_bytes: float,
    device: Device,
    batch_size: Floats,
    busy: Floats | float = 1.0,
    *,
    copies: bool = False,
    mix: Mix | None = None,
    served: bool = False,
    others_at_work: float = 1.0,
) -> BatchTime:
    """Time of these kernels, one after the other.

    Source: as `batch_time`, of which this is the part that knows no model.

    Parameters
    ----------
    kernels : tuple of Kernel
        In the order in which they run.
    weight_bytes : float
        All weights that they read. [bytes]
    device, batch_size, busy, copies, mix, served, others_at_work
        As of `batch_time`.
    """
    parts_at = _served_parts if served else _own_parts
    asked = kernels
    if device.modules is not None or device.has_half_results:
        from perfmodel.costmodel.module_costs import as_measured  # see above

        wide = tuple(as_measured(kernel, device) for kernel in kernels)
        kernels = asked if all(new is old for new, old in zip(wide, asked, strict=True)) else wide
    model_kernels = kernels
    batch, workers = np.broadcast_arrays(np.asarray(batch_size, float), np.asarray(busy, float))
    at = conditions_alone(kernels, weight_bytes, device, workers, copies=copies)
    # What curves were measured under; without any, nobody asks.
    alone = (
        conditions_alone(kernels, weight_bytes, device, np.ones_like(batch), copies=copies)
        if device.measured
        else at
    )
    kernels, parts = parts_at(kernels, device, batch, at)
    if device.kind == "cpu" and np.any(workers > 1):
        for _ in range(_CONTENTION_STEPS):
            slowdown = memory_slowdown(
                device, workers, _memory_share(parts), copies=copies, at_work=others_at_work
            )
            at = replace(at, memory_slowdown=slowdown)
            _, parts = parts_at(model_kernels, device, batch, at)
    if device.surfaces:
        from perfmodel.costmodel.surface_times import surface_times  # see above

        engine = len(kernels) - len(model_kernels)  # what it does was measured on no calibrated machine
        basis = _basis_of(device, batch)
        times = surface_times(model_kernels, device, batch, workers, mix)
        timed = (
            *(
                _timed(kernel, part, device, batch, alone, basis)
                for kernel, part in zip(kernels[:engine], parts[:engine], strict=True)
            ),
            *_from_surfaces(model_kernels, parts[engine:], times, device, batch, alone),
        )
    else:
        basis = _basis_of(device, batch)  # the same for all: a model may have tables by the ten thousand
        timed = tuple(
            _timed(kernel, part, device, batch, alone, basis)
            for kernel, part in zip(kernels, parts, strict=True)
        )
    if device.modules is not None:
        engine = len(timed) - len(asked)
        own = _as_modules(timed[engine:], asked, device, device.modules, batch, workers)
        timed = (*timed[:engine], *own)
    if model_kernels is not asked:  # each as the model's file has it
        engine = len(timed) - len(asked)
        named = (replace(each, kernel=kernel) for each, kernel in zip(timed[engine:], asked, strict=True))
        timed = (*timed[:engine], *named)
    if device.is_derived:
        timed = tuple(replace(each, basis=max(each.basis, Basis.DERIVED)) for each in timed)
    if device.launches is not None:
        timed = _pipelined(timed, device.launches, batch)
    return BatchTime(batch_size=batch, kernels=timed, is_edited=device.is_edited)


def _own_parts(
    kernels: tuple[Kernel, ...], device: Device, batch_size: Floats, at: Conditions
) -> tuple[tuple[Kernel, ...], list[KernelTime]]:
    """Kernels of a single run, and their times."""
    return kernels, kernel_times(kernels, device, batch_size, at)


def _served_parts(
    kernels: tuple[Kernel, ...], device: Device, batch_size: Floats, at: Conditions
) -> tuple[tuple[Kernel, ...], list[KernelTime]]:
    """The same of a request in a loaded node: what its engine does for it first."""
    engine = list(engine_times(kernels, device, batch_size, at))
    own = kernel_times(kernels, serving_inputs(device), batch_size, at)
    return (*(row for row, _ in engine), *kernels), [*(time for _, time in engine), *own]


def _pipelined(
    kernels: tuple[TimedKernel, ...], costs: LaunchCosts, batch_size: Floats
) -> tuple[TimedKernel, ...]:
    """From times on the device to what each kernel adds to the pass: the host may be slower, or late."""
    from perfmodel.costmodel.issue import contributions_s, issued  # see above

    copied = [timed for timed in kernels if timed.kernel.family == "input"]
    # The host copies them to where the device reads.
    inputs = _taking(copied, [costs.host_level * timed.seconds for timed in copied])
    rest = [timed for timed in kernels if timed.kernel.family != "input"]
    ready_s = np.sum([timed.seconds for timed in inputs], axis=0) + np.zeros_like(rest[0].seconds)
    calls = [issued(timed.kernel, costs, timed.seconds, batch_size) for timed in rest]
    parts = contributions_s(calls, ready_s, costs)
    parts[-1] = parts[-1] + costs.host_level * costs.output_s
    return (*inputs, *_taking(rest, parts))


def _as_modules(
    kernels: tuple[TimedKernel, ...],
    asked: tuple[Kernel, ...],
    device: Device,
    law: ModuleLaw,
    batch_size: Floats,
    busy: Floats,
) -> tuple[TimedKernel, ...]:
    """The kernels as their calls are in modules; what they take more is overhead, slowed as its kind is.

    `asked` are the same ones as the model's file has them, with tables of shorter elements.
    """
    from perfmodel.costmodel.module_costs import NOTHING_FAR, served_seconds, table_law  # see above
    from perfmodel.costmodel.surface_times import kind_slowdown  # see above

    laws = [table_law(kernel, device) or law for kernel in asked]
    waits = any(own.costs["far_bag"] > 0.0 or own.costs["far_row"] > 0.0 for own in laws)
    far = NOTHING_FAR
    if waits:
        of_pass = tuple(timed.kernel for timed in kernels)
        far = pages_far(of_pass, device, batch_size, _part_of_tables(of_pass, laws))
    by_family = {
        family: kind_slowdown(family, device, busy) * hyper_thread_slowdown(family, device, busy)
        for family in {timed.kernel.family for timed in kernels}
    }
    served_s = []
    for timed, own in zip(kernels, laws, strict=True):
        slowed = by_family[timed.kernel.family]
        alone_s = timed.seconds / slowed
        served_s.append(served_seconds(timed.kernel, alone_s, own, batch_size, far) * slowed)
    return _taking(kernels, served_s)


def _part_of_tables(kernels: Sequence[Kernel], laws: Sequence[ModuleLaw]) -> float:
    """Bytes of the tables that a pass looks up over those in fp32. [1]"""
    from perfmodel.costmodel.module_costs import table_part  # see above

    sizes = [
        (kernel.gather.table_bytes, table_part(law.precision, law.tables))
        for kernel, law in zip(kernels, laws, strict=True)
        if kernel.gather is not None
    ]
    whole = sum(size for size, _ in sizes)
    return sum(size * part for size, part in sizes) / whole if whole else 1.0


def pages_far(
    kernels: Sequence[Kernel], device: Device, batch_size: Floats, part: float = 1.0
) -> Mapping[Gather, Floats]:
    """Share of each table's lookups whose page's entry is not in the L2 of a core. [1]

    Source: `far_entries`.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of the pass, their tables in fp32.
    device : Device
        With caches; without, none is far.
    batch_size : (...) float array
        Items.
    part : float, default 1
        Bytes of the tables over those in fp32. [1]
    """
    from perfmodel.costmodel.residency import far_entries  # see above

    l2_bytes = inf if device.caches is None else device.caches.l2_bytes
    return far_entries(kernels, batch_size, l2_bytes, part=part)


def _taking(kernels: Sequence[TimedKernel], seconds: Sequence[Floats]) -> tuple[TimedKernel, ...]:
    """The kernels with other times; what they wait for the host is overhead of their calls."""
    found = list[TimedKernel]()
    for first in range(0, len(kernels), _KERNELS_AT_ONCE):
        several, taken = (
            kernels[first : first + _KERNELS_AT_ONCE],
            seconds[first : first + _KERNELS_AT_ONCE],
        )
        own = KernelTime.together([timed.parts for timed in several])
        own_s, taken_s = own.seconds, np.array(taken)
        parts = own.scaled(np.minimum(1.0, taken_s / np.maximum(own_s, _NO_TIME_S)))
        parts = replace(parts, overhead_s=parts.overhead_s + np.maximum(0.0, taken_s - own_s))
        found += [
            TimedKernel(kernel=timed.kernel, parts=part, seconds=each_s, basis=timed.basis)
            for timed, part, each_s in zip(several, parts.apart(), taken, strict=True)
        ]
    return tuple(found)


def _from_surfaces(
    kernels: tuple[Kernel, ...],
    parts: Sequence[KernelTime],
    times: Sequence[tuple[Floats | None, Basis]],
    device: Device,
    batch_size: Floats,
    alone: Conditions,
) -> tuple[TimedKernel, ...]:
    """Take measured surfaces' times, parts in the formula's proportions; the formula without one.

    A CPU's inputs are prepared before the pass; a GPU's are copied in it, in the formula's time, which was
    fitted to copies. Of any other call without a surface nothing was measured, and it keeps that basis.
    """
    found = list[TimedKernel]()
    for first in range(0, len(kernels), _KERNELS_AT_ONCE):
        own = KernelTime.together(parts[first : first + _KERNELS_AT_ONCE])
        known = [
            own_s if seconds is None else seconds
            for own_s, (seconds, _) in zip(own.seconds, times[first : first + _KERNELS_AT_ONCE], strict=True)
        ]
        scaled = own.scaled(np.array(known) / np.maximum(own.seconds, _NO_TIME_S))
        for index, part in enumerate(scaled.apart(), start=first):
            kernel, (seconds, basis) = kernels[index], times[index]
            if kernel.family == "input" and device.kind == "gpu":
                of_formula = _basis_of(device, batch_size)
                one = _timed(kernel, parts[index], device, batch_size, alone, of_formula)
            elif seconds is None:
                one = replace(_timed(kernel, parts[index], device, batch_size, alone, basis), basis=basis)
            else:
                one = TimedKernel(kernel=kernel, parts=part, seconds=seconds, basis=basis)
            found.append(one)
    return tuple(found)


def _memory_share(parts: list[KernelTime]) -> Floats:
    """Fraction of a worker's time that waits for main memory. [1]"""
    total = np.sum([part.seconds for part in parts], axis=0)
    return np.asarray(np.sum([part.memory_s for part in parts], axis=0) / total)


def _timed(
    kernel: Kernel, parts: KernelTime, device: Device, batch_size: Floats, alone: Conditions, basis: Basis
) -> TimedKernel:
    """Take the measured curve where there is one, stretched by what the formula says of co-located work.

    `basis` is that of the formula alone.
    """
    curve = device.measured.get(kernel.signature) if device.measured else None
    if curve is None:
        return TimedKernel(kernel=kernel, parts=parts, seconds=parts.seconds, basis=basis)

    from perfmodel.costmodel.measured import measured_seconds  # see above

    def formula(batch: Floats) -> Floats:
        return kernel_time(kernel, device, batch, alone).seconds

    seconds, basis = measured_seconds(curve, kernel.of(batch_size), formula)
    stretch = kernel.calls * parts.seconds / formula(batch_size)
    return TimedKernel(kernel=kernel, parts=parts, seconds=seconds * stretch, basis=basis)


def _basis_of(device: Device, batch_size: Floats) -> Basis:
    """Whether any of the batches is outside what the device's costs were fitted to."""
    low, high = device.batch_range
    inside = low <= float(batch_size.min()) <= float(batch_size.max()) <= high
    return Basis.FITTED if inside else Basis.EXTRAPOLATED
