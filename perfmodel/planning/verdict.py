"""Whether a load meets its SLA, as a probability: what is known of the service times and of the simulation.

The service times are off by a factor of which the logarithm is normal, its spread being the error on what was
not fitted. The SLA is met where they are no longer than those at which its percentile is its limit: with
m = ln of that factor, s the spread and e the simulation's own error in the same terms,

    P(SLA met) = Phi(m / sqrt(s^2 + e^2)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import expm1, hypot, inf, isfinite, isinf, log
from statistics import NormalDist
from typing import Literal, NamedTuple

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.node import AnyNode
from perfmodel.planning.sensitivity import FARTHEST, Band, Errors, OtherTimes
from perfmodel.planning.table_node import TableNode
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.statistics import NORMAL_QUANTILE, Interval

Verdict = Literal["meets_sla", "within_error", "misses_sla", "unstable"]

NORMAL = NormalDist()

CALIBRATED_ERROR = 0.07
"""Root mean square error of whole models on a machine after `perfplan calibrate`, which took minutes: README,
"How right is it?", mean 4.9 to 6.2 %, 90th percentile 10 to 13 %. [ln]"""

ANCHORED_ERROR = 0.03
"""The same of the largest load, with a short run of the model itself as an anchor: docs/validation.md, mean
2.2 %. [ln]"""

FINER = 4.0
"""How many times more precise a simulation is proposed where its own error decides."""

LEAST_SPREAD = 0.01
"""How far times are varied to see what they do where a profile states a smaller error, or none. [ln]"""

MARGIN_STEPS = 6
MARGIN_TOLERANCE = 0.02
"""Steps of the search for service times at which an SLA is just met, and how close is enough, in errors."""


class Margin(NamedTuple):
    """How far service times are from where the SLA is just met.

    Attributes
    ----------
    ln_scale : float
        Logarithm of the factor by which they may grow (must shrink, where negative); at most `FARTHEST`
        errors to either side. [ln]
    simulation_error : float
        Standard error that the simulation leaves of it. [ln]
    """

    ln_scale: float
    simulation_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """What would decide where neither "meets" nor "misses" can be said.

    Attributes
    ----------
    error : {"service times", "simulation"}
        The larger of the two.
    size : float or None
        Its standard deviation now, of the logarithm of the service times; None where it is not known. [ln]
    expected : float or None
        And after what is proposed. [ln]
    command : str
        What narrows it.
    band_s : Band or None
        The SLA's percentile one standard deviation to either side, as expected then. [s]
    """

    error: Literal["service times", "simulation"]
    size: float | None
    expected: float | None
    command: str
    band_s: Band | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes
    ----------
    verdict : {"meets_sla", "within_error", "misses_sla", "unstable"}
        See `judge`.
    sla_probability : float or None
        That the SLA's percentile meets its limit; None where the run was too short to tell. [1]
    confidence : float
        From which probability on a claim is made. [1]
    deciding : Deciding or None
        What would decide; None where something was decided.
    """

    verdict: Verdict
    sla_probability: float | None
    confidence: float
    deciding: Deciding | None = None


class Narrowing(NamedTuple):
    """The error of the service times after a command, and that command. [ln]"""

    expected: float
    command: str


def narrowing(node: AnyNode, errors: Errors) -> Narrowing:
    """What makes the error of a node's service times smaller."""
    if isinstance(node, TableNode):
        half = 0.5 * errors.spread
        again = f"measuring each row of {node.table.name} four times as often"
        return Narrowing(half, f"{again}, then --set node.error_percent={100 * expm1(half):.2g}")
    if node.shards is not None or node.near_memory is not None or node.tier_settings is not None:
        return Narrowing(ANCHORED_ERROR, "a table of times measured on such a service, as node.service_times")
    if node.is_measured_by_call:
        return Narrowing(
            ANCHORED_ERROR, "perfplan validate --scenario S --profile P --anchor, on that machine"
        )
    return Narrowing(
        CALIBRATED_ERROR, "perfplan calibrate --out FILE on that machine, then --set node.cpu=FILE"
    )


