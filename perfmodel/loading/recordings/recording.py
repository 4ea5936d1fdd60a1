"""What a recording gives, whichever format it came in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How many queries came in each stretch of time, where no query has a stamp of its own.

    Attributes
    ----------
    start_s, width_s : (m,) float
        Where each stretch begins, and how long it is. [s]
    queries : (m,) float
        Queries in it; of a rate, rate times width.
    """

    start_s: FloatArray
    width_s: FloatArray
    queries: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Frequencies:
    """Values and how often each came.

    Attributes
    ----------
    values : (m,) float
        Ascending, in the unit of the file.
    counts : (m,) float
        How often; of positive sum.
    """

    values: FloatArray
    counts: FloatArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Recording:
    """A file of recorded traffic, as far as it goes; what a format does not give is None.

    Attributes
    ----------
    path : Path
        The file.
    format : str
        What it was taken for, in words.
    arrival_s, start_s, end_s : (num_rows,) float or None
        Stamps, from any origin, the same for all. [s]
    num_items : (num_rows,) int or None
        Sizes. [items]
    executor, query : (num_rows,) int or None
        Who served, and which rows belong to one query; numbered from 0.
    counts : Counts or None
        Queries by stretch of time, where there are no stamps.
    sizes : Frequencies or None
        Query sizes, where there are no rows. [items]
    latencies : Frequencies or None
        Recorded latencies, in the unit of the file.
    time_unit, time_reason : str
        What the stamps were taken for, and why; empty without stamps.
    ignored : tuple of str
        Columns, series or lines that were left out.
    notes : tuple of str
        What a reader of the figures must know.
    first_line : int
        Line of the first row, for errors about a row; 0 where rows are no lines.
    file_rows : (num_rows,) int or None
        Which row of the file each is, from 0 on; None: as they stand.
    """

    path: Path
    format: str
    arrival_s: FloatArray | None = None
    num_items: IntArray | None = None
    start_s: FloatArray | None = None
    end_s: FloatArray | None = None
    executor: IntArray | None = None
    query: IntArray | None = None
    counts: Counts | None = None
    sizes: Frequencies | None = None
    latencies: Frequencies | None = None
    time_unit: str = ""
    time_reason: str = ""
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    first_line: int = 0
    file_rows: IntArray | None = None

    @property
    def gives(self) -> tuple[str, ...]:
        """What of traffic is in it, in words."""
        found = {
            "arrival times": self.arrival_s is not None,
            "counts by time": self.counts is not None,
            "query sizes": self.num_items is not None or self.sizes is not None,
            "service times": self.start_s is not None and self.end_s is not None,
            "executors": self.executor is not None,
            "latencies": self.latencies is not None,
        }
        return tuple(name for name, given in found.items() if given)

    def without(self, *ignored: str, notes: tuple[str, ...] = ()) -> Recording:
        """Return the same, with more that was left out, or to be known."""
        return replace(self, ignored=(*self.ignored, *ignored), notes=(*self.notes, *notes))
