"""Which nodes the router looks at for each query.

Every routing is one rule: of the nodes that it looks at, the one with the fewest requests, queued or
running; of equal ones the first that it looked at. What differs is whom it looks at.
"""

from __future__ import annotations

import numpy as np

from perfmodel.domain.fleet import Routing
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.streams import stream


def draw_candidates(
    routing: Routing,
    num_queries: int,
    num_nodes: int,
    *,
    seed: int,
    replication: int = 0,
    weights: FloatArray | None = None,
) -> IntArray | None:
    """Return the nodes that the router looks at, query by query, in order.

    Parameters
    ----------
    routing : Routing
        The rule.
    num_queries, num_nodes : int
        Queries in order of arrival, and nodes to choose from.
    seed, replication : int
        Choose the random stream "routing"; the first rows of a longer draw are the same.
    weights : (num_nodes,) float, optional
        Relative shares of the queries under random routing, equal by default. The others ignore them.

    Returns
    -------
    (num_queries, 1 or 2) int, or None
        None: all nodes, in index order.

    Examples
    --------
    >>> draw_candidates(Routing.ROUND_ROBIN, 5, 3, seed=1)[:, 0]
    array([0, 1, 2, 0, 1])
    """
    if num_nodes < 1:
        raise InputError(f"nodes: expected at least 1, got {num_nodes}")
    match routing:
        case Routing.JOIN_SHORTEST_QUEUE:
            return None
        case Routing.ROUND_ROBIN:
            nodes: IntArray = np.arange(num_queries) % num_nodes
            return nodes[:, None]
        case Routing.RANDOM:
            uniform = stream(seed, "routing", replication).random((num_queries, 1))
            if weights is None:
                return (uniform * num_nodes).astype(np.int64)
            cdf = np.cumsum(weights)
            drawn: IntArray = np.searchsorted(cdf / cdf[-1], uniform, side="right")
            return np.minimum(drawn, num_nodes - 1)
        case Routing.POWER_OF_TWO:
            uniform = stream(seed, "routing", replication).random((num_queries, 2))
            return _distinct_pairs(uniform, num_nodes)


def _distinct_pairs(uniform: FloatArray, num_nodes: int) -> IntArray:
    """Two different nodes a row; a fleet of one node has one to look at."""
    if num_nodes == 1:
        return np.zeros((len(uniform), 1), dtype=np.int64)
    pairs = (uniform * [num_nodes, num_nodes - 1]).astype(np.int64)
    pairs[:, 1] += pairs[:, 1] >= pairs[:, 0]
    return pairs
