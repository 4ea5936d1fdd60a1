"""What the control group of this process allows: processor time and memory, in versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_NO_LIMIT_BYTES = 2**60  # version 1 writes a number near 2**63 where there is no limit


def quota_cores(root: Path = Path("/")) -> float | None:
    """Cores' worth of processor time that the group and those around it allow; None: no limit. [cores]"""
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    return min(quotas, default=None)


def memory_limit_bytes(root: Path = Path("/")) -> float | None:
    """Memory that the group and those around it allow; None: no limit. [bytes]"""
    limits = []
    for folder in _folders(root, ""):
        limits += _numbers(folder / "memory.max")
    for folder in _folders(root, "memory"):
        limits += _numbers(folder / "memory.limit_in_bytes")
    return min((limit for limit in limits if limit < _NO_LIMIT_BYTES), default=None)


def _quotas_v2(root: Path) -> Iterator[float]:
    for folder in _folders(root, ""):
        numbers = _numbers(folder / "cpu.max")  # "quota period", or "max period"
        if len(numbers) == 2:
            yield numbers[0] / numbers[1]


def _quotas_v1(root: Path) -> Iterator[float]:
    for folder in _folders(root, "cpu"):
        quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
        if quota and period and quota[0] > 0:
            yield quota[0] / period[0]


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the process's group and of those around it; `controller` is empty for version 2.

    In a container the group's path may be the host's, which does not exist here: the top remains.
    """
    base = root / "sys/fs/cgroup"
    bases = [base / controller] if controller else [base, base / "unified"]
    path = PurePosixPath(_group(root, controller))
    for start in bases:
        for inner in (path, *path.parents):
            folder = start / str(inner).lstrip("/")
            if folder.is_dir():
                yield folder


def _group(root: Path, controller: str) -> str:
    """Path of the process's group under a controller, from lines such as `4:cpu,cpuacct:/user`."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return "/"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"


def _numbers(path: Path) -> list[float]:
    try:
        return [float(word) for word in path.read_text().split() if word != "max"]
    except (OSError, ValueError):
        return []
