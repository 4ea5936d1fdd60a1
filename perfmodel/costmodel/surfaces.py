"""Measured surfaces: the time of one call anywhere, from what was measured around it.

A surface is filed under a kernel's family and variant; `costmodel.places` says where a call lies on it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.places import Place
from perfmodel.domain.surface import Surface


def surface_seconds(surface: Surface, at: Place) -> Floats:
    """Time of one call: the surface's law and residual. [s]"""
    return np.asarray(law_seconds(surface.law, at) * np.exp(residual(surface, at.coordinates)))


def law_seconds(law: Mapping[str, float], at: Place) -> Floats:
    """What a law charges for a call: each amount times the coefficient of its name. [s]"""
    return np.asarray(np.array([law[term] for term in at.terms]) @ at.amounts)


def residual(surface: Surface, coordinates: Floats) -> Floats:
    """Logarithm of measured time over the law's. [1]"""
    correlation = matern(coordinates.T, surface.points, surface.scales)
    return np.asarray(surface.amplitude**2 * (correlation @ surface.weights))


def matern(left: Floats, right: Floats, scales: Floats) -> Floats:
    """Matern correlation of smoothness 5/2 between `(n, dims)` and `(m, dims)` points, `(n, m)`.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [100.0]])
    >>> matern(x, x[:1], np.array([1.0])).round(3).ravel().tolist()
    [1.0, 0.524, 0.0]
    """
    a, b = left / scales, right / scales
    d = a @ (-10.0 * b.T)  # of large arrays: each step in the place of the last, which halves the time
    d += 5.0 * np.sum(a**2, axis=1)[:, None]
    d += 5.0 * np.sum(b**2, axis=1)
    np.sqrt(np.maximum(d, 0.0, out=d), out=d)
    correlation = d / 3.0
    correlation += 1.0
    correlation *= d
    correlation += 1.0
    correlation *= np.exp(np.negative(d, out=d), out=d)
    return np.asarray(correlation)
