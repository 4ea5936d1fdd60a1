"""Fingerprints: what counts as a difference, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from perfmodel.domain.fingerprint import Fingerprint, Machine, Software, differences

MACHINE = Machine(
    cpu_model="AMD EPYC",
    cpu_family=26,
    cpu_model_number=2,
    cpu_stepping=1,
    cpu_flags=("avx2", "avx512f"),
    cores=2,
    threads=4,
    l3_mib=32.0,
    memory_gib=24.0,
    turbo=True,
    kernel="6.1",
)
SOFTWARE = Software(python="3.11.7", torch="2.13.0", torch_build=("BLAS_INFO=mkl",), torch_threads=1)


def fingerprint(
    date: str = "2026-01-01", software: Software | None = SOFTWARE, **machine: Any
) -> Fingerprint:
    return Fingerprint(date=date, machine=MACHINE.model_copy(update=machine), software=software)


def test_nothing_differs_between_equal_fingerprints() -> None:
    assert differences(fingerprint(), fingerprint()) == ()


@pytest.mark.parametrize("change", [{"date": "2027-05-05"}, {"kernel": "6.2"}, {"memory_gib": 23.5}])
def test_what_does_not_change_the_speed_is_no_difference(change: dict[str, Any]) -> None:
    assert differences(fingerprint(), fingerprint(**change)) == ()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"cpu_model_number": 17},
            "CPU: calibrated AMD EPYC (family 26, model 2), here AMD EPYC (family 26, model 17)",
        ),
        ({"cpu_flags": ("amx_tile", "avx2")}, "CPU flags: calibrated avx512f, here amx_tile"),
        ({"cores": 1, "threads": 2}, "cores: calibrated 2, here 1"),
        ({"threads": 2}, "hardware threads: calibrated 4, here 2"),
        ({"quota_cores": 1.5}, "quota [cores]: calibrated none, here 1.5"),
        ({"l3_mib": 16.0}, "L3 [MiB]: calibrated 32, here 16"),
        ({"memory_gib": 12.0}, "memory [GiB]: calibrated 24, here 12"),
        ({"turbo": False}, "turbo: calibrated on, here off"),
        ({"hypervisor": "KVM"}, "hypervisor: calibrated none, here KVM"),
        ({"gpus": ("NVIDIA H200",)}, "GPUs: calibrated none, here NVIDIA H200"),
    ],
)
def test_each_difference_of_the_machine_is_a_line(change: dict[str, Any], line: str) -> None:
    assert differences(fingerprint(), fingerprint(**change)) == (line,)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"torch": "2.12.0"}, "torch: calibrated 2.13.0, here 2.12.0"),
        ({"torch_build": ("BLAS_INFO=open",)}, "torch build: calibrated BLAS_INFO=mkl, here BLAS_INFO=open"),
        ({"torch_threads": 2}, "torch threads: calibrated 1, here 2"),
        ({"environment": {"MALLOC_ARENA_MAX": "1"}}, "MALLOC_ARENA_MAX: calibrated none, here 1"),
    ],
)
def test_each_difference_of_the_software_is_a_line(change: dict[str, Any], line: str) -> None:
    assert differences(fingerprint(), fingerprint(software=SOFTWARE.model_copy(update=change))) == (line,)


def test_software_is_compared_only_where_both_know_it() -> None:
    assert differences(fingerprint(), fingerprint(software=None)) == ()
