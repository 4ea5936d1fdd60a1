"""Who runs what, where: policies see what a real dispatcher sees, never the future.

A policy is a small frozen object. Its `lanes` say which executors share a queue, and how they take
requests from it; `place`, asked when a query arrives, says which lane takes it and in which requests.
Both engines read the lanes. The policies that perfplan ships are in `builtin_policies`.
"""

from __future__ import annotations

from abc import ABC
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, IntArray
from perfmodel.sim.service import ServiceTimes

WHOLE = 2**62
"""A request size that no query exceeds: it is served whole. [items]"""


class Pool(Enum):
    """A set of equal executors that share one queue."""

    CPU = auto()
    CPU_LARGE = auto()  # cores that a policy sets apart; they contend with those of CPU
    ACCELERATOR = auto()


class Request(NamedTuple):
    """The part of a query sent to one executor, and what is known of the query that it belongs to."""

    query: int
    num_items: int
    query_items: int = 0
    arrival_s: float = 0.0


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


class PoolView(NamedTuple):
    """What a dispatcher knows of one pool, at one instant.

    Attributes
    ----------
    num_executors, num_busy : int
        Executors, and those of them that serve a request now.
    queued_requests, queued_items : int
        Requests that wait for an executor, and the items in them.
    """

    num_executors: int
    num_busy: int = 0
    queued_requests: int = 0
    queued_items: int = 0


class NodeView(Protocol):
    """What a dispatcher knows of the node."""

    def __getitem__(self, pool: Pool, /) -> PoolView: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """Several waiting requests go in one launch, whole and in FIFO order, as many as fit.

    Attributes
    ----------
    max_items : int
        Items in a launch; a larger request is launched alone.
    wait_s : float
        How long an idle executor waits for a full launch, counted from the arrival of the query that
        is next; 0: it takes what is there. [s]
    """

    max_items: int
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A pool, the queries that it serves, and how.

    Attributes
    ----------
    pool : Pool
        Whose executors.
    from_items : int
        Serves queries of at least this size, up to where the next lane begins.
    request_items : int
        Largest request: full ones first, the remainder last. [items]
    cores : int or None
        Cores of this lane; None: those that no other lane has.
    joining : Joining or None
        None: a launch is one request.
    ageing_items_per_s : float or None
        Requests of the smallest s + ageing x arrival first, s the size of the query; None: FIFO.
    """

    pool: Pool
    from_items: int = 1
    request_items: int = WHOLE
    cores: int | None = None
    joining: Joining | None = None
    ageing_items_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """When queries are refused or dropped rather than served late.

    Attributes
    ----------
    queue_limit_requests : int or None
        A query is refused at its arrival where, once every idle executor of its lane has taken one, at
        least this many requests would still wait; it need not fit below the limit itself.
    deadline_s : float or None
        A request is dropped, and its query counted as shed, where it would start later than this
        after the arrival. [s]
    """

    queue_limit_requests: int | None = None
    deadline_s: float | None = None


class Policy(ABC):  # noqa: B024  # everything has a default
    """The decisions of a dispatcher; what a subclass does not say is FIFO, whole, on the cores."""

    name: str = "unnamed"
    shedding: Shedding | None = None
    streams: int = 1  # launches side by side on one accelerator
    share_query_work: bool = False  # the first request of a query computes its work, and sends it on
    why_not_compiled: str | None = "it places queries in Python"  # None: the compiled engine runs it
    compiled_decision: Callable[..., int] | None = None  # where not by size alone: see `user_policy`

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Lanes in the order in which they are served at one instant, by ascending `from_items`."""
        return (Lane(pool=Pool.CPU), Lane(pool=Pool.ACCELERATOR, from_items=WHOLE))

    def place(self, num_items: int, node: NodeView) -> Placement:  # noqa: ARG002  # by default, by size alone
        """Say where a query that has just arrived goes."""
        return placed_by_size(self.lanes, num_items)

    def place_query(self, query: int, num_items: int, now_s: float, node: NodeView) -> Placement:  # noqa: ARG002
        """Like `place`; a policy that learns also needs to tell queries apart."""
        return self.place(num_items, node)

    def served(self, query: int, latency_s: float) -> None:  # noqa: B027  # most do not learn
        """Learn that a query has been served, at the instant at which its last request ends."""

    def for_run(self) -> Policy:
        """Return the policy to begin a run with: one that has learnt nothing yet."""
        return self

    def new_queue(self, pool: Pool) -> RequestQueue:
        """Return the empty queue of a pool."""
        ageing = next(lane.ageing_items_per_s for lane in self.lanes if lane.pool is pool)
        return deque[Request]() if ageing is None else AgedQueue(ageing)

    def largest_launch_items(self, pool: Pool, max_items: int) -> int:
        """Items in the largest launch of a pool while queries have up to `max_items`; 0: there are none."""
        largest = 0
        ends = [lane.from_items for lane in self.lanes[1:]] + [max_items + 1]
        for lane, end in zip(self.lanes, ends, strict=True):
            query = min(max_items, end - 1)
            if lane.pool is pool and query >= lane.from_items:
                joined = 0 if lane.joining is None else lane.joining.max_items
                largest = max(largest, joined, min(lane.request_items, query))
        return largest


