"""How much of the executors a load needs, computed exactly before anything is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.pipeline import mean_parts, stage_laws, stages_of
from perfmodel.sim.policies import (
    Lane,
    Policy,
    Pool,
    SizedPolicy,
    check_covers,
    executors_of,
    requests_by_size,
    sizes_by_lane,
)
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource


class PoolLoads(NamedTuple):
    """Utilisation that a load asks of each pool; 0 for an accelerator that gets no queries. [1]

    Where a policy sets cores apart, `cpu` is that of the busier cores.
    """

    cpu: float
    accelerator: float


def offered_utilisation(
    traffic: TrafficSource, service: ServiceTimes, policy: Policy, *, contended: bool
) -> PoolLoads:
    """Arrival rate x mean service time of a query / executors that are not paused, for each pool. [1]

    Exact for a policy that looks at the size alone, by summing over the law of the sizes. Requests that join
    others count with their share of a launch of the most efficient size. Of a policy that looks at the node
    too, the least that any placement asks: each query in the pool, and in requests, that serve it soonest.

    Parameters
    ----------
    traffic, service, policy
        What arrives, how long it takes, where it goes.
    contended : bool
        Whether all executors are busy when a request starts, or as many as serve it soonest. So from 1 up:
        no order of events can keep up. Contended from 1 up: a queue that has once formed never drains again.

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
    if service.pipeline is not None:
        return max_loads(stage_loads(traffic, service, policy, contended=contended))
    check_covers(service, policy, law.max_items)
    loads = [
        traffic.rate_qps * float(law.probabilities @ pool_s)
        for pool_s in pool_time_by_size_s(law, service, policy, contended=contended)
    ]
    cores, accelerators = service.running_shares
    if len(loads) == 1:
        loads[0] /= max(cores, accelerators)
        return PoolLoads(cpu=loads[0], accelerator=loads[0] if service.num_streams else 0.0)
    cpu, cpu_large, accelerator = loads[0] / cores, loads[1] / cores, loads[2] / accelerators
    return PoolLoads(cpu=max(cpu, cpu_large), accelerator=accelerator)


def stage_loads(
    traffic: TrafficSource, service: ServiceTimes, policy: Policy, *, contended: bool
) -> list[PoolLoads]:
    """The same of every stage of a pipeline, the first included. [1]"""
    pipeline = service.pipeline
    if pipeline is None:
        return [offered_utilisation(traffic, service, policy, contended=contended)]
    law_of_all, found = traffic.size_pmf, []
    parts = mean_parts(law_of_all, pipeline.sub_batches)
    laws = stage_laws(law_of_all, pipeline.most_items, pipeline.sub_batches)
    for law, (own, whose) in zip(laws, stages_of(service, policy), strict=True):
        of_parts = replace(traffic, sizes=law)
        loads = offered_utilisation(of_parts, own, whose, contended=contended)
        found.append(PoolLoads(parts * loads.cpu, parts * loads.accelerator))
    return found


def max_loads(loads: Sequence[PoolLoads]) -> PoolLoads:
    """The largest of each pool: of several stages the one that fills up first."""
    return PoolLoads(max(load.cpu for load in loads), max(load.accelerator for load in loads))


def pool_time_by_size_s(
    law: SizePmf, service: ServiceTimes, policy: Policy, *, contended: bool
) -> tuple[FloatArray, ...]:
    """Time of a whole pool that a query of each size of the law takes. [s]

    Parameters
    ----------
    law, service, policy, contended
        See `offered_utilisation`.

    Returns
    -------
    tuple of (m,) float
        For each of `Pool`, where the policy looks at the size alone; else one, for the node as a whole.
    """
    if not isinstance(policy, SizedPolicy):
        return (_least_shares_s(service, law.values, contended),)
    lanes = {lane.pool: lane for lane in policy.lanes}
    executors = {pool: executors_of(lane, policy, service) for pool, lane in lanes.items()}
    served_s = {pool: _ServedTimes(service, lane, contended=contended) for pool, lane in lanes.items()}
    times_s = {pool: np.zeros(len(law.values)) for pool in Pool}
    for lane, of_lane in sizes_by_lane(policy.lanes, law.values):
        query_s = served_s[lane.pool].of_queries_s(law.values[of_lane], lane.request_items)
        times_s[lane.pool][of_lane] += query_s / max(1, executors.get(lane.pool, 0))
    return times_s[Pool.CPU], times_s[Pool.CPU_LARGE], times_s[Pool.ACCELERATOR]


