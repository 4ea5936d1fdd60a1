"""Threads in a worker: what they share out of each kind of call is found again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")

from calibration.measure.threaded import parallel_fraction
from perfmodel.costmodel.threads import thread_factor


@pytest.mark.parametrize("share", [0.0, 0.35, 0.9, 1.0])
def test_what_is_shared_out_is_found_again(share: float) -> None:
    ratios = {threads: thread_factor(share, threads) for threads in (2, 4, 8)}
    assert parallel_fraction(ratios) == pytest.approx(share)


def test_a_kind_that_threads_slow_down_shares_out_nothing() -> None:
    assert parallel_fraction({2: 1.4}) == 0.0
    assert parallel_fraction({2: 0.3}) == 1.0  # faster than shared out: as cold as the measurement was


def test_ratios_lie_between_those_of_few_and_many_threads() -> None:
    by_hand = parallel_fraction({2: 0.75, 4: 0.75})
    assert parallel_fraction({4: 0.75}) < by_hand < parallel_fraction({2: 0.75}) == 0.5
    # least squares: (0.25 x 0.5 + 0.25 x 0.75) / (0.5² + 0.75²)
    assert by_hand == pytest.approx(0.3125 / 0.8125)


@pytest.mark.slow
def test_two_threads_are_timed_beside_one() -> None:
    # In an interpreter of its own, set as a calibration sets it: a fork of one whose thread pool has started,
    # by its own pool's weights or another test, waits for ever.
    code = (
        "import json; from calibration.measure.threaded import threaded_ratios; "
        "from calibration.runtime.settings import apply_settings; apply_settings(); "
        "from calibration.measure.visits import allocate_pool; "
        "print(json.dumps(threaded_ratios(allocate_pool(2e8), 6.0, 2)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    ratios = json.loads(run.stdout)
    assert "fc" in ratios
    assert all(ratio > 0.2 for ratio in ratios.values())
