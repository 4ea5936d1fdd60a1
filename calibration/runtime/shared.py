"""A pass in two halves: the work of the query, and that of its items on what came out of it.

The first request of a query does both, and sends on what the items read of the query; the others get it, and
do the second half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt
import torch

from calibration.runtime.programme import Call, Inputs, Programme, Slots, calls_of

Bytes = npt.NDArray[np.uint8]

ALIGNED = 64
"""Results begin at multiples of a cache line. [bytes]"""


@dataclass(frozen=True, slots=True)
class _Sent:
    """One result of the query that items read: its slot, its type and shape, and where it lies. [bytes]"""

    slot: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def end(self) -> int:
        """Where it ends. [bytes]"""
        return self.start + self.dtype.itemsize * prod(self.shape)


@dataclass(frozen=True, slots=True)
class QueryHalf:
    """A programme cut in two.

    Attributes
    ----------
    programme : Programme
        What was cut.
    of_query, of_items : tuple of Call
        Its calls: the query's first.
    sent : tuple
        What the second half reads of the query, inputs that come with the query among it.
    """

    programme: Programme
    of_query: tuple[Call, ...]
    of_items: tuple[Call, ...]
    sent: tuple[_Sent, ...]

    @property
    def num_bytes(self) -> int:
        """Of what is sent on. [bytes/query]"""
        return self.sent[-1].end if self.sent else 0


def cut(programme: Programme) -> QueryHalf:
    """Cut a programme at what its items read of the query."""
    steps = programme.assembly.steps
    first = [step for step in steps if step.is_query]
    second = [step for step in steps if not step.is_query]
    calls = calls_of([*first, *second], programme.output)
    given = programme.query_slots
    made = {step.writes for step in first}
    read = sorted({slot for step in second for slot in step.reads if slot in made or slot in given})
    with programme.mode():
        slots = programme.slots(programme.inputs(1, np.random.default_rng(0)))
        kept = _after(calls[: len(first)], slots, read)
    sent: list[_Sent] = []
    for slot, result in zip(read, kept, strict=True):
        start = -(-sent[-1].end // ALIGNED) * ALIGNED if sent else 0
        sent.append(_Sent(slot, result.dtype, tuple(result.shape), start))
    return QueryHalf(programme, calls[: len(first)], calls[len(first) :], tuple(sent))


@dataclass(frozen=True, slots=True)
class Sending:
    """The first request of a query: both halves."""

    half: QueryHalf

    def inputs(self, batch_size: int, rng: np.random.Generator) -> Inputs:
        """Draw a batch."""
        return self.half.programme.inputs(batch_size, rng)

    def run(self, inputs: Inputs, send: Callable[[Bytes], None] | None = None) -> torch.Tensor:
        """One pass; the query's results are sent as soon as they are there."""
        half = self.half
        with half.programme.mode():
            slots = half.programme.slots(inputs)
            kept = _after(half.of_query, slots, [each.slot for each in half.sent])
            if send is not None:
                send(_packed(half, kept))
            return _finished(half, slots)


@dataclass(frozen=True, slots=True)
class Receiving:
    """Another request of a query: the second half, on what was sent."""

    half: QueryHalf
    ready: Bytes = field(init=False)

    def __post_init__(self) -> None:
        programme = self.half.programme
        with programme.mode():
            slots = programme.slots(programme.inputs(1, np.random.default_rng(0)))
            kept = _after(self.half.of_query, slots, [each.slot for each in self.half.sent])
            object.__setattr__(self, "ready", _packed(self.half, kept))

    def inputs(self, batch_size: int, rng: np.random.Generator) -> Inputs:
        """Draw a batch without what comes with the query."""
        drawn = self.half.programme.inputs(batch_size, rng)
        query = self.half.programme.query_slots
        return Inputs(batch_size, tuple(pair for pair in drawn.tensors if pair[0] not in query))

    def run(self, inputs: Inputs, received: Bytes | None = None) -> torch.Tensor:
        """One pass over the items; what was received is a copy of its own, and so is what stands ready."""
        half = self.half
        with half.programme.mode():
            slots = half.programme.slots(inputs)
            results = torch.from_numpy(self.ready.copy() if received is None else received)
            for each in half.sent:
                slots[each.slot] = results[each.start : each.end].view(each.dtype).view(each.shape)
            return _finished(half, slots)


def _after(calls: tuple[Call, ...], slots: Slots, kept: list[int]) -> list[torch.Tensor]:
    """Run the query's calls; what is kept of their results."""
    for call in calls:
        call.run(slots)
        for slot in call.frees:
            slots[slot] = None
    results = [slots[slot] for slot in kept]
    return [result for result in results if result is not None]


def _packed(half: QueryHalf, kept: list[torch.Tensor]) -> Bytes:
    """Results of the query side by side, as bytes."""
    packed = torch.empty(half.num_bytes, dtype=torch.uint8)
    for each, result in zip(half.sent, kept, strict=True):
        packed[each.start : each.end].view(each.dtype).view(each.shape).copy_(result)
    return np.asarray(packed.numpy())


def _finished(half: QueryHalf, slots: Slots) -> torch.Tensor:
    """Run the items' calls; the model's output."""
    for call in half.of_items:
        call.run(slots)
        for slot in call.frees:
            slots[slot] = None
    result = slots[half.programme.output]
    assert result is not None, "the output is never freed"
    return result