def judge(
    sla: SlaTarget,
    run: RunResult,
    margin: Margin,
    errors: Errors,
    *,
    accept_uncertain: bool = False,
) -> Judgement:
    """Say whether a load meets its SLA.

    `meets_sla` where that is as probable as the SLA's confidence asks, `misses_sla` where its contrary is,
    `within_error` between; `unstable` where it is so probable that the load is more than the node can serve.

    Parameters
    ----------
    run : RunResult
        What the load looks like with the service times as given.
    margin : Margin
        How far the service times are from where the SLA is just met.
    errors : Errors
        Of the service times.
    accept_uncertain : bool
        Let the central estimate decide.
    """
    probability = _probability(margin.ln_scale, hypot(errors.spread, margin.simulation_error))
    if run.needed_queries is not None:  # a few bursts, or none: nobody knows what is usual
        return Judgement(verdict="within_error", sla_probability=None, confidence=sla.confidence)
    if accept_uncertain:
        return Judgement(
            verdict=central_verdict(sla, run), sla_probability=probability, confidence=sla.confidence
        )
    verdict: Verdict = "within_error"
    if probability >= sla.confidence:
        verdict = "meets_sla"
    elif probability <= 1.0 - sla.confidence:
        may_serve = _probability(-_ln_overload(run, margin), errors.spread)
        verdict = "misses_sla"
        if not run.is_stable and may_serve <= 1.0 - sla.confidence:
            verdict = "unstable"
    return Judgement(verdict=verdict, sla_probability=probability, confidence=sla.confidence)


def what_decides(
    run: RunResult,
    margin: Margin,
    errors: Errors,
    *,
    narrowing: Narrowing,
    precision: float,
    most_queries: int,
    band_at: Callable[[float], Band],
) -> Deciding:
    """Name the larger error, what narrows it, and the band that is expected then.

    Parameters
    ----------
    narrowing : Narrowing
        What makes the service times' error smaller, and how small.
    precision : float
        Asked of the simulation so far. [1]
    most_queries : int
        Of the longest run that can be asked for; 0 of a recorded trace, which has no more.
    band_at : callable
        The SLA's percentile with service times shorter and longer by so much. [ln] -> [s]
    """
    simulation = margin.simulation_error
    if run.needed_queries is not None:
        return Deciding(
            error="simulation",
            size=None,
            expected=None,
            command=f"--set simulation.max_queries={run.needed_queries}",
            band_s=None,
        )
    if simulation > errors.spread:
        finer = precision / FINER
        known = isfinite(simulation)
        longer = f"--set simulation.precision={finer:.2g} --set simulation.max_queries={most_queries}"
        return Deciding(
            error="simulation",
            size=simulation if known else None,
            expected=simulation / FINER if known else None,
            command="a longer trace: this one is served whole" if most_queries == 0 else longer,
            band_s=band_at(simulation / FINER) if known else None,
        )
    expected = min(narrowing.expected, errors.spread)
    return Deciding(
        error="service times",
        size=errors.spread,
        expected=expected,
        command=narrowing.command,
        band_s=band_at(expected),
    )


def quantile(confidence: float) -> float:
    """Standard deviations below which a normal variate lies with this probability."""
    return NORMAL.inv_cdf(confidence)


def central_verdict(sla: SlaTarget, run: RunResult) -> Verdict:
    """What a run says of its load, the service times being as given; too few bursts say nothing."""
    if run.needed_queries is not None:
        return "within_error"
    if not run.is_stable:
        return "unstable"
    interval = sla_interval(sla, run)
    assert interval is not None, "a stable run has the SLA's percentile"
    return "meets_sla" if interval.value_s <= sla.latency_s + run.rounding_s else "misses_sla"


def sla_interval(sla: SlaTarget, run: RunResult) -> Interval | None:
    """The SLA's percentile, of a day that of its worst five minutes; None of an overload. [s]

    Of all queries that came: those turned away take for ever, and it is inf where it is one of them.
    """
    found = run if run.worst is None else run.worst
    return found.percentiles.get(sla.percentile) if found.of_asked is None else found.of_asked


