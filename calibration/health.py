"""What on this machine would disturb a measurement: what is found, why it matters, and what helps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from math import isinf
from pathlib import Path
from statistics import median
from typing import Literal

from calibration.documents import CheckDocument
from calibration.power import nvml_meter, rapl_domains, rapl_meter
from perfmodel.domain.fingerprint import Machine
from perfmodel.loading.this_machine import read_machine, read_text
from perfmodel.units import MS

SPIN_S = 0.3
_BUSY_LOAD = 0.3
_FREE_GIB = 4.0
_NOISE = 0.02
_STEAL = 0.01
_COARSE_NS = 1000
_PROBES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: fine, or what follows from it and what to do; or nothing could be read (`unknown`)."""

    name: str
    value: str
    consequence: str = ""
    remedy: str = ""
    blocks: bool = False
    unknown: bool = False

    @property
    def status(self) -> Literal["ok", "unknown", "warn", "blocks"]:
        """`ok`, `unknown`, `warn` or `blocks`."""
        if self.unknown:
            return "unknown"
        if not self.consequence:
            return "ok"
        return "blocks" if self.blocks else "warn"

    def to_dict(self) -> CheckDocument:
        """Plain values for `--json`."""
        return {
            "name": self.name,
            "status": self.status,
            "value": self.value,
            "consequence": self.consequence or None,
            "remedy": self.remedy or None,
        }


def examine(
    root: Path = Path("/"), *, spin_s: float = SPIN_S, machine: Machine | None = None
) -> list[Finding]:
    """Run every check, most of them by reading; one spins on a core for `spin_s` [s], one reads memory."""
    here = machine or read_machine(root)
    return [
        _load(root, here),
        _governor(here),
        _turbo(here),
        _siblings(here),
        _quota(here),
        _virtual(here),
        _steal(root),
        _huge_pages(here),
        _swap(root),
        _free_memory(root),
        _timer(),
        _torch(),
        _power(root),
        scheduling_noise(spin_s),
        shared_cache(),
    ]


def _finding(
    name: str, value: str, bad: bool, consequence: str, remedy: str, *, blocks: bool = False
) -> Finding:
    if not bad:
        return Finding(name=name, value=value)
    return Finding(name=name, value=value, consequence=consequence, remedy=remedy, blocks=blocks)


def _unknown(name: str, value: str = "not shown here") -> Finding:
    return Finding(name=name, value=value, unknown=True)


def _load(root: Path, here: Machine) -> Finding:
    words = (read_text(root / "proc/loadavg") or "").split()
    if not words:
        return _unknown("load")
    return _finding(
        "load",
        f"{words[0]} runnable over the last minute, {here.threads} hardware threads",
        float(words[0]) > _BUSY_LOAD,
        "other work takes time and cache from what is measured",
        "stop other processes (top shows them), or wait a minute",
    )


def _governor(here: Machine) -> Finding:
    if here.governor is None:
        return _unknown("frequency governor")
    return _finding(
        "frequency governor",
        here.governor,
        here.governor != "performance",
        "clocks ramp up while short runs are measured",
        "sudo cpupower frequency-set -g performance",
    )


def _turbo(here: Machine) -> Finding:
    if here.turbo is None:
        return _unknown("turbo")
    return _finding(
        "turbo",
        "on" if here.turbo else "off",
        here.turbo,
        "clocks fall as more cores work: contention measured includes it, and it drifts with temperature",
        "leave it on if production has it on; else echo 0 > /sys/devices/system/cpu/cpufreq/boost "
        "(Intel: echo 1 > .../intel_pstate/no_turbo)",
    )


def _siblings(here: Machine) -> Finding:
    return _finding(
        "hyper-threads",
        f"{here.threads} threads on {here.cores} cores",
        here.threads > here.cores,
        "two workers may share a core and slow each other down by up to half",
        "pin to one thread of each core: taskset -c with the first of each "
        "/sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
    )


def _quota(here: Machine) -> Finding:
    quota = here.quota_cores
    return _finding(
        "processor quota",
        "none" if quota is None else f"{quota:g} cores",
        quota is not None and quota < here.threads,
        f"{here.threads} busy workers are stopped for part of every 100 ms",
        "raise the container's limit (docker --cpus, Kubernetes limits.cpu) or calibrate with fewer cores",
    )


def _virtual(here: Machine) -> Finding:
    return _finding(
        "virtualisation",
        "none" if here.hypervisor is None else f"a virtual machine ({here.hypervisor})",
        here.hypervisor is not None,
        "neighbours share caches and memory bandwidth: seconds differ by up to 15 %",
        "expect a wider error, or calibrate on a dedicated host",
    )


