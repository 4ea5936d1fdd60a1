"""Where torch is not installed, the commands that need it say so in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration.commands import torch_needed
from perfmodel.cli.main import main


def test_import_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_needed, "find_spec", lambda _: None)
    assert main(["import", "anything:model", "--out", str(tmp_path / "x.yaml")]) == 2
    assert capsys.readouterr().err == "this command needs PyTorch: pip install 'perfplan[calibration]'\n"
