"""What the runtime and calibration ask of an accelerator: everything that only a device can do."""

from __future__ import annotations

from typing import Any, Protocol

import torch


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

    def elapsed_s(self, start: Any, end: Any) -> float:
        """Time between two stamps, after they were taken. [s]"""

    def hold(self, seconds: float) -> None:
        """Issue something that keeps the device busy for about so long, and does nothing. [s]"""

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy in memory that the device reads by itself, where there is such memory."""
