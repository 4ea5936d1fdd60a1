"""What can be said about latencies of one run: warm-up, percentiles, and confidence intervals.

Latencies of successive queries resemble each other for hundreds of queries, so formulas for independent
samples give intervals that hold the truth in 5 to 31 % of runs instead of 95 %. Here the run is cut into
20 batches; their means tell how far an average over the run can be off. `benchmarks/interval_coverage.py`
measures how often the intervals hold the truth: in 93 to 97 % of runs at 50, 70 and 90 % utilisation, and
in more where the percentile is a latency that many queries share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import NamedTuple, Protocol

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray

NUM_BATCHES = 30
CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.959963984540054
"""Of the standard normal law, at (1 + CONFIDENCE) / 2."""
LEAST_DEGREES = 10
"""Degrees of freedom below which controls cost more than they can explain."""
# With fewer, a batch has less than seven queries, and its mean says nothing about the next ones.
MIN_QUERIES = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % confidence interval; `high_s` is inf where the run was too short for one."""

    value_s: float
    low_s: float
    high_s: float

    @property
    def relative_half_width(self) -> float:
        """Half the width over the estimate. [1]"""
        return 0.5 * (self.high_s - self.low_s) / self.value_s

    def __contains__(self, time_s: float) -> bool:
        return self.low_s <= time_s <= self.high_s


