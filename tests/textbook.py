"""Queues of the textbooks as inputs of the simulation, to hold it against their closed forms.

The simulation knows service times by request size only, so random services come from random sizes: an
exponential service is a geometric number of items, a thousand to the mean service time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource

ITEMS_PER_MEAN = 1000
# exp(-25) = 1e-11 of the services would be longer.
LONGEST_MEANS = 25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextbookQueue:
    """Poisson arrivals, one request a query, c executors without contention."""

    traffic: TrafficSource
    service: ServiceTimes
    policy: SplitAndOffload


def exponential_queue(utilisation: float, executors: int) -> TextbookQueue:
    """M/M/c. A size of s items takes (s - 1/2) / 1000 s, the middle of its share of the exponential.

    Examples
    --------
    >>> queue = exponential_queue(0.5, 4)
    >>> round(queue.traffic.rate_qps, 4)
    2.0
    """
    num_items = np.arange(1, LONGEST_MEANS * ITEMS_PER_MEAN + 1)
    tail = np.exp(-(num_items - 1.0) / ITEMS_PER_MEAN)
    law = SizePmf(num_items, tail / tail.sum())
    return general_queue(utilisation, executors, law, (num_items - 0.5) / ITEMS_PER_MEAN)


def deterministic_queue(utilisation: float, executors: int) -> TextbookQueue:
    """M/D/c."""
    return general_queue(utilisation, executors, SizePmf(np.array([1]), np.array([1.0])), np.ones(1))


def general_queue(
    utilisation: float, executors: int, law: SizePmf, service_by_items_s: FloatArray
) -> TextbookQueue:
    """M/G/c: a query of s items takes `service_by_items_s[s - 1]`."""
    mean_s = law.expect(lambda num_items: service_by_items_s[num_items - 1])
    return TextbookQueue(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=utilisation * executors / mean_s), sizes=law),
        service=ServiceTimes(cpu_s=np.repeat(service_by_items_s[:, None], executors, axis=1)),
        policy=SplitAndOffload(batch_size=len(service_by_items_s)),
    )