def _ln_overload(run: RunResult, margin: Margin) -> float:
    """Logarithm of how much shorter service times have to be, at the least, for the node to keep up. [ln]

    By what the load is more than it can serve with all executors busy: a queue that has once formed drains
    from there on only. Where a policy grows one on executors that would suffice, by what the SLA asks, which
    is more.
    """
    overload = max(run.contended)
    return log(overload) if overload > 1.0 else -margin.ln_scale


def _probability(distance: float, spread: float) -> float:
    if spread == 0.0:
        return 1.0 if distance >= 0.0 else 0.0
    return NORMAL.cdf(distance / spread)


def margin(times: OtherTimes, sla: SlaTarget, errors: Errors) -> Margin:
    """Find the service times, longer or shorter, at which the SLA's percentile is its limit.

    Bisection, by the logarithm of the latency where both ends of the bracket have one.
    """

    def excess(ln_scale: float) -> float:
        """Logarithm of the percentile over its limit; inf for an overload."""
        found_s = times.of_asked_s(errors.at(ln_scale), sla.percentile)
        return inf if found_s is None else log(max(found_s, 1e-12) / (sla.latency_s + times.rounding_s))

    return margin_of(
        excess,
        max(errors.spread, LEAST_SPREAD),
        steps=MARGIN_STEPS if times.is_compiled else 1,
        ln_error=lambda: _ln_error(_known(times, sla), times.rounding_s),
    )


def margin_of(
    excess: Callable[[float], float],
    spread: float,
    *,
    steps: int = MARGIN_STEPS,
    ln_error: Callable[[], float] = lambda: 0.0,
) -> Margin:
    """Find where an excess passes zero, within `FARTHEST` spreads of none.

    Parameters
    ----------
    excess : callable
        Logarithm of a percentile over its limit, by that of how much longer service times are; infinite for
        an overload. It grows.
    spread : float
        How far the first step goes, in what `excess` takes.
    steps : int
        Of the bisection, at most.
    ln_error : callable
        The simulation's standard error of the logarithm of the percentile. [ln]
    """
    low, high, bracketed = _bracket(excess, spread)
    if not bracketed:
        return Margin(low[0], 0.0)
    for _ in range(steps):
        if high[0] - low[0] <= MARGIN_TOLERANCE * spread:
            break
        middle = _between(low, high)
        end = (middle, excess(middle))
        low, high = (end, high) if end[1] <= 0.0 else (low, end)
    if isinf(high[1]):  # a cliff, and the simulation sees where it is
        return Margin(0.5 * (low[0] + high[0]), 0.0)
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return Margin(low[0] - low[1] / slope, ln_error() / slope)


def _known(times: OtherTimes, sla: SlaTarget) -> Interval | None:
    """The interval of the SLA's percentile; None where what is turned away makes a cliff of it."""
    found = times.interval_of_asked
    if found is None:
        return times.intervals.get(sla.percentile)
    return None if isinf(found.high_s) else found


def _ln_error(interval: Interval | None, rounding_s: float = 0.0) -> float:
    """Standard error of the logarithm of a percentile, but for rounding; 0 where there is none. [ln]"""
    if interval is None or interval.value_s <= 0.0:
        return 0.0
    if isinf(interval.high_s):
        return inf
    low_s, high_s = interval.low_s + rounding_s, interval.high_s - rounding_s
    ends = (interval.value_s / max(low_s, 1e-12), high_s / interval.value_s)
    return log(max(*ends, 1.0)) / NORMAL_QUANTILE


End = tuple[float, float]


def _bracket(excess: Callable[[float], float], spread: float) -> tuple[End, End, bool]:
    """Ends within and beyond the limit, and whether both exist; else the farthest one, twice."""
    end = (0.0, excess(0.0))
    outward = 1.0 if end[1] <= 0.0 else -1.0
    for errors_away in (1.0, 2.5, FARTHEST):
        before, end = end, (outward * errors_away * spread, excess(outward * errors_away * spread))
        if (end[1] <= 0.0) != (outward > 0.0):
            return (before, end, True) if outward > 0.0 else (end, before, True)
    return end, end, False


def _between(low: End, high: End) -> float:
    """Where a straight line between the ends says that the limit is, but not close to either end."""
    part = 0.5 if isinf(high[1]) else -low[1] / (high[1] - low[1])
    return low[0] + min(0.8, max(0.2, part)) * (high[0] - low[0])
