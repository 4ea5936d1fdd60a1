from __future__ import annotations

from itertools import pairwise

import pytest

from perfmodel.domain.fleet import windows_of
from perfmodel.domain.workload import DiurnalArrivals, PoissonArrivals
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


def test_constant_traffic_is_one_window() -> None:
    assert [window.rate_qps for window in windows_of(PoissonArrivals(rate_qps=5.0), 96)] == [5.0]


def test_a_day_needs_a_window() -> None:
    with pytest.raises(InputError, match="windows: expected at least 1, got 0"):
        windows_of(DAY, 0)
