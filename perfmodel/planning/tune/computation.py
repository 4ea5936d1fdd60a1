"""DeepRecSched: the search for the batch size and threshold with the greatest latency-bounded throughput.

The published hill climb and an exhaustive search of the same grid, which shows whether the climb found the
optimum. Exhaustive is cheap: what cannot reach the best so far even without queueing is never simulated, and
most of the rest takes one short probe at the best rate so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.estimate import Basis
from perfmodel.domain.serving import DynamicBatchingPolicy
from perfmodel.errors import InputError
from perfmodel.planning.node import AnyNode
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import queries_at, queries_for_bursts
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.run_cost import affordable_batch_sizes, least_batch_size
from perfmodel.planning.service_times import times_of
from perfmodel.planning.table_node import TableNode
from perfmodel.planning.tune.answer import PLATEAU, OperatingPoint, Optimum, Tried, TuneAnswer, Tuning
from perfmodel.planning.tune.load_test import (
    FINAL_QUERIES,
    LEAST_PILOT_QUERIES,
    LoadTest,
    ServiceTables,
    SharedTraffic,
)
from perfmodel.planning.tune.question import (
    MEDIUM,
    SLA_LEVELS,
    Configuration,
    Grid,
    Joins,
    Objective,
    TuneOptions,
    doubling_batch_sizes,
    full_batches,
    joins_tried,
    share_thresholds,
    static_batch_size,
    threshold_key,
)
from perfmodel.sim.builtin_policies import DynamicBatching
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.threads import Tell, part_of, untold

RATES_AT_A_TIME = 8
"""Two compiled loops side by side: there is one node to tune, and mostly more than one core."""

CONTENDERS = 0.02
"""Configurations within this of the best short sample are tried on the long one. [1]"""

MAX_CONTENDERS = 4

PILOTS_SHARE = 0.8
"""Of a search's time that its short samples take, about: what is told of how far it is. [1]"""

CHOICE_QUERIES = 300_000
"""Of the long sample where the settings alone are asked for: 0.2 % between configurations."""

TIE = 0.01
"""Of configurations this close, the one with the smallest batch is set: noise does not choose. [1]"""


class Settings(NamedTuple):
    """What `tune` sets: the node with its threads, and the configuration with what it carries, about."""

    node: AnyNode
    point: OperatingPoint


def tune(question: Question, options: TuneOptions | None = None, *, tell: Tell = untold) -> TuneAnswer:
    """Find the batch size and offload threshold that carry the most load within the SLA.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    InputError
        If the scenario's policy is another one, or sheds queries.
    ExtrapolationError
        If an accelerator's launches lie outside the calibrated range and `extrapolate` is not set.
    """
    options = options or TuneOptions()
    _require_split(question)
    if options.objective == "qps-per-watt" and question.node.tdp_w is None:
        raise ValueErrorAt("missing key 'tdp_w' in node: expected the node's power, to tune by it", ("node",))
    grid, law = _grid(question, options), question.traffic.size_pmf
    if not options.extrapolate:
        _require_calibrated(question, grid)
    static = _static(question, options, grid)
    traffic = _traffic(question, grid, FINAL_QUERIES if not grid.joins else CHOICE_QUERIES)
    nodes = _by_threads(question.node)
    services = {node.threads: ServiceTables(node, law).of for node in nodes}
    levels: dict[str, Tuning] = {}
    by_threads: dict[str, dict[int, Tuning]] = {}
    promising: dict[int, list[Configuration]] = {node.threads: [] for node in nodes}
    asked_levels = SLA_LEVELS if options.sla_levels else {MEDIUM: 1.0}
    runs = len(asked_levels) * len(nodes)
    for level, factor in asked_levels.items():
        sla = question.sla.model_copy(update={"latency_ms": factor * question.sla.latency_ms})
        found: dict[int, Tuning] = {}
        for node in nodes:
            test = LoadTest(
                node, traffic, sla, service=services[node.threads], rates_at_a_time=RATES_AT_A_TIME
            )
            tuner = Tuner(test, grid, static, options.objective, static_competes=not options.batch_sizes)
            done = sum(map(len, by_threads.values())) + len(found)
            of_run = part_of(tell, done / runs, (done + 1) / runs)
            found[node.threads] = tuner.tune(curves=True, promising=promising[node.threads], tell=of_run)
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
        left_out=_left_out(question, options, grid),
        simulated_queries=sum(
            one.simulated_queries for found in by_threads.values() for one in found.values()
        ),
    )


