"""One side of a comparison: its figures, and how each moved with the luck of each batch of queries.

Two sides see the same random numbers, so that what luck does to one it does to the other. How far a
difference may be off is told by the batches: of each, by how much it moved the figure of either side, and of
those the difference. Much of it cancels; what does not is the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import hypot, inf, isfinite, sqrt

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.errors import UndecidedError
from perfmodel.planning.capacity.users import most_users
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import (
    FURTHER_RATES,
    PILOT_QUERIES,
    PILOT_TOLERANCE,
    GreatestRate,
    LateCurve,
    batch_means_apply,
    greatest_rate,
    queries_at,
    queries_for_bursts,
)
from perfmodel.planning.rate.late import DrawnTraffic, is_late
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.sensitivity import RATE_QUERIES
from perfmodel.sim.arrays import BoolArray, FloatArray
from perfmodel.sim.controls import load_controls
from perfmodel.sim.run import RECORDED_QUERIES, run_until_precise
from perfmodel.sim.run_result import REPORTED_PERCENTILES, RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import (
    NUM_BATCHES,
    Interval,
    batch_span,
    controlled_mean,
    error_of_mean,
    student_t,
    warm_up_queries,
)
from perfmodel.sim.traffic import has_days

REPLICATIONS = 6
REPLICATION_QUERIES = 100_000
"""Repetitions behind a largest load, and queries in each at p95 and below."""

ROUNDING = 1e-12
"""What sums taken in another order may differ by, relative: no difference. [1]"""

MOST_BEND = 3.0
"""Of a percentile's distances to those an error below and above, within which it moves in proportion. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """A metric of one side.

    Attributes
    ----------
    value : float
        In SI.
    moved : (NUM_BATCHES,) float or None
        By how much each batch moved it, in the mean 0 but for rounding; None: it is not known batch by batch.
    controls : (NUM_BATCHES, q) float or None
        What explains part of that.
    repeated : (REPLICATIONS,) float or None
        Its value in each of independent repetitions, where it is their mean.
    spread : (float, float) or None
        How far its own 95 % interval reaches below and above it; 0: nothing about it is left to luck; None:
        not known.
    of : Question or None
        What was asked, where figures of several questions are kept.
    """

    value: float
    moved: FloatArray | None = None
    controls: FloatArray | None = None
    repeated: FloatArray | None = None
    spread: tuple[float, float] | None = (0.0, 0.0)
    of: Question | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """A scenario's figures by metric; those that it does not have (of an overload, say) are left out."""

    question: Question
    figures: Mapping[str, Figure]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By how much a metric of B is larger than that of A.

    Attributes
    ----------
    metric : str
        Which.
    a, b : float or None
        Its values; None where a side does not have it.
    value : float or None
        b − a.
    ci95 : (float, float) or None
        Its 95 % interval; both ends the value, where nothing is left to luck; None: not known.
    """

    metric: str
    a: float | None
    b: float | None
    value: float | None
    ci95: tuple[float, float] | None

    @property
    def is_significant(self) -> bool | None:
        """Whether the interval leaves 0 out; None where there is none."""
        if self.ci95 is None:
            return None
        low, high = self.ci95
        return not low <= 0.0 <= high


def difference(metric: str, a: Side, b: Side) -> Difference:
    """Compare a metric of two sides that saw the same random numbers."""
    one, other = a.figures.get(metric), b.figures.get(metric)
    if one is None or other is None:
        return Difference(
            metric=metric,
            a=None if one is None else one.value,
            b=None if other is None else other.value,
            value=None,
            ci95=None,
        )
    value, spread = other.value - one.value, spread_of_difference(one, other)
    if abs(value) <= ROUNDING * max(abs(one.value), abs(other.value)):
        value = 0.0
    ci95 = None if spread is None else (value - spread[0], value + spread[1])
    return Difference(metric=metric, a=one.value, b=other.value, value=value, ci95=ci95)


def spread_of_difference(one: Figure, other: Figure) -> tuple[float, float] | None:
    """How far the 95 % interval reaches: by pairs, else as of two that know nothing of each other."""
    if one.moved is not None and other.moved is not None:
        # The controls of one side: those of the other say the same of the same queries.
        half = controlled_mean(other.moved - one.moved, one.controls).half_width
        return half, half
    if one.repeated is not None and other.repeated is not None:
        half = _of_repeated(other.repeated - one.repeated)
        return half, half
    if one.spread is None or other.spread is None:
        return None
    return hypot(other.spread[0], one.spread[1]), hypot(other.spread[1], one.spread[0])


def side(
    question: Question,
    *,
    num_queries: int,
    extrapolate: bool = False,
    largest: Callable[[Question], Figure | None] | None = None,
) -> Side:
    """Work out a scenario's figures.

    Parameters
    ----------
    question : Question
        With the seed of the other side.
    num_queries : int
        Of the run, the same for both sides.
    extrapolate : bool
        Answer outside the calibrated range too.
    largest : callable, optional
        Finds the largest load in place of `largest_load`: what has found it before.
    """
    if question.traffic.is_closed:
        raise ValueErrorAt(
            "closed users have no rate, and how well what they ask is known is not worked out: predict, "
            "capacity, explain and sweep take them; expected an open process, such as poisson",
            ("traffic", "arrivals", "process"),
        )
    if not extrapolate:
        question.times.require_calibrated()
    run = _run(question, num_queries)
    figures: dict[str, Figure] = {}
    notes: list[str] = []
    if run.is_stable:
        figures |= _latencies(question, run)
        figures["throughput_qps"] = Figure(value=run.throughput_qps or 0.0)
    else:
        notes.append(f"unstable: {run.notes[0]}")
    try:
        if (found := (largest or largest_load)(question)) is not None:
            figures["latency_bounded_qps"] = found
    except UndecidedError as error:
        notes.append(str(error))
    tdp_w = question.tdp_w
    if tdp_w is not None:
        figures["power_w"] = Figure(value=tdp_w)
        for rate, metric in (
            ("throughput_qps", "qps_per_w"),
            ("latency_bounded_qps", "qps_per_w_at_largest_load"),
        ):
            if rate in figures:
                figures[metric] = _scaled(figures[rate], 1.0 / tdp_w)
    return Side(question=question, figures=figures, notes=tuple(notes))


def _scaled(figure: Figure, factor: float) -> Figure:
    return Figure(
        value=figure.value * factor,
        moved=None if figure.moved is None else figure.moved * factor,
        controls=figure.controls,
        repeated=None if figure.repeated is None else figure.repeated * factor,
        spread=None if figure.spread is None else (figure.spread[0] * factor, figure.spread[1] * factor),
    )


def _run(question: Question, num_queries: int) -> RunResult:
    """A run of so many queries, whatever it says of how well it knows."""
    settings = {"min_queries": num_queries, "max_queries": num_queries, "precision": inf}
    return run_until_precise(
        question.traffic,
        question.times.table,
        question.policy,
        question.simulation.model_copy(update=settings),
        percentile=question.sla.percentile,
        latency_s=question.sla.latency_s,
    )


def metric_of(percentile: float) -> str:
    """Name of a percentile's metric.

    Examples
    --------
    >>> metric_of(0.95)
    'latency_ms.p95'
    """
    return f"latency_ms.p{100 * percentile:g}"


def _latencies(question: Question, run: RunResult) -> dict[str, Figure]:
    """Mean and percentiles of the latency, of a day those of the whole day; late queries. [s], [1]"""
    percentiles = sorted({*REPORTED_PERCENTILES, question.sla.percentile})
    record, by_batch = run.record, None
    if record is not None and not has_days(question.traffic) and run.num_queries <= RECORDED_QUERIES:
        warm_up = 0 if question.traffic.num_recorded is not None else warm_up_queries(run.num_queries)
        span = batch_span(run.num_queries, warm_up)
        latency_s, served = record.latency_s[span], record.served[span]
        if served.any(axis=None) and all(part.any() for part in served.reshape(NUM_BATCHES, -1)):
            by_batch = _ByBatch(latency_s, served, _controls(question, run, span), record.rounding_s)
    figures = {}
    if run.mean_latency is not None:
        moved = None if by_batch is None else by_batch.mean(lambda latency_s: latency_s)
        figures["latency_ms.mean"] = _figure(run.mean_latency, moved, by_batch)
    for percentile in percentiles:
        interval = run.percentiles.get(percentile)
        if interval is not None:
            moved = None if by_batch is None else by_batch.percentile(interval.value_s, percentile)
            figures[metric_of(percentile)] = _figure(interval, moved, by_batch)
    if by_batch is not None:
        assert record is not None, "there are batches of it"
        late = is_late(record, question.sla.latency_s)[span].reshape(NUM_BATCHES, -1).mean(axis=1)
        figures["share_late"] = Figure(
            value=float(late.mean()),
            moved=late - late.mean(),
            controls=by_batch.controls,
        )
    return figures


def _figure(interval: Interval, moved: FloatArray | None, by_batch: _ByBatch | None) -> Figure:
    value_s = interval.value_s
    return Figure(
        value=value_s,
        moved=moved,
        controls=None if by_batch is None else by_batch.controls,
        spread=(value_s - interval.low_s, interval.high_s - value_s) if isfinite(interval.high_s) else None,
    )


def _controls(question: Question, run: RunResult, span: slice) -> FloatArray | None:
    """What each batch asked of the pools beyond the mean, as `predict` takes it off."""
    if question.policy.shedding is not None:
        return None
    known = load_controls(question.traffic, question.times.table, question.policy)
    if known is None:
        return None
    queries = question.traffic.draw(run.num_queries, seed=question.simulation.seed)
    return known.by_batch(queries.first(span.stop), span.start, NUM_BATCHES)


class _ByBatch:
    """Latencies of a run in batches; of those that were served."""

    def __init__(
        self, latency_s: FloatArray, served: BoolArray, controls: FloatArray | None, rounding_s: float
    ) -> None:
        self.controls, self._rounding_s = controls, rounding_s
        rows = zip(latency_s.reshape(NUM_BATCHES, -1), served.reshape(NUM_BATCHES, -1), strict=True)
        self._batches = [np.sort(row[kept]) for row, kept in rows]
        self._all = np.sort(np.concatenate(self._batches))

    def mean(self, of: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """By how much each batch moved a mean."""
        means = np.array([float(of(batch).mean()) for batch in self._batches])
        return means - float(means.mean())

    def percentile(self, value_s: float, percentile: float) -> FloatArray | None:
        """By how much each batch moved a percentile: its share of faster queries, over their density. [s]

        The density is taken between the percentiles that the share's own error leads to. None where it is not
        about the same on either side: next to a latency that many queries share, a percentile jumps.
        """
        below = np.array(
            [np.searchsorted(batch, value_s + self._rounding_s, "right") for batch in self._batches]
        )
        shares = below / np.array([len(batch) for batch in self._batches])
        error = max(error_of_mean(shares, self.controls), 1.0 / len(self._all))
        before_s, after_s = (abs(self._at(percentile + sign * error) - value_s) for sign in (-1.0, 1.0))
        if max(before_s, after_s) > MOST_BEND * min(before_s, after_s) + 4.0 * self._rounding_s:
            return None
        moved: FloatArray = (float(shares.mean()) - shares) * (before_s + after_s) / (2.0 * error)
        return moved

    def _at(self, fraction: float) -> float:
        rank = min(len(self._all) - 1, max(0, round(fraction * len(self._all)) - 1))
        return float(self._all[rank])


def largest_load(question: Question, times: ServiceTimes | None = None) -> Figure | None:
    """The largest load: the mean of independent repetitions, which both sides see alike. [queries/s]

    None where no load meets the SLA. `times` take the place of the node's.

    Late queries come in few long episodes, so that batches of one run say too little of how well it is known.
    Of closed users it is what the most of them within the SLA ask.
    """
    if question.traffic.is_closed:
        loads = most_users(question, times, repetitions=REPLICATIONS)
        return None if loads is None else _repeatedly(np.array([each.rate_qps for each in loads]))
    search = RateSearch(
        traffic=question.traffic,
        service=question.times.table if times is None else times,
        policy=question.policy,
        sla=question.sla,
        seed=question.simulation.seed,
        most_queries=question.simulation.max_queries,
    )
    if not batch_means_apply(search) or has_days(question.traffic):
        found = greatest_rate(search, num_queries=RATE_QUERIES)
        return None if found is None else _searched(found)
    pilot = replace(search, probe_queries=PILOT_QUERIES, tolerance=PILOT_TOLERANCE).greatest_rate_qps()
    if pilot is None:
        return None
    num_queries = search.affordable(queries_at(search.sla, REPLICATION_QUERIES))
    num_queries = max(num_queries, queries_for_bursts(search, pilot))
    rates_qps = np.empty(REPLICATIONS)
    near_qps = pilot
    for replication in range(REPLICATIONS):
        drawn = DrawnTraffic(search.traffic, num_queries, seed=search.seed, replication=replication)
        curve = LateCurve(search, search.late(drawn), num_queries, rates=FURTHER_RATES)
        rates_qps[replication] = near_qps = curve.crossing_qps(near_qps)
    return _repeatedly(rates_qps)


def _repeatedly(rates_qps: FloatArray) -> Figure:
    half = _of_repeated(rates_qps)
    return Figure(value=float(rates_qps.mean()), repeated=rates_qps, spread=(half, half))


def _of_repeated(values: FloatArray) -> float:
    """Half-width of the 95 % interval of the mean of independent repetitions, by Student's t."""
    return float(student_t(len(values) - 1) * values.std(ddof=1) / sqrt(len(values)))


def _searched(found: GreatestRate) -> Figure:
    if found.ci95_qps is None:
        return Figure(value=found.rate_qps, spread=None)
    low_qps, high_qps = found.ci95_qps
    return Figure(value=found.rate_qps, spread=(found.rate_qps - low_qps, high_qps - found.rate_qps))
