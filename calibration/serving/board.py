"""The memory that workers share: a counter over the request list, and what each request's worker wrote."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from multiprocessing.context import ForkContext
from multiprocessing.synchronize import Lock

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray

NOT_RUN = -1


@dataclass(slots=True, eq=False)
class Board:
    """Anonymous shared pages; a forked worker sees the same ones.

    A shared counter hands over a request in about 1 us; a queue of `multiprocessing` takes 60 to 130 us.

    Attributes
    ----------
    next_request : (num_queues,) int
        The next request of each queue that no worker has taken.
    origin_s : (1,) float
        When the run began, on the clock of `perf_counter`. [s]
    state : (2,) int
        Workers that are ready; whether to stop.
    start_s, finish_s, cpu_s : (num_requests,) float
        Stamps since the origin, and the processor time that the request took; NaN: not served. [s]
    worker : (num_requests,) int
        Who served it; -1: nobody yet.
    """

    num_requests: int
    num_queues: int
    lock: Lock
    next_request: IntArray = field(init=False)
    origin_s: FloatArray = field(init=False)
    state: IntArray = field(init=False)
    start_s: FloatArray = field(init=False)
    finish_s: FloatArray = field(init=False)
    cpu_s: FloatArray = field(init=False)
    worker: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.next_request = _shared(self.num_queues, np.int64)
        self.origin_s, self.state = _shared(1, np.float64), _shared(2, np.int64)
        self.start_s, self.finish_s, self.cpu_s = (_shared(self.num_requests, np.float64) for _ in range(3))
        self.worker = _shared(self.num_requests, np.int64)
        self.worker[:] = NOT_RUN

    def take(self, queue: int) -> int:
        """Take the next position of a queue; the order of takes is the order of service."""
        counter = self.next_request.data  # a memoryview: indexing it takes half as long
        with self.lock:
            position: int = counter[queue]
            counter[queue] = position + 1
        return position

    def report_ready(self) -> None:
        """Count one more worker as ready."""
        with self.lock:
            self.state[0] += 1

    @property
    def num_ready(self) -> int:
        """Workers that wait for the start."""
        return int(self.state[0])

    def stop(self) -> None:
        """Let every worker end after the request that it serves."""
        self.state[1] = 1

    def is_stopped(self) -> bool:
        """Say whether workers are to end."""
        return bool(self.state[1])


def new_board(num_requests: int, num_queues: int, context: ForkContext) -> Board:
    """Allocate a board for workers that `context` will fork."""
    return Board(num_requests, num_queues, context.Lock())


def _shared(length: int, kind: type[np.generic]) -> np.ndarray:
    """Zeros in memory that a fork does not copy."""
    return np.frombuffer(mmap.mmap(-1, max(8, 8 * length)), dtype=kind, count=length)
