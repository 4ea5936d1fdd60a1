"""Fingerprints: the machine and the software that a calibration holds for, and how two of them differ."""

from __future__ import annotations

from pydantic import Field

from perfmodel.domain.base import Frozen

MEMORY_TOLERANCE = 0.05
"""Relative difference in memory below which two machines count as equal: kernels reserve more or less."""


class Machine(Frozen):
    """Hardware and operating system, as far as they change how fast operators run; None: not readable.

    Attributes
    ----------
    cpu_model : str or None
        The CPU's name; virtual machines often hide its exact type.
    cpu_family, cpu_model_number, cpu_stepping : int or None
        The numbers behind the name, which virtual machines do show.
    cpu_flags : tuple of str
        Instruction sets that matter to operators, such as `avx512f`.
    cores : int
        Physical cores that this process may use (its cpuset).
    threads : int
        Hardware threads that it may use.
    quota_cores : float or None
        Cores' worth of time that the control group allows; None: no limit.
    l1d_kib : float or None
        Size of one first-level data cache. [KiB]
    l2_kib : float or None
        Size of one second-level cache. [KiB]
    l3_mib : float or None
        Size of one last-level cache. [MiB]
    memory_gib : float
        Memory that this process may use. [GiB]
    numa_nodes : int
        Memory nodes.
    hypervisor : str or None
        What virtualises the machine; None: nothing does.
    governor : str or None
        Frequency governor.
    turbo : bool or None
        Whether clocks are boosted.
    huge_pages : str or None
        Setting of transparent huge pages.
    gpus : tuple of str
        Accelerators, by name.
    gpu_driver : str or None
        Version of their driver.
    kernel : str
        Release of the operating system's kernel.
    """

    cpu_model: str | None = None
    cpu_family: int | None = None
    cpu_model_number: int | None = None
    cpu_stepping: int | None = None
    cpu_flags: tuple[str, ...] = ()
    cores: int
    threads: int
    quota_cores: float | None = None
    l1d_kib: float | None = None
    l2_kib: float | None = None
    l3_mib: float | None = None
    memory_gib: float
    numa_nodes: int = 1
    hypervisor: str | None = None
    governor: str | None = None
    turbo: bool | None = None
    huge_pages: str | None = None
    gpus: tuple[str, ...] = ()
    gpu_driver: str | None = None
    kernel: str = ""

    @property
    def cpu(self) -> str:
        """The CPU in words: its name, and the numbers that tell apart what the name does not.

        Examples
        --------
        >>> machine = Machine(cpu_model="AMD EPYC", cpu_family=26, cpu_model_number=2, cores=2, threads=2,
        ...                   memory_gib=24.0)
        >>> machine.cpu
        'AMD EPYC (family 26, model 2)'
        """
        numbers = [("family", self.cpu_family), ("model", self.cpu_model_number)]
        known = [f"{word} {value}" for word, value in numbers if value is not None]
        return (self.cpu_model or "unknown CPU") + (f" ({', '.join(known)})" if known else "")


class Software(Frozen):
    """What operators run in.

    Attributes
    ----------
    python, torch : str
        Versions.
    torch_build : tuple of str
        Libraries and settings that the build names: BLAS, oneDNN, OpenMP, the instruction set in use.
    torch_threads : int
        Threads inside an operator.
    environment : dict of str
        Environment variables that steer allocator and threads, such as `LD_PRELOAD`; only those that are set.
    settings : tuple of str
        Settings that the process made itself, in words.
    """

    python: str
    torch: str
    torch_build: tuple[str, ...] = ()
    torch_threads: int
    environment: dict[str, str] = Field(default_factory=dict)
    settings: tuple[str, ...] = ()


class Fingerprint(Frozen):
    """What a calibration holds for: machine, software, and the date (UTC, ISO 8601) of the measurement."""

    date: str
    machine: Machine
    software: Software | None = None


