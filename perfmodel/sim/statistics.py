"""What can be said about latencies of one run: warm-up, percentiles, and confidence intervals.

Latencies of successive queries resemble each other for hundreds of queries, so formulas for independent
samples give intervals that hold the truth in 5 to 31 % of runs instead of 95 %. Here the run is cut into
30 batches; their means tell how far an average over the run can be off, once what is known of the load that
each happened to get is taken off (`perfmodel.sim.controls`). `benchmarks/interval_coverage.py` measures how
often the intervals hold the truth: on M/M/8 in 92 to 98 % of runs at 50, 70 and 90 % utilisation, and in more
where the percentile is a latency that many queries share.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isinf, sqrt
from typing import Literal, NamedTuple, Protocol

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray

NUM_BATCHES = 30
CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.959963984540054
"""Of the standard normal law, at (1 + CONFIDENCE) / 2."""
BLOCK_QUERIES, LONG_QUERIES = 64, 100_000
"""A run of so many queries is cut between blocks only; that leaves out 1 % of it at most."""
LEVEL_ROUNDING = 1e-10
"""What summing shares may lack of a level; a share is that of one query in 65 million at least. [1]"""
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

    def short_of(self, precision: float) -> str:
        """How well the estimate is known, as a note says it where `precision` [1] was asked for."""
        reached = self.relative_half_width
        known = "from below only" if isinf(reached) else f"to ±{reached:.1%} only"
        return f"is known {known} (±{precision:.1%} was asked for)"

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


class Batches(Protocol):
    """Values of successive batches, equally many in each, asked for their ranks."""

    @property
    def num_values(self) -> int:
        """In all batches."""
        ...

    def shares_below(self, value: float) -> FloatArray:
        """Share of each batch that is smaller. [1]"""
        ...

    def shares_above(self, value: float) -> FloatArray:
        """Share of each batch that is larger. [1]"""
        ...

    def quantile(self, level: float, weights: FloatArray) -> float:
        """Return the smallest value at which the weighted shares of the batches reach a level in (0, 1]."""
        ...


class SortedBatches:
    """Batches that are sorted, each for itself.

    Parameters
    ----------
    values : (n,) float
        In order; the first few that make no whole batch are left out.
    num_batches : int
        How many.

    Examples
    --------
    >>> batches = SortedBatches(np.array([3.0, 1.0, 4.0, 2.0]), 2)
    >>> batches.shares_below(3.0).tolist(), batches.quantile(0.5, np.array([0.5, 0.5]))
    ([0.5, 0.5], 2.0)
    """

    def __init__(self, values: FloatArray, num_batches: int) -> None:
        length = len(values) // num_batches
        batches = values[len(values) - length * num_batches :].reshape(num_batches, length)
        self._sorted = np.sort(batches, axis=1)

    @property
    def num_values(self) -> int:
        """In all batches."""
        return self._sorted.size

    def shares_below(self, value: float) -> FloatArray:
        """Share of each batch that is smaller. [1]"""
        shares: FloatArray = self._counts(value, "left") / self._sorted.shape[1]
        return shares

    def shares_above(self, value: float) -> FloatArray:
        """Share of each batch that is larger. [1]"""
        shares: FloatArray = 1.0 - self._counts(value, "right") / self._sorted.shape[1]
        return shares

    def quantile(self, level: float, weights: FloatArray) -> float:
        """Return the smallest value at which the weighted shares of the batches reach a level in (0, 1]."""
        length = self._sorted.shape[1]
        # Where no weight is negative, the answer lies between the quantiles of the single batches.
        column = self._sorted[:, min(length, max(1, _rank(level, length))) - 1]
        found = self._reached(level, weights, float(column.min()), float(column.max()))
        if found is None:
            found = self._reached(level, weights, -inf, inf)
        return float(self._sorted.max()) if found is None else found

    def _counts(self, value: float, side: Literal["left", "right"]) -> IntArray:
        return np.array([batch.searchsorted(value, side) for batch in self._sorted])

    def _reached(self, level: float, weights: FloatArray, low: float, high: float) -> float | None:
        """Return where the level is reached among the values from low to high; None: not there."""
        begins, ends = self._counts(low, "left"), self._counts(high, "right")
        values = np.concatenate(
            [batch[start:end] for batch, start, end in zip(self._sorted, begins, ends, strict=True)]
        )
        shares = weights / self._sorted.shape[1]
        return first_reaching(level, values, np.repeat(shares, ends - begins), float(shares @ begins))


def first_reaching(level: float, values: FloatArray, shares: FloatArray, below: float) -> float | None:
    """Return the smallest value at which shares, summed in order on top of those below, reach a level.

    None where they do not, or where those below have reached it already.
    """
    aim = level - LEVEL_ROUNDING
    if below >= aim:
        return None
    order = np.argsort(values, kind="stable")
    reached = below + np.cumsum(shares[order]) >= aim
    index = int(reached.argmax())
    return float(values[order[index]]) if len(reached) and reached[index] else None


def order_statistic(sorted_s: FloatArray, fraction: float) -> float:
    """Return the nearest-rank percentile: the ceil(p N)-th smallest of N values. [s]

    Examples
    --------
    >>> order_statistic(np.array([10.0, 20.0, 30.0, 40.0]), 0.5)
    20.0
    """
    rank = min(len(sorted_s), max(1, _rank(fraction, len(sorted_s))))
    return float(sorted_s[rank - 1])


def level_among_served(percentile: float, shed_share: float) -> float | None:
    """Which percentile of the queries that were served is this one of all that came.

    Those turned away take for ever; None where the percentile is one of them.

    Examples
    --------
    >>> level_among_served(0.75, 0.0), level_among_served(0.75, 0.25)
    (0.75, None)
    """
    served = 1.0 - shed_share
    return percentile / served if percentile < served else None


def percentile_interval(
    latency_s: FloatArray,
    percentile: float,
    *,
    controls: FloatArray | None = None,
    batches: Batches | None = None,
    num_batches: int = NUM_BATCHES,
    rounding_s: float = 0.0,
) -> Interval:
    """Percentile of stationary, autocorrelated latencies with its 95 % confidence interval. [s]

    The share of queries slower than q is the mean of an indicator; its standard error comes from batch
    means, and the percentiles that many errors to either side bound the interval [1]_. With controls, the
    share at any q is that of `controlled_mean`, and the percentile is where it crosses [2]_. The error is
    settled at both ends as well as at q, and the largest counts: at a percentile next to an atom, or far
    in the tail, it changes within the interval.

    Parameters
    ----------
    latency_s : (n,) float
        In order of arrival, without the warm-up. [s]
    percentile : float
        As a fraction: 0.95.
    controls : (num_batches, q) float, optional
        Of each batch, deviations from known expectations.
    batches : Batches, optional
        The batches of the same latencies, where the caller has them.
    num_batches : int
        How many.
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
    .. [2] J. C. Hsu, B. L. Nelson, "Control variates for quantile estimation",
       Management Science 36(7), 1990.
    """
    if not 0 < percentile < 1:
        raise InputError(f"percentile: expected a fraction between 0 and 1, got {percentile}")
    _require_enough(latency_s)
    ranked = SortedBatches(latency_s, num_batches) if batches is None else batches
    weights = _least_squares(controls, num_batches).inverse[0]

    def quantile(level: float) -> float:
        return ranked.quantile(min(1.0, max(0.0, level)), weights)

    def faster_error(time_s: float) -> float:
        return error_of_mean(ranked.shares_below(time_s - rounding_s), controls)

    def slower_error(time_s: float) -> float:
        return error_of_mean(ranked.shares_above(time_s + rounding_s), controls)

    value_s = quantile(percentile)
    error = max(faster_error(value_s), slower_error(value_s))
    low_error = max(error, faster_error(quantile(percentile - error)))
    high_error = max(error, slower_error(quantile(percentile + error)))
    # One rank further out on each side: the rank itself is known to within one.
    step = 1.0 / ranked.num_values
    low_s = max(0.0, min(value_s, quantile(percentile - low_error - step) - rounding_s))
    if percentile + high_error + step >= 1.0:
        return Interval(value_s, low_s, inf)
    return Interval(value_s, low_s, max(value_s, quantile(percentile + high_error + step) + rounding_s))


def mean_interval(latency_s: FloatArray, controls: FloatArray | None = None) -> Interval:
    """Mean of stationary, autocorrelated latencies with its 95 % confidence interval. [s]"""
    _require_enough(latency_s)
    estimate = controlled_mean(
        batch_means(latency_s, NUM_BATCHES if controls is None else len(controls)), controls
    )
    mean_s, error_s = estimate.mean, estimate.half_width
    return Interval(mean_s, max(0.0, mean_s - error_s), mean_s + error_s)


def batch_means(values: FloatArray | BoolArray, num_batches: int = NUM_BATCHES) -> FloatArray:
    """Return the means of equally many successive values; the first few that do not fit are left out."""
    length = len(values) // num_batches
    means: FloatArray = values[len(values) - length * num_batches :].reshape(num_batches, length).mean(axis=1)
    return means


def batch_span(num_queries: int, warm_up: int) -> slice:
    """Return the queries after the warm-up that make `NUM_BATCHES` whole batches.

    Of a long run whole blocks of `BLOCK_QUERIES`, so that sums over blocks are enough to know a batch.

    Examples
    --------
    >>> batch_span(1000, 90), batch_span(200_000, 5000)
    (slice(100, 1000, None), slice(6080, 200000, None))
    """
    block = BLOCK_QUERIES if num_queries >= LONG_QUERIES else 1
    end = num_queries // block * block
    length = (end - warm_up) // (NUM_BATCHES * block) * block
    return slice(end - NUM_BATCHES * length, end)


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
    plain = float(means.mean())
    coefficients = fit.inverse @ (means - plain)
    residuals = means - plain - fit.columns @ coefficients
    sum_of_squares = float(residuals @ residuals)
    mean = plain + float(coefficients[0])
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


def of_served(latency_s: FloatArray, served: BoolArray) -> FloatArray:
    """Latencies of the queries that were served, of those that came; refuses too few. [s]"""
    found: FloatArray = latency_s[served]
    require_served(len(found), len(served))
    return found


def require_served(num_served: int, num_queries: int) -> None:
    """Refuse a run whose policy turned so many away that too few are left for a percentile.

    Raises
    ------
    InputError
        If too few were served of enough that came.
    """
    if num_served < MIN_QUERIES <= num_queries:
        raise InputError(
            f"policy.shedding: {num_served} of {num_queries:,} queries were served, too few for a "
            "percentile; expected limits that let more through"
        )


def _require_enough(latency_s: FloatArray) -> None:
    if len(latency_s) < MIN_QUERIES:
        raise InputError(
            f"simulation: {len(latency_s)} queries are too few for a confidence interval; "
            f"expected at least {MIN_QUERIES} after the warm-up"
        )
