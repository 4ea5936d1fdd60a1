"""What was measured: every request's and every query's scheduled arrival, start and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.serving.requests import RequestList
from perfmodel.loading.written import write_atomically
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.sim.traffic import Queries


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """The served requests of one run, in the order in which they were taken.

    A run that was interrupted holds the requests that ended before.

    Attributes
    ----------
    requests : RequestList
        Those that were served.
    start_s, finish_s : (num_requests,) float
        Stamps on the clock of the scheduled arrivals. [s]
    cpu_s : (num_requests,) float
        Processor time of the request; less than it lasted where the worker did not have its core. [s]
    worker : (num_requests,) int
        Who served it.
    num_workers : int
        Workers on the cores.
    interrupted : bool
        Whether the user ended the run early.
    origin_s : float
        When the run's clock was at 0, on this machine's clock. [s]
    """

    requests: RequestList
    start_s: FloatArray
    finish_s: FloatArray
    cpu_s: FloatArray
    worker: IntArray
    num_workers: int
    interrupted: bool = False
    origin_s: float = 0.0

    def only(self, chosen: BoolArray) -> Served:
        """Return some of the requests."""
        return replace(
            self,
            requests=self.requests.only(chosen),
            start_s=self.start_s[chosen],
            finish_s=self.finish_s[chosen],
            cpu_s=self.cpu_s[chosen],
            worker=self.worker[chosen],
        )

    @property
    def service_s(self) -> FloatArray:
        """How long each request held its worker; computed anew. [s]"""
        return self.finish_s - self.start_s

    @property
    def on_cores(self) -> BoolArray:
        """Which requests the cores served."""
        return ~self.requests.offloaded

    @property
    def num_busy(self) -> IntArray:
        """Busy workers of the same kind when each request started, itself included."""
        busy = np.empty(len(self.start_s), dtype=np.int64)
        for kind in (True, False):
            mine = np.flatnonzero(self.requests.offloaded == kind)
            # Requests of one query may start at one instant: one after the other, as in the simulation.
            mine = mine[np.argsort(self.start_s[mine], kind="stable")]
            ended = np.searchsorted(np.sort(self.finish_s[mine]), self.start_s[mine], side="right")
            busy[mine] = np.arange(1, len(mine) + 1) - ended
        return busy

    @property
    def longest_stall_s(self) -> float:
        """Longest time that a worker was without its core within a request on the cores. [s]"""
        without_s = (self.service_s - self.cpu_s)[self.on_cores]
        return float(without_s.max()) if len(without_s) else 0.0

    @property
    def makespan_s(self) -> float:
        """From the origin to the end of the last request. [s]"""
        return float(self.finish_s.max()) if len(self.finish_s) else 0.0

    @property
    def utilisation(self) -> float:
        """Fraction of the cores' time in which they served. [1]"""
        busy_s = float(self.service_s[self.on_cores].sum())
        return busy_s / (self.num_workers * self.makespan_s) if self.makespan_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedQueries:
    """Queries all of whose requests were served, in order of arrival; stamps in seconds."""

    index: IntArray
    arrival_s: FloatArray
    num_items: IntArray
    start_s: FloatArray
    finish_s: FloatArray
    offloaded: BoolArray

    @property
    def latency_s(self) -> FloatArray:
        """From the scheduled arrival to the end of the last request. [s]"""
        return self.finish_s - self.arrival_s


def queries_of(served: Served, queries: Queries) -> ServedQueries:
    """Put the requests of each query together; a query with a request that was not served is left out."""
    requests, number = served.requests, len(queries)
    items = np.bincount(requests.query, weights=requests.num_items, minlength=number)
    whole = np.flatnonzero(items == queries.num_items)
    start_s, finish_s = np.full(number, np.inf), np.full(number, -np.inf)
    np.minimum.at(start_s, requests.query, served.start_s)
    np.maximum.at(finish_s, requests.query, served.finish_s)
    offloaded = np.zeros(number, dtype=np.bool_)
    offloaded[requests.query] = requests.offloaded
    return ServedQueries(
        index=whole,
        arrival_s=queries.arrival_s[whole],
        num_items=queries.num_items[whole],
        start_s=start_s[whole],
        finish_s=finish_s[whole],
        offloaded=offloaded[whole],
    )


QUERY_COLUMNS = "query,num_items,offloaded,scheduled_arrival_s,start_s,end_s,piece"


def write_queries(path: Path, pieces: Sequence[ServedQueries], origins_s: Sequence[float]) -> None:
    """Write one line a query, all pieces on the clock of the first, replacing the file in one step.

    Parameters
    ----------
    path : Path
        The file.
    pieces : sequence of ServedQueries
        Piece by piece, each with stamps from its own start.
    origins_s : sequence of float
        When each piece started, on one clock. [s]

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    lines, first = [QUERY_COLUMNS], 0
    for number, (queries, origin_s) in enumerate(zip(pieces, origins_s, strict=True), start=1):
        since_s = origin_s - origins_s[0]
        columns = (queries.index + first, queries.num_items, queries.offloaded)
        stamps = (queries.arrival_s + since_s, queries.start_s + since_s, queries.finish_s + since_s)
        rows = zip(*(column.tolist() for column in (*columns, *stamps)), strict=True)
        lines += [f"{a},{b},{int(c)},{d:.6f},{e:.6f},{f:.6f},{number}" for a, b, c, d, e, f in rows]
        first += int(queries.index.max()) + 1 if len(queries.index) else 0
    write_atomically(path, "\n".join(lines) + "\n")