class SizedPolicy(Policy):
    """A policy whose lanes say all: queries are placed by their size alone."""

    why_not_compiled = None

    def for_run(self) -> Policy:
        """Return the policy with its lanes laid out once."""
        return _LaidOut(self)


class _LaidOut(Policy):
    """A policy whose lanes are not worked out anew for every query."""

    def __init__(self, policy: SizedPolicy) -> None:
        self.name, self.shedding = policy.name, policy.shedding
        self.share_query_work = policy.share_query_work
        self._lanes = policy.lanes

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Those of the policy."""
        return self._lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAndOffload(SizedPolicy):
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
    shedding: Shedding | None = None
    share_query_work: bool = False
    name: str = "split"

    def __post_init__(self) -> None:
        require_at_least_one(batch_size=self.batch_size, offload_threshold_items=self.offload_threshold_items)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The cores, and the accelerator from the threshold on."""
        cores = Lane(pool=Pool.CPU, request_items=self.batch_size)
        return (cores, *offload_lane(self.offload_threshold_items))

    def offloads(self, num_items: int) -> bool:
        """Say whether a query of this size goes to the accelerator."""
        return self.offload_threshold_items is not None and num_items >= self.offload_threshold_items


def is_fifo(service: ServiceTimes, policy: object) -> bool:
    """Say whether a policy on a node is what the compiled recursion computes: first in, first out.

    Where several accelerators have several streams each, a launch is as fast as the streams of its own
    accelerator let it be; the recursion knows one number of busy executors for the whole pool.
    """
    if type(policy) is not SplitAndOffload or policy.shedding is not None:  # a subclass may place otherwise
        return False
    if service.by_query is not None or service.pipeline is not None:
        return False
    return service.num_accelerators <= 1 or service.streams_per_accelerator == 1


def require_at_least_one(**values: int | None) -> None:
    """Raise an `InputError` that names the first setting below 1."""
    for key, value in values.items():
        if value is not None and value < 1:
            raise InputError(f"policy.{key}: expected at least 1, got {value}")


def offload_lane(threshold_items: int | None, *, joining: Joining | None = None) -> tuple[Lane, ...]:
    """Return the accelerator's lane for whole queries from a size on; none without a threshold."""
    if threshold_items is None:
        return ()
    return (Lane(pool=Pool.ACCELERATOR, from_items=threshold_items, joining=joining),)


class AgedQueue:
    """Requests of the smallest s + ageing x arrival first, s the size of the query; equal ones FIFO.

    A second of waiting counts like `ageing` items less. It moves all queries alike, so the order of two
    never changes while they wait.
    """

    def __init__(self, ageing_items_per_s: float) -> None:
        self._ageing_items_per_s = ageing_items_per_s
        self._heap: list[tuple[float, int, int, Request]] = []
        self._appended = 0

    def append(self, request: Request, /) -> None:
        """Let a request join."""
        self._appended += 1
        key = request.query_items + self._ageing_items_per_s * request.arrival_s
        heappush(self._heap, (key, request.query, self._appended, request))

    def popleft(self) -> Request:
        """Take the request that is next."""
        return heappop(self._heap)[-1]

    @property
    def first(self) -> Request:
        """The request that is next, left where it is."""
        return self._heap[0][-1]

    def __len__(self) -> int:
        return len(self._heap)


