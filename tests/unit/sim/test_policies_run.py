"""Runs of the policies: what is refused, what counts as overload, and over which queries percentiles are."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.domain.serving import (
    DynamicBatchingPolicy,
    FusionPolicy,
    SeparateQueuesPolicy,
    SimulationSettings,
)
from perfmodel.domain.workload import Arrivals, ClosedArrivals, DiurnalArrivals, PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.builtin_policies import DynamicBatching, Fusion, SeparateQueues
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import NodeView, Placement, Policy, Pool, Shedding, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation

SETTINGS = SimulationSettings(precision=0.1, min_queries=20_000, max_queries=100_000)


def poisson(rate_qps: float, sizes: list[int]) -> TrafficSource:
    return TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=pmf_of_list(sizes))


def test_shedding_takes_an_overload_that_is_refused_without() -> None:
    traffic, service = poisson(8.0, [1]), ServiceTimes(cpu_s=np.ones((1, 4)))
    refused = run_until_precise(traffic, service, SplitAndOffload(batch_size=1), SETTINGS, percentile=0.95)
    assert (refused.overloaded, refused.record) == (Pool.CPU, None)
    policy = SplitAndOffload(batch_size=1, shedding=Shedding(queue_limit_requests=8))
    result = run_until_precise(traffic, service, policy, SETTINGS, percentile=0.95)
    assert result.is_stable
    assert result.record is not None
    # Four cores serve four of eight queries a second; eight that wait ahead are 2 s, and then one's own 1 s.
    assert result.record.shed_rate == pytest.approx(0.5, abs=0.01)
    assert result.record.throughput_qps == pytest.approx(4.0, rel=0.01)
    assert 2.5 < result.percentiles[0.95].value_s <= 3.0
    assert "of the queries were shed; latencies are those of the queries served" in result.notes[0]


def test_percentiles_leave_out_the_queries_that_were_shed() -> None:
    traffic, service = poisson(8.0, [1]), ServiceTimes(cpu_s=np.ones((1, 4)))
    policy = SplitAndOffload(batch_size=1, shedding=Shedding(deadline_s=0.5))
    result = run_until_precise(traffic, service, policy, SETTINGS, percentile=0.95)
    assert result.record is not None
    served_s = result.record.latency_s[result.warm_up_queries :]
    served_s = np.sort(served_s[np.isfinite(served_s)])
    # Whole batches only: some thousandths of the queries more are left out.
    assert result.percentiles[0.5].value_s == pytest.approx(served_s[len(served_s) // 2], rel=1e-3)
    assert result.percentiles[0.99].value_s <= 1.5 + 1e-9


@pytest.mark.parametrize(
    "arrivals",
    [
        PoissonArrivals(rate_qps=8.0),
        DiurnalArrivals(rate_qps=8.0, amplitude=0.5, period_s=3600.0),
        ClosedArrivals(users=8, think_s=1.0),
    ],
    ids=lambda each: each.process,
)
def test_limits_that_turn_everyone_away_are_refused_by_their_name(arrivals: Arrivals) -> None:
    """Two requests of 1 s on one core: the second always starts later than 0.5 s after its arrival."""
    traffic = TrafficSource(arrivals=arrivals, sizes=pmf_of_list([2]))
    service = ServiceTimes(cpu_s=np.ones((1, 1)))
    policy = SplitAndOffload(batch_size=1, shedding=Shedding(deadline_s=0.5))
    with pytest.raises(InputError, match=r"^policy\.shedding: 0 of [\d,]+ queries were served"):
        run_until_precise(traffic, service, policy, SETTINGS, percentile=0.95)


def test_an_overload_of_the_large_queries_is_found_beside_idle_cores() -> None:
    traffic = poisson(4.0, [1, 8])
    service = ServiceTimes(cpu_s=np.repeat(np.arange(1.0, 9.0)[:, None] / 10, 4, axis=1))
    policy = SeparateQueues(
        SeparateQueuesPolicy(large_from_items=2, small_cores=3, small_batch_size=1, large_batch_size=8)
    )
    # Large: 2 a second of 0.8 s on one core. Small: 2 a second of 0.1 s on three.
    assert offered_utilisation(traffic, service, policy, contended=False).cpu == pytest.approx(1.6)
    record = simulate(traffic.draw(20_000, seed=1), service, policy)
    assert record.cpu_utilisation < 0.5
    assert overloaded_pool(record) is Pool.CPU_LARGE
    result = run_until_precise(traffic, service, policy, SETTINGS, percentile=0.95)
    assert (result.overloaded, result.record) == (Pool.CPU, None)  # refused beforehand: 1.6
    lighter = run_until_precise(traffic.at_rate(2.0), service, policy, SETTINGS, percentile=0.95)
    assert lighter.is_stable


def test_joined_requests_need_their_share_of_the_best_launch() -> None:
    # A launch takes 1 s plus 0.1 s an item; four items together 1.4 s, so 0.35 s each; nine alone 1.9 s.
    traffic = poisson(1.0, [1, 9])
    items_s = 1.0 + 0.1 * np.arange(1, 10)
    service = ServiceTimes(
        cpu_s=items_s[:, None], accelerator_s=np.stack([items_s, 2 * items_s], 1), num_accelerators=1
    )
    fusion = Fusion(FusionPolicy(batch_size=1, offload_threshold_items=1, max_fused_items=4, streams=2))
    mean_s = (0.35 + 1.9) / 2
    assert offered_utilisation(traffic, service, fusion, contended=False) == pytest.approx(
        PoolLoads(cpu=0.0, accelerator=mean_s / 2)
    )
    assert offered_utilisation(traffic, service, fusion, contended=True).accelerator == pytest.approx(mean_s)
    batching = DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=4, timeout_ms=9000.0))
    assert offered_utilisation(traffic, service, batching, contended=True).cpu == pytest.approx(10 * 0.35 / 2)


class WhereverIdle(Policy):
    """The accelerator only helps out."""

    def place(self, num_items: int, node: NodeView) -> Placement:
        idle = node[Pool.CPU].num_busy < node[Pool.CPU].num_executors
        return Placement(Pool.CPU if idle else Pool.ACCELERATOR, [num_items])


@pytest.mark.thorough
def test_a_policy_that_looks_at_the_node_is_refused_only_where_no_placement_could_do() -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 1)), accelerator_s=np.full(1, 0.25), num_accelerators=1)
    # Alone, the core would be overloaded threefold; the accelerator takes 4 a second more.
    result = run_until_precise(poisson(3.0, [1]), service, WhereverIdle(), SETTINGS, percentile=0.95)
    assert result.is_stable
    # Each query needs a quarter of a second of one of two executors at least: 8 a second is the end.
    refused = run_until_precise(poisson(9.0, [1]), service, WhereverIdle(), SETTINGS, percentile=0.95)
    assert refused.record is None
    assert refused.alone == pytest.approx(PoolLoads(cpu=9 / 8, accelerator=9 / 8))
    # In between the backlog tells.
    found = run_until_precise(poisson(7.0, [1]), service, WhereverIdle(), SETTINGS, percentile=0.95)
    assert found.overloaded is Pool.ACCELERATOR
    assert found.record is not None
