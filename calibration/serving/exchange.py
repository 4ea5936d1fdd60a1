"""Where the first request of a query leaves what came out of the query's work, and the others find it."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from calibration.serving.inputs import Bytes
from perfmodel.errors import PerfplanError
from perfmodel.sim.arrays import FloatArray, IntArray

PLACES = 1024
"""Queries whose results are kept at once: far more than are between their first and their last take."""


@dataclass(slots=True, eq=False)
class Exchange:
    """Results by query in shared memory, in places that are used again, and when they were there.

    Attributes
    ----------
    num_bytes : int
        Of one query's results. [bytes/query]
    results : (places, num_bytes) bytes
        What was sent.
    whose : (places,) int
        Whose results lie there, counted from 1; 0: nobody's, or they are being written.
    there_s : (places,) float
        Since when, on the clock of `perf_counter`. [s]
    """

    num_bytes: int
    places: int = PLACES
    results: Bytes = field(init=False)
    whose: IntArray = field(init=False)
    there_s: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        shared = np.frombuffer(mmap.mmap(-1, max(1, self.places * self.num_bytes)), dtype=np.uint8)
        self.results = shared[: self.places * self.num_bytes].reshape(self.places, self.num_bytes)
        self.whose = np.frombuffer(mmap.mmap(-1, 8 * self.places), dtype=np.int64)
        self.there_s = np.frombuffer(mmap.mmap(-1, 8 * self.places), dtype=np.float64)

    def send(self, query: int, results: Bytes) -> None:
        """Leave a query's results for its other requests."""
        place = query % self.places
        self.whose[place] = 0
        self.results[place, : len(results)] = results
        self.there_s[place] = perf_counter()
        self.whose[place] = query + 1

    def wait(self, query: int, stopped: Callable[[], bool]) -> float | None:
        """Wait until a query's results are there: since when they are; None: the run is over. [s]"""
        place, whose = query % self.places, self.whose
        while whose[place] < query + 1:
            if stopped():
                return None
        return float(self.there_s[place])

    def receive(self, query: int) -> Bytes:
        """Copy a query's results.

        Raises
        ------
        PerfplanError
            If those of a later query have taken their place.
        """
        place = query % self.places
        copied: Bytes = self.results[place].copy()
        if self.whose[place] != query + 1:
            raise PerfplanError(
                f"the results of a query were gone when its last request came, {self.places} queries later"
            )
        return copied
