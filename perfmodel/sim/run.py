"""A run that goes on until its tail latency is known well enough, or says that it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, isfinite
from typing import TYPE_CHECKING, NamedTuple

from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.arrivals import cycle_queries
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.controls import LoadControls, load_controls
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy, Pool
from perfmodel.sim.records import RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import (
    NUM_BATCHES,
    Batches,
    Interval,
    SortedBatches,
    batch_span,
    mean_interval,
    percentile_interval,
    warm_up_queries,
)
from perfmodel.sim.traffic import Queries, TrafficSource, has_days
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation

if TYPE_CHECKING:
    from perfmodel.sim.day_run import WindowResult
    from perfmodel.sim.long_run import LongRun

REPORTED_PERCENTILES = (0.5, 0.95, 0.99, 0.999)
# A percentile with fewer queries beyond it is a statement about a handful of queries.
MIN_QUERIES_BEYOND = 100
# By how much a run grows that is not precise enough: one that starts over, and one that goes on.
GROWTH_AFRESH = (2.0, 8.0)
GROWTH_CONTINUED = (1.25, 4.0)
IDLE_LOAD = 1e-4
"""Utilisation below which queries find the node idle, as far as any percentile can tell. [1]"""
STEADY_RUN = 1000.0
"""Times that a run is as long as it takes to work off the mean backlog; below, errors are not to be told."""
MIN_CYCLES = 30
"""Bursts, or periods, of which a run has at least one in every batch: with fewer nothing is said."""
STEADY_CYCLES = 300
"""The same for batch means that tell their own error: of runs that could stop at once, 95 % intervals of p95
hold the truth in 81 % with 30, in 89 % with 120, in 94 % with 300 bursts."""
MATTERS = 0.1
"""Share of the queries beyond a percentile that has to be touched by something rare for it to matter. [1]"""
LEAST_IDLE = 0.01
"""Share of idle time at which a backlog is taken to drain at the least. [1]"""
RECORDED_QUERIES = 2_000_000
"""A longer run of the compiled recursion keeps the latencies of all queries, and all else of these."""


class OnNode(NamedTuple):
    """Latency on the node alone, without what is spent outside of it: its mean, and by percentile. [s]"""

    mean_s: float
    percentiles_s: Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult:
    """What a run found; an overload has no latencies.

    Attributes
    ----------
    overloaded : Pool or None
        The pool that cannot keep up; None: the run is stable.
    mean_latency : Interval or None
        None where overloaded. [s]
    percentiles : mapping of float to Interval
        Latency by percentile, a fraction, of the queries that were served; empty where overloaded. [s]
    on_node : OnNode or None
        The same without what queries spend outside the node; None where overloaded.
    precision_reached : bool
        Whether the interval at the SLA's percentile is as narrow as the settings ask.
    num_queries, warm_up_queries : int
        Queries simulated, and those of them left out of the statistics.
    alone, contended : PoolLoads
        Utilisation offered, with every request alone on the node and with all executors busy. [1]
    utilisation : PoolLoads or None
        Fraction of the time in which the cores, all together, and the accelerators were busy, for the mean
        query of the law instead of that of the run; None where overloaded. [1]
    throughput_qps, throughput_items_per_s : float or None
        Queries and items served per second: of drawn traffic what is offered less what was shed; None where
        overloaded. [queries/s], [items/s]
    record : RunRecord or None
        The queries of the run, warm-up included, of a very long one the first `RECORDED_QUERIES`; None where
        the load was refused beforehand.
    notes : tuple of str
        What a reader of the figures must know.
    shed_share : float
        Fraction of the queries that were refused or dropped. [1]
    cycles : float or None
        Bursts, or periods, that so many queries hold in the mean; None where there are none. [1]
    needed_queries : int or None
        Queries that hold `MIN_CYCLES` of them, where the run holds fewer: its figures are those of the few
        that it saw, and no interval tells how far they are off.
    worst : WindowResult or None
        Where the rate follows the time of day, the five minutes in which the SLA's percentile is greatest;
        `percentiles` and the others are those of whole periods, `precision_reached` that of the worst.
    within_share : float or None
        Share of a day's queries that are served within the SLA's latency; None for other traffic, or where
        no limit was given. [1]
    """

    overloaded: Pool | None
    mean_latency: Interval | None
    percentiles: Mapping[float, Interval]
    on_node: OnNode | None = None
    precision_reached: bool
    num_queries: int
    warm_up_queries: int
    alone: PoolLoads
    contended: PoolLoads
    utilisation: PoolLoads | None = None
    throughput_qps: float | None = None
    throughput_items_per_s: float | None = None
    record: RunRecord | None
    notes: tuple[str, ...]
    shed_share: float = 0.0
    cycles: float | None = None
    needed_queries: int | None = None
    worst: WindowResult | None = None
    within_share: float | None = None

    @property
    def is_stable(self) -> bool:
        """Whether the executors can serve the load."""
        return self.overloaded is None

    def goodput_qps(self, latency_s: float) -> float | None:
        """Queries served per second within a latency; None where overloaded. [queries/s]"""
        if self.record is None or self.throughput_qps is None:
            return None
        if self.within_share is not None and self.record.num_served:  # of a whole day, not of its record
            return self.throughput_qps / (1.0 - self.shed_share) * self.within_share
        served_s = self.record.latency_s[self.record.served]
        return self.throughput_qps * float((served_s <= latency_s).mean()) if len(served_s) else 0.0


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
        return _overload(busiest, alone, contended, record=None)
    if isinstance(traffic.arrivals, PoissonArrivals) and max(contended) < IDLE_LOAD:
        livelier = traffic.at_rate(traffic.rate_qps * IDLE_LOAD / max(contended))
        found = run_until_precise(
            livelier, service, policy, settings, percentile=percentile, reported=reported, engine=engine
        )
        return _slowed(found, traffic.rate_qps / livelier.rate_qps, alone, contended)
    if has_days(traffic):
        return _whole_days(
            traffic, service, policy, settings, percentile, wanted, engine, replication, latency_s
        )
    controls = None if sheds else load_controls(traffic, service, policy)
    cycle = _cycle(traffic, service, contended, percentile)
    queries_in = None if cycle is None else cycle.queries
    fewest, most = _bounds(traffic, settings, max(wanted), controls, queries_in)
    num_queries = fewest
    # Over many bursts, or periods, a load below 1 drains, though one run may end in a burst.
    steady = cycle_queries(traffic.arrivals) is None
    may_overload = not sheds and (steady or max(contended) >= 1.0)
    record: RunRecord | None = None
    long_run: LongRun | None = None
    while True:
        if num_queries > RECORDED_QUERIES and long_run is None and engine != "simpy":
            long_run = _long_run(traffic, service, policy, settings, replication, most)
        if record is None or long_run is None:
            recorded = num_queries if long_run is None else RECORDED_QUERIES
            queries = traffic.draw(recorded, seed=settings.seed, replication=replication)
            record = simulate(queries, service, policy, engine=engine)
            if may_overload and (pool := overloaded_pool(record)) is not None:
                return _overload(pool, alone, contended, record=record)
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
            served_s = served_s[record.served[counted]]
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
    node_mean, on_node = mean, intervals
    if outside_s is not None:
        node_served_s = node_s[counted] if record.shed is None else node_s[counted][record.served[counted]]
        node_mean, on_node = _statistics(node_served_s, batch_controls, rounding_s, wanted, batches)
    return RunResult(
        overloaded=None,
        mean_latency=mean,
        percentiles=intervals,
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
        notes=_notes(
            *(traffic, record, num_queries, contended, intervals[percentile], percentile, settings),
            *(needed, cycle, service),
        ),
        shed_share=record.shed_rate,
        cycles=cycles,
        needed_queries=needed,
    )


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
            f"{IDLE_LOAD:g}, since time stamps of so slow a run are too coarse",
        ),
    )


def _whole_days(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    settings: SimulationSettings,
    percentile: float,
    wanted: Sequence[float],
    engine: EngineName,
    replication: int,
    latency_s: float | None,
) -> RunResult:
    """Whole periods of a rate that follows the time of day, and their worst five minutes."""
    from perfmodel.sim.day import simulate_day  # few loads follow the time of day

    alone = offered_utilisation(traffic, service, policy, contended=False)
    contended = offered_utilisation(traffic, service, policy, contended=True)
    simulated = partial(
        simulate_day,
        service=service,
        policy=policy,
        settings=settings,
        percentile=percentile,
        wanted=wanted,
        latency_s=latency_s,
        engine=engine,
        replication=replication,
    )
    day = simulated(traffic)
    on_node = day if traffic.outside is None else simulated(replace(traffic, outside=None))
    recorded = min(settings.min_queries, day.num_queries)
    queries = traffic.draw(recorded, seed=settings.seed, replication=replication)
    record = simulate(queries, service, policy, engine=engine)
    if day.ends_in_backlog and max(contended) >= 1.0 and policy.shedding is None:
        busiest = Pool.CPU if contended.cpu >= contended.accelerator else Pool.ACCELERATOR
        return _overload(busiest, alone, contended, record=record)
    found = day.worst.percentiles[percentile]
    notes = list(day.notes)
    if found.relative_half_width > settings.precision:
        notes.append(f"p{100 * percentile:g} of the worst window {found.short_of(settings.precision)}")
    if day.ends_in_backlog:
        notes.append("the backlog of one period reaches into the next, which begins with an idle node here")
    served = 1.0 - day.shed_rate
    if policy.shedding is not None:
        notes.append(
            f"{day.shed_rate:.3%} of the queries were shed; latencies are those of the queries served"
        )
    return RunResult(
        overloaded=None,
        mean_latency=day.mean_latency,
        percentiles=day.percentiles,
        on_node=OnNode(
            on_node.mean_latency.value_s, {each: found.value_s for each, found in on_node.percentiles.items()}
        ),
        precision_reached=found.relative_half_width <= settings.precision,
        num_queries=day.num_queries,
        warm_up_queries=0,
        alone=alone,
        contended=contended,
        utilisation=day.utilisation,
        throughput_qps=traffic.rate_qps * served,
        throughput_items_per_s=traffic.rate_qps * traffic.size_pmf.mean_items * served,
        record=record,
        notes=tuple(notes),
        shed_share=day.shed_rate,
        worst=day.worst,
        within_share=day.within_share,
    )


def _rare_pauses(traffic: TrafficSource, service: ServiceTimes, num_queries: int) -> list[str]:
    """Say where a run holds so few pauses that percentiles which they reach are those of a handful."""
    rates = [pauses.rate_per_s for pauses in service.node_pauses]
    rates += [pauses.rate_per_s * service.num_executors for pauses in service.core_pauses]
    held = min((num_queries * rate / traffic.rate_qps for rate in rates), default=float(MIN_CYCLES))
    if held >= MIN_CYCLES:
        return []
    return [
        f"the run holds {held:.2g} pauses of a kind in the mean: percentiles that they reach are those of a "
        f"handful; simulation.min_queries={ceil(MIN_CYCLES * num_queries / held)} holds {MIN_CYCLES}"
    ]


class _Cycle(NamedTuple):
    """What has to come often in a run: queries from one to the next in the mean."""

    queries: float
    of: str


def _cycle(
    traffic: TrafficSource, service: ServiceTimes, contended: PoolLoads, percentile: float
) -> _Cycle | None:
    """The longest of bursts, periods, and those pauses that the percentile hangs on; None without any.

    A pause of the node of length L at utilisation u leaves a backlog that takes L / (1 - u) to drain; pauses
    matter where they touch a tenth of the queries beyond the percentile.
    """
    found = []
    bursts = cycle_queries(traffic.arrivals)
    if bursts is not None:
        found.append(_Cycle(bursts, "bursts"))
    idle = max(LEAST_IDLE, 1.0 - max(contended))
    for kinds, executors in ((service.node_pauses, 1), (service.core_pauses, service.num_executors)):
        for pauses in kinds:
            if pauses.load / idle >= MATTERS * (1.0 - percentile):
                found.append(_Cycle(traffic.rate_qps / (pauses.rate_per_s * executors), "pauses"))
    return max(found, default=None)


def _bounds(
    traffic: TrafficSource,
    settings: SimulationSettings,
    highest: float,
    controls: LoadControls | None,
    cycle: float | None,
) -> tuple[int, int]:
    """The fewest and the most queries to simulate."""
    if traffic.num_recorded is not None:
        return traffic.num_recorded, traffic.num_recorded
    most = max(settings.min_queries, settings.max_queries)
    beyond = ceil(MIN_QUERIES_BEYOND / (1.0 - highest) / 0.9)  # a tenth may be warm-up
    relaxed = [] if controls is None else controls.relaxation_queries.tolist()
    steady = max((STEADY_RUN * queries for queries in relaxed if isfinite(queries)), default=0.0)
    fewest = max(settings.min_queries, beyond, steady, 0.0 if cycle is None else STEADY_CYCLES * cycle)
    return min(most, ceil(min(fewest, most))), most


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
    from perfmodel.sim.selection import RankedBatches

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


def _overload(pool: Pool, alone: PoolLoads, contended: PoolLoads, *, record: RunRecord | None) -> RunResult:
    loads = [load.accelerator if pool is Pool.ACCELERATOR else load.cpu for load in (alone, contended)]
    name = pool.name.lower().replace("_", " ")
    if record is None:
        note = f"{name}: the load needs {loads[0]:.3g} times what it can serve, even without contention"
    else:
        note = f"{name}: the backlog grew throughout the run"
        if loads[1] >= 1.0:  # less only where a policy chooses worse than the best placement
            note += f"; with all executors busy, utilisation is {loads[1]:.3g}"
    return RunResult(
        overloaded=pool,
        mean_latency=None,
        percentiles={},
        precision_reached=False,
        num_queries=0 if record is None else record.num_queries,
        warm_up_queries=0,
        alone=alone,
        contended=contended,
        record=record,
        notes=(note,),
    )


def _notes(
    traffic: TrafficSource,
    record: RunRecord,
    num_queries: int,
    contended: PoolLoads,
    interval: Interval,
    percentile: float,
    settings: SimulationSettings,
    needed: int | None,
    cycle: _Cycle | None,
    service: ServiceTimes,
) -> tuple[str, ...]:
    notes = []
    if needed is not None:
        assert cycle is not None, "of which more are needed"
        notes.append(
            f"the run holds {MIN_CYCLES * num_queries / needed:.2g} {cycle.of} in the mean, too few to say "
            f"what is usual; {MIN_CYCLES} take simulation.max_queries={needed}"
        )
    elif cycle is not None and num_queries < STEADY_CYCLES * cycle.queries:
        notes.append(
            f"the run holds {num_queries / cycle.queries:.3g} {cycle.of} in the mean; intervals of fewer "
            f"than {STEADY_CYCLES} are too narrow (of {MIN_CYCLES}, they hold the truth in 81 %): "
            f"simulation.max_queries={ceil(STEADY_CYCLES * cycle.queries)} allows as many"
        )
    elif cycle is None or cycle.of == "bursts":
        notes += _rare_pauses(traffic, service, num_queries)
    if interval.relative_half_width > settings.precision:
        end = "the trace" if traffic.num_recorded is not None else "max_queries"
        notes.append(
            f"p{100 * percentile:g} {interval.short_of(settings.precision)}: "
            f"{end} ended the run after {num_queries} queries"
        )
    if record.shed is not None:
        notes.append(
            f"{record.shed_rate:.3%} of the queries were shed; latencies are those of the queries served"
        )
    elif max(contended) >= 1.0:
        notes.append(
            f"metastable: with all executors busy, utilisation is {max(contended):.3g}; no backlog grew in "
            f"this run, but a burst that fills every executor would start one that never drains"
        )
    return tuple(notes)
