"""How fast queries are routed by the nodes' queues; seconds, so only under the marker `bench`."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest

from perfmodel.domain.fleet import Routing
from perfmodel.domain.workload import LogNormalSizes, PoissonArrivals
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource

CORES, NUM_QUERIES = 16, 1_000_000


@pytest.mark.bench
@pytest.mark.parametrize("routing", Routing)
def test_sixteen_nodes_serve_four_million_queries_a_second(routing: Routing) -> None:
    batches, busy = np.arange(1, 65), np.arange(1, CORES + 1)
    service = ServiceTimes(cpu_s=(1e-3 + 2e-5 * batches)[:, None] * (1 + 0.5 * busy / CORES))
    fleet = Fleet((NodeKind(service=service, policy=SplitAndOffload(batch_size=64)),), (16,))
    sizes = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
    arrivals = PoissonArrivals(rate_qps=0.8 * 16 * CORES / 9.2e-3)
    queries = TrafficSource(arrivals=arrivals, sizes=sizes).draw(NUM_QUERIES, seed=1)
    seconds = []
    for _ in range(6):  # the first compiles
        began_s = perf_counter()
        simulate_fleet(queries, fleet, routing, seed=1)
        seconds.append(perf_counter() - began_s)
    assert NUM_QUERIES / min(seconds) > 4e6
