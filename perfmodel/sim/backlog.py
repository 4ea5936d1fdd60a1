"""Whether a backlog grew for as long as the run lasted: the sign of an overload.

Utilisation computed beforehand is not enough: contention settles the service times while the run lasts.
At exactly the critical load the backlog is a random walk and grows like sqrt(t), and so does a straight
line fitted to it, with a slope that looks significant. Here growth has to beat what the random walk with
the run's own steps would have done.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from perfmodel.sim.arrays import BoolArray, FloatArray
from perfmodel.sim.policies import Pool
from perfmodel.sim.records import RunRecord
from perfmodel.sim.statistics import MIN_QUERIES, batch_means

# Few enough for the growth from one to the next to show, many enough to tell it from a random walk.
NUM_BATCHES = 20
# Under overload executors idle only at the start, before a queue has formed.
SATURATED_FROM = 0.97
# Of a driftless walk, one in some thousand is this many standard deviations up.
DRIFT_DEVIATIONS = 5.0
# Growth that matters: from the first batch of queries to the last.
GROWTH_FACTOR = 1.5


def overloaded_pool(record: RunRecord) -> Pool | None:
    """Return the pool whose backlog grew throughout the run, or None where neither did.

    Waiting is backlog in a FIFO queue, so the latencies of 20 batches of queries tell it. A pool is
    overloaded where its executors were busy all the time, latency grew by half at least, and the growth
    is more than 5 sqrt(19) times the standard deviation of the 19 steps from batch to batch. Of a pipeline,
    in any of its stages.
    """
    if record.stages:
        return next((pool for pool in map(overloaded_pool, record.stages) if pool is not None), None)
    for pool, queries, utilisation in record.shares:
        if utilisation >= SATURATED_FROM and grew(record.node_latency_s, queries):
            return pool
    return None


def grew(latency_s: FloatArray, served: BoolArray) -> bool:
    """Whether the latencies of some of the queries grew throughout, more than a random walk does. [s]"""
    pool_s = latency_s[served]
    if len(pool_s) < MIN_QUERIES:
        return False
    batches_s = batch_means(pool_s, NUM_BATCHES)
    steps_s = np.diff(batches_s)
    growth_s = float(batches_s[-1] - batches_s[0])
    walk_s = float(steps_s.std(ddof=1)) * sqrt(NUM_BATCHES - 1)
    return growth_s > (GROWTH_FACTOR - 1.0) * float(batches_s[0]) and growth_s > DRIFT_DEVIATIONS * walk_s
