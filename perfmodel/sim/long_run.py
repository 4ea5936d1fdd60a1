"""Runs of tens of millions of queries: drawn and served in chunks, of which only the latencies are kept.

What a query leaves behind is 8 bytes, and a run that has to go on does so from where it stopped. The next
chunk is drawn while the last one is served.
"""

from __future__ import annotations

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.arrivals import arrival_clock
from perfmodel.sim.compiled_engine import (
    MAX_VECTOR_EXECUTORS,
    fifo_pools,
    idle_state_s,
    serve_sorted,
)
from perfmodel.sim.compiled_scatter import draw_of
from perfmodel.sim.controls import Carried, load_controls
from perfmodel.sim.outside import draw_outside_s
from perfmodel.sim.policies import Policy, SplitAndOffload, is_fifo
from perfmodel.sim.query_sizes import CHUNK, size_sampler
from perfmodel.sim.running_clock import RunningClock
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import BLOCK_QUERIES, NUM_BATCHES
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import TrafficSource
from perfmodel.threads import ahead

Chunk = tuple[FloatArray, IntArray]


def can_be_long(traffic: TrafficSource, service: ServiceTimes, policy: Policy) -> bool:
    """Say whether `LongRun` knows the traffic, and the compiled recursion the policy."""
    known = (
        traffic.sizes is not None
        and not traffic.is_closed
        and arrival_clock(traffic.arrivals, seed=0) is not None
    )
    few = max(service.num_executors, service.num_streams) <= MAX_VECTOR_EXECUTORS
    return known and few and is_fifo(service, policy) and not service.core_pauses


class LongRun:
    """The run that `simulate` makes of `traffic.draw`, continued as far as asked for.

    Parameters
    ----------
    traffic, service, policy
        What `can_be_long` accepts.
    seed, replication : int
        Of the random streams.
    most : int
        Queries at most.
    """

    def __init__(
        self,
        traffic: TrafficSource,
        service: ServiceTimes,
        policy: Policy,
        *,
        seed: int,
        replication: int,
        most: int,
    ) -> None:
        assert isinstance(policy, SplitAndOffload)
        assert traffic.sizes is not None
        clock = arrival_clock(traffic.arrivals, seed=seed, replication=replication)
        assert clock is not None
        self._clock = clock
        self._last_s = 0.0
        self._gaps = stream(seed, "arrivals", replication)
        self._sizes = size_sampler(traffic.sizes, seed=seed, replication=replication)
        self._last_point = 0.0
        luck = Luck(seed, replication)
        self._pauses = RunningClock.of(service.node_pauses, luck) if service.node_pauses else None
        self._draw_of_scatter = draw_of(luck, service.cpu_scatter, service.accelerator_scatter)
        self._pools = [(share, idle_state_s(share)) for share in fifo_pools(service, policy)]
        self._latency_s = np.empty(-(-most // CHUNK) * CHUNK)  # memory is taken as it is written
        self._served = 0
        self._controls = load_controls(traffic, service, policy)
        self._carried = Carried(0.0, np.zeros(0 if self._controls is None else len(self._controls.pools)))
        self._sums_s: list[FloatArray] = []
        self._outside = traffic.outside
        self._seed, self._replication = seed, replication

    def outside_s(self, num_queries: int) -> FloatArray | None:
        """Return what the first queries spend outside the node; None: none does. [s]"""
        return draw_outside_s(self._outside, num_queries, seed=self._seed, replication=self._replication)

    def node_latency_s(self, num_queries: int) -> FloatArray:
        """Return the latencies of the first queries, serving those that are still missing. [s]"""
        chunks = max(0, -(-(num_queries - self._served) // CHUNK))
        if chunks:
            for queries in ahead(self._draw, chunks):
                self._serve(*queries)
        return self._latency_s[:num_queries]

    def controls(self, batches: slice) -> FloatArray | None:
        """Return the controls of a `batch_span` of the queries served so far; see `LoadControls`. [s]"""
        if self._controls is None:
            return None
        length = (batches.stop - batches.start) // NUM_BATCHES
        bounds = np.arange(-1, NUM_BATCHES + 1) * length + batches.start
        blocks_s = np.concatenate(self._sums_s, axis=2)
        totals_s = np.pad(np.cumsum(blocks_s, axis=2), ((0, 0), (0, 0), (1, 0)))
        at_bounds_s = totals_s[:, :, np.maximum(bounds, 0) // BLOCK_QUERIES]
        return self._controls.of_sums(np.diff(at_bounds_s, axis=2), length)

    def _draw(self) -> Chunk:
        """Draw the next chunk; sums go on from the last, so that they round as those of one long array."""
        points = self._gaps.standard_exponential(CHUNK)
        points[0] += self._last_point
        np.cumsum(points, out=points)
        self._last_point = points[-1]
        arrival_s = np.maximum(self._clock(points), self._last_s)
        self._last_s = float(arrival_s[-1])
        num_items = np.empty(CHUNK, dtype=np.int64)
        self._sizes(num_items)
        return frozen_floats(arrival_s), frozen_ints(num_items)

    def _serve(self, arrival_s: FloatArray, num_items: IntArray) -> None:
        """Serve a chunk: finish times first, latencies in their place."""
        latency_s = self._latency_s[self._served : self._served + CHUNK]
        draw = self._draw_of_scatter._replace(first=self._served)
        running_s = arrival_s if self._pauses is None else self._pauses.running_s(arrival_s)
        for share, state_s in self._pools:
            serve_sorted(running_s, num_items, share, draw, state_s, latency_s)
        if self._pauses is not None:
            latency_s[:] = self._pauses.wall_s(latency_s)
        latency_s -= arrival_s
        self._served += CHUNK
        if self._controls is not None:
            sums_s, self._carried = self._controls.sums_by_block_s(
                arrival_s, num_items, BLOCK_QUERIES, self._carried
            )
            self._sums_s.append(sums_s)
