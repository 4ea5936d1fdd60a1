"""Closed users: each thinks for a while, asks, waits for the answer, and thinks again.

Arrivals follow from answers: never are more queries under way than there are users, so that nothing is
overloaded, and waiting slows down who waits. Open arrivals are what a service with very many users sees;
closed ones are a load test with so many clients, or services that call each other.

By Little's law of a user's whole round, throughput = users / (mean thinking time + mean latency). Where
service times are exponential and each query takes one core, it is the machine repairman, M/M/k//N [1]_.

References
----------
.. [1] L. Kleinrock, "Queueing Systems", volume 1, Wiley, 1975, section 3.8 (M/M/m//M: finite population).
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.domain.workload import ClosedArrivals
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.streams import stream


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Users:
    """Who asks in one run.

    Attributes
    ----------
    first_s : (users,) float
        When each asks first: all begin by thinking. [s]
    think_s : (num_queries,) float
        How long whoever asked a query thinks after its answer, in order of arrival. [s]
    """

    first_s: FloatArray
    think_s: FloatArray

    def first(self, num_queries: int) -> Users:
        """The same users while they ask fewer queries."""
        return Users(first_s=self.first_s, think_s=self.think_s[:num_queries])


def draw_users(arrivals: ClosedArrivals, num_queries: int, *, seed: int, replication: int = 0) -> Users:
    """Draw exponential thinking times; more users, or queries, begin with the same ones."""
    first = stream(seed, "first thoughts", replication).standard_exponential(arrivals.users)
    later = stream(seed, "thoughts", replication).standard_exponential(num_queries)
    return Users(first_s=first * arrivals.think_s, think_s=later * arrivals.think_s)
