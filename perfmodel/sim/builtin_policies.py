"""The policies that come with perfplan beside `SplitAndOffload`; each is a way to lay out lanes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from perfmodel.domain.serving import (
    DynamicBatchingPolicy,
    FusionPolicy,
    PolicySettings,
    SeparateQueuesPolicy,
    SheddingSettings,
    SizePriorityPolicy,
    SplitPolicy,
)
from perfmodel.sim.policies import (
    Joining,
    Lane,
    Policy,
    Pool,
    Shedding,
    SizedPolicy,
    SplitAndOffload,
    offload_lane,
)

S = TypeVar("S", bound=PolicySettings)


@dataclass(frozen=True)
class _Described(SizedPolicy, Generic[S]):
    """A policy that a scenario's settings describe in full; what is left to say is where its lanes lie.

    Attributes
    ----------
    settings : PolicySettings
        Checked where they were made; `domain.serving` says what each means.
    """

    settings: S
    name: str = field(init=False)
    shedding: Shedding | None = field(init=False)
    share_query_work: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.settings.name)
        object.__setattr__(self, "share_query_work", self.settings.share_query_work)
        object.__setattr__(self, "shedding", shedding_from(self.settings.shedding))


@dataclass(frozen=True)
class SizePriority(_Described[SizePriorityPolicy]):
    """As `SplitAndOffload`, but cores take requests of shorter queries first; waiting counts as shortness."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The cores with an aged queue, and the accelerator from the threshold on."""
        settings = self.settings
        ageing = settings.ageing_items_per_s
        cores = Lane(pool=Pool.CPU, request_items=settings.batch_size, ageing_items_per_s=ageing)
        return (cores, *offload_lane(settings.offload_threshold_items))


@dataclass(frozen=True)
class SeparateQueues(_Described[SeparateQueuesPolicy]):
    """Small and large queries have cores and queues of their own, so that neither waits for the other."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Cores for small queries, cores for large ones, and the accelerator from the threshold on."""
        settings = self.settings
        return (
            Lane(pool=Pool.CPU, request_items=settings.small_batch_size, cores=settings.small_cores),
            Lane(
                pool=Pool.CPU_LARGE,
                from_items=settings.large_from_items,
                request_items=settings.large_batch_size,
            ),
            *offload_lane(settings.offload_threshold_items),
        )


@dataclass(frozen=True)
class DynamicBatching(_Described[DynamicBatchingPolicy]):
    """Join queries into a batch until it is full or the oldest has waited long enough."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """One lane that joins."""
        settings = self.settings
        pool = Pool.CPU if settings.pool == "cpu" else Pool.ACCELERATOR
        joining = Joining(max_items=settings.max_batch_items, wait_s=settings.timeout_s)
        return (Lane(pool=pool, request_items=settings.max_batch_items, joining=joining),)


@dataclass(frozen=True)
class Fusion(_Described[FusionPolicy]):
    """As `SplitAndOffload`, but a free accelerator stream takes several waiting queries in one launch."""

    streams: int = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "streams", self.settings.streams)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The cores, unless all queries are offloaded, and the accelerator, which fuses."""
        joining = Joining(max_items=self.settings.max_fused_items)
        cores = Lane(pool=Pool.CPU, request_items=self.settings.batch_size)
        return (cores, *offload_lane(self.settings.offload_threshold_items, joining=joining))


def policy_from(settings: PolicySettings) -> Policy:
    """Return the policy that a scenario's settings describe."""
    match settings:
        case SplitPolicy():
            return SplitAndOffload(
                batch_size=settings.batch_size,
                offload_threshold_items=settings.offload_threshold_items,
                shedding=shedding_from(settings.shedding),
                share_query_work=settings.share_query_work,
            )
        case SizePriorityPolicy():
            return SizePriority(settings)
        case SeparateQueuesPolicy():
            return SeparateQueues(settings)
        case DynamicBatchingPolicy():
            return DynamicBatching(settings)
        case FusionPolicy():
            return Fusion(settings)


def shedding_from(settings: SheddingSettings | None) -> Shedding | None:
    """Return when queries are shed, as a scenario's settings describe it."""
    if settings is None:
        return None
    return Shedding(queue_limit_requests=settings.queue_limit_requests, deadline_s=settings.deadline_s)
