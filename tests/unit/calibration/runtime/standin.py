"""An accelerator that is not there: the CPU, with a made-up clock, behind the protocol of the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import torch

from calibration.runtime.accelerator import Precision
from perfmodel.units import GIB, MIB


@dataclass(slots=True)
class StandIn:
    """Executes at once what it is given; remembers what it was asked."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    name: str = "NVIDIA Made-Up 100"
    memory_bytes: float = 80.0 * GIB
    l2_bytes: float = 50.0 * MIB
    num_multiprocessors: int = 132
    clock_hz: float = 1.7e9
    free: float = 1e8
    precision: Precision = "fp32"
    dtype: torch.dtype = torch.float32
    held_s: list[float] = field(default_factory=list)
    synchronised: int = 0

    def free_bytes(self) -> float:
        return self.free

    def synchronise(self) -> None:
        self.synchronised += 1

    def event(self) -> float:
        return perf_counter()

    def is_taken(self, event: float) -> bool:  # noqa: ARG002  # it executes behind the host, as if held
        return False

    def elapsed_s(self, start: float, end: float) -> float:
        return end - start

    def hold(self, seconds: float) -> None:
        self.held_s.append(seconds)

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone()
