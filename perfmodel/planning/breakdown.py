"""Where the time of one batch goes: operator by operator, and what bounds each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.costmodel.service_time import BatchTime, TimedKernel, batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.units import MS

BOUNDS: Mapping[str, str] = {
    "overhead_s": "call overhead",
    "compute_s": "compute",
    "stream_s": "memory bandwidth",
    "weights_s": "weights from memory",
    "lookup_s": "random access",
    "input_s": "input conversion",
}
"""Part of a kernel's time, and what reports call it when it is the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One operator's kernels of one family in one batch.

    Attributes
    ----------
    name, kind : str
        The operator in the model file, and the kernel family.
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
    seconds: float
    share: float
    flop: float
    bytes_moved: float
    random_rows: float
    bound: str
    basis: Basis

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "kind": self.kind,
            "time_ms": self.seconds / MS,
            "share": self.share,
            "flop": self.flop,
            "bytes_moved": self.bytes_moved,
            "random_rows": self.random_rows,
            "bound": self.bound,
            "basis": self.basis.label,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBreakdown:
    """One batch on one executor."""

    batch_size: int
    seconds: float
    basis: Basis
    operators: tuple[OperatorTime, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "batch_size": self.batch_size,
            "latency_ms": self.seconds / MS,
            "basis": self.basis.label,
            "operators": [operator.to_dict() for operator in self.operators],
        }


def break_down(time: BatchTime) -> BatchBreakdown:
    """Group the kernels of one batch (arrays of one element) by operator and family, in execution order."""
    total_s = float(time.seconds[0])
    groups: dict[tuple[str, str], list[TimedKernel]] = {}
    for timed in time.kernels:
        groups.setdefault((timed.kernel.operator, timed.kernel.family), []).append(timed)
    return BatchBreakdown(
        batch_size=int(time.batch_size[0]),
        seconds=total_s,
        basis=time.basis,
        operators=tuple(
            _operator(name, family, kernels, time, total_s) for (name, family), kernels in groups.items()
        ),
    )


def _operator(
    name: str, family: str, kernels: list[TimedKernel], time: BatchTime, total_s: float
) -> OperatorTime:
    seconds = sum(float(timed.seconds[0]) for timed in kernels)
    works = [timed.kernel.work(time.batch_size[0]) for timed in kernels]
    parts = {part: sum(float(getattr(timed.parts, part)[0]) for timed in kernels) for part in BOUNDS}
    return OperatorTime(
        name=name,
        kind=family,
        seconds=seconds,
        share=seconds / total_s,
        flop=sum(float(work.flop) for work in works),
        bytes_moved=sum(float(work.bytes_moved) for work in works),
        random_rows=sum(float(work.random_rows) for work in works),
        bound=BOUNDS[max(parts, key=parts.__getitem__)],
        basis=max(timed.basis for timed in kernels),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """Latency of a model on one executor over batch sizes, no queue.

    Attributes
    ----------
    model, device, stack : str
        What ran where.
    co_located : int
        Copies of the model at work on one socket, this one included.
    assumptions : tuple of str
        Costs that no fit stands behind.
    """

    model: str
    device: str
    stack: str
    co_located: int
    rows: tuple[BatchBreakdown, ...]
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of `perfplan latency`."""
        return {
            "model": self.model,
            "device": self.device,
            "stack": self.stack,
            "co_located": self.co_located,
            "rows": [row.to_dict() for row in self.rows],
            "assumptions": list(self.assumptions),
        }


def latency_table(
    model: RecModel,
    device: Device,
    batch_sizes: tuple[int, ...],
    *,
    co_located: int = 1,
    extrapolate: bool = False,
) -> LatencyTable:
    """Time each batch alone, or beside other copies of the model that are pinned to the same socket.

    Raises
    ------
    InputError
        If the model does not fit, or more copies are asked for than the socket has threads.
    ExtrapolationError
        If a batch is outside the calibrated range and `extrapolate` is not set.
    """
    most = 2 * device.cores_per_socket if device.kind == "cpu" else 1
    if not 1 <= co_located <= most:
        raise InputError(
            f"--co-located: expected 1 to {most}, the threads of a socket of {device.name}, got {co_located}"
        )
    rows = []
    for batch_size in batch_sizes:
        time = batch_time(model, device, np.array([float(batch_size)]), float(co_located), copies=True)
        if time.basis is Basis.EXTRAPOLATED and not extrapolate:
            low, high = device.batch_range
            raise ExtrapolationError(
                f"batch {batch_size} is outside the calibrated range of {device.name}, {low} to {high} "
                f"(--extrapolate answers, marked)"
            )
        rows.append(break_down(time))
    return LatencyTable(
        model=model.name,
        device=device.name,
        stack=device.stack,
        co_located=co_located,
        rows=tuple(rows),
        assumptions=device.assumptions,
    )
