"""Measured costs of one kind of call: a law of its work, and what was measured beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Time of a call: law x exp(residual), the residual interpolated between measured points.

    t(f, x) = (sum_j c_j f_j) exp(a^2 sum_i w_i k(x, x_i)): f are amounts of work, x coordinates
    (logarithms of sizes, mostly) and k a Matern kernel of smoothness 5/2. Far from all points the
    residual is 0 and the law remains.

    Attributes
    ----------
    law : mapping
        Coefficients c, none negative, by the names of `domain.laws`: seconds for each unit of work. [s]
    scales : (dims,) array
        Distances over which the residual changes, by coordinate, in the order of `domain.laws`.
    amplitude, noise, noise_s : float
        Standard deviation of the residual [1], and of what it leaves unexplained: a fraction of the time
        [1], and a time that only small calls feel [s].
    points : (n, dims) array
        Coordinates x_i.
    weights : (n,) array
        Weights w_i.
    low, high : (dims,) arrays
        Range that was measured.
    relative_error : float
        Root mean square of the logarithm's error, of all calls of the kind in a sequence that the fit did
        not see, each sequence weighted by the kind's share of its time. [ln]
    """

    law: Mapping[str, float]
    scales: Floats
    amplitude: float
    noise: float
    noise_s: float
    points: Floats
    weights: Floats
    low: Floats
    high: Floats
    relative_error: float
