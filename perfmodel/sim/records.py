"""What happened in a run: an immutable record, and the rules that every record must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.policies import Pool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RequestLog:
    """Every request, in the order in which they started.

    Attributes
    ----------
    query : (num_requests,) int
        Index of the query that the request belongs to.
    num_items : (num_requests,) int
        Size. [items]
    start_s, finish_s : (num_requests,) float
        When its executor took it, and when it ended. [s]
    executor : (num_requests,) int
        Which executor of its device (the cores, or all accelerators): a launch goes to the accelerator
        with the fewest busy streams, there and among cores to the lowest idle executor.
    num_busy : (num_requests,) int
        Busy executors that slow each other down at the start, this one included: the cores of the node,
        the streams of an accelerator.
    on_accelerator : (num_requests,) bool
        Whether the pool is the accelerator.
    launch : (num_requests,) int
        Index of the launch that the request was part of; several requests may share one.
    """

    query: IntArray
    num_items: IntArray
    start_s: FloatArray
    finish_s: FloatArray
    executor: IntArray
    num_busy: IntArray
    on_accelerator: BoolArray
    launch: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LargeCores:
    """The cores that large queries have to themselves.

    Attributes
    ----------
    serves : (num_queries,) bool
        Which queries went there.
    busy_s : float
        Service times of their launches, summed; part of `cpu_busy_s`. [s]
    num_executors : int
        How many cores; part of the record's.
    """

    serves: BoolArray
    busy_s: float
    num_executors: int


class PoolShare(NamedTuple):
    """Which queries a pool served, as a mask over all, and its utilisation. [1]"""

    pool: Pool
    queries: BoolArray
    utilisation: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunRecord:
    """One run, query by query in order of arrival.

    Attributes
    ----------
    arrival_s, finish_s : (num_queries,) float
        Scheduled arrival, and the end of the last request; a query that was shed never ends: inf. [s]
    num_items : (num_queries,) int
        Sizes. [items]
    offloaded : (num_queries,) bool
        Whether the query ran on the accelerator.
    cpu_busy_s, accelerator_busy_s : float
        Service times of all launches of the pool, summed. [s]
    num_executors, num_accelerators : int
        Executors of the two pools: cores, and streams of all accelerators.
    requests : RequestLog or None
        The requests, where the run was asked to log them.
    shed : (num_queries,) bool, or None
        Which queries were refused, or had a request dropped; None: none could be.
    last_end_s : float or None
        End of the last request of any query, shed ones included; None: the last `finish_s`. [s]
    idle_end_s : float
        Time after the last arrival in which nothing ran, since a launch waited to be full. [s]
    cpu_launches : int or None
        Launches on the cores; None: not counted.
    large : LargeCores or None
        The cores that large queries have to themselves, where the policy sets some apart.
    engine : {"compiled", "simpy"}
        What simulated.
    running_share : float
        Share of the executors' time in which they were not paused. [1]
    outside_s : (num_queries,) float, or None
        What each query spent outside the node, beside its latency there; None: none did. [s]
    stages : tuple of RunRecord
        Of a pipeline, the run of each stage, its queries being parts of these, in the order in which they
        came there; then busy times and executors are those of all stages. Empty where there is one.
    """

    arrival_s: FloatArray
    num_items: IntArray
    finish_s: FloatArray
    offloaded: BoolArray
    cpu_busy_s: float
    accelerator_busy_s: float
    num_executors: int
    num_accelerators: int
    requests: RequestLog | None = None
    shed: BoolArray | None = None
    last_end_s: float | None = None
    idle_end_s: float = 0.0
    cpu_launches: int | None = None
    large: LargeCores | None = None
    engine: Literal["compiled", "simpy"] = "compiled"
    running_share: float = 1.0
    outside_s: FloatArray | None = None
    stages: tuple[RunRecord, ...] = ()

    @property
    def num_queries(self) -> int:
        """Queries that arrived."""
        return len(self.arrival_s)

    @property
    def served(self) -> BoolArray:
        """Which queries were served, all of their items; computed anew at each call."""
        return np.ones(self.num_queries, dtype=np.bool_) if self.shed is None else ~self.shed

    @property
    def num_served(self) -> int:
        """Queries that were served."""
        return self.num_queries if self.shed is None else self.num_queries - int(self.shed.sum())

    @property
    def shed_rate(self) -> float:
        """Fraction of the queries that were shed. [1]"""
        return 1.0 - self.num_served / self.num_queries if self.num_queries else 0.0

    @property
    def latency_s(self) -> FloatArray:
        """On the node and outside of it, inf where shed; computed anew. [s]"""
        node_s = self.node_latency_s
        return node_s if self.outside_s is None else node_s + self.outside_s

    @property
    def node_latency_s(self) -> FloatArray:
        """From the scheduled arrival to the end of the last request, inf where shed; computed anew. [s]"""
        return self.finish_s - self.arrival_s

    @property
    def rounding_s(self) -> float:
        """How far rounding of the time stamps may move a latency. [s]"""
        return rounding_at(self.makespan_s + self.idle_end_s)

    @property
    def makespan_s(self) -> float:
        """From the start of the run to the end of the last request, as if it waited for nobody. [s]

        What a launch waits for queries after the last one says how long the run was asked to be, and
        nothing about what the node serves.
        """
        if self.last_end_s is not None:
            return self.last_end_s - self.idle_end_s
        return float(self.finish_s.max()) if self.num_queries else 0.0

    @property
    def cpu_utilisation(self) -> float:
        """Fraction of the executors' time in which they were busy. [1]"""
        return self.cpu_busy_s / (self.num_executors * self.makespan_s) if self.makespan_s else 0.0

    @property
    def accelerator_utilisation(self) -> float | None:
        """Fraction of the streams' time in which they were busy; None without an accelerator. [1]"""
        if self.num_accelerators == 0:
            return None
        streams_s = self.num_accelerators * self.makespan_s
        return self.accelerator_busy_s / streams_s if streams_s else 0.0

    @property
    def shares(self) -> tuple[PoolShare, ...]:
        """What each pool served, and how busy it was while it was not paused."""
        running_s = self.makespan_s * self.running_share
        streams_s = self.num_accelerators * running_s
        on_streams = self.accelerator_busy_s / streams_s if streams_s else 0.0
        accelerator = PoolShare(Pool.ACCELERATOR, self.offloaded, on_streams)
        cores_s = self.num_executors * running_s
        if self.large is None:
            busy = self.cpu_busy_s / cores_s if cores_s else 0.0
            return PoolShare(Pool.CPU, ~self.offloaded, busy), accelerator
        large_s = self.large.num_executors * running_s
        small_s = cores_s - large_s
        small = ~(self.offloaded | self.large.serves)
        return (
            PoolShare(Pool.CPU, small, (self.cpu_busy_s - self.large.busy_s) / small_s if small_s else 0.0),
            PoolShare(Pool.CPU_LARGE, self.large.serves, self.large.busy_s / large_s if large_s else 0.0),
            accelerator,
        )

    @property
    def throughput_qps(self) -> float:
        """Queries served over the makespan. [queries/s]"""
        return self.num_served / self.makespan_s if self.makespan_s else 0.0

    def goodput_qps(self, within_s: float) -> float:
        """Queries served within a latency over the makespan. [queries/s]"""
        in_time = int((self.latency_s <= within_s + self.rounding_s).sum())
        return in_time / self.makespan_s if self.makespan_s else 0.0


