"""A runnable model: random weights, inputs that honour its tables' lookups, and the calls of a pass."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch

from calibration.runtime import operators
from calibration.runtime.assembly import Assembly, Step, assemble
from calibration.runtime.indices import bag_offsets, lookup_indices
from calibration.runtime.memory import Weights, fit_to_memory, random_weights
from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.walk import Lookup, Numbers
from perfmodel.domain.model import RecModel

Mode = Callable[[], AbstractContextManager[object]]
"""Gives the context of a pass: how PyTorch is told that nobody wants gradients."""
Slots = list["torch.Tensor | None"]

CPU = torch.device("cpu")
_PAGE_ELEMENTS = 1024
"""Of 4 bytes: a page of memory."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """One batch, ready to run: its tensors by slot."""

    batch_size: int
    tensors: tuple[tuple[int, torch.Tensor], ...]

    def to(self, device: torch.device, read: Container[int] | None = None) -> Inputs:
        """The batch on a device: each tensor a copy of its own, one issued after the other.

        `read` are the slots that are read there; None: all of them are copied.
        """
        there = ((slot, tensor) for slot, tensor in self.tensors if read is None or slot in read)
        moved = ((slot, tensor.to(device, non_blocking=True)) for slot, tensor in there)
        return Inputs(self.batch_size, tuple(moved))


@dataclass(frozen=True, slots=True)
class Call:
    """One framework call: what it carries out, and how to run it on the slots of a pass.

    Attributes
    ----------
    kernels : tuple of int
        The lowered kernels that it carries out, or (with other calls) a part of one.
    run : callable
        Reads and writes slots.
    frees : tuple of int
        Slots that nothing reads afterwards: their memory is reused at once, as an engine would.
    """

    kernels: tuple[int, ...]
    run: Callable[[Slots], None]
    frees: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """A model as a flat list of calls.

    Attributes
    ----------
    model : RecModel
        What runs: the model asked for, with fewer rows where its tables were shrunk.
    kernels : tuple of Kernel
        `lower(model)` of the kind of device that runs it.
    calls : tuple of Call
        In execution order.
    assembly : Assembly
        What the calls were made of.
    mode : callable
        Gives the context of a pass: how PyTorch is told that nobody wants gradients.
    device, library
        Where the weights are, and what made the calls with weights.
    read : frozenset of int
        The slots that calls read: other inputs, such as those of what only cores run, are not for this one.
    """

    model: RecModel
    kernels: tuple[Kernel, ...]
    calls: tuple[Call, ...]
    lookups: tuple[Lookup, ...]
    num_slots: int
    dense: int | None
    output: int
    assembly: Assembly
    query_dense: int | None = None
    items: int | None = None
    dtype: torch.dtype = torch.float32
    mode: Mode = torch.inference_mode
    numbers: tuple[Numbers, ...] = ()
    weights: tuple[torch.Tensor, ...] = ()
    device: torch.device = CPU
    library: operators.Library = operators
    read: frozenset[int] = frozenset()

    @property
    def query_slots(self) -> frozenset[int]:
        """Slots of the inputs that come with the query."""
        given = [self.query_dense] if self.query_dense is not None else []
        given += [each.slot for each in self.numbers if each.scope == "query"]
        for lookup in self.lookups:
            if lookup.scope == "query":
                given += [lookup.indices] + ([] if lookup.offsets is None else [lookup.offsets])
        return frozenset(given)

    def touch_pages(self) -> None:
        """Read an element of each page of the weights.

        Hypervisors take pages away that rest for a while, and the next read of each costs half a microsecond
        or more: a server whose lookups are spread over gigabytes then takes several times as long.
        """
        for weight in self.weights:
            weight.view(-1)[::_PAGE_ELEMENTS].sum()

    def inputs(self, batch_size: int, rng: np.random.Generator) -> Inputs:
        """Draw a batch: dense features, and indices with each table's lookups and skew."""
        return self.many_inputs(batch_size, 1, rng)[0]

    def many_inputs(self, batch_size: int, count: int, rng: np.random.Generator) -> list[Inputs]:
        """Draw several batches of one query each at once, which is faster; dense features are the same."""
        by_slot: dict[int, Sequence[torch.Tensor]] = {}
        for slot, rows, width in (
            (self.dense, batch_size, self.model.dense_features),
            (self.query_dense, 1, self.model.query_dense_features),
        ):
            if slot is not None:
                features = rng.random((rows, width), dtype=np.float32)
                by_slot[slot] = [torch.from_numpy(features).to(self.dtype)] * count
        if self.items is not None:
            by_slot[self.items] = [torch.empty(batch_size, 0)] * count
        for numbers in self.numbers:
            given = rng.random(
                (1 if numbers.scope == "query" else batch_size, numbers.count), dtype=np.float32
            )
            by_slot[numbers.slot] = [torch.from_numpy(given).to(self.dtype)] * count
        for lookup in self.lookups:
            rows = 1 if lookup.scope == "query" else batch_size
            by_slot |= _lookup_inputs(lookup, rows, count, rng)
        slots = tuple(by_slot)
        columns = zip(*by_slot.values(), strict=True)
        return [Inputs(batch_size, tuple(zip(slots, tensors, strict=True))) for tensors in columns]

    def slots(self, inputs: Inputs) -> Slots:
        """The slots of one pass, inputs filled in."""
        slots: Slots = [None] * self.num_slots
        for slot, tensor in inputs.tensors:
            slots[slot] = tensor
        return slots

    def run(self, inputs: Inputs) -> torch.Tensor:
        """One forward pass; the model's output."""
        with self.mode():
            slots = self.slots(inputs)
            for call in self.calls:
                call.run(slots)
                for slot in call.frees:
                    slots[slot] = None
        result = slots[self.output]
        if result is None:
            raise AssertionError("the output is never freed")
        return result


