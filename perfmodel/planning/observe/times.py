"""Service times of a log: their mean by size and executors at work, scatter around it, and pauses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from perfmodel.domain.service_table import ServiceTable
from perfmodel.domain.unsteady import MOST_PAUSED, ListedScatter, LogNormalScatter, PauseSettings
from perfmodel.planning.observe.estimated import Z95, Estimated, around
from perfmodel.planning.observe.log import ServedLog
from perfmodel.planning.observe.regression import MeanTimes, fit_mean
from perfmodel.units import MS

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MOST_FITTED = 600_000
"""Requests that the mean is fitted to, evenly taken: they know it to a tenth of a percent."""
EACH_SIZE_ROWS = 60
"""Sizes up to which each has a row of its own."""
EACH_LEAST = 30
"""Requests of a size, that it has one."""
MOST_KNOTS = 48
A_KNOT = 150
"""Requests for each row where there are more sizes."""
MOST_LEVELS = 40
CONTENTION = 0.01
"""Share by which times must differ between numbers of executors at work to be told apart. [1]"""
STEADY = 0.003
"""Relative standard deviation below which times of one size count as one. [1]"""
FAR = 5.0
"""Standard deviations, as the median of absolute deviations tells them, beyond which a time is no scatter."""
LEAST_PAUSE = 0.2
"""And how much longer than its mean it must be. [1]"""
LEAST_PAUSES = 8
TOGETHER = 0.5
"""Share of those at work during a pause that are held up too, from which all are. [1]"""
_TURNS = 40
"""Of sizes and levels, until they hardly move each other."""
PARTS = 20
"""Of a log, whose means are taken for independent."""
FACTORS = 250
"""Of scatter that is no log-normal law."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """A row of the table: requests of a size beside so many at work.

    Attributes
    ----------
    items, busy : int
        [items]; executors at work, None where they play no part.
    service_s : Estimated
        Mean. [s]
    std_s, p50_s, p99_s : float
        Of single requests. [s]
    count : int
        Requests nearest to this row.
    """

    items: int
    busy: int | None
    service_s: Estimated
    std_s: float
    p50_s: float
    p99_s: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Pauses that held requests up, beyond scatter.

    Attributes
    ----------
    scope : {"executor", "node"}
        Whether one executor stands still, or all.
    rate_per_s : Estimated
        Pauses per second of running time, of each executor or of the node. [1/s]
    length_s : Estimated
        Mean length. [s]
    lengths : {"constant", "exponential"}
        Which law their lengths are nearer to.
    seen : int
        How many.
    """

    scope: Literal["executor", "node"]
    rate_per_s: Estimated
    length_s: Estimated
    lengths: Literal["constant", "exponential"]
    seen: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServiceFit:
    """Service times of a node, as its log tells them.

    Attributes
    ----------
    rows : tuple of ServiceRow
        By executors at work, then by size.
    mean : MeanTimes
        The same, to be evaluated.
    relative_std : Estimated
        Of requests around the mean of their size, without pauses and the clock's steps. [1]
    scatter : LogNormalScatter, ListedScatter or None
        As a scenario has it; None: times of one size are one.
    pauses : Pauses or None
        None: none stand out.
    relative_error : float
        Standard error of the mean time of a request, all rows together, as parts of the log tell it: what
        `node.error_percent` is made of. [1]
    row_error : float
        Root mean square standard error of single rows, weighted by requests. [1]
    notes : tuple of str
        What a reader must know.
    """

    rows: tuple[ServiceRow, ...]
    mean: MeanTimes
    relative_std: Estimated
    scatter: LogNormalScatter | ListedScatter | None
    pauses: Pauses | None
    relative_error: float
    row_error: float
    notes: tuple[str, ...]

    @property
    def pause_settings(self) -> PauseSettings | None:
        """Pauses as a scenario has them."""
        if self.pauses is None:
            return None
        return PauseSettings(
            rate_per_s=self.pauses.rate_per_s.value,
            length_ms=self.pauses.length_s.value / MS,
            lengths=self.pauses.lengths,
            scope=self.pauses.scope,
        )

    def table(self, name: str) -> ServiceTable:
        """The rows as a node is known by them."""
        busy = [row.busy for row in self.rows]
        return ServiceTable(
            name=name,
            items=np.array([row.items for row in self.rows], np.float64),
            service_s=np.array([row.service_s.value for row in self.rows]),
            busy=None if busy[0] is None else np.array(busy, np.float64),
        )


