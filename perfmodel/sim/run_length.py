"""How long a run has to be to be more than a handful of events, and what to say of shorter ones."""

from __future__ import annotations

from math import ceil, isfinite
from typing import NamedTuple

from perfmodel.domain.bounds import MOST_QUERIES
from perfmodel.domain.serving import SimulationSettings
from perfmodel.sim.arrivals import cycle_queries
from perfmodel.sim.controls import LoadControls
from perfmodel.sim.records import RunRecord
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Interval
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import PoolLoads

MIN_QUERIES_BEYOND = 100
"""Beyond a percentile: with fewer it is a statement about a handful of queries."""
STEADY_RUN = 1000.0
"""Times that a run is as long as it takes to work off the mean backlog; below, errors are not to be told."""
MIN_CYCLES = 30
"""Bursts, or periods, of which a run has at least one in every batch: with fewer nothing is said."""
STEADY_CYCLES = 300
"""The same for batch means that tell their own error: of runs that could stop at once, 95 % intervals of p95
hold the truth in 81 % with 30, in 89 % with 120, in 94 % with 300 bursts."""
MATTERS = 0.1
"""Share of the queries beyond a percentile that has to be touched by something rare for it to matter. [1]"""
LEAST_ROUNDS = 30
"""Queries of each user in a run, at least: ten times those left out."""
MOST_RECORDED = 20_000_000
"""Queries of a run that keeps everything that happened, some sixty bytes a query: more take gigabytes."""
LEAST_IDLE = 0.01
"""Share of idle time at which a backlog is taken to drain at the least. [1]"""


class Cycle(NamedTuple):
    """What has to come often in a run: queries from one to the next in the mean."""

    queries: float
    of: str


def cycle_of(
    traffic: TrafficSource, service: ServiceTimes, contended: PoolLoads, percentile: float
) -> Cycle | None:
    """The longest of bursts, periods, and those pauses that the percentile hangs on; None without any.

    A pause of the node of length L at utilisation u leaves a backlog that takes L / (1 - u) to drain; pauses
    matter where they touch a tenth of the queries beyond the percentile.
    """
    found = []
    bursts = cycle_queries(traffic.arrivals)
    if bursts is not None:
        found.append(Cycle(bursts, "bursts"))
    idle = max(LEAST_IDLE, 1.0 - max(contended))
    for kinds, executors in ((service.node_pauses, 1), (service.core_pauses, service.num_executors)):
        for pauses in kinds:
            if pauses.load / idle >= MATTERS * (1.0 - percentile):
                found.append(Cycle(traffic.rate_qps / (pauses.rate_per_s * executors), "pauses"))
    return max(found, default=None)


def bounds(
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


def _rare_pauses(traffic: TrafficSource, service: ServiceTimes, num_queries: int) -> list[str]:
    """Say where a run holds so few pauses that percentiles which they reach are those of a handful."""
    rates = [pauses.rate_per_s for pauses in service.node_pauses]
    rates += [pauses.rate_per_s * service.num_executors for pauses in service.core_pauses]
    held = min((num_queries * rate / traffic.rate_qps for rate in rates), default=float(MIN_CYCLES))
    if held >= MIN_CYCLES:
        return []
    needed = ceil(MIN_CYCLES * num_queries / held)
    return [
        f"the run holds {held:.2g} pauses of a kind in the mean: percentiles that they reach are those of a "
        f"handful; {MIN_CYCLES} take {_setting('min_queries', needed, MOST_RECORDED)}"
    ]


def _setting(key: str, needed: int, most: int) -> str:
    """What to set for so many queries; where a run may have no such number, that."""
    if needed > most:
        return f"{needed:,} queries, more than a run may have"
    return f"simulation.{key}={needed}"


def ended_by(num_queries: int, settings: SimulationSettings) -> str:
    """What ended a run that is not precise enough: what it may have, or what memory holds of it."""
    held = num_queries == MOST_RECORDED < settings.max_queries
    return "memory, which holds all that happened," if held else "max_queries"


def run_notes(
    traffic: TrafficSource,
    record: RunRecord,
    num_queries: int,
    contended: PoolLoads,
    interval: Interval,
    percentile: float,
    settings: SimulationSettings,
    needed: int | None,
    cycle: Cycle | None,
    service: ServiceTimes,
) -> tuple[str, ...]:
    """What a reader of a run's figures must know: too few of something, a wide interval, what was shed."""
    notes = []
    if needed is not None:
        assert cycle is not None, "of which more are needed"
        notes.append(
            f"the run holds {MIN_CYCLES * num_queries / needed:.2g} {cycle.of} in the mean, too few to say "
            f"what is usual; {MIN_CYCLES} take {_setting('max_queries', needed, MOST_QUERIES)}"
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
        end = "the trace" if traffic.num_recorded is not None else ended_by(num_queries, settings)
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
