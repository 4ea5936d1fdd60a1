"""Queries a second: the compiled engine against its rivals, every policy, and the probes of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.c_loop import build_loops
from benchmarks.cases import (
    BATCH_SIZE,
    LAW,
    SPLIT,
    SPLIT_AND_OFFLOAD,
    fastest_s,
    node,
    once_s,
    traffic_at,
)
from benchmarks.rivals import ciw_whole_queries, plain_python, simpy_callbacks, simpy_textbook
from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import (
    DynamicBatchingPolicy,
    FusionPolicy,
    SeparateQueuesPolicy,
    SizePriorityPolicy,
)
from perfmodel.sim.builtin_policies import DynamicBatching, Fusion, SeparateQueues, SizePriority
from perfmodel.sim.compiled_engine import simulate_compiled
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.pauses import Pauses
from perfmodel.sim.policies import Policy, Shedding, SplitAndOffload
from perfmodel.sim.probes import LateLimit, Probe, count_late
from perfmodel.sim.scatter import even_scatter, log_normal_factors, scatter_by_size
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

MILLION = 1_000_000
UTILISATION = 0.8

POLICIES: Mapping[str, tuple[Policy, float]] = {
    "split": (SPLIT, 20.0),
    "split, offload from 400 items": (SPLIT_AND_OFFLOAD, 20.0),
    "split, queue limit": (
        SplitAndOffload(batch_size=BATCH_SIZE, shedding=Shedding(queue_limit_requests=200)),
        4.0,
    ),
    "split, deadline": (
        SplitAndOffload(batch_size=BATCH_SIZE, shedding=Shedding(deadline_s=0.02)),
        4.0,
    ),
    "size priority": (SizePriority(SizePriorityPolicy(batch_size=BATCH_SIZE, ageing_items_per_s=1e4)), 4.0),
    "separate queues": (
        SeparateQueues(
            SeparateQueuesPolicy(
                large_from_items=300, small_cores=24, small_batch_size=BATCH_SIZE, large_batch_size=BATCH_SIZE
            )
        ),
        4.0,
    ),
    "dynamic batching": (
        DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=BATCH_SIZE, timeout_ms=2.0)),
        4.0,
    ),
    "fusion on the accelerator": (
        Fusion(FusionPolicy(batch_size=BATCH_SIZE, offload_threshold_items=400, max_fused_items=1024)),
        4.0,
    ),
}
"""What runs on a node, and the target in million queries/s."""


class Row(NamedTuple):
    """One figure and its target; `at_most` where less is better."""

    name: str
    measured: float
    target: float | None = None
    unit: str = ""
    at_most: bool = False

    @property
    def meets(self) -> bool:
        """Whether the target is met; true without one."""
        if self.target is None:
            return True
        return self.measured <= self.target if self.at_most else self.measured >= self.target


def rival_rows(repetitions: int = 9) -> Iterator[Row]:
    """Ratios on 40 executors with batches of 64, one million queries, contention included."""
    service = node()
    source = traffic_at(UTILISATION, service)
    queries, finish_s = source.draw(MILLION, seed=1), np.empty(MILLION)
    ours_s = fastest_s(lambda: simulate_compiled(queries, service, SPLIT, finish_s=finish_s), repetitions)
    yield Row("compiled, split", MILLION / ours_s / 1e6, 20.0, "M queries/s")
    loops = build_loops(service.num_executors)
    if loops is not None:
        for name, target in (("vectors", 1.15), ("ring", None)):
            loop = loops[name]
            c_s = fastest_s(lambda: loop(queries, service, BATCH_SIZE, finish_s), repetitions)  # noqa: B023  # called at once
            yield Row(f"compiled / C ({name}), time", ours_s / c_s, target, "x", at_most=True)
    table_s = service.cpu_s.tolist()
    rivals: tuple[tuple[str, Callable[..., list[float]], int, float | None], ...] = (
        ("SimPy, a Resource and a process per request", simpy_textbook, 20_000, 500.0),
        ("fastest SimPy, callbacks on events", simpy_callbacks, 100_000, 80.0),
        ("plain Python, the same recursion", plain_python, 200_000, None),
    )
    for name, serve, num_queries, target in rivals:
        some = Queries(queries.arrival_s[:num_queries], queries.num_items[:num_queries])
        rival_s = min(once_s(lambda: serve(some, table_s, BATCH_SIZE)) for _ in range(3))  # noqa: B023  # called at once
        yield Row(f"compiled over {name}", rival_s / num_queries * MILLION / ours_s, target, "x")
    yield ciw_row()


def ciw_row(num_queries: int = 10_000) -> Row:
    """Both on the nearest system that Ciw has: whole queries on 40 servers, no splitting, no contention."""
    service = node(max_request=LAW.max_items, contended=False)
    whole = SplitAndOffload(batch_size=LAW.max_items)
    source = traffic_at(UTILISATION, service, whole)
    queries, finish_s = source.draw(MILLION, seed=1), np.empty(MILLION)
    ours_s = fastest_s(lambda: simulate_compiled(queries, service, whole, finish_s=finish_s))
    times_s = service.cpu_s[:, 0].tolist()
    ciw_s = once_s(lambda: ciw_whole_queries(source, times_s, service.num_executors, num_queries))
    return Row("compiled over Ciw (whole queries)", ciw_s / num_queries * MILLION / ours_s, 800.0, "x")


def policy_rows() -> Iterator[Row]:
    """Speed of every policy on 40 cores and an accelerator, of every routing over 16 nodes of 16 cores."""
    service = node()
    queries = traffic_at(UTILISATION, service).draw(MILLION, seed=1)
    for name, (policy, target) in POLICIES.items():
        time_s = fastest_s(lambda: simulate(queries, service, policy), 3)  # noqa: B023  # called at once
        yield Row(name, MILLION / time_s / 1e6, target, "M queries/s")
    small = node(executors=16)
    fleet = Fleet((NodeKind(service=small, policy=SPLIT),), (16,))
    rate_qps = 16 * traffic_at(UTILISATION, small).rate_qps
    queries = traffic_at(UTILISATION, small).at_rate(rate_qps).draw(MILLION, seed=1)
    for routing in Routing:
        time_s = fastest_s(lambda: simulate_fleet(queries, fleet, routing, seed=1), 3)  # noqa: B023  # called at once
        yield Row(f"16 x 16 cores, {routing.value}", MILLION / time_s / 1e6, 4.0, "M queries/s")


def unsteady_rows(repetitions: int = 7) -> Iterator[Row]:
    """The recursion with scatter and with pauses, and how much longer it takes than without."""
    steady = node()
    queries = traffic_at(UTILISATION, steady).draw(MILLION, seed=1)
    even = even_scatter(log_normal_factors(0.3))
    by_size = scatter_by_size(np.linspace(0.6, 0.2, steady.max_batch_items))
    pauses = (Pauses(rate_per_s=0.1, length_s=0.05),)
    cases: Mapping[str, tuple[ServiceTimes, float | None]] = {
        "without": (steady, None),
        "scatter": (replace(steady, cpu_scatter=even), 10.0),
        "scatter by size": (replace(steady, cpu_scatter=by_size), None),
        "pauses of the node": (replace(steady, node_pauses=pauses), 10.0),
        "scatter, and pauses of single cores": (replace(steady, cpu_scatter=even, core_pauses=pauses), 4.0),
    }
    base_s = None
    for name, (service, target) in cases.items():
        time_s = fastest_s(
            lambda: simulate(queries, service, SPLIT),  # noqa: B023  # called at once
            repetitions,
        )
        yield Row(f"split, {name}", MILLION / time_s / 1e6, target, "M queries/s")
        base_s = time_s if base_s is None else base_s
        yield Row(f"split, {name}: time over that without", time_s / base_s, None, "x")


def probe_rows(repetitions: int = 5) -> Iterator[Row]:
    """Arrival rates of one search together; without early exit, so that all queries are served."""
    service = node()
    source = traffic_at(UTILISATION, service)
    unit = source.at_rate(1.0).draw(MILLION, seed=1)
    limit = LateLimit(latency_s=0.02, warm_up=0, allowed=MILLION)
    for num_probes, target in ((1, None), (4, None), (8, 60.0)):
        shares = np.linspace(0.7, 1.1, num_probes).tolist()
        probes = [Probe(unit.arrival_s, share * source.rate_qps) for share in shares]
        time_s = fastest_s(
            lambda: count_late(probes, unit.num_items, service, SPLIT, limit),  # noqa: B023  # called at once
            repetitions,
        )
        yield Row(f"{num_probes} probes", num_probes * MILLION / time_s / 1e6, target, "M queries/s")
