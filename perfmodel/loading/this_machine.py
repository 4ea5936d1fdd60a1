"""Read what this machine is from /proc and /sys: the part of a fingerprint that needs no other library."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from pathlib import Path

from perfmodel.domain.fingerprint import Machine
from perfmodel.loading.control_groups import memory_limit_bytes, quota_cores
from perfmodel.threads import threads_here
from perfmodel.units import GIB

_FLAGS = re.compile(r"avx$|avx2|avx_vnni|avx512\w*|amx\w*|fma$|f16c|sse4_2|asimd\w*|sve\w*|bf16|i8mm")
_SIZE = re.compile(r"(\d+)([KMG]?)")
_KIB = {"": 1 / 1024, "K": 1.0, "M": 1024.0, "G": 1024.0**2}


def read_machine(root: Path = Path("/"), *, usable_threads: Iterable[int] | None = None) -> Machine:
    """Describe the machine as this process may use it.

    Parameters
    ----------
    root : Path
        Where `proc` and `sys` lie; tests give a tree of their own.
    usable_threads : iterable of int, optional
        Hardware threads that the process may run on; by default asks the operating system.

    Examples
    --------
    >>> read_machine().threads >= 1
    True
    """
    usable = sorted(threads_here() if usable_threads is None else usable_threads)
    facts, cpu = _cpu_facts(root), root / "sys/devices/system/cpu"
    caches = _caches_kib(cpu / f"cpu{usable[0]}/cache")
    return Machine(
        cpu_model=facts.get("model name") or facts.get("cpu part") or platform.processor() or None,
        cpu_family=_whole(facts.get("cpu family")),
        cpu_model_number=_whole(facts.get("model")),
        cpu_stepping=_whole(facts.get("stepping") or facts.get("cpu revision")),
        cpu_flags=_flags(facts),
        cores=len({_siblings(cpu, thread) for thread in usable}),
        threads=len(usable),
        quota_cores=quota_cores(root),
        l1d_kib=caches.get("1"),
        l2_kib=caches.get("2"),
        l3_mib=caches["3"] / 1024 if "3" in caches else None,
        memory_gib=_memory_gib(root),
        numa_nodes=max(1, len(list((root / "sys/devices/system/node").glob("node[0-9]*")))),
        hypervisor=_hypervisor(root, facts),
        governor=read_text(cpu / f"cpu{usable[0]}/cpufreq/scaling_governor"),
        turbo=_turbo(cpu),
        huge_pages=_chosen(read_text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        gpus=_gpus(root),
        gpu_driver=_gpu_driver(root),
        kernel=read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
    )


def read_text(path: Path) -> str | None:
    """Return what a file says, stripped; None where it is absent, unreadable or empty."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _cpu_facts(root: Path) -> dict[str, str]:
    """Keys of the first CPU in /proc/cpuinfo, in lower case."""
    first = (read_text(root / "proc/cpuinfo") or "").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _flags(facts: dict[str, str]) -> tuple[str, ...]:
    written = facts.get("flags") or facts.get("features") or ""
    return tuple(sorted({flag for flag in written.split() if _FLAGS.match(flag)}))


def _siblings(cpu: Path, thread: int) -> str:
    """Name the physical core that a hardware thread belongs to; the thread itself where nothing says."""
    return read_text(cpu / f"cpu{thread}/topology/thread_siblings_list") or str(thread)


def _caches_kib(folder: Path) -> dict[str, float]:
    """Size of one data or unified cache of each level. [KiB]"""
    sizes = {}
    for index in sorted(folder.glob("index[0-9]*")):
        match = _SIZE.fullmatch(read_text(index / "size") or "")
        if match and read_text(index / "type") != "Instruction":
            sizes[read_text(index / "level") or ""] = int(match[1]) * _KIB[match[2]]
    return sizes


def _memory_gib(root: Path) -> float:
    """Memory of the machine, or less where the control group allows less. [GiB]"""
    match = re.search(r"MemTotal:\s*(\d+) kB", read_text(root / "proc/meminfo") or "")
    total = int(match[1]) * 1024.0 if match else float("inf")
    limit = memory_limit_bytes(root)
    usable = min(total, limit if limit is not None else total)
    return round(usable / GIB, 1) if usable < float("inf") else 0.0


def _hypervisor(root: Path, facts: dict[str, str]) -> str | None:
    if "hypervisor" not in (facts.get("flags") or "").split():
        return None
    vendor = read_text(root / "sys/class/dmi/id/sys_vendor")
    return vendor or read_text(root / "sys/hypervisor/type") or "of unknown kind"


def _turbo(cpu: Path) -> bool | None:
    """Say whether boost clocks are on, as the two usual drivers write it."""
    if (no_turbo := read_text(cpu / "intel_pstate/no_turbo")) is not None:
        return no_turbo == "0"
    boost = read_text(cpu / "cpufreq/boost")
    return None if boost is None else boost == "1"


def _chosen(text: str | None) -> str | None:
    """Return the choice in brackets: `always [madvise] never`."""
    match = re.search(r"\[(\w+)\]", text or "")
    return match[1] if match else text


def _gpus(root: Path) -> tuple[str, ...]:
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    models = (re.search(r"Model:\s*(.+)", read_text(file) or "") for file in files)
    return tuple(match[1].strip() for match in models if match)


def _gpu_driver(root: Path) -> str | None:
    said = read_text(root / "proc/driver/nvidia/version") or ""
    match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", said)  # an open module names x86_64 before
    return match[1] if match else None


def _whole(text: str | None) -> int | None:
    try:
        return int(text, 0) if text else None
    except ValueError:
        return None
