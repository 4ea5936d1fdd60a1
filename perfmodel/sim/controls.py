"""What a stretch of a run asked of the node beyond the mean, which is known exactly: control variates.

Latencies are long where larger queries, or more of them, arrived than on average. How much larger and how
many more is known, since the law of the sizes and the arrival rate are: `controlled_mean` takes off what
that alone explains. Each query adds its work to the backlog of a pool, and the time up to it lets the pool
take the same amount off again; what matters is the difference, in this batch of queries and the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from perfmodel.domain.workload import DiurnalArrivals, TraceArrivals
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.policies import Policy
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import pool_time_by_size_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadControls:
    """How far queries ask for more than the mean of each pool.

    Attributes
    ----------
    excess_s : (pools, max_items + 1) float
        Time of the whole pool that a query of so many items takes, less its mean over the law. [s]
    mean_gap_s : float or None
        Mean time between arrivals; None where it is not the same all the time, or recorded. [s]
    """

    excess_s: FloatArray
    mean_gap_s: float | None

    def by_batch(self, queries: Queries, first: int, num_batches: int) -> FloatArray:
        """Return the controls of each of the batches that `batch_means` forms from query `first` on.

        Returns
        -------
        (num_batches, 2 pools) float
            Of each pool what the mean query of the batch, and of the batch before, asked for beyond the
            mean; the batch before the first is as much of it as there was, since before that the node was
            idle. Of expectation 0. [s]
        """
        length = (len(queries) - first) // num_batches
        begin = len(queries) - length * num_batches
        ends = begin + length * np.arange(num_batches + 1)
        before = max(0, begin - length)
        bounds = np.concatenate([[before], ends])
        return self.of_sums(self._sums_s(queries, bounds), length)

    def of_sums(self, sums_s: FloatArray, length: int) -> FloatArray:
        """Return the controls, given the sums over the batch before the first, and over every batch.

        Parameters
        ----------
        sums_s : (pools, num_batches + 1) float
            See `excess_sums_s`.
        length : int
            Queries of a batch.
        """
        means_s = sums_s / length
        return np.ascontiguousarray(np.concatenate([means_s[:, 1:], means_s[:, :-1]]).T)

    def excess_sums_s(self, arrival_s: FloatArray, num_items: IntArray, last_arrival_s: float) -> FloatArray:
        """What queries ask for beyond the mean, summed, by pool. [s]

        Parameters
        ----------
        arrival_s, num_items : (n,) arrays
            The queries.
        last_arrival_s : float
            Arrival of the query before them; 0 of the first. [s]
        """
        sums_s: FloatArray = np.array([pool_s[num_items].sum() for pool_s in self.excess_s])
        if self.mean_gap_s is not None and len(arrival_s):
            sums_s -= arrival_s[-1] - last_arrival_s - self.mean_gap_s * len(arrival_s)
        return sums_s

    def _sums_s(self, queries: Queries, bounds: IntArray) -> FloatArray:
        """Sums between successive bounds. [s]"""

        def sums_s() -> Iterable[FloatArray]:
            for start, end in pairwise(bounds.tolist()):
                last_s = float(queries.arrival_s[start - 1]) if start else 0.0
                yield self.excess_sums_s(queries.arrival_s[start:end], queries.num_items[start:end], last_s)

        return np.array(list(sums_s())).T


def load_controls(traffic: TrafficSource, service: ServiceTimes, policy: Policy) -> LoadControls | None:
    """Return what the load can be held against; None where nothing of it is known beforehand.

    Examples
    --------
    Queries of 1 or 3 items, a second an item on two cores: 0.5 or 1.5 s of both, of which the mean is 1 s.

    >>> from perfmodel.domain.workload import PoissonArrivals
    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=0.5), sizes=pmf_of_list([1, 3]))
    >>> service = ServiceTimes(cpu_s=np.ones((1, 2)))
    >>> controls = load_controls(traffic, service, SplitAndOffload(batch_size=1))
    >>> controls.excess_s[0, [1, 3]].tolist(), controls.mean_gap_s
    ([-0.5, 0.5], 2.0)
    """
    if traffic.sizes is None:
        return None
    law = traffic.sizes
    steady = not isinstance(traffic.arrivals, DiurnalArrivals | TraceArrivals)
    rows = []
    for pool_s in pool_time_by_size_s(law, service, policy, contended=True):
        excess_s = np.zeros(law.max_items + 1)
        excess_s[law.values] = pool_s - law.probabilities @ pool_s
        if pool_s.any():
            rows.append(excess_s)
    return LoadControls(excess_s=np.array(rows), mean_gap_s=1.0 / traffic.rate_qps if steady else None)
