"""The best device of several for each model and batch size."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, log
from typing import Literal

from perfmodel.domain.estimate import Basis
from perfmodel.loading.inputs import InputFile
from perfmodel.planning.verdict import NORMAL

By = Literal["latency", "efficiency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model in one batch size on one device.

    Attributes
    ----------
    device, stack : str
        Where.
    seconds : float or None
        Time of the batch on one executor: alone, or, by efficiency, beside as many as the device has; None
        where the model does not fit the device. [s]
    worth : float or None
        What is compared, more being better: batches a second, or items a second and watt. [1/s], [items/J]
    error : float
        Root mean square error of the time. [ln]
    basis : Basis or None
        How far to trust it.
    reason : str or None
        Why there is none.
    """

    device: str
    stack: str | None
    seconds: float | None
    worth: float | None
    error: float
    basis: Basis | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One model in one batch size on every device."""

    model: str
    batch_size: int
    cells: tuple[Cell, ...]

    @property
    def ranked(self) -> list[Cell]:
        """Those that have a time, the best first; of equals the one that was named first."""
        known = [cell for cell in self.cells if cell.worth is not None]
        return sorted(known, key=lambda cell: -(cell.worth or 0.0))

    @property
    def best(self) -> Cell | None:
        """The best device; None: the model fits none."""
        ranked = self.ranked
        return ranked[0] if ranked else None

    @property
    def second(self) -> Cell | None:
        """The next best; None: there is none."""
        ranked = self.ranked
        return ranked[1] if len(ranked) > 1 else None

    @property
    def factor(self) -> float | None:
        """How many times as good the best is as the second, from 1 up; None without a second. [1]"""
        best, second = self.best, self.second
        if best is None or second is None or best.worth is None or second.worth is None:
            return None
        return best.worth / second.worth

    @property
    def probability(self) -> float | None:
        """That the best is better than the second, the errors of the two being independent. [1]"""
        best, second, factor = self.best, self.second, self.factor
        if best is None or second is None or factor is None:
            return None
        spread = hypot(best.error, second.error)
        return NORMAL.cdf(log(factor) / spread) if spread > 0.0 else (1.0 if factor > 1.0 else 0.5)

    @property
    def is_extrapolated(self) -> bool:
        """Whether any of the times lies outside the calibrated range."""
        return any(cell.basis is Basis.EXTRAPOLATED for cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMap:
    """The answer of `perfplan map`.

    Attributes
    ----------
    models, devices : tuple of str
        What was compared, in the order given.
    batch_sizes : tuple of int
        [items]
    by : {"latency", "efficiency"}
        What is compared.
    rows : tuple of Compared
        Every model in every batch size, batch sizes within models.
    service_times_of : tuple of str
        What is in the times, in words, by software stack.
    notes : tuple of str
        What a reader must know.
    inputs : tuple of InputFile
        The files of models and devices.
    """

    models: tuple[str, ...]
    devices: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    by: By
    rows: tuple[Compared, ...]
    service_times_of: tuple[str, ...]
    notes: tuple[str, ...]
    inputs: tuple[InputFile, ...] = ()

    @property
    def num_extrapolated(self) -> int:
        """Times outside the calibrated range."""
        return sum(cell.basis is Basis.EXTRAPOLATED for row in self.rows for cell in row.cells)
