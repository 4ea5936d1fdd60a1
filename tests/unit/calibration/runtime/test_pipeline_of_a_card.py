"""What is measured of a made-up asynchronous card, put together again, is how long its passes take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from calibration.runtime import device_timing
from calibration.runtime.device_timing import device_call_seconds, issue_call_seconds
from perfmodel.costmodel.issue import Issued, contributions_s
from perfmodel.domain.hardware import LaunchCosts

US = 1e-6
LATENCY_S, STAMP_S = 4 * US, 1.3 * US


@dataclass(slots=True)
class AsynchronousCard:
    """Host and device each with a clock of its own, that nothing but this class moves."""

    host_s: float = 0.0
    free_s: float = 0.0

    def launch(self, issue_s: float, device_s: float) -> float:
        """Issue a kernel; when it ends."""
        self.host_s += issue_s
        self.free_s = max(self.free_s, self.host_s + LATENCY_S) + device_s
        return self.free_s

    def event(self) -> float:
        return self.launch(0.5 * US, STAMP_S)

    def is_taken(self, event: float) -> bool:
        return event <= self.host_s

    def elapsed_s(self, start: float, end: float) -> float:
        return end - start

    def hold(self, seconds: float) -> None:
        self.launch(2 * US, seconds)

    def synchronise(self) -> None:
        self.host_s = max(self.host_s, self.free_s)

    def clock(self) -> float:
        return self.host_s


def programme_of(card: AsynchronousCard, calls: Sequence[tuple[float, float]]) -> Any:
    """A programme of calls with these issue and device times."""

    def call(issue_s: float, device_s: float) -> SimpleNamespace:
        return SimpleNamespace(run=lambda _slots: card.launch(issue_s, device_s), frees=())

    return SimpleNamespace(calls=[call(*times) for times in calls], slots=lambda _inputs: [])


@pytest.mark.parametrize("device_us", [1.0, 8.0, 60.0])  # the host is slower, as fast, and far ahead
def test_times_measured_apart_give_the_time_of_a_pass(
    device_us: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, card = np.random.default_rng(0), AsynchronousCard()
    calls = [
        (a * US, k * US)
        for a, k in zip(rng.uniform(4, 12, 130), rng.exponential(device_us, 130), strict=True)
    ]
    programme = programme_of(card, calls)
    monkeypatch.setattr(device_timing, "perf_counter", card.clock)

    issue_s = issue_call_seconds(programme, [None, None], card)[0]
    device_s = device_call_seconds(programme, [None, None], card, issue_s)[1]
    assert issue_s == pytest.approx([a for a, _ in calls])
    assert device_s == pytest.approx([k for _, k in calls])

    card.synchronise()
    started_s = card.host_s
    for one in programme.calls:
        one.run([])
    kernels = [Issued(a, np.array(k), 1) for a, k in zip(issue_s.tolist(), device_s.tolist(), strict=True)]
    parts = contributions_s(kernels, np.array(0.0), LaunchCosts(issue={}, latency_s=LATENCY_S))
    assert float(np.sum(parts)) == pytest.approx(card.free_s - started_s)