def _steal(root: Path) -> Finding:
    first = (read_text(root / "proc/stat") or "").partition("\n")[0].split()[1:]
    ticks = [int(word) for word in first]
    total = sum(ticks)
    if len(ticks) <= 7 or not total:
        return _unknown("steal time")
    share = ticks[7] / total
    return _finding(
        "steal time",
        f"{100 * share:.2f} % since boot",
        share > _STEAL,
        "the hypervisor gave this machine's time to others",
        "use a machine with dedicated cores",
    )


def _huge_pages(here: Machine) -> Finding:
    if here.huge_pages is None:
        return _unknown("huge pages")
    return _finding(
        "huge pages",
        here.huge_pages,
        here.huge_pages == "never",
        "embedding lookups are 20 to 36 % slower with small pages",
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled, if production has it",
    )


def _swap(root: Path) -> Finding:
    listed = read_text(root / "proc/swaps")
    if listed is None:
        return _unknown("swap")
    areas = listed.splitlines()[1:]
    used_mib = sum(int(area.split()[3]) for area in areas) / 1024
    return _finding(
        "swap",
        f"{used_mib:.0f} MiB used" if areas else "none",
        used_mib > 0,
        "tables that were swapped out are read from disk",
        "free memory, then sudo swapoff -a",
    )


def _free_memory(root: Path) -> Finding:
    lines = (read_text(root / "proc/meminfo") or "").splitlines()
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    if found is None:
        return _unknown("free memory")
    free_gib = int(found) / 2**20
    return _finding(
        "free memory",
        f"{free_gib:.1f} GiB",
        free_gib < _FREE_GIB,
        "large tables cannot be measured at full size",
        f"free at least {_FREE_GIB:g} GiB",
    )


def _timer() -> Finding:
    steps = [_timer_step_ns() for _ in range(50)]
    step = min(steps)
    return _finding(
        "timer",
        f"steps of {step} ns",
        step > _COARSE_NS,
        "short calls cannot be timed one by one",
        "use a kernel clock source of tsc or kvm-clock",
    )


def _timer_step_ns() -> int:
    start = now = time.perf_counter_ns()
    while now == start:
        now = time.perf_counter_ns()
    return now - start


def _torch() -> Finding:
    if find_spec("torch") is None:
        return Finding(
            name="torch",
            value="not installed",
            consequence="nothing can be measured",
            remedy="pip install 'perfplan[calibration]'",
            blocks=True,
        )
    return Finding(
        name="torch", value=f"installed; OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}"
    )


def _power(root: Path) -> Finding:
    meters = [meter.source for meter in (rapl_meter(root), nvml_meter()) if meter is not None]
    hidden = bool(rapl_domains(root)) and not meters
    return _finding(
        "power",
        ", ".join(meters) or ("counters are not readable" if hidden else "no counters"),
        not meters,
        "power is assumed from the TDP",
        "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" if hidden else "a host with RAPL or NVML",
    )


def scheduling_noise(
    spin_s: float = SPIN_S,
    *,
    wall: Callable[[], float] = time.perf_counter,
    own: Callable[[], float] = time.thread_time,
) -> Finding:
    """Spin, and compare the time that passed with the time that the thread was given."""
    wall_start, own_start = wall(), own()
    while (passed := wall() - wall_start) < spin_s:
        pass
    lost = max(0.0, 1.0 - (own() - own_start) / passed)
    return _finding(
        "scheduling noise",
        f"{100 * lost:.1f} % of {1e3 * passed:.0f} ms lost",
        lost > _NOISE,
        "other threads interrupt what is measured",
        "stop other processes, or pin to an idle core with taskset",
    )


def shared_cache(measured_s: Callable[[], float] | None = None) -> Finding:
    """How long the last-level cache keeps what nobody reads: not for long where neighbours fill it."""
    name = "last-level cache"
    if measured_s is None and find_spec("torch") is None:
        return _unknown(name, "not read: needs torch")
    lifetime_s = (measured_s or _l3_lifetime_s)()
    return _finding(
        name,
        "keeps what nobody reads" if isinf(lifetime_s) else f"keeps lines for {lifetime_s / MS:.1f} ms",
        not isinf(lifetime_s),
        "neighbours on this host fill it: lookups and large weights take longer than they would alone, "
        "and as long as today only while the neighbours do what they do",
        "a dedicated host, or a cache partition of your own; or calibrate again when it has changed by half",
    )


def _l3_lifetime_s() -> float:
    import torch  # who only asks for a machine's state need not have it

    from calibration.measure.probes import PROBED_BYTES, l3_lifetime_s
    from calibration.measure.visits import allocate_pool

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pool = allocate_pool(PROBED_BYTES)
        return median(l3_lifetime_s(pool) for _ in range(_PROBES))
    finally:
        torch.set_num_threads(threads)
