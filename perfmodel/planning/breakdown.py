"""Where the time of one batch goes: operator by operator, and what bounds each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from perfmodel.costmodel.footprint import require_fit
from perfmodel.costmodel.service_time import BatchTime, TimedKernel, batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Scope
from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.loading.inputs import InputFile
from perfmodel.loading.words import quoted
from perfmodel.planning.time_words import (
    attention_notes,
    device_words,
    input_share,
    words_of_precisions,
    words_of_shares,
)

BOUNDS: Mapping[str, str] = {
    "overhead_s": "call overhead",
    "compute_s": "compute",
    "stream_s": "memory bandwidth",
    "weights_s": "weights from memory",
    "lookup_s": "random access",
    "input_s": "input conversion",
}
"""Part of a kernel's time, and what reports call it when it is the largest."""


ELSEWHERE: Mapping[str, str] = {"network": "network", "tier": "reads beyond memory"}
"""Families of what is waited for, which bound themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One operator's kernels of one family and scope in one batch.

    Attributes
    ----------
    name, kind : str
        The operator in the model file, and the kernel family.
    scope : {"item", "query"}
        Whether it works for each item of the batch, or once for their query.
    seconds, share : float
        Time, and its fraction of the batch's. [s], [1]
    flop, bytes_moved, random_rows : float
        Work of the batch. [FLOP], [bytes], [rows]
    bound : str
        What takes the largest part of the time.
    basis : Basis
        How far to trust it.
    """

    name: str
    kind: str
    scope: Scope
    seconds: float
    share: float
    flop: float
    bytes_moved: float
    random_rows: float
    bound: str
    basis: Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBreakdown:
    """One batch on one executor."""

    batch_size: int
    seconds: float
    basis: Basis
    operators: tuple[OperatorTime, ...]


def break_down(time: BatchTime) -> BatchBreakdown:
    """Group the kernels of one batch (arrays of one element) by operator, family and scope, as they run."""
    total_s = float(time.seconds[0])
    groups: dict[tuple[str, str, Scope], list[TimedKernel]] = {}
    for timed in time.kernels:
        kernel = timed.kernel
        groups.setdefault((kernel.operator, kernel.family, kernel.scope), []).append(timed)
    return BatchBreakdown(
        batch_size=int(time.batch_size[0]),
        seconds=total_s,
        basis=Basis.EXTRAPOLATED if time.is_edited else time.basis,
        operators=tuple(_operator(*group, kernels, time, total_s) for group, kernels in groups.items()),
    )


