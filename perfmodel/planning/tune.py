"""`perfplan tune`: a scenario's batch size and offload threshold, at one SLA or at three levels of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from perfmodel.errors import InputError
from perfmodel.planning.load_test import Configuration, LoadTest, SharedTraffic
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import Question
from perfmodel.planning.run_cost import affordable_batch_sizes, least_batch_size
from perfmodel.planning.service_tables import ServiceTables
from perfmodel.planning.tuning import (
    MEDIUM,
    SLA_LEVELS,
    Grid,
    Objective,
    OperatingPoint,
    Tried,
    Tuning,
    doubling_batch_sizes,
    share_thresholds,
    static_batch_size,
)
from perfmodel.planning.tuning_search import Tuner
from perfmodel.sim.policies import SplitAndOffload

RATES_AT_A_TIME = 8
"""Two compiled loops side by side: there is one node to tune, and mostly more than one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What may be asked beside the scenario.

    Attributes
    ----------
    sla_levels : bool
        Whether to tune at low and high SLA too, the scenario's own being medium.
    objective : {"qps", "qps-per-watt"}
        What is best.
    static_batch : int or None
        Batch size of the static baseline; None: the largest query over the cores. [items]
    batch_sizes, thresholds : tuple of int
        What to search; empty: doubling sizes, and thresholds by equal steps of the share of items. [items]
    extrapolate : bool
        Whether to try batches outside the calibrated range.
    """

    sla_levels: bool = False
    objective: Objective = "qps"
    static_batch: int | None = None
    batch_sizes: tuple[int, ...] = ()
    thresholds: tuple[int, ...] = ()
    extrapolate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TuneAnswer:
    """The answer of `perfplan tune`.

    Attributes
    ----------
    question : Question
        What was asked; its rate, batch size and threshold play no part.
    grid : Grid
        What was searched.
    levels : mapping of str to Tuning
        By SLA level, "medium" being the scenario's own.
    by_threads : mapping of int to Tuning
        At the scenario's own SLA, by the threads of a worker; one entry where the profile does not know how
        threads scale.
    simulated_queries : int
        In all probes of all searches.
    """

    question: Question
    grid: Grid
    levels: dict[str, Tuning]
    by_threads: dict[int, Tuning]
    simulated_queries: int

    @property
    def tuning(self) -> Tuning:
        """What was found at the scenario's own SLA."""
        return self.levels[MEDIUM]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        if self.question.node.cpu.thread_scaling:
            return ()
        cpu = self.question.node.cpu.name
        return (f"one thread a request: the profile {cpu} does not know how threads scale",)

    @property
    def settings(self) -> tuple[str, ...]:
        """What to set, as `--set` takes it; empty where no load meets the SLA."""
        best = self.tuning.exhaustive
        if best.latency_bounded_qps is None:
            return ()
        threshold = best.offload_threshold_items
        written = "null" if threshold is None else str(threshold)
        setting = (f"policy.batch_size={best.batch_size}", f"policy.offload_threshold_items={written}")
        if not self.question.node.cpu.thread_scaling:
            return setting
        return (*setting, f"node.threads={self.tuning.node.threads}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document; what does not exist is None."""
        node = self.question.node
        return {
            "scenario": self.question.name,
            "model": node.model.name,
            "service_times_of": self.question.service_times_of,
            "node": {
                "cpu": node.cpu.name,
                "stack": node.cpu.stack,
                "cores": node.cores,
                "accelerator": node.accelerator.name if node.accelerator else None,
                "num_accelerators": node.num_accelerators,
            },
            **_tuning_dict(self.tuning),
            "set": list(self.settings),
            "sla_levels": [{"level": level, **_tuning_dict(tuning)} for level, tuning in self.levels.items()]
            if len(self.levels) > 1
            else None,
            "power_model": "static TDP",
            "workers": self._workers_dict(),
            "notes": list(self.notes),
            "basis": node.basis(self.tuning.exhaustive.configuration.policy, self.question.max_items).label,
            "simulated_queries": self.simulated_queries,
        }

    def _workers_dict(self) -> dict[str, Any]:
        node = self.tuning.node
        tried = [
            {"processes": one.node.num_workers, "threads": threads, **_point_dict(one.exhaustive)}
            for threads, one in self.by_threads.items()
        ]
        known = bool(node.cpu.thread_scaling)
        return {"known": known, "processes": node.num_workers, "threads": node.threads, "tried": tried}


def tune(question: Question, options: TuneOptions | None = None) -> TuneAnswer:
    """Find the batch size and offload threshold that carry the most load within the SLA.

    Raises
    ------
    InputError
        If the scenario's policy is another one, or sheds queries.
    ExtrapolationError
        If an accelerator's launches lie outside the calibrated range and `extrapolate` is not set.
    """
    options = options or TuneOptions()
    _require_split(question)
    grid = _grid(question, options)
    if not options.extrapolate:
        for threshold in (None, *grid.thresholds[:1]):
            widest = Configuration(max(grid.batch_sizes), threshold)
            question.node.require_calibrated(widest.policy, question.max_items)
    static = Configuration(
        options.static_batch or static_batch_size(question.largest_query_items, question.node.cores)
    )
    traffic = SharedTraffic(question.traffic, seed=question.simulation.seed)
    nodes = [replace(question.node, threads=threads) for threads in _threads(question.node)]
    law = question.traffic.size_pmf
    services = {node.threads: ServiceTables(node, law).of for node in nodes}
    levels: dict[str, Tuning] = {}
    by_threads: dict[str, dict[int, Tuning]] = {}
    promising: dict[int, list[Configuration]] = {node.threads: [] for node in nodes}
    for level, factor in (SLA_LEVELS if options.sla_levels else {MEDIUM: 1.0}).items():
        sla = question.sla.model_copy(update={"latency_ms": factor * question.sla.latency_ms})
        found: dict[int, Tuning] = {}
        for node in nodes:
            test = LoadTest(
                node, traffic, sla, service=services[node.threads], rates_at_a_time=RATES_AT_A_TIME
            )
            tuner = Tuner(test, grid, static, options.objective, static_competes=not options.batch_sizes)
            found[node.threads] = tuner.tune(curves=True, promising=promising[node.threads])
            promising[node.threads] = [found[node.threads].exhaustive.configuration]
        by_threads[level] = found
        best = max(found.values(), key=lambda tuning: tuning.score)
        # The baseline has one thread a worker, whatever the optimum has.
        levels[level] = replace(best, static=found[1].static)
    return TuneAnswer(
        question=question,
        grid=grid,
        levels=levels,
        by_threads=by_threads[MEDIUM],
        simulated_queries=sum(
            one.simulated_queries for found in by_threads.values() for one in found.values()
        ),
    )


def _threads(node: ServingNode) -> tuple[int, ...]:
    """Threads of a worker to try: where the profile knows how they scale, all that share out the cores."""
    if not node.cpu.thread_scaling:
        return (1,)
    most = max(1, node.cores // 2)
    return tuple(threads for threads in range(1, most + 1) if node.cores % threads == 0)


def _require_split(question: Question) -> None:
    policy = question.policy
    if not isinstance(policy, SplitAndOffload):
        raise InputError(
            f"policy.name: expected split, whose batch size and threshold tune sets, got {policy.name}"
        )
    if policy.shedding is not None:
        raise InputError("policy.shedding: expected null, since tune counts every query")


def _grid(question: Question, options: TuneOptions) -> Grid:
    """Return what was asked for, else the default within the calibrated range."""
    node, law = question.node, question.traffic.size_pmf
    batch_sizes = options.batch_sizes or affordable_batch_sizes(doubling_batch_sizes(law.max_items), law)
    if options.batch_sizes and affordable_batch_sizes(batch_sizes, law) != batch_sizes:
        least = least_batch_size(law)
        raise InputError(
            f"--batch-sizes: expected sizes from {least} up, got {batch_sizes[0]}: queries of "
            f"{law.mean_items:.0f} items would be too many requests to try in minutes"
        )
    if not options.batch_sizes and not options.extrapolate:
        low, high = node.cpu.batch_range
        inside = tuple(size for size in batch_sizes if low <= min(size, law.max_items) <= high)
        batch_sizes = inside or batch_sizes
    if node.num_accelerators == 0:
        if options.thresholds:
            raise InputError(f"--thresholds: {question.name} has no accelerator")
        return Grid(batch_sizes=batch_sizes)
    return Grid(batch_sizes=batch_sizes, thresholds=options.thresholds or share_thresholds(law))


def _tuning_dict(tuning: Tuning) -> dict[str, Any]:
    return {
        "sla": {"percentile": tuning.sla.percentile, "latency_ms": tuning.sla.latency_ms},
        "objective": tuning.objective,
        "static": _point_dict(tuning.static),
        "tuned": _point_dict(tuning.exhaustive),
        "gain": tuning.gain,
        "gain_per_w": tuning.gain_per_w,
        "climb": {
            **_point_dict(tuning.climb),
            "gain": tuning.climb_gain,
            "found_optimum": tuning.climb_found_optimum,
            "shortfall": tuning.climb_shortfall,
            "steps": [_tried_dict(tried) for tried in tuning.climbed],
        },
        "tried": [_tried_dict(tried) for tried in tuning.tried],
    }


def _point_dict(point: OperatingPoint) -> dict[str, Any]:
    return {
        "batch_size": point.batch_size,
        "offload_threshold_items": point.offload_threshold_items,
        "latency_bounded_qps": point.latency_bounded_qps,
        "qps_per_w": point.qps_per_w,
        "power_w": point.power_w,
        "simulated_queries": point.num_queries,
    }


def _tried_dict(tried: Tried) -> dict[str, Any]:
    """A null rate: no load meets the SLA, or, where `below_qps` is given, it was not worth finding."""
    return {
        "batch_size": tried.configuration.batch_size,
        "offload_threshold_items": tried.configuration.offload_threshold_items,
        "latency_bounded_qps": tried.latency_bounded_qps,
        "below_qps": tried.below_qps,
    }
