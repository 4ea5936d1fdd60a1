"""Time of a query outside the node that is simulated: features, network, router. Drawn a query, on its own.

It delays nothing: a query's latency is the node's and this. Its draws come from a stream of their own, one
uniform number a query, inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from perfmodel.sim.arrays import FloatArray, frozen_floats
from perfmodel.sim.streams import stream


class OutsideLaw(Protocol):
    """A law of the time outside the node."""

    @property
    def mean_s(self) -> float:
        """Its mean. [s]"""

    def at(self, uniform: FloatArray) -> FloatArray:
        """The time that so large a share of all do not exceed. [1] -> [s]"""

    def exceeds(self, time_s: FloatArray) -> FloatArray:
        """The probability of a longer time. [s] -> [1]"""


@dataclass(frozen=True, slots=True)
class ConstantOutside:
    """The same time for all queries. [s]"""

    time_s: float

    @property
    def mean_s(self) -> float:
        """That time. [s]"""
        return self.time_s

    def at(self, uniform: FloatArray) -> FloatArray:
        """That time, whatever is drawn. [s]"""
        return np.full_like(uniform, self.time_s)

    def exceeds(self, time_s: FloatArray) -> FloatArray:
        """1 below it, else 0. [1]"""
        return np.asarray(time_s < self.time_s, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalOutside:
    """A normal time, or a log-normal one, clipped to two limits.

    Attributes
    ----------
    mean, std : float
        Of the normal law: of the time [s], or of its logarithm [ln s].
    is_log : bool
        Whether it is that of the logarithm.
    least_s, most_s : float
        What lies beyond is moved to them. [s]
    """

    mean: float
    std: float
    is_log: bool
    least_s: float
    most_s: float

    @property
    def mean_s(self) -> float:
        """Mean after clipping, by the midpoints of ten thousand equal shares. [s]"""
        return float(self.at((np.arange(10_000) + 0.5) / 10_000).mean())

    def at(self, uniform: FloatArray) -> FloatArray:
        """The quantile. [s]"""
        from scipy.special import ndtri  # a tenth of a second that others can spare

        normal = self.mean + self.std * ndtri(uniform)
        return np.asarray(np.clip(np.exp(normal) if self.is_log else normal, self.least_s, self.most_s))

    def exceeds(self, time_s: FloatArray) -> FloatArray:
        """The upper tail; none from the greatest time on, all below the least. [1]"""
        from scipy.special import ndtr  # as above

        inside = np.maximum(time_s, 1e-300) if self.is_log else time_s
        normal = np.log(inside) if self.is_log else inside
        tail = ndtr((self.mean - normal) / self.std)
        return np.where(time_s >= self.most_s, 0.0, np.where(time_s < self.least_s, 1.0, tail))


@dataclass(frozen=True, slots=True, eq=False)
class ListedOutside:
    """Equiprobable times. [s]"""

    times_s: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "times_s", frozen_floats(np.sort(self.times_s)))

    @property
    def mean_s(self) -> float:
        """Their mean. [s]"""
        return float(self.times_s.mean())

    def at(self, uniform: FloatArray) -> FloatArray:
        """One of them. [s]"""
        index = (uniform * len(self.times_s)).astype(np.int64).clip(max=len(self.times_s) - 1)
        return np.asarray(self.times_s[index])

    def exceeds(self, time_s: FloatArray) -> FloatArray:
        """Share of those that are longer. [1]"""
        below = np.searchsorted(self.times_s, time_s, side="right")
        return np.asarray(1.0 - below / len(self.times_s))


def draw_outside_s(
    law: OutsideLaw | None, num_queries: int, *, seed: int, replication: int = 0
) -> FloatArray | None:
    """Draw the times of the first queries; None where there are none. A longer draw begins with the same. [s]

    Examples
    --------
    >>> draw_outside_s(ConstantOutside(0.015), 2, seed=1)
    array([0.015, 0.015])
    """
    return None if law is None else outside_sampler(law, seed=seed, replication=replication)(num_queries)


def outside_sampler(law: OutsideLaw, *, seed: int, replication: int = 0) -> Callable[[int], FloatArray]:
    """Return what draws the times of so many more queries. [s]"""
    if isinstance(law, ConstantOutside):
        time_s = law.time_s
        return lambda num_queries: np.full(num_queries, time_s)
    rng = stream(seed, "outside", replication)
    return lambda num_queries: law.at(rng.random(num_queries))