def placed_by_size(lanes: Sequence[Lane], num_items: int) -> Placement:
    """Place a query in the last lane that begins at its size or below."""
    lane = [lane for lane in lanes if lane.from_items <= num_items][-1]
    return Placement(lane.pool, split_query(num_items, lane.request_items))


def sizes_by_lane(lanes: Sequence[Lane], num_items: IntArray) -> Iterator[tuple[Lane, BoolArray]]:
    """Which of many sizes each lane serves; `placed_by_size` for all of them at once."""
    ends = [lane.from_items for lane in lanes[1:]] + [WHOLE]
    for lane, end in zip(lanes, ends, strict=True):
        yield lane, (num_items >= lane.from_items) & (num_items < end)


def requests_by_size(num_items: IntArray, request_items: int) -> tuple[tuple[IntArray, IntArray], ...]:
    """Sizes and numbers of the requests of queries: of the full ones, and of the remainders.

    Examples
    --------
    >>> (full, times), (rest, once) = requests_by_size(np.array([300, 128, 44]), 128)
    >>> full.tolist(), times.tolist(), rest.tolist(), once.tolist()
    ([128, 128, 128], [2, 1, 0], [44, 0, 44], [1, 0, 1])
    """
    full, remainder = np.divmod(num_items, request_items)
    sizes = np.full_like(num_items, request_items)
    return (sizes, full), (remainder, (remainder > 0).astype(np.int64))


def split_query(num_items: int, batch_size: int) -> list[int]:
    """Split a query into ceil(items / batch) requests: full batches first, the remainder last. [items]

    Examples
    --------
    >>> split_query(300, 128)
    [128, 128, 44]
    """
    full, remainder = divmod(num_items, batch_size)
    return [batch_size] * full + [remainder] * (remainder > 0)


def largest_cpu_launch_items(policy: Policy, max_items: int) -> int:
    """Items in the largest launch on any core while queries have up to `max_items`; 0: there are none."""
    return max(policy.largest_launch_items(pool, max_items) for pool in (Pool.CPU, Pool.CPU_LARGE))


def executors_of(lane: Lane, policy: Policy, service: ServiceTimes) -> int:
    """Executors of a lane on a node; 0 for the accelerators of a node without any."""
    if lane.pool is Pool.ACCELERATOR:
        return service.num_streams
    set_apart = sum(other.cores or 0 for other in policy.lanes)
    return service.num_executors - set_apart if lane.cores is None else lane.cores


def check_cores(policy: Policy, num_cores: int) -> None:
    """Raise an `InputError` where a policy sets apart all cores of a node, or more."""
    set_apart = sum(lane.cores or 0 for lane in policy.lanes)
    if set_apart and set_apart >= num_cores:
        raise ValueErrorAt(
            f"expected fewer than the {num_cores} cores, got {set_apart}", ("policy", "small_cores")
        )


def check_covers(service: ServiceTimes, policy: Policy, max_items: int) -> None:
    """Raise an `InputError` where a query of up to `max_items` items has no executor or service time."""
    check_cores(policy, service.num_executors)
    on_accelerator = policy.largest_launch_items(Pool.ACCELERATOR, max_items)
    if on_accelerator and service.num_accelerators == 0:
        key = "pool" if policy.lanes[0].pool is Pool.ACCELERATOR else "offload_threshold_items"
        raise InputError(f"policy.{key}: the node has no accelerator")
    on_cpu = largest_cpu_launch_items(policy, max_items)
    if on_cpu > service.max_batch_items:
        raise InputError(
            f"service times: requests have up to {on_cpu} items, "
            f"the CPU table ends at {service.max_batch_items}"
        )
    if on_accelerator > service.max_offload_items:
        raise InputError(
            f"service times: offloaded queries have up to {on_accelerator} items, "
            f"the accelerator table ends at {service.max_offload_items}"
        )
