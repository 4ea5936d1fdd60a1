"""How arrivals vary: the index of dispersion for counts, by window, and tests against a Poisson process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10, sqrt

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEAST_WINDOWS = 30
"""Windows of which a variance is told."""
LEAST_QUERIES = 1.0
"""Queries in the mean window: of emptier ones the index is near 1, whatever the process."""
EXPONENTIAL_1_PERCENT = 1.308
"""Critical value at 1 % of the modified distance of Kolmogorov and Smirnov of gaps from an exponential law of
their own mean: M. A. Stephens, "EDF Statistics for Goodness of Fit and Some Comparisons", JASA 69 (1974),
Table 1.4. [1]"""
COARSE_CLOCK = 0.02
"""Resolution of the stamps over the mean gap from which gaps are steps and no law is told from them. [1]"""


@dataclass(frozen=True, slots=True)
class Dispersion:
    """The index of dispersion of counts in windows: their variance over their mean; 1 of a Poisson process.

    Attributes
    ----------
    window_s : float
        Length of a window. [s]
    windows : int
        How many.
    index : float
        Variance over mean. [1]
    """

    window_s: float
    windows: int
    index: float


def counts_by_window(arrival_s: FloatArray, window_s: float) -> npt.NDArray[np.int64]:
    """Count arrivals in windows from the first one on; the last, cut short, is left out."""
    since_s = arrival_s - arrival_s[0]
    whole = int(since_s[-1] // window_s)
    counts: npt.NDArray[np.int64] = np.bincount((since_s / window_s).astype(np.int64), minlength=whole)
    return counts[:whole]


def windows_s(num_queries: int, span_s: float) -> list[float]:
    """Lengths of windows: powers of ten that hold a query at least, and of which there are enough. [s]"""
    shortest, longest = LEAST_QUERIES * span_s / num_queries, span_s / LEAST_WINDOWS
    if not 0 < shortest <= longest:
        return []
    low, high = int(np.ceil(log10(shortest) - 1e-9)), int(np.floor(log10(longest) + 1e-9))
    return [10.0**exponent for exponent in range(low, high + 1)] or [longest]


def dispersions(arrival_s: FloatArray) -> list[Dispersion]:
    """Return the index of dispersion of arrivals by window, shortest first.

    Parameters
    ----------
    arrival_s : (num_queries,) float
        Ascending. [s]
    """
    span_s = float(arrival_s[-1] - arrival_s[0])
    return [
        _dispersion(counts_by_window(arrival_s, each), each) for each in windows_s(len(arrival_s), span_s)
    ]


def dispersions_of_counts(queries: FloatArray, width_s: float) -> list[Dispersion]:
    """Return the index of dispersion of counts in stretches of one width, and of tens of them added up."""
    found, width = [], width_s
    while len(queries) >= LEAST_WINDOWS:
        if queries.mean() > 0:
            found.append(_dispersion(queries, width))
        whole = len(queries) // 10 * 10
        queries, width = queries[:whole].reshape(-1, 10).sum(axis=1), 10 * width
    return found


def _dispersion(counts: npt.NDArray[np.generic], window_s: float) -> Dispersion:
    values = counts.astype(np.float64)
    return Dispersion(window_s, len(values), float(values.var(ddof=1) / values.mean()))


def clock_s(arrival_s: FloatArray) -> float:
    """Resolution of the stamps: the coarsest step from 1 ns to 1 s in tens that all are multiples of. [s]

    Stamps of which no such step is found, as they are floats of a simulation, have none: 0.
    """
    some = arrival_s[:: max(1, len(arrival_s) // 1000)]
    some = some - some[0]
    for exponent in range(0, -10, -1):
        step = 10.0**exponent
        if np.all(np.abs(some / step - np.rint(some / step)) < 1e-9 + 1e-15 * np.abs(some / step)):
            return step
    return 0.0


def gap_cv(arrival_s: FloatArray) -> float:
    """Coefficient of variation of the gaps: 1 of a Poisson process. [1]"""
    gaps_s = np.diff(arrival_s)
    return float(gaps_s.std() / gaps_s.mean())


def why_not_poisson(arrival_s: FloatArray, found: Sequence[Dispersion]) -> str | None:
    """Say which test refuses a Poisson process, together at 2 %; None where none does.

    (n - 1) times the index of dispersion is chi-square with n - 1 degrees of freedom [1]_, each window tested
    at 1 % over their number, both sides; the gaps are tested for an exponential law at 1 %, where the clock
    is fine enough to tell.

    References
    ----------
    .. [1] D. R. Cox, P. A. W. Lewis, "The Statistical Analysis of Series of Events", 1966, section 6.3.
    """
    from scipy.stats import chi2  # takes a third of a second to load, which few commands need

    for each in found:
        free = each.windows - 1
        level = 0.01 / len(found) / 2
        statistic = free * each.index
        if chi2.sf(statistic, free) < level or chi2.cdf(statistic, free) < level:
            return f"index of dispersion {each.index:.3g} over {each.window_s:g} s, a Poisson process has 1"
    gaps_s = np.diff(arrival_s)
    step_s = clock_s(arrival_s)
    if step_s > COARSE_CLOCK * gaps_s.mean():
        return None
    distance = exponential_distance(gaps_s, step_s)
    if distance > EXPONENTIAL_1_PERCENT:
        return (
            f"gaps are not exponential: their CV is {gap_cv(arrival_s):.3g}, distance {distance:.2f} of 1.31"
        )
    return None


def exponential_distance(gaps_s: FloatArray, clock: float = 0.0) -> float:
    """Distance of Kolmogorov and Smirnov from an exponential law, as Stephens modifies it. [1]

    A clock that steps moves each gap by up to a step, which is taken off first.
    """
    ordered = np.sort(gaps_s) / gaps_s.mean()
    number = len(ordered)
    law = -np.expm1(-ordered)
    steps = np.arange(number + 1) / number
    distance = float(max((steps[1:] - law).max(), (law - steps[:-1]).max())) - clock / float(gaps_s.mean())
    return (distance - 0.2 / number) * (sqrt(number) + 0.26 + 0.5 / sqrt(number))
