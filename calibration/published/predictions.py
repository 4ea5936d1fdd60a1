"""What the cost model says of the models, devices and stacks that were measured, by kernel family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.service_time import BatchTime, batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel

Models = Mapping[str, RecModel]
Devices = Mapping[tuple[str, str], Device]
"""By device and stack."""
FamilyTimes = dict[str, float]
"""Kernel family to time. [s]"""
Known = dict[tuple[str, tuple[float, ...], str, int | None], dict[float, FamilyTimes]]
"""By model, batches, all that a device is, and None: times by batch. With copies and a batch in the places of
batches and None: by copies."""

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "fc": ("fc",),
    "sls": ("embedding_bag",),
    "emb": ("embedding_bag",),
    "sparselengthssum": ("embedding_bag",),
    "bmm": ("batch_matmul",),
    "concat": ("concat", "elementwise"),
    "relu": ("activation",),
    "sum": ("sum",),
    "softmax": ("softmax",),
    "recurrent": ("recurrent",),
    "recurrentnetwork": ("recurrent",),
    "rest": ("batch_matmul", "concat", "elementwise", "activation", "sum", "softmax"),
}
"""Names of operators in the figures, and the kernel families that make them up."""


class Setup(NamedTuple):
    """What was measured on what."""

    model: str
    device: str
    stack: str


class Predictions:
    """Times of models on devices by kernel family, all batches of a pair worked out at once.

    Parameters
    ----------
    models : mapping
        By name.
    devices : mapping
        By device and stack.
    known : dict, optional
        Times of earlier predictions, which a fit's steps share: most of them change one of two devices.
    """

    def __init__(self, models: Models, devices: Devices, known: Known | None = None) -> None:
        self._models = models
        self._devices = devices
        self._said = {key: repr(device) for key, device in devices.items()}
        self._times: Known = {} if known is None else known

    def batch_s(self, setup: Setup, batch: int, batches: Iterable[int]) -> FamilyTimes:
        """Time of one of the `batches`, alone on the machine. [s]"""
        sizes = tuple(sorted({float(size) for size in batches}))
        key = setup.model, sizes, self._said[setup.device, setup.stack], None
        if key not in self._times:
            time = batch_time(self._models[setup.model], self.device(setup), np.array(sizes))
            self._times[key] = _by_family(time, sizes)
        return dict(self._times[key][float(batch)])

    def copies_s(
        self, setup: Setup, batch: int, copies: Sequence[int], at_work: float
    ) -> dict[float, FamilyTimes]:
        """Time of a batch by the number of co-located copies on one socket, which work so much. [s]"""
        key = setup.model, tuple(copies), self._said[setup.device, setup.stack], batch
        if key not in self._times:
            busy: Floats = np.array(copies, float)
            time = batch_time(
                self._models[setup.model],
                self.device(setup),
                np.full_like(busy, batch),
                busy,
                copies=True,
                others_at_work=at_work,
            )
            self._times[key] = _by_family(time, copies)
        return self._times[key]

    def has(self, setup: Setup) -> bool:
        """Whether the device is there with that stack: a fit of one server has no other."""
        return (setup.device, setup.stack) in self._devices

    def device(self, setup: Setup) -> Device:
        """Return the device with its stack."""
        return self._devices[setup.device, setup.stack]


def part_s(times: FamilyTimes, operator: str) -> float:
    """Time of the families that a figure calls `operator`. [s]"""
    return sum(times.get(family, 0.0) for family in FAMILIES[operator.lower()])


def _by_family(time: BatchTime, keys: Sequence[float]) -> dict[float, FamilyTimes]:
    """Split a time over batches or copies, in the order of `keys`, by family."""
    table: dict[float, FamilyTimes] = {key: {} for key in keys}
    for timed in time.kernels:
        for key, seconds in zip(keys, timed.seconds, strict=True):
            row = table[key]
            row[timed.kernel.family] = row.get(timed.kernel.family, 0.0) + float(seconds)
    return table
