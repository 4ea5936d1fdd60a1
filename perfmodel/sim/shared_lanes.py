"""The lanes of several services on one node: who may serve what, and whose turn it is.

Each service keeps its policy: its lanes, each with a queue of its own in its own order, its launches that
join requests, its limits and deadlines, which look at its own queues. What they share are executors. Where
one is idle, of all queues whose next request it may take and that are ready, that goes first whose next query
came first: between services it is first come, first served. Services that split and nothing else have one
queue together then.

Where a policy sets cores apart, others' lanes lie across the border: a request goes to the part of its cores
with the most idle ones, as a launch goes to the accelerator with the fewest busy streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.policies import Lane, Policy, Pool, executors_of, sizes_by_lane
from perfmodel.sim.service import ServiceTimes


class SharedLane(NamedTuple):
    """A lane of one of the services.

    Attributes
    ----------
    service : int
        Whose.
    rules : Lane
        As its policy has it.
    first_group, end_group : int
        Executors that may serve it, of those of `Layout.executors`.
    """

    service: int
    rules: Lane
    first_group: int
    end_group: int

    @property
    def on_accelerator(self) -> bool:
        """Whether accelerators serve it."""
        return self.rules.pool is Pool.ACCELERATOR


class Layout(NamedTuple):
    """The executors of a node in groups of equal ones, and the lanes that they serve.

    Attributes
    ----------
    lanes : tuple of SharedLane
        Service by service.
    executors : tuple of int
        In each group: parts of the cores, then the streams of each accelerator.
    core_groups : int
        How many of the groups are parts of the cores.
    """

    lanes: tuple[SharedLane, ...]
    executors: tuple[int, ...]
    core_groups: int

    def lane_of(self, num_items: IntArray, service: IntArray) -> IntArray:
        """Index of the lane that takes each query, by its size and its service."""
        found = np.zeros(len(num_items), np.int64)
        for index in sorted({lane.service for lane in self.lanes}):
            own = [number for number, lane in enumerate(self.lanes) if lane.service == index]
            mine = service == index
            rules = [self.lanes[number].rules for number in own]
            for number, (_, takes) in zip(own, sizes_by_lane(rules, num_items), strict=True):
                found[mine & takes] = number
        return found


class LanesServed(NamedTuple):
    """What happened in a run.

    Attributes
    ----------
    finish_s : (num_queries,) float
        End of each query's last request; inf where it was shed. [s]
    shed : (num_queries,) bool
        Which queries were refused, or had a request dropped.
    busy_s : (groups,) float
        Service times of all launches of each group, summed. [s]
    last_end_s, idle_end_s : float
        As of `RunRecord`. [s]
    """

    finish_s: FloatArray
    shed: BoolArray
    busy_s: FloatArray
    last_end_s: float
    idle_end_s: float


def layout_of(services: Sequence[tuple[ServiceTimes, Policy]]) -> Layout:
    """Lay the lanes of all services out on one node.

    Examples
    --------
    One service sets two of four cores apart, the other takes all of them:

    >>> from perfmodel.domain.serving import SeparateQueuesPolicy
    >>> from perfmodel.sim.builtin_policies import policy_from
    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> apart = SeparateQueuesPolicy(
    ...     name="separate-queues", small_cores=2, large_from_items=10, small_batch_size=8, large_batch_size=8
    ... )
    >>> node = ServiceTimes(cpu_s=np.full((8, 4), 0.01))
    >>> found = layout_of([(node, policy_from(apart)), (node, SplitAndOffload(batch_size=8))])
    >>> found.executors, [(lane.first_group, lane.end_group) for lane in found.lanes]
    ((2, 2), [(0, 1), (1, 2), (0, 2)])
    """
    cores = services[0][0].num_executors
    spans = [_core_spans(times, policy) for times, policy in services]
    borders = sorted({0, cores, *(border for of in spans for span in of.values() for border in span)})
    parts = [end - begin for begin, end in pairwise(borders)]
    cards = next((times for times, policy in services if offers_accelerator(policy, times)), None)
    streams = [] if cards is None else [cards.streams_per_accelerator] * cards.num_accelerators
    lanes = []
    for index, ((times, policy), of) in enumerate(zip(services, spans, strict=True)):
        for number, rules in enumerate(policy.lanes):
            if rules.pool is not Pool.ACCELERATOR:
                begin, end = of[number]
                lanes.append(SharedLane(index, rules, borders.index(begin), borders.index(end)))
            elif offers_accelerator(policy, times):
                lanes.append(SharedLane(index, rules, len(parts), len(parts) + len(streams)))
    return Layout(tuple(lanes), (*parts, *streams), len(parts))


def offers_accelerator(policy: Policy, times: ServiceTimes) -> bool:
    """Whether a policy has a lane on accelerators that the node has."""
    return times.num_accelerators > 0 and any(lane.pool is Pool.ACCELERATOR for lane in policy.lanes)


def _core_spans(times: ServiceTimes, policy: Policy) -> dict[int, tuple[int, int]]:
    """First core of each lane on cores, and the one after its last."""
    spans, first = {}, 0
    for number, lane in enumerate(policy.lanes):
        if lane.pool is not Pool.ACCELERATOR:
            end = first + executors_of(lane, policy, times)
            spans[number] = first, end
            first = end
    return spans
