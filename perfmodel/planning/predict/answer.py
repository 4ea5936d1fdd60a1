"""What a load looks like on a node: verdict, tail latency, throughput, utilisation, power."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.domain.estimate import Basis
from perfmodel.planning.breakdown import BatchBreakdown
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Errors, LatencyBudget, RateBudget
from perfmodel.planning.verdict import Judgement, Verdict, sla_interval
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.statistics import Interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer of `perfplan predict`.

    Attributes
    ----------
    question : Question
        What was asked.
    judgement : Judgement
        Whether the load meets its SLA, and how probably.
    errors : Errors
        Of the service times.
    run : RunResult
        What the simulation found, or why nothing was simulated.
    greatest : GreatestRate or None
        Greatest rate that meets the SLA; None: no rate does, or it could not be told.
    undecided : str or None
        Why it could not be told.
    latency_budget, rate_budget : LatencyBudget, RateBudget or None
        What the calibration's error does to the latencies, and to the greatest rate; None where there are
        none, or where it would take too long.
    mean_service_s : float or None
        Mean time that a request holds a core under this load; None where none ran. [s]
    cpu, accelerator : BatchBreakdown or None
        Where a full batch (a mean offloaded query) spends its time at this load.
    basis : Basis
        How far to trust the service times.
    steady : RunResult or None
        The same load without the scatter and the pauses of the node; None where it has none.
    """

    question: Question
    judgement: Judgement
    errors: Errors
    run: RunResult
    greatest: GreatestRate | None
    latency_budget: LatencyBudget | None
    rate_budget: RateBudget | None
    mean_service_s: float | None
    cpu: BatchBreakdown | None
    accelerator: BatchBreakdown | None
    basis: Basis
    undecided: str | None = None
    steady: RunResult | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the load meets its SLA: "meets_sla", "within_error", "misses_sla" or "unstable"."""
        return self.judgement.verdict

    @property
    def plan_for_qps(self) -> float | None:
        """The greatest rate that meets the SLA with its confidence; None: none does. [queries/s]"""
        return None if self.rate_budget is None else self.rate_budget.plan_qps

    @property
    def cpu_utilisation(self) -> float:
        """Of the cores; with all of them busy (from 1 up: an overload) where the load is unstable. [1]"""
        used = self.run.utilisation
        return self.run.contended.cpu if used is None else used.cpu

    @property
    def accelerator_utilisation(self) -> float | None:
        """Of the accelerators, likewise; None without any. [1]"""
        if self.question.node.num_accelerators == 0:
            return None
        used = self.run.utilisation
        return self.run.contended.accelerator if used is None else used.accelerator

    @property
    def offered_qps(self) -> float:
        """What is asked for: of closed users as they came to ask, shed queries included. [queries/s]"""
        traffic, throughput_qps = self.question.traffic, self.throughput_qps
        if not traffic.is_closed or throughput_qps is None:
            return traffic.rate_qps
        return throughput_qps / (1.0 - self.run.shed_share)

    @property
    def throughput_qps(self) -> float | None:
        """Queries finished per second; None where unstable. [queries/s]"""
        return self.run.throughput_qps

    @property
    def goodput_qps(self) -> float | None:
        """Queries served within the SLA's latency per second; None where unstable. [queries/s]"""
        return self.run.goodput_qps(self.question.sla.latency_s)

    @property
    def shed_rate(self) -> float | None:
        """Fraction of the queries that were refused or dropped; None where unstable. [1]"""
        return self.run.shed_share

    @property
    def engine(self) -> str | None:
        """What simulated: "compiled" or "simpy"; None where the load was refused beforehand."""
        return None if self.run.record is None else self.run.record.engine

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        policy, notes = self.question.policy, [*self.run.notes]
        if self.undecided is not None:
            notes.append(self.undecided)
        if self.question.traffic.is_closed:
            notes.append("closed users have no largest rate: `perfplan capacity` says how many there may be")
        elif self.greatest is not None and self._fills_the_node:
            notes.append(full_note(self.greatest))
        notes += self.question.node_notes
        if self.engine == "simpy" and policy.why_not_compiled is not None:
            notes.append(f"policy {policy.name} ran in the SimPy engine: {policy.why_not_compiled}")
        return tuple(notes)

    @property
    def _fills_the_node(self) -> bool:
        """Whether the largest load is what keeps all executors busy: queries meet the SLA up to there."""
        greatest = self.greatest
        if greatest is None or greatest.ci95_qps is not None:
            return False
        return greatest.rate_qps >= self.question.saturation_qps

    @property
    def qps_per_w(self) -> float | None:
        """Throughput over static TDP, as DeepRecSys counts it. [queries/s/W]"""
        tdp_w = self.question.tdp_w
        return None if self.throughput_qps is None or tdp_w is None else self.throughput_qps / tdp_w

    @property
    def load_power_w(self) -> float | None:
        """Idle power + utilisation x (serving - idle); None where unstable. [W]"""
        if self.throughput_qps is None:
            return None
        return self.question.power_w(self.cpu_utilisation, self.accelerator_utilisation)

    @property
    def qps_per_w_at_load(self) -> float | None:
        """Throughput over the power at that load; None where unstable. [queries/s/W]"""
        power_w = self.load_power_w
        return self.throughput_qps / power_w if power_w and self.throughput_qps is not None else None

    @property
    def latency_bounded_qps(self) -> float | None:
        """Greatest rate that meets the SLA; None: no rate does. [queries/s]"""
        return None if self.greatest is None else self.greatest.rate_qps

    @property
    def sla_interval(self) -> Interval | None:
        """Latency at the SLA's percentile with its interval. [s]"""
        return sla_interval(self.question.sla, self.run)


def full_note(greatest: GreatestRate) -> str:
    """What a reader must know of a largest load that keeps all executors busy."""
    return (
        f"the largest load is the one that fills all executors: {greatest.num_queries:,} queries end before "
        "a backlog passes the SLA"
    )
