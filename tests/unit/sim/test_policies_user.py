"""Policies that somebody else wrote: which engine runs them, what they see, and what they may not do."""

# ruff: noqa: ARG005  # policies may ignore what they are told
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.domain.workload import LogNormalSizes, PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.loading.policy_class import policy_class_of_file
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import NodeView, Placement, Policy, Pool, Request, SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.user_decisions import UserPolicy, user_policy
from perfmodel.sim.user_policy import OFFLOAD, NodeState, QueryView
from tests.examples import examples

EXAMPLE = Path(__file__).parents[3] / "docs" / "policies" / "q_learning.py"
SERVICE = ServiceTimes(
    cpu_s=np.outer(np.arange(1.0, 13.0), [0.25, 0.25, 0.5]),
    accelerator_s=np.tile([0.5, 0.75], (12, 1)),
    num_accelerators=2,
)
QUERIES = Queries(np.arange(12) * 0.25, np.tile([5, 12, 1], 4))


class ByLoad:
    """Looks at everything that there is to look at."""

    @staticmethod
    def decide(query: QueryView, node: NodeState) -> int:
        load = node.cores_busy + node.queued_requests + node.queued_items // 4
        offloaded = node.streams_busy + node.offloaded_requests + node.offloaded_items // 4
        if load * node.streams > offloaded * node.cores and query.number % 5 < 4:
            return OFFLOAD
        return 1 + (query.num_items + int(4 * query.arrival_s)) % 4


def prepared(kind: type[Any], *, has_accelerator: bool = True) -> UserPolicy:
    return user_policy(kind, has_accelerator=has_accelerator, max_items=12)


BY_LOAD = prepared(ByLoad)


@pytest.mark.thorough
@examples(200)
@given(
    gaps=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    seed=st.integers(0, 2**32),
    streams=st.integers(1, 3),
)
def test_a_compiled_decision_is_the_same_decision(gaps: list[int], seed: int, streams: int) -> None:
    rng = np.random.default_rng(seed)
    queries = Queries(np.cumsum(gaps) * 0.25, rng.integers(1, 13, len(gaps)))
    service = ServiceTimes(
        cpu_s=rng.integers(1, 9, size=(12, 3)) * 0.25,
        accelerator_s=rng.integers(1, 9, size=(12, streams)) * 0.25,
        num_accelerators=2,
    )
    reference, compiled = (simulate(queries, service, BY_LOAD, engine=engine) for engine in ("simpy", "auto"))
    assert (reference.engine, compiled.engine) == ("simpy", "compiled")
    np.testing.assert_array_equal(compiled.finish_s, reference.finish_s)
    np.testing.assert_array_equal(compiled.offloaded, reference.offloaded)


@pytest.mark.thorough
def test_the_compiled_loop_is_compiled_once_for_all_policies() -> None:
    from perfmodel.sim.compiled_loop import serve_events

    simulate(QUERIES, SERVICE, BY_LOAD)
    simulate(QUERIES, SERVICE, prepared(type("Other", (), {"decide": staticmethod(lambda query, node: 2)})))
    assert len(serve_events.signatures) == 1


def test_what_a_policy_sees_is_the_present() -> None:
    seen: list[tuple[QueryView, NodeState]] = []

    class Spy:
        def decide(self, query: QueryView, node: NodeState) -> int:
            seen.append((query, node))
            return 4

    queries = Queries(np.array([0.0, 0.0, 1.0]), np.array([12, 2, 1]))
    simulate(queries, SERVICE, prepared(Spy))
    assert [query for query, _ in seen[-3:]] == [(0, 12, 0.0), (1, 2, 0.0), (2, 1, 1.0)]
    # At 0 nothing has started when the second query arrives. At 1 the two requests that started first end,
    # and their cores count as idle before the queue is asked.
    assert [tuple(node) for _, node in seen[-3:]] == [
        (3, 0, 0, 0, 4, 0, 0, 0),
        (3, 0, 3, 12, 4, 0, 0, 0),
        (3, 1, 1, 2, 4, 0, 0, 0),
    ]
    with pytest.raises(AttributeError):
        seen[0][1].cores = 7  # type: ignore[misc]


def test_the_views_of_the_node_can_neither_be_changed_nor_lead_to_the_queues() -> None:
    views: list[NodeView] = []

    class Peeks(Policy):
        def place(self, num_items: int, node: NodeView) -> Placement:
            views.append(node)
            return Placement(Pool.CPU, [num_items])

    simulate(QUERIES, SERVICE, Peeks())
    with pytest.raises(AttributeError):
        views[0][Pool.CPU].num_busy = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        views[0][Pool.CPU] = None  # type: ignore[index]
    assert not hasattr(views[0][Pool.CPU], "queue")


class Stateful:
    def __init__(self) -> None:
        self.count = 0

    def decide(self, query: QueryView, node: NodeState) -> int:  # noqa: ARG002
        self.count += 1
        return 1 + self.count % 3


class Uncompilable:
    @staticmethod
    def decide(query: QueryView, node: NodeState) -> int:  # noqa: ARG004
        return eval("3")


class Fractional:
    @staticmethod
    def decide(query: QueryView, node: NodeState) -> float:  # noqa: ARG004
        return query.num_items / 2


@pytest.mark.parametrize(
    ("kind", "why"),
    [(Stateful, "not a static method"), (Uncompilable, "numba cannot compile"), (Fractional, "float64")],
)
def test_what_cannot_be_compiled_runs_in_simpy_and_says_why(kind: type[Any], why: str) -> None:
    policy = prepared(kind)
    assert why in str(policy.why_not_compiled)
    with pytest.raises(InputError, match=why):
        simulate(QUERIES, SERVICE, policy, engine="compiled")
    if kind is not Fractional:
        assert simulate(QUERIES, SERVICE, policy).engine == "simpy"


