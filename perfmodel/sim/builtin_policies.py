"""The policies that come with perfplan beside `SplitAndOffload`; each is a way to lay out lanes."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.domain.serving import (
    DynamicBatchingPolicy,
    FusionPolicy,
    PolicySettings,
    SeparateQueuesPolicy,
    SheddingSettings,
    SizePriorityPolicy,
    SplitPolicy,
)
from perfmodel.errors import InputError
from perfmodel.sim.policies import (
    Joining,
    Lane,
    Policy,
    Pool,
    Shedding,
    SizedPolicy,
    SplitAndOffload,
    offload_lane,
    require_at_least_one,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePriority(SizedPolicy):
    """As `SplitAndOffload`, but cores take requests of shorter queries first; waiting counts as shortness.

    Attributes
    ----------
    ageing_items_per_s : float
        Size that a second of waiting makes up for; 0: shortest first, however long others wait.
    """

    batch_size: int
    ageing_items_per_s: float
    offload_threshold_items: int | None = None
    shedding: Shedding | None = None
    name: str = "size-priority"

    def __post_init__(self) -> None:
        require_at_least_one(batch_size=self.batch_size, offload_threshold_items=self.offload_threshold_items)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The cores with an aged queue, and the accelerator from the threshold on."""
        cores = Lane(pool=Pool.CPU, request_items=self.batch_size, ageing_items_per_s=self.ageing_items_per_s)
        return (cores, *offload_lane(self.offload_threshold_items))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparateQueues(SizedPolicy):
    """Small and large queries have cores and queues of their own, so that neither waits for the other.

    Attributes
    ----------
    large_from_items : int
        Queries of at least this size are large. [items]
    small_cores : int
        Cores for small queries; the large ones have the rest.
    small_batch_size, large_batch_size : int
        Largest request of each. [items]
    """

    large_from_items: int
    small_cores: int
    small_batch_size: int
    large_batch_size: int
    offload_threshold_items: int | None = None
    shedding: Shedding | None = None
    name: str = "separate-queues"

    def __post_init__(self) -> None:
        require_at_least_one(
            small_cores=self.small_cores,
            small_batch_size=self.small_batch_size,
            large_batch_size=self.large_batch_size,
        )
        if self.large_from_items < 2:
            raise InputError(f"policy.large_from_items: expected at least 2, got {self.large_from_items}")
        threshold = self.offload_threshold_items
        if threshold is not None and threshold <= self.large_from_items:
            raise InputError(
                f"policy.offload_threshold_items: expected more than large_from_items, "
                f"{self.large_from_items}, got {threshold}"
            )

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Cores for small queries, cores for large ones, and the accelerator from the threshold on."""
        return (
            Lane(pool=Pool.CPU, request_items=self.small_batch_size, cores=self.small_cores),
            Lane(pool=Pool.CPU_LARGE, from_items=self.large_from_items, request_items=self.large_batch_size),
            *offload_lane(self.offload_threshold_items),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBatching(SizedPolicy):
    """Join queries into a batch until it is full or the oldest has waited long enough.

    Attributes
    ----------
    pool : Pool
        Where batches run.
    max_batch_items : int
        A full batch; a larger query is cut first. [items]
    timeout_s : float
        How long an idle executor waits for a full batch. [s]
    """

    pool: Pool
    max_batch_items: int
    timeout_s: float
    shedding: Shedding | None = None
    name: str = "dynamic-batching"

    def __post_init__(self) -> None:
        require_at_least_one(max_batch_items=self.max_batch_items)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """One lane that joins."""
        joining = Joining(max_items=self.max_batch_items, wait_s=self.timeout_s)
        return (Lane(pool=self.pool, request_items=self.max_batch_items, joining=joining),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion(SizedPolicy):
    """As `SplitAndOffload`, but a free accelerator stream takes several waiting queries in one launch.

    Attributes
    ----------
    max_fused_items : int
        Items in a launch; a larger query runs alone. [items]
    streams : int
        Launches that run side by side on one accelerator.
    """

    batch_size: int
    offload_threshold_items: int
    max_fused_items: int
    streams: int = 1
    shedding: Shedding | None = None
    name: str = "fusion"

    def __post_init__(self) -> None:
        require_at_least_one(
            batch_size=self.batch_size,
            offload_threshold_items=self.offload_threshold_items,
            max_fused_items=self.max_fused_items,
            streams=self.streams,
        )

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The cores, unless all queries are offloaded, and the accelerator, which fuses."""
        joining = Joining(max_items=self.max_fused_items)
        cores = Lane(pool=Pool.CPU, request_items=self.batch_size)
        return (cores, *offload_lane(self.offload_threshold_items, joining=joining))


def policy_from(settings: PolicySettings) -> Policy:
    """Return the policy that a scenario's settings describe."""
    shedding = shedding_from(settings.shedding)
    match settings:
        case SplitPolicy():
            return SplitAndOffload(
                batch_size=settings.batch_size,
                offload_threshold_items=settings.offload_threshold_items,
                shedding=shedding,
            )
        case SizePriorityPolicy():
            return SizePriority(
                batch_size=settings.batch_size,
                ageing_items_per_s=settings.ageing_items_per_s,
                offload_threshold_items=settings.offload_threshold_items,
                shedding=shedding,
            )
        case SeparateQueuesPolicy():
            return SeparateQueues(
                large_from_items=settings.large_from_items,
                small_cores=settings.small_cores,
                small_batch_size=settings.small_batch_size,
                large_batch_size=settings.large_batch_size,
                offload_threshold_items=settings.offload_threshold_items,
                shedding=shedding,
            )
        case DynamicBatchingPolicy():
            return DynamicBatching(
                pool=Pool.CPU if settings.pool == "cpu" else Pool.ACCELERATOR,
                max_batch_items=settings.max_batch_items,
                timeout_s=settings.timeout_s,
                shedding=shedding,
            )
        case FusionPolicy():
            return Fusion(
                batch_size=settings.batch_size,
                offload_threshold_items=settings.offload_threshold_items,
                max_fused_items=settings.max_fused_items,
                streams=settings.streams,
                shedding=shedding,
            )


def shedding_from(settings: SheddingSettings | None) -> Shedding | None:
    """Return when queries are shed, as a scenario's settings describe it."""
    if settings is None:
        return None
    return Shedding(queue_limit_requests=settings.queue_limit_requests, deadline_s=settings.deadline_s)
