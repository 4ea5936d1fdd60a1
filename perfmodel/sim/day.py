"""A rate that follows the time of day: whole periods, streamed, and the five minutes in which it is worst.

A day is not stationary: its percentile hides the peak, and ten minutes of it say nothing of the rest. So a
whole period is served, chunk by chunk, and of the latencies a histogram by window is kept. The worst window
is then simulated anew, several times and independently: a Poisson process has no memory, so a run may begin
at any time of the day, early enough for the backlog of the hours before to be part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from perfmodel.domain.serving import SimulationSettings
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.day_run import REPLICATIONS, DayRun, WindowResult
from perfmodel.sim.engines import EngineName, simulate
from perfmodel.sim.policies import Policy, Pool
from perfmodel.sim.records import rounding_at
from perfmodel.sim.run_result import OnNode, RunResult, overload
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Interval, require_served
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation

PEAK_LEAD_S = 600.0
"""Before the windows around the peak: many times what a queue that is not overloaded remembers. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayResult:
    """Whole periods.

    Attributes
    ----------
    worst : WindowResult
        Where the SLA's percentile is greatest.
    percentiles : mapping of float to Interval
        Over all queries of the period that are served. [s]
    mean_latency : Interval
        Likewise. [s]
    within_share : float or None
        Share of all queries that are served within the SLA's latency; None where no limit was given. [1]
    utilisation : PoolLoads
        Over the period. [1]
    shed_rate : float
        Share of the queries that were shed. [1]
    num_queries : int
        Simulated, without the repetitions of the worst window.
    ends_in_backlog : bool
        Whether the backlog of the day has not drained when the next one begins.
    notes : tuple of str
        What was left out.
    """

    worst: WindowResult
    percentiles: dict[float, Interval]
    mean_latency: Interval
    within_share: float | None
    utilisation: PoolLoads
    shed_rate: float
    num_queries: int
    ends_in_backlog: bool
    notes: tuple[str, ...]


def simulate_day(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    settings: SimulationSettings,
    *,
    percentile: float,
    wanted: Sequence[float],
    latency_s: float | None,
    engine: EngineName = "auto",
    replication: int = 0,
) -> DayResult:
    """Simulate whole periods, and the worst window again until its percentile is precise enough.

    Parameters
    ----------
    traffic : TrafficSource
        What `has_days` accepts.
    service, policy, settings, engine, replication
        See `run_until_precise`.
    percentile, wanted : float, sequence of float
        The SLA's, and all to be reported, ascending.
    latency_s : float or None
        The SLA's limit. [s]
    """
    day = DayRun(traffic, service, policy, settings.seed, engine)
    histogram, busy, notes = day.whole(settings.min_queries, replication, latency_s)
    require_served(histogram.num_served, histogram.num_queries)
    worst = histogram.worst_window(percentile, day.peak_window)
    begin = histogram.quiet_before(worst)
    bounds_s, begin_s = (day.start_s(worst), day.start_s(worst + 1)), day.start_s(begin)
    if not day.can_repeat(begin_s, bounds_s[1]) and histogram.is_quiet(worst):
        bounds_s = day.busiest_part_s(worst)
        begin_s = 2.0 * bounds_s[0] - bounds_s[1]
        notes = (*notes, f"of the worst window the busiest {bounds_s[1] - bounds_s[0]:.3g} s were repeated")
    if day.can_repeat(begin_s, bounds_s[1]):
        window = day.repeated(bounds_s, begin_s, settings, percentile, wanted, latency_s, replication)
    else:
        window = day.once(worst, begin, histogram, percentile, wanted)
    return DayResult(
        worst=window,
        percentiles={fraction: histogram.interval(fraction) for fraction in wanted},
        mean_latency=histogram.mean_interval(),
        within_share=None if latency_s is None else 1.0 - histogram.late_share,
        utilisation=busy,
        shed_rate=histogram.shed_share,
        num_queries=histogram.num_queries,
        ends_in_backlog=histogram.ends_in_backlog,
        notes=notes,
    )


def run_days(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    settings: SimulationSettings,
    *,
    percentile: float,
    wanted: Sequence[float],
    latency_s: float | None,
    engine: EngineName = "auto",
    replication: int = 0,
) -> RunResult:
    """Whole periods of a rate that follows the time of day, and their worst five minutes."""
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
        return overload(busiest, alone, contended, record=record)
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


def worst_window_late_share(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    latency_s: float,
    rates_qps: Sequence[float],
    *,
    seed: int,
    replications: int = REPLICATIONS,
    engine: EngineName = "auto",
) -> FloatArray:
    """Share of late queries in the worst five minutes at each mean rate, in independent repetitions. [1]

    Only the time around the peak is simulated: the window before it, the two after it, and half an hour
    before, or three quarters of a period where that is less. That is enough up to the rates at which some
    queries are late; beyond, where a backlog grows for hours, nearly all are, and a longer start would not
    change it. The same random numbers at every rate. The mean over the repetitions has the error that their
    scatter shows: `controlled_mean`.

    Returns
    -------
    (len(rates_qps), replications) float
        Of the window whose mean over the repetitions is greatest.
    """
    shares = []
    for rate_qps in rates_qps:
        day = DayRun(traffic.at_rate(rate_qps), service, policy, seed, engine)
        start = max(0, day.peak_window - 1)
        begin_s = max(day.start_s(start) - PEAK_LEAD_S, day.start_s(start) - 0.75 * day.period_s)
        end = day.peak_window + 2
        by_window = np.empty((replications, end - start))
        for repetition in range(replications):
            first_s = day.start_s(start)
            queries_s, served_s = day.span(begin_s, day.start_s(end), 1 + repetition, from_s=first_s)
            late = served_s > latency_s + rounding_at(day.start_s(end))
            bounds = np.searchsorted(queries_s, [day.start_s(index) for index in range(start, end + 1)])
            for index in range(end - start):
                inside = late[bounds[index] : bounds[index + 1]]
                by_window[repetition, index] = inside.mean() if len(inside) else 0.0
        shares.append(by_window[:, int(by_window.mean(axis=0).argmax())])
    return np.array(shares)
