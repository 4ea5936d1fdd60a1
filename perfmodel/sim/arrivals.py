"""When queries arrive: one function for each arrival process of `perfmodel.domain.workload`.

Every process is built from a unit-rate stream, so that two rates see the same randomness (common
random numbers), and draws element by element, so that a longer run begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import cos, floor, tau
from typing import NamedTuple

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.workload import (
    Arrivals,
    BurstyArrivals,
    ClosedArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    IntegerMillisecondArrivals,
    PoissonArrivals,
    StagedArrivals,
    TraceArrivals,
)
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.streams import stream
from perfmodel.units import MS

# Beyond this the states would not fit in memory, and such short bursts average out within a gap.
MAX_BURSTS = 10_000_000

_TRACE = ("traffic", "arrivals", "file")
"""Where a scenario names its trace."""

PHASE_CELLS = 2**14
"""Steps of a period in which the diurnal clock is a cubic."""
PHASE_ERROR = 1e-13
"""How far the cubic may be off: 1.4 ns of a day. [rad]"""


class WholeMsLaw(NamedTuple):
    """The law of a gap of whole milliseconds: `cdf[j]` is the probability of at most `first_ms + j`."""

    first_ms: int
    cdf: FloatArray


def draw_arrivals_s(
    arrivals: Arrivals,
    num_queries: int,
    *,
    seed: int,
    replication: int = 0,
    trace_s: FloatArray | None = None,
) -> FloatArray:
    """Draw the arrival times of the first `num_queries` queries, ascending. [s]

    Parameters
    ----------
    arrivals : Arrivals
        The process and its mean rate.
    num_queries : int
        How many; the first of a longer draw are the same, to the last bit.
    seed, replication : int
        Choose the random streams "arrivals" and "burst states".
    trace_s : (num_recorded,) float, optional
        The recorded times, ascending; needed by `TraceArrivals`, unused by the others. [s]

    Returns
    -------
    (num_queries,) float
        Times since the start of the run. [s]

    Raises
    ------
    InputError
        If a trace is missing, unordered, or shorter than `num_queries`.

    Examples
    --------
    >>> draw_arrivals_s(ConstantArrivals(rate_qps=4.0), 3, seed=1)
    array([0.25, 0.5 , 0.75])
    """
    rng = stream(seed, "arrivals", replication)
    match arrivals:
        case PoissonArrivals():
            return _unit_poisson(num_queries, rng) / arrivals.rate_qps
        case IntegerMillisecondArrivals():
            return _integer_ms_s(arrivals, num_queries, rng)
        case ConstantArrivals():
            return np.arange(1, num_queries + 1) / arrivals.rate_qps
        case BurstyArrivals():
            states = stream(seed, "burst states", replication)
            return BurstClock(arrivals, states).times_s(_unit_poisson(num_queries, rng))
        case DiurnalArrivals() | StagedArrivals():
            return periodic_s(arrivals, _unit_poisson(num_queries, rng))
        case TraceArrivals():
            return _trace_s(arrivals, num_queries, trace_s)
        case ClosedArrivals():
            raise AssertionError("they follow from the answers: perfmodel.sim.users")


def mean_rate_qps(arrivals: Arrivals, trace_s: FloatArray | None = None) -> float:
    """Return the long-run mean arrival rate; of a trace without a rate, the recorded one. [queries/s]

    Of closed users, what they would ask for if answers took no time: none ask for more.
    """
    if isinstance(arrivals, ClosedArrivals):
        return arrivals.users / arrivals.think_s
    if isinstance(arrivals, TraceArrivals) and arrivals.rate_qps is None:
        return _recorded_rate_qps(_checked_trace(trace_s))
    if isinstance(arrivals, StagedArrivals) and arrivals.rate_qps is None:
        return arrivals.written_qps
    assert arrivals.rate_qps is not None
    return arrivals.rate_qps


def _unit_poisson(num_queries: int, rng: np.random.Generator) -> FloatArray:
    """Points of a Poisson process of rate 1."""
    gaps = rng.standard_exponential(num_queries)
    return np.cumsum(gaps, out=gaps)


def _integer_ms_s(
    arrivals: IntegerMillisecondArrivals, num_queries: int, rng: np.random.Generator
) -> FloatArray:
    """Gaps of Poisson(1000 / rate) whole milliseconds, by inversion of one uniform number each.

    Inversion, because the gaps of two rates are then ordered query by query; `rng.poisson` consumes
    a different number of draws at every rate.
    """
    law = whole_ms_law(1.0 / (arrivals.rate_qps * MS))
    gaps_ms: IntArray = law.first_ms + np.searchsorted(law.cdf, rng.random(num_queries), side="right")
    return np.cumsum(gaps_ms) / 1000.0


def whole_ms_law(mean_gap_ms: float) -> WholeMsLaw:
    """Return the Poisson law of a gap, over all the whole milliseconds that ever occur."""
    from scipy.special import gammaln  # a tenth of a second that other processes can spare

    # Twelve standard deviations hold all but 1e-30 of a Poisson law; small means need the extra 40.
    reach = 12.0 * mean_gap_ms**0.5 + 40.0
    gap_ms = np.arange(max(0, int(mean_gap_ms - reach)), int(mean_gap_ms + reach) + 1)
    log_pmf = gap_ms * np.log(mean_gap_ms) - mean_gap_ms - gammaln(gap_ms + 1.0)
    cdf = np.cumsum(np.exp(log_pmf))
    cdf /= cdf[-1]
    return WholeMsLaw(int(gap_ms[0]), cdf)


def arrival_clock(
    arrivals: Arrivals, *, seed: int, replication: int = 0
) -> Callable[[FloatArray], FloatArray] | None:
    """Return what turns successive points of a unit-rate Poisson process into arrival times. [s]

    For runs that are drawn in parts: the times are those of `draw_arrivals_s`. None for processes that are
    built from something else.
    """
    match arrivals:
        case PoissonArrivals():
            return lambda unit_points: unit_points / arrivals.rate_qps
        case BurstyArrivals():
            return BurstClock(arrivals, stream(seed, "burst states", replication)).times_s
        case DiurnalArrivals() | StagedArrivals():
            return partial(periodic_s, arrivals)
        case _:
            return None


class BurstClock:
    """The clock of two states through which Poisson points are seen.

    The integrated rate is piecewise linear in time; a unit-rate point at u arrives when it reaches u.
    The chain starts in its stationary law, and exponential sojourns have no memory: no warm-up.
    """

    def __init__(self, arrivals: BurstyArrivals, states: np.random.Generator) -> None:
        fraction, factor = arrivals.burst_fraction, arrivals.burst_factor
        calm_qps = arrivals.rate_qps / (1.0 - fraction + fraction * factor)
        mean_calm_s = arrivals.mean_burst_s * (1.0 - fraction) / fraction
        starts_in_burst = states.random() < fraction
        order = slice(None, None, -1 if starts_in_burst else 1)
        self._states = states
        self._mean_burst_s = arrivals.mean_burst_s
        self._mean_s = np.array([mean_calm_s, arrivals.mean_burst_s])[order]
        self._rate_qps = np.array([calm_qps, calm_qps * factor])[order]
        self._cycle_queries = arrivals.rate_qps * arrivals.mean_burst_s / arrivals.burst_fraction
        self._integrated, self._clock_s = np.zeros(1), np.zeros(1)

    def times_s(self, unit_points: FloatArray) -> FloatArray:
        """When ascending points arrive, each at least as large as those of the call before. [s]"""
        if not len(unit_points):
            return unit_points
        if (expected_cycles := (unit_points[-1] - self._integrated[0]) / self._cycle_queries) > MAX_BURSTS:
            raise ValueErrorAt(
                f"{self._mean_burst_s:g} s makes {expected_cycles:.2g} bursts in one run; "
                f"expected at most {MAX_BURSTS:.0e}: longer bursts, or process poisson",
                ("traffic", "arrivals", "mean_burst_s"),
            )
        while self._integrated[-1] <= unit_points[-1]:
            sojourns_s = self._states.standard_exponential((int(expected_cycles) + 16, 2)) * self._mean_s
            self._integrated = _continued(self._integrated, sojourns_s * self._rate_qps)
            self._clock_s = _continued(self._clock_s, sojourns_s)
        times_s: FloatArray = np.interp(unit_points, self._integrated, self._clock_s)
        # What lies behind the last point is over.
        done = max(0, int(np.searchsorted(self._integrated, unit_points[-1])) - 1)
        self._integrated, self._clock_s = self._integrated[done:], self._clock_s[done:]
        return times_s


def _continued(sums: FloatArray, steps: FloatArray) -> FloatArray:
    """Go on summing from the last sum, so that sums round as those of one long array."""
    more = np.cumsum(np.concatenate([sums[-1:], steps.ravel()]))
    return np.concatenate([sums[:-1], more])


def cycle_queries(arrivals: Arrivals) -> float | None:
    """Mean number of queries from one burst, or period of a rate that follows one, to the next."""
    match arrivals:
        case BurstyArrivals():
            return arrivals.rate_qps * arrivals.mean_burst_s / arrivals.burst_fraction
        case DiurnalArrivals() | StagedArrivals():
            return mean_rate_qps(arrivals) * arrivals.period_s
        case _:
            return None


Periodic = DiurnalArrivals | StagedArrivals
"""Processes whose rate follows a period."""


def periodic_s(arrivals: Periodic, unit_points: FloatArray) -> FloatArray:
    """When ascending points of a unit-rate Poisson process arrive. [s]"""
    if isinstance(arrivals, DiurnalArrivals):
        return diurnal_s(arrivals, unit_points)
    return _staged_s(arrivals, unit_points)


def expected_queries(arrivals: Periodic, begin_s: float, end_s: float) -> float:
    """Mean number of arrivals between two times.

    Examples
    --------
    >>> from perfmodel.domain.workload import RateStage
    >>> ramp = StagedArrivals(stages=(RateStage(duration_s=10.0, rate_qps=0.0, to_qps=4.0),))
    >>> expected_queries(ramp, 0.0, 5.0), expected_queries(ramp, 5.0, 15.0)
    (5.0, 20.0)
    """
    if isinstance(arrivals, DiurnalArrivals):
        turns = arrivals.amplitude * arrivals.period_s / tau
        phases = cos(tau * begin_s / arrivals.period_s) - cos(tau * end_s / arrivals.period_s)
        return arrivals.rate_qps * (end_s - begin_s + turns * phases)
    clock = _stage_clock(arrivals)
    return clock.integrated(end_s) - clock.integrated(begin_s)


def peak_factor(arrivals: Periodic) -> float:
    """Greatest rate over the mean rate. [1]"""
    if isinstance(arrivals, DiurnalArrivals):
        return 1.0 + arrivals.amplitude
    return max(max(stage.rate_qps, stage.end_qps) for stage in arrivals.stages) / arrivals.written_qps


class _StageClock(NamedTuple):
    """When each stage of one period begins, the queries until then, and its rate at both ends."""

    begins_s: FloatArray
    queries: FloatArray
    rates_qps: FloatArray
    slopes: FloatArray
    period_s: float

    def integrated(self, time_s: float) -> float:
        """Mean number of arrivals until a time."""
        periods = floor(time_s / self.period_s)
        within_s = time_s - periods * self.period_s
        stage = max(0, int(np.searchsorted(self.begins_s, within_s, side="right")) - 1)
        stage = min(stage, len(self.rates_qps) - 1)
        since_s = within_s - float(self.begins_s[stage])
        own = (float(self.rates_qps[stage]) + 0.5 * float(self.slopes[stage]) * since_s) * since_s
        return periods * float(self.queries[-1]) + float(self.queries[stage]) + own


def _stage_clock(arrivals: StagedArrivals) -> _StageClock:
    scale = mean_rate_qps(arrivals) / arrivals.written_qps
    durations_s = np.array([stage.duration_s for stage in arrivals.stages])
    starts, ends = (
        scale * np.array(rates)
        for rates in zip(*((stage.rate_qps, stage.end_qps) for stage in arrivals.stages), strict=True)
    )
    queries = np.concatenate([[0.0], np.cumsum(0.5 * (starts + ends) * durations_s)])
    begins_s = np.concatenate([[0.0], np.cumsum(durations_s)])
    return _StageClock(begins_s, queries, starts, (ends - starts) / durations_s, float(begins_s[-1]))


def _staged_s(arrivals: StagedArrivals, unit_points: FloatArray) -> FloatArray:
    """Solve r t + s t^2 / 2 = u in the stage that a point falls into: t = 2 u / (r + sqrt(r^2 + 2 s u))."""
    clock = _stage_clock(arrivals)
    periods = np.floor(unit_points / clock.queries[-1])
    within = unit_points - periods * clock.queries[-1]
    stage = np.clip(np.searchsorted(clock.queries, within, side="right") - 1, 0, len(clock.rates_qps) - 1)
    own = np.maximum(within - clock.queries[stage], 0.0)
    rate_qps = clock.rates_qps[stage]
    root = np.sqrt(np.maximum(rate_qps**2 + 2.0 * clock.slopes[stage] * own, 0.0))
    since_s = 2.0 * own / np.maximum(rate_qps + root, 1e-300)
    times_s = periods * clock.period_s + np.minimum(
        clock.begins_s[stage] + since_s, clock.begins_s[stage + 1]
    )
    ordered_s: FloatArray = np.maximum.accumulate(times_s)
    return ordered_s


def diurnal_s(arrivals: DiurnalArrivals, unit_points: FloatArray) -> FloatArray:
    """Poisson points seen through the clock of the sine: solve x + a (1 - cos x) = u for the phase x.

    A cubic through the values and slopes at the ends of equal steps of u is exact to 1e-13 nearly everywhere;
    where it is not, Newton's steps refine it. What is done to a point depends on the point alone, so that a
    longer run begins with the shorter one.
    """
    to_phase = tau / arrivals.period_s
    turns = unit_points * (to_phase / arrivals.rate_qps / tau)
    periods = np.floor(turns)
    within = (turns - periods) * PHASE_CELLS
    cell = np.minimum(within.astype(np.int64), PHASE_CELLS - 1)
    clock = _phase_clock(arrivals.amplitude)
    step = within - cell
    phase = clock.cubic[3][cell]
    for coefficients in clock.cubic[2::-1]:
        phase *= step
        phase += coefficients[cell]
    if len(unsure := np.flatnonzero(clock.is_rough[cell])):
        phase[unsure] = _solved_phase(arrivals.amplitude, within[unsure] * (tau / PHASE_CELLS))
    periods *= tau
    phase += periods
    phase /= to_phase
    # Rounding may swap neighbours that a nearly vanishing rate places within one ulp of each other.
    return np.maximum.accumulate(phase, out=phase)


class _PhaseClock(NamedTuple):
    """The phase against u in units of a cell: coefficients of a cubic in each, and where it is off."""

    cubic: tuple[FloatArray, ...]
    is_rough: BoolArray


@lru_cache(maxsize=8)
def _phase_clock(amplitude: float) -> _PhaseClock:
    width = tau / PHASE_CELLS
    edges = np.linspace(0.0, tau, PHASE_CELLS + 1)
    ends = _solved_phase(amplitude, edges)
    slopes = width / np.maximum(1.0 + amplitude * np.sin(ends), 1e-9)
    rise = np.diff(ends)
    cubic = (
        ends[:-1],
        slopes[:-1],
        3.0 * rise - 2.0 * slopes[:-1] - slopes[1:],
        slopes[:-1] + slopes[1:] - 2.0 * rise,
    )
    middle = cubic[0] + 0.5 * (cubic[1] + 0.5 * (cubic[2] + 0.5 * cubic[3]))
    exact = _solved_phase(amplitude, edges[:-1] + 0.5 * width)
    return _PhaseClock(cubic, ~(np.abs(middle - exact) <= PHASE_ERROR))


def _solved_phase(amplitude: float, within: FloatArray) -> FloatArray:
    """Solve x + a (1 - cos x) = u from 0 to 2 pi: a table brackets each root, Newton's steps stay inside."""
    grid = np.linspace(0.0, tau, 1025)
    integrated = grid + amplitude * (1.0 - np.cos(grid))
    cell = np.clip(np.searchsorted(integrated, within, side="right") - 1, 0, len(grid) - 2)
    low, high = grid[cell], grid[cell + 1]
    phase = low + (high - low) * (within - integrated[cell]) / (integrated[cell + 1] - integrated[cell])
    for _ in range(4):
        residual = phase + amplitude * (1.0 - np.cos(phase)) - within
        slope = np.maximum(1.0 + amplitude * np.sin(phase), 1e-9)  # 0 where the rate itself is 0
        phase = np.clip(phase - residual / slope, low, high)
    solved: FloatArray = phase
    return solved


