"""Traffic whose mean is no matter of luck: over a whole run, what arrives is what its law says arrives.

How much a node carries depends first of all on how much work arrives. Of a million queries drawn one by one,
the mean size may lie half a per cent off, and with it every rate that is found on them. Here, once the
warm-up is over, every size occurs as often as its law has it, in random order, and all arrivals together take
the time that they take on average; both are known exactly. Within the run queries remain random: sizes evened
out in sequence would smooth the work, and shorten the queue.

The price: a longer run does not begin with the shorter one.
"""

from __future__ import annotations

import numpy as np

from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.arrivals import draw_arrivals_s
from perfmodel.sim.outside import draw_outside_s
from perfmodel.sim.query_sizes import SizePmf, draw_num_items
from perfmodel.sim.scatter import Luck
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.threads import both


def draw_balanced(
    traffic: TrafficSource, num_queries: int, warm_up: int, *, seed: int, replication: int = 0
) -> Queries:
    """Draw queries that are, from the end of the warm-up on, as many of each size as the law has.

    The time that the queries after the warm-up take to arrive is that of their mean rate, of Poisson traffic:
    given its ends, arrivals lie between them as uniformly as those of any Poisson process do. Other processes
    keep their own times, and a trace its sizes too.

    Parameters
    ----------
    traffic : TrafficSource
        What arrives, at its own rate.
    num_queries, warm_up : int
        Queries, and those of them at the start that are drawn one by one, as ever.
    seed, replication : int
        Choose the random streams: those of `TrafficSource.draw`, and "order of sizes".

    Examples
    --------
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=2.0), sizes=pmf_of_list([1, 2, 2]))
    >>> queries = draw_balanced(traffic, 3010, 10, seed=1)
    >>> np.bincount(queries.num_items[10:]).tolist()
    [0, 1000, 2000]
    >>> round(float(queries.arrival_s[-1] - queries.arrival_s[9]), 6)
    1500.0
    """
    if traffic.sizes is None:
        return traffic.draw(num_queries, seed=seed, replication=replication)
    law = traffic.sizes
    shuffled, arrival_s = both(
        lambda: _shuffled(law, num_queries - warm_up, stream(seed, "order of sizes", replication)),
        lambda: draw_arrivals_s(
            traffic.arrivals, num_queries, seed=seed, replication=replication, trace_s=traffic.trace_s
        ),
    )
    first = draw_num_items(law, warm_up, seed=seed, replication=replication)
    num_items = np.concatenate([first, shuffled])
    if isinstance(traffic.arrivals, PoissonArrivals):
        arrival_s = _evened(arrival_s, warm_up, traffic.arrivals.rate_qps)
    outside_s = draw_outside_s(traffic.outside, num_queries, seed=seed, replication=replication)
    return Queries(arrival_s, num_items, Luck(seed, replication), outside_s)


def _evened(arrival_s: FloatArray, warm_up: int, rate_qps: float) -> FloatArray:
    """Stretch the times after the warm-up so that they span what they do on average. [s]"""
    start_s = float(arrival_s[warm_up - 1]) if warm_up else 0.0
    spanned_s = float(arrival_s[-1]) - start_s
    stretched_s = arrival_s.copy()
    stretched_s[warm_up:] = start_s + (arrival_s[warm_up:] - start_s) * (
        (len(arrival_s) - warm_up) / rate_qps / spanned_s
    )
    return stretched_s


def _shuffled(law: SizePmf, num_queries: int, rng: np.random.Generator) -> IntArray:
    """Return each size as often as is expected, rounded at random without bias, in random order."""
    # Systematic sampling: the counts of all sizes up to any one are within one of what is expected.
    ends = np.floor(np.cumsum(law.probabilities) * num_queries + rng.random())
    ends[-1] = num_queries
    counts = np.diff(np.minimum(ends, num_queries), prepend=0.0).astype(np.int64)
    num_items = np.repeat(law.values, counts)
    rng.shuffle(num_items)
    return num_items
