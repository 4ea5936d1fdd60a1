"""The sorted completions, one step at a time, against a sorted list."""

from __future__ import annotations

from bisect import insort

import numpy as np
import pytest

from perfmodel.sim.completions import (
    LANES,
    all_idle,
    blocks_for,
    count_after,
    next_start_s,
    sorted_in,
)
from perfmodel.sim.machine_code import compiled


@compiled
def replay(blocks, num_executors, services_s, starts_s, counts):  # type: ignore[no-untyped-def]
    """Start one request after another as soon as an executor is free; note when, and how many others run."""
    pool = all_idle(blocks, num_executors)
    start_s, last_end_s = 0.0, -np.inf
    for request in range(len(services_s)):
        start_s = next_start_s(pool, last_end_s, start_s)
        pool = sorted_in(pool, last_end_s)
        starts_s[request] = start_s
        counts[request] = count_after(pool, start_s) - (len(blocks) * LANES - num_executors)
        last_end_s = start_s + services_s[request]


@pytest.mark.thorough_cases("40", "70")
@pytest.mark.parametrize("num_executors", [1, 2, 7, 8, 9, 40, 70])
def test_completions_are_those_of_a_sorted_list(num_executors: int) -> None:
    services_s = np.random.default_rng(num_executors).integers(1, 50, 500) * 0.25
    starts_s, counts = np.empty(500), np.empty(500, dtype=np.int64)
    replay(blocks_for(num_executors), num_executors, services_s, starts_s, counts)
    completions_s, start_s = [-np.inf] * num_executors, 0.0
    for request, service_s in enumerate(services_s.tolist()):
        start_s = max(start_s, completions_s[0])
        assert starts_s[request] == start_s
        assert counts[request] == sum(completion_s > start_s for completion_s in completions_s)
        del completions_s[0]
        insort(completions_s, start_s + service_s)
