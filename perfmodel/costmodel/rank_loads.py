"""Rows thrown into ranks at random: how many the fullest gets, which a packet of lookups waits for."""

from __future__ import annotations

from math import erf, sqrt
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.kernels import Floats

_EXACT_ROWS = 48
"""Rows up to which the fullest rank is counted out. [rows]"""


class Repeats(NamedTuple):
    """How often rows are the same: chances that two, and three of them are; share of the most popular."""

    two: float = 0.0
    three: float = 0.0
    most: float = 0.0


ALL_DIFFERENT = Repeats()
"""Of rows none of which comes twice."""


def fullest_rank(rows: Floats, ranks: int, repeats: Repeats = ALL_DIFFERENT) -> Floats:
    """Mean number of rows in the fullest rank, rows being thrown into ranks at random. [rows]

    Up to 48 rows counted out: P(max <= k) = n! R^-n [x^n] (sum_{j<=k} x^j / j!)^R. Beyond, the loads are
    normal: F(n) = n/R + m_R sqrt(n/R), m_R being the mean of the largest of R standard normal draws, moved to
    meet the count at 48.

    A row that comes again falls into the same rank. With the chances c and d that two and three of the rows
    are the same, loads vary as those of n/V rows that count V = 1 + (n - 1) c each: V F(n/V). That popular
    rows come more often than others skews them further, by s = (1 + 3 (n - 1) c + (n - 1)(n - 2) d) / V - V,
    and moves the largest by s (q_R - 1) / 6, q_R being the mean square of the largest draw: Cornish and
    Fisher's expansion [1]_. At least it is what the most popular row brings, with its share of the others.
    Derived here from those; within 6 % of random throws.

    Parameters
    ----------
    rows : (...) float array
        Rows n, >= 0.
    ranks : int
        Ranks R, a power of two.
    repeats : Repeats, default none
        Chances c and d, and the largest share. [1]

    References
    ----------
    .. [1] E. A. Cornish, R. A. Fisher, "Moments and Cumulants in the Specification of Distributions", Review
       of the International Statistical Institute 5(4), 1938.

    Examples
    --------
    Two rows meet in one of two ranks every other time; 640 fill the fullest of eight with 93 instead of 80.

    >>> fullest_rank(np.array([1.0, 2.0]), 2).tolist()
    [1.0, 1.5]
    >>> fullest_rank(np.array(640.0), 8).round(1).item()
    92.9
    """
    n = np.asarray(rows, dtype=np.float64)
    if ranks == 1:
        return n
    fewer = fullest_rank(n, ranks // 2, repeats)  # half as many are never emptier: expansions are not exact
    others, third = np.maximum(0.0, n - 1.0), np.maximum(0.0, n - 2.0)
    weight = 1.0 + others * repeats.two
    skewed = (1.0 + 3.0 * others * repeats.two + others * third * repeats.three) / weight - weight
    largest, square = _largest_normal(ranks)
    found = weight * _fullest_of_different(n / weight, ranks, largest)
    found = found + np.maximum(0.0, skewed) * (square - 1.0) / 6.0
    popular = n * (repeats.most + (1.0 - repeats.most) / ranks)
    return np.asarray(np.minimum(fewer, np.maximum(found, popular)))


def _fullest_of_different(n: Floats, ranks: int, largest: float) -> Floats:
    """The same of rows none of which comes twice. [rows]"""
    exact = _counted_out(ranks)
    more = exact[-1] - (_EXACT_ROWS / ranks + largest * sqrt(_EXACT_ROWS / ranks))
    few = np.interp(n, np.arange(_EXACT_ROWS + 1), exact)
    return np.asarray(np.where(n <= _EXACT_ROWS, few, n / ranks + largest * np.sqrt(n / ranks) + more))


def _counted_out(ranks: int) -> Floats:
    """Mean of the fullest of `ranks` for 0 to 48 rows: the sum of P(max > k) over k. [rows]"""
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, _EXACT_ROWS + 1)))])
    n = np.arange(_EXACT_ROWS + 1)
    terms = np.exp(-log_factorials)
    mean = np.zeros(_EXACT_ROWS + 1)
    for k in range(_EXACT_ROWS):
        power = np.where(n <= k, terms, 0.0)
        for _ in range(ranks.bit_length() - 1):
            power = np.convolve(power, power)[: _EXACT_ROWS + 1]
        at_most = np.exp(log_factorials - n * np.log(ranks)) * power
        mean += 1.0 - np.minimum(1.0, at_most)
    return mean


def _largest_normal(ranks: int) -> tuple[float, float]:
    """Mean and mean square of the largest of so many standard normal draws: integrals over d(Phi(x)^R)."""
    x = np.linspace(-9.0, 9.0, 601)
    below = np.array([0.5 * (1.0 + erf(each / sqrt(2.0))) for each in x]) ** ranks
    middles, shares = 0.5 * (x[1:] + x[:-1]), np.diff(below)
    return float(middles @ shares), float(middles**2 @ shares)
