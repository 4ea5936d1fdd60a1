"""A fleet: how queries are spread over its nodes, and a day of traffic cut into windows."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from math import cos, tau

from perfmodel.domain.base import Frozen
from perfmodel.domain.workload import DiurnalArrivals, RateStage, StagedArrivals
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


def windows_of(arrivals: DiurnalArrivals | StagedArrivals, num_windows: int) -> tuple[Window, ...]:
    """Cut one period into equal windows, and these where a stage begins, each with the mean rate over it.

    Means are integrals of rate (1 + a sin(2 pi t / T)), or of the straight lines of stages, so that the
    windows hold all queries of the period.

    Examples
    --------
    >>> day = windows_of(DiurnalArrivals(rate_qps=100.0, amplitude=0.5), 4)
    >>> [round(window.rate_qps, 2) for window in day]
    [131.83, 131.83, 68.17, 68.17]
    >>> spike = [RateStage(duration_s=70.0, rate_qps=10.0), RateStage(duration_s=30.0, rate_qps=50.0)]
    >>> [(w.end_s, w.rate_qps) for w in windows_of(StagedArrivals(stages=spike), 2)]
    [(50.0, 10.0), (70.0, 10.0), (100.0, 50.0)]
    """
    if num_windows < 1:
        raise InputError(f"windows: expected at least 1, got {num_windows}")
    edges = [index / num_windows for index in range(num_windows + 1)]
    if isinstance(arrivals, StagedArrivals):
        return _staged_windows(arrivals, [edge * arrivals.period_s for edge in edges])
    swing = arrivals.amplitude * num_windows / tau
    return tuple(
        Window(
            start_s=begin * arrivals.period_s,
            end_s=end * arrivals.period_s,
            rate_qps=arrivals.rate_qps * (1.0 + swing * (cos(tau * begin) - cos(tau * end))),
        )
        for begin, end in pairwise(edges)
    )


def _staged_windows(arrivals: StagedArrivals, grid_s: list[float]) -> tuple[Window, ...]:
    """Cut each stage at the times of a grid; a straight line's mean is the rate in its middle."""
    scale = 1.0 if arrivals.rate_qps is None else arrivals.rate_qps / arrivals.written_qps
    windows, begin_s = [], 0.0
    for stage in arrivals.stages:
        end_s = begin_s + stage.duration_s
        inside = [time_s for time_s in grid_s if begin_s < time_s < end_s]
        for start_s, stop_s in pairwise([begin_s, *inside, end_s]):
            middle_qps = _rate_in(stage, 0.5 * (start_s + stop_s) - begin_s)
            windows.append(Window(start_s=start_s, end_s=stop_s, rate_qps=scale * middle_qps))
        begin_s = end_s
    return tuple(windows)


def _rate_in(stage: RateStage, since_s: float) -> float:
    return stage.rate_qps + (stage.end_qps - stage.rate_qps) * since_s / stage.duration_s
