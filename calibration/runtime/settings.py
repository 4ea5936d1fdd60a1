"""Settings of the process that every measurement and every worker shares: threads, allocator, pages."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from dataclasses import dataclass

import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc
_NEVER = 2**31 - 1
_TOP_PAD_BYTES = 64 * 2**20
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # read once by PyTorch, at its first allocation
_SET_HERE = "PERFPLAN_SET_HUGE_PAGES"
"""That the variable is ours, and not of whoever started us: processes that this one starts inherit both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings:
    """What a measurement holds for; part of a profile's fingerprint."""

    threads: int
    allocator: str
    huge_pages: str

    def describe(self) -> str:
        """All settings in one line."""
        return f"{self.threads} thread(s) a worker; {self.allocator}; {self.huge_pages}"


def apply_settings(*, threads: int = 1) -> RuntimeSettings:
    """Fix what disturbs the timing of small calls, and say what was fixed.

    Memory stays with the process once it has it (trimming and mapping cost page faults in every batch),
    and allocations of 2 MiB and more ask for huge pages, which random gathers feel. Call it before the
    process allocates its first tensor.

    Parameters
    ----------
    threads : int, default 1
        PyTorch threads of this process.
    """
    if os.environ.get(_HUGE_PAGES) != "1":
        os.environ[_HUGE_PAGES] = os.environ[_SET_HERE] = "1"
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    # Values of untrained recurrent layers may become denormal, which are slow and say nothing.
    torch.set_flush_denormal(True)
    return RuntimeSettings(threads=threads, allocator=_keep_memory(), huge_pages=_huge_pages())


def apply_plain_settings(*, threads: int = 1) -> RuntimeSettings:
    """Only what a server fixes that does nothing about its memory: threads; what was fixed, in words.

    A process whose parent asked for huge pages does not ask for them. Call it before the process allocates
    its first tensor.

    Parameters
    ----------
    threads : int, default 1
        PyTorch threads of this process.
    """
    if os.environ.pop(_SET_HERE, None) is not None:
        os.environ.pop(_HUGE_PAGES, None)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # of untrained recurrent layers, as in `apply_settings`
    return RuntimeSettings(threads=threads, allocator="malloc as it starts", huge_pages="as PyTorch asks")


def _keep_memory() -> str:
    """Tell glibc's malloc never to map or trim; what could be set, in words."""
    try:
        mallopt = ctypes.CDLL(ctypes.util.find_library("c")).mallopt
    except (OSError, AttributeError):
        return "allocator unchanged (no mallopt)"
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _TOP_PAD_BYTES))
    if all(mallopt(option, value) for option, value in wanted):
        return "mallopt: nothing mapped, nothing trimmed"
    return "allocator unchanged (mallopt refused)"


def _huge_pages() -> str:
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    try:
        with open(path, encoding="ascii") as file:
            mode = file.read()
    except OSError:
        return "huge pages unknown"
    chosen = mode[mode.find("[") + 1 : mode.find("]")]
    return f"huge pages asked for from 2 MiB (kernel: {chosen})"
