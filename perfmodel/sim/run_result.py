"""What a run found, however it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from perfmodel.sim.policies import Pool
from perfmodel.sim.records import RunRecord
from perfmodel.sim.statistics import Interval
from perfmodel.sim.utilisation import PoolLoads

if TYPE_CHECKING:
    from perfmodel.sim.day_run import WindowResult

REPORTED_PERCENTILES = (0.5, 0.95, 0.99, 0.999)
"""Reported beside the SLA's. [1]"""


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
    of_asked : Interval or None
        Latency at the SLA's percentile of all queries, those turned away taking for ever: inf where it is one
        of them; None where none can be, and where overloaded. Of a day see `worst`. [s]
    on_node : OnNode or None
        The same as `percentiles` without what queries spend outside the node; None where overloaded.
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
    of_asked: Interval | None = None
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

    @property
    def rounding_s(self) -> float:
        """How far rounding of the time stamps may move a latency; stamps of a longer run are larger. [s]"""
        if self.record is None or not self.record.num_queries:
            return 0.0
        return self.record.rounding_s * max(1.0, self.num_queries / self.record.num_queries)

    def goodput_qps(self, latency_s: float) -> float | None:
        """Queries served per second within a latency; None where overloaded. [queries/s]"""
        if self.record is None or self.throughput_qps is None:
            return None
        if self.within_share is not None and self.record.num_served:  # of a whole day, not of its record
            return self.throughput_qps / (1.0 - self.shed_share) * self.within_share
        served_s = self.record.latency_s[self.record.served]
        in_time = served_s <= latency_s + self.record.rounding_s
        return self.throughput_qps * float(in_time.mean()) if len(served_s) else 0.0


def overload(pool: Pool, alone: PoolLoads, contended: PoolLoads, *, record: RunRecord | None) -> RunResult:
    """The result of a load that a pool cannot keep up with; without a record it was refused beforehand."""
    loads = [load.accelerator if pool is Pool.ACCELERATOR else load.cpu for load in (alone, contended)]
    name = pool.name.lower().replace("_", " ")
    if record is None:
        times = f"{loads[0]:.3g} times"
        over = "just over" if times == "1 times" else times
        note = f"{name}: the load needs {over} what it can serve, even without contention"
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
