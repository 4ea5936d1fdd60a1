"""What the runtime and calibration ask of an accelerator: everything that only a device can do."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch

from perfmodel.errors import InputError
from perfmodel.loading.words import quoted

Precision = Literal["fp32", "tf32", "bf16"]
"""What a model is multiplied in: fp32; fp32 rounded to TF32 by products; or weights and results in bf16."""

SIGNIFICAND_BITS: dict[Precision, int] = {"fp32": 24, "tf32": 11, "bf16": 8}
"""How measurements, which are numbers, say in what precision they were made."""


def precision_of(name: str) -> Precision:
    """The precision of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    for precision in SIGNIFICAND_BITS:
        if name == precision:
            return precision
    raise InputError(f"--precision: expected {', '.join(SIGNIFICAND_BITS)}, got {quoted(name)}")


class Accelerator(Protocol):
    """One device with its own memory that executes calls in the order in which the host issues them.

    `calibration.runtime.cuda` is the one for NVIDIA GPUs; tests have a stand-in on the CPU.
    """

    @property
    def device(self) -> torch.device:
        """Where its tensors live."""

    @property
    def name(self) -> str:
        """As its maker calls it."""

    @property
    def precision(self) -> Precision:
        """What it multiplies in."""

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and results."""

    @property
    def memory_bytes(self) -> float:
        """All of its memory. [bytes]"""

    @property
    def l2_bytes(self) -> float:
        """Its last-level cache. [bytes]"""

    @property
    def num_multiprocessors(self) -> int:
        """Processors that share the work of a kernel."""

    @property
    def clock_hz(self) -> float:
        """Their clock, as it was when this was made. [Hz]"""

    def free_bytes(self) -> float:
        """Memory that nobody has taken yet. [bytes]"""

    def synchronise(self) -> None:
        """Wait until everything that was issued has ended."""

    def event(self) -> Any:
        """Issue a time stamp: it is taken when all before it has ended."""

    def is_taken(self, event: Any) -> bool:
        """Whether the device has come to a stamp yet; does not wait."""

    def elapsed_s(self, start: Any, end: Any) -> float:
        """Time between two stamps, after they were taken. [s]"""

    def hold(self, seconds: float) -> None:
        """Issue something that keeps the device busy for about so long, and does nothing. [s]"""

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy in memory that the device reads by itself, where there is such memory."""
