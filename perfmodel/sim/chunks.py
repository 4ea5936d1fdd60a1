"""Runs in chunks: the next queries drawn and served from where the last ones stopped.

What is added up goes on from the last chunk, so that it rounds as in one long array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.compiled_engine import MAX_VECTOR_EXECUTORS, fifo_pools, idle_state_s, serve_sorted
from perfmodel.sim.compiled_scatter import draw_of
from perfmodel.sim.policies import Policy, SplitAndOffload, is_fifo
from perfmodel.sim.query_sizes import CHUNK, SizePmf, size_sampler
from perfmodel.sim.running_clock import RunningClock
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.streams import stream
from perfmodel.sim.utilisation import PoolLoads

Chunk = tuple[FloatArray, IntArray]
"""When queries arrive, and their sizes. [s], [items]"""


def serves_chunks(service: ServiceTimes, policy: Policy) -> bool:
    """Say whether `ChunkServer` knows the policy and the node."""
    few = max(service.num_executors, service.num_streams) <= MAX_VECTOR_EXECUTORS
    return few and is_fifo(service, policy) and not service.core_pauses


class ChunkTraffic:
    """What `TrafficSource.draw` draws, `CHUNK` queries at a time.

    Parameters
    ----------
    clock : callable
        When the points of a Poisson process of unit rate fall: ascending, both. [1] -> [s]
    sizes : SizePmf
        Of the queries.
    seed, replication : int
        Of the random streams.
    first_point, first_s : float
        The point to begin at, and its time: later ones are no earlier. [1], [s]
    """

    def __init__(
        self,
        clock: Callable[[FloatArray], FloatArray],
        sizes: SizePmf,
        *,
        seed: int,
        replication: int,
        first_point: float = 0.0,
        first_s: float = 0.0,
    ) -> None:
        self._clock = clock
        self._gaps = stream(seed, "arrivals", replication)
        self._sizes = size_sampler(sizes, seed=seed, replication=replication)
        self._last_point, self._last_s = first_point, first_s

    def draw(self) -> Chunk:
        """Draw the next queries."""
        points = self._gaps.standard_exponential(CHUNK)
        points[0] += self._last_point
        np.cumsum(points, out=points)
        self._last_point = float(points[-1])
        arrival_s = np.maximum(self._clock(points), self._last_s)
        self._last_s = float(arrival_s[-1])
        num_items = np.empty(CHUNK, dtype=np.int64)
        self._sizes(num_items)
        return frozen_floats(arrival_s), frozen_ints(num_items)


class ChunkServer:
    """The compiled recursion on a node that `serves_chunks` accepts, idle at first."""

    def __init__(self, service: ServiceTimes, policy: Policy, luck: Luck) -> None:
        assert isinstance(policy, SplitAndOffload)
        self._pools = [(share, idle_state_s(share)) for share in fifo_pools(service, policy)]
        self._draw = draw_of(luck, service.cpu_scatter, service.accelerator_scatter)
        self._clock = RunningClock.of(service.node_pauses, luck) if service.node_pauses else None
        self._busy_s = np.zeros(len(self._pools))

    def serve(self, arrival_s: FloatArray, num_items: IntArray, latency_s: FloatArray) -> None:
        """Write the latencies of the next queries into an array as long. [s]"""
        running_s = arrival_s if self._clock is None else self._clock.running_s(arrival_s)
        for index, (share, state_s) in enumerate(self._pools):
            self._busy_s[index] += serve_sorted(running_s, num_items, share, self._draw, state_s, latency_s)
        self._draw = self._draw._replace(first=self._draw.first + len(arrival_s))
        if self._clock is not None:
            latency_s[:] = self._clock.wall_s(latency_s)
        latency_s -= arrival_s

    def skip(self, time_s: float, loads: Sequence[float]) -> None:
        """Let time pass in which each pool is offered such a load: what is left to do moves with it.

        Executors that were busy until now are so, after it, for what came in beyond what they could do; at a
        load below 1 they have caught up, or come nearer to it. The node's own clock of pauses stands still.
        """
        for (_, state_s), load in zip(self._pools, (loads[0], loads[-1]), strict=False):
            state_s += load * time_s

    def utilisation(self, time_s: float) -> PoolLoads:
        """Busy time over all time, of the cores and of the accelerators. [1]"""
        shares = [
            float(busy_s) / (share.num_executors * time_s)
            for busy_s, (share, _) in zip(self._busy_s, self._pools, strict=True)
        ]
        return PoolLoads(shares[0], shares[1] if len(shares) > 1 else 0.0)
