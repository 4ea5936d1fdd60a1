"""A run of closed users that goes on until its tail latency is known well enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import ClosedArrivals, PoissonArrivals
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run_length import LEAST_ROUNDS, MIN_QUERIES_BEYOND, MOST_RECORDED, ended_by
from perfmodel.sim.run_result import OnNode, RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Interval, mean_interval, of_served, percentile_interval, warm_up_queries
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation

WARM_UP_ROUNDS = 3
"""Queries of each user at the beginning that are left out: all start by thinking, and the node is empty."""

GROWTH = (2.0, 8.0)
"""By how much a run grows that is not precise enough."""


def run_users(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    settings: SimulationSettings,
    *,
    percentile: float,
    wanted: Sequence[float],
    engine: EngineName = "auto",
    replication: int = 0,
) -> RunResult:
    """Simulate until the relative half-width at `percentile` is at most `settings.precision`.

    What is offered is what is served: `alone` and `contended` are the utilisation at the throughput found.
    """
    arrivals = traffic.arrivals
    assert isinstance(arrivals, ClosedArrivals), "checked by the caller"
    rounds = LEAST_ROUNDS * arrivals.users
    most = max(settings.min_queries, min(settings.max_queries, MOST_RECORDED), rounds)
    fewest = max(settings.min_queries, ceil(MIN_QUERIES_BEYOND / (1.0 - max(wanted)) / 0.9), rounds)
    num_queries = min(most, fewest)
    while True:
        queries = traffic.draw(num_queries, seed=settings.seed, replication=replication)
        record = simulate(queries, service, policy, engine=engine)
        warm_up = max(warm_up_queries(num_queries), WARM_UP_ROUNDS * arrivals.users)
        served = record.served[warm_up:]
        all_s, node_s = (
            of_served(each[warm_up:], served) for each in (record.latency_s, record.node_latency_s)
        )

        def interval(fraction: float) -> Interval:
            return percentile_interval(all_s, fraction, rounding_s=record.rounding_s)  # noqa: B023

        found = interval(percentile)
        excess = found.relative_half_width / settings.precision
        if excess <= 1.0 or num_queries >= most:
            break
        num_queries = min(most, ceil(num_queries * max(GROWTH[0], min(GROWTH[1], 1.1 * excess**2))))
    throughput_qps = throughput_of(record, warm_up)
    loads = loads_at(traffic, service, policy, throughput_qps)
    notes = []
    if excess > 1.0:
        end = ended_by(num_queries, settings)
        notes.append(
            f"p{100 * percentile:g} {found.short_of(settings.precision)}: {end} ended the run after "
            f"{num_queries} queries"
        )
    if record.shed is not None:
        notes.append(
            f"{record.shed_rate:.3%} of the queries were shed, and their users thought again; latencies are "
            "those of the queries served"
        )
    return RunResult(
        overloaded=None,
        mean_latency=mean_interval(all_s),
        percentiles={fraction: interval(fraction) for fraction in wanted},
        of_asked=None
        if record.shed is None
        else percentile_interval(record.latency_s[warm_up:], percentile, rounding_s=record.rounding_s),
        on_node=OnNode(
            float(node_s.mean()),
            {
                fraction: percentile_interval(node_s, fraction, rounding_s=record.rounding_s).value_s
                for fraction in wanted
            },
        ),
        precision_reached=excess <= 1.0,
        num_queries=num_queries,
        warm_up_queries=warm_up,
        alone=loads[0],
        contended=loads[1],
        utilisation=PoolLoads(record.cpu_utilisation, record.accelerator_utilisation or 0.0),
        throughput_qps=throughput_qps * (1.0 - record.shed_rate),
        throughput_items_per_s=throughput_qps * (1.0 - record.shed_rate) * traffic.size_pmf.mean_items,
        record=record,
        notes=tuple(notes),
        shed_share=record.shed_rate,
    )


def throughput_of(record: RunRecord, warm_up: int) -> float:
    """Queries asked per second after the warm-up. [queries/s]"""
    span_s = float(record.arrival_s[-1] - record.arrival_s[warm_up])
    return (record.num_queries - 1 - warm_up) / span_s if span_s > 0.0 else 0.0


def loads_at(
    traffic: TrafficSource, service: ServiceTimes, policy: Policy, rate_qps: float
) -> tuple[PoolLoads, PoolLoads]:
    """Utilisation that a rate asks, without contention and with all executors busy. [1]"""
    opened = replace(traffic, arrivals=PoissonArrivals(rate_qps=rate_qps))
    alone, contended = (
        offered_utilisation(opened, service, policy, contended=contended) for contended in (False, True)
    )
    return alone, contended
