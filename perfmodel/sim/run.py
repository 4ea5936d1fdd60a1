"""A run that goes on until its tail latency is known well enough, or says that it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.arrivals import cycle_queries
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.controls import LoadControls, load_controls
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy, Pool
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run_length import MIN_CYCLES, MOST_RECORDED, bounds, cycle_of, run_notes
from perfmodel.sim.run_result import REPORTED_PERCENTILES, OnNode, RunResult, overload
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import (
    NUM_BATCHES,
    Batches,
    Interval,
    SortedBatches,
    batch_span,
    mean_interval,
    of_served,
    percentile_interval,
    warm_up_queries,
)
from perfmodel.sim.traffic import Queries, TrafficSource, has_days
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation

if TYPE_CHECKING:
    from perfmodel.sim.long_run import LongRun

# By how much a run grows that is not precise enough: one that starts over, and one that goes on.
GROWTH_AFRESH = (2.0, 8.0)
GROWTH_CONTINUED = (1.25, 4.0)
IDLE_LOAD = 1e-4
"""Utilisation below which queries find the node idle, as far as any percentile can tell. [1]"""
RECORDED_QUERIES = 2_000_000
"""A longer run of the compiled recursion keeps the latencies of all queries, and all else of these."""


def run_until_precise(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    settings: SimulationSettings,
    *,
    percentile: float,
    reported: Iterable[float] = REPORTED_PERCENTILES,
    engine: EngineName = "auto",
    replication: int = 0,
    latency_s: float | None = None,
) -> RunResult:
    """Simulate until the relative half-width at `percentile` is at most `settings.precision`.

    A run that is not precise enough is continued from the same random streams, up to
    `settings.max_queries`. A trace is replayed once, whole, from its first query on: there is no warm-up to
    leave out, since what was recorded started that way too. A policy that sheds cannot be overloaded: what
    it cannot serve it refuses.

    Parameters
    ----------
    traffic, service, policy
        What arrives, how long it takes, where it goes.
    settings : SimulationSettings
        Seed, precision, and the bounds on the number of queries.
    percentile : float
        The SLA's, as a fraction.
    reported : iterable of float
        Further percentiles to report.
    engine : {"auto", "compiled", "simpy"}
        See `simulate`.
    replication : int, default 0
        Chooses an independent repetition.
    latency_s : float, optional
        The SLA's limit, for the share of a day within it. [s]

    Raises
    ------
    InputError
        If a service time is missing, or a trace is too short for a confidence interval.
    """
    wanted = sorted({percentile, *reported})
    if traffic.is_closed:
        from perfmodel.sim.users_run import run_users  # few loads are so many users

        return run_users(
            *(traffic, service, policy, settings),
            percentile=percentile,
            wanted=wanted,
            engine=engine,
            replication=replication,
        )
    alone = offered_utilisation(traffic, service, policy, contended=False)
    contended = offered_utilisation(traffic, service, policy, contended=True)
    sheds = policy.shedding is not None
    if max(alone) >= 1.0 and not sheds:
        busiest = Pool.CPU if alone.cpu >= 1.0 else Pool.ACCELERATOR
        return overload(busiest, alone, contended, record=None)
    busy = _meetings(traffic, policy, contended)
    # The rate that is asked for has this load but for what rounding does to it, once.
    if busy < IDLE_LOAD * (1 - 1e-9):
        livelier = traffic.at_rate(traffic.rate_qps * IDLE_LOAD / busy)
        found = run_until_precise(
            livelier, service, policy, settings, percentile=percentile, reported=reported, engine=engine
        )
        return _slowed(found, traffic.rate_qps / livelier.rate_qps, alone, contended)
    if has_days(traffic):
        from perfmodel.sim.day import run_days  # few loads follow the time of day

        return run_days(
            *(traffic, service, policy, settings),
            percentile=percentile,
            wanted=wanted,
            latency_s=latency_s,
            engine=engine,
            replication=replication,
        )
    controls = None if sheds else load_controls(traffic, service, policy)
    cycle = cycle_of(traffic, service, contended, percentile)
    queries_in = None if cycle is None else cycle.queries
    fewest, most = bounds(traffic, settings, max(wanted), controls, queries_in)
    num_queries = fewest
    # Over many bursts, or periods, a load below 1 drains, though one run may end in a burst.
    steady = cycle_queries(traffic.arrivals) is None
    may_overload = not sheds and (steady or max(contended) >= 1.0)
    record: RunRecord | None = None
    long_run: LongRun | None = None
    while True:
        if num_queries > RECORDED_QUERIES and long_run is None and engine != "simpy":
            long_run = _long_run(traffic, service, policy, settings, replication, most)
        if long_run is None and num_queries > MOST_RECORDED and traffic.num_recorded is None:
            num_queries = most = MOST_RECORDED
        if record is None or long_run is None:
            recorded = num_queries if long_run is None else RECORDED_QUERIES
            queries = traffic.draw(recorded, seed=settings.seed, replication=replication)
            record = simulate(queries, service, policy, engine=engine)
            if may_overload and (pool := overloaded_pool(record)) is not None:
                return overload(pool, alone, contended, record=record)
        node_s = record.node_latency_s if long_run is None else long_run.node_latency_s(num_queries)
        outside_s = record.outside_s if long_run is None else long_run.outside_s(num_queries)
        all_s = node_s if outside_s is None else node_s + outside_s
        warm_up = 0 if traffic.num_recorded is not None else warm_up_queries(num_queries)
        counted = batch_span(num_queries, warm_up)
        batch_controls = None
        if long_run is not None:
            batch_controls = long_run.controls(counted)
        elif controls is not None:
            batch_controls = controls.by_batch(queries.first(counted.stop), counted.start, NUM_BATCHES)
        served_s = all_s[counted]
        if record.shed is not None:
            served_s = of_served(served_s, record.served[counted])
        # Stamps of a longer run are larger, and so is what rounding does to them.
        rounding_s = record.rounding_s * max(1.0, num_queries / max(1, record.num_queries))
        batches = SortedBatches if long_run is None else _ranked
        mean, intervals = _statistics(served_s, batch_controls, rounding_s, wanted, batches)
        excess = intervals[percentile].relative_half_width / settings.precision
        if excess <= 1.0 or num_queries >= most:
            break
        # The half-width shrinks like 1 / sqrt(n); a tenth more, lest one more round be needed. How much
        # more a short run asks for is itself uncertain by half: a longer one first, where it is a lot.
        least, greatest = GROWTH_AFRESH if long_run is None else GROWTH_CONTINUED
        num_queries = min(most, ceil(num_queries * max(least, min(greatest, 1.1 * excess**2))))
    throughput_qps, items_per_s = _throughput(traffic, record)
    cycles = needed = None
    if cycle is not None:
        cycles = num_queries / cycle.queries
        needed = None if cycles >= MIN_CYCLES else ceil(MIN_CYCLES * cycle.queries)
    of_asked = None
    if record.shed is not None:
        of_asked = percentile_interval(all_s[counted], percentile, rounding_s=rounding_s)
    node_mean, on_node = mean, intervals
    if outside_s is not None:
        node_served_s = node_s[counted] if record.shed is None else node_s[counted][record.served[counted]]
        node_mean, on_node = _statistics(node_served_s, batch_controls, rounding_s, wanted, batches)
    return RunResult(
        overloaded=None,
        mean_latency=mean,
        percentiles=intervals,
        of_asked=of_asked,
        on_node=OnNode(node_mean.value_s, {each: found.value_s for each, found in on_node.items()}),
        precision_reached=excess <= 1.0 and needed is None,
        num_queries=num_queries,
        warm_up_queries=warm_up,
        alone=alone,
        contended=contended,
        utilisation=_utilisation(traffic, queries, record, controls),
        throughput_qps=throughput_qps,
        throughput_items_per_s=items_per_s,
        record=record,
        notes=run_notes(
            *(traffic, record, num_queries, contended, intervals[percentile], percentile, settings),
            *(needed, cycle, service),
        ),
        shed_share=record.shed_rate,
        cycles=cycles,
        needed_queries=needed,
    )


def _meetings(traffic: TrafficSource, policy: Policy, contended: PoolLoads) -> float:
    """Return how often queries meet each other in the node, or in a launch that waits for more of them. [1]

    1 where a rate cannot be exchanged for another: its queries do not come as they like, or a decider of
    the user's own is told the time.
    """
    if (
        not isinstance(traffic.arrivals, PoissonArrivals)
        or type(policy).place_query is not Policy.place_query
    ):
        return 1.0
    waits_s = (lane.joining.wait_s for lane in policy.lanes if lane.joining is not None)
    return max(*contended, traffic.rate_qps * max(waits_s, default=0.0))


def _slowed(found: RunResult, factor: float, alone: PoolLoads, contended: PoolLoads) -> RunResult:
    """Return what a run says of a rate lower by a factor, at which its queries find the node as idle."""
    assert found.utilisation is not None
    assert found.throughput_qps is not None
    assert found.throughput_items_per_s is not None
    return replace(
        found,
        alone=alone,
        contended=contended,
        utilisation=PoolLoads(found.utilisation.cpu * factor, found.utilisation.accelerator * factor),
        throughput_qps=found.throughput_qps * factor,
        throughput_items_per_s=found.throughput_items_per_s * factor,
        notes=(
            *found.notes,
            f"the node is idle but for {max(contended):.2g} of the time: latencies are those at "
            f"{max(contended) / factor:.2g}, since time stamps of so slow a run are too coarse",
        ),
    )


def _long_run(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    settings: SimulationSettings,
    replication: int,
    most: int,
) -> LongRun | None:
    """Return a run that keeps nothing but latencies; None where only whole runs can be simulated."""
    # Imported on use, as the compiled engine is.
    from perfmodel.sim.long_run import LongRun, can_be_long

    if not can_be_long(traffic, service, policy):
        return None
    return LongRun(traffic, service, policy, seed=settings.seed, replication=replication, most=most)


def _statistics(
    latency_s: FloatArray,
    controls: FloatArray | None,
    rounding_s: float,
    percentiles: Sequence[float],
    batches_of: Callable[[FloatArray, int], Batches],
) -> tuple[Interval, dict[float, Interval]]:
    mean = mean_interval(latency_s, controls)  # refuses too few
    batches = batches_of(latency_s, NUM_BATCHES)

    def interval(percentile: float) -> Interval:
        return percentile_interval(
            latency_s, percentile, controls=controls, batches=batches, rounding_s=rounding_s
        )

    return mean, {percentile: interval(percentile) for percentile in percentiles}


def _ranked(latency_s: FloatArray, num_batches: int) -> Batches:
    from perfmodel.sim.selection import RankedBatches  # compiled too

    return RankedBatches(latency_s, num_batches)


def _throughput(traffic: TrafficSource, record: RunRecord) -> tuple[float, float]:
    """Queries and items served per second: of drawn traffic what the law offers, less what was shed."""
    if traffic.num_recorded is not None:
        items = int(record.num_items[record.served].sum())
        return record.throughput_qps, items / record.makespan_s
    offered = traffic.rate_qps * traffic.size_pmf.mean_items
    if record.shed is None:
        return traffic.rate_qps, offered
    shed_items = traffic.rate_qps * int(record.num_items[record.shed].sum()) / record.num_queries
    return traffic.rate_qps * (1.0 - record.shed_rate), offered - shed_items


def _utilisation(
    traffic: TrafficSource, queries: Queries, record: RunRecord, controls: LoadControls | None
) -> PoolLoads:
    """How busy the record's executors are, less what its queries happened to ask for beyond the mean."""
    measured = PoolLoads(record.cpu_utilisation, record.accelerator_utilisation or 0.0)
    if controls is None or controls.mean_gap_s is None:
        return measured
    cpu, accelerator = controls.expected_over_drawn(queries)
    over_time = traffic.rate_qps * record.makespan_s / record.num_queries
    return PoolLoads(
        min(1.0, measured.cpu * cpu * over_time), min(1.0, measured.accelerator * accelerator * over_time)
    )
