"""What a fit found, and the profiles it becomes: each cost with its source, each stack with its error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.published.figures import FIGURES, HPCA, Models, Point, all_points
from calibration.published.profiles import HARDWARE, Costs, StackCosts, being_fitted, profile_of
from calibration.published.stages import Parameters
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


def profiles_from(fitted: Sequence[Fitted], models: Models, loaded: LoadedLevel) -> list[ProfileFile]:
    """Gather the stacks of each device into its profile, each cost with its source and mean error.

    Parameters
    ----------
    fitted : sequence of Fitted
        The costs of every stack.
    models : mapping
        The models that the figures were measured with, by name.
    loaded : mapping
        By device and stack: costs that show in a loaded node only; bare kernels of HPCA 2020 have none.
    """
    devices = dict(device_of(entry.device, entry.stack, entry.costs) for entry in fitted)
    points = all_points(list(FIGURES), models, devices)
    profiles = []
    for name in HARDWARE:
        stacks = {
            entry.stack: _stack_costs(entry, points, loaded.get((name, entry.stack), {}))
            for entry in fitted
            if entry.device == name
        }
        profiles.append(profile_of(name, stacks))
    return profiles


def _stack_costs(
    entry: Fitted, points: Iterable[Point], loaded: Mapping[str, tuple[float, str]]
) -> StackCosts:
    costs = {key: (value, entry.source(key)) for key, value in entry.costs.items()} | dict(loaded)
    own = [
        abs(point.error)
        for point in points
        if point.figure in entry.figures and point.headline and point.unit == "relative"
        if entry.stack != HPCA or entry.device in point.label
    ]
    source = f"fitted: mean absolute error over {len(own)} published points"
    return StackCosts(costs=costs, relative_error=(float(np.mean(own)), source))