def build_programme(
    model: RecModel,
    *,
    seed: int = 0,
    shrink_tables: bool | None = None,
    device: torch.device = CPU,
    room_bytes: float | None = None,
    dtype: torch.dtype = torch.float32,
    library: operators.Library = operators,
    mode: Mode = torch.inference_mode,
) -> Programme:
    """Give a model random weights and turn it into calls.

    Parameters
    ----------
    model : RecModel
        Any model file's content.
    seed : int, default 0
        Of the weights; the same seed gives the same weights.
    shrink_tables : bool, optional
        Scale the rows of all tables down by one factor where they do not fit into memory. The
        programme's `model` says what rows are left.
    device : torch.device, default the CPU
        Where the weights go; a pass then needs its inputs there.
    room_bytes : float, optional
        Memory that is free on the device; by default what this machine has left. [bytes]
    dtype : torch.dtype, default fp32
        Of weights and results.
    library, mode
        What makes the calls with weights, and the context of each pass: by default the flat list of calls.

    Raises
    ------
    InputError
        If the weights do not fit into that memory, or a table is not fp32.
    """
    fitting = fit_to_memory(model, shrink_tables=bool(shrink_tables), room_bytes=room_bytes)
    return programme_with(fitting, random_weights(seed, device, dtype), device, dtype, library, mode)


def programme_with(
    model: RecModel,
    weights: Weights,
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float32,
    library: operators.Library = operators,
    mode: Mode = torch.inference_mode,
) -> Programme:
    """Turn a model into calls, with weights from where the caller says, all of them on one device.

    `library` makes the calls with weights, `mode` gives the context of each pass.
    """
    held: list[torch.Tensor] = []

    def kept(*shape: int) -> torch.Tensor:
        held.append(weights(*shape))
        return held[-1]

    with mode():
        assembly = assemble(model, kept, device, dtype, library)
    made = programme_of(model, assembly, dtype, mode)
    return replace(made, device=device, library=library, weights=tuple(held))


def programme_of(model: RecModel, assembly: Assembly, dtype: torch.dtype, mode: Mode) -> Programme:
    """Put the steps of a model together as calls."""
    walk = assembly.walk
    output = assembly.steps[-1].writes
    return Programme(
        model=model,
        assembly=assembly,
        kernels=tuple(walk.kernels),
        calls=calls_of(assembly.steps, output),
        lookups=tuple(walk.lookups),
        num_slots=walk.num_slots,
        dense=walk.dense,
        query_dense=walk.query_dense,
        items=walk.items,
        output=output,
        dtype=dtype,
        mode=mode,
        numbers=tuple(walk.numbers),
        read=frozenset(slot for step in assembly.steps for slot in step.reads),
    )


def calls_of(steps: Sequence[Step], output: int) -> tuple[Call, ...]:
    """Steps as calls in their order, each with the slots that it is the last to read."""
    frees = _last_reads(steps, output)
    return tuple(Call(step.kernels, _runner(step), freed) for step, freed in zip(steps, frees, strict=True))


def _runner(step: Step) -> Callable[[Slots], None]:
    """The step as a function of the slots, with the fewest lookups: glue is half of a small model's time."""
    function, writes, reads = step.function, step.writes, step.reads
    if len(reads) == 1:
        (only,) = reads

        def run_one(slots: Slots) -> None:
            slots[writes] = function(slots[only])

        return run_one
    if len(reads) == 2:
        first, second = reads

        def run_two(slots: Slots) -> None:
            slots[writes] = function(slots[first], slots[second])

        return run_two

    def run(slots: Slots) -> None:
        slots[writes] = function(*[slots[slot] for slot in reads])

    return run


def _last_reads(steps: Sequence[Step], output: int) -> list[tuple[int, ...]]:
    """For each step the slots that no later step reads."""
    last: dict[int, int] = {}
    for index, step in enumerate(steps):
        last |= dict.fromkeys((*step.reads, step.writes), index)
    del last[output]
    return [tuple(slot for slot in last if last[slot] == index) for index in range(len(steps))]


def _lookup_inputs(
    lookup: Lookup, batch_size: int, count: int, rng: np.random.Generator
) -> dict[int, Sequence[torch.Tensor]]:
    """Indices of one table and, where it pools, the offsets of its bags; for each of `count` batches."""
    table = lookup.table
    if lookup.offsets is None:
        per_item = int(table.pooling_factor)
        drawn = lookup_indices(table, count * batch_size * per_item, rng)
        return {lookup.indices: torch.from_numpy(drawn.reshape(count, batch_size, per_item)).unbind()}
    if table.pooling_factor == int(table.pooling_factor):
        offsets, per_batch = bag_offsets(table, batch_size, rng)
        bags, sizes = [torch.from_numpy(offsets)] * count, [per_batch] * count
    else:
        drawn_bags = [bag_offsets(table, batch_size, rng) for _ in range(count)]
        bags = [torch.from_numpy(offsets) for offsets, _ in drawn_bags]
        sizes = [size for _, size in drawn_bags]
    indices = np.split(lookup_indices(table, sum(sizes), rng), np.cumsum(sizes[:-1]))
    return {lookup.indices: [torch.from_numpy(part) for part in indices], lookup.offsets: bags}
