"""Capacities with any set of DeepRecSys's shortcuts: bisection over long runs, or the controller's walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import IntegerMillisecondArrivals, PoissonArrivals
from perfmodel.planning.deeprecsys.settings import PUBLISHED, ControllerSettings, Shortcut
from perfmodel.planning.node import AnyNode
from perfmodel.planning.question import Question
from perfmodel.planning.rate.bracket import bisecting, greatest
from perfmodel.planning.rate.late import allowed_late
from perfmodel.planning.rate.search import IDLE_FRACTION
from perfmodel.planning.table_node import TableNode
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.compiled_engine import simulate_compiled
from perfmodel.sim.deeprecsys import UNBOUNDED, Driven, WalkRules, drive, walk_rates
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf, draw_num_items
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic, warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import offered_utilisation
from perfmodel.units import MS

RATE_TOLERANCE = 0.002
OVERLOAD_FACTOR = 4.0
"""Offered rates end here, in full executors; behind bounded queues an overload may meet the SLA."""

FINE_STEP = 0.01
FINE_READINGS = 2000
"""A walk whose grid and length do not show: a reading for each of so many windows, in steps of 1 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is simulated.

    Attributes
    ----------
    probe_queries, long_runs : int
        Queries in each run of a bisection, and bisections, each with random numbers of its own.
    short_probe_queries, short_runs : int
        The same of what hangs on few random numbers, a few sizes or readings: more and shorter ones.
    """

    probe_queries: int = 250_000
    long_runs: int = 4
    short_probe_queries: int = 50_000
    short_runs: int = 32


THOROUGH = Effort()


class Found:
    """Rates that repeated searches found, and what there is to say of them."""

    def __init__(self, rates_qps: Sequence[float], note: str = "") -> None:
        self.rates_qps = np.array(rates_qps)
        self.note = note

    @property
    def mean_qps(self) -> float:
        """Mean over the repetitions. [queries/s]"""
        return float(self.rates_qps.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlledNode:
    """One node, one policy, one SLA: what capacities with and without shortcuts are found on."""

    sizes: SizePmf
    policy: SplitAndOffload
    service: ServiceTimes
    interpolated: ServiceTimes
    sla: SlaTarget
    seed: int
    settings: ControllerSettings
    effort: Effort = THOROUGH

    @classmethod
    def of(
        cls,
        question: Question,
        settings: ControllerSettings = PUBLISHED,
        *,
        effort: Effort = THOROUGH,
        extrapolate: bool = False,
    ) -> ControlledNode:
        """Check that the published controller could serve the scenario, and tabulate its service times."""
        policy, traffic = question.policy, question.traffic
        if not isinstance(policy, SplitAndOffload) or policy.shedding is not None:
            raise ValueErrorAt("DeepRecSys mode knows policy split without shedding only", ("policy", "name"))
        if not isinstance(traffic.arrivals, PoissonArrivals | IntegerMillisecondArrivals):
            raise ValueErrorAt("DeepRecSys mode expects process poisson", ("traffic", "arrivals", "process"))
        if question.node.pauses:
            raise ValueErrorAt("DeepRecSys mode knows nodes without pauses only", ("node", "pauses"))
        if question.node.scatter is not None:
            raise ValueErrorAt(
                "DeepRecSys mode knows service times without scatter only", ("node", "scatter")
            )
        if traffic.outside is not None:
            raise ValueErrorAt("expected 0, since the published controller knows none", ("sla", "outside_ms"))
        if not extrapolate:
            question.times.require_calibrated()
        service = question.times.table
        return cls(
            sizes=traffic.size_pmf,
            policy=policy,
            service=service,
            interpolated=with_interpolation(question.node, service, settings.measured_batches),
            sla=question.sla,
            seed=question.simulation.seed,
            settings=settings,
            effort=effort,
        )

    @property
    def shortcuts(self) -> frozenset[Shortcut]:
        """Those that can matter here: without offloading, the accelerator's table does not."""
        offloads = self.policy.offload_threshold_items is not None
        return frozenset(Shortcut) if offloads else frozenset(Shortcut) - {Shortcut.INTERPOLATION}

    def capacity(
        self, shortcuts: frozenset[Shortcut], *, near_qps: float | None = None, repetitions: int | None = None
    ) -> Found | None:
        """Find the capacity with these shortcuts; None where no rate meets the SLA.

        Windows without the grid walk in small steps from `near_qps`; `repetitions` is by default what the
        randomness of the shortcuts asks for.
        """
        if Shortcut.WINDOWS in shortcuts:
            return self._walked(shortcuts, near_qps)
        few = Shortcut.REPLAYED_SIZES in shortcuts
        enough = self.effort.short_runs if few else self.effort.long_runs
        found = [self._greatest_qps(shortcuts, replication) for replication in range(repetitions or enough)]
        rates = [rate_qps for rate_qps, _ in found if rate_qps is not None]
        return Found(rates, next((note for _, note in found if note), "")) if rates else None

    def exact_latency_s(self, rate_qps: float) -> float | None:
        """The SLA's percentile of Poisson traffic at a rate; None: more than the node can serve. [s]"""
        if max(self._utilisation(rate_qps, contended=True)) >= 1.0:
            return None
        queries = self._queries(rate_qps, frozenset(), 0)
        latency_s = simulate_compiled(queries, self.service, self.policy).latency_s
        return order_statistic(np.sort(latency_s[warm_up_queries(len(queries)) :]), self.sla.percentile)

    def _greatest_qps(self, shortcuts: frozenset[Shortcut], replication: int) -> tuple[float | None, str]:
        """The greatest rate at which a long run meets the SLA: on the grid of gaps, or any."""
        full_qps = 1.0 / max(self._utilisation(1.0, contended=False))
        blocks = Shortcut.BOUNDED_QUEUES in shortcuts

        def meets(rate_qps: float) -> bool:
            return self._meets(rate_qps, shortcuts, replication)

        if Shortcut.LOG_RATES in shortcuts:
            rates = [1.0 / gap_s for gap_s in reversed(self.settings.gaps_s)]
            count = bisecting(meets)(rates)
            note = f"the grid ends at {rates[-1]:,.0f} queries/s" if count == len(rates) else ""
            return (rates[count - 1] if count else None), note
        limit_qps = full_qps * (OVERLOAD_FACTOR if blocks else 1.0)
        rate_qps = greatest(
            bisecting(meets), [full_qps * IDLE_FRACTION, limit_qps], limit_qps, tolerance=RATE_TOLERANCE
        )
        if not blocks or rate_qps != limit_qps:
            return rate_qps, ""
        # No rate is too high: what is left to report is what the blocked generator lets through.
        driven = self._driven(limit_qps, shortcuts, replication)
        let_through_qps = (len(driven.stamp_s) - 1) / float(driven.stamp_s[-1] - driven.stamp_s[0])
        return (
            let_through_qps,
            "every offered rate meets the SLA; this is what the blocked generator lets through",
        )

    def _meets(self, rate_qps: float, shortcuts: frozenset[Shortcut], replication: int) -> bool:
        driven = self._driven(rate_qps, shortcuts, replication)
        latency_s = (driven.finish_s - driven.stamp_s)[warm_up_queries(len(driven.stamp_s)) :]
        rounding_s = 2.0 * float(np.spacing(driven.finish_s[-1]))
        late = int(np.count_nonzero(latency_s > self.sla.latency_s + rounding_s))
        return late <= allowed_late(self.sla.percentile, len(latency_s))

    def _driven(self, rate_qps: float, shortcuts: frozenset[Shortcut], replication: int) -> Driven:
        queries = self._queries(rate_qps, shortcuts, replication)
        service = self._service(shortcuts)
        if Shortcut.BOUNDED_QUEUES in shortcuts:
            return drive(queries, service, self.policy, self.settings.bounds)
        return Driven(queries.arrival_s, simulate_compiled(queries, service, self.policy).finish_s)

    def _queries(self, rate_qps: float, shortcuts: frozenset[Shortcut], replication: int) -> Queries:
        replayed = Shortcut.REPLAYED_SIZES in shortcuts
        effort = self.effort
        num_queries = effort.short_probe_queries if replayed else effort.probe_queries
        whole_ms = Shortcut.WHOLE_MS_GAPS in shortcuts
        process = IntegerMillisecondArrivals if whole_ms else PoissonArrivals
        traffic = TrafficSource(arrivals=process(rate_qps=rate_qps), sizes=self.sizes)
        queries = traffic.draw(num_queries, seed=self.seed, replication=replication)
        if not replayed:
            return queries
        return Queries(queries.arrival_s, self._replayed_sizes(num_queries, replication))

    def _replayed_sizes(self, num_queries: int, replication: int) -> IntArray:
        drawn = draw_num_items(self.sizes, self.settings.num_sizes, seed=self.seed, replication=replication)
        return np.resize(drawn, num_queries)

    def _walked(self, shortcuts: frozenset[Shortcut], near_qps: float | None) -> Found:
        """Rates that the controller's walk ends at; without its grid, a long walk in small steps."""
        settings = self.settings
        published = Shortcut.LOG_RATES in shortcuts
        if published:
            gaps_s, first_s = settings.gaps_s, settings.first_gap_ms * MS
        else:
            assert near_qps is not None, "a fine walk starts where the capacity is"
            gaps_s, first_s = _fine_gaps_s(near_qps), 1.0 / near_qps
        rules = WalkRules(
            mean_gaps_s=gaps_s,
            first_gap_s=first_s,
            window=settings.window,
            num_readings=settings.timeout + 1 if published else FINE_READINGS,
            num_kept=settings.num_gaps if published else FINE_READINGS * 3 // 4,
            margin=settings.margin,
            whole_ms=Shortcut.WHOLE_MS_GAPS in shortcuts,
            num_sizes=settings.num_sizes if Shortcut.REPLAYED_SIZES in shortcuts else None,
        )
        runs = self.effort.short_runs if published else self.effort.long_runs
        rates = [self.walked_qps(rules, shortcuts, replication) for replication in range(runs)]
        at_end = sum(rate_qps == 1.0 / gaps_s[0] for rate_qps in rates) if published else 0
        ends = (
            f"the grid ends at {1.0 / gaps_s[0]:,.0f} queries/s: {at_end} of {len(rates)} searches end there"
        )
        return Found(rates, ends if at_end else "")

    def walked_qps(
        self,
        rules: WalkRules,
        shortcuts: frozenset[Shortcut],
        replication: int,
        *,
        size_replication: int | None = None,
    ) -> float:
        """The rate that one walk ends at. [queries/s]"""
        bounded = Shortcut.BOUNDED_QUEUES in shortcuts
        walked = walk_rates(
            self.sizes,
            self._service(shortcuts),
            self.policy,
            rules,
            self.settings.bounds if bounded else UNBOUNDED,
            percentile=self.sla.percentile,
            target_s=self.sla.latency_s,
            seed=self.seed,
            replication=replication,
            size_replication=size_replication,
        )
        return 1.0 / walked.gap_s

    def _service(self, shortcuts: frozenset[Shortcut]) -> ServiceTimes:
        return self.interpolated if Shortcut.INTERPOLATION in shortcuts else self.service

    def _utilisation(self, rate_qps: float, *, contended: bool) -> tuple[float, float]:
        traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=self.sizes)
        return offered_utilisation(traffic, self.service, self.policy, contended=contended)


def with_interpolation(node: AnyNode, service: ServiceTimes, batches: Sequence[int]) -> ServiceTimes:
    """Return the service times with one accelerator, a query at a time, interpolated in log(batch).

    Below the first and above the last batch the time is that of the end, as `np.interp` has it: the
    published engine sleeps for one query, then takes the next.
    """
    if service.accelerator_s is None or isinstance(node, TableNode):
        return service
    measured_s = []
    for batch in batches:
        time = node.accelerator_time(batch)
        assert time is not None, "the node has an accelerator"
        measured_s.append(float(time.seconds[0]))
    items: FloatArray = np.arange(1.0, service.max_offload_items + 1)
    accelerator_s = np.interp(np.log(items), np.log(batches), measured_s)
    return replace(service, accelerator_s=accelerator_s, num_accelerators=1)


def _fine_gaps_s(near_qps: float) -> tuple[float, ...]:
    """Gaps of rates from a third to three times one rate, in small steps. [s]"""
    steps = ceil(np.log(3.0) / np.log1p(FINE_STEP))
    return tuple(float(factor) / near_qps for factor in (1.0 + FINE_STEP) ** np.arange(-steps, steps + 1))
