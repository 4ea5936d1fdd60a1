"""How long a request holds its executor, as the simulation is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, frozen_floats
from perfmodel.sim.pauses import Pauses
from perfmodel.sim.query_times import QueryTimes
from perfmodel.sim.scatter import ScatterTable

if TYPE_CHECKING:
    from perfmodel.sim.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServiceTimes:
    """Service times of one node: CPU cores under contention, and accelerator streams.

    Attributes
    ----------
    cpu_s : (max_batch, num_executors) float
        `cpu_s[b - 1, n - 1]`: a request of b items when n executors are busy, this one included.
        Evaluated once, when the request starts. [s]
    accelerator_s : (max_items,) or (max_items, streams) float, or None
        `accelerator_s[s - 1, n - 1]`: a launch of s items when n streams of its accelerator are busy,
        this one included; one dimension: an accelerator has one stream. None: the node has none. [s]
    num_accelerators : int
        Accelerators; their streams take launches from one queue.
    cpu_scatter, accelerator_scatter : ScatterTable or None
        Factors of mean 1 on these times, drawn for each request; None: all of one size take the same.
    by_query : QueryTimes or None
        Times that depend on more than the size; the tables above are then means over the kinds of queries.
    node_pauses, core_pauses : tuple of Pauses
        Pauses of the whole node, and of each of its cores.
    pipeline : Pipeline or None
        Stages that queries go through after this node, each on executors of its own; None: there are none.
    """

    cpu_s: FloatArray
    accelerator_s: FloatArray | None = None
    num_accelerators: int = 0
    cpu_scatter: ScatterTable | None = None
    accelerator_scatter: ScatterTable | None = None
    by_query: QueryTimes | None = None
    node_pauses: tuple[Pauses, ...] = ()
    core_pauses: tuple[Pauses, ...] = ()
    pipeline: Pipeline | None = None

    def __post_init__(self) -> None:
        if self.paused_of_cores >= 1.0:
            raise InputError("service times: expected pauses of cores for less than all of the time")
        object.__setattr__(self, "cpu_s", _checked(self.cpu_s, "cpu_s", dimensions=(2,)))
        if (self.accelerator_s is None) != (self.num_accelerators == 0) or self.num_accelerators < 0:
            raise InputError("service times: expected accelerator_s exactly where num_accelerators >= 1")
        if self.accelerator_s is not None:
            checked = _checked(self.accelerator_s, "accelerator_s", dimensions=(1, 2))
            object.__setattr__(self, "accelerator_s", checked)

    def scaled(self, cpu: float, accelerator: float) -> ServiceTimes:
        """Return the same node with every time on the cores, and on the accelerators, so many times as long.

        Examples
        --------
        >>> ServiceTimes(cpu_s=np.full((1, 2), 0.010)).scaled(1.5, 1.0).cpu_s.tolist()
        [[0.015, 0.015]]
        """
        accelerator_s = None if self.accelerator_s is None else self.accelerator_s * accelerator
        by_query = None if self.by_query is None else self.by_query.scaled(cpu, accelerator)
        pipeline = None if self.pipeline is None else self.pipeline.scaled(cpu, accelerator)
        return replace(
            self, cpu_s=self.cpu_s * cpu, accelerator_s=accelerator_s, by_query=by_query, pipeline=pipeline
        )

    def core_times_s(self, *, contended: bool) -> FloatArray:
        """Times of requests of 1, 2, ... items on a core: with all cores busy, or at the least. [s]

        A core beside idle ones is mostly the fastest, but it may find colder caches than a busy one.
        """
        times_s: FloatArray = self.cpu_s[:, -1] if contended else self.cpu_s.min(axis=1)
        return times_s

    @property
    def is_paused(self) -> bool:
        """Whether anything of the node, or of a later stage's, ever stands still."""
        later = self.pipeline is not None and any(each.service.is_paused for each in self.pipeline.stages)
        return bool(self.node_pauses or self.core_pauses) or later

    @property
    def paused_of_cores(self) -> float:
        """Share of the node's running time in which a core is paused on its own. [1]"""
        return sum(pauses.load for pauses in self.core_pauses)

    @property
    def running_shares(self) -> tuple[float, float]:
        """Shares of the time in which cores, and accelerators, are not paused. [1]"""
        node = 1.0 / (1.0 + sum(pauses.load for pauses in self.node_pauses))
        return node * (1.0 - self.paused_of_cores), node

    @property
    def is_scattered(self) -> bool:
        """Whether requests of one size take different times, here or in a later stage."""
        if self.pipeline is not None and any(each.service.is_scattered for each in self.pipeline.stages):
            return True
        return self.cpu_scatter is not None or self.accelerator_scatter is not None

    def longest_query_s(self, max_items: int) -> float:
        """No query of up to so many items takes longer where all stages are idle. [s]"""
        longest_s = self.longest_on_cores_s * max_items + self.longest_on_accelerator_s
        return longest_s if self.pipeline is None else longest_s + self.pipeline.longest_query_s(max_items)

    @property
    def longest_on_cores_s(self) -> float:
        """Longest time of any request on a core. [s]"""
        return float(self.cpu_s.max()) * _largest_factor(self.cpu_scatter)

    @property
    def longest_on_accelerator_s(self) -> float:
        """Longest time of any launch; 0 without an accelerator. [s]"""
        if self.accelerator_s is None:
            return 0.0
        return float(self.accelerator_s.max()) * _largest_factor(self.accelerator_scatter)

    @property
    def num_executors(self) -> int:
        """CPU executors of the node."""
        return int(self.cpu_s.shape[1])

    @property
    def max_batch_items(self) -> int:
        """Largest request that the CPU table covers. [items]"""
        return int(self.cpu_s.shape[0])

    @property
    def max_offload_items(self) -> int:
        """Largest launch that the accelerator table covers; 0 without one. [items]"""
        return 0 if self.accelerator_s is None else len(self.accelerator_s)

    @property
    def streams_per_accelerator(self) -> int:
        """Launches that run side by side on one accelerator; 0 without one."""
        return 0 if self.accelerator_s is None else self.accelerator_by_streams_s.shape[1]

    @property
    def num_streams(self) -> int:
        """Executors of all accelerators together."""
        return self.num_accelerators * self.streams_per_accelerator

    @property
    def accelerator_by_streams_s(self) -> FloatArray:
        """The accelerator's table with a column for each number of busy streams; empty without one. [s]"""
        if self.accelerator_s is None:
            return np.empty((0, 0))
        return self.accelerator_s.reshape(len(self.accelerator_s), -1)


def _largest_factor(scatter: ScatterTable | None) -> float:
    return 1.0 if scatter is None else float(scatter.factors.max())


def _checked(values: FloatArray, name: str, *, dimensions: tuple[int, ...]) -> FloatArray:
    array = frozen_floats(values)
    if array.ndim not in dimensions or array.size == 0:
        expected = " or ".join(map(str, dimensions))
        raise InputError(
            f"service times: {name}: expected {expected} dimensions, none empty, got {array.shape}"
        )
    if not (np.all(np.isfinite(array)) and np.all(array > 0)):
        raise InputError(f"service times: {name}: expected finite times > 0")
    return array
