"""Random weights, and whether they fit into this machine's memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from perfmodel.domain import operators as ops
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.units import GIB, KIB

Weights = Callable[..., torch.Tensor]
"""Gives a weight tensor of a shape, filled."""

_FRACTION = 0.85
"""Of the available memory that weights may take: the rest is for activations and inputs."""
_BLOCK_ELEMENTS = 2**20
_ALIGNED_ELEMENTS = 16  # a cache line of fp32, as allocators align


def random_weights(seed: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Weights:
    """Weights in memory of their own, uniform and so scaled that products keep the size of their input.

    Large ones repeat a block: drawing gigabytes takes long, and times do not depend on values. A seed
    gives the same values on every device.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        tensor = torch.empty(shape, device=device, dtype=dtype)
        flat, scale = tensor.view(-1), 1.0 / math.sqrt(shape[-1])
        block = torch.rand(min(_BLOCK_ELEMENTS, flat.numel()), generator=generator)
        block = block.mul_(2.0 * scale).sub_(scale).to(device, dtype)
        for start in range(0, flat.numel(), block.numel()):
            part = flat[start : start + block.numel()]
            part.copy_(block[: part.numel()])
        return tensor

    return draw


def pooled_weights(pool: torch.Tensor, start: int) -> Weights:
    """Weights cut one after the other out of a filled pool, from an element on: no time to fill them.

    Weights that do not fit between there and the pool's end are refused: no two may share memory.
    """
    position = start

    def cut(*shape: int) -> torch.Tensor:
        nonlocal position
        count = math.prod(shape)
        padded = -(-count // _ALIGNED_ELEMENTS) * _ALIGNED_ELEMENTS
        if position + padded > pool.numel():
            raise InputError(f"expected weights of at most {pool.numel() - start} elements, got more")
        taken = pool[position : position + count].view(shape)
        position += padded
        return taken

    return cut


def fit_to_memory(model: RecModel, *, shrink_tables: bool, room_bytes: float | None = None) -> RecModel:
    """Return the model, or where its tables are too large and it is allowed, one with fewer rows.

    `room_bytes` is the free memory of another device; None: this machine's. [bytes]

    Raises
    ------
    InputError
        If the weights do not fit, with the GiB that are missing.
    """
    available = (available_bytes() if room_bytes is None else room_bytes) * _FRACTION
    needed = model.embedding_bytes + model.dense_parameter_bytes
    if needed <= available:
        return model
    room = available - model.dense_parameter_bytes
    if not shrink_tables or room <= 0.0:
        missing = (needed - available) / GIB
        raise InputError(
            f"{model.name}: weights need {needed / GIB:.1f} GiB, {available / GIB:.1f} GiB can be had here: "
            f"{missing:.1f} GiB are missing; --shrink-tables scales the tables' rows down until they fit"
        )
    return shrunk(model, room / model.embedding_bytes)


def shrunk(model: RecModel, factor: float) -> RecModel:
    """Return the model with the rows of every table scaled by `factor`, at least one row each."""

    def smaller(operator: ops.Operator) -> ops.Operator:
        if not isinstance(operator, ops.EmbeddingBag):
            return operator
        tables = tuple(
            table.model_copy(update={"num_rows": max(1, math.floor(table.num_rows * factor))})
            for table in operator.tables
        )
        return operator.model_copy(update={"tables": tables})

    return model.model_copy(update={"operators": tuple(smaller(op) for op in model.operators)})


def available_bytes() -> float:
    """Memory that this process may still take: what the kernel calls available, within the cgroup. [bytes]"""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return min(float(line.split()[1]) * KIB, _cgroup_room_bytes())
    raise InputError("/proc/meminfo: expected a line MemAvailable, found none")


def _cgroup_room_bytes() -> float:
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text(encoding="ascii").strip()
        used = float((root / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return math.inf
    return math.inf if limit == "max" else max(0.0, float(limit) - used)
