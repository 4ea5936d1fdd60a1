"""Rows thrown into ranks at random: how many the fullest gets, which a packet of lookups waits for."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np

from perfmodel.costmodel.kernels import Floats

_EXACT_ROWS = 48
"""Rows up to which the fullest rank is counted out. [rows]"""


def fullest_rank(rows: Floats, ranks: int, repeats: Floats | float = 0.0) -> Floats:
    """Mean number of rows in the fullest rank, rows being thrown into ranks at random. [rows]

    Up to 48 rows counted out: P(max <= k) = n! R^-n [x^n] (sum_{j<=k} x^j / j!)^R. Beyond, the loads are
    normal: n/R + m_R sqrt(n/R), m_R being the mean of the largest of R standard normal draws, moved to meet
    the count at 48. Where the same row comes again it falls into the same rank: with the chance c that two of
    the rows are the same, the variance of a load is 1 + (n - 1) c times that. Derived here; too
    little by 4 % where the most popular of 100,000 rows has 4 % of all lookups, by a tenth where it has an
    eighth: loads are skewed then, and no longer normal.

    Parameters
    ----------
    rows : (...) float array
        Rows n, >= 0.
    ranks : int
        Ranks R, a power of two.
    repeats : (...) float array, default 0
        Chance c. [1]

    Examples
    --------
    Two rows meet in one of two ranks every other time; 640 fill the fullest of eight with 93 instead of 80.

    >>> fullest_rank(np.array([1.0, 2.0]), 2).tolist()
    [1.0, 1.5]
    >>> fullest_rank(np.array(640.0), 8).round(1).item()
    92.8
    """
    n = np.asarray(rows, dtype=np.float64)
    if ranks == 1:
        return n
    exact = _counted_out(ranks)
    largest = _largest_normal(ranks)
    more = exact[-1] - (_EXACT_ROWS / ranks + largest * sqrt(_EXACT_ROWS / ranks))
    few = np.interp(n, np.arange(_EXACT_ROWS + 1), exact)
    many = n / ranks + largest * np.sqrt(n / ranks) + more
    found = np.where(n <= _EXACT_ROWS, few, many)
    stretch = np.sqrt(1.0 + np.maximum(0.0, n - 1.0) * repeats)
    return np.asarray(np.minimum(n, n / ranks + (found - n / ranks) * stretch))


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


def _largest_normal(ranks: int) -> float:
    """Mean of the largest of so many standard normal draws: the integral of x d(Phi(x)^R)."""
    x = np.linspace(-9.0, 9.0, 3601)
    below = np.array([0.5 * (1.0 + erf(each / sqrt(2.0))) for each in x]) ** ranks
    return float(0.5 * (x[1:] + x[:-1]) @ np.diff(below))
