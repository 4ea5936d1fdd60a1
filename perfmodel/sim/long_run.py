"""Runs of tens of millions of queries: drawn and served in chunks, of which only the latencies are kept.

What a query leaves behind is 8 bytes, and a run that has to go on does so from where it stopped. The next
chunk is drawn while the last one is served.
"""

from __future__ import annotations

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.arrivals import arrival_clock
from perfmodel.sim.chunks import ChunkServer, ChunkTraffic, serves_chunks
from perfmodel.sim.controls import Carried, load_controls
from perfmodel.sim.outside import draw_outside_s
from perfmodel.sim.policies import Policy
from perfmodel.sim.query_sizes import CHUNK
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import BLOCK_QUERIES, NUM_BATCHES
from perfmodel.sim.traffic import TrafficSource
from perfmodel.threads import ahead


def can_be_long(traffic: TrafficSource, service: ServiceTimes, policy: Policy) -> bool:
    """Say whether `LongRun` knows the traffic, and the compiled recursion the policy."""
    known = (
        traffic.sizes is not None
        and not traffic.is_closed
        and arrival_clock(traffic.arrivals, seed=0) is not None
    )
    return known and serves_chunks(service, policy)


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
        assert traffic.sizes is not None
        clock = arrival_clock(traffic.arrivals, seed=seed, replication=replication)
        assert clock is not None
        self._traffic = ChunkTraffic(clock, traffic.sizes, seed=seed, replication=replication)
        self._server = ChunkServer(service, policy, Luck(seed, replication))
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
            for queries in ahead(self._traffic.draw, chunks):
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

    def _serve(self, arrival_s: FloatArray, num_items: IntArray) -> None:
        self._server.serve(arrival_s, num_items, self._latency_s[self._served : self._served + CHUNK])
        self._served += CHUNK
        if self._controls is not None:
            sums_s, self._carried = self._controls.sums_by_block_s(
                arrival_s, num_items, BLOCK_QUERIES, self._carried
            )
            self._sums_s.append(sums_s)
