"""Who runs what, where: policies see what a real dispatcher sees, never the future.

A policy is a small frozen object with two decisions: `place`, when a query arrives, says which pool takes
it and in which requests; `new_queue` gives the order in which a pool's idle executors take requests.
A routing policy adds pools, a size-aware one another queue; the SimPy engine runs any of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

from perfmodel.domain.serving import SplitPolicy
from perfmodel.errors import InputError
from perfmodel.sim.service import ServiceTimes


class Pool(Enum):
    """A set of equal executors that share one queue."""

    CPU = auto()
    ACCELERATOR = auto()


class Request(NamedTuple):
    """The part of a query sent to one executor."""

    query: int
    num_items: int


class Placement(NamedTuple):
    """Where a query goes, and the sizes of its requests in the order they are queued. [items]"""

    pool: Pool
    request_items: list[int]


class RequestQueue(Protocol):
    """Requests that wait for an executor; a `deque` is the FIFO one."""

    def append(self, request: Request, /) -> None:
        """Let a request join."""

    def popleft(self) -> Request:
        """Take the request that is next."""

    def __len__(self) -> int: ...


class PoolView(Protocol):
    """What a dispatcher knows of one pool."""

    @property
    def num_executors(self) -> int:
        """Executors of the pool."""

    @property
    def num_busy(self) -> int:
        """Executors that serve a request now."""

    @property
    def queued_requests(self) -> int:
        """Requests that wait for an executor."""

    @property
    def queued_items(self) -> int:
        """Items of the requests that wait. [items]"""


class NodeView(Protocol):
    """What a dispatcher knows of the node."""

    def __getitem__(self, pool: Pool, /) -> PoolView: ...


class Policy(Protocol):
    """The decisions of a dispatcher."""

    def place(self, num_items: int, node: NodeView) -> Placement:
        """Say where a query that has just arrived goes."""

    def new_queue(self, pool: Pool) -> RequestQueue:
        """Return the empty queue of a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAndOffload:
    """Split queries into FIFO requests for the cores; offload large ones whole.

    Attributes
    ----------
    batch_size : int
        Largest request: full ones first, the remainder last. [items]
    offload_threshold_items : int or None
        Queries of at least this size go to the accelerator; None: no query does. [items]
    """

    batch_size: int
    offload_threshold_items: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"policy.batch_size: expected at least 1, got {self.batch_size}")
        if self.offload_threshold_items is not None and self.offload_threshold_items < 1:
            raise InputError(
                f"policy.offload_threshold_items: expected at least 1, got {self.offload_threshold_items}"
            )

    def offloads(self, num_items: int) -> bool:
        """Say whether a query of this size goes to the accelerator."""
        return self.offload_threshold_items is not None and num_items >= self.offload_threshold_items

    def place(self, num_items: int, node: NodeView) -> Placement:  # noqa: ARG002  # looks at the size alone
        """Split the query for the cores, or send it whole to the accelerator."""
        if self.offloads(num_items):
            return Placement(Pool.ACCELERATOR, [num_items])
        return Placement(Pool.CPU, split_query(num_items, self.batch_size))

    def new_queue(self, pool: Pool) -> RequestQueue:  # noqa: ARG002  # both pools are FIFO
        """Return a FIFO queue."""
        return deque[Request]()


def split_query(num_items: int, batch_size: int) -> list[int]:
    """Split a query into ceil(items / batch) requests: full batches first, the remainder last. [items]

    Examples
    --------
    >>> split_query(300, 128)
    [128, 128, 44]
    """
    full, remainder = divmod(num_items, batch_size)
    return [batch_size] * full + [remainder] * (remainder > 0)


def policy_from(settings: SplitPolicy) -> SplitAndOffload:
    """Return the policy that a scenario's settings describe."""
    return SplitAndOffload(
        batch_size=settings.batch_size, offload_threshold_items=settings.offload_threshold_items
    )


def check_covers(service: ServiceTimes, policy: SplitAndOffload, max_items: int) -> None:
    """Raise an `InputError` where a query of up to `max_items` items would have no service time."""
    threshold = policy.offload_threshold_items
    if threshold is not None and service.num_accelerators == 0:
        raise InputError("policy.offload_threshold_items: the node has no accelerator")
    on_cpu = max_items if threshold is None else min(max_items, threshold - 1)
    if min(policy.batch_size, on_cpu) > service.max_batch_items:
        raise InputError(
            f"service times: requests have up to {min(policy.batch_size, on_cpu)} items, "
            f"the CPU table ends at {service.max_batch_items}"
        )
    if policy.offloads(max_items) and max_items > service.max_offload_items:
        raise InputError(
            f"service times: offloaded queries have up to {max_items} items, "
            f"the accelerator table ends at {service.max_offload_items}"
        )
