"""A policy is one small class: the engine runs ones it has never heard of."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
import pytest

from perfmodel.domain.serving import SplitPolicy
from perfmodel.errors import InputError
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import (
    NodeView,
    Placement,
    Policy,
    Pool,
    Request,
    RequestQueue,
    SplitAndOffload,
    split_query,
)
from perfmodel.sim.records import broken_rules
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries


class SmallestFirstQueue:
    """Requests of small queries overtake."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, Request]] = []

    def append(self, request: Request) -> None:
        heappush(self.heap, (request.num_items, request))

    def popleft(self) -> Request:
        return heappop(self.heap)[1]

    def __len__(self) -> int:
        return len(self.heap)


@dataclass(frozen=True)
class SmallestFirst(Policy):
    def place(self, num_items: int, node: NodeView) -> Placement:  # noqa: ARG002
        return Placement(Pool.CPU, [num_items])

    def new_queue(self, pool: Pool) -> RequestQueue:  # noqa: ARG002
        return SmallestFirstQueue()


@dataclass(frozen=True)
class OffloadWhenBusy(Policy):
    """Sends a query to the accelerator where no core is idle."""

    def place(self, num_items: int, node: NodeView) -> Placement:
        cpu = node[Pool.CPU]
        idle = cpu.num_busy + cpu.queued_requests < cpu.num_executors
        return Placement(Pool.CPU if idle else Pool.ACCELERATOR, [num_items])

    def new_queue(self, pool: Pool) -> RequestQueue:  # noqa: ARG002
        return deque[Request]()


def test_a_size_aware_policy_lets_small_queries_overtake() -> None:
    policy: Policy = SmallestFirst()
    service = ServiceTimes(cpu_s=np.arange(1.0, 6.0)[:, None])
    queries = Queries(np.array([0.0, 0.0, 1.0]), np.array([5, 4, 1]))
    record = simulate(queries, service, policy, log_requests=True)
    # At 0 the smaller of the two starts; at 4 the latecomer of size 1 overtakes the one of size 5.
    assert record.finish_s.tolist() == [10.0, 4.0, 5.0]
    assert broken_rules(record) == []


def test_a_dispatcher_sees_completions_of_the_same_instant() -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 1)), accelerator_s=np.full(1, 5.0), num_accelerators=1)
    queries = Queries(np.array([0.0, 0.5, 1.0, 1.0]), np.array([1, 1, 1, 1]))
    record = simulate(queries, service, OffloadWhenBusy())
    # At t = 1 the core is free again for the first arrival of that instant, and taken for the second.
    assert record.offloaded.tolist() == [False, True, False, True]
    assert record.finish_s.tolist() == [1.0, 5.5, 2.0, 10.5]


def test_the_compiled_engine_leaves_other_policies_to_simpy() -> None:
    service = ServiceTimes(cpu_s=np.ones((1, 1)))
    queries = Queries(np.array([0.0]), np.array([1]))
    with pytest.raises(InputError, match="places queries in Python"):
        simulate(queries, service, SmallestFirst(), engine="compiled")


@pytest.mark.parametrize(
    ("num_items", "batch_size", "parts"),
    [(1, 128, [1]), (128, 128, [128]), (129, 128, [128, 1]), (300, 128, [128, 128, 44]), (3, 1, [1, 1, 1])],
)
def test_splitting_conserves_items(num_items: int, batch_size: int, parts: list[int]) -> None:
    assert split_query(num_items, batch_size) == parts


def test_the_threshold_itself_is_offloaded() -> None:
    policy = policy_from(SplitPolicy(batch_size=64, offload_threshold_items=200))
    assert [policy.offloads(items) for items in (199, 200, 201)] == [False, True, True]
    assert not SplitAndOffload(batch_size=64).offloads(10**6)


def test_impossible_policies_are_refused() -> None:
    with pytest.raises(InputError, match="batch_size"):
        SplitAndOffload(batch_size=0)
    with pytest.raises(InputError, match="offload_threshold_items"):
        SplitAndOffload(batch_size=1, offload_threshold_items=0)
