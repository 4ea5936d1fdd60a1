"""What is read from /proc and /sys, on trees written for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.loading.control_groups import memory_limit_bytes, quota_cores
from perfmodel.loading.this_machine import read_machine
from perfmodel.units import GIB

CPU = "sys/devices/system/cpu"
XEON = {
    "proc/cpuinfo": "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Intel Xeon Gold 6138\n"
    "stepping\t: 4\nflags\t\t: fpu sse4_2 avx avx2 fma avx512f\n\nprocessor\t: 1\nmodel name\t: another\n",
    "proc/meminfo": "MemTotal:       67108864 kB\nMemFree: 1 kB\n",
    "proc/sys/kernel/osrelease": "6.1.0\n",
    "proc/self/cgroup": "0::/jobs/one\n",
    f"{CPU}/cpu0/topology/thread_siblings_list": "0,2\n",
    f"{CPU}/cpu1/topology/thread_siblings_list": "1,3\n",
    f"{CPU}/cpu2/topology/thread_siblings_list": "0,2\n",
    f"{CPU}/cpu0/cache/index0/level": "1\n",
    f"{CPU}/cpu0/cache/index0/type": "Data\n",
    f"{CPU}/cpu0/cache/index0/size": "32K\n",
    f"{CPU}/cpu0/cache/index1/level": "1\n",
    f"{CPU}/cpu0/cache/index1/type": "Instruction\n",
    f"{CPU}/cpu0/cache/index1/size": "64K\n",
    f"{CPU}/cpu0/cache/index3/level": "3\n",
    f"{CPU}/cpu0/cache/index3/type": "Unified\n",
    f"{CPU}/cpu0/cache/index3/size": "28160K\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/intel_pstate/no_turbo": "1\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/devices/system/node/node0/x": "1",
    "sys/devices/system/node/node1/x": "1",
}


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_is_read_from_its_files(tmp_path: Path) -> None:
    machine = read_machine(write_tree(tmp_path, XEON), usable_threads=(0, 1, 2))
    assert machine.cpu == "Intel Xeon Gold 6138 (family 6, model 85)"
    assert machine.cpu_stepping == 4
    assert machine.cpu_flags == ("avx", "avx2", "avx512f", "fma", "sse4_2")
    assert (machine.cores, machine.threads) == (2, 3), "threads 0 and 2 share a core"
    assert (machine.l1d_kib, machine.l2_kib, machine.l3_mib) == (32.0, None, 27.5)
    assert machine.memory_gib == 64.0
    assert machine.numa_nodes == 2
    assert machine.hypervisor is None
    assert (machine.governor, machine.turbo, machine.huge_pages) == ("powersave", False, "madvise")
    assert (machine.gpus, machine.gpu_driver) == ((), None)
    assert machine.kernel == "6.1.0"


def test_a_machine_that_shows_nothing_is_still_described(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, usable_threads=(0, 1))
    assert (machine.cores, machine.threads, machine.memory_gib) == (2, 2, 0.0)
    assert machine.turbo is None


def test_hypervisor_gpu_and_boost_are_read_where_they_are_written(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "flags : hypervisor avx2\n",
        "sys/class/dmi/id/sys_vendor": "QEMU\n",
        f"{CPU}/cpufreq/boost": "1\n",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H200\nIRQ: 1\n",
        "proc/driver/nvidia/version": "NVRM version: NVIDIA Open Kernel Module for x86_64  550.54.15  Tue\n",
    }
    machine = read_machine(write_tree(tmp_path, files), usable_threads=(0,))
    assert (machine.hypervisor, machine.turbo) == ("QEMU", True)
    assert (machine.gpus, machine.gpu_driver) == (("NVIDIA H200",), "550.54.15")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, None),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/job\n0::/\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        # A container's own mount shows the group's limit at its top, though its path is the host's.
        ({"proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        ({}, None),
    ],
)
def test_the_tightest_quota_around_the_process_counts(
    tmp_path: Path, files: dict[str, str], cores: float | None
) -> None:
    assert quota_cores(write_tree(tmp_path, files)) == cores


def test_a_memory_limit_lowers_the_memory_of_the_machine(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {**XEON, "sys/fs/cgroup/jobs/memory.max": f"{8 * GIB}\n"})
    assert memory_limit_bytes(root) == 8 * GIB
    assert read_machine(root, usable_threads=(0,)).memory_gib == 8.0


def test_the_huge_number_that_means_no_limit_is_none(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
    }
    assert memory_limit_bytes(write_tree(tmp_path, files)) is None
