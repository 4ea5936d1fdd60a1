"""The systems that are timed, and how they are timed."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from perfmodel.domain.workload import LogNormalSizes, PoissonArrivals
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource

LAW = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
"""Mean 166 items; with batches of 64, 3.1 requests a query."""

BATCH_SIZE = 64
SPLIT = SplitAndOffload(batch_size=BATCH_SIZE)
SPLIT_AND_OFFLOAD = SplitAndOffload(batch_size=BATCH_SIZE, offload_threshold_items=400)


def fastest_s(action: Callable[[], object], repetitions: int = 5) -> float:
    """Least of a few timings; the first call, which may compile, is not timed. [s]"""
    action()
    return min(once_s(action) for _ in range(repetitions))


def once_s(action: Callable[[], object]) -> float:
    """Time of one call. [s]"""
    begin_s = perf_counter()
    action()
    return perf_counter() - begin_s


def node(executors: int = 40, *, max_request: int = BATCH_SIZE, contended: bool = True) -> ServiceTimes:
    """Cores whose requests take 1 ms + 20 us an item, 1.5 times that when all are busy; an accelerator."""
    alone_s = 1e-3 + 2e-5 * np.arange(1, max_request + 1)
    contention = 1.0 + 0.5 * np.arange(1, executors + 1) / executors * contended
    accelerator_s = 2e-4 + 1e-6 * np.arange(1, LAW.max_items + 1)
    return ServiceTimes(cpu_s=alone_s[:, None] * contention, accelerator_s=accelerator_s, num_accelerators=1)


def traffic_at(utilisation: float, service: ServiceTimes, policy: Policy = SPLIT) -> TrafficSource:
    """Poisson traffic that keeps the cores this busy, measured: contention depends on the load itself."""
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=50.0 * service.num_executors), sizes=LAW)
    for _ in range(6):
        measured = simulate(source.draw(100_000, seed=7), service, policy).cpu_utilisation
        source = source.at_rate(source.rate_qps * utilisation / measured)
    return source