def settings_of(question: Question, *, extrapolate: bool = False) -> Settings:
    """Find what `tune` sets, and nothing else: neither baseline, hill climb nor curves.

    The same search of the same grid, by samples that tell configurations apart to `TIE`; what the node
    carries with them is found by whoever asks.

    Raises
    ------
    InputError, ExtrapolationError
        As `tune`.
    """
    options = TuneOptions(extrapolate=extrapolate)
    _require_split(question)
    grid, law = _grid(question, options), question.traffic.size_pmf
    if not extrapolate:
        _require_calibrated(question, grid)
    static = _static(question, options, grid)
    traffic = _traffic(question, grid, queries_at(question.sla, CHOICE_QUERIES))
    found: list[Settings] = []
    for node in _by_threads(question.node):
        test = LoadTest(node, traffic, question.sla, service=ServiceTables(node, law).of)
        promising = [each.point.configuration for each in found[-1:]]
        found.append(Settings(node, Tuner(test, grid, static).optimum(promising)))
    return max(found, key=lambda each: each.point.latency_bounded_qps or 0.0)


def _require_calibrated(question: Question, grid: Grid) -> None:
    joins = grid.joins[0] if grid.joins else None
    for threshold in (None, *grid.thresholds[:1]):
        widest = grid.at(max(grid.batch_sizes), threshold, joins)
        times_of(question.node, widest.policy, question.traffic.size_pmf).require_calibrated()


def _traffic(question: Question, grid: Grid, num_queries: int) -> SharedTraffic:
    """What arrives, in tests long enough to hold enough bursts where it comes in bursts.

    Raises
    ------
    UndecidedError
        Where they would be too long.
    """
    policy = grid.at(max(grid.batch_sizes), None, grid.joins[0] if grid.joins else None).policy
    service = times_of(question.node, policy, question.traffic.size_pmf).table
    search = RateSearch(
        traffic=question.traffic,
        service=service,
        policy=policy,
        sla=question.sla,
        seed=question.simulation.seed,
        most_queries=question.simulation.max_queries,
    )
    least = max(LEAST_PILOT_QUERIES, queries_for_bursts(search, search.saturation_qps()))
    final = max(num_queries, least)
    seed = question.simulation.seed
    return SharedTraffic(question.traffic, seed=seed, final_queries=final, least_queries=least)


