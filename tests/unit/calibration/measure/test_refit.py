"""Fitting measurements anew: a profile that is there stays the profile of the machine that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from calibration.measure.refit import identity
from perfmodel.errors import InputError
from perfmodel.loading.shipped import find_profile


def test_a_profile_that_is_there_keeps_its_name_and_fingerprint() -> None:
    shipped = find_profile("amd-epyc-turin-2c").path
    name, taken = identity(shipped)
    assert name == "amd-epyc-turin-2c"
    assert taken.date[:4] == "2026"
    assert taken.machine.cores == 2


@pytest.mark.parametrize("text", ["hello: 1\n", "- 1\n", "name: x\nfingerprint: {date: today}\n"])
def test_a_file_of_something_else_is_not_overwritten(text: str, tmp_path: Path) -> None:
    other = tmp_path / "notes.yaml"
    other.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"notes.yaml: expected a calibrated profile"):
        identity(other)


def test_a_new_profile_is_named_after_its_file_and_of_this_machine(tmp_path: Path) -> None:
    name, taken = identity(tmp_path / "mine.yaml")
    assert name == "mine"
    assert taken.software is not None
