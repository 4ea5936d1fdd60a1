"""The blocking generator and the controller's walk, against events spelled out and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.errors import InputError
from perfmodel.sim.arrivals import whole_ms_law
from perfmodel.sim.compiled_engine import simulate_compiled
from perfmodel.sim.deeprecsys import UNBOUNDED, QueueBounds, WalkRules, drive, walk_rates
from perfmodel.sim.deeprecsys_loop import next_rate, window_percentile_s
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf, draw_num_items, pmf_of_list
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries
from tests.unit.sim.deeprecsys_reference import Server, play

SIZES = pmf_of_list([3, 8, 20, 31, 60])


def contended(num_executors: int, *, grid_s: float = 0.0) -> ServiceTimes:
    """2 ms + 1 ms an item, a tenth longer for each busy neighbour; on a grid of times where asked."""
    batches, busy = np.arange(1.0, 65)[:, None], np.arange(num_executors)[None, :]
    cpu_s = (0.002 + 0.001 * batches) * (1 + 0.1 * busy)
    accelerator_s = 0.004 + 0.0002 * np.arange(1.0, 65)
    if grid_s:
        cpu_s, accelerator_s = (np.ceil(times / grid_s) * grid_s for times in (cpu_s, accelerator_s))
    return ServiceTimes(cpu_s=cpu_s, accelerator_s=accelerator_s, num_accelerators=1)


def drawn(num_queries: int, gap_s: float, *, grid_s: float = 0.0) -> Queries:
    rng = np.random.default_rng(3)
    gaps_s = rng.exponential(gap_s, num_queries)
    if grid_s:
        gaps_s = np.floor(gaps_s / grid_s) * grid_s
    return Queries(np.cumsum(gaps_s), rng.choice(SIZES.values, num_queries))


@pytest.mark.parametrize("bounds", [QueueBounds(3, 1), QueueBounds(40, 2), UNBOUNDED])
@pytest.mark.parametrize("grid_s", [0.0, 2.0**-9])  # a grid whose sums are exact: full of ties
@pytest.mark.parametrize("gap_s", [0.004, 0.02])  # too much for the node, and half of what it serves
def test_blocking_generator_is_the_one_of_the_events(
    bounds: QueueBounds, grid_s: float, gap_s: float
) -> None:
    queries, service = drawn(3000, gap_s, grid_s=grid_s), contended(3, grid_s=grid_s)
    policy = SplitAndOffload(batch_size=16, offload_threshold_items=31)
    delay_s = [0.0]

    def next_put_s(query: int, put_s: float) -> float:
        if query >= 0:
            delay_s[0] += put_s - (queries.arrival_s[query] + delay_s[0])
        return float(queries.arrival_s[query + 1] + delay_s[0])

    stamp_s, finish_s = play(
        len(queries),
        lambda query: int(queries.num_items[query]),
        next_put_s,
        Server(service.cpu_s, bounds.cpu),
        Server(service.accelerator_by_streams_s, bounds.accelerator),
        16,
        31,
    )
    driven = drive(queries, service, policy, bounds)
    assert np.array_equal(driven.stamp_s, stamp_s)
    assert np.array_equal(driven.finish_s, finish_s)


def test_without_bounds_it_is_the_engine() -> None:
    queries, service = drawn(5000, 0.02), contended(3)
    policy = SplitAndOffload(batch_size=16, offload_threshold_items=31)
    driven = drive(queries, service, policy)
    assert np.array_equal(driven.stamp_s, queries.arrival_s)
    assert np.array_equal(driven.finish_s, simulate_compiled(queries, service, policy).finish_s)


def test_a_full_queue_blocks_the_generator_and_delays_what_follows() -> None:
    # One core, 10 ms a request, one may wait. Due at 0, 1, 2 and 3 ms: the third put has to wait until the
    # second request is taken, at 10 ms; the fourth comes 1 ms after it, and waits in turn until 20 ms.
    queries = Queries(np.array([0.0, 0.001, 0.002, 0.003]), np.ones(4, dtype=np.int64))
    service = ServiceTimes(cpu_s=np.array([[0.010]]))
    driven = drive(queries, service, SplitAndOffload(batch_size=1), QueueBounds(1, None))
    assert driven.stamp_s == pytest.approx([0.0, 0.001, 0.002, 0.011])
    assert driven.finish_s == pytest.approx([0.010, 0.020, 0.030, 0.040])
    latency_s = driven.finish_s - driven.stamp_s
    assert latency_s.max() == pytest.approx(0.029)  # by its schedule the last took 37 ms


RULES = WalkRules(
    mean_gaps_s=tuple(np.geomspace(0.002, 0.2, 12)),
    first_gap_s=0.05,
    window=16,
    num_readings=60,
    num_kept=20,
    margin=0.1,
    whole_ms=True,
    num_sizes=10,
)


@pytest.mark.parametrize("whole_ms", [True, False])
@pytest.mark.parametrize("bounds", [QueueBounds(4, 1), UNBOUNDED])
def test_walk_is_the_one_of_the_events(whole_ms: bool, bounds: QueueBounds) -> None:
    rules = WalkRules(
        mean_gaps_s=RULES.mean_gaps_s,
        first_gap_s=0.05,
        window=16,
        num_readings=60,
        num_kept=20,
        margin=0.1,
        whole_ms=whole_ms,
        num_sizes=10,
    )
    service, policy = contended(3), SplitAndOffload(batch_size=16, offload_threshold_items=31)
    walked = walk_rates(SIZES, service, policy, rules, bounds, percentile=0.95, target_s=0.08, seed=5)

    uniform = stream(5, "arrivals", 0).random(16 * 61 * 4)
    num_items = draw_num_items(SIZES, 10, seed=5)
    gaps_s = rules.mean_gaps_s
    index = int(np.argmin(np.abs(np.array(gaps_s) - 0.05)))
    tried: list[float] = []
    done = 0  # windows of which the generator knows

    def gap_after(query: int, put_s: float) -> float:
        if query < 0:
            return 0.0
        if not whole_ms:
            return put_s + -np.log1p(-uniform[query]) * gaps_s[index]
        law = whole_ms_law(gaps_s[index] / 1e-3)
        return put_s + (law.first_ms + np.searchsorted(law.cdf, uniform[query], side="right")) / 1000.0

    def controller(_: float, ended: list[tuple[float, int]], stamps: dict[int, float]) -> bool:
        nonlocal index, done
        if len(ended) >= 16 * (done + 1):
            window_s = [finish_s - stamps[query] for finish_s, query in ended[16 * done : 16 * (done + 1)]]
            reading_s = np.percentile(window_s, 95)
            done += 1
            if reading_s > 0.08:
                index = min(11, index + 1)
            elif reading_s < 0.08 / 1.1:
                index = max(0, index - 1)
            tried.append(gaps_s[index])
        return len(tried) == 60

    play(
        len(uniform),
        lambda query: int(num_items[query % 10]),
        gap_after,
        Server(service.cpu_s, bounds.cpu),
        Server(service.accelerator_by_streams_s, bounds.accelerator),
        16,
        31,
        controller,
    )
    assert walked.tried_gaps_s.tolist() == tried
    assert walked.gap_s == np.median(tried[-20:])
    assert len(set(tried)) > 3, "the walk has to move for this to prove anything"


def test_window_percentile_is_numpys() -> None:
    window_s = np.random.default_rng(1).exponential(size=64)
    for fraction in (0.5, 0.95, 0.99, 1.0):
        assert window_percentile_s(window_s, fraction) == np.percentile(window_s, 100 * fraction)


@pytest.mark.parametrize(
    ("reading_s", "index"), [(0.101, 6), (0.100, 5), (0.0910, 5), (0.0909, 4)]
)  # 0.1 / 1.1 = 0.090909...
def test_walk_steps_up_down_or_stays(reading_s: float, index: int) -> None:
    assert next_rate(5, reading_s, 9, 0.100, 0.1) == index


def test_walk_stays_on_the_grid() -> None:
    assert next_rate(9, 1.0, 9, 0.1, 0.1) == 9
    assert next_rate(0, 0.0, 9, 0.1, 0.1) == 0


def test_walk_of_a_fast_node_ends_at_the_shortest_gap() -> None:
    service = ServiceTimes(cpu_s=np.full((64, 4), 1e-6))
    walked = walk_rates(
        SizePmf(np.array([1]), np.array([1.0])),
        service,
        SplitAndOffload(batch_size=16),
        RULES,
        UNBOUNDED,
        percentile=0.95,
        target_s=0.1,
        seed=1,
    )
    assert walked.gap_s == RULES.mean_gaps_s[0]


def test_unordered_gaps_are_refused() -> None:
    with pytest.raises(InputError, match="ascending mean gaps"):
        WalkRules(
            mean_gaps_s=(0.1, 0.05),
            first_gap_s=0.1,
            window=64,
            num_readings=1,
            num_kept=1,
            margin=0.1,
            whole_ms=False,
            num_sizes=None,
        )
