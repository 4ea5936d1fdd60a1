"""The constants of DeepRecSys's published controller, and the shortcuts that it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.deeprecsys import QueueBounds
from perfmodel.units import MS


class Shortcut(Enum):
    """One thing that the published controller does for convenience; the value is what reports call it."""

    WHOLE_MS_GAPS = "whole-millisecond gaps"
    REPLAYED_SIZES = "32 query sizes, replayed"
    WINDOWS = "percentile over windows of 64"
    LOG_RATES = "log-spaced rates"
    BOUNDED_QUEUES = "bounded queues, blocking"
    INTERPOLATION = "accelerator interpolated in log(batch)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """The published controller's constants, from its repository (harvard-acc/DeepRecSys).

    Attributes
    ----------
    shortest_gap_ms, longest_gap_ms : float
        Ends of the grid of mean gaps (`--min_arr_range`, `--max_arr_range`). [ms]
    num_gaps : int
        Gaps on the grid, log-spaced; also how many of the last steps the median is taken of (`--arr_steps`).
    first_gap_ms : float
        Where every search starts (`--avg_arrival_rate`). [ms]
    window : int
        Queries in a reading of the percentile (`--req_granularity`).
    timeout : int
        A search ends with the first reading beyond this many (`--sched_timeout`).
    margin : float
        Readings between SLA / (1 + margin) and the SLA leave the rate alone (`--stable_region`). [1]
    num_sizes : int
        Query sizes drawn, then replayed (`--num_batches`).
    cpu_queue, accelerator_queue : int
        Bounds of the two queues (`DeepRecSys.py`). [requests]
    measured_batches : tuple of int
        Batches between which the accelerator's time is interpolated (`accelerator/predict_execution.py`).
    batch_sizes, thresholds : tuple of int
        Configurations in the order in which the climb tries them (`run_DeepRecSys.sh`). [items]
    threshold_before : int
        The threshold while batch sizes are tried, and, as it turns out, when the first threshold should
        be (`loadGenerator.py`). [items]
    """

    shortest_gap_ms: float = 1.0
    longest_gap_ms: float = 20.0
    num_gaps: int = 50
    first_gap_ms: float = 10.0
    window: int = 64
    timeout: int = 128
    margin: float = 0.10
    num_sizes: int = 32
    cpu_queue: int = 1024
    accelerator_queue: int = 32
    measured_batches: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    batch_sizes: tuple[int, ...] = (512, 256, 128)
    thresholds: tuple[int, ...] = (96, 128, 192, 256, 384, 512)
    threshold_before: int = 1024

    def __post_init__(self) -> None:
        # Closer, and no power of two would place the grid.
        if not 0 < 8 * self.shortest_gap_ms <= self.longest_gap_ms or self.num_gaps < 2:
            raise InputError(
                "deeprecsys: expected 0 < 8 shortest_gap_ms <= longest_gap_ms and 2 gaps at least"
            )

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """The grid of mean gaps, ascending. [s]"""
        gaps_ms = np.geomspace(self.shortest_gap_ms, self.longest_gap_ms, self.num_gaps)
        return tuple(float(gap_ms) * MS for gap_ms in gaps_ms)

    def placed_around(self, rate_qps: float) -> ControllerSettings:
        """Return the settings with all gaps times a power of two, so that the grid holds a rate well.

        The published script searches from 100 queries/s on, up to 1000. A node that serves more than half
        of what the grid ends at would only show where it ends: whoever runs the script moves it.
        """
        scale = 1.0
        while scale * self.shortest_gap_ms * MS * rate_qps > 0.5:
            scale /= 2.0
        while scale * self.longest_gap_ms * MS * rate_qps < 2.0:
            scale *= 2.0
        return replace(
            self,
            shortest_gap_ms=self.shortest_gap_ms * scale,
            longest_gap_ms=self.longest_gap_ms * scale,
            first_gap_ms=self.first_gap_ms * scale,
        )

    @property
    def bounds(self) -> QueueBounds:
        """The bounds of both queues."""
        return QueueBounds(self.cpu_queue, self.accelerator_queue)


PUBLISHED = ControllerSettings()
