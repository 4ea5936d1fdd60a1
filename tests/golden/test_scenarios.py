"""Did an answer move? If it should have: `python -m tests.golden.scenarios`, and say why."""

from __future__ import annotations

import json

import pytest

from tests.golden.scenarios import ANSWERS, answers


def flat(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {
            key: leaf for name, entry in value.items() for key, leaf in flat(entry, f"{path}/{name}").items()
        }
    return {path: value}


def test_no_scenario_answers_otherwise_than_before() -> None:
    expected, found = flat(json.loads(ANSWERS.read_text(encoding="utf-8"))), flat(answers())
    assert found.keys() == expected.keys()
    moved = {
        key: (expected[key], value)
        for key, value in found.items()
        if value != (pytest.approx(expected[key], rel=2e-3) if isinstance(value, float) else expected[key])
    }
    assert not moved