def _trace_s(arrivals: TraceArrivals, num_queries: int, trace_s: FloatArray | None) -> FloatArray:
    """Recorded times, counted from the first; stretched where a rate is given."""
    recorded_s = _checked_trace(trace_s)
    if num_queries > len(recorded_s):
        raise ValueErrorAt(
            f"holds {len(recorded_s)} queries, fewer than the {num_queries} asked for",
            _TRACE,
        )
    since_first_s: FloatArray = recorded_s[:num_queries] - recorded_s[0]
    if arrivals.rate_qps is None:
        return since_first_s
    return since_first_s * (_recorded_rate_qps(recorded_s) / arrivals.rate_qps)


def _checked_trace(trace_s: FloatArray | None) -> FloatArray:
    if trace_s is None or len(trace_s) < 2:
        raise ValueErrorAt("expected a trace of at least two arrival times", _TRACE)
    if not np.all(np.isfinite(trace_s)) or np.any(np.diff(trace_s) < 0):
        raise ValueErrorAt("arrival_s: expected finite, ascending times", _TRACE)
    if trace_s[-1] == trace_s[0]:
        raise ValueErrorAt("arrival_s: all times are equal, so there is no rate", _TRACE)
    return trace_s


def _recorded_rate_qps(trace_s: FloatArray) -> float:
    return (len(trace_s) - 1) / float(trace_s[-1] - trace_s[0])
