"""Order statistics of very many values without sorting them, or copying them.

The leading bits of a positive float grow with it: one pass counts the values by those bits, and a rank then
needs only the values of its own cell sorted, some thousandths of all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.machine_code import compiled

CELL_BITS = 44
"""Bits that a cell leaves open: values in one cell differ by less than 0.4 %."""

NUM_CELLS = 1 << (63 - CELL_BITS)


class Ranked:
    """Looks like the sorted array of values >= 0: `len` and one value at a time by its index."""

    def __init__(self, values: FloatArray) -> None:
        self._values = values
        halves = np.array_split(values, 2)
        with ThreadPoolExecutor() as threads:
            counts = sum(threads.map(_count_cells, halves))
        self._ends: IntArray = np.cumsum(counts)
        self._sorted_cells: dict[int, FloatArray] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> float:
        cell = int(np.searchsorted(self._ends, index, side="right"))
        begin = int(self._ends[cell - 1]) if cell else 0
        if cell not in self._sorted_cells:
            self._sorted_cells[cell] = np.sort(_values_of_cell(self._values, cell, self._ends[cell] - begin))
        return float(self._sorted_cells[cell][index - begin])


@compiled
def _count_cells(values: FloatArray) -> IntArray:
    counts = np.zeros(NUM_CELLS, dtype=np.int64)
    for bits in values.view(np.int64):
        counts[bits >> CELL_BITS] += 1
    return counts


@compiled
def _values_of_cell(values: FloatArray, cell: int, count: int) -> FloatArray:
    found = np.empty(count)
    filled = 0
    for index, bits in enumerate(values.view(np.int64)):
        if bits >> CELL_BITS == cell:
            found[filled] = values[index]
            filled += 1
    return found
