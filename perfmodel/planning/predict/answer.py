"""What a load looks like on a node: verdict, tail latency, throughput, utilisation, power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perfmodel.domain.estimate import Basis
from perfmodel.planning.breakdown import BatchBreakdown
from perfmodel.planning.error_budget import (
    deciding_dict,
    latency_bands_ms,
    rate_band,
    rate_ci95,
    sensitivity,
)
from perfmodel.planning.prepare import Question
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Errors, LatencyBudget, RateBudget
from perfmodel.planning.verdict import Judgement, Verdict, sla_interval
from perfmodel.sim.run import REPORTED_PERCENTILES, RunResult
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
