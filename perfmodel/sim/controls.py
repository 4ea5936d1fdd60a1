"""What a stretch of a run asked of the node beyond the mean, which is known exactly: control variates.

Latencies are long where larger queries, or more of them, arrived than on average. How much larger and how
many more is known, since the law of the sizes and the arrival rate are: `controlled_mean` takes off what
that alone explains. Each query adds its work to the backlog of a pool, and the time up to it lets the pool
take the same amount off again; what matters is the difference, in this batch of queries and the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.domain.workload import DiurnalArrivals, TraceArrivals
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.policies import Policy, Pool
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
    mean_s : (pools,) float
        That mean. [s]
    pools : tuple of Pool or None
        Which they are; None: all of the node together.
    mean_gap_s : float or None
        Mean time between arrivals; None where it is not the same all the time, or recorded. [s]
    """

    excess_s: FloatArray
    mean_s: FloatArray
    pools: tuple[Pool | None, ...]
    mean_gap_s: float | None

    def expected_over_drawn(self, queries: Queries) -> tuple[float, float]:
        """Mean work of the law over that of these queries, for the cores and the accelerators. [1]

        1 for cores that are set apart for large queries, and the others beside them.
        """
        ratios = dict.fromkeys([None, *Pool], 1.0)
        for pool, mean_s, pool_s in zip(self.pools, self.mean_s, self.excess_s, strict=True):
            ratios[pool] = float(mean_s / (mean_s + pool_s[queries.num_items].mean()))
        cpu = 1.0 if Pool.CPU_LARGE in self.pools else ratios[Pool.CPU]
        return ratios[None] * cpu, ratios[None] * ratios[Pool.ACCELERATOR]

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
        arrival_s, num_items = queries.arrival_s, queries.num_items
        before = slice(max(0, begin - length), begin)
        sums_s = [
            self.excess_by_block_s(
                arrival_s[part],
                num_items[part],
                float(arrival_s[part.start - 1]) if part.start else 0.0,
                block,
            )
            for part, block in ((before, begin - before.start), (slice(begin, len(queries)), length))
            if block
        ]
        none_s = np.zeros((len(self.excess_s), 0 if begin else 1))
        return self.of_sums(np.concatenate([none_s, *sums_s], axis=1), length)

    def of_sums(self, sums_s: FloatArray, length: int) -> FloatArray:
        """Return the controls, given the sums over the batch before the first, and over every batch.

        Parameters
        ----------
        sums_s : (pools, num_batches + 1) float
            See `excess_by_block_s`.
        length : int
            Queries of a batch.
        """
        means_s = sums_s / length
        return np.ascontiguousarray(np.concatenate([means_s[:, 1:], means_s[:, :-1]]).T)

    def excess_by_block_s(
        self, arrival_s: FloatArray, num_items: IntArray, last_arrival_s: float, block: int
    ) -> FloatArray:
        """What queries ask for beyond the mean, summed over whole blocks of them, by pool. [s]

        Parameters
        ----------
        arrival_s, num_items : (blocks * block,) arrays
            The queries.
        last_arrival_s : float
            Arrival of the query before them; 0 of the first. [s]
        block : int
            Queries of a block.

        Returns
        -------
        (pools, blocks) float
        """
        sums_s: FloatArray = np.array(
            [pool_s[num_items].reshape(-1, block).sum(axis=1) for pool_s in self.excess_s]
        )
        if self.mean_gap_s is not None:
            ends_s = np.concatenate([[last_arrival_s], arrival_s[block - 1 :: block]])
            sums_s -= np.diff(ends_s) - block * self.mean_gap_s
        return sums_s


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
    times_s = pool_time_by_size_s(law, service, policy, contended=True)
    pools = tuple(Pool) if len(times_s) > 1 else (None,)
    used = [(pool, pool_s) for pool, pool_s in zip(pools, times_s, strict=True) if pool_s.any()]
    means_s = np.array([law.probabilities @ pool_s for _, pool_s in used])
    excess_s = np.zeros((len(used), law.max_items + 1))
    excess_s[:, law.values] = np.array([pool_s for _, pool_s in used]) - means_s[:, None]
    return LoadControls(
        excess_s=excess_s,
        mean_s=means_s,
        pools=tuple(pool for pool, _ in used),
        mean_gap_s=1.0 / traffic.rate_qps if steady else None,
    )
