"""Say where a profile was calibrated on another machine than the one that is measured.

A prediction is of the profile's machine, wherever it is made; only what is measured here is of this one.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from perfmodel.domain.fingerprint import Machine, machine_differences
from perfmodel.errors import CalibrationWarning
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.this_machine import read_machine


def warn_of_other_machine(path: Path) -> None:
    """Warn where the profile at `path` was calibrated on a machine that differs from this one.

    Raises
    ------
    InputError
        If there is no profile.

    Warns
    -----
    CalibrationWarning
        One line: what differs.
    """
    profile = read_profile(path)
    if profile.fingerprint is None:
        return
    note = other_machine_note(profile.name, profile.fingerprint.machine, read_machine())
    if note is not None:
        warnings.warn(note, CalibrationWarning, stacklevel=2)


def other_machine_note(profile: str, calibrated: Machine, here: Machine) -> str | None:
    """Say in a line what differs from the machine calibrated; where the CPU does, nothing else counts.

    Examples
    --------
    >>> there = Machine(cpu_model="Elbrus 8C", cores=8, threads=8, memory_gib=32.0)
    >>> other_machine_note("mine", there, there.model_copy(update={"cpu_model": "Elbrus 16C"}))
    'mine was calibrated on Elbrus 8C; this machine has Elbrus 16C'
    """
    if calibrated.cpu != here.cpu:
        return f"{profile} was calibrated on {calibrated.cpu}; this machine has {here.cpu}"
    differing = machine_differences(calibrated, here)
    if not differing:
        return None
    return f"{profile} was calibrated on a machine that differs from this one: {'; '.join(differing)}"
