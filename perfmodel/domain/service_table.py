"""Service times as somebody measured them: a table of milliseconds by size, perhaps by executors at work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perfmodel.domain.hardware import MeasuredCurve
from perfmodel.domain.unsteady import P99_DEVIATIONS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServiceTable:
    """Rows of a table, in any order: no two have the same size and the same executors at work.

    Attributes
    ----------
    name : str
        The file's, for reports.
    items : (n,) float
        Size of a request. [items]
    service_s : (n,) float
        How long one holds its executor, in the mean. [s]
    busy : (n,) float or None
        Executors at work meanwhile, this one included; None: the table does not say, and times are taken to
        be the same however many are.
    std_s : (n,) float or None
        Standard deviation of single requests. [s]
    p50_s, p99_s : (n,) float or None
        Or two percentiles of them, both or none. [s]
    """

    name: str
    items: Floats
    service_s: Floats
    busy: Floats | None = None
    std_s: Floats | None = None
    p50_s: Floats | None = None
    p99_s: Floats | None = None

    @property
    def levels(self) -> tuple[tuple[float, MeasuredCurve], ...]:
        """A curve of time against size for each number of executors at work, ascending."""
        busy = np.ones_like(self.items) if self.busy is None else self.busy
        return tuple((float(level), self._curve(busy == level)) for level in np.unique(busy))

    @property
    def items_range(self) -> tuple[int, int]:
        """Smallest and largest size. [items]"""
        return int(self.items.min()), int(self.items.max())

    @property
    def busy_range(self) -> tuple[int, int] | None:
        """Fewest and most executors at work; None where it does not say."""
        return None if self.busy is None else (int(self.busy.min()), int(self.busy.max()))

    @property
    def relative_std(self) -> Floats | None:
        """Standard deviation of single requests over their mean by row; None: the table does not say. [1]

        Of two percentiles that of the log-normal law through both: sigma = ln(p99 / p50) / z(0.99).
        """
        if self.std_s is not None:
            return self.std_s / self.service_s
        if self.p50_s is None or self.p99_s is None:
            return None
        sigma = np.log(self.p99_s / self.p50_s) / P99_DEVIATIONS
        return np.asarray(np.sqrt(np.expm1(sigma**2)))

    def relative_std_of(self, items: Floats) -> Floats | None:
        """The same of any sizes: linear in the logarithm of the size between rows, constant beyond. [1]

        Rows of one size with different numbers of executors at work count alike.
        """
        by_row = self.relative_std
        if by_row is None:
            return None
        sizes, index = np.unique(self.items, return_inverse=True)
        by_size = np.bincount(index, by_row) / np.bincount(index)
        return np.interp(np.log(items), np.log(sizes), by_size)

    def _curve(self, rows: npt.NDArray[np.bool_]) -> MeasuredCurve:
        order = np.argsort(self.items[rows])
        return MeasuredCurve(batch_sizes=self.items[rows][order], seconds=self.service_s[rows][order])
