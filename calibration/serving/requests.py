"""From queries and a policy to the list of requests that the workers take, in the order they take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.policies import Policy, Pool, PoolView, SizedPolicy
from perfmodel.sim.query_times import draw_kinds
from perfmodel.sim.traffic import Queries, TrafficSource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RequestList:
    """Requests in FIFO order: by arrival of their query, full batches first and the remainder last.

    Attributes
    ----------
    query : (num_requests,) int
        Index of the query that the request belongs to.
    num_items : (num_requests,) int
        Size. [items]
    arrival_s : (num_requests,) float
        Scheduled arrival of its query, ascending. [s]
    offloaded : (num_requests,) bool
        Whether it goes to the accelerator.
    kind : (num_requests,) int
        Which of the lengths that histories have; left out: there is one.
    sent, sends : (num_requests,) bool
        Whether it gets the results of its query's work, and whether others of the query get its own; left
        out: each does that work by itself.
    """

    query: IntArray
    num_items: IntArray
    arrival_s: FloatArray
    offloaded: BoolArray
    kind: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    sent: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    sends: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        for name in ("kind", "sent", "sends"):
            given = getattr(self, name)
            if len(given) != len(self.query):
                object.__setattr__(self, name, np.zeros(len(self.query), dtype=given.dtype))

    @property
    def variety(self) -> IntArray:
        """What kind of pass each is: by length, without the query's work or (even numbers) with it."""
        return 2 * self.kind + self.sent

    def __len__(self) -> int:
        return len(self.query)

    def only(self, chosen: BoolArray) -> RequestList:
        """Return some of the requests."""
        return RequestList(
            query=self.query[chosen],
            num_items=self.num_items[chosen],
            arrival_s=self.arrival_s[chosen],
            offloaded=self.offloaded[chosen],
            kind=self.kind[chosen],
            sent=self.sent[chosen],
            sends=self.sends[chosen],
        )


def require_servable(policy: Policy) -> None:
    """Refuse policies that the runtime does not have: its workers share FIFO queues and nothing else.

    Raises
    ------
    InputError
        Saying what the policy needs beyond them.
    """
    lanes = policy.lanes
    needs = {
        "places queries by more than their size": not isinstance(policy, SizedPolicy),
        "sheds queries": policy.shedding is not None,
        "joins requests": any(lane.joining is not None for lane in lanes),
        "serves short queries first": any(lane.ageing_items_per_s is not None for lane in lanes),
        "sets cores apart": any(lane.cores is not None for lane in lanes),
        "runs several streams": policy.streams > 1,
    }
    if unmet := [need for need, holds in needs.items() if holds]:
        raise InputError(f"policy.name: the runtime serves policy split, got {policy.name}, which {unmet[0]}")


def requests_of(queries: Queries, policy: Policy, shares: FloatArray | None = None) -> RequestList:
    """Split and place every query as the policy says, each with the history that the simulation gives it.

    Parameters
    ----------
    queries, policy
        What arrives, and how it becomes requests.
    shares : (kinds,) float, optional
        How often each length of a history comes; none: all are of one. [1]

    Examples
    --------
    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> queries = Queries(np.array([0.5, 0.7]), np.array([300, 40]))
    >>> listed = requests_of(queries, SplitAndOffload(batch_size=128))
    >>> listed.num_items.tolist(), listed.query.tolist()
    ([128, 128, 44, 40], [0, 0, 0, 1])
    """
    require_servable(policy)
    pieces = _pieces(np.unique(queries.num_items), policy)
    sizes: list[int] = queries.num_items.tolist()
    counts = np.array([len(pieces[size][0]) for size in sizes], dtype=np.int64)
    query = np.repeat(np.arange(len(queries)), counts)
    kinds = np.zeros(len(queries), dtype=np.int64)
    if shares is not None:
        kinds = draw_kinds(shares, len(queries), queries.luck)
    first = np.diff(query, prepend=-1) > 0
    shared = np.full(len(query), policy.share_query_work)
    return RequestList(
        query=query,
        num_items=np.array([items for size in sizes for items in pieces[size][0]], dtype=np.int64),
        arrival_s=queries.arrival_s[query],
        offloaded=np.repeat(np.array([pieces[size][1] for size in sizes], dtype=np.bool_), counts),
        kind=kinds[query],
        sent=shared & ~first,
        sends=shared & first & (counts[query] > 1),
    )


def trace_of(traffic: TrafficSource, duration_s: float, *, seed: int, replication: int = 0) -> Queries:
    """Draw about `duration_s` of traffic; a recorded trace ends where it ends.

    The number of queries is rate x duration, so that two rates see the same unit-rate trace.
    """
    num_queries = max(1, ceil(traffic.rate_qps * duration_s))
    if traffic.num_recorded is not None:
        num_queries = min(num_queries, traffic.num_recorded)
    return traffic.draw(num_queries, seed=seed, replication=replication)


def _pieces(sizes: IntArray, policy: Policy) -> Mapping[int, tuple[list[int], bool]]:
    """Request sizes of a query of each size, and whether it is offloaded."""
    node = {pool: PoolView(1) for pool in Pool}
    placed = {size: policy.place(size, node) for size in sizes.tolist()}
    return {size: (items, pool is Pool.ACCELERATOR) for size, (pool, items) in placed.items()}
