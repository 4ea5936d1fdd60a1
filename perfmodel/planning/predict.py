"""What a load will look like on a node: verdict, tail latency, throughput, utilisation, power."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perfmodel.domain.estimate import Basis
from perfmodel.errors import UndecidedError
from perfmodel.planning.breakdown import BatchBreakdown, break_down
from perfmodel.planning.error_budget import (
    deciding_dict,
    latency_bands_ms,
    rate_band,
    rate_ci95,
    sensitivity,
)
from perfmodel.planning.prepare import Question
from perfmodel.planning.rate.interval import GreatestRate, greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.run_cost import most_queries
from perfmodel.planning.sensitivity import (
    MOST_RATE_QUERIES,
    RATE_QUERIES,
    Band,
    Errors,
    LatencyBudget,
    OtherTimes,
    RateBudget,
    latency_budget,
    margin,
    rate_budget,
)
from perfmodel.planning.service_error import service_errors
from perfmodel.planning.verdict import Judgement, Verdict, judge, quantile, sla_interval, what_decides
from perfmodel.sim.engines import EngineName
from perfmodel.sim.policies import (
    WHOLE,
    Pool,
    SizedPolicy,
    SplitAndOffload,
    largest_cpu_launch_items,
)
from perfmodel.sim.run import REPORTED_PERCENTILES, RunResult, run_until_precise
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import Interval
from perfmodel.units import MS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer of `perfplan predict`: SI inside, the JSON document from `to_dict`.

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
        Greatest rate that meets the SLA; None: no rate does.
    latency_budget, rate_budget : LatencyBudget, RateBudget or None
        What the calibration's error does to the latencies, and to the greatest rate; None where there are
        none, or where it would take too long.
    mean_service_s : float or None
        Mean time that a request holds a core under this load; None where none ran. [s]
    cpu, accelerator : BatchBreakdown or None
        Where a full batch (a mean offloaded query) spends its time at this load.
    basis : Basis
        How far to trust the service times.
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
        policy = self.question.policy
        if self.engine == "simpy" and policy.why_not_compiled is not None:
            return (
                *self.run.notes,
                *self.question.node_notes,
                f"policy {policy.name} ran in the SimPy engine: {policy.why_not_compiled}",
            )
        return (*self.run.notes, *self.question.node_notes)

    @property
    def qps_per_w(self) -> float | None:
        """Throughput over static TDP, as DeepRecSys counts it. [queries/s/W]"""
        return None if self.throughput_qps is None else self.throughput_qps / self.question.node.tdp_w

    @property
    def load_power_w(self) -> float | None:
        """Idle power + utilisation x (peak - idle); None where unstable. [W]"""
        if self.throughput_qps is None:
            return None
        return self.question.node.power_w(self.cpu_utilisation, self.accelerator_utilisation)

    @property
    def latency_bounded_qps(self) -> float | None:
        """Greatest rate that meets the SLA; None: no rate does. [queries/s]"""
        return None if self.greatest is None else self.greatest.rate_qps

    def _worst_dict(self) -> dict[str, Any] | None:
        """The five minutes of a day that the verdict is about; None of other traffic."""
        worst = self.run.worst
        if worst is None:
            return None
        return {
            "start_s": worst.start_s,
            "end_s": worst.end_s,
            "rate_qps": worst.rate_qps,
            "latency_ms": {_label(p): _ms(i.value_s) for p, i in worst.percentiles.items()},
            "latency_ci95_ms": {_label(p): _ci_ms(i) for p, i in worst.percentiles.items()},
            "share_late": None if worst.late_share is None else worst.late_share.mean,
        }

    @property
    def sla_interval(self) -> Interval | None:
        """Latency at the SLA's percentile with its interval. [s]"""
        return sla_interval(self.question.sla, self.run)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document; what does not exist is None."""
        question, node, run = self.question, self.question.node, self.run
        intervals = {percentile: run.percentiles.get(percentile) for percentile in REPORTED_PERCENTILES}
        bands = latency_bands_ms(self.latency_budget)
        throughput = self.throughput_qps
        load_power = self.load_power_w
        return {
            "scenario": question.name,
            "model": node.model.name,
            "node": {
                "cpu": node.cpu.name,
                "stack": node.cpu.stack,
                "cores": node.cores,
                "accelerator": node.accelerator.name if node.accelerator else None,
                "num_accelerators": node.num_accelerators,
            },
            "service_times_of": question.service_times_of,
            "policy": question.policy.name,
            "engine": self.engine,
            "verdict": self.verdict,
            "sla_probability": self.judgement.sla_probability,
            "plan_for_qps": self.plan_for_qps,
            "would_decide": deciding_dict(self.judgement.deciding),
            "offered_qps": question.traffic.rate_qps,
            "throughput_qps": throughput,
            "throughput_items_per_s": run.throughput_items_per_s,
            "goodput_qps": self.goodput_qps,
            "shed_rate": self.shed_rate,
            "utilisation": {"cpu": self.cpu_utilisation, "accelerator": self.accelerator_utilisation},
            "latency_ms": {
                "mean": _ms(_value_s(run.mean_latency)),
                **{_label(p): _ms(_value_s(interval)) for p, interval in intervals.items()},
            },
            "latency_ci95_ms": {_label(p): _ci_ms(interval) for p, interval in intervals.items()},
            "sla": {
                "percentile": question.sla.percentile,
                "latency_ms": question.sla.latency_ms,
                "confidence": question.sla.confidence,
                "predicted_ms": _ms(_value_s(self.sla_interval)),
                "ci95_ms": _ci_ms(self.sla_interval),
                "calibration_band_ms": bands.get(question.sla.percentile),
            },
            "worst_window": self._worst_dict(),
            "share_within_sla": run.within_share,
            "calibration_band_ms": {_label(p): bands.get(p) for p in REPORTED_PERCENTILES},
            "latency_bounded_qps": self.latency_bounded_qps,
            "latency_bounded_qps_ci95": rate_ci95(self.greatest),
            "latency_bounded_qps_calibration_band": rate_band(self.rate_budget),
            "sensitivity": sensitivity(self.latency_budget, self.rate_budget),
            "power_w": node.tdp_w,
            "qps_per_w": self.qps_per_w,
            "power_model": "static TDP",
            "power_at_load_w": load_power,
            "qps_per_w_at_load": None if throughput is None or not load_power else throughput / load_power,
            "power_at_load_model": "idle + utilisation x (peak - idle)",
            "service_time_ms": _ms(self.mean_service_s),
            "operators": [] if self.cpu is None else [row.to_dict() for row in self.cpu.operators],
            "operators_batch_size": None if self.cpu is None else self.cpu.batch_size,
            "accelerator_operators": []
            if self.accelerator is None
            else [row.to_dict() for row in self.accelerator.operators],
            "accelerator_operators_batch_size": None
            if self.accelerator is None
            else self.accelerator.batch_size,
            "basis": self.basis.label,
            "error_of_service_times": {"cpu": self.errors.cpu, "accelerator": self.errors.accelerator},
            "assumptions": list(node.assumptions),
            "simulated_queries": run.num_queries,
            "precision_reached": run.precision_reached,
            "notes": list(self.notes),
        }


def predict(
    question: Question,
    *,
    engine: EngineName = "auto",
    extrapolate: bool = False,
    accept_uncertain: bool = False,
) -> Prediction:
    """Predict how a node serves a load.

    Parameters
    ----------
    question : Question
        A prepared scenario.
    engine : {"auto", "compiled", "simpy"}
        What simulates; both give the same answer.
    extrapolate : bool
        Answer outside the calibrated range too, marked.
    accept_uncertain : bool
        Let the central estimate decide whether the SLA is met.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    node, policy, sla = question.node, question.policy, question.sla
    if not extrapolate:
        node.require_calibrated(policy, question.max_items)
    service = node.service_times(policy, question.max_items, question.traffic.size_pmf)
    run = run_until_precise(
        question.traffic,
        service,
        policy,
        question.simulation,
        percentile=sla.percentile,
        engine=engine,
        latency_s=sla.latency_s,
    )
    search = RateSearch(
        traffic=question.traffic,
        service=service,
        policy=policy,
        sla=sla,
        seed=question.simulation.seed,
        engine=engine,
        most_queries=question.simulation.max_queries,
    )
    greatest, undecided = _largest_load(search)
    errors = service_errors(node, policy, question.traffic.size_pmf)
    budget = rate_budget(search, greatest, errors, quantile=quantile(sla.confidence))
    times = other_times(question, run, service)
    judgement = _judged(question, run, times, errors, accept_uncertain)
    if undecided:
        run = replace(run, notes=(*run.notes, undecided))
    return describe(question, run, times, greatest, budget, errors, judgement)


