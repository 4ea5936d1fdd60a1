"""One stage of the fit: least squares over the logarithms of a few groups of costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from calibration.published.figures import Devices, Models, Point, all_points
from calibration.published.observations import RELATIVE_SCALE
from calibration.published.parameters import Parameter
from calibration.published.profiles import Costs
from perfmodel.costmodel.kernels import Floats

SHARE_SCALE_POINTS = 3.0
"""Error of a share that weighs as much as one spread of a parameter. [percentage points]"""
LOADING_SCALE_POINTS = 8.0
"""The same for the share of data loading, which a figure gives beside its speed-ups. [percentage points]"""
AT_MOST_ONE = "gemm_efficiency"
"""A fraction of a peak: its logarithm ends at 0."""

Parameters = Mapping[str, Parameter]
Name = tuple[str, str]
"""Group and key of a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is fitted together.

    Attributes
    ----------
    groups : mapping
        Parameters by group; a group may be part of several devices' costs.
    assemble : callable
        Costs of each group to the devices that the figures were measured on.
    files : sequence of str
        The figures' data files.
    keep : callable
        Which of their points count.
    """

    groups: Mapping[str, Parameters]
    assemble: Callable[[Mapping[str, Costs]], Devices]
    files: Sequence[str]
    keep: Callable[[Point], bool] = lambda _: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Costs of each group, and the spreads that the figures leave them. [unit of the key], [ln]"""

    costs: Mapping[str, Costs]
    spreads: Mapping[str, Mapping[str, float]]


def fit_stage(stage: Stage, models: Models) -> Outcome:
    """Least squares over the logarithms of all free parameters of a stage.

    Residuals are errors over their scale, plus each parameter's distance from its start over its spread:
    the start is a prior, and the spreads left come from the curvature at the optimum.
    """
    table = {(group, key): value for group, own in stage.groups.items() for key, value in own.items()}
    names = [name for name, parameter in table.items() if parameter.spread > 0]
    start = np.log([table[name].start for name in names])
    spread = np.array([table[name].spread for name in names])

    def residuals(logs: Floats) -> Floats:
        devices = stage.assemble(_costs_at(stage.groups, names, logs))
        points = all_points(stage.files, models, devices)
        misses = [scaled_residual(point) for point in points if stage.keep(point)]
        return np.concatenate([misses, (logs - start) / spread])

    upper = np.array([-1e-9 if key == AT_MOST_ONE else np.inf for _, key in names])
    solution = least_squares(
        residuals, start, method="trf", bounds=(-np.inf, upper), max_nfev=40, xtol=1e-4, ftol=1e-4
    )
    left = np.sqrt(np.diag(np.linalg.inv(solution.jac.T @ solution.jac)))
    remaining = dict(zip(names, map(float, left), strict=True))
    spreads = {
        group: {key: remaining.get((group, key), 0.0) for key in own} for group, own in stage.groups.items()
    }
    return Outcome(costs=_costs_at(stage.groups, names, solution.x), spreads=spreads)


def _costs_at(groups: Mapping[str, Parameters], names: Iterable[Name], logs: Floats) -> dict[str, Costs]:
    """Costs of every group where the free parameters stand at `logs` and the others at their start."""
    free = {name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)}
    return {
        group: {key: free.get((group, key), parameter.start) for key, parameter in own.items()}
        for group, own in groups.items()
    }


def scaled_residual(point: Point) -> float:
    """Error over its scale: logarithms for times and ratios, points for percentages."""
    if point.unit == "relative":
        return point.weight * float(np.log(max(point.predicted, 1e-12) / point.published)) / RELATIVE_SCALE
    return point.error / (SHARE_SCALE_POINTS if point.headline else LOADING_SCALE_POINTS)
