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
    """Times of models on devices by kernel family, all batches of a pair worked out at once."""

    def __init__(self, models: Models, devices: Devices) -> None:
        self._models = models
        self._devices = devices
        self._times: dict[tuple[Setup, tuple[float, ...]], dict[float, FamilyTimes]] = {}

    def batch_s(self, setup: Setup, batch: int, batches: Iterable[int]) -> FamilyTimes:
        """Time of one of the `batches`, alone on the machine. [s]"""
        sizes = tuple(sorted({float(size) for size in batches}))
        if (setup, sizes) not in self._times:
            time = batch_time(self._models[setup.model], self.device(setup), np.array(sizes))
            self._times[setup, sizes] = _by_family(time, sizes)
        return dict(self._times[setup, sizes][float(batch)])

    def copies_s(self, setup: Setup, batch: int, copies: Sequence[float]) -> list[FamilyTimes]:
        """Time of a batch with each number of co-located copies on one socket. [s]"""
        busy: Floats = np.array(copies, float)
        sizes = np.full_like(busy, batch)
        time = batch_time(self._models[setup.model], self.device(setup), sizes, busy, copies=True)
        by_copies = _by_family(time, copies)
        return [by_copies[count] for count in copies]

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
