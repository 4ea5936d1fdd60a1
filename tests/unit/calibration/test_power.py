"""Energy meters, on trees and libraries written for the test."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calibration.power import energy_of, nvml_meter, rapl_meter

RANGE_UJ = 262_143_000_000


def domain(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    path = root / "sys/class/powercap" / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    set_energy(path, energy_uj)
    return path


def set_energy(path: Path, energy_uj: int) -> None:
    (path / "energy_uj").write_text(f"{energy_uj}\n")


def seconds(*times_s: float) -> Any:
    ticks: Iterator[float] = iter(times_s)
    return lambda: next(ticks)


def test_packages_and_memory_add_up_and_what_lies_inside_them_does_not(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    domain(tmp_path, "intel-rapl:0:0", "core", 0)
    memory = domain(tmp_path, "intel-rapl:0:1", "dram", 2_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 0)
    meter = rapl_meter(tmp_path)
    assert meter is not None
    assert meter.source == "RAPL: package-0 + dram + package-1"
    with energy_of(meter, clock=seconds(10.0, 12.0)) as energy:
        assert energy.mean_w is None, "nothing is known before the end"
        set_energy(package, 151_000_000)
        set_energy(memory, 32_000_000)
        set_energy(second, 20_000_000)
    assert energy.joules == pytest.approx(150 + 30 + 20)
    assert energy.mean_w == pytest.approx(100)


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 5_000_000)
    meter = rapl_meter(tmp_path)
    assert meter is not None
    with energy_of(meter) as energy:
        set_energy(package, 7_000_000)
    assert energy.joules == pytest.approx(12)


def test_energy_is_kept_where_the_work_fails(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = rapl_meter(tmp_path)
    assert meter is not None
    with pytest.raises(KeyboardInterrupt), energy_of(meter) as energy:  # noqa: PT012  # what ends it
        set_energy(package, 1_000_000)
        raise KeyboardInterrupt
    assert energy.joules == pytest.approx(1)


def test_there_is_no_meter_where_there_are_no_counters(tmp_path: Path) -> None:
    assert rapl_meter(tmp_path) is None


def test_there_is_no_meter_where_the_counters_are_not_readable(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    (package / "energy_uj").unlink()
    assert rapl_meter(tmp_path) is None


class FakeNvml:
    """A GPU that has used 3 J more at each reading."""

    def __init__(self, *, energy_status: int = 0, limit_status: int = 0) -> None:
        self.energy_status, self.limit_status = energy_status, limit_status
        self.used_mj = 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: Any) -> int:  # noqa: N802, ARG002
        return 0 if index.value == 0 else 2

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, counter: Any) -> int:  # noqa: N802, ARG002
        self.used_mj += 3000
        counter._obj.value = self.used_mj
        return self.energy_status

    def nvmlDeviceGetName(self, handle: Any, name: Any, size: Any) -> int:  # noqa: N802, ARG002
        name.value = b"NVIDIA H200"
        return 0

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: Any, limit: Any) -> int:  # noqa: N802, ARG002
        limit._obj.value = 700_000
        return self.limit_status


def test_a_gpu_is_measured_by_its_energy_counter() -> None:
    meter = nvml_meter(open_library=lambda _: FakeNvml())
    assert meter is not None
    assert meter.source == "NVML: NVIDIA H200"
    with energy_of(meter, clock=seconds(0.0, 0.5)) as energy:
        pass
    assert energy.mean_w == pytest.approx(6.0)


@pytest.mark.parametrize(("status", "expected_w"), [(0, 700.0), (3, None)])
def test_a_gpu_says_what_it_may_draw_or_nothing(status: int, expected_w: float | None) -> None:
    meter = nvml_meter(open_library=lambda _: FakeNvml(limit_status=status))
    assert meter is not None
    assert meter.limit_w == (None if expected_w is None else pytest.approx(expected_w))


def missing_library(name: str) -> Any:
    raise OSError(name)


@pytest.mark.parametrize(
    ("index", "open_library"),
    [(0, missing_library), (1, lambda _: FakeNvml()), (0, lambda _: FakeNvml(energy_status=3))],
    ids=["no library", "no such GPU", "no counter"],
)
def test_there_is_no_meter_where_the_gpu_gives_none(index: int, open_library: Any) -> None:
    assert nvml_meter(index, open_library=open_library) is None
