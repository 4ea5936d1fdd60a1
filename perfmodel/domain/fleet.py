"""A fleet: how queries are spread over its nodes, and a day of traffic cut into windows."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from math import cos, tau

from perfmodel.domain.base import Frozen
from perfmodel.domain.workload import DiurnalArrivals, PoissonArrivals
from perfmodel.errors import InputError


class Routing(StrEnum):
    """How the router chooses a node: the one with the fewest requests of those that it looks at."""

    RANDOM = "random"  # one node, drawn in proportion to the nodes' weights
    ROUND_ROBIN = "round-robin"  # one node, the next in index order
    JOIN_SHORTEST_QUEUE = "join-shortest-queue"  # all nodes
    POWER_OF_TWO = "power-of-two"  # two distinct nodes, drawn uniformly

    @property
    def looks_at_queues(self) -> bool:
        """Whether the choice depends on the nodes' state."""
        return self in (Routing.JOIN_SHORTEST_QUEUE, Routing.POWER_OF_TWO)


class Window(Frozen):
    """A stretch of time with its mean arrival rate. [s], [queries/s]"""

    start_s: float
    end_s: float
    rate_qps: float


def windows_of(arrivals: DiurnalArrivals | PoissonArrivals, num_windows: int) -> tuple[Window, ...]:
    """Cut one period into equal windows, each with the mean of the diurnal rate over it; Poisson is one.

    The integral of rate (1 + a sin(2 pi t / T)), so that the windows hold all queries of the period.

    Examples
    --------
    >>> day = windows_of(DiurnalArrivals(rate_qps=100.0, amplitude=0.5), 4)
    >>> [round(window.rate_qps, 2) for window in day]
    [131.83, 131.83, 68.17, 68.17]
    """
    if num_windows < 1:
        raise InputError(f"windows: expected at least 1, got {num_windows}")
    if isinstance(arrivals, PoissonArrivals):
        return (Window(start_s=0.0, end_s=1.0, rate_qps=arrivals.rate_qps),)
    edges = [index / num_windows for index in range(num_windows + 1)]
    swing = arrivals.amplitude * num_windows / tau
    return tuple(
        Window(
            start_s=begin * arrivals.period_s,
            end_s=end * arrivals.period_s,
            rate_qps=arrivals.rate_qps * (1.0 + swing * (cos(tau * begin) - cos(tau * end))),
        )
        for begin, end in pairwise(edges)
    )
