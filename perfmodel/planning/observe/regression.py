"""Service times against size and executors at work: a mean whose logarithm goes in straight lines.

ln E[t] = sum_j a_j h_j(ln size) + sum_m b_m g_m(busy), with hats h and g: the interpolation that a table of
service times is read by, along sizes. Fitted as a generalised linear model with a logarithmic link and
constant relative scatter [1]_ by iterated least squares; standard errors by White's sandwich [2]_, which
holds whatever the scatter depends on.

References
----------
.. [1] P. McCullagh, J. A. Nelder, "Generalized Linear Models", 2nd edition, 1989, section 8.3.
.. [2] H. White, "A Heteroskedasticity-Consistent Covariance Matrix Estimator", Econometrica 48 (1980).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ROUNDS = 25
_SETTLED = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class MeanTimes:
    """A fitted mean.

    Attributes
    ----------
    sizes : (j,) float
        Where the mean was fitted. [items]
    levels : (m,) float
        Executors at work, likewise; one: they play no part.
    log_s : (j, m) float
        Logarithm of the mean at each. [ln s]
    standard_error : (j, m) float
        Of it. [ln]
    """

    sizes: FloatArray
    levels: FloatArray
    log_s: FloatArray
    standard_error: FloatArray

    def mean_s(self, items: IntArray, busy: IntArray) -> FloatArray:
        """Mean time of requests of these sizes beside so many at work, each. [s]"""
        places, weights = _places(items, busy, self.sizes, self.levels)
        # Size and level add up in the logarithm, so that the first row and column say all.
        effects = np.concatenate([self.log_s[:, 0], self.log_s[0, :] - self.log_s[0, 0]])
        total = np.zeros(len(items))
        for place, weight in zip(places, weights, strict=True):
            total += effects[place] * weight
        times: FloatArray = np.exp(total)
        return times


def fit_mean(
    service_s: FloatArray, items: IntArray, busy: IntArray, sizes: FloatArray, levels: FloatArray
) -> MeanTimes:
    """Fit the mean of service times.

    Parameters
    ----------
    service_s : (n,) float
        Positive. [s]
    items, busy : (n,) int
        Size, and executors at work at the start.
    sizes, levels : (j,), (m,) float
        Ascending; where to fit. All data lie between the ends.
    """
    places, weights = _places(items, busy, sizes, levels)
    number = len(sizes) + len(levels)
    used = np.ones(number, dtype=np.bool_)
    used[len(sizes)] = False  # of the first level: it is in the sizes
    at = np.zeros(number)
    at[: len(sizes)] = np.log(service_s.mean())
    normal = _products(places, weights, number)[np.ix_(used, used)]
    normal += 1e-9 * np.trace(normal) / len(normal) * np.eye(len(normal))
    inverse = np.linalg.inv(normal)
    relative = np.zeros_like(service_s)
    for _ in range(_ROUNDS):
        fitted = np.zeros(len(service_s))
        for place, weight in zip(places, weights, strict=True):
            fitted += at[place] * weight
        relative = service_s * np.exp(-fitted) - 1.0
        # A first guess that is far off would be left by leaps: by a factor of e at most.
        moved = inverse @ _sums(places, weights, relative, number)[used]
        at[used] += np.clip(moved, -1.0, 1.0)
        if np.abs(moved).max() < _SETTLED:
            break
    meat = _products(places, [weight * np.abs(relative) for weight in weights], number)[np.ix_(used, used)]
    covariance = np.zeros((number, number))
    covariance[np.ix_(used, used)] = inverse @ meat @ inverse
    j = len(sizes)
    of_sizes, of_levels = np.diag(covariance)[:j], np.diag(covariance)[j:]
    both = of_sizes[:, None] + of_levels[None, :] + 2.0 * covariance[:j, j:]
    return MeanTimes(sizes, levels, at[:j, None] + at[None, j:], np.sqrt(np.maximum(both, 0.0)))


def _places(
    items: IntArray, busy: IntArray, sizes: FloatArray, levels: FloatArray
) -> tuple[list[IntArray], list[FloatArray]]:
    """Columns that each row is in, and by how much: two neighbouring sizes, and two levels."""
    low, part = _hats(np.log(items), np.log(sizes))
    places, weights = [low, np.minimum(low + 1, len(sizes) - 1)], [1.0 - part, part]
    if len(levels) > 1:
        low, part = _hats(busy.astype(np.float64), levels)
        places += [len(sizes) + low, len(sizes) + np.minimum(low + 1, len(levels) - 1)]
        weights += [1.0 - part, part]
    return places, weights


def _hats(values: FloatArray, at: FloatArray) -> tuple[IntArray, FloatArray]:
    if len(at) == 1:
        return np.zeros(len(values), np.int64), np.zeros(len(values))
    low = np.clip(np.searchsorted(at, values, side="right") - 1, 0, len(at) - 2)
    part = np.clip((values - at[low]) / (at[low + 1] - at[low]), 0.0, 1.0)
    return low.astype(np.int64), part


def _products(places: list[IntArray], weights: list[FloatArray], number: int) -> FloatArray:
    total = np.zeros(number * number)
    for place, weight in zip(places, weights, strict=True):
        for other, beside in zip(places, weights, strict=True):
            total += np.bincount(place * number + other, weights=weight * beside, minlength=number * number)
    return total.reshape(number, number)


def _sums(places: list[IntArray], weights: list[FloatArray], values: FloatArray, number: int) -> FloatArray:
    total = np.zeros(number)
    for place, weight in zip(places, weights, strict=True):
        total += np.bincount(place, weights=weight * values, minlength=number)
    return total