def _least_shares_s(service: ServiceTimes, num_items: IntArray, contended: bool) -> FloatArray:
    """The least share of the node's time that queries of these sizes take. [s]

    On the cores, at the most efficient batch size; on the accelerators, whole; each over the executors of
    its pool. Queries of share x, wherever they go, fill two pools no sooner than at a rate of 2 / x.
    """
    cpu_s = service.core_times_s(contended=contended)
    item_s = float((cpu_s / np.arange(1, len(cpu_s) + 1)).min())
    on_cpu_s: FloatArray = num_items * item_s / service.num_executors
    if service.num_streams == 0:
        return on_cpu_s
    on_accelerator_s = (
        service.accelerator_by_streams_s[num_items - 1, -1 if contended else 0] / service.num_streams
    )
    least_s: FloatArray = 0.5 * np.minimum(on_cpu_s, on_accelerator_s)
    return least_s


class _ServedTimes:
    """How long requests hold an executor of a lane, or their share of the launch that they join."""

    def __init__(self, service: ServiceTimes, lane: Lane, *, contended: bool) -> None:
        if lane.pool is not Pool.ACCELERATOR:
            self._alone_s = service.core_times_s(contended=contended)
        else:
            by_streams_s = service.accelerator_by_streams_s
            self._alone_s = by_streams_s[:, -1 if contended else 0] if by_streams_s.size else np.empty(0)
        self._joined_items = 0 if lane.joining is None else lane.joining.max_items
        self._joined_work_s, self._saved_s = _query_work_s(service, lane, contended=contended)
        sizes = np.arange(1, min(self._joined_items, len(self._alone_s)) + 1)
        of_items_s = self._alone_s[: len(sizes)] - self._joined_work_s
        self._item_s = float((of_items_s / sizes).min()) if len(sizes) else 0.0

    def of_queries_s(self, num_items: IntArray, request_items: int) -> FloatArray:
        """Service times of all requests of queries of these sizes: full ones and a remainder. [s]"""
        total_s = np.zeros(len(num_items))
        for sizes, times in requests_by_size(num_items, request_items):
            some = times > 0
            total_s[some] += times[some] * self._requests_s(sizes[some])
        if self._saved_s is not None:
            total_s -= self._saved_by_sharing_s(num_items, request_items)
        return total_s

    def _saved_by_sharing_s(self, num_items: IntArray, request_items: int) -> FloatArray:
        """What all requests but a query's first, which is a full one, save of its work. [s]"""
        assert self._saved_s is not None
        saved_s = np.zeros(len(num_items))
        for number, (sizes, times) in enumerate(requests_by_size(num_items, request_items)):
            others = times - 1 if number == 0 else np.where(num_items > request_items, times, 0)
            some = others > 0
            saved_s[some] += others[some] * self._saved_s[sizes[some] - 1]
        return saved_s

    def _requests_s(self, sizes: IntArray) -> FloatArray:
        """Service time of a request; joined at the best size where it joins. [s]"""
        own_s = self._alone_s[sizes - 1]
        joined_s = sizes * self._item_s + self._joined_work_s
        return np.asarray(np.where(sizes <= self._joined_items, joined_s, own_s))


def _query_work_s(service: ServiceTimes, lane: Lane, *, contended: bool) -> tuple[float, FloatArray | None]:
    """The least that each further query's work takes of a launch, and what a request without it saves. [s]

    Both are means over the kinds of queries; None where no policy shares the work.
    """
    by_query = service.by_query
    times = None if by_query is None else by_query.cpu
    if by_query is not None and lane.pool is Pool.ACCELERATOR:
        times = by_query.accelerator
    if by_query is None or times is None:
        return 0.0, None
    column = -1 if contended else 0
    more_s = by_query.shares @ times.more_s[:, :, column]
    further_s = more_s[1:] / np.arange(1, len(more_s))
    work_s = max(0.0, float(further_s.min())) if lane.joining is not None and len(further_s) else 0.0
    if not by_query.shares_work:
        return work_s, None
    saved_s: FloatArray = by_query.shares @ (times.with_s - times.without_s)[:, :, column]
    return (0.0 if lane.joining is not None else work_s), saved_s
