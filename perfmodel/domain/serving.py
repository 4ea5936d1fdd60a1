"""How queries are served: the policy's settings, the SLA, the simulation's precision."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import (
    MOST_COUNT,
    Cores,
    Count,
    Milliseconds,
    MillisecondsFromZero,
    NonNegative,
    Precision,
    Queries,
    Seed,
    within,
)
from perfmodel.domain.outside import OutsideTime
from perfmodel.units import MS


class SheddingSettings(Frozen):
    """Refuse or drop queries rather than serve them late; at least one of the two limits.

    Attributes
    ----------
    queue_limit_requests : int or None
        A query is refused at its arrival where this many requests would wait before it.
    deadline_ms : float or None
        What would start later than this after its arrival is dropped. [ms]
    """

    queue_limit_requests: Count | None = None
    deadline_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.queue_limit_requests is None and self.deadline_ms is None:
            raise ValueErrorAt("expected a limit: queue_limit_requests, deadline_ms, or both", ())
        return self

    @property
    def deadline_s(self) -> float | None:
        """The deadline. [s]"""
        return None if self.deadline_ms is None else self.deadline_ms * MS


class OffloadSetting(NamedTuple):
    """A setting that sends queries to an accelerator, and what it has to be on a node without one."""

    key: str
    value: str | int
    without: str


class PolicyBase(Frozen):
    """What every policy may have.

    Attributes
    ----------
    shedding : SheddingSettings or None
        When queries are refused or dropped; None: never.
    share_query_work : bool
        A what-if: the first request of a query computes the work of the query, and its results are sent on
        to the others; else each request computes it anew.
    """

    shedding: SheddingSettings | None = None
    share_query_work: bool = False

    @property
    def offloading(self) -> OffloadSetting | None:
        """What sends queries to an accelerator; None: nothing does."""
        return None


class _Offloading(PolicyBase):
    """A policy that may send large queries to an accelerator."""

    offload_threshold_items: Count | None = None

    @property
    def offloading(self) -> OffloadSetting | None:
        """The threshold, where there is one."""
        threshold = self.offload_threshold_items
        return None if threshold is None else OffloadSetting("offload_threshold_items", threshold, "null")


class SplitPolicy(_Offloading):
    """Split a query into requests of at most `batch_size` items for the cores, or offload it whole.

    Attributes
    ----------
    batch_size : int
        Largest number of items in one forward pass. [items]
    offload_threshold_items : int or None
        Queries of at least this size go whole to the accelerator; None: no query does. [items]
    """

    name: Literal["split"] = "split"
    batch_size: Count


class SizePriorityPolicy(_Offloading):
    """Like split, but the cores take requests of shorter queries first, and waiting counts as shortness.

    Attributes
    ----------
    batch_size : int
        Largest number of items in one forward pass. [items]
    ageing_items_per_s : float
        A second of waiting makes up for this many items; 0: shortest first, whoever else waits. [items/s]
    offload_threshold_items : int or None
        Queries of at least this size go whole to the accelerator, in order of arrival. [items]
    """

    name: Literal["size-priority"] = "size-priority"
    batch_size: Count
    ageing_items_per_s: NonNegative


class SeparateQueuesPolicy(_Offloading):
    """Small and large queries have cores and queues of their own.

    Attributes
    ----------
    large_from_items : int
        Queries of at least this size are large. [items]
    small_cores : int
        Cores for small queries; the large ones have the rest.
    small_batch_size : int
        Largest number of items in one forward pass of small queries. [items]
    large_batch_size : int
        The same of large queries. [items]
    offload_threshold_items : int or None
        Queries of at least this size, more than `large_from_items`, go whole to the accelerator. [items]
    """

    name: Literal["separate-queues"] = "separate-queues"
    large_from_items: Annotated[int, Field(ge=2), within(high=MOST_COUNT)]
    small_cores: Cores
    small_batch_size: Count
    large_batch_size: Count

    @model_validator(mode="after")
    def _thresholds_ascend(self) -> Self:
        threshold = self.offload_threshold_items
        if threshold is not None and threshold <= self.large_from_items:
            raise ValueErrorAt(
                f"expected more than large_from_items, {self.large_from_items}, got {threshold}",
                ("offload_threshold_items",),
            )
        return self


class DynamicBatchingPolicy(PolicyBase):
    """Join queries into batches: start one when it is full, or its oldest query has waited for the timeout.

    Attributes
    ----------
    pool : {"cpu", "accelerator"}
        Where batches run.
    max_batch_items : int
        A full batch; a larger query is cut into full batches and a rest first. [items]
    timeout_ms : float
        How long an idle executor waits for a full batch. [ms]
    """

    name: Literal["dynamic-batching"] = "dynamic-batching"
    pool: Literal["cpu", "accelerator"] = "cpu"
    max_batch_items: Count
    timeout_ms: MillisecondsFromZero

    @model_validator(mode="after")
    def _deadline_leaves_time_to_wait(self) -> Self:
        deadline_ms = None if self.shedding is None else self.shedding.deadline_ms
        if deadline_ms is not None and deadline_ms <= self.timeout_ms:
            raise ValueErrorAt(
                f"expected more than timeout_ms, {self.timeout_ms:g}, got {deadline_ms:g}",
                ("shedding", "deadline_ms"),
            )
        return self

    @property
    def timeout_s(self) -> float:
        """The timeout. [s]"""
        return self.timeout_ms * MS

    @property
    def offloading(self) -> OffloadSetting | None:
        """The pool, where that is the accelerator."""
        return OffloadSetting("pool", self.pool, "cpu") if self.pool == "accelerator" else None


class FusionPolicy(PolicyBase):
    """Like split, but an accelerator stream that becomes free takes several waiting queries in one launch.

    Attributes
    ----------
    batch_size : int
        Largest number of items in one forward pass of a core. [items]
    offload_threshold_items : int
        Queries of at least this size go to the accelerator. [items]
    max_fused_items : int
        Items in one launch; a larger query runs alone. [items]
    streams : int
        Launches side by side on one accelerator, each the slower for the others.
    """

    name: Literal["fusion"] = "fusion"
    batch_size: Count
    offload_threshold_items: Count
    max_fused_items: Count
    streams: Annotated[int, Field(ge=1, le=64)] = 1

    @property
    def offloading(self) -> OffloadSetting | None:
        """The name: the policy is about accelerators."""
        return OffloadSetting("name", self.name, "another policy")


PolicySettings = (
    SplitPolicy | SizePriorityPolicy | SeparateQueuesPolicy | DynamicBatchingPolicy | FusionPolicy
)
"""The policies of a scenario, told apart by `name`."""


class SlaTarget(Frozen):
    """A percentile of query latency (a fraction: 0.95) and its bound, which files give in milliseconds.

    `confidence` is the probability from which on an answer says that the bound is met, or is not;
    `outside_ms` is time of a query outside of the node (features, network, router), which is added to its
    latency there: a number, or a distribution. [ms]
    """

    percentile: Annotated[float, Field(gt=0, lt=1)]
    latency_ms: Milliseconds
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    outside_ms: MillisecondsFromZero | OutsideTime = 0.0

    @property
    def latency_s(self) -> float:
        """The bound. [s]"""
        return self.latency_ms * MS


class SimulationSettings(Frozen):
    """Seed and stopping rule of a simulation.

    Attributes
    ----------
    seed : int
        Seed of all random streams.
    precision : float
        Half-width of the 95 % confidence interval over the SLA's percentile, relative. [1]
    min_queries : int
        Where the run may end, once `precision` is reached. [queries]
    max_queries : int
        Where the run ends, whether it is or not. [queries]
    """

    seed: Seed = 1
    precision: Precision = 0.02
    min_queries: Queries = 300_000
    max_queries: Queries = 10_000_000
