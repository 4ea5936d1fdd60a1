"""How many items each query ranks: the exact law of every distribution, and draws from it.

Rounded and clipped, every distribution of `perfmodel.domain.workload` is a finite list of values with
probabilities. Draws invert that list, so a simulation and an exact sum never disagree about the law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from perfmodel.domain.workload import FixedSizes, LogNormalSizes, NormalSizes
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.streams import stream

GUIDE_CELLS = 2**14
# Draws at a time: what they need in between stays in the cache.
CHUNK = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class SizePmf:
    """The law of a query's size: ascending distinct values, and their probabilities.

    Attributes
    ----------
    values : (m,) int
        Sizes, each at least 1. [items]
    probabilities : (m,) float
        Positive, of sum 1. [1]
    """

    values: IntArray
    probabilities: FloatArray

    def __post_init__(self) -> None:
        values, weights = np.asarray(self.values), np.asarray(self.probabilities, dtype=np.float64)
        if values.ndim != 1 or values.shape != weights.shape or len(values) == 0:
            raise InputError(
                f"query sizes: expected as many values as probabilities, at least one, "
                f"got {values.shape} and {weights.shape}"
            )
        if values[0] < 1 or np.any(np.diff(values) <= 0):
            raise InputError("query sizes: expected distinct ascending values of at least 1 item")
        if not np.all(weights > 0) or abs(weights.sum() - 1.0) > 1e-9:
            raise InputError("query sizes: expected positive probabilities of sum 1")
        object.__setattr__(self, "values", frozen_ints(values))
        object.__setattr__(self, "probabilities", frozen_floats(weights / weights.sum()))

    @property
    def max_items(self) -> int:
        """The largest size that occurs. [items]"""
        return int(self.values[-1])

    @property
    def mean_items(self) -> float:
        """Mean size of a query. [items]"""
        return self.expect(lambda num_items: num_items)

    def expect(self, of: Callable[[IntArray], FloatArray | IntArray]) -> float:
        """Return the mean of a function of the size: the sum of p(s) f(s)."""
        return float(self.probabilities @ of(self.values))


def pmf_of_list(sizes: ArrayLike) -> SizePmf:
    """Return the law of a list of equiprobable sizes; a size listed twice is twice as likely.

    Examples
    --------
    >>> pmf_of_list([300, 100, 300, 200]).probabilities.tolist()
    [0.25, 0.25, 0.5]
    """
    values, counts = np.unique(np.asarray(sizes, dtype=np.int64), return_counts=True)
    return SizePmf(values, counts / max(1, counts.sum()))


def pmf_of(sizes: LogNormalSizes | NormalSizes | FixedSizes) -> SizePmf:
    """Return the exact law of a parametric distribution, rounded to whole items and clipped.

    A value v between the limits has probability F(v + 1/2) - F(v - 1/2); the limits take the tails.

    Examples
    --------
    >>> law = pmf_of(NormalSizes(mean_items=10.0, std_items=1.0, min_items=9, max_items=11))
    >>> law.probabilities.round(3).tolist()
    [0.309, 0.383, 0.309]
    """
    if isinstance(sizes, FixedSizes):
        return SizePmf(np.array([sizes.num_items]), np.array([1.0]))
    from scipy.special import ndtr  # a tenth of a second that other laws can spare

    values = np.arange(sizes.min_items, sizes.max_items + 1)
    edges = values[:-1] + 0.5
    if isinstance(sizes, LogNormalSizes):
        inner = ndtr((np.log(edges) - sizes.mu) / sizes.sigma)
    else:
        inner = ndtr((edges - sizes.mean_items) / sizes.std_items)
    probabilities = np.diff(np.concatenate([[0.0], inner, [1.0]]))
    occurs = probabilities > 0
    return SizePmf(values[occurs], probabilities[occurs])


def draw_num_items(pmf: SizePmf, num_queries: int, *, seed: int, replication: int = 0) -> IntArray:
    """Draw the sizes of the first `num_queries` queries from the stream "query sizes". [items]

    The first sizes of a longer draw are the same. One uniform number a query, inverted: a law with
    larger sizes gives every query a size at least as large.
    """
    num_items = np.empty(num_queries, dtype=np.int64)
    fill = size_sampler(pmf, seed=seed, replication=replication)
    for begin in range(0, num_queries, CHUNK):
        fill(num_items[begin : begin + CHUNK])
    return num_items


def size_sampler(pmf: SizePmf, *, seed: int, replication: int = 0) -> Callable[[IntArray], None]:
    """Return what fills one array after another with the next sizes of `draw_num_items`."""
    rng = stream(seed, "query sizes", replication)
    cdf = np.cumsum(pmf.probabilities)
    cdf[-1] = 1.0
    # A guide table [1]_ answers most draws with one look-up; only cells that hold an edge need a search.
    # [1] H.-C. Chen, Y. Asau, "On generating random variates from an empirical distribution", 1974.
    edges = np.searchsorted(cdf, np.arange(GUIDE_CELLS + 1) / GUIDE_CELLS, side="right")
    holds_edge = edges[:-1] != edges[1:]

    def fill(num_items: IntArray) -> None:
        uniform = rng.random(len(num_items))
        cell = (uniform * GUIDE_CELLS).astype(np.int64)
        index = edges[cell]
        unsure = np.flatnonzero(holds_edge[cell])
        index[unsure] = np.searchsorted(cdf, uniform[unsure], side="right")
        num_items[:] = pmf.values[index]

    return fill


def mean_requests(pmf: SizePmf, batch_size: int) -> float:
    """Mean number of requests that a query is split into: E[ceil(s / batch)]. [requests]"""
    return pmf.expect(lambda num_items: -(-num_items // batch_size))


def item_share_from(pmf: SizePmf, threshold_items: int) -> float:
    """Share of all items that queries of at least `threshold_items` items hold. [1]"""
    return pmf.expect(lambda num_items: num_items * (num_items >= threshold_items)) / pmf.mean_items
