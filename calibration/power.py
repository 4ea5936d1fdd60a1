"""Energy that this machine says it used: RAPL counters of CPUs and memory, NVML's counter of a GPU."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from perfmodel.loading.this_machine import read_text

MICROJOULE = 1e-6
MILLIJOULE = 1e-3
MILLIWATT = 1e-3

_COUNTED = ("package", "dram")  # `core` and `uncore` lie inside a package; `psys` holds everything again
_NVML_SUCCESS = 0


class EnergyMeter(Protocol):
    """A counter of energy that only grows, but for wrapping around."""

    @property
    def source(self) -> str:
        """What is read, in words."""

    def read_j(self) -> tuple[float, ...]:
        """Where each of its counters stands. [J]"""

    def used_j(self, start_j: tuple[float, ...], end_j: tuple[float, ...]) -> float:
        """Energy between two readings. [J]"""


@dataclass(slots=True)
class Energy:
    """Energy and time of an interval; nothing until the interval has ended."""

    source: str
    joules: float | None = None
    seconds: float | None = None

    @property
    def mean_w(self) -> float | None:
        """Mean power over the interval. [W]"""
        return self.joules / self.seconds if self.joules is not None and self.seconds else None


@contextmanager
def energy_of(meter: EnergyMeter, *, clock: Callable[[], float] = time.perf_counter) -> Iterator[Energy]:
    """Measure the energy of the body of a `with` statement.

    A counter may wrap around once on the way: about 20 minutes at 200 W for RAPL.

    Examples
    --------
    >>> with energy_of(meter) as energy:  # doctest: +SKIP
    ...     work()
    >>> energy.mean_w  # doctest: +SKIP
    83.2
    """
    energy = Energy(meter.source)
    start_j, started_s = meter.read_j(), clock()
    try:
        yield energy
    finally:
        energy.seconds = clock() - started_s
        energy.joules = meter.used_j(start_j, meter.read_j())


@dataclass(frozen=True, slots=True)
class RaplMeter:
    """The package and memory domains of RAPL, all sockets together."""

    domains: tuple[Path, ...]
    ranges_j: tuple[float, ...] = field(repr=False)

    @property
    def source(self) -> str:
        """What is read, in words."""
        return "RAPL: " + " + ".join(read_text(domain / "name") or domain.name for domain in self.domains)

    def read_j(self) -> tuple[float, ...]:
        """Where each domain's counter stands. [J]"""
        return tuple(int((domain / "energy_uj").read_text()) * MICROJOULE for domain in self.domains)

    def used_j(self, start_j: tuple[float, ...], end_j: tuple[float, ...]) -> float:
        """Energy between two readings; a counter that stands lower than before has wrapped around. [J]"""
        counters = zip(start_j, end_j, self.ranges_j, strict=True)
        return sum(end - start if end >= start else end - start + span for start, end, span in counters)


def rapl_meter(root: Path = Path("/")) -> RaplMeter | None:
    """Return the meter of this machine's CPUs; None where there is none, or none that may be read."""
    domains = tuple(domain for domain in rapl_domains(root) if read_text(domain / "energy_uj") is not None)
    if not domains:
        return None
    ranges_j = tuple(int(read_text(domain / "max_energy_range_uj") or 0) * MICROJOULE for domain in domains)
    return RaplMeter(domains, ranges_j)


def rapl_domains(root: Path = Path("/")) -> list[Path]:
    """Folders of the domains that count, whether their counters may be read or not."""
    folders = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
    return [folder for folder in folders if (read_text(folder / "name") or "").startswith(_COUNTED)]


@dataclass(frozen=True, slots=True)
class NvmlMeter:
    """The energy counter of one NVIDIA GPU, its memory included (Volta and later)."""

    library: Any
    handle: Any
    name: str

    @property
    def source(self) -> str:
        """What is read, in words."""
        return f"NVML: {self.name}"

    def read_j(self) -> tuple[float, ...]:
        """Where the counter stands. [J]"""
        used_mj = ctypes.c_ulonglong()
        self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle, ctypes.byref(used_mj))
        return (used_mj.value * MILLIJOULE,)

    def used_j(self, start_j: tuple[float, ...], end_j: tuple[float, ...]) -> float:
        """Energy between two readings; 64 bits of mJ do not wrap around. [J]"""
        return end_j[0] - start_j[0]

    @property
    def limit_w(self) -> float | None:
        """Power that the card is made to stay below, its TDP; None where it does not say. [W]"""
        limit_mw = ctypes.c_uint()
        told = self.library.nvmlDeviceGetPowerManagementDefaultLimit(self.handle, ctypes.byref(limit_mw))
        return limit_mw.value * MILLIWATT if told == _NVML_SUCCESS else None


def nvml_meter(index: int = 0, *, open_library: Callable[[str], Any] = ctypes.CDLL) -> NvmlMeter | None:
    """Return the meter of a GPU by its number; None where NVML, the GPU or its counter is missing."""
    try:
        library = open_library("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, counter = ctypes.c_void_p(), ctypes.c_ulonglong()
    name = ctypes.create_string_buffer(96)
    steps: tuple[Callable[[], int], ...] = (
        lambda: library.nvmlInit_v2(),
        lambda: library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)),
        lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(counter)),
        lambda: library.nvmlDeviceGetName(handle, name, ctypes.c_uint(len(name))),
    )
    if any(step() != _NVML_SUCCESS for step in steps):
        return None
    return NvmlMeter(library, handle, name.value.decode())