def warm_up_queries(num_queries: int) -> int:
    """Queries to leave out, since the run starts empty: the first 2 %, at least 5,000, at most a tenth.

    A fixed share, since what is slow to forget its start is also slow to measure, and so runs longer.

    Examples
    --------
    >>> warm_up_queries(20_000), warm_up_queries(200_000), warm_up_queries(10_000_000)
    (2000, 5000, 200000)
    """
    return min(max(5000, num_queries // 50), num_queries // 10)


class SortedValues(Protocol):
    """A sorted array, or what looks like one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> float: ...


def order_statistic(sorted_s: SortedValues, fraction: float) -> float:
    """Return the nearest-rank percentile: the ceil(p N)-th smallest of N values. [s]

    Examples
    --------
    >>> order_statistic(np.array([10.0, 20.0, 30.0, 40.0]), 0.5)
    20.0
    """
    rank = min(len(sorted_s), max(1, _rank(fraction, len(sorted_s))))
    return float(sorted_s[rank - 1])


def percentile_interval(
    latency_s: FloatArray, percentile: float, *, sorted_s: SortedValues | None = None, rounding_s: float = 0.0
) -> Interval:
    """Percentile of stationary, autocorrelated latencies with its 95 % confidence interval. [s]

    The share of queries slower than q is the mean of an indicator; its standard error comes from batch
    means, and the percentiles that many errors to either side bound the interval [1]_. The error is
    settled at both ends as well as at q, and the largest counts: at a percentile next to an atom, or far
    in the tail, it changes within the interval.

    Parameters
    ----------
    latency_s : (n,) float
        In order of arrival, without the warm-up. [s]
    percentile : float
        As a fraction: 0.95.
    sorted_s : (n,) float, optional
        The same latencies sorted, where the caller has them.
    rounding_s : float, default 0
        How far rounding of the time stamps may move a latency (`RunRecord.rounding_s`): the latencies of
        all queries that never wait are equal but for it. [s]

    Returns
    -------
    Interval
        With `high_s` = inf where so few queries lie beyond the percentile that nothing bounds it.

    References
    ----------
    .. [1] P. Heidelberger, P. A. W. Lewis, "Quantile estimation in dependent sequences",
       Operations Research 32(1), 1984.
    """
    if not 0 < percentile < 1:
        raise InputError(f"percentile: expected a fraction between 0 and 1, got {percentile}")
    _require_enough(latency_s)
    ordered_s = np.sort(latency_s) if sorted_s is None else sorted_s
    value_s = order_statistic(ordered_s, percentile)

    def faster_error(time_s: float) -> float:
        return error_of_mean(_share_means(latency_s, lambda batch_s: batch_s < time_s - rounding_s))

    def slower_error(time_s: float) -> float:
        return error_of_mean(_share_means(latency_s, lambda batch_s: batch_s > time_s + rounding_s))

    error = max(faster_error(value_s), slower_error(value_s))
    low_error = max(error, faster_error(order_statistic(ordered_s, percentile - error)))
    high_error = max(error, slower_error(order_statistic(ordered_s, percentile + error)))
    # One rank further out on each side: the rank itself is known to within one.
    step = 1.0 / len(ordered_s)
    low_s = order_statistic(ordered_s, percentile - low_error - step) - rounding_s
    if percentile + high_error + step >= 1.0:
        return Interval(value_s, low_s, inf)
    return Interval(value_s, low_s, order_statistic(ordered_s, percentile + high_error + step) + rounding_s)


def mean_interval(latency_s: FloatArray) -> Interval:
    """Mean of stationary, autocorrelated latencies with its 95 % confidence interval. [s]"""
    _require_enough(latency_s)
    mean_s, error_s = float(latency_s.mean()), error_of_mean(batch_means(latency_s))
    return Interval(mean_s, mean_s - error_s, mean_s + error_s)


def batch_means(values: FloatArray | BoolArray, num_batches: int = NUM_BATCHES) -> FloatArray:
    """Return the means of equally many successive values; the first few that do not fit are left out."""
    length = len(values) // num_batches
    means: FloatArray = values[len(values) - length * num_batches :].reshape(num_batches, length).mean(axis=1)
    return means


def _share_means(values: FloatArray, holds: Callable[[FloatArray], BoolArray]) -> FloatArray:
    """Share of the values of each batch for which a claim holds; `batch_means` of it, in less memory. [1]"""
    length = len(values) // NUM_BATCHES
    batches = values[len(values) - length * NUM_BATCHES :].reshape(NUM_BATCHES, length)
    return np.array([np.count_nonzero(holds(batch)) for batch in batches]) / length


def error_of_mean(means: FloatArray, controls: FloatArray | None = None) -> float:
    """Half-width of the 95 % confidence interval of the mean: Student's t times the standard error."""
    return controlled_mean(means, controls).half_width


class Estimate(NamedTuple):
    """A mean from batches, its standard error, and the degrees of freedom that are left for that."""

    mean: float
    standard_error: float
    degrees: int

    @property
    def half_width(self) -> float:
        """Of the 95 % confidence interval."""
        return student_t(self.degrees) * self.standard_error


def controlled_mean(means: FloatArray, controls: FloatArray | None = None) -> Estimate:
    """Mean over batches, less what controls of known expectation say was not the expected draw.

    The mean is the intercept of the least-squares fit of the batch means to the controls, and its error is
    that of the intercept [1]_: it charges for the coefficients, which are estimated too. The intercept is a
    weighted sum of the batches whose weights depend on the controls alone.

    Batches too short to be independent understate the error. What the first autocorrelation r of the
    residuals shows of it is put back with the factor sqrt((1 + r) / (1 - r)) of a first-order autoregression.

    Parameters
    ----------
    means : (num_batches,) float
        Means of successive batches, equally long.
    controls : (num_batches, q) float, optional
        Of each batch, deviations from known expectations. Those that do not vary, or repeat another, are
        left out, and so are all of them where fewer than `LEAST_DEGREES` degrees of freedom would be left.

    References
    ----------
    .. [1] S. S. Lavenberg, P. D. Welch, "A perspective on the use of control variables to increase the
       efficiency of Monte Carlo simulations", Management Science 27(3), 1981.

    Examples
    --------
    Twice the control, plus 3: nothing is left to be uncertain of.

    >>> control = np.arange(12.0) ** 2 % 7.0
    >>> round(controlled_mean(3.0 + 2.0 * control, control[:, None]).mean, 9)
    3.0
    """
    fit = _least_squares(controls, len(means))
    coefficients = fit.inverse @ means
    residuals = means - fit.columns @ coefficients
    sum_of_squares = float(residuals @ residuals)
    mean = float(coefficients[0])
    if sum_of_squares <= (1e-12 * float(np.abs(means).max())) ** 2 * len(means):  # nothing but rounding
        return Estimate(mean, 0.0, fit.degrees)
    correlation = max(0.0, float(residuals[1:] @ residuals[:-1]) / sum_of_squares)
    variance = sum_of_squares / fit.degrees * float(fit.inverse[0] @ fit.inverse[0])
    return Estimate(mean, sqrt(variance * (1.0 + correlation) / (1.0 - correlation)), fit.degrees)


class _Fit(NamedTuple):
    """A column of ones and the controls that vary, their pseudo-inverse, and the degrees of freedom."""

    columns: FloatArray
    inverse: FloatArray
    degrees: int


def _least_squares(controls: FloatArray | None, num_batches: int) -> _Fit:
    ones = np.ones((num_batches, 1))
    columns = ones
    if controls is not None and num_batches - 1 - controls.shape[1] >= LEAST_DEGREES:
        sizes = np.sqrt((controls**2).mean(axis=0))
        varies = np.ptp(controls, axis=0) > 1e-9 * sizes
        columns = np.hstack([ones, controls[:, varies] / sizes[varies]])
    rank = int(np.linalg.matrix_rank(columns, tol=1e-9 * sqrt(num_batches)))
    inverse = np.asarray(np.linalg.pinv(columns, rcond=1e-9), dtype=np.float64)
    return _Fit(columns, inverse, num_batches - rank)


def student_t(degrees: int) -> float:
    """Quantile of Student's t that a 95 % interval takes, by Fisher's expansion; scipy loads for 0.1 s.

    To 1e-5 from `LEAST_DEGREES` degrees of freedom on.

    Examples
    --------
    >>> round(student_t(19), 4)
    2.093
    """
    z, n = NORMAL_QUANTILE, float(degrees)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


def _rank(fraction: float, num_values: int) -> int:
    """ceil(p N), where p N is a whole number but for rounding: that number."""
    exact = fraction * num_values
    nearest = round(exact)
    return nearest if abs(exact - nearest) <= 1e-9 * max(1.0, abs(exact)) else ceil(exact)


def _require_enough(latency_s: FloatArray) -> None:
    if len(latency_s) < MIN_QUERIES:
        raise InputError(
            f"simulation: {len(latency_s)} queries are too few for a confidence interval; "
            f"expected at least {MIN_QUERIES} after the warm-up"
        )
