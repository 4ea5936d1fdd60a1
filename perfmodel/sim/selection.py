"""Order statistics of very many values without sorting them, or copying them.

The leading bits of a positive float grow with it: one pass counts the values by those bits, and a rank then
needs only the values of its own cell sorted, some thousandths of all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.statistics import LEVEL_ROUNDING, first_reaching
from perfmodel.threads import side_by_side

CELL_BITS = 44
"""Bits that a cell leaves open: values in one cell differ by less than 0.4 %."""


class _Cell(NamedTuple):
    """Values that share their leading bits, and the batches that they belong to."""

    values: FloatArray
    batches: IntArray


class RankedBatches:
    """What `SortedBatches` is, of values >= 0: exact, in a few passes over values that stay where they are.

    Parameters
    ----------
    values : (n,) float
        In order; the first few that make no whole batch are left out.
    num_batches : int
        How many.
    """

    def __init__(self, values: FloatArray, num_batches: int) -> None:
        self._length = len(values) // num_batches
        self._values = values[len(values) - self._length * num_batches :]
        self._num_batches = num_batches
        self._first_cell = _cell_of(float(self._values.min()))
        num_cells = _cell_of(float(self._values.max())) - self._first_cell + 1
        counts = np.zeros((num_batches, num_cells), dtype=np.int64)
        batches = self._values.reshape(num_batches, self._length)
        side_by_side(
            lambda batch: _count_cells(batches[batch], self._first_cell, counts[batch]), range(num_batches)
        )
        self._counts = counts
        self._ends: IntArray = np.cumsum(counts, axis=1)
        self._cells: dict[int, _Cell] = {}

    @property
    def num_values(self) -> int:
        """In all batches."""
        return len(self._values)

    def shares_below(self, value: float) -> FloatArray:
        """Share of each batch that is smaller. [1]"""
        return self._below(value, or_equal=False) / self._length

    def shares_above(self, value: float) -> FloatArray:
        """Share of each batch that is larger. [1]"""
        return 1.0 - self._below(value, or_equal=True) / self._length

    def quantile(self, level: float, weights: FloatArray) -> float:
        """Return the smallest value at which the weighted shares of the batches reach a level in (0, 1]."""
        shares = weights / self._length
        reached = shares @ self._ends
        # Where weights are negative, the shares may fall again, and sums in another order round otherwise:
        # the first cell is a guess.
        for index in np.flatnonzero(reached >= level - 2.0 * LEVEL_ROUNDING):
            cell = self._cell(int(index))
            below = float(shares @ (self._ends[:, index] - self._counts[:, index]))
            found = first_reaching(level, cell.values, shares[cell.batches], below)
            if found is not None:
                return found
        return float(self._values.max())

    def _below(self, value: float, *, or_equal: bool) -> IntArray:
        """Count the values of each batch that are smaller, or smaller or equal."""
        index = -1 if value < 0.0 else _cell_of(value) - self._first_cell
        if index < 0:
            return np.zeros(self._num_batches, dtype=np.int64)
        if index >= self._ends.shape[1]:
            return self._ends[:, -1]
        cell = self._cell(index)
        smaller = cell.values <= value if or_equal else cell.values < value
        inside = np.bincount(cell.batches[smaller], minlength=self._num_batches)
        counts: IntArray = self._ends[:, index] - self._counts[:, index] + inside
        return counts

    def _cell(self, index: int) -> _Cell:
        if index not in self._cells:
            count = int(self._counts[:, index].sum())
            values = np.empty(count)
            places = np.empty(count, dtype=np.int64)
            _values_of_cell(self._values, index + self._first_cell, values, places)
            self._cells[index] = _Cell(values, places // self._length)
        return self._cells[index]


def _cell_of(value: float) -> int:
    return int(np.float64(value + 0.0).view(np.int64)) >> CELL_BITS


@compiled
def _count_cells(values: FloatArray, first_cell: int, counts: IntArray) -> None:
    for bits in values.view(np.int64):
        counts[(bits >> CELL_BITS) - first_cell] += 1


@compiled
def _values_of_cell(values: FloatArray, cell: int, found: FloatArray, places: IntArray) -> None:
    filled = 0
    for index, bits in enumerate(values.view(np.int64)):
        if bits >> CELL_BITS == cell:
            found[filled] = values[index]
            places[filled] = index
            filled += 1