def rounding_at(time_s: float) -> float:
    """How far rounding of two stamps up to a time may move what lies between them. [s]"""
    return 2.0 * float(np.spacing(time_s))


def broken_rules(record: RunRecord) -> list[str]:
    """Return the rules that a record breaks; an empty list for every correct engine and policy.

    Without a request log only the rules about queries can be checked.
    """
    broken = []
    if not np.array_equal(np.isfinite(record.finish_s), record.served):
        broken.append("every query is served")
    if not np.all(record.finish_s > record.arrival_s):
        broken.append("a query ends after it arrives")
    pools_s = (
        record.num_executors * record.makespan_s - record.cpu_busy_s,
        record.num_accelerators * record.makespan_s - record.accelerator_busy_s,
    )
    if min(pools_s) < -1e-9 * record.makespan_s:
        broken.append("an executor serves one request at a time")
    if record.requests is not None:
        broken += _broken_by_requests(record, record.requests)
    return broken


def _broken_by_requests(record: RunRecord, log: RequestLog) -> list[str]:
    """The rules that need the stamps of every request."""
    queries, served = record.num_queries, record.served
    served_items = np.bincount(log.query, weights=log.num_items, minlength=queries)
    last_finish_s = np.full(queries, -np.inf)
    np.maximum.at(last_finish_s, log.query, log.finish_s)
    by_executor = np.lexsort((log.launch, log.start_s, log.executor, log.on_accelerator))
    same = (np.diff(log.executor[by_executor]) == 0) & (np.diff(log.on_accelerator[by_executor]) == 0)
    same &= np.diff(log.launch[by_executor]) != 0
    overlaps = log.start_s[by_executor][1:] < log.finish_s[by_executor][:-1]
    rules = {
        "every item is served once": np.array_equal(served_items[served], record.num_items[served])
        and np.all(served_items <= record.num_items),
        "a request starts after its query arrives": np.all(log.start_s >= record.arrival_s[log.query]),
        "a request ends after it starts": np.all(log.finish_s > log.start_s),
        "starts never go back": np.all(np.diff(log.start_s) >= 0),
        "a query ends with its last request": np.array_equal(last_finish_s[served], record.finish_s[served]),
        "an executor serves one request at a time, by its log": not np.any(same & overlaps),
    }
    return [rule for rule, holds in rules.items() if not holds]
