"""One stage of the fit: least squares over the logarithms of a few groups of costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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
    """What a stage found.

    Attributes
    ----------
    costs, spreads : mapping
        Costs of each group, and the spreads that the figures leave them. [unit of the key], [ln]
    left_out : tuple of Point
        The stage's points as they would be predicted had their case been left out of the fit, all parts of
        it, on all devices: see `_left_out`.
    """

    costs: Mapping[str, Costs]
    spreads: Mapping[str, Mapping[str, float]]
    left_out: tuple[Point, ...]


def fit_stage(stage: Stage, models: Models) -> Outcome:
    """Least squares over the logarithms of all free parameters of a stage.

    Residuals are errors over their scale, plus each parameter's distance from its start over its spread:
    the start is a prior, and the spreads left come from the curvature at the optimum.
    """
    table = {(group, key): value for group, own in stage.groups.items() for key, value in own.items()}
    names = [name for name, parameter in table.items() if parameter.spread > 0]
    start = np.log([table[name].start for name in names])
    spread = np.array([table[name].spread for name in names])

    def points_at(logs: Floats) -> list[Point]:
        devices = stage.assemble(_costs_at(stage.groups, names, logs))
        return [point for point in all_points(stage.files, models, devices) if stage.keep(point)]

    def residuals(logs: Floats) -> Floats:
        misses = [scaled_residual(point) for point in points_at(logs)]
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
    return Outcome(
        costs=_costs_at(stage.groups, names, solution.x),
        spreads=spreads,
        left_out=_left_out(points_at(solution.x), solution.jac),
    )


def _left_out(points: Sequence[Point], jacobian: Floats) -> tuple[Point, ...]:
    """Predict each case by a fit that has not seen it, to first order, without fitting again.

    With H = J (J'J)^-1 J' over all residuals, priors included, a case G that is left out of a linear least
    squares has residuals (1 - H_GG)^-1 r_G. Times and ratios only: shares are no time.
    """
    influence = jacobian @ np.linalg.solve(jacobian.T @ jacobian, jacobian.T)
    by_case: dict[tuple[str, str], list[int]] = {}
    for index, point in enumerate(points):
        by_case.setdefault(point.case, []).append(index)
    found = []
    for rows in by_case.values():
        own = np.array([scaled_residual(points[row]) for row in rows])
        unseen = np.linalg.solve(np.eye(len(rows)) - influence[np.ix_(rows, rows)], own)
        for row, residual in zip(rows, unseen, strict=True):
            point = points[row]
            if point.unit == "relative":
                log_error = float(residual) * RELATIVE_SCALE / point.weight
                found.append(replace(point, predicted=point.published * float(np.exp(log_error))))
    return tuple(found)


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
        return point.weight * point.log_error / RELATIVE_SCALE
    return point.error / (SHARE_SCALE_POINTS if point.headline else LOADING_SCALE_POINTS)
