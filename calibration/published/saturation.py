"""How memory saturates under lookups: the two constants that every server profile shares.

Fitted to RecNMP Fig. 6, which measured lookups on an 18-core Skylake by the number of threads: calls of 256
items, and of 8, which show what a call costs beside its lines, and that this grows with the threads at it.
The random loads of the same figure, by another tool, are left for comparison.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from calibration.published.observations import read_rows
from perfmodel.costmodel.contention import saturation_stretch

FIGURE = "memory_bandwidth_vs_threads_recnmp_fig6.csv"
WORKLOAD = "sls_batch256"
BATCHES = {WORKLOAD: 256, "sls_batch8": 8}
"""Items of a call. [items]"""
FIXED_POINT_STEPS = 40
PEAK_GB_PER_S = 76.8
"""Peak of the machine in the figure. [GB/s]"""


def reached_gb_per_s(threads: float, one_gb_per_s: float, fraction: float, sharpness: float) -> float:
    """Bandwidth that `threads` reach together when one alone reaches `one_gb_per_s`. [GB/s]"""
    reachable = PEAK_GB_PER_S * fraction
    slowdown = saturation_stretch(threads * one_gb_per_s / reachable, sharpness)
    return threads * one_gb_per_s * saturation_stretch(one_gb_per_s / reachable, sharpness) / slowdown


class Calls(NamedTuple):
    """What calls of one process's threads take.

    Attributes
    ----------
    one_gb_per_s : float
        Rate of lines of one thread, inside a call. [GB/s]
    call_items : float
        Cost of a call, in the time that one thread takes for the lines of so many items. [items]
    growth : float
        Of that cost by each further thread. [1]
    """

    one_gb_per_s: float
    call_items: float
    growth: float


def called_gb_per_s(
    threads: float, batch_size: int, calls: Calls, fraction: float, sharpness: float
) -> float:
    """Bandwidth that `threads` reach together in calls of `batch_size` items. [GB/s]

    n b / (b s + c (1 + g (n - 1))) times one thread's rate of lines, c being the cost of a call, g its
    growth, and s how far memory is saturated by the demand of threads that are not in a call's fixed part.
    """
    one = calls.one_gb_per_s / (PEAK_GB_PER_S * fraction)
    call_items = calls.call_items * (1.0 + calls.growth * (threads - 1.0))
    slowdown = 1.0
    for _ in range(FIXED_POINT_STEPS):
        waiting = batch_size * slowdown / (batch_size * slowdown + call_items)
        demand = one * (1.0 + (threads - 1.0) * waiting)
        next_one = saturation_stretch(demand, sharpness) / saturation_stretch(one, sharpness)
        slowdown = 0.5 * (slowdown + next_one)
    return threads * batch_size * calls.one_gb_per_s / (batch_size * slowdown + call_items)


@cache
def fit_calls(fraction: float, sharpness: float) -> Calls:
    """Rate of lines, cost of a call and its growth, by both batch sizes, with saturation as fitted."""
    points = [
        (float(row["threads"]), BATCHES[row["workload"]], float(row["bandwidth_gb_per_s"]))
        for row in read_rows(FIGURE)
        if row["workload"] in BATCHES
    ]

    def errors(logs: np.ndarray) -> list[float]:
        calls = Calls(*np.exp(logs).tolist())
        return [
            np.log(called_gb_per_s(threads, batch_size, calls, fraction, sharpness) / bandwidth)
            for threads, batch_size, bandwidth in points
        ]

    return Calls(*np.exp(least_squares(errors, np.log([6.0, 1.0, 0.3])).x).tolist())


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
