"""A table of service times at any size and number of executors at work."""

from __future__ import annotations

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import MeasuredCurve
from perfmodel.domain.service_table import ServiceTable


def tabulated_s(table: ServiceTable, items: Floats, busy: Floats) -> Floats:
    """Times of requests of each size beside each number of executors at work: (sizes, numbers). [s]

    Between sizes the logarithm of the time is linear in the logarithm of the size, as between the points of a
    measured curve (`measured_seconds`); between numbers of executors the time is linear in the number, as
    between measured slow-downs. Derived here: rows are kept as they are. Beyond the rows, where an answer is
    an extrapolation: the last two points' power of the size, in proportion to it where there is one point,
    and never less than the last; the last two numbers' straight line, likewise never less.

    Parameters
    ----------
    table : ServiceTable
        At least one row.
    items : (sizes,) float
        [items]
    busy : (numbers,) float
        Executors at work, each one's own included.

    Examples
    --------
    >>> rows = {"items": np.array([1.0, 16.0] * 2), "service_s": np.array([0.001, 0.004, 0.002, 0.008])}
    >>> table = ServiceTable(name="mine.csv", busy=np.array([1.0, 1.0, 3.0, 3.0]), **rows)
    >>> tabulated_s(table, np.array([1.0, 4.0, 32.0]), np.array([1.0, 2.0])).round(6).tolist()
    [[0.001, 0.0015], [0.002, 0.003], [0.005657, 0.008485]]
    """
    levels = table.levels
    at_levels_s = np.stack([_along_sizes_s(curve, items) for _, curve in levels])
    if len(levels) == 1:
        return np.repeat(at_levels_s[0][:, None], len(busy), axis=1)
    numbers = np.array([number for number, _ in levels])
    upper = np.searchsorted(numbers, busy).clip(1, len(numbers) - 1)
    low, high = numbers[upper - 1], numbers[upper]
    part = np.maximum(0.0, (busy - low) / (high - low))
    below_s, above_s = at_levels_s[upper - 1], at_levels_s[upper]
    rise_s = above_s - below_s
    beyond = part > 1.0
    rise_s[beyond] = np.maximum(rise_s[beyond], 0.0)
    start_s = np.where(beyond[:, None], above_s, below_s)
    return np.ascontiguousarray((start_s + (part - beyond)[:, None] * rise_s).T)


def tabulated_basis(table: ServiceTable, items: Floats, busy: Floats) -> Basis:
    """How far the times of these sizes, beside any of these numbers of executors, are to be trusted.

    Derived here: as weak as the weakest of them; beyond the rows of any number of executors that the table
    has, an extrapolation.

    Parameters
    ----------
    table : ServiceTable
        At least one row.
    items : (sizes,) float
        [items]
    busy : (numbers,) float
        Executors at work, each one's own included.

    Examples
    --------
    >>> table = ServiceTable(name="mine.csv", items=np.array([1.0, 16.0]), service_s=np.array([0.001, 0.004]))
    >>> [tabulated_basis(table, np.array([size]), np.ones(1)).label for size in (1.0, 4.0, 17.0)]
    ['measured table', 'interpolated', 'extrapolated']
    """
    numbers = np.array([number for number, _ in table.levels])
    if table.busy is not None and not numbers[0] <= busy.min() <= busy.max() <= numbers[-1]:
        return Basis.EXTRAPOLATED
    curves = [curve for _, curve in table.levels]
    if any(items.min() < curve.batch_sizes[0] or items.max() > curve.batch_sizes[-1] for curve in curves):
        return Basis.EXTRAPOLATED
    exact = all(np.isin(items, curve.batch_sizes).all() for curve in curves)
    if table.busy is not None:
        exact = exact and bool(np.isin(busy, numbers).all())
    return Basis.TABLE if exact else Basis.INTERPOLATED


def _along_sizes_s(curve: MeasuredCurve, items: Floats) -> Floats:
    """Times of a curve at these sizes, beyond its ends too. [s]"""
    sizes, times_s = curve.batch_sizes, curve.seconds
    seconds = np.exp(np.interp(np.log(items), np.log(sizes), np.log(times_s)))
    at = np.searchsorted(sizes, items).clip(max=len(sizes) - 1)
    seconds = np.where(sizes[at] == items, times_s[at], seconds)
    powers = np.ones(1) if len(sizes) == 1 else np.diff(np.log(times_s)) / np.diff(np.log(sizes))
    above = items > sizes[-1]
    seconds[above] = times_s[-1] * (items[above] / sizes[-1]) ** max(0.0, float(powers[-1]))
    below = items < sizes[0]
    if len(sizes) > 1:  # below one point its time holds: a fixed cost is likelier than none
        seconds[below] = times_s[0] * (items[below] / sizes[0]) ** max(0.0, float(powers[0]))
    return np.asarray(seconds)
