"""What tuning a node is about: the grid, what was tried, and the three answers beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.load_test import Configuration
from perfmodel.planning.node import ServingNode
from perfmodel.sim.query_sizes import SizePmf, item_share_from

Objective = Literal["qps", "qps-per-watt"]

MEDIUM = "medium"
SLA_LEVELS: Mapping[str, float] = {"low": 1.0 / 1.5, MEDIUM: 1.0, "high": 1.5}
"""Latency bound over the medium one: ISCA 2020 gives -50 % and +50 %, one figure medium / 1.5 for low. [1]"""

PLATEAU = 0.01
"""A step of the climb that loses less than this may be noise: the climb goes on. [1]"""

THRESHOLD_SHARE_STEP = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A configuration and what a short sample says of it.

    Attributes
    ----------
    configuration : Configuration
        What was tried.
    latency_bounded_qps : float or None
        Greatest rate that meets the SLA; None: no load meets it, or it was not worth finding. [queries/s]
    below_qps : float or None
        Where it was not worth finding: a rate that it does not carry. [queries/s]
    """

    configuration: Configuration
    latency_bounded_qps: float | None
    below_qps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A configuration with what it carries, by the long sample.

    Attributes
    ----------
    configuration : Configuration
        What is set.
    latency_bounded_qps : float or None
        Greatest rate that meets the SLA; None: no load does. [queries/s]
    power_w : float
        Static TDP of what it uses: the accelerators only where it offloads. [W]
    num_queries : int
        Queries behind the rate.
    """

    configuration: Configuration
    latency_bounded_qps: float | None
    power_w: float
    num_queries: int

    @property
    def batch_size(self) -> int:
        """Largest request of a core. [items]"""
        return self.configuration.batch_size

    @property
    def offload_threshold_items(self) -> int | None:
        """Queries of at least this size go to the accelerator; None: none does. [items]"""
        return self.configuration.offload_threshold_items

    @property
    def qps_per_w(self) -> float | None:
        """Throughput over static TDP. [queries/s/W]"""
        return None if self.latency_bounded_qps is None else self.latency_bounded_qps / self.power_w


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is searched: batch sizes, and thresholds from 1 (everything is offloaded), ascending. [items]"""

    batch_sizes: tuple[int, ...]
    thresholds: tuple[int, ...] = ()

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """All of them: each batch size without offload, and with each threshold."""
        return tuple(
            Configuration(batch_size, threshold)
            for batch_size in self.batch_sizes
            for threshold in (None, *self.thresholds)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """One node, tuned for one SLA.

    Attributes
    ----------
    node : ServingNode
        What is tuned.
    sla : SlaTarget
        What has to hold.
    objective : {"qps", "qps-per-watt"}
        What is best.
    static : OperatingPoint
        The baseline: CPU only, the largest query shared out over the cores.
    climb, exhaustive : OperatingPoint
        Where the hill climb ends; the best of the grid.
    climbed : tuple of Tried
        The steps of the climb, in order.
    tried : tuple of Tried
        Everything that was tried, in the grid's order.
    simulated_queries : int
        In all probes.
    """

    node: ServingNode
    sla: SlaTarget
    objective: Objective
    static: OperatingPoint
    climb: OperatingPoint
    exhaustive: OperatingPoint
    climbed: tuple[Tried, ...]
    tried: tuple[Tried, ...]
    simulated_queries: int

    @property
    def score(self) -> float:
        """Objective of the optimum; 0 where nothing is carried. [queries/s] or [queries/s/W]"""
        best = self.exhaustive
        return (best.qps_per_w if self.objective == "qps-per-watt" else best.latency_bounded_qps) or 0.0

    @property
    def gain(self) -> float | None:
        """Throughput of the optimum over the static baseline's; None where either carries nothing. [1]"""
        return _ratio(self.exhaustive.latency_bounded_qps, self.static.latency_bounded_qps)

    @property
    def gain_per_w(self) -> float | None:
        """The same per watt of static TDP. [1]"""
        return _ratio(self.exhaustive.qps_per_w, self.static.qps_per_w)

    @property
    def climb_gain(self) -> float | None:
        """Throughput where the climb ends over that of the static baseline. [1]"""
        return _ratio(self.climb.latency_bounded_qps, self.static.latency_bounded_qps)

    @property
    def climb_shortfall(self) -> float | None:
        """What the climb misses of the optimum's throughput; None where nothing is carried. [1]"""
        ratio = _ratio(self.climb.latency_bounded_qps, self.exhaustive.latency_bounded_qps)
        return None if ratio is None else max(0.0, 1.0 - ratio)

    @property
    def climb_found_optimum(self) -> bool:
        """Whether the climb ends within a plateau's tolerance of the optimum."""
        if self.exhaustive.latency_bounded_qps is None:
            return True
        return self.climb_shortfall is not None and self.climb_shortfall <= PLATEAU

    @property
    def by_batch(self) -> tuple[Tried, ...]:
        """What was found at the optimum's threshold, by batch size."""
        threshold = self.exhaustive.offload_threshold_items
        return tuple(
            tried for tried in self.tried if tried.configuration.offload_threshold_items == threshold
        )

    @property
    def by_threshold(self) -> tuple[Tried, ...]:
        """What was found at the optimum's batch size, by threshold, no offload last."""
        found = [
            tried for tried in self.tried if tried.configuration.batch_size == self.exhaustive.batch_size
        ]
        return tuple(sorted(found, key=lambda tried: threshold_key(tried.configuration)))


def static_batch_size(largest_query_items: int, cores: int) -> int:
    """Batch size of the static baseline: the largest query shared out evenly over the cores. [items]

    Examples
    --------
    The published one, on 40 cores:

    >>> static_batch_size(1000, 40)
    25
    """
    return ceil(largest_query_items / cores)


def doubling_batch_sizes(largest_query_items: int) -> tuple[int, ...]:
    """Return 1, 2, 4, ... up to the first that holds every query whole. [items]

    Examples
    --------
    >>> doubling_batch_sizes(100)
    (1, 2, 4, 8, 16, 32, 64, 128)
    """
    return tuple(2**power for power in range((largest_query_items - 1).bit_length() + 1))


def share_thresholds(law: SizePmf, step: float = THRESHOLD_SHARE_STEP) -> tuple[int, ...]:
    """Thresholds that offload all items, and then, step by step, equal shares less. [items]

    Even steps in what the accelerator gets, whatever the law of the sizes.

    Examples
    --------
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> share_thresholds(pmf_of_list([100, 200, 300, 400]), step=0.3)
    (1, 300, 400)
    """
    steps = round(1.0 / step)
    wanted = [1.0 - index * step for index in range(1, steps)]
    shares = [item_share_from(law, int(size)) for size in law.values]
    nearest = {
        int(law.values[min(range(len(shares)), key=lambda index: abs(shares[index] - share))])
        for share in wanted
    }
    return (1, *sorted(nearest - {int(law.values[0])}))


def threshold_key(configuration: Configuration) -> float:
    """Order by threshold; no offload comes last."""
    threshold = configuration.offload_threshold_items
    return float("inf") if threshold is None else float(threshold)


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value / base
