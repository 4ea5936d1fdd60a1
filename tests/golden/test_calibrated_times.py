"""Did a calibrated time move? If it should have: `python -m tests.golden.calibrated_times`, and say why."""

from __future__ import annotations

import json

import pytest

from perfmodel.domain.surface import LAW_NAMES
from tests.golden.calibrated_times import TIMES, times_us


def test_no_calibrated_time_is_another_than_before() -> None:
    recorded, found = json.loads(TIMES.read_text(encoding="utf-8")), times_us()
    assert found.keys() == recorded.keys()
    for case, by_family in found.items():
        assert by_family.keys() == recorded[case].keys()
        for family, times in by_family.items():
            # the rest is another order of sums in another library
            assert times == pytest.approx(recorded[case][family], rel=1e-9), (case, family)


def test_every_law_is_in_a_recorded_time() -> None:
    recorded = json.loads(TIMES.read_text(encoding="utf-8"))
    assert set(LAW_NAMES) <= {family for by_family in recorded.values() for family in by_family}
