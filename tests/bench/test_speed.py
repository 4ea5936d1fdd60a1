"""Is it still fast? That the rivals serve the same queries, always; seconds only under the marker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.c_loop import build_loops
from benchmarks.cases import BATCH_SIZE, LAW, SPLIT, node, traffic_at
from benchmarks.engines import SECTIONS
from benchmarks.rivals import plain_python, simpy_callbacks, simpy_textbook
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import split_query

NUM_QUERIES = 3_000


@pytest.mark.parametrize("serve", [simpy_callbacks, plain_python])
def test_the_rivals_of_the_benchmark_serve_every_query_alike(serve: Callable[..., list[float]]) -> None:
    service = node()
    queries = traffic_at(0.9, service).draw(NUM_QUERIES, seed=2)
    finish_s = serve(queries, service.cpu_s.tolist(), BATCH_SIZE)
    np.testing.assert_array_equal(finish_s, simulate(queries, service, SPLIT).finish_s)


def test_the_textbook_form_serves_every_query_once() -> None:
    service = node(contended=False)
    queries = traffic_at(0.7, service).draw(NUM_QUERIES, seed=2)
    finish_s = np.array(simpy_textbook(queries, service.cpu_s.tolist(), BATCH_SIZE))
    # Without contention it is the same system but for the rounding of its clock.
    np.testing.assert_allclose(finish_s, simulate(queries, service, SPLIT).finish_s, rtol=1e-9)


def test_the_loops_in_c_serve_every_query_alike() -> None:
    loops = build_loops(40)
    if loops is None:
        pytest.skip("no C compiler")
    service, finish_s = node(), np.empty(NUM_QUERIES)
    queries = traffic_at(0.9, service).draw(NUM_QUERIES, seed=2)
    record = simulate(queries, service, SPLIT)
    for loop in loops.values():
        assert loop(queries, service, BATCH_SIZE, finish_s) == record.cpu_busy_s
        np.testing.assert_array_equal(finish_s, record.finish_s)


def test_the_case_has_as_many_requests_as_its_law_says() -> None:
    num_items = traffic_at(0.8, node()).draw(10_000, seed=1).num_items
    requests = [len(split_query(int(size), BATCH_SIZE)) for size in num_items]
    assert sum(requests) == 31_146
    assert np.mean(requests) == pytest.approx(LAW.expect(lambda size: -(-size // BATCH_SIZE)), rel=0.02)


@pytest.mark.bench
@pytest.mark.parametrize(
    "section", ["rivals", "policies", "probes", "predict", "capacity", "precision", "memory"]
)
def test_every_target_of_speed_is_met(section: str) -> None:
    missed = [row for row in SECTIONS[section]() if not row.meets]
    assert missed == []
