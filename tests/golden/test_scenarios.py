"""Did an answer move? If it should have: `python -m tests.golden.scenarios`, and say why."""

from __future__ import annotations

import json

import pytest

from perfmodel.loading.shipped import shipped_names
from tests.golden.scenarios import ANSWERS, EACH_KIND, answer

RECORDED = json.loads(ANSWERS.read_text(encoding="utf-8"))


def flat(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {
            key: leaf for name, entry in value.items() for key, leaf in flat(entry, f"{path}/{name}").items()
        }
    return {path: value}


def test_every_shipped_scenario_has_a_recorded_answer() -> None:
    assert sorted(RECORDED) == shipped_names("scenario")
    assert set(EACH_KIND) <= set(RECORDED)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [name if name in EACH_KIND else pytest.param(name, marks=pytest.mark.slow) for name in RECORDED]
)
def test_no_scenario_answers_otherwise_than_before(name: str) -> None:
    expected, found = flat(RECORDED[name]), flat(answer(name))
    assert found.keys() == expected.keys()
    moved = {
        key: (expected[key], value)
        for key, value in found.items()
        if value != (pytest.approx(expected[key], rel=2e-3) if isinstance(value, float) else expected[key])
    }
    assert not moved
