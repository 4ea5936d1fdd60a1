"""The latency distribution of several runs together: a weighted mixture, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, frozen_floats
from perfmodel.sim.statistics import MIN_QUERIES, NUM_BATCHES, Interval, error_of_mean

# Of a longer batch evenly spaced order statistics are kept: 120,000 a run, p99 within 1e-5 of its rank.
POINTS = 4000


@dataclass(frozen=True, slots=True, eq=False)
class LatencySample:
    """Latencies of one stationary run, in `NUM_BATCHES` batches of successive queries.

    Attributes
    ----------
    weight : float
        Share of the mixture's queries that the run stands for, relative to the other runs.
    batches_s : (NUM_BATCHES, m) float
        Each batch ascending; at most 4,000 evenly spaced order statistics of it. [s]
    rounding_s : float
        How far rounding of the time stamps may move a latency: equal ones look different by as much. [s]
    """

    weight: float
    batches_s: FloatArray
    rounding_s: float = 0.0

    def reweighted(self, factor: float) -> LatencySample:
        """Return the same latencies with another weight."""
        return replace(self, weight=self.weight * factor)


def sample_of(latency_s: FloatArray, weight: float = 1.0, *, rounding_s: float = 0.0) -> LatencySample:
    """Cut latencies, in order of arrival and without the warm-up, into sorted batches."""
    if len(latency_s) < MIN_QUERIES:
        raise InputError(
            f"fleet: {len(latency_s)} queries are too few for a confidence interval; expected {MIN_QUERIES}"
        )
    length = len(latency_s) // NUM_BATCHES
    batches_s = np.sort(latency_s[len(latency_s) - length * NUM_BATCHES :].reshape(NUM_BATCHES, length))
    if length > POINTS:
        batches_s = batches_s[:, ((np.arange(POINTS) + 0.5) * length / POINTS).astype(np.int64)]
    return LatencySample(weight, frozen_floats(batches_s), rounding_s)


class LatencyMixture:
    """Queries of several runs, drawn in proportion to the runs' weights.

    F(x) = sum of w_i F_i(x); the runs are independent, so the variances of w_i F_i(x) add up. That of a
    run comes from its batch means, as in `perfmodel.sim.statistics`.

    Parameters
    ----------
    samples : sequence of LatencySample
        At least one.

    Examples
    --------
    Three queries of four take 1 s, and one takes 5 s.

    >>> mixture = LatencyMixture([sample_of(np.full(200, 1.0), 3.0), sample_of(np.full(200, 5.0), 1.0)])
    >>> mixture.percentile_s(0.75), mixture.percentile_s(0.76)
    (1.0, 5.0)
    """

    def __init__(self, samples: Sequence[LatencySample]) -> None:
        total = sum(sample.weight for sample in samples)
        self.samples = tuple(sample.reweighted(1.0 / total) for sample in samples)
        values_s = np.concatenate([sample.batches_s.ravel() for sample in self.samples])
        weights = np.concatenate(
            [np.full(sample.batches_s.size, sample.weight / sample.batches_s.size) for sample in self.samples]
        )
        order = np.argsort(values_s)
        self._sorted_s = values_s[order]
        self._cdf = np.cumsum(weights[order])
        self._rounding_s = max(sample.rounding_s for sample in self.samples)

    def percentile_s(self, percentile: float) -> float:
        """Return the least latency that at least this fraction of the queries does not exceed. [s]"""
        index = int(np.searchsorted(self._cdf, percentile - 1e-9))
        return float(self._sorted_s[min(index, len(self._sorted_s) - 1)])

    def interval(self, percentile: float) -> Interval:
        """Percentile with its 95 % confidence interval: the percentiles an error of F further out. [s]"""
        value_s = self.percentile_s(percentile)
        error = self._error(value_s)
        low_error = max(error, self._error(self.percentile_s(max(0.0, percentile - error))))
        high_error = max(error, self._error(self.percentile_s(percentile + error)))
        low_s = max(0.0, self.percentile_s(max(0.0, percentile - low_error)) - self._rounding_s)
        if percentile + high_error >= 1.0:
            return Interval(value_s, low_s, inf)
        return Interval(value_s, low_s, self.percentile_s(percentile + high_error) + self._rounding_s)

    def _error(self, time_s: float) -> float:
        """Half-width of the 95 % interval of F; where many latencies are equal, on its worse side. [1]"""
        below_s, above_s = time_s - self._rounding_s, time_s + self._rounding_s
        squares = [
            (
                (sample.weight * error_of_mean((sample.batches_s < below_s).mean(axis=1))) ** 2,
                (sample.weight * error_of_mean((sample.batches_s > above_s).mean(axis=1))) ** 2,
            )
            for sample in self.samples
        ]
        return sqrt(max(sum(side) for side in zip(*squares, strict=True)))
