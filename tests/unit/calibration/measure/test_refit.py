"""Fitting measurements anew: a profile that is there stays the profile of the machine that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from calibration.measure.refit import identity
from perfmodel.loading.shipped import find_profile


def test_a_profile_that_is_there_keeps_its_name_and_fingerprint() -> None:
    shipped = find_profile("amd-epyc-turin-2c").path
    name, taken = identity(shipped)
    assert name == "amd-epyc-turin-2c"
    assert taken.date[:4] == "2026"
    assert taken.machine.cores == 2


def test_a_new_profile_is_named_after_its_file_and_of_this_machine(tmp_path: Path) -> None:
    name, taken = identity(tmp_path / "mine.yaml")
    assert name == "mine"
    assert taken.software is not None
