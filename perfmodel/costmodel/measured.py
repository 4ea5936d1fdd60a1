"""Measured curves: exact at measured batch sizes, log-space between them, the formula's shape beyond."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import MeasuredCurve


def measured_seconds(
    curve: MeasuredCurve, batch_size: Floats, formula: Callable[[Floats], Floats]
) -> tuple[Floats, Basis]:
    """Time at `batch_size` from a measured curve. [s]

    Between points, the logarithm of time is linear in the logarithm of the batch. Beyond the last point
    (or before the first) the time follows `formula`, scaled to meet the curve's end.

    Derived here: measured points are kept as they are, and a power of the batch joins each two of them.

    Parameters
    ----------
    curve : MeasuredCurve
        At least one point; batch sizes ascending.
    batch_size : (...) float array
        Items in the batch.
    formula : callable
        The cost model's time at a batch size, alone on the machine. [s]

    Returns
    -------
    (array, Basis)
        Times of the batch's shape, and the weakest basis among them. [s]

    Examples
    --------
    >>> curve = MeasuredCurve(batch_sizes=np.array([1.0, 16.0]), seconds=np.array([1e-5, 4e-5]))
    >>> seconds, basis = measured_seconds(curve, np.array([1.0, 4.0, 32.0]), lambda b: 1e-6 * b)
    >>> [float(f"{s:.6g}") for s in seconds], basis.label
    ([1e-05, 2e-05, 8e-05], 'extrapolated')
    """
    points, times = curve.batch_sizes, curve.seconds
    inside = np.exp(np.interp(np.log(batch_size), np.log(points), np.log(times)))
    position = np.searchsorted(points, batch_size).clip(max=len(points) - 1)
    exact = points[position] == batch_size
    seconds = np.where(exact, times[position], inside)
    end = np.clip(batch_size, points[0], points[-1])
    outside = end != batch_size
    if np.any(outside):
        seconds = np.where(outside, seconds * formula(batch_size) / formula(end), seconds)
        return seconds, Basis.EXTRAPOLATED
    return seconds, Basis.MEASURED if np.all(exact) else Basis.INTERPOLATED
