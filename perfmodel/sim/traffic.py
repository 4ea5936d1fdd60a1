"""Traffic that can be drawn: the arrival process and the law of the sizes, together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.workload import Arrivals, ClosedArrivals
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.arrivals import Periodic, draw_arrivals_s, mean_rate_qps
from perfmodel.sim.outside import OutsideLaw, draw_outside_s
from perfmodel.sim.query_sizes import SizePmf, draw_num_items, pmf_of_list
from perfmodel.sim.scatter import NO_LUCK, Luck
from perfmodel.sim.users import Users, draw_users
from perfmodel.threads import both

WINDOW_S = 300.0
"""Five minutes: in the worst ones of its period traffic has to meet the SLA. [s]"""


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """What arrives in one run, in order of arrival.

    Attributes
    ----------
    arrival_s : (num_queries,) float
        Scheduled arrivals, ascending; they never wait for the system. [s]
    num_items : (num_queries,) int
        Sizes, each at least 1. [items]
    luck : Luck
        What else happens to them by chance while they are served.
    outside_s : (num_queries,) float, or None
        Time that each spends outside the node, beside its latency there; None: none does. [s]
    users : Users or None
        Who asks them as answers come; `arrival_s` plays no part then. None: they arrive by themselves.
    """

    arrival_s: FloatArray
    num_items: IntArray
    luck: Luck = NO_LUCK
    outside_s: FloatArray | None = None
    users: Users | None = None

    def __post_init__(self) -> None:
        arrival_s, num_items = frozen_floats(self.arrival_s), frozen_ints(self.num_items)
        if arrival_s.ndim != 1 or arrival_s.shape != num_items.shape:
            raise InputError(
                f"queries: expected one size for each arrival, got {num_items.shape} for {arrival_s.shape}"
            )
        if len(arrival_s):
            if not (arrival_s[0] >= 0 and np.isfinite(arrival_s[-1])):
                raise InputError("queries: expected finite arrival times from 0 on")
            if not np.all(arrival_s[1:] >= arrival_s[:-1]):
                raise InputError("queries: expected ascending arrival times")
            if num_items.min() < 1:
                raise InputError("queries: expected at least 1 item in every query")
        object.__setattr__(self, "arrival_s", arrival_s)
        object.__setattr__(self, "num_items", num_items)

    def __len__(self) -> int:
        return len(self.arrival_s)

    def first(self, num_queries: int) -> Queries:
        """Return the first queries."""
        if num_queries >= len(self):
            return self
        outside_s = None if self.outside_s is None else self.outside_s[:num_queries]
        users = None if self.users is None else self.users.first(num_queries)
        return Queries(
            self.arrival_s[:num_queries], self.num_items[:num_queries], self.luck, outside_s, users
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrafficSource:
    """An arrival process with a law of sizes, ready to draw from.

    Attributes
    ----------
    arrivals : Arrivals
        The process and its rate.
    sizes : SizePmf or None
        The law of the sizes; None takes them from the trace, query by query.
    trace_s, trace_num_items : (num_recorded,) arrays or None
        The recorded arrival times and sizes of a trace. [s], [items]
    outside : OutsideLaw or None
        Time that a query spends outside the node; None: none does.
    """

    arrivals: Arrivals
    sizes: SizePmf | None = None
    trace_s: FloatArray | None = None
    trace_num_items: IntArray | None = None
    outside: OutsideLaw | None = None

    def __post_init__(self) -> None:
        if self.sizes is None and self.trace_num_items is None:
            raise InputError("traffic.query_sizes: expected a distribution, or a trace that records sizes")

    @property
    def rate_qps(self) -> float:
        """Mean arrival rate. [queries/s]"""
        return mean_rate_qps(self.arrivals, self.trace_s)

    @property
    def num_recorded(self) -> int | None:
        """How many queries a trace holds; None for a process that never ends."""
        return None if self.trace_s is None else len(self.trace_s)

    @property
    def size_pmf(self) -> SizePmf:
        """The law of the sizes; of recorded sizes, their frequencies."""
        if self.sizes is not None:
            return self.sizes
        assert self.trace_num_items is not None
        return pmf_of_list(self.trace_num_items)

    def at_rate(self, rate_qps: float) -> TrafficSource:
        """Return the same traffic at another mean rate, from the same random numbers.

        Raises
        ------
        ValueErrorAt
            Of closed users, who have no rate.
        """
        if self.is_closed:
            raise ValueErrorAt(
                "closed users have no rate to ask this at: predict, capacity, explain and sweep take them; "
                "expected an open process, such as poisson",
                ("traffic", "arrivals", "process"),
            )
        return replace(self, arrivals=self.arrivals.model_copy(update={"rate_qps": rate_qps}))

    @property
    def is_closed(self) -> bool:
        """Whether queries come from a number of users who wait for answers."""
        return isinstance(self.arrivals, ClosedArrivals)

    def draw(self, num_queries: int, *, seed: int, replication: int = 0) -> Queries:
        """Draw the first `num_queries` queries; a longer draw begins with the same ones."""

        def arrival_s() -> FloatArray:
            return draw_arrivals_s(
                self.arrivals, num_queries, seed=seed, replication=replication, trace_s=self.trace_s
            )

        luck = Luck(seed, replication)
        outside_s = None
        if self.outside is not None:
            outside_s = draw_outside_s(self.outside, num_queries, seed=seed, replication=replication)
        if self.sizes is None:
            assert self.trace_num_items is not None
            return Queries(arrival_s(), self.trace_num_items[:num_queries], luck, outside_s)
        sizes = self.sizes
        if isinstance(self.arrivals, ClosedArrivals):
            num_items = draw_num_items(sizes, num_queries, seed=seed, replication=replication)
            users = draw_users(self.arrivals, num_queries, seed=seed, replication=replication)
            return Queries(np.zeros(num_queries), num_items, luck, outside_s, users)
        return Queries(
            *both(
                arrival_s,
                lambda: draw_num_items(sizes, num_queries, seed=seed, replication=replication),
            ),
            luck,
            outside_s,
        )


def has_days(traffic: TrafficSource) -> bool:
    """Say whether the traffic has a worst five minutes: its rate follows a period that is longer."""
    return isinstance(traffic.arrivals, Periodic) and traffic.arrivals.period_s > WINDOW_S
