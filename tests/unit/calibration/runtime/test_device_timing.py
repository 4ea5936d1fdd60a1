"""Timing calls on an accelerator: who is held, for how long, and what the stamps cost; on a made-up clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from calibration.runtime import device_timing
from calibration.runtime.device_timing import device_call_seconds, issue_call_seconds, stamp_overhead_s
from calibration.runtime.memory import shrunk
from calibration.runtime.programme import Programme, build_programme
from perfmodel.planning.prepare import find_model
from tests.unit.calibration.runtime.standin import StandIn

STAMP_S = 1e-6


@dataclass(slots=True)
class Stamping(StandIn):
    """A device on which only time stamps take time: 1 us each."""

    now_s: float = 0.0

    def event(self) -> float:
        self.now_s += STAMP_S
        return self.now_s


@pytest.fixture(scope="module")
def programme() -> Programme:
    return build_programme(shrunk(find_model("dlrm-rmc1"), 1e-3))


def test_the_time_of_the_stamps_is_taken_off(programme: Programme) -> None:
    inputs = programme.many_inputs(2, 3, np.random.default_rng(0))
    card, issue_s = Stamping(), np.full(len(programme.calls), 1e-5)
    assert stamp_overhead_s(card) == pytest.approx(STAMP_S)
    seconds = device_call_seconds(programme, inputs, card, issue_s)
    assert seconds == pytest.approx(np.zeros((3, len(programme.calls))), abs=1e-12)


def test_the_device_is_held_for_longer_than_the_host_needs_to_issue_the_next_calls(
    programme: Programme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_timing, "_IN_A_HOLD", 8)
    calls, card = len(programme.calls), StandIn()
    device_call_seconds(
        programme, programme.many_inputs(2, 1, np.random.default_rng(0)), card, np.full(calls, 1e-5)
    )
    held_s = card.held_s[1:]  # the first is for the stamps
    assert len(held_s) == -(-calls // 8)
    assert all(held > 8 * 1e-5 for held in held_s[:-1])


def test_every_call_of_every_pass_is_timed(programme: Programme) -> None:
    inputs = programme.many_inputs(2, 3, np.random.default_rng(0))
    card, shape = StandIn(), (3, len(programme.calls))
    issue_s = issue_call_seconds(programme, inputs, card)
    assert issue_s.shape == shape
    assert np.all(issue_s > 0.0)
    assert device_call_seconds(programme, inputs, card, issue_s[0]).shape == shape
