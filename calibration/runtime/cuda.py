"""The accelerator of PyTorch's CUDA: the only module that calls `torch.cuda`.

Tests have a stand-in of the protocol; `pytest -m gpu` runs what only a device can show.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from calibration.runtime.accelerator import Precision
from perfmodel.errors import InputError
from perfmodel.units import MS

_CYCLES = 20_000_000
"""Of the kernel that the clock is read from: some 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaAccelerator:
    """One NVIDIA GPU, and its current stream."""

    device: torch.device
    name: str
    memory_bytes: float
    l2_bytes: float
    num_multiprocessors: int
    clock_hz: float
    precision: Precision = "fp32"

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and results."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def free_bytes(self) -> float:
        """Memory that nobody has taken yet, by the driver. [bytes]"""
        free, _ = torch.cuda.mem_get_info(self.device)
        return float(free)

    def synchronise(self) -> None:
        """Wait until everything that was issued has ended."""
        torch.cuda.synchronize(self.device)

    def event(self) -> Any:
        """Record a timing event on the current stream."""
        return _event()

    def is_taken(self, event: Any) -> bool:
        """Whether an event has been recorded by the device; does not wait."""
        return bool(event.query())

    def elapsed_s(self, start: Any, end: Any) -> float:
        """Time between two events. [s]"""
        return float(start.elapsed_time(end)) * MS

    def hold(self, seconds: float) -> None:
        """Issue a kernel that spins for about so long. [s]"""
        _spin(int(seconds * self.clock_hz))

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy in page-locked memory."""
        return tensor.pin_memory()


def missing_cuda() -> str | None:
    """Why there is no CUDA device; None where there is one. Leaves CUDA alone, so that one may still fork."""
    version = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        return f"PyTorch sees no CUDA device here ({version} was built without CUDA)"
    if torch.cuda.device_count() == 0:  # asks NVML, which initialises nothing
        return (
            f"PyTorch sees no CUDA device here ({version}, built for CUDA {torch.version.cuda}, finds none)"
        )
    return None


def cuda_accelerator(asked: str = "--device cuda", precision: Precision = "fp32") -> CudaAccelerator:
    """The first CUDA device; initialises CUDA, after which this process cannot fork workers that use it.

    Products of fp32 operands are made in fp32, unless `precision` is TF32.

    Raises
    ------
    InputError
        If there is none: `asked` says who wanted it.
    """
    if (why := missing_cuda()) is not None:
        raise InputError(f"{asked}: {why}")
    _let_products_be_rounded(precision == "tf32")
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    properties = torch.cuda.get_device_properties(device)
    return CudaAccelerator(
        device=device,
        name=str(properties.name),
        memory_bytes=float(properties.total_memory),
        l2_bytes=float(properties.L2_cache_size),
        num_multiprocessors=int(properties.multi_processor_count),
        clock_hz=_clock_hz(),
        precision=precision,
    )


def _let_products_be_rounded(allowed: bool) -> None:
    """Products and layers in TF32 or not; some releases of PyTorch warn of another way to say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def _clock_hz() -> float:
    """Cycles of a spinning kernel over its time, the second of two: clocks rise with the first. [Hz]"""
    seconds = 0.0
    for _ in range(2):
        start = _event()
        _spin(_CYCLES)
        end = _event()
        end.synchronize()
        seconds = float(start.elapsed_time(end)) * MS
    return _CYCLES / seconds


def _event() -> Any:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _spin(cycles: int) -> None:
    # The kernel that keeps streams busy in tests of PyTorch itself.
    torch.cuda._sleep(cycles)  # type: ignore[no-untyped-call]
