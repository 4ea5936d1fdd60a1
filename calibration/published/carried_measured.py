"""The `pytorch` stack of a calibrated machine carried to another, held against passes measured there.

What is compared are the whole passes that an accuracy report of the second machine holds, of the eight
models: no part of its calibration. Beside stands how far off its own profile is on the same passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from calibration.published.compare import shipped_models
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.loading.derived_profile import DerivedFile, HardwareChanges, derived, distance, read_profile
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.shipped import find_file
from perfmodel.loading.yaml_source import parse_yaml
from perfmodel.units import MS

STACK = "pytorch"
REPORTS = Path(__file__).parents[2] / "docs" / "reports"
ALL_CORES_GHZ = {"amd-epyc-turin-2c": 4.1, "intel-xeon-emerald-16c": 3.0}
"""Assumed, as in the shipped machines that are derived from these two. [GHz]"""
CPUS = (
    ("amd-epyc-turin-2c", "intel-xeon-emerald-16c"),
    ("intel-xeon-emerald-16c", "amd-epyc-turin-2c"),
)
CARD = ("h200", "h100", "h100-80gb")
"""Whose stack, the shipped machine from a data sheet, and the calibrated one that was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedPasses:
    """A stack on another machine than its own, and that machine's own profile.

    Attributes
    ----------
    base, machine : str
        Whose costs, and whose passes.
    distance : float
        Between their hardware. [ln]
    errors, own_errors : tuple of float
        Of each pass, by the carried stack and by the machine's own calibration. [1]
    """

    base: str
    machine: str
    distance: float
    errors: tuple[float, ...]
    own_errors: tuple[float, ...]

    @property
    def mean_error(self) -> float:
        """Mean absolute error of the carried stack. [1]"""
        return fmean(map(abs, self.errors))

    @property
    def own_mean_error(self) -> float:
        """The same of the machine's own profile. [1]"""
        return fmean(map(abs, self.own_errors))


def carried_passes() -> Iterator[CarriedPasses]:
    """Carry each stack, and compare it with what was measured."""
    base, sheet, machine = CARD
    own = read_profile(find_file("profile", base))
    changes = DerivedFile.model_validate(_plain(sheet)).changes
    carried = read_profile(find_file("profile", sheet)).device(STACK)
    yield _compared(base, machine, distance(own, changes), carried)
    for base, machine in CPUS:
        own, target = (read_profile(find_file("profile", name)) for name in (base, machine))
        changes = _changes_to(own, target)
        given = DerivedFile(name=machine, base=base, changes=changes, stacks=(STACK,))
        source = parse_yaml(f"name: {machine}\nbase: {base}\n", f"{machine}.yaml")
        yield _compared(base, machine, distance(own, changes), derived(given, own, source).device(STACK))


def _plain(profile: str) -> Any:
    path = find_file("profile", profile)
    return parse_yaml(path.read_text(encoding="utf-8"), path.name).data()


def _changes_to(own: ProfileFile, target: ProfileFile) -> HardwareChanges:
    """What the second machine states of its hardware, and the ratio of the clocks."""
    stated = {
        key: getattr(target.hardware, key).model_dump()
        for key in HardwareChanges.model_fields
        if key != "clock_ratio" and getattr(target.hardware, key) is not None
    }
    clock = ALL_CORES_GHZ[target.name] / ALL_CORES_GHZ[own.name]
    stated["clock_ratio"] = {"value": clock, "source": "assumed: clocks with all cores busy"}
    return HardwareChanges.model_validate(stated)


def _compared(base: str, machine: str, away: float, carried: Device) -> CarriedPasses:
    calibrated = read_profile(find_file("profile", machine)).device(STACK)
    return CarriedPasses(
        base=base,
        machine=machine,
        distance=away,
        errors=tuple(_errors(machine, carried)),
        own_errors=tuple(_errors(machine, calibrated)),
    )


def _errors(machine: str, device: Device) -> Iterator[float]:
    """Of each model and batch size that the machine's report holds. [1]"""
    models = shipped_models()
    for measured in _measured(machine):
        rows = measured["rows"]
        batches = np.array([float(row["batch_size"]) for row in rows])
        predicted_s = batch_time(models[measured["model"]], device, batches).seconds
        measured_s = np.array([row["measured_ms"] * MS for row in rows])
        yield from (predicted_s / measured_s - 1.0).tolist()


def _measured(machine: str) -> list[Mapping[str, Any]]:
    found = json.loads((REPORTS / f"accuracy-{machine}.json").read_text(encoding="utf-8"))
    models: list[Mapping[str, Any]] = found if isinstance(found, list) else found["models"]
    return models


def measured_table() -> Iterator[str]:
    """A line for each pair. Markdown."""
    yield "| pytorch stack of | on | distance [ln] | passes | mean error | its own profile |"
    yield "|---|---|---|---|---|---|"
    for each in carried_passes():
        yield (
            f"| {each.base} | {each.machine} | {each.distance:.2f} | {len(each.errors)} "
            f"| {100 * each.mean_error:.1f} % | {100 * each.own_mean_error:.1f} % |"
        )