def differences(calibrated: Fingerprint, here: Fingerprint) -> tuple[str, ...]:
    """Name what differs in a way that matters, a readable line each; nothing where nothing does.

    Software is compared where both fingerprints have it; dates and kernel releases never count.

    Examples
    --------
    >>> there = Machine(cpu_model="AMD EPYC", cores=2, threads=2, memory_gib=24.0, huge_pages="madvise")
    >>> here = there.model_copy(update={"cores": 1, "huge_pages": "never"})
    >>> then, now = "2026-01-01", "2026-01-02"
    >>> differences(Fingerprint(date=then, machine=there), Fingerprint(date=now, machine=here))
    ('cores: calibrated 2, here 1', 'huge pages: calibrated madvise, here never')
    """
    lines = list(machine_differences(calibrated.machine, here.machine))
    if calibrated.software is not None and here.software is not None:
        lines += _software_differences(calibrated.software, here.software)
    return tuple(lines)


def machine_differences(calibrated: Machine, here: Machine) -> tuple[str, ...]:
    """Name what differs between two machines in a way that matters, a readable line each."""
    pairs: list[tuple[str, object, object]] = [
        ("CPU", calibrated.cpu, here.cpu),
        ("CPU stepping", calibrated.cpu_stepping, here.cpu_stepping),
        *_flag_difference(calibrated, here),
        ("cores", calibrated.cores, here.cores),
        ("hardware threads", calibrated.threads, here.threads),
        ("quota [cores]", calibrated.quota_cores, here.quota_cores),
        ("L1d [KiB]", calibrated.l1d_kib, here.l1d_kib),
        ("L2 [KiB]", calibrated.l2_kib, here.l2_kib),
        ("L3 [MiB]", calibrated.l3_mib, here.l3_mib),
        *_memory_difference(calibrated, here),
        ("NUMA nodes", calibrated.numa_nodes, here.numa_nodes),
        ("hypervisor", calibrated.hypervisor, here.hypervisor),
        ("frequency governor", calibrated.governor, here.governor),
        ("turbo", calibrated.turbo, here.turbo),
        ("huge pages", calibrated.huge_pages, here.huge_pages),
        ("GPUs", calibrated.gpus, here.gpus),
        ("GPU driver", calibrated.gpu_driver, here.gpu_driver),
    ]
    skipped = {"hardware threads"} if calibrated.cores != here.cores else set()
    return tuple(
        f"{what}: calibrated {_shown(there)}, here {_shown(now)}"
        for what, there, now in pairs
        if there != now and what not in skipped
    )


def _software_differences(calibrated: Software, here: Software) -> list[str]:
    pairs: list[tuple[str, object, object]] = [
        ("torch", calibrated.torch, here.torch),
        ("torch build", calibrated.torch_build, here.torch_build),
        ("torch threads", calibrated.torch_threads, here.torch_threads),
        ("settings", calibrated.settings, here.settings),
    ]
    for name in sorted(calibrated.environment.keys() | here.environment.keys()):
        pairs.append((name, calibrated.environment.get(name), here.environment.get(name)))
    return [
        f"{what}: calibrated {_shown(there)}, here {_shown(now)}"
        for what, there, now in pairs
        if there != now
    ]


def _flag_difference(calibrated: Machine, here: Machine) -> list[tuple[str, object, object]]:
    """Only the flags that one of the two lacks: the rest would hide them."""
    there, now = set(calibrated.cpu_flags), set(here.cpu_flags)
    return [("CPU flags", tuple(sorted(there - now)), tuple(sorted(now - there)))]


def _memory_difference(calibrated: Machine, here: Machine) -> list[tuple[str, object, object]]:
    if abs(calibrated.memory_gib - here.memory_gib) <= MEMORY_TOLERANCE * calibrated.memory_gib:
        return []
    return [("memory [GiB]", calibrated.memory_gib, here.memory_gib)]


def _shown(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
