"""The part of a fleet's arrivals that one node gets where the router does not look at the nodes.

Random routing keeps each arrival with a fixed probability p; round-robin every N-th. What comes of it has a
law of its own, so that one node of each kind stands for all of them:

- a Poisson process, whatever its rate follows (bursts, a period), is one of p times the rate: thinning ([1]_,
  section 5.1, for the rate as it happens to be); every N-th arrival comes after a sum of N unit
  exponentials of the integrated rate;
- of equal gaps a geometric number, or N, follow each other;
- of gaps of Poisson-distributed whole milliseconds likewise: their sum is Poisson-distributed again.

The bursts of all nodes are the same ones; what each node sees of them is what one node alone would.

References
----------
.. [1] J. F. C. Kingman, "Poisson Processes", Oxford University Press, 1993.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perfmodel.domain.fleet import Routing
from perfmodel.domain.workload import (
    Arrivals,
    BurstyArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    IntegerMillisecondArrivals,
    PoissonArrivals,
    StagedArrivals,
)
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.arrivals import BurstClock, draw_arrivals_s, mean_rate_qps, periodic_s
from perfmodel.sim.streams import stream
from perfmodel.units import MS


def is_split_by_law(arrivals: Arrivals, routing: Routing) -> bool:
    """Say whether one node of each kind stands for all: no queue is looked at, and nothing was recorded."""
    return not routing.looks_at_queues and arrivals.process != "trace"


def node_arrivals_s(
    arrivals: Arrivals,
    num_queries: int,
    *,
    routing: Routing,
    share: float,
    num_nodes: int,
    seed: int,
    replication: int,
) -> FloatArray:
    """Draw the first arrivals at one node, ascending. [s]

    Parameters
    ----------
    arrivals : Arrivals
        The process at the router; none that was recorded.
    num_queries : int
        How many.
    routing : Routing
        Random or round-robin.
    share : float
        Probability that a query goes to this node, under random routing. [1]
    num_nodes : int
        Of the fleet, for round-robin.
    seed, replication : int
        Choose the random streams "arrivals" and "burst states".

    Examples
    --------
    >>> every_third = dict(routing=Routing.ROUND_ROBIN, share=1 / 3, num_nodes=3, seed=1, replication=0)
    >>> node_arrivals_s(ConstantArrivals(rate_qps=10.0), 3, **every_third)
    array([0.3, 0.6, 0.9])
    """
    rng = stream(seed, "arrivals", replication)
    at_random = routing is Routing.RANDOM
    rate_qps = mean_rate_qps(arrivals)
    match arrivals:
        case PoissonArrivals():
            return _poisson_s(num_queries, rng, rate_qps, share=share if at_random else None, every=num_nodes)
        case ConstantArrivals():
            return _summed(_gaps(num_queries, rng, share if at_random else None, num_nodes) / rate_qps)
        case IntegerMillisecondArrivals():
            gaps = _gaps(num_queries, rng, share if at_random else None, num_nodes)
            return _summed(rng.poisson(gaps / (rate_qps * MS)).astype(np.float64)) * MS
        case BurstyArrivals() | DiurnalArrivals() | StagedArrivals():
            if at_random:
                own = arrivals.model_copy(update={"rate_qps": rate_qps * share})
                return draw_arrivals_s(own, num_queries, seed=seed, replication=replication)
            unit_points = np.cumsum(rng.standard_gamma(num_nodes, num_queries))
            return _clock(arrivals, seed, replication)(unit_points)
        case _:
            raise AssertionError("recorded arrivals are routed one by one")


def _summed(gaps: FloatArray) -> FloatArray:
    return np.cumsum(gaps, out=gaps)


def _poisson_s(
    num_queries: int, rng: np.random.Generator, rate_qps: float, *, share: float | None, every: int
) -> FloatArray:
    if share is None:
        gaps_s = rng.standard_gamma(every, num_queries) / rate_qps
    else:
        gaps_s = rng.standard_exponential(num_queries)
        gaps_s *= 1.0 / (share * rate_qps)
    return np.cumsum(gaps_s, out=gaps_s)


def _gaps(num_queries: int, rng: np.random.Generator, share: float | None, every: int) -> FloatArray:
    """How many gaps at the router lie between successive arrivals at the node."""
    if share is None:
        return np.full(num_queries, float(every))
    return rng.geometric(min(1.0, share), num_queries).astype(np.float64)


def _clock(
    arrivals: BurstyArrivals | DiurnalArrivals | StagedArrivals, seed: int, replication: int
) -> Callable[[FloatArray], FloatArray]:
    if isinstance(arrivals, BurstyArrivals):
        return BurstClock(arrivals, stream(seed, "burst states", replication)).times_s
    return lambda unit_points: periodic_s(arrivals, unit_points)
