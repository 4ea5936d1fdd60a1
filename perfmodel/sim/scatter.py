"""Scatter: a factor on each service time that is a function of the request alone.

No generator is asked while a run lasts. A request's factor is looked up by a hash of the run's key, its query
and how much of that had not yet started, so that it is the same in every engine, at every arrival rate and
under every policy that cuts the query alike: answers that are compared differ by what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.domain.unsteady import ListedScatter, LogNormalScatter
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.streams import stream

INDEX_BITS = 14
NUM_FACTORS = 2**INDEX_BITS
"""Equiprobable factors of a law: the last stands for the uppermost 0.006 %, so that p99.9 has sixteen."""

MOST_CLASSES = 12
"""Laws of different width, of which each size has one: 1.6 MB of factors, about what an L2 cache holds."""

GOLDEN = 0x9E3779B97F4A7C15
QUERY = 0xBF58476D1CE4E5B9
LEFT = 0x94D049BB133111EB
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True, eq=False)
class ScatterTable:
    """Factors on service times, by class of size.

    Attributes
    ----------
    factors : (num_classes, NUM_FACTORS) float
        Equiprobable, each row of mean 1. [1]
    class_of : (max_items,) int
        Row for a request of b items, at b - 1; a larger one has the last.
    """

    factors: FloatArray
    class_of: IntArray

    def __post_init__(self) -> None:
        factors, class_of = frozen_floats(self.factors), frozen_ints(self.class_of)
        if factors.ndim != 2 or factors.shape[1] != NUM_FACTORS or not len(factors):
            raise InputError(f"scatter: expected rows of {NUM_FACTORS} factors, got {factors.shape}")
        if not (np.isfinite(factors).all() and (factors > 0).all()):
            raise InputError("scatter: expected finite factors > 0")
        if class_of.ndim != 1 or not len(class_of) or class_of.min() < 0 or class_of.max() >= len(factors):
            raise InputError(f"scatter: expected a row from 0 to {len(factors) - 1} for each size")
        object.__setattr__(self, "factors", factors)
        object.__setattr__(self, "class_of", class_of)

    def factor(self, luck: Luck, query: int, left: int, num_items: int) -> float:
        """Return the factor of a launch.

        Parameters
        ----------
        luck : Luck
            Of the run.
        query : int
            Index, in the run's order of arrival, of the query whose request is first in the launch.
        left : int
            Items of that query that had not started before. [items]
        num_items : int
            Items of the launch. [items]
        """
        row = int(self.class_of[min(num_items, len(self.class_of)) - 1])
        return float(self.factors[row, factor_index(luck.key, luck.first + query, left)])

    @property
    def mean_square(self) -> FloatArray:
        """Mean square of the factors of each class: one and the relative variance. [1]"""
        squares: FloatArray = (self.factors**2).mean(axis=1)
        return squares


@dataclass(frozen=True, slots=True)
class Luck:
    """What a run's queries have by chance beside their arrival and size.

    Attributes
    ----------
    seed, replication : int
        Of the random streams.
    first : int
        Index of the first query, where a run goes on from another.
    """

    seed: int = 0
    replication: int = 0
    first: int = 0

    @property
    def key(self) -> int:
        """64 bits of the random stream "scatter"."""
        return int(stream(self.seed, "scatter", self.replication).integers(2**64, dtype=np.uint64))


NO_LUCK = Luck()
"""Of queries that nobody drew."""


def factor_index(key: int, query: int, left: int) -> int:
    """Hash a request to the index of its factor: the finaliser of SplitMix64 [1]_.

    References
    ----------
    .. [1] G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.

    Examples
    --------
    >>> factor_index(1, 0, 10), factor_index(1, 1, 10), factor_index(1, 0, 10)
    (1392, 7669, 1392)
    """
    mixed = (key + query * GOLDEN + left * QUERY) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * QUERY) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * LEFT) & _MASK
    return (mixed ^ (mixed >> 31)) >> (64 - INDEX_BITS)


def log_normal_factors(sigma: float) -> FloatArray:
    """Equiprobable factors of a log-normal law of mean 1: the mean of each of equally likely intervals. [1]

    Between the quantiles a and b exp(sigma z - sigma^2 / 2) integrates to N(b - sigma) - N(a - sigma).
    """
    from scipy.special import ndtr, ndtri

    ends = ndtri(np.linspace(0.0, 1.0, NUM_FACTORS + 1))
    factors = np.diff(ndtr(ends - sigma))
    upper = ends[:-1] > 0.0  # where differences of small complements keep their digits
    factors[upper] = -np.diff(ndtr(sigma - ends))[upper]
    return _of_mean_one(factors)


def listed_factors(values: FloatArray) -> FloatArray:
    """Equiprobable factors of mean 1 from measured ones, whose quantiles go in straight lines. [1]"""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    places = (np.arange(NUM_FACTORS) + 0.5) / NUM_FACTORS * len(ordered) - 0.5
    return _of_mean_one(np.interp(places, np.arange(len(ordered)), ordered))


def _of_mean_one(factors: FloatArray) -> FloatArray:
    scaled: FloatArray = factors / factors.mean()
    return scaled


def even_scatter(factors: FloatArray) -> ScatterTable:
    """One law for requests of every size."""
    return ScatterTable(factors[None, :], np.zeros(1, dtype=np.int64))


def scatter_by_size(relative_std: FloatArray) -> ScatterTable:
    """Log-normal laws whose relative standard deviation depends on the size.

    Parameters
    ----------
    relative_std : (max_items,) float
        Of the times of requests of 1, 2, ... items, over their mean; 0: no scatter. Sizes of nearly the same
        share a law: at most `MOST_CLASSES`, in equal steps of sigma. [1]
    """
    sigmas = np.sqrt(np.log1p(np.asarray(relative_std, dtype=np.float64) ** 2))
    low, high = float(sigmas.min()), float(sigmas.max())
    step = max((high - low) / (MOST_CLASSES - 1), 0.02 * high, 1e-9)
    number = np.round((sigmas - low) / step).astype(np.int64)
    used, class_of = np.unique(number, return_inverse=True)
    laws = [log_normal_factors(float(sigmas[number == index].mean())) for index in used]
    return ScatterTable(np.array(laws), class_of.astype(np.int64))


def scatter_of(settings: LogNormalScatter | ListedScatter) -> ScatterTable:
    """What a scenario says, as a table."""
    if isinstance(settings, LogNormalScatter):
        return even_scatter(log_normal_factors(settings.sigma))
    return even_scatter(listed_factors(np.array(settings.factors)))