def _largest_load(search: RateSearch) -> tuple[GreatestRate | None, str]:
    """The greatest rate that meets the SLA; where it would take too long to tell, none, and a note."""
    try:
        return greatest_rate(search, num_queries=RATE_QUERIES, most_queries=MOST_RATE_QUERIES), ""
    except UndecidedError as error:
        return None, str(error)


def other_times(question: Question, run: RunResult, service: ServiceTimes) -> OtherTimes:
    """A run's first queries, to be served again with other service times."""
    percentiles = {question.sla.percentile, *REPORTED_PERCENTILES}
    seed = question.simulation.seed
    return OtherTimes(question.traffic, service, question.policy, run, percentiles, seed=seed)


def _judged(
    question: Question, run: RunResult, times: OtherTimes, errors: Errors, accept_uncertain: bool
) -> Judgement:
    """The verdict, and where it is open, what would decide it."""
    sla = question.sla
    found = margin(times, sla, errors)
    judgement = judge(sla, run, found, errors, accept_uncertain=accept_uncertain)
    if judgement.verdict != "within_error":
        return judgement

    def band_at(ln_scale: float) -> Band:
        ends = times.all_percentiles_s((errors.at(-ln_scale), errors.at(ln_scale)))
        low, high = (None if end is None else end[sla.percentile] for end in ends)
        return low, high

    deciding = what_decides(
        run,
        found,
        errors,
        calibrated_here=bool(question.node.cpu.surfaces),
        precision=question.simulation.precision,
        most_queries=most_queries(question.policy, question.traffic.size_pmf)
        if question.traffic.num_recorded is None
        else 0,
        band_at=band_at,
    )
    return replace(judgement, deciding=deciding)


