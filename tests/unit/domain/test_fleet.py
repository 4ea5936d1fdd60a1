from __future__ import annotations

from itertools import pairwise

import pytest

from perfmodel.domain.fleet import windows_of
from perfmodel.domain.workload import DiurnalArrivals, RateStage, StagedArrivals
from perfmodel.errors import InputError

DAY = DiurnalArrivals(rate_qps=1000.0, amplitude=0.6)


def test_windows_cover_the_day_and_hold_all_of_its_queries() -> None:
    windows = windows_of(DAY, 96)
    assert windows[0].start_s == 0.0
    assert windows[-1].end_s == 86400.0
    assert all(after.start_s == before.end_s for before, after in pairwise(windows))
    queries = sum(window.rate_qps * (window.end_s - window.start_s) for window in windows)
    assert queries == pytest.approx(1000.0 * 86400.0)


def test_the_busiest_window_is_a_quarter_of_the_day_in() -> None:
    windows = windows_of(DAY, 97)
    busiest = max(windows, key=lambda window: window.rate_qps)
    assert busiest.start_s < 21600.0 < busiest.end_s
    assert busiest.rate_qps == pytest.approx(1600.0, rel=1e-3)


def test_windows_of_stages_begin_where_a_stage_does_and_hold_all_of_its_queries() -> None:
    stages = (
        RateStage(duration_s=400.0, rate_qps=10.0, to_qps=50.0),
        RateStage(duration_s=100.0, rate_qps=90.0),
        RateStage(duration_s=500.0, rate_qps=0.0),
    )
    windows = windows_of(StagedArrivals(stages=stages), 4)
    assert [window.start_s for window in windows] == [0.0, 250.0, 400.0, 500.0, 750.0]
    # The ramp is 22.5 a second in the middle of its first 250 s, and 42.5 in that of the other 150 s.
    assert [window.rate_qps for window in windows] == pytest.approx([22.5, 42.5, 90.0, 0.0, 0.0])
    queries = sum(window.rate_qps * (window.end_s - window.start_s) for window in windows)
    assert queries == pytest.approx(12_000.0 + 9_000.0)
    twice = windows_of(StagedArrivals(stages=stages, rate_qps=42.0), 4)  # 21 as they are written
    assert [window.rate_qps for window in twice] == pytest.approx([45.0, 85.0, 180.0, 0.0, 0.0])


def test_a_day_needs_a_window() -> None:
    with pytest.raises(InputError, match="windows: expected at least 1, got 0"):
        windows_of(DAY, 0)
