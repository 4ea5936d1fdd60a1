"""What happened in a run: an immutable record, and the rules that every record must keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray


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
        Which executor of its pool; the lowest idle one takes the next request.
    num_busy : (num_requests,) int
        Busy executors of the pool at the start, this one included.
    on_accelerator : (num_requests,) bool
        Whether the pool is the accelerator.
    """

    query: IntArray
    num_items: IntArray
    start_s: FloatArray
    finish_s: FloatArray
    executor: IntArray
    num_busy: IntArray
    on_accelerator: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunRecord:
    """One run, query by query in order of arrival.

    Attributes
    ----------
    arrival_s, finish_s : (num_queries,) float
        Scheduled arrival, and the end of the last request. [s]
    num_items : (num_queries,) int
        Sizes. [items]
    offloaded : (num_queries,) bool
        Whether the query ran on the accelerator.
    cpu_busy_s, accelerator_busy_s : float
        Service times of all requests of the pool, summed. [s]
    num_executors, num_accelerators : int
        Executors of the two pools.
    requests : RequestLog or None
        The requests, where the run was asked to log them.
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

    @property
    def num_queries(self) -> int:
        """Queries that arrived, and were served."""
        return len(self.arrival_s)

    @property
    def latency_s(self) -> FloatArray:
        """From the scheduled arrival to the end of the last request; computed anew at each call. [s]"""
        return self.finish_s - self.arrival_s

    @property
    def makespan_s(self) -> float:
        """From the start of the run to the end of the last request. [s]"""
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
    def throughput_qps(self) -> float:
        """Queries finished over the makespan. [queries/s]"""
        return self.num_queries / self.makespan_s if self.makespan_s else 0.0


def broken_rules(record: RunRecord) -> list[str]:
    """Return the rules that a record breaks; an empty list for every correct engine and policy.

    Without a request log only the rules about queries can be checked.
    """
    broken = []
    if not np.all(np.isfinite(record.finish_s)):
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
    queries = record.num_queries
    served_items = np.bincount(log.query, weights=log.num_items, minlength=queries)
    last_finish_s = np.full(queries, -np.inf)
    np.maximum.at(last_finish_s, log.query, log.finish_s)
    by_executor = np.lexsort((log.start_s, log.executor, log.on_accelerator))
    same = (np.diff(log.executor[by_executor]) == 0) & (np.diff(log.on_accelerator[by_executor]) == 0)
    overlaps = log.start_s[by_executor][1:] < log.finish_s[by_executor][:-1]
    rules = {
        "every item is served once": np.array_equal(served_items, record.num_items),
        "a request starts after its query arrives": np.all(log.start_s >= record.arrival_s[log.query]),
        "a request ends after it starts": np.all(log.finish_s > log.start_s),
        "starts never go back": np.all(np.diff(log.start_s) >= 0),
        "a query ends with its last request": np.array_equal(last_finish_s, record.finish_s),
        "an executor serves one request at a time, by its log": not np.any(same & overlaps),
    }
    return [rule for rule, holds in rules.items() if not holds]