def _operator(
    name: str, family: str, scope: Scope, kernels: list[TimedKernel], time: BatchTime, total_s: float
) -> OperatorTime:
    seconds = sum(float(timed.seconds[0]) for timed in kernels)
    works = [timed.kernel.work(time.batch_size[0]) for timed in kernels]
    parts = {part: sum(float(getattr(timed.parts, part)[0]) for timed in kernels) for part in BOUNDS}
    return OperatorTime(
        name=name,
        kind=family,
        scope=scope,
        seconds=seconds,
        share=seconds / total_s,
        flop=sum(float(work.flop) for work in works),
        bytes_moved=sum(float(work.bytes_moved) for work in works),
        random_rows=sum(float(work.random_rows) for work in works),
        bound=ELSEWHERE.get(family) or BOUNDS[max(parts, key=parts.__getitem__)],
        basis=Basis.EXTRAPOLATED if time.is_edited else max(timed.basis for timed in kernels),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofs:
    """What bounds an executor of a device at best.

    Attributes
    ----------
    device : str
        Its name.
    peak_flop_per_s, bytes_per_s : float
        Arithmetic of one executor, and the memory of its socket or card. [FLOP/s], [bytes/s]
    """

    device: str
    peak_flop_per_s: float
    bytes_per_s: float


def roofs_of(device: Device) -> Roofs:
    """The roofs of a device's executor."""
    return Roofs(
        device=device.name,
        peak_flop_per_s=device.peak_flop_per_s,
        bytes_per_s=device.memory.bandwidth_bytes_per_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """Latency of a model on one executor over batch sizes, no queue.

    Attributes
    ----------
    model, device, stack : str
        What ran where; no model and no stack of a table of service times.
    co_located : int
        Copies of the model at work on one socket, this one included.
    busy : int or None
        Executors of a scenario's node at work, this one included; None: of a device by itself.
    service_times_of : str
        What is in the times, in words.
    without : tuple of str
        Kinds of calls that are left out of all times.
    assumptions : tuple of str
        Costs that no fit stands behind.
    inputs : tuple of InputFile
        The files of the model and the device.
    notes : tuple of str
        What a reader must know of the model file.
    roofs : Roofs or None
        Of the device; None of a scenario's node, whose executors may be several.
    """

    model: str | None
    device: str
    stack: str | None
    service_times_of: str
    without: tuple[str, ...]
    co_located: int
    rows: tuple[BatchBreakdown, ...]
    assumptions: tuple[str, ...]
    inputs: tuple[InputFile, ...] = ()
    notes: tuple[str, ...] = ()
    busy: int | None = None
    roofs: Roofs | None = None


def latency_table(
    model: RecModel,
    device: Device,
    batch_sizes: tuple[int, ...],
    *,
    co_located: int = 1,
    without: Collection[str] = (),
    extrapolate: bool = False,
    inputs: tuple[InputFile, ...] = (),
) -> LatencyTable:
    """Time each batch alone, or beside other copies of the model that are pinned to the same socket.

    Parameters
    ----------
    model, device, batch_sizes
        What runs, where, and how many items at once.
    co_located : int
        Copies at work on the socket, this one included.
    without : collection of str
        Kinds of calls to leave out, such as `input`, which some published figures do not count.
    extrapolate : bool
        Answer outside the calibrated range too, marked.
    inputs : tuple of InputFile
        The files of the model and the device, if they come from files.

    Raises
    ------
    InputError
        If the model does not fit, or more copies are asked for than the socket has threads.
    ExtrapolationError
        If a batch is outside the calibrated range and `extrapolate` is not set.
    """
    most = device.cores_per_socket * device.threads_per_core
    if not 1 <= co_located <= most:
        raise InputError(
            f"--co-located: expected 1 to {most}, the threads of a socket of {device.name}, got {co_located}"
        )
    try:
        require_fit(model, device)
    except InputError as error:
        raise InputError(f"--on: {error}") from None
    if (other := model.in_other_precision(device.precision, device.table_precisions)) and not extrapolate:
        raise ExtrapolationError(
            f"{model.name}: {other}: {words_of_precisions(device, model.reduced_precision)}"
        )
    rows, largest = [], max(batch_sizes)
    converting: float | None = None
    for batch_size in batch_sizes:
        time = batch_time(model, device, np.array([float(batch_size)]), float(co_located), copies=True)
        if time.basis is Basis.EXTRAPOLATED and not extrapolate:
            raise ExtrapolationError(_outside(time, device))
        time = _left_out(time, without)
        if batch_size == largest:
            converting = input_share(time, np.ones(1))
        rows.append(break_down(time))
    return LatencyTable(
        model=model.name,
        device=device.name,
        stack=device.stack,
        service_times_of=device_words(device, converting, option=f"--on {device.name}@"),
        without=tuple(without),
        co_located=co_located,
        rows=tuple(rows),
        assumptions=device.assumptions,
        inputs=inputs,
        notes=(
            *model.notes_on(device.precision, device.table_precisions, stored=device.stored_tables),
            *attention_notes(model, device),
        ),
        roofs=roofs_of(device),
    )


def _outside(time: BatchTime, device: Device) -> str:
    """What lies outside the calibrated range: the batch, or single operators in batches within it."""
    batch_size, (low, high) = int(time.batch_size[0]), device.batch_range
    if low <= batch_size <= high:
        far = words_of_shares(time.extrapolated)
        measures = "" if device.kind == "gpu" else "; perfplan calibrate --for measures it"
        return (
            f"batch {batch_size}: {far}: {device.name} has measured nothing like it (--extrapolate answers, "
            f"marked{measures})"
        )
    return (
        f"batch {batch_size} is outside the calibrated range of {device.name}, {low} to {high} "
        "(--extrapolate answers, marked)"
    )


def _left_out(time: BatchTime, without: Collection[str]) -> BatchTime:
    """The pass without some kinds of calls.

    Raises
    ------
    InputError
        If the model makes no such calls, or no others.
    """
    known = dict.fromkeys(timed.kernel.family for timed in time.kernels)
    for kind in without:
        if kind not in known:
            raise InputError(f"--without: expected one of {', '.join(known)}, got {quoted(kind)}")
    kernels = tuple(timed for timed in time.kernels if timed.kernel.family not in without)
    if not kernels:
        raise InputError("--without: nothing is left of the pass")
    return replace(time, kernels=kernels)
