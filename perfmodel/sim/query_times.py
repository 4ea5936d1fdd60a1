"""Service times that depend on the query, not on the size alone: on its history, and on whose work is done.

Work of the query is paid by each request of it that reaches an executor; a launch that joins the requests of
several queries pays each of them. Where a policy shares it, the first request of a query alone computes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats
from perfmodel.sim.scatter import Luck
from perfmodel.sim.streams import stream


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaunchTimes:
    """Times of launches on one kind of executor, for each kind of query.

    A launch that joins queries of several kinds takes the times of the last of them: shorter histories are
    padded to the longest.

    Attributes
    ----------
    with_s, without_s : (kinds, max_items, busy) float
        A launch of so many items while so many executors are busy, this one included: with the work of one
        query, and without any. [s]
    more_s : (kinds, max_queries, busy) float
        What the work of 1, 2, ... queries takes beyond that of one. [s]
    """

    with_s: FloatArray
    without_s: FloatArray
    more_s: FloatArray

    def __post_init__(self) -> None:
        for name in ("with_s", "without_s", "more_s"):
            object.__setattr__(self, name, frozen_floats(getattr(self, name)))
        if self.with_s.shape != self.without_s.shape or self.more_s.shape[::2] != self.with_s.shape[::2]:
            shapes = f"{self.with_s.shape}, {self.without_s.shape}, {self.more_s.shape}"
            raise InputError(f"service times by query: expected tables of one shape, got {shapes}")

    def seconds(self, kind: int, items: int, queries: int, busy: int) -> float:
        """Time of a launch of so many items that does the work of so many queries. [s]"""
        alone_s = (self.with_s if queries else self.without_s)[kind, items - 1, busy - 1]
        return float(alone_s + self.more_s[kind, max(queries, 1) - 1, busy - 1])

    def scaled(self, factor: float) -> LaunchTimes:
        """Every time so many times as long."""
        return LaunchTimes(
            with_s=self.with_s * factor, without_s=self.without_s * factor, more_s=self.more_s * factor
        )

    @property
    def as_rows_s(self) -> FloatArray:
        """Times with a query's work by kind and items, then without: `(2 kinds max_items, busy)`. [s]"""
        busy = self.with_s.shape[2]
        return np.concatenate([self.with_s.reshape(-1, busy), self.without_s.reshape(-1, busy)])

    @property
    def more_rows_s(self) -> FloatArray:
        """`more_s` by kind and queries: `(kinds max_queries, busy)`. [s]"""
        return np.ascontiguousarray(self.more_s.reshape(-1, self.more_s.shape[2]))


def draw_kinds(shares: FloatArray, num_queries: int, luck: Luck) -> IntArray:
    """Draw the kind of each of the first queries of a run; a longer draw begins with the same ones.

    Parameters
    ----------
    shares : (kinds,) float
        How often each kind comes; they sum to 1. [1]
    num_queries, luck
        How many, and of which run.
    """
    if len(shares) == 1:
        return np.zeros(num_queries, dtype=np.int64)
    drawn = stream(luck.seed, "query lengths", luck.replication).random(luck.first + num_queries)
    kinds = np.searchsorted(np.cumsum(shares)[:-1], drawn[luck.first :], side="right")
    return np.asarray(kinds, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryTimes:
    """Times of a node by kind of query.

    Attributes
    ----------
    shares : (kinds,) float
        How often each kind comes; they sum to 1. [1]
    cpu : LaunchTimes
        On the cores.
    accelerator : LaunchTimes or None
        On a stream of an accelerator; None: the node has none.
    shares_work : bool
        Whether only the first request of a query does its work.
    """

    shares: FloatArray
    cpu: LaunchTimes
    accelerator: LaunchTimes | None = None
    shares_work: bool = False

    def kinds_of(self, num_queries: int, luck: Luck) -> IntArray:
        """Draw the kind of each of the first queries of a run; a longer draw begins with the same ones."""
        return draw_kinds(self.shares, num_queries, luck)

    def scaled(self, cpu: float, accelerator: float) -> QueryTimes:
        """Every time on the cores, and on the accelerators, so many times as long."""
        card = None if self.accelerator is None else self.accelerator.scaled(accelerator)
        return replace(self, cpu=self.cpu.scaled(cpu), accelerator=card)

    @property
    def mean_cpu_s(self) -> FloatArray:
        """A request that does its query's work, over the kinds: `(max_items, busy)`. [s]"""
        return np.asarray(np.tensordot(self.shares, self.cpu.with_s, axes=1))

    @property
    def mean_accelerator_s(self) -> FloatArray | None:
        """The same of a launch on an accelerator; None without one. [s]"""
        if self.accelerator is None:
            return None
        return np.asarray(np.tensordot(self.shares, self.accelerator.with_s, axes=1))
