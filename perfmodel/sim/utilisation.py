"""How much of the executors a load needs, computed exactly before anything is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.policies import NodeView, Policy, Pool, PoolView, SplitAndOffload, check_covers
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource


class PoolLoads(NamedTuple):
    """Utilisation that a load asks of each pool; 0 for an accelerator that gets no queries. [1]"""

    cpu: float
    accelerator: float


def offered_utilisation(
    traffic: TrafficSource, service: ServiceTimes, policy: Policy, *, contended: bool
) -> PoolLoads:
    """Arrival rate x mean service time of a query / executors, for each pool. [1]

    Exact for a policy that looks at the size alone, by summing over the law of the sizes; a policy
    that looks at the node too is asked as if the node were idle.

    Parameters
    ----------
    traffic, service, policy
        What arrives, how long it takes, where it goes.
    contended : bool
        Whether all executors are busy when a request starts, or it is alone. Alone from 1 up: no order
        of events can keep up. Contended from 1 up: a queue that has once formed never drains again.

    Examples
    --------
    A query of 300 items makes requests of 128, 128 and 44 items, 10 ms each: 30 ms on two cores.

    >>> from perfmodel.domain.workload import PoissonArrivals
    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=50.0), sizes=pmf_of_list([300]))
    >>> service = ServiceTimes(cpu_s=np.full((128, 2), 0.010))
    >>> offered_utilisation(traffic, service, SplitAndOffload(batch_size=128), contended=True).cpu
    0.75
    """
    law = traffic.size_pmf
    if isinstance(policy, SplitAndOffload):
        check_covers(service, policy, law.max_items)
    node = _idle_node(service)
    tables_s = {Pool.CPU: service.cpu_s[:, -1 if contended else 0]}
    if service.accelerator_s is not None:
        tables_s[Pool.ACCELERATOR] = service.accelerator_s
    mean_s = dict.fromkeys(Pool, 0.0)
    for num_items, probability in zip(law.values.tolist(), law.probabilities.tolist(), strict=True):
        pool, request_items = policy.place(num_items, node)
        mean_s[pool] += probability * _served_s(tables_s[pool], request_items)
    return PoolLoads(
        cpu=traffic.rate_qps * mean_s[Pool.CPU] / service.num_executors,
        accelerator=traffic.rate_qps * mean_s[Pool.ACCELERATOR] / max(1, service.num_accelerators),
    )


def _served_s(table_s: FloatArray, request_items: list[int]) -> float:
    """Service times of all requests of a query, summed. [s]"""
    return float(table_s[np.array(request_items) - 1].sum())


@dataclass(frozen=True, slots=True)
class _IdlePool:
    """A pool as a dispatcher sees it when nothing is there."""

    num_executors: int
    num_busy: int = 0
    queued_requests: int = 0
    queued_items: int = 0


def _idle_node(service: ServiceTimes) -> NodeView:
    pools: Mapping[Pool, PoolView] = {
        Pool.CPU: _IdlePool(service.num_executors),
        Pool.ACCELERATOR: _IdlePool(service.num_accelerators),
    }
    return pools
