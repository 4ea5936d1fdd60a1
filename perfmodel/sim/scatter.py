"""Scatter: a factor on each service time that is a function of the request alone.

No generator is asked while a run lasts. A request's factor is looked up by a hash of the run's key, its query
and how much of that had not yet started, so that it is the same in every engine, at every arrival rate and
under every policy that cuts the query alike: answers that are compared differ by what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.domain.unsteady import ExponentialScatter, ListedScatter, LogNormalScatter, ScatterSettings
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.streams import stream

INDEX_BITS = 14
NUM_FACTORS = 2**INDEX_BITS
"""Equiprobable factors of a law: the last stands for the uppermost 0.006 %, so that p99.9 has sixteen."""

_TURN = round(0.381966 * NUM_FACTORS)
"""Of the pairs of two laws: a golden section of all. [factors]"""

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
    """Equiprobable factors of a log-normal law of mean 1: means of equally likely intervals. [1]"""
    return _of_mean_one(_log_normal_slowest(sigma, 1))


def _below_and_beyond(k: int) -> tuple[FloatArray, FloatArray]:
    """Ends of equally likely intervals of the largest of k draws: shares of a draw's law to each side. [1]

    P(max < x) = P(draw < x)^k: the end at v of the maximum is that at v^(1/k) of a draw.
    """
    with np.errstate(divide="ignore"):
        log_share = np.log(np.linspace(0.0, 1.0, NUM_FACTORS + 1)) / k
    return np.exp(log_share), -np.expm1(log_share)


def _log_normal_slowest(sigma: float, k: int) -> FloatArray:
    """Mean of a log-normal draw between the ends of each interval of the largest of k.

    Between the quantiles a and b exp(sigma z - sigma^2 / 2) integrates to N(b - sigma) - N(a - sigma).
    """
    from scipy.special import ndtr, ndtri  # few nodes scatter

    below, beyond = _below_and_beyond(k)
    ends = np.where(below < 0.5, ndtri(below), -ndtri(beyond))
    within = np.diff(ndtr(ends - sigma))
    upper = ends[:-1] > 0.0  # where differences of small complements keep their digits
    within[upper] = -np.diff(ndtr(sigma - ends))[upper]
    return np.asarray(within / _widths(below, beyond))


def _exponential_slowest(k: int) -> FloatArray:
    """Likewise of an exponential draw of mean 1: what lies beyond with a chance b sums up to b (1 - ln b)."""
    below, beyond = _below_and_beyond(k)
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = np.where(beyond > 0.0, beyond * (1.0 - np.log(beyond)), 0.0)
    return np.asarray(-np.diff(sums) / _widths(below, beyond))


def _listed_slowest(values: FloatArray, k: int) -> FloatArray:
    """The middles of the intervals, by quantiles of the values that go in straight lines."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    middles = ((np.arange(NUM_FACTORS) + 0.5) / NUM_FACTORS) ** (1.0 / k)
    return np.asarray(np.interp(middles * len(ordered) - 0.5, np.arange(len(ordered)), ordered))


def _widths(below: FloatArray, beyond: FloatArray) -> FloatArray:
    """Shares of a draw's law in each interval, from whichever side keeps their digits. [1]"""
    return np.asarray(np.where(below[:-1] > 0.5, -np.diff(beyond), np.diff(below)))


def slowest_of(settings: ScatterSettings, k: int) -> tuple[float, FloatArray]:
    """The largest of k draws: its mean over that of one, and equiprobable factors of mean 1 around it. [1]

    Parameters
    ----------
    settings : LogNormalScatter, ListedScatter or ExponentialScatter
        The law of a draw.
    k : int
        How many, >= 1.

    Examples
    --------
    The largest of k exponential times is H_k = 1 + 1/2 + ... + 1/k of their mean.

    >>> mean, factors = slowest_of(ExponentialScatter(distribution="exponential"), 4)
    >>> round(mean, 3), round(float(factors.mean()), 12)
    (2.083, 1.0)
    """
    largest, one = _slowest(settings, k), _slowest(settings, 1)
    return float(largest.mean() / one.mean()), _of_mean_one(largest)


def _slowest(settings: ScatterSettings, k: int) -> FloatArray:
    match settings:
        case LogNormalScatter():
            return _log_normal_slowest(settings.sigma, k)
        case ExponentialScatter():
            return _exponential_slowest(k)
        case ListedScatter():
            return _listed_slowest(np.array(settings.factors), k)


def in_part(factors: FloatArray, share: FloatArray) -> ScatterTable:
    """Scatter of times of which a share scatters, by size, and the rest does not.

    Parameters
    ----------
    factors : (NUM_FACTORS,) float
        Of that share: equiprobable, of mean 1. [1]
    share : (max_items,) float
        Of the mean time of requests of 1, 2, ... items. Sizes of nearly the same one go together: at most
        `MOST_CLASSES`, in equal steps. [1]
    """
    shares = np.asarray(share, dtype=np.float64)
    low, high = float(shares.min()), float(shares.max())
    step = max((high - low) / (MOST_CLASSES - 1), 0.005)
    used, class_of = np.unique(np.round((shares - low) / step).astype(np.int64), return_inverse=True)
    means = [float(shares[class_of == index].mean()) for index in range(len(used))]
    rows = np.array([1.0 + mean * (factors - 1.0) for mean in means])
    return ScatterTable(rows, class_of.astype(np.int64))


def product_of(table: ScatterTable, even: ScatterTable | None) -> ScatterTable:
    """Scatter by two causes that know nothing of each other, of which the second is alike for all sizes.

    The i-th factor of one meets the factor of the other whose index has the bits of i in reverse: such pairs
    fill the square evenly (Hammersley's points), as independent draws would in the long run. They are turned
    by a golden section, or the largest would meet the largest.
    """
    if even is None:
        return table
    index = np.arange(NUM_FACTORS)
    reverse = sum(((index >> bit) & 1) << (INDEX_BITS - 1 - bit) for bit in range(INDEX_BITS))
    rows = table.factors * even.factors[0][(reverse + _TURN) % NUM_FACTORS]
    return ScatterTable(rows / rows.mean(axis=1, keepdims=True), table.class_of)


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


def scatter_of(settings: ScatterSettings) -> ScatterTable:
    """What a scenario says, as a table."""
    return even_scatter(slowest_of(settings, 1)[1])