def _by_threads(node: AnyNode) -> list[AnyNode]:
    """The node with so many threads a worker: where it is known how they scale, all that share out cores."""
    if isinstance(node, TableNode):
        return [node]
    if not node.threads_scale:
        return [replace(node, threads=1)]
    most = max(1, node.cores // 2)
    return [replace(node, threads=threads) for threads in range(1, most + 1) if node.cores % threads == 0]


def _static(question: Question, options: TuneOptions, grid: Grid) -> Configuration:
    """The baseline; where the node's service times do not reach it, the nearest batch size that they reach.

    Raises
    ------
    ExtrapolationError
        If one that was asked for lies beyond them.
    """
    if isinstance(question.policy, DynamicBatching):  # what is running
        settings = question.policy.settings
        running = Joins(settings.pool, settings.timeout_ms)
        size = options.static_batch or settings.max_batch_items
        if not options.extrapolate:
            times_of(
                question.node, Configuration(size, None, running).policy, question.traffic.size_pmf
            ).require_calibrated()
        return grid.at(size, None, running)
    asked = options.static_batch or static_batch_size(question.largest_query_items, question.node.cores)
    if options.extrapolate:
        return grid.at(asked)
    if options.static_batch is not None or _is_within(question, asked):
        times_of(question.node, Configuration(asked).policy, question.traffic.size_pmf).require_calibrated()
        return grid.at(asked)
    if not isinstance(question.node, TableNode):
        return grid.at(question.node.cpu.batch_range[1])
    within = [size for size in grid.batch_sizes if _is_within(question, size)]
    return grid.at(next((size for size in within if size >= asked), within[-1]))


def _is_within(question: Question, batch_size: int) -> bool:
    """Whether the node's service times reach all requests that a batch size makes."""
    times = times_of(question.node, Configuration(batch_size).policy, question.traffic.size_pmf)
    return times.basis is not Basis.EXTRAPOLATED


def _left_out(question: Question, options: TuneOptions, grid: Grid) -> tuple[int, ...]:
    """Batch sizes of the default grid that the node's service times do not reach. [items]"""
    if options.batch_sizes or options.extrapolate:
        return ()
    if isinstance(question.policy, DynamicBatching):
        sizes = full_batches(question.policy.settings, question.traffic.size_pmf.max_items)
        sizes = affordable_batch_sizes(sizes, question.traffic.size_pmf)
        return tuple(size for size in sizes if size not in grid.batch_sizes)
    law = question.traffic.size_pmf
    sizes = affordable_batch_sizes(doubling_batch_sizes(law.max_items), law)
    return tuple(size for size in sizes if size not in grid.batch_sizes)


def _require_split(question: Question) -> None:
    policy = question.policy
    if not isinstance(policy, SplitAndOffload | DynamicBatching):
        raise ValueErrorAt(
            f"expected split, whose batch size and threshold tune sets, or dynamic-batching, whose batch and "
            f"timeout it sets, got {policy.name}",
            ("policy", "name"),
        )
    if policy.shedding is not None:
        raise ValueErrorAt("expected null, since tune counts every query", ("policy", "shedding"))


def _grid(question: Question, options: TuneOptions) -> Grid:
    """Return what was asked for, else the default within the calibrated range; what is shared stays so."""
    return replace(_sizes(question, options), shares_work=question.policy.share_query_work)


def _sizes(question: Question, options: TuneOptions) -> Grid:
    """What is searched, for queries of which each request computes their work."""
    if isinstance(question.policy, DynamicBatching):
        return _joining_grid(question, question.policy.settings, options)
    node, law = question.node, question.traffic.size_pmf
    batch_sizes = options.batch_sizes or affordable_batch_sizes(doubling_batch_sizes(law.max_items), law)
    if options.batch_sizes and affordable_batch_sizes(batch_sizes, law) != batch_sizes:
        least = least_batch_size(law)
        raise InputError(
            f"--batch-sizes: expected sizes from {least} up, got {batch_sizes[0]}: queries of "
            f"{law.mean_items:.0f} items would be too many requests to try in minutes"
        )
    if isinstance(node, TableNode):
        batch_sizes = _within_table(question, options, batch_sizes)
    elif not options.batch_sizes and not options.extrapolate:
        low, high = node.cpu.batch_range
        inside = tuple(size for size in batch_sizes if low <= min(size, law.max_items) <= high)
        batch_sizes = inside or batch_sizes
    if node.num_accelerators == 0:
        if options.thresholds:
            raise InputError(f"--thresholds: {question.name} has no accelerator")
        return Grid(batch_sizes=batch_sizes)
    return Grid(batch_sizes=batch_sizes, thresholds=options.thresholds or share_thresholds(law))


def _joining_grid(question: Question, settings: DynamicBatchingPolicy, options: TuneOptions) -> Grid:
    """Full batches and timeouts of a node that joins queries."""
    if options.thresholds:
        raise InputError("--thresholds: dynamic-batching has none: all batches run in one pool")
    law = question.traffic.size_pmf
    joins = joins_tried(settings, question.sla.latency_ms)
    sizes = options.batch_sizes or affordable_batch_sizes(full_batches(settings, law.max_items), law)
    if not options.batch_sizes and not options.extrapolate:
        inside = tuple(
            size
            for size in sizes
            if times_of(question.node, Configuration(size, None, joins[0]).policy, law).basis
            is not Basis.EXTRAPOLATED
        )
        sizes = inside or sizes
    return Grid(batch_sizes=sizes, joins=joins)


def _within_table(question: Question, options: TuneOptions, batch_sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Batch sizes whose requests, remainders included, are in the node's table of service times.

    Raises
    ------
    ExtrapolationError
        If one that was asked for is not, or none is.
    """
    if options.extrapolate:
        return batch_sizes
    inside = tuple(size for size in batch_sizes if _is_within(question, size))
    outside = [size for size in batch_sizes if size not in inside]
    if outside and (options.batch_sizes or not inside):
        policy = Configuration(outside[-1]).policy
        times_of(question.node, policy, question.traffic.size_pmf).require_calibrated()
    return inside


class Tuner:
    """The searches on one load test; what one has found, the others reuse.

    Parameters
    ----------
    test : LoadTest
        A node under a traffic and an SLA.
    grid : Grid
        What is searched.
    static : Configuration
        The baseline.
    objective : {"qps", "qps-per-watt"}
        What is best: throughput, or throughput over static TDP.
    static_competes : bool
        Whether the exhaustive search tries the baseline too: not where the grid is what may be set.
    """

    def __init__(
        self,
        test: LoadTest,
        grid: Grid,
        static: Configuration,
        objective: Objective = "qps",
        *,
        static_competes: bool = True,
    ) -> None:
        self._test, self._grid, self._static, self._objective = test, grid, static, objective
        baseline = {static} if static_competes else set()
        self._candidates = sorted({*grid.configurations} | baseline, key=_order)
        self._tell: Tell = untold
        self._tried: dict[Configuration, Tried] = {}
        self._points: dict[Configuration, OperatingPoint] = {}

    def knows_from(self, cpu_only: Tuner) -> None:
        """Take over what was found of the same cores without an accelerator, under the same SLA."""
        self._tried.update(cpu_only._tried)
        self._points.update(cpu_only._points)

    def tune(
        self, *, curves: bool = False, promising: Sequence[Configuration] = (), tell: Tell = untold
    ) -> Tuning:
        """Answer all three: static baseline, hill climb, exhaustive search.

        Parameters
        ----------
        curves : bool
            Whether to find the rate of all configurations that share the optimum's batch size or threshold;
            otherwise of those only that are about as good as the best.
        promising : sequence of Configuration
            What to try first, such as the optimum under a tighter SLA.
        tell : callable
            Takes how much of it is done: of the configurations, and of the long samples at the end.
        """
        self._tell = part_of(tell, 0.0, PILOTS_SHARE)
        climbed = self._climb()
        best = self.optimum(promising)
        if curves:
            self._find_curves(best)
        tell(1.0)
        return Tuning(
            node=self._test.node,
            sla=self._test.sla,
            objective=self._objective,
            static=self.point(self._static),
            climb=self.point(self._best(climbed).configuration),
            exhaustive=best,
            climbed=tuple(climbed),
            tried=tuple(self._tried[configuration] for configuration in self._candidates),
            simulated_queries=self._test.simulated_queries,
        )

    def best(self, promising: Sequence[Configuration] = ()) -> Optimum:
        """Answer two: static baseline and exhaustive search, in half the time where small batches are bad.

        Parameters
        ----------
        promising : sequence of Configuration
            As of `tune`.
        """
        best = self.optimum(promising)
        return Optimum(
            node=self._test.node,
            sla=self._test.sla,
            objective=self._objective,
            static=self.point(self._static),
            exhaustive=best,
            tried=tuple(self._tried[configuration] for configuration in self._candidates),
            simulated_queries=self._test.simulated_queries,
        )

    def point(self, configuration: Configuration) -> OperatingPoint:
        """Find what a configuration carries by the long sample."""
        if configuration not in self._points:
            pilot_qps = self._try(configuration, above=0.0).latency_bounded_qps
            qps = None if pilot_qps is None else self._test.final_qps(configuration, pilot_qps)
            self._points[configuration] = OperatingPoint(
                configuration=configuration,
                latency_bounded_qps=qps,
                power_w=self._power_w(configuration),
                num_queries=self._test.final_queries,
            )
        return self._points[configuration]

    def _climb(self) -> list[Tried]:
        """Batch size from the smallest upward until the objective falls; then the threshold likewise.

        Of queries that are joined the timeout in place of the threshold, the baseline's at first.
        """
        joins = self._static.joins
        climbed = self._climb_along([self._grid.at(size, None, joins) for size in self._grid.batch_sizes])
        batch_size = self._best(climbed).configuration.batch_size
        return climbed + self._climb_along(
            [self._grid.at(batch_size, threshold) for threshold in self._grid.thresholds]
            + [self._grid.at(batch_size, None, each) for each in self._grid.joins]
        )

    def _climb_along(self, configurations: Sequence[Configuration]) -> list[Tried]:
        best = 0.0
        climbed: list[Tried] = []
        for configuration in configurations:
            tried = self._try(configuration, above=(1.0 - PLATEAU) * best)
            climbed.append(tried)
            if self._score(tried) < (1.0 - PLATEAU) * best:
                break
            best = max(best, self._score(tried))
        return climbed

    def optimum(self, promising: Sequence[Configuration] = ()) -> OperatingPoint:
        """Try everything against the best so far, the most promising first; the long sample decides."""
        best = max((self._score(tried) for tried in self._tried.values()), default=0.0)
        others = sorted(self._candidates, key=self._limit, reverse=True)
        for configuration in (*promising, *others):
            best = max(best, self._score(self._try(configuration, above=(1.0 - CONTENDERS) * best)))
        ranked = sorted(self._tried.values(), key=self._score, reverse=True)
        contenders = [tried for tried in ranked if self._score(tried) >= (1.0 - CONTENDERS) * best]
        points = [self.point(tried.configuration) for tried in contenders[:MAX_CONTENDERS]]
        scores = [self._point_score(point) for point in points]
        tied = [
            point for point, score in zip(points, scores, strict=True) if score >= (1 - TIE) * max(scores)
        ]
        return min(tied, key=lambda point: _order(point.configuration))

    def _find_curves(self, best: OperatingPoint) -> None:
        """Find the rates along both axes through the optimum."""
        for configuration in self._candidates:
            if best.batch_size == configuration.batch_size or (
                best.offload_threshold_items == configuration.offload_threshold_items
                and best.configuration.joins == configuration.joins
            ):
                self._try(configuration, above=0.0)

    def _try(self, configuration: Configuration, *, above: float) -> Tried:
        """Find what a configuration carries by the short sample, unless its score is below `above`."""
        above_qps = above * self._unit(configuration)
        known = self._tried.get(configuration)
        if known is None or (known.below_qps is not None and known.below_qps > above_qps):
            qps = self._test.pilot_qps(configuration, above_qps=above_qps)
            below_qps = above_qps if qps is None and above_qps > 0.0 else None
            known = Tried(configuration=configuration, latency_bounded_qps=qps, below_qps=below_qps)
            self._tried[configuration] = known
            self._tell(len(self._tried) / len(self._candidates))
        return known

    def _best(self, tried: Sequence[Tried]) -> Tried:
        """Return what scores best, the smallest of equals: the climb has no ties but these."""
        return max(tried, key=lambda one: (self._score(one), [-part for part in _order(one.configuration)]))

    def _score(self, tried: Tried) -> float:
        """Objective of what was tried; 0 where nothing is carried, or not enough to matter."""
        return self._scored(tried.configuration, tried.latency_bounded_qps)

    def _point_score(self, point: OperatingPoint) -> float:
        return self._scored(point.configuration, point.latency_bounded_qps)

    def _limit(self, configuration: Configuration) -> float:
        """Objective at the rate that fills the loaded node: what a configuration promises."""
        return self._scored(configuration, self._test.saturation_qps(configuration, contended=True))

    def _scored(self, configuration: Configuration, qps: float | None) -> float:
        if qps is None:
            return 0.0
        return qps / self._unit(configuration)

    def _unit(self, configuration: Configuration) -> float:
        """What a rate is divided by to be scored: the power where that is what counts, else 1. [W] or [1]"""
        power_w = self._power_w(configuration)
        if self._objective == "qps" or power_w is None:  # of a node without, nobody asks: see `tune`
            return 1.0
        return power_w

    def _power_w(self, configuration: Configuration) -> float | None:
        """Static TDP; a node that offloads nothing needs no accelerator; None: not known. [W]"""
        node = self._test.node
        return node.tdp_w if configuration.uses_accelerator else node.cores_tdp_w


def _order(configuration: Configuration) -> tuple[int, float, float]:
    """Ascending batch sizes; within one, ascending thresholds, no offload last, and timeouts."""
    return configuration.batch_size, threshold_key(configuration), configuration.timeout_ms or 0.0
