"""Timing calls on an accelerator: who is held, for how long, and what the stamps cost; on a made-up clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from calibration.runtime import device_timing
from calibration.runtime.device_timing import (
    device_call_seconds,
    held_intervals_s,
    issue_call_seconds,
    stamp_overhead_s,
)
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


@dataclass(slots=True)
class Queueing(StandIn):
    """A device behind a host that needs 40 us to issue a stamp; each takes the device 1 us.

    So slow a host overruns a first guess of how long to hold the device: the stamps behind would wait for it.
    """

    host_s: float = 0.0
    free_s: float = 0.0

    def synchronise(self) -> None:
        self.host_s = max(self.host_s, self.free_s)

    def hold(self, seconds: float) -> None:
        self.free_s = max(self.free_s, self.host_s) + seconds
        self.held_s.append(seconds)

    def event(self) -> float:
        self.host_s += 40e-6
        self.free_s = max(self.free_s, self.host_s) + STAMP_S
        return self.free_s

    def is_taken(self, event: float) -> bool:
        return event <= self.host_s


@pytest.fixture(scope="module")
def programme() -> Programme:
    return build_programme(shrunk(find_model("dlrm-rmc1"), 1e-3))


def test_the_time_of_the_stamps_is_taken_off(programme: Programme) -> None:
    inputs = programme.many_inputs(2, 3, np.random.default_rng(0))
    card, issue_s = Stamping(), np.full(len(programme.calls), 1e-5)
    assert stamp_overhead_s(card) == pytest.approx(STAMP_S)
    seconds = device_call_seconds(programme, inputs, card, issue_s)
    assert seconds == pytest.approx(np.zeros((3, len(programme.calls))), abs=1e-12)


def test_no_stamp_waits_for_a_host_that_is_slower_than_expected(programme: Programme) -> None:
    card = Queueing()
    assert stamp_overhead_s(card) == pytest.approx(STAMP_S)
    assert len(card.held_s) > 1  # the first hold was too short
    inputs = programme.many_inputs(2, 2, np.random.default_rng(0))
    seconds = device_call_seconds(programme, inputs, card, np.full(len(programme.calls), 1e-9))
    assert seconds == pytest.approx(np.zeros((2, len(programme.calls))), abs=1e-12)


def test_what_never_gets_ahead_of_the_device_is_taken_as_it_is() -> None:
    class Late(StandIn):
        def is_taken(self, event: float) -> bool:
            return event > 0.0

    card = Late()
    assert len(held_intervals_s(card, lambda: [card.event(), card.event()], hold_s=1e-3)) == 1
    assert max(card.held_s) <= 0.02


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