def test_each_run_starts_with_an_instance_of_its_own() -> None:
    policy = prepared(Stateful)
    first, second = (simulate(QUERIES, SERVICE, policy) for _ in range(2))
    np.testing.assert_array_equal(first.finish_s, second.finish_s)


@pytest.mark.thorough_cases("<lambda>-query 3, of 5 items: decided 0; expected-simpy")
@pytest.mark.parametrize("engine", ["simpy", "auto"])
@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (lambda query, node: 0 if query.number == 3 else 2, "query 3, of 5 items: decided 0; expected"),
        (lambda query, node: -7, "query 0, of 5 items: decided -7"),
        (lambda query, node: 7 // (7 - query.number), "query 7: decide: ZeroDivisionError: "),
    ],
)
def test_a_bad_decision_names_the_policy_and_the_query(engine: EngineName, decide: Any, message: str) -> None:
    policy = prepared(type("Bad", (), {"decide": staticmethod(decide)}))
    assert policy.why_not_compiled is None
    with pytest.raises(InputError, match=rf"^policy Bad: {message}"):
        simulate(QUERIES, SERVICE, policy, engine=engine)


@pytest.mark.parametrize("answer", [None, 2.5, "4", True, OFFLOAD])
def test_only_a_whole_number_or_an_accelerator_that_exists_is_a_decision(answer: object) -> None:
    kind = type("Bad", (), {"decide": lambda self, query, node: answer})
    service = ServiceTimes(cpu_s=SERVICE.cpu_s)
    with pytest.raises(InputError, match=r"^policy Bad: query 0, of 5 items: decided .*no accelerator"):
        simulate(QUERIES, service, prepared(kind, has_accelerator=False))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "expected a method decide"),
        ({"decide": 3}, "expected a method decide"),
        ({"decide": lambda self: 3}, "expected to take query and node"),
        ({"decide": lambda self, query, node: 3, "name": 4}, "name: expected text"),
        ({"decide": lambda self, query, node: 3, "max_batch_items": 0}, "max_batch_items: expected"),
        ({"decide": lambda self, query, node: 3, "__init__": lambda self, x: None}, "TypeError"),
    ],
)
def test_a_class_that_is_no_policy_is_refused(members: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(type("Odd", (), members))


class BadQueue:
    """Hands out what it should not, or keeps what it got."""

    def __init__(self, fault: str) -> None:
        self.fault, self.waiting, self.last = fault, list[Request](), Request(0, 1)

    def append(self, request: Request) -> None:
        if self.fault != "loses" or request.query != 4:
            self.waiting.append(request)

    def popleft(self) -> Request:
        if self.fault == "repeats" and self.last.query == 2:
            return self.last
        self.last = self.waiting.pop(0)
        return self.last

    def __len__(self) -> int:
        return len(self.waiting)


@pytest.mark.parametrize(
    ("fault", "message"), [("loses", "query 4: 5 items were never served"), ("repeats", "query 2: a queue")]
)
def test_a_queue_that_loses_or_repeats_requests_is_caught(fault: str, message: str) -> None:
    class Faulty(Policy):
        name = "faulty"

        def place(self, num_items: int, node: NodeView) -> Placement:  # noqa: ARG002
            return Placement(Pool.CPU, [num_items])

        def new_queue(self, pool: Pool) -> Any:  # noqa: ARG002
            return BadQueue(fault)

    queries = Queries(np.arange(9) * 0.25, np.array([3, 1, 2, 4, 5, 1, 1, 2, 3]))
    with pytest.raises(InputError, match=rf"^policy faulty: {message}"):
        simulate(queries, SERVICE, Faulty())


@pytest.mark.parametrize("request_items", [[], [4], [5, 6], [10, 0], [13, -3]])
def test_a_placement_conserves_the_items(request_items: list[int]) -> None:
    class Miscounts(Policy):
        def place(self, num_items: int, node: NodeView) -> Placement:  # noqa: ARG002
            return Placement(Pool.CPU, request_items)

    with pytest.raises(InputError, match="query 0: cut into requests"):
        simulate(Queries(np.zeros(1), np.array([10])), SERVICE, Miscounts())


@pytest.mark.slow
def test_the_example_learns_which_choice_is_best() -> None:
    items, busy = np.arange(1, 1025), np.arange(1, 9)
    service = ServiceTimes(
        cpu_s=(5e-4 + 4e-5 * items)[:, None] * (1 + 0.8 * (busy - 1) / 7),
        accelerator_s=4e-3 + 2e-6 * items,
        num_accelerators=1,
    )
    law = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
    queries = TrafficSource(arrivals=PoissonArrivals(rate_qps=550.0), sizes=law).draw(30_000, seed=1)

    def mean_s(policy: Policy, counted: slice = slice(15_000, None)) -> float:
        return float(simulate(queries, service, policy).latency_s[counted].mean())

    learner = user_policy(policy_class_of_file(EXAMPLE), has_accelerator=True, max_items=1024)
    fixed_s = {
        (batch, threshold): mean_s(SplitAndOffload(batch_size=batch, offload_threshold_items=threshold))
        for batch in (32, 128, 512)
        for threshold in (None, 100, 200, 300, 500)
    }
    # Neither the cores alone nor a low threshold can carry the load; the best fixed choice is far better.
    assert fixed_s[512, None] > 3 * min(fixed_s.values())
    assert mean_s(learner) < 0.4 * fixed_s[512, None]
    assert mean_s(learner) < 1.1 * min(fixed_s.values())
    assert mean_s(learner) < 0.9 * mean_s(learner, slice(0, 1000)), "it was as good before it learnt"