def describe(
    question: Question,
    run: RunResult,
    times: OtherTimes,
    greatest: GreatestRate | None,
    budget: RateBudget | None,
    errors: Errors,
    judgement: Judgement,
) -> Prediction:
    """Say what a run of a load found: the verdict, what the service times leave open, where time goes."""
    node, policy = question.node, question.policy
    return Prediction(
        question=question,
        judgement=judgement,
        errors=errors,
        run=run,
        greatest=greatest,
        latency_budget=latency_budget(times, run, errors),
        rate_budget=budget,
        mean_service_s=_mean_service_s(question, run),
        cpu=_cpu_breakdown(question, run),
        accelerator=_accelerator_breakdown(question, run),
        basis=node.basis(policy, question.max_items),
    )


def _mean_service_s(question: Question, run: RunResult) -> float | None:
    """Mean time that a request holds a core, from the busy time of the run."""
    if run.record is None or not run.is_stable:
        return None
    launches, policy = run.record.cpu_launches, question.policy
    if launches is None:
        assert isinstance(policy, SplitAndOffload), "every other policy's launches are counted"
        on_cpu = run.record.num_items[~run.record.offloaded]
        launches = int((-(-on_cpu // policy.batch_size)).sum())
    return run.record.cpu_busy_s / launches if launches else None


def _cpu_breakdown(question: Question, run: RunResult) -> BatchBreakdown | None:
    """A full batch with as many busy cores as the load keeps busy on average."""
    node = question.node
    full = largest_cpu_launch_items(question.policy, question.max_items)
    if full == 0:
        return None
    used = run.record.cpu_utilisation if run.record is not None else 1.0
    mix = node.mix(question.policy, question.traffic.size_pmf)
    return break_down(node.cpu_time(full, max(1, round(used * node.cores)), mix))


def _accelerator_breakdown(question: Question, run: RunResult) -> BatchBreakdown | None:
    """A launch of the mean offloaded size; where launches join queries, a full one."""
    mean_items = _mean_offloaded_items(question, run)
    if mean_items is None:
        return None
    lane = next(lane for lane in question.policy.lanes if lane.pool is Pool.ACCELERATOR)
    full = 0 if lane.joining is None else lane.joining.max_items
    time = question.node.accelerator_time(max(full, round(mean_items)))
    return None if time is None else break_down(time)


def _mean_offloaded_items(question: Question, run: RunResult) -> float | None:
    """Mean size of the queries that go to the accelerator, exact where the size decides; None: none do."""
    policy, law = question.policy, question.traffic.size_pmf
    if isinstance(policy, SizedPolicy):
        thresholds = [lane.from_items for lane in policy.lanes if lane.pool is Pool.ACCELERATOR]
        offloaded = law.values >= min(thresholds, default=WHOLE)
        sizes, weights = law.values[offloaded], law.probabilities[offloaded]
    elif run.record is not None:
        sizes = run.record.num_items[run.record.offloaded]
        weights = np.ones(len(sizes))
    else:
        return None
    return float(weights @ sizes / weights.sum()) if len(sizes) else None


def _label(percentile: float) -> str:
    return f"p{100 * percentile:g}"


def _value_s(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value_s


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / MS


def _ci_ms(interval: Interval | None) -> list[float | None] | None:
    if interval is None:
        return None
    return [interval.low_s / MS, None if interval.high_s == float("inf") else interval.high_s / MS]
