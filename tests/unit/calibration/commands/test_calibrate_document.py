"""What `perfplan calibrate --json` says of a profile follows its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from calibration.commands.calibrate import _next_steps, _summary
from calibration.documents import CalibrateDocument
from perfmodel.loading.derived_profile import measured_document
from perfmodel.loading.shipped import shipped_directory
from perfmodel.loading.yaml_source import read_yaml

pytest.importorskip("torch")
from calibration.measure.records import read_records  # these need torch

RAW = Path(__file__).parents[4] / "calibration" / "raw" / "amd-epyc-turin-2c.measured.csv"


@pytest.mark.thorough
def test_the_summary_of_a_calibration_follows_its_schema() -> None:
    out = shipped_directory("profile") / "amd-epyc-turin-2c.yaml"
    values: Any = measured_document(read_yaml(out)).data()
    summary = _summary(out, values, RAW, read_records(RAW))
    adapter = TypeAdapter(CalibrateDocument)
    adapter.validate_json(json.dumps(summary))
    adapter.validate_json(json.dumps({**summary, "profile": values}))
    assert summary["calls"] > 1000
    assert summary["relative_error"] == values["stacks"]["pytorch"]["relative_error"]["value"]


def test_only_a_profile_without_costs_of_modules_is_said_to_lack_them() -> None:
    def lines(stack: dict[str, Any]) -> list[str]:
        return _next_steps(Path("here.yaml"), {"stacks": {"pytorch": stack}}, "cpu")

    assert lines({"served": {"eager": {}}}) == ["try: perfplan latency --model dlrm-rmc1 --on here.yaml"]
    assert "too few passes" in lines({})[0]
