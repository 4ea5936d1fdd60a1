"""How memory saturates under lookups: the two constants that every server profile shares.

Fitted to RecNMP Fig. 6, which measured lookups on an 18-core Skylake by the number of threads; the
random loads of the same figure, by another tool, are left for comparison.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from calibration.published.observations import read_rows
from perfmodel.costmodel.contention import saturation_stretch

FIGURE = "memory_bandwidth_vs_threads_recnmp_fig6.csv"
WORKLOAD = "sls_batch256"
PEAK_GB_PER_S = 76.8
"""Peak of the machine in the figure. [GB/s]"""


def reached_gb_per_s(threads: float, one_gb_per_s: float, fraction: float, sharpness: float) -> float:
    """Bandwidth that `threads` reach together when one alone reaches `one_gb_per_s`. [GB/s]"""
    reachable = PEAK_GB_PER_S * fraction
    slowdown = saturation_stretch(threads * one_gb_per_s / reachable, sharpness)
    return threads * one_gb_per_s * saturation_stretch(one_gb_per_s / reachable, sharpness) / slowdown


def fit_saturation() -> tuple[float, float]:
    """Random fraction of the peak, and sharpness of saturation, by least squares of logarithms. [1]"""
    rows = [row for row in read_rows(FIGURE) if row["workload"] == WORKLOAD]
    points = [(float(row["threads"]), float(row["bandwidth_gb_per_s"])) for row in rows]
    one = next(bandwidth for threads, bandwidth in points if threads == 1)

    def errors(constants: np.ndarray) -> list[float]:
        return [
            np.log(reached_gb_per_s(threads, one, *constants) / bandwidth) for threads, bandwidth in points
        ]

    fraction, sharpness = least_squares(errors, [0.8, 2.0]).x
    return float(fraction), float(sharpness)
