"""Your own policy: a small class whose method `decide` places each query as it arrives.

    class Mine:
        @staticmethod
        def decide(query, node):
            return 64 if node.cores_busy < node.cores else OFFLOAD

A static `decide` that numba can compile runs in the compiled engine; every other one, such as one that
keeps state, in SimPy. It sees `QueryView` and `NodeView`: values of the present, nothing of the future.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

OFFLOAD = -1
"""The decision that sends a query to the accelerator, whole."""


class QueryView(NamedTuple):
    """A query that has just arrived: its number from 0 on, its size [items], and the time now. [s]"""

    number: int
    num_items: int
    arrival_s: float


class NodeState(NamedTuple):
    """The node at the instant of an arrival, completions of that instant included.

    Attributes
    ----------
    cores, cores_busy : int
        Cores, and how many of them serve a request.
    queued_requests, queued_items : int
        Requests that wait for a core, and the items in them.
    streams, streams_busy : int
        Streams of all accelerators together, and how many are busy; 0 without any. An accelerator that
        overlaps two requests has two.
    offloaded_requests, offloaded_items : int
        Queries that wait for a stream, and the items in them.
    """

    cores: int
    cores_busy: int
    queued_requests: int
    queued_items: int
    streams: int
    streams_busy: int
    offloaded_requests: int
    offloaded_items: int


class Decider(Protocol):
    """What a policy class has to offer; `served` is optional, for those that learn.

    `name` (by default that of the class) and `max_batch_items` (by default, any) are optional too.
    """

    def decide(self, query: QueryView, node: NodeState, /) -> int:
        """Items of the largest request on a core, from 1 on, or `OFFLOAD`."""

    def served(self, query: QueryView, latency_s: float, /) -> None:
        """Learn how long a query took, when its last request ends; not told of those that are shed."""


def shown(error: BaseException) -> str:
    """Write an error of somebody else's code on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
