"""Scatter in the compiled loops: the factor that `ScatterTable.factor` looks up, in the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from perfmodel.sim.arrays import FloatArray, IntArray, frozen_floats, frozen_ints
from perfmodel.sim.machine_code import compiled
from perfmodel.sim.scatter import GOLDEN, INDEX_BITS, LEFT, NUM_FACTORS, QUERY, Luck, ScatterTable

_GOLDEN, _QUERY, _LEFT = np.uint64(GOLDEN), np.uint64(QUERY), np.uint64(LEFT)
_30, _27, _31, _KEPT = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(64 - INDEX_BITS)
_ROW = np.uint64(NUM_FACTORS)


class Factors(NamedTuple):
    """A `ScatterTable` as loops take it; where there is no scatter, they take None and compile to nothing.

    Attributes
    ----------
    factors : (num_classes * NUM_FACTORS,) float
        Row after row. [1]
    class_of : (max_items,) int
        Row of each size.
    """

    factors: FloatArray
    class_of: IntArray


class Draw(NamedTuple):
    """What chooses the factors of a run: its key, and the index of its first query."""

    key: np.uint64
    first: int


def factors_of(table: ScatterTable | None) -> Factors | None:
    """Return a table as loops take it."""
    return None if table is None else Factors(table.factors.ravel(), table.class_of)


class LoopFactors(NamedTuple):
    """Tables of several pools as loops over all of them take them.

    Attributes
    ----------
    factors : (n,) float
        All of them. [1]
    first_factor : (pools, max_items) int
        Where those of a launch of b items begin, at b - 1.
    scattered_items : tuple of int
        Sizes that a pool has, a larger one being like the last; 0: no scatter.
    """

    factors: FloatArray
    first_factor: IntArray
    scattered_items: tuple[int, ...]


def loop_factors(tables: Sequence[ScatterTable | None]) -> LoopFactors:
    """Lay the tables of several pools, such as cores and accelerators, into one; None: no scatter there."""
    sizes = [0 if table is None else len(table.class_of) for table in tables]
    first_factor = np.zeros((len(tables), max(1, *sizes)), dtype=np.int64)
    parts, begin = [np.ones(1)], 1
    for device, table in enumerate(tables):
        if table is not None:
            first_factor[device, : sizes[device]] = begin + table.class_of * NUM_FACTORS
            parts.append(table.factors.ravel())
            begin += table.factors.size
    return LoopFactors(frozen_floats(np.concatenate(parts)), frozen_ints(first_factor), tuple(sizes))


def draw_of(luck: Luck, table: ScatterTable | None, *more: ScatterTable | None) -> Draw:
    """Return what chooses a run's factors; a key of 0 where nothing is chosen."""
    chooses = any(each is not None for each in (table, *more))
    return Draw(np.uint64(luck.key if chooses else 0), luck.first)


@compiled
def factor_of(scatter: Any, draw: Draw, query: int, left: int, num_items: int) -> float:
    """Look up a factor; without scatter, 1."""
    if scatter is None:
        return 1.0
    row = np.uint64(scatter.class_of[min(num_items, len(scatter.class_of)) - 1])
    found: float = scatter.factors[row * _ROW + index_of(draw, query, left)]
    return found


@compiled
def index_of(draw: Draw, query: int, left: int) -> Any:
    """Hash a request as `factor_index` does."""
    mixed = draw.key + np.uint64(draw.first + query) * _GOLDEN + np.uint64(left) * _QUERY
    mixed = (mixed ^ (mixed >> _30)) * _QUERY
    mixed = (mixed ^ (mixed >> _27)) * _LEFT
    return (mixed ^ (mixed >> _31)) >> _KEPT
