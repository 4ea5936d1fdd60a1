"""What a recording says of traffic: its rate, which process its arrivals are, and how large queries are."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from perfmodel.errors import InputError
from perfmodel.loading.recordings.recording import Frequencies, Recording
from perfmodel.loading.traffic_files import require_ascending, require_rate
from perfmodel.planning.observe.bursts import Bursts, fit_bursts
from perfmodel.planning.observe.dispersion import (
    Dispersion,
    dispersions,
    dispersions_of_counts,
    gap_cv,
    why_not_poisson,
)
from perfmodel.planning.observe.estimated import Estimated, around

FloatArray = npt.NDArray[np.float64]
ProcessName = Literal["poisson", "mmpp", "trace"]

LEAST_FITTED = 1000
"""Arrivals from which a process is told, as a scenario asks of a trace."""
INDEX_OFF = 0.35
"""How far the index of dispersion of a fitted process may be off that of the recording, in its logarithm, at
every window: of 30 windows, the fewest, an index is itself known to 26 % (one standard error). [ln]"""


@dataclass(frozen=True, slots=True)
class ArrivalFit:
    """Which process arrivals are, as a scenario names it.

    Attributes
    ----------
    process : {"poisson", "mmpp", "trace"}
        "trace": none of the other two; a scenario replays the recording.
    rate_qps : Estimated
        Mean rate, with what its process leaves open. [queries/s]
    bursts : Bursts or None
        Of a process of calm and bursts.
    dispersions : tuple of Dispersion
        By window, shortest first.
    gap_cv : float
        Coefficient of variation of the gaps. [1]
    why : str
        What decided.
    """

    process: ProcessName
    rate_qps: Estimated
    bursts: Bursts | None
    dispersions: tuple[Dispersion, ...]
    gap_cv: float
    why: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """A law of sizes [items], or of latencies in the unit of their file, in a few figures."""

    count: float
    distinct: int
    mean: float
    std: float
    least: float
    p50: float
    p95: float
    p99: float
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSummary:
    """What `perfplan trace show` answers; what the file does not give is None.

    Attributes
    ----------
    recording : Recording
        What was read.
    num_queries : float or None
        Queries, or what counts and rates add up to.
    span_s : float or None
        From the first arrival to the last. [s]
    rate_qps : Estimated or None
        [queries/s]
    fit : ArrivalFit or None
        Of arrivals with stamps of their own, where there are enough.
    dispersions : tuple of Dispersion
        By window, shortest first.
    gap_cv : float or None
        Of arrivals with stamps of their own. [1]
    sizes, latencies : Distribution or None
        [items]; in the unit of the file.
    """

    recording: Recording
    num_queries: float | None
    span_s: float | None
    rate_qps: Estimated | None
    fit: ArrivalFit | None
    dispersions: tuple[Dispersion, ...]
    gap_cv: float | None
    sizes: Distribution | None
    latencies: Distribution | None


def summarise(recording: Recording) -> TrafficSummary:
    """Say what a recording is, as far as its format goes.

    Raises
    ------
    InputError
        If arrivals go back, or have no rate.
    """
    if not recording.gives:
        raise InputError(
            f"{recording.path}:1:1: looks like {recording.format}, without arrivals, sizes or latencies"
        )
    sizes = _sizes(recording)
    latencies = None if recording.latencies is None else distribution(recording.latencies)
    fit, count, span_s, rate, cv = None, None, None, None, None
    found: tuple[Dispersion, ...] = ()
    if recording.arrival_s is not None:
        arrival_s = recording.arrival_s
        require_ascending(recording)
        require_rate(recording.path, arrival_s)
        fit = fit_arrivals(arrival_s)
        count, span_s = float(len(arrival_s)), float(arrival_s[-1] - arrival_s[0])
        rate, found, cv = fit.rate_qps, fit.dispersions, fit.gap_cv
    elif recording.counts is not None:
        counts = recording.counts
        count = float(counts.queries.sum())
        span_s = float(counts.start_s[-1] + counts.width_s[-1] - counts.start_s[0])
        if not (span_s > 0 and count > 0):
            raise InputError(f"{recording.path}:1:1: {recording.format} without any query")
        if np.ptp(counts.width_s) < 0.05 * counts.width_s.mean():
            found = tuple(dispersions_of_counts(counts.queries, float(np.median(counts.width_s))))
        rate = _rate(count, span_s, found, poisson=False)
    elif recording.num_items is not None:
        count = float(len(recording.num_items))
    return TrafficSummary(
        recording=recording,
        num_queries=count,
        span_s=span_s,
        rate_qps=rate,
        fit=fit,
        dispersions=found,
        gap_cv=cv,
        sizes=sizes,
        latencies=latencies,
    )


def fit_arrivals(arrival_s: FloatArray) -> ArrivalFit:
    """Find the process that arrivals are: Poisson, calm and bursts, or neither.

    Parameters
    ----------
    arrival_s : (num_queries,) float
        Ascending, not all equal. [s]
    """
    found = tuple(dispersions(arrival_s))
    cv, span_s = gap_cv(arrival_s), float(arrival_s[-1] - arrival_s[0])
    gaps = len(arrival_s) - 1
    why = why_not_poisson(arrival_s, found) if gaps else None
    rate = _rate(gaps, span_s, found, poisson=why is None)
    if len(arrival_s) < LEAST_FITTED:
        said = f"{len(arrival_s)} arrivals are too few to tell a process, of which {LEAST_FITTED} are asked"
        return ArrivalFit("trace", rate, None, found, cv, said)
    if why is None:
        return ArrivalFit("poisson", rate, None, found, cv, "no test refuses it, together at 2 %")
    bursts = fit_bursts(arrival_s) if found and found[-1].index > 1.0 else None
    if bursts is None:
        return ArrivalFit("trace", rate, None, found, cv, f"{why}; nor do two rates explain it")
    for each in found:
        fitted = bursts.index(rate.value, each.window_s)
        allowed = max(INDEX_OFF, 4.0 * sqrt(2.0 / each.windows))
        if abs(log(fitted / each.index)) > allowed:
            off = f"two rates would give {fitted:.3g} over {each.window_s:g} s, where it is {each.index:.3g}"
            return ArrivalFit("trace", rate, None, found, cv, f"{why}; {off}")
    return ArrivalFit("mmpp", Estimated(rate.value, *bursts.rate_qps[1:]), bursts, found, cv, why)


def _rate(count: float, span_s: float, found: tuple[Dispersion, ...], *, poisson: bool) -> Estimated:
    """Mean rate; counts vary as their index of dispersion over the longest windows says."""
    index = 1.0 if poisson or not found else max(each.index for each in found[-2:])
    rate = around(count / span_s, sqrt(index * count) / span_s)
    return rate._replace(low=max(0.0, rate.low))  # of a handful of arrivals the normal law reaches below 0


def _sizes(recording: Recording) -> Distribution | None:
    if recording.num_items is not None and len(recording.num_items):
        values, counts = np.unique(recording.num_items, return_counts=True)
        return distribution(Frequencies(values.astype(np.float64), counts.astype(np.float64)))
    return None if recording.sizes is None else distribution(recording.sizes)


def distribution(frequencies: Frequencies) -> Distribution:
    """A law in a few figures; percentiles are nearest ranks.

    Examples
    --------
    >>> law = distribution(Frequencies(np.array([100.0, 200.0]), np.array([1.0, 3.0])))
    >>> law.mean, law.p50, law.count
    (175.0, 200.0, 4.0)
    """
    used = frequencies.counts > 0
    values, counts = frequencies.values[used], frequencies.counts[used]
    total = float(counts.sum())
    mean = float(values @ counts / total)
    ranks = np.searchsorted(np.cumsum(counts), np.array([0.5, 0.95, 0.99]) * total * (1 - 1e-12))
    p50, p95, p99 = values[np.minimum(ranks, len(values) - 1)].tolist()
    return Distribution(
        count=total,
        distinct=len(values),
        mean=mean,
        std=sqrt(max(0.0, float((values - mean) ** 2 @ counts / total))),
        least=float(values[0]),
        p50=p50,
        p95=p95,
        p99=p99,
        greatest=float(values[-1]),
    )
