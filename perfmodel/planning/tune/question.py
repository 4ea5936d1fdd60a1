"""What tuning is asked: configurations, the grid of them to search, what is best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from perfmodel.domain.serving import DynamicBatchingPolicy
from perfmodel.sim.builtin_policies import DynamicBatching
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf


class Joins(NamedTuple):
    """How queries are joined into batches: where these run, and how long one is waited for. [ms]"""

    pool: Literal["cpu", "accelerator"]
    timeout_ms: float


@dataclass(frozen=True, slots=True)
class Configuration:
    """What tuning chooses.

    Attributes
    ----------
    batch_size : int
        Largest request of a core; a full batch, where queries are joined. [items]
    offload_threshold_items : int or None
        Queries of at least this size go whole to the accelerator; None: none does. [items]
    joins : Joins or None
        How queries are joined, under dynamic batching; None: they are split.
    shares_work : bool
        Whether the first request of a query computes its work for all, as the scenario says.
    """

    batch_size: int
    offload_threshold_items: int | None = None
    joins: Joins | None = None
    shares_work: bool = False

    @property
    def timeout_ms(self) -> float | None:
        """How long a full batch is waited for; None: queries are not joined. [ms]"""
        return None if self.joins is None else self.joins.timeout_ms

    @property
    def uses_accelerator(self) -> bool:
        """Whether anything goes there."""
        joined = self.joins is not None and self.joins.pool == "accelerator"
        return joined or self.offload_threshold_items is not None

    @property
    def policy(self) -> Policy:
        """The policy that does it."""
        if self.joins is not None:
            settings = DynamicBatchingPolicy(
                pool=self.joins.pool,
                max_batch_items=self.batch_size,
                timeout_ms=self.joins.timeout_ms,
                share_query_work=self.shares_work,
            )
            return DynamicBatching(settings)
        return SplitAndOffload(
            batch_size=self.batch_size,
            offload_threshold_items=self.offload_threshold_items,
            share_query_work=self.shares_work,
        )


Objective = Literal["qps", "qps-per-watt"]

MEDIUM = "medium"
SLA_LEVELS: Mapping[str, float] = {"low": 1.0 / 1.5, MEDIUM: 1.0, "high": 1.5}
"""Latency bound over the medium one: ISCA 2020 gives -50 % and +50 %, one figure medium / 1.5 for low. [1]"""

THRESHOLD_SHARE_STEP = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is searched: batch sizes, and thresholds from 1 (everything is offloaded), ascending. [items]

    Of queries that are joined, full batches, and ways to wait for them by ascending timeout. `shares_work` is
    that of all configurations.
    """

    batch_sizes: tuple[int, ...]
    thresholds: tuple[int, ...] = ()
    joins: tuple[Joins, ...] = ()
    shares_work: bool = False

    def at(self, batch_size: int, threshold: int | None = None, joins: Joins | None = None) -> Configuration:
        """One of them, or one beside them."""
        return Configuration(batch_size, threshold, joins, self.shares_work)

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """All of them: each batch size without offload, and with each threshold; or with each timeout."""
        if self.joins:
            return tuple(self.at(size, None, joins) for size in self.batch_sizes for joins in self.joins)
        return tuple(
            self.at(batch_size, threshold)
            for batch_size in self.batch_sizes
            for threshold in (None, *self.thresholds)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What may be asked beside the scenario.

    Attributes
    ----------
    sla_levels : bool
        Whether to tune at low and high SLA too, the scenario's own being medium.
    objective : {"qps", "qps-per-watt"}
        What is best.
    static_batch : int or None
        Batch size of the static baseline; None: the largest query over the cores. [items]
    batch_sizes, thresholds : tuple of int
        What to search; empty: doubling sizes, and thresholds by equal steps of the share of items. [items]
    extrapolate : bool
        Whether to try batches outside the calibrated range.
    """

    sla_levels: bool = False
    objective: Objective = "qps"
    static_batch: int | None = None
    batch_sizes: tuple[int, ...] = ()
    thresholds: tuple[int, ...] = ()
    extrapolate: bool = False


def static_batch_size(largest_query_items: int, cores: int) -> int:
    """Batch size of the static baseline: the largest query shared out evenly over the cores. [items]

    Examples
    --------
    The published one, on 40 cores:

    >>> static_batch_size(1000, 40)
    25
    """
    return ceil(largest_query_items / cores)


def doubling_batch_sizes(largest_query_items: int) -> tuple[int, ...]:
    """Return 1, 2, 4, ... up to the first that holds every query whole. [items]

    Examples
    --------
    >>> doubling_batch_sizes(100)
    (1, 2, 4, 8, 16, 32, 64, 128)
    """
    return tuple(2**power for power in range((largest_query_items - 1).bit_length() + 1))


def share_thresholds(law: SizePmf, step: float = THRESHOLD_SHARE_STEP) -> tuple[int, ...]:
    """Thresholds that offload all items, and then, step by step, equal shares less. [items]

    Even steps in what the accelerator gets, whatever the law of the sizes.

    Examples
    --------
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> share_thresholds(pmf_of_list([100, 200, 300, 400]), step=0.3)
    (1, 300, 400)
    """
    steps = round(1.0 / step)
    wanted = [1.0 - index * step for index in range(1, steps)]
    shares = np.cumsum((law.values * law.probabilities)[::-1])[::-1] / law.mean_items
    nearest = {int(law.values[np.abs(shares - share).argmin()]) for share in wanted}
    return (1, *sorted(nearest - {int(law.values[0])}))


WAITS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""How long a full batch may be waited for, beside what the scenario says: shares of the SLA's latency. [1]"""


def joins_tried(settings: DynamicBatchingPolicy, latency_ms: float) -> tuple[Joins, ...]:
    """Ways to wait for a full batch, by ascending timeout: shares of the SLA's latency, the scenario's. [ms]

    Examples
    --------
    >>> asked = DynamicBatchingPolicy(max_batch_items=64, timeout_ms=3.0)
    >>> [joins.timeout_ms for joins in joins_tried(asked, 64.0)]
    [0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0]
    """
    shares_ms = {float(f"{share * latency_ms:.3g}") for share in WAITS}
    return tuple(Joins(settings.pool, each) for each in sorted(shares_ms | {settings.timeout_ms}))


def full_batches(settings: DynamicBatchingPolicy, largest_query_items: int) -> tuple[int, ...]:
    """Full batches to try: the scenario's, and doubling up to four times that or the largest query. [items]

    Examples
    --------
    >>> full_batches(DynamicBatchingPolicy(max_batch_items=48, timeout_ms=3.0), 10)
    (1, 2, 4, 8, 16, 32, 48, 64, 128, 256)
    """
    most = 4 * max(settings.max_batch_items, largest_query_items)
    return tuple(sorted({*doubling_batch_sizes(most), settings.max_batch_items}))


def threshold_key(configuration: Configuration) -> float:
    """Order by threshold; no offload comes last."""
    threshold = configuration.offload_threshold_items
    return float("inf") if threshold is None else float(threshold)


SEARCHED = {"policy.batch_size": "--batch-sizes", "policy.offload_threshold_items": "--thresholds"}
"""Keys that tuning searches, whatever a scenario says, and the option that says what is tried."""


def without_effect(changed: Iterable[str]) -> str | None:
    """Say which of these keys tuning does not heed; None: it heeds all.

    Examples
    --------
    >>> without_effect(["sla.latency_ms", "policy.batch_size"])
    'policy.batch_size plays no part: tune searches it (--batch-sizes says what is tried)'
    """
    keys = [key for key in SEARCHED if key in set(changed)]
    if not keys:
        return None
    options = " and ".join(SEARCHED[key] for key in keys)
    plays, it, say = ("plays", "it", "says") if len(keys) == 1 else ("play", "both", "say")
    return f"{' and '.join(keys)} {plays} no part: tune searches {it} ({options} {say} what is tried)"