def fit_times(log_: ServedLog, busy: IntArray, executors: int) -> ServiceFit:
    """Fit service times to a log.

    Parameters
    ----------
    log_ : ServedLog
        Requests.
    busy : (num_requests,) int
        Executors at work at the start of each.
    executors : int
        Of the node: the last level of the table.
    """
    service_s, items = log_.service_s, log_.num_items
    good = service_s > 0
    # Of a long log an even part decides what is usual; its outliers are looked for in all of it.
    some = slice(None, None, max(1, len(service_s) // MOST_FITTED))
    part_s, part_items, part_busy = service_s[some], items[some], busy[some]
    usual = part_s > 0
    sizes = _knots(part_items[usual], part_s[usual], items)
    levels = np.array([1.0])
    mean = _fitted(part_s, part_items, part_busy, usual, sizes, levels)
    for _ in range(3):  # what is far off does not decide what is usual
        relative = _relative(mean, part_s, part_items, part_busy)
        usual = (part_s > 0) & ~_is_far(relative, part_s > 0, log_.clock_s, part_s)
        levels = _levels(relative * _of_level(mean, part_busy), part_busy, usual)
        mean = _fitted(part_s, part_items, part_busy, usual, sizes, levels)
    if len(sizes) < len(np.unique(items[good])):
        mean = replace(mean, standard_error=np.hypot(mean.standard_error, _bend(sizes)[:, None]))
    mean = _to_both_ends(mean, executors)
    relative = _relative(mean, service_s, items, busy)
    usual = good & ~_is_far(relative, good, log_.clock_s, service_s)
    paused = good & (relative > 1.0) & ~usual
    pauses = _pauses(log_, relative, paused, service_s)
    notes = []
    if not good.all():
        notes.append(f"{int((~good).sum()):,} requests with a service time of 0 are left out of the table")
    if paused.any() and pauses is None:
        notes.append(
            f"{int(paused.sum()):,} requests took far longer than their size does; too few for pauses"
        )
    std, scatter = _scatter(relative[usual], service_s[usual], log_.clock_s)
    rows = _rows(mean, relative, items, busy, usual)
    if len(levels) > 1:
        far = [level for level in (1, executors) if level not in levels]
        if far:
            which = " or ".join(map(str, far))
            notes.append(f"hardly a request found {which} at work: times there go on as beside them")
    weights = np.array([row.count for row in rows], np.float64)
    errors = mean.standard_error.T.ravel()
    return ServiceFit(
        rows=rows,
        mean=mean,
        relative_std=std,
        scatter=scatter,
        pauses=pauses,
        relative_error=_error_of_all(relative[usual]),
        row_error=float(np.sqrt((errors**2 * weights).sum() / weights.sum())),
        notes=tuple(notes),
    )


def _bend(sizes: FloatArray) -> FloatArray:
    """How far a straight line between sizes may be off, as the logarithm of a time bends. [ln]

    Of a time a + b s the logarithm bends by p (1 - p) <= 1/4 over the logarithm of s, p the share of b s; a
    line over a gap h is off by h^2 / 8 times that at most.
    """
    gaps = np.diff(np.log(sizes))
    wider = np.maximum(np.append(gaps, 0.0), np.insert(gaps, 0, 0.0))
    bend: FloatArray = wider**2 / 32.0
    return bend


def _error_of_all(relative: FloatArray) -> float:
    """Standard error of the mean by the means of parts of the log: slow changes count. [1]"""
    means = np.array([part.mean() for part in np.array_split(relative, PARTS)])
    return float(means.std(ddof=1)) / sqrt(PARTS)


def _knots(items: IntArray, service_s: FloatArray, every: IntArray) -> FloatArray:
    """Sizes that have a row: each, where each is known well; else about evenly in the logarithm.

    The table goes from the smallest to the largest of every request, those that were not taken included.
    """
    values, counts = np.unique(items, return_counts=True)
    ends = np.array([float(every.min()), float(every.max())])
    if len(values) <= EACH_SIZE_ROWS and counts.min() >= EACH_LEAST and len(np.unique(every)) == len(values):
        return values.astype(np.float64)
    if values[0] == ends[0] and values[-1] == ends[1] and _one_time_each(items, service_s, values):
        return values.astype(np.float64)
    most = int(np.clip(len(items) // A_KNOT, 2, MOST_KNOTS))
    wanted = np.unique(np.rint(np.geomspace(ends[0], ends[1], most)))
    kept = [float(wanted[0])]
    for knot in wanted[1:-1]:
        since = int(((items > kept[-1]) & (items <= knot)).sum())
        if since >= A_KNOT and int((items > knot).sum()) >= A_KNOT:
            kept.append(float(knot))
    return np.unique([*kept, ends[1]])


def _one_time_each(items: IntArray, service_s: FloatArray, values: IntArray) -> bool:
    """Whether nearly all requests of a size take one time, so that each size is known by itself."""
    if len(values) > 3000:
        return False
    group = np.searchsorted(values, items)
    order = np.lexsort((service_s, group))
    starts = np.searchsorted(group[order], np.arange(len(values) + 1))
    middle_s = service_s[order][(starts[:-1] + starts[1:]) // 2]
    return float((np.abs(service_s / middle_s[group] - 1.0) > STEADY).mean()) < 0.02


def _fitted(
    service_s: FloatArray,
    items: IntArray,
    busy: IntArray,
    usual: BoolArray,
    sizes: FloatArray,
    levels: FloatArray,
) -> MeanTimes:
    fit = _by_size if len(sizes) > EACH_SIZE_ROWS else fit_mean
    return fit(service_s[usual], items[usual], busy[usual], sizes, levels)


def _by_size(
    service_s: FloatArray, items: IntArray, busy: IntArray, sizes: FloatArray, levels: FloatArray
) -> MeanTimes:
    """Means of single sizes, where times scatter so little that each is known by itself.

    Sizes and levels take turns, each the mean of what the other leaves.
    """
    group = np.searchsorted(sizes, items)
    at = np.minimum(np.searchsorted(levels, busy), len(levels) - 1)
    kept = np.ones(len(items), dtype=np.bool_)
    for _ in range(2):
        counts = np.maximum(np.bincount(group[kept], minlength=len(sizes)), 1)
        seen = kept & (levels[at] == busy)
        mean_s, by_level = np.ones(len(sizes)), np.zeros(len(levels))
        for _ in range(_TURNS if len(levels) > 1 else 1):
            alone_s = service_s * np.exp(-np.interp(busy, levels, by_level))
            mean_s = np.bincount(group[kept], weights=alone_s[kept], minlength=len(sizes)) / counts
            if len(levels) > 1:
                left = service_s[seen] / mean_s[group[seen]]
                total = np.bincount(at[seen], weights=left, minlength=len(levels))
                by_level = np.log(total / np.bincount(at[seen], minlength=len(levels)))
                by_level -= by_level[0]
        off = service_s * np.exp(-np.interp(busy, levels, by_level)) / np.maximum(mean_s[group], 1e-300) - 1.0
        # Where the clock's steps hide who ended first, a request counts as beside one more or less.
        kept = np.abs(off) < max(6.0 * float(np.median(np.abs(off))), 1e-6)
    empty = mean_s <= 0.0
    known = np.log(mean_s[~empty])
    mean_s[empty] = np.exp(np.interp(np.log(sizes[empty]), np.log(sizes[~empty]), known))
    spread = np.bincount(group[kept], weights=off[kept] ** 2, minlength=len(sizes)) / counts
    error = np.sqrt(spread / counts)[:, None] + np.zeros(len(levels))[None, :]
    return MeanTimes(sizes, levels, np.log(mean_s)[:, None] + by_level[None, :], error)


def _relative(mean: MeanTimes, service_s: FloatArray, items: IntArray, busy: IntArray) -> FloatArray:
    return service_s / mean.mean_s(items, busy)


def _is_far(relative: FloatArray, good: BoolArray, clock: float, service_s: FloatArray) -> BoolArray:
    """Which times are no scatter: five deviations and a fifth above, and more than the clock's steps."""
    logs = np.log(relative[good])
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    limit = max(exp(middle + FAR * spread), 1.0 + LEAST_PAUSE)
    return np.asarray(
        (relative > limit) & (service_s * (1.0 - 1.0 / np.maximum(relative, 1e-9)) > 3.0 * clock)
    )


def _levels(relative: FloatArray, busy: IntArray, usual: BoolArray) -> FloatArray:
    """Numbers of executors at work at which times are told apart; one where they do not differ."""
    seen = busy[usual]
    values, often = np.unique(seen, return_counts=True)
    inner = values[often >= EACH_LEAST].astype(np.float64)
    if len(inner) > MOST_LEVELS:
        inner = inner[np.unique(np.rint(np.linspace(0, len(inner) - 1, MOST_LEVELS)).astype(np.int64))]
    if len(inner) < 2:
        return np.array([1.0])
    group = np.clip(np.searchsorted(inner, seen, side="right") - 1, 0, len(inner) - 1)
    counts = np.bincount(group, minlength=len(inner))
    ratios = relative[usual]
    means = np.bincount(group, weights=ratios, minlength=len(inner)) / np.maximum(counts, 1)
    known = counts >= EACH_LEAST
    # A straight line through the means tells a trend that no two of them do.
    weights = counts / counts.sum()
    at = inner - weights @ inner
    slope = float(weights * at @ means) / float(weights * at @ at)
    doubt = 4.0 * float(ratios.std()) / sqrt(len(ratios) * float(weights * at @ at))
    if abs(slope) * float(np.ptp(inner)) < CONTENTION or abs(slope) < doubt:
        return np.array([1.0])
    return inner[known]


def _of_level(mean: MeanTimes, busy: IntArray) -> FloatArray:
    """What executors at work make of a time, which is to be found anew."""
    factors: FloatArray = np.exp(np.interp(busy, mean.levels, mean.log_s[0] - mean.log_s[0, 0]))
    return factors


def _to_both_ends(mean: MeanTimes, executors: int) -> MeanTimes:
    """Let levels go from one executor to all, straight on beyond those seen; as doubtful as that moves."""
    levels, log_s, error = mean.levels, mean.log_s, mean.standard_error
    if len(levels) < 2:
        return mean
    for level, near, next_ in ((1.0, 0, 1), (float(executors), -1, -2)):
        if levels[0] <= level <= levels[-1]:
            continue
        steps = (level - levels[near]) / (levels[near] - levels[next_])
        moved = steps * (log_s[:, near] - log_s[:, next_])
        new = (log_s[:, near] + moved)[:, None], np.hypot(error[:, near], np.abs(moved))[:, None]
        at = 0 if near == 0 else len(levels)
        levels = np.insert(levels, at, level)
        log_s, error = np.insert(log_s, [at], new[0], axis=1), np.insert(error, [at], new[1], axis=1)
    return MeanTimes(mean.sizes, levels, log_s, error)


def _scatter(
    relative: FloatArray, service_s: FloatArray, clock: float
) -> tuple[Estimated, LogNormalScatter | ListedScatter | None]:
    """How wide times of one size scatter, less what the clock's steps do; and their law."""
    seen_s = np.maximum(service_s, 0.5 * clock)  # less is a stamp that the clock did not make
    stepped = float(np.mean((clock / seen_s) ** 2)) / 6.0  # a difference of two stamps, each off evenly
    centred = relative - relative.mean()
    variance = float(np.mean(centred**2))
    error = sqrt(max(0.0, float(np.mean(centred**4)) - variance**2) / len(relative))
    own = max(0.0, variance - stepped)
    std = sqrt(own)
    known = around(std, error / (2.0 * std) if std > 0 else sqrt(error))
    found = Estimated(std, max(0.0, known.low), known.high)
    if std < STEADY or own < 0.2 * stepped:
        return found, None
    logs = np.log(relative)
    logs = (logs - logs.mean()) / logs.std()
    if abs(float(np.mean(logs**3))) < 0.25 and abs(float(np.mean(logs**4)) - 3.0) < 0.6:
        return found, LogNormalScatter(relative_std=std)
    ordered = np.sort(relative)
    parts = np.array_split(ordered, min(FACTORS, len(ordered)))
    return found, ListedScatter(factors=tuple(float(part.mean() / relative.mean()) for part in parts))


def _pauses(log_: ServedLog, relative: FloatArray, paused: BoolArray, service_s: FloatArray) -> Pauses | None:
    """Pauses behind the requests that took far too long: of one executor, or of all at once."""
    rows = np.flatnonzero(paused)
    if len(rows) < LEAST_PAUSES:
        return None
    excess_s = service_s[rows] * (1.0 - 1.0 / relative[rows])
    start_s, end_s = log_.start_s[rows], log_.end_s[rows]
    share = _held_together(log_, start_s, end_s, excess_s)
    scope: Literal["executor", "node"] = "node" if share >= TOGETHER else "executor"
    if scope == "node":
        order = np.argsort(end_s, kind="stable")
        # Those that one pause holds overlap: a new pause begins where all before have ended.
        ended = np.maximum.accumulate(end_s[order])
        fresh = np.concatenate([[True], start_s[order][1:] > ended[:-1] - 0.5 * excess_s[order][1:]])
        group = np.cumsum(fresh) - 1
        lengths_s = np.bincount(group, weights=excess_s[order]) / np.bincount(group)
        exposed_s = _busy_time_s(log_) - float(lengths_s.sum())
    else:
        lengths_s = excess_s
        exposed_s = float(service_s.sum()) - float(excess_s.sum())
    seen = len(lengths_s)
    if seen < LEAST_PAUSES or exposed_s <= 0.0 or float(lengths_s.sum()) > MOST_PAUSED * exposed_s:
        return None
    spread = float(lengths_s.std() / lengths_s.mean())
    mean_s, rate = float(lengths_s.mean()), seen / exposed_s
    lengths: Literal["constant", "exponential"] = "constant"
    if spread > 0.5:
        lengths = "exponential"
        least_s = float(lengths_s.min())
        mean_s = max(mean_s - least_s, 0.1 * mean_s)  # short ones are not seen: what lasts goes on as before
        rate *= exp(min(least_s / mean_s, 3.0))
    return Pauses(
        scope=scope,
        rate_per_s=around(rate, rate / sqrt(seen)),
        length_s=around(mean_s, float(lengths_s.std()) / sqrt(seen)),
        lengths=lengths,
        seen=seen,
    )


def _held_together(log_: ServedLog, start_s: FloatArray, end_s: FloatArray, excess_s: FloatArray) -> float:
    """Of requests at work when one is held up, the share that is held up as well. [1]"""
    at_s = end_s - 0.5 * excess_s
    others = np.searchsorted(np.sort(log_.start_s), at_s) - np.searchsorted(np.sort(log_.end_s), at_s) - 1
    held = np.searchsorted(np.sort(start_s), at_s) - np.searchsorted(np.sort(end_s), at_s) - 1
    return float(held.sum() / max(1, others.sum()))


def _busy_time_s(log_: ServedLog) -> float:
    """Time in which anything was at work. [s]"""
    order = np.argsort(log_.start_s, kind="stable")
    start_s, end_s = log_.start_s[order], np.maximum.accumulate(log_.end_s[order])
    gaps_s = np.maximum(0.0, start_s[1:] - end_s[:-1])
    return float(end_s[-1] - start_s[0] - gaps_s.sum())


def _rows(
    mean: MeanTimes, relative: FloatArray, items: IntArray, busy: IntArray, usual: BoolArray
) -> tuple[ServiceRow, ...]:
    """The table: every size at every level, with the spread of the requests around each size."""
    between = np.sqrt(mean.sizes[1:] * mean.sizes[:-1])
    place = np.searchsorted(between, items)
    level = np.zeros(len(items), np.int64)
    if len(mean.levels) > 1:
        level = np.searchsorted(0.5 * (mean.levels[1:] + mean.levels[:-1]), busy)
    pooled = relative[usual]
    everywhere = float(pooled.std()), *np.quantile(pooled, [0.5, 0.99]).tolist()
    order = np.argsort(place[usual], kind="stable")
    ends = np.searchsorted(place[usual][order], np.arange(len(mean.sizes) + 1))
    spreads = []
    for index in range(len(mean.sizes)):
        own = pooled[order[ends[index] : ends[index + 1]]]
        spreads.append(
            everywhere if len(own) < 100 else (float(own.std()), *np.quantile(own, [0.5, 0.99]).tolist())
        )
    counts = np.bincount(
        place[usual] * len(mean.levels) + level[usual], minlength=len(mean.sizes) * len(mean.levels)
    ).reshape(len(mean.sizes), len(mean.levels))
    rows = []
    for m, at_work in enumerate(mean.levels):
        for j, size in enumerate(mean.sizes):
            value = exp(mean.log_s[j, m])
            error = float(mean.standard_error[j, m])
            std, p50, p99 = spreads[j]
            rows.append(
                ServiceRow(
                    items=int(size),
                    busy=int(at_work) if len(mean.levels) > 1 else None,
                    service_s=Estimated(value, value * exp(-Z95 * error), value * exp(Z95 * error)),
                    std_s=std * value,
                    p50_s=p50 * value,
                    p99_s=max(p99, p50) * value,
                    count=int(counts[j, m]),
                )
            )
    return tuple(rows)
