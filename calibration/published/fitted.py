"""What a fit found, and the profiles it becomes: each cost with its source, each stack with its error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from calibration.published.figures import HPCA, Models, Point
from calibration.published.profiles import HARDWARE, Costs, StackCosts, being_fitted, profile_of
from calibration.published.stages import Parameters
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.hardware import Device
from perfmodel.loading.profile_file import ProfileFile

LoadedLevel = Mapping[tuple[str, str], Mapping[str, tuple[float, str]]]
"""Costs that show in a loaded node only, by device and stack: each value with its source."""

UNDECIDED = 0.9
"""Where the figures leave this much of the spread that a constant had before, they say nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Costs of one stack on one device, and where they come from.

    Attributes
    ----------
    parameters, spreads : mapping
        What the costs were fitted from, and the spread that the figures leave each. [ln]
    figures : tuple of str
        The data files used.
    left_out : tuple of Point
        Their times and ratios, each predicted by a fit that did not see its case.
    """

    device: str
    stack: str
    costs: Costs
    parameters: Parameters
    spreads: Mapping[str, float]
    figures: tuple[str, ...]
    left_out: tuple[Point, ...] = ()

    def measured(self, points: Iterable[Point]) -> list[Point]:
        """Times and ratios among the points that were measured with this device and stack."""
        return [
            point
            for point in points
            if point.figure in self.figures and point.headline and point.unit == "relative"
            if self.stack != HPCA or self.device in point.label
        ]

    def own_error(self, points: Sequence[Point]) -> float:
        """Root mean square of the logarithm's error of this device's times. [ln]

        DeepRecSys's figures are ratios of a CPU's and a card's times, which do not tell whose error it is:
        two errors of one size, independent of each other, have a ratio of sqrt(2) of either.
        """
        return rms_log_error(points) / (1.0 if self.stack == HPCA else sqrt(2.0))

    def source(self, key: str) -> str:
        """Where a cost comes from: the figures, or its start where they say nothing about it."""
        parameter, spread = self.parameters[key], self.spreads[key]
        moved = abs(float(np.log(self.costs[key] / parameter.start)))
        if spread >= UNDECIDED * parameter.spread and moved <= parameter.spread:
            return f"assumed: {parameter.reason}"
        percent = f"+-{100 * np.expm1(spread):.0f} %"
        return (
            f"fitted: {', '.join(self.figures)} ({percent}); "
            f"expected {parameter.start:.3g}: {parameter.reason}"
        )


def device_of(name: str, stack: str, costs: Costs) -> tuple[tuple[str, str], Device]:
    """Build a device in the middle of a fit, with the key that `Devices` has it under."""
    return (name, stack), profile_of(name, {stack: being_fitted(costs)}).device(stack)


def profiles_from(
    fitted: Sequence[Fitted], models: Models, loaded: LoadedLevel, unseen: Sequence[Point]
) -> list[ProfileFile]:
    """Gather the stacks of each device into its profile, each cost with its source, and its errors.

    Parameters
    ----------
    fitted : sequence of Fitted
        The costs of every stack.
    models : mapping
        The models that the figures were measured with, by name.
    loaded : mapping
        By device and stack: costs that show in a loaded node only; bare kernels of HPCA 2020 have none.
    unseen : sequence of Point
        Every model's figures as fits without it predict them.
    """
    return [
        profile_of(
            name,
            {
                entry.stack: _stack_costs(
                    entry,
                    [other for other in fitted if other.stack == entry.stack],
                    models,
                    loaded.get((name, entry.stack), {}),
                    unseen,
                )
                for entry in fitted
                if entry.device == name
            },
        )
        for name in HARDWARE
    ]


def _stack_costs(
    entry: Fitted,
    same_stack: Sequence[Fitted],
    models: Models,
    loaded: Mapping[str, tuple[float, str]],
    unseen: Sequence[Point],
) -> StackCosts:
    """Costs of a stack on one device; its errors are those on all devices that it was fitted on.

    Six points a server, of two models, say little of one server's own error.
    """
    costs = {key: (value, entry.source(key)) for key, value in entry.costs.items()} | dict(loaded)
    other_models = _each_once(point for one in same_stack for point in one.measured(unseen))
    other_cases = _each_once(point for one in same_stack for point in one.measured(one.left_out))
    names = tuple(sorted({point.model for point in other_models}))
    halved = "" if entry.stack == HPCA else "; of each ratio of two devices, half the square to either"
    error = entry.own_error(other_models)
    errors = {
        "relative_error": (
            error,
            f"fitted: root mean square (logarithm) over {len(other_models)} points of {len(names)} models "
            f"left out, one at a time{halved}",
        ),
        "relative_error_of_fitted_models": (
            entry.own_error(other_cases),
            f"fitted: root mean square (logarithm) over {len(other_cases)} points, each batch of a model "
            f"left out in turn, to first order{halved}",
        ),
    }
    if (slowdown := loaded.get("node_slowdown")) is not None:
        errors["node_slowdown_spread"] = _slowdown_spread(slowdown, error)
    kinds = {kernel.family for name in names for kernel in lower(models[name])}
    return StackCosts(costs=costs, errors=errors, models=names, kinds=tuple(sorted(kinds)))


def _each_once(points: Iterable[Point]) -> list[Point]:
    """A ratio of two devices is a point of both."""
    return list({(point.figure, point.label, point.quantity): point for point in points}.values())


def _slowdown_spread(slowdown: tuple[float, str], error: float) -> tuple[float, str]:
    """How far off a slow-down may be that one value fixes, or none. [ln]"""
    factor, source = slowdown
    if source.startswith("assumed: "):
        return float(np.log(factor)) / 2.0, "assumed: no slow-down at all lies two spreads away"
    return error, "assumed: one value fixes it, through times of one batch that are off by as much"


def rms_log_error(points: Sequence[Point]) -> float:
    """Root mean square of the logarithms of predicted over published. [ln]"""
    return float(np.sqrt(np.mean([point.log_error**2 for point in points])))
