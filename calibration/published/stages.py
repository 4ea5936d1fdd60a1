"""One stage of the fit: least squares over the logarithms of a few groups of costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from calibration.published.figures import Devices, Known, Models, Point, all_points
from calibration.published.observations import RELATIVE_SCALE
from calibration.published.parameters import Parameter
from calibration.published.profiles import Costs
from perfmodel.costmodel.kernels import Floats

SHARE_SCALE_POINTS = 3.0
"""Error of a share that weighs as much as one spread of a parameter. [percentage points]"""
LOADING_SCALE_POINTS = 8.0
"""The same for the share of data loading, which a figure gives beside its speed-ups. [percentage points]"""
UNDECIDED = 0.9
"""Where the figures leave this much of the spread that a constant had before, they say nothing about it."""
AT_MOST_ONE = "gemm_efficiency"
"""A fraction of a peak: its logarithm ends at 0."""

CONVERGED = 0.01
"""Of the cost: a search by secants that falls by less when it begins again has arrived. [1]"""
MOST_RESTARTS = 8
STEP = 1e-6
"""Of finite differences. [ln]"""

Parameters = Mapping[str, Parameter]
Name = tuple[str, str]
"""Group and key of a parameter."""
Slopes = Mapping[tuple[str, str, str], Floats]
"""Figure, case and quantity of a point to the derivatives of its scaled residual by each free parameter."""


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
    pinned : mapping
        Of each group the constants that the points of one model alone narrow, with that model: without it
        they keep the spread that they had before.
    slopes : mapping
        Of the points, at the optimum.
    left_out : tuple of Point
        The stage's points as they would be predicted had their case been left out of the fit, all parts of
        it, on all devices: see `_left_out`.
    """

    costs: Mapping[str, Costs]
    spreads: Mapping[str, Mapping[str, float]]
    pinned: Mapping[str, Mapping[str, str]]
    slopes: Slopes
    left_out: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Where a search begins, if not at the start of each parameter: it saves steps and decides nothing.

    Attributes
    ----------
    costs : mapping
        By group.
    slopes : mapping or None
        Of a fit to more points that ended there: the search keeps them up by secants, and begins again with
        finite differences until that gains nothing. None: finite differences at each step.
    """

    costs: Mapping[str, Costs]
    slopes: Slopes | None = None


def fit_stage(stage: Stage, models: Models, begin: Begin | None = None) -> Outcome:
    """Least squares over the logarithms of all free parameters of a stage.

    Residuals are errors over their scale, plus each parameter's distance from its start over its spread:
    the start is a prior, and the spreads left come from the curvature at the optimum.
    """
    table = {(group, key): value for group, own in stage.groups.items() for key, value in own.items()}
    names = [name for name, parameter in table.items() if parameter.spread > 0]
    start = np.log([table[name].start for name in names])
    spread = np.array([table[name].spread for name in names])
    first = start if begin is None else np.log([begin.costs[group][key] for group, key in names])

    known: Known = {}

    def points_at(logs: Floats) -> list[Point]:
        devices = stage.assemble(_costs_at(stage.groups, names, logs))
        points = all_points(stage.files, models, devices, known)
        return [point for point in points if stage.keep(point)]

    def residuals(logs: Floats) -> Floats:
        misses = [scaled_residual(point) for point in points_at(logs)]
        return np.concatenate([misses, (logs - start) / spread])

    upper = np.array([-1e-9 if key == AT_MOST_ONE else np.inf for _, key in names])
    first = np.minimum(first, upper - 1e-6)

    def search(at: Floats, jacobian: Literal["2-point"] | Secants = "2-point") -> OptimizeResult:
        limits = (-np.inf, upper)
        return least_squares(residuals, at, jacobian, limits, max_nfev=40, xtol=1e-4, ftol=1e-4)

    if begin is None or begin.slopes is None:
        solution = search(first)
    else:
        own = [begin.slopes[point.key] for point in points_at(first)]
        solution = search(first, Secants(residuals, np.vstack([*own, np.diag(1.0 / spread)])))
        for _ in range(MOST_RESTARTS):
            cost = solution.cost
            solution = search(solution.x, Secants(residuals, backward_differences(residuals, solution.x)))
            if cost - solution.cost < CONVERGED * cost:
                break
    left = np.sqrt(np.diag(np.linalg.inv(solution.jac.T @ solution.jac)))
    remaining = dict(zip(names, map(float, left), strict=True))
    spreads = {
        group: {key: remaining.get((group, key), 0.0) for key in own} for group, own in stage.groups.items()
    }
    points = points_at(solution.x)
    pinned = _pinned(points, solution.jac, spread)
    return Outcome(
        costs=_costs_at(stage.groups, names, solution.x),
        spreads=spreads,
        pinned={
            group: {
                key: pinned[number]
                for number, (own, key) in enumerate(names)
                if own == group and number in pinned
            }
            for group in stage.groups
        },
        slopes={point.key: row for point, row in zip(points, solution.jac, strict=False)},
        left_out=_left_out(points, solution.jac),
    )


def backward_differences(residuals: Callable[[Floats], Floats], logs: Floats) -> Floats:
    """Derivatives of all residuals, from steps back: some parameters end where they stand."""
    here = residuals(logs)
    return np.stack([(here - residuals(logs - STEP * one)) / STEP for one in np.eye(len(logs))], axis=1)


class Secants:
    """A Jacobian kept up to date by what each step changed (Broyden's rank-one update).

    Parameters
    ----------
    residuals : callable
        Of the parameters.
    jacobian : (m, n) float array
        Near where the search begins.

    References
    ----------
    .. [1] C. G. Broyden, "A Class of Methods for Solving Nonlinear Simultaneous Equations", Mathematics of
       Computation 19(92), 1965.
    """

    def __init__(self, residuals: Callable[[Floats], Floats], jacobian: Floats) -> None:
        self._residuals = residuals
        self._jacobian = jacobian
        self._at: tuple[Floats, Floats] | None = None

    def __call__(self, logs: Floats) -> Floats:
        """Return the derivatives at a point that the search has come to."""
        found = self._residuals(logs)
        if self._at is not None:
            step, change = logs - self._at[0], found - self._at[1]
            missed = change - self._jacobian @ step
            self._jacobian = self._jacobian + np.outer(missed, step) / max(float(step @ step), 1e-300)
        self._at = logs.copy(), found
        return self._jacobian


def _pinned(points: Sequence[Point], jacobian: Floats, spread: Floats) -> dict[int, str]:
    """Which parameters the points of one model alone narrow: number of the parameter to model.

    Without the rows of a model, J'J keeps what all others and the priors say.
    """
    whole, found = jacobian.T @ jacobian, dict[int, str]()
    narrowed = np.sqrt(np.diag(np.linalg.inv(whole))) < UNDECIDED * spread
    for model in sorted({point.model for point in points}):
        own = jacobian[[row for row, point in enumerate(points) if point.model == model]]
        without = np.sqrt(np.diag(np.linalg.inv(whole - own.T @ own)))
        found |= dict.fromkeys(np.flatnonzero(narrowed & (without >= UNDECIDED * spread)).tolist(), model)
    return found


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
