"""What a fit found, and the profiles it becomes: each cost with its source, each stack with its error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean

import numpy as np

from calibration.published.figures import HPCA, QUERY_TIMES, Models, Point
from calibration.published.profiles import HARDWARE, Costs, StackCosts, being_fitted, profile_of
from calibration.published.stages import UNDECIDED, Parameters, Slopes
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.hardware import Device
from perfmodel.loading.profile_file import ProfileFile

LoadedLevel = Mapping[tuple[str, str], Mapping[str, tuple[float, str]]]
"""Costs that show in a loaded node only, by device and stack: each value with its source."""


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
    slopes : mapping or None
        Of their points by what the fit moved; None: not fitted here.
    pinned : mapping
        Costs that the figures of one model alone narrow, with that model.
    """

    device: str
    stack: str
    costs: Costs
    parameters: Parameters
    spreads: Mapping[str, float]
    figures: tuple[str, ...]
    left_out: tuple[Point, ...] = ()
    slopes: Slopes | None = None
    pinned: Mapping[str, str] = field(default_factory=dict)

    def measured(self, points: Iterable[Point]) -> list[Point]:
        """Times and ratios among the points that were measured with this device and stack."""
        return [
            point
            for point in points
            if point.figure in self.figures and point.headline and point.unit == "relative"
            if self.device in point.label or (self.stack != HPCA and point.figure != QUERY_TIMES)
        ]

    def is_of_one_device(self, point: Point) -> bool:
        """Whether a point is a time on one device, and not the ratio of times on a CPU and a card."""
        return self.stack == HPCA or point.figure == QUERY_TIMES

    def own_error(self, points: Sequence[Point]) -> float:
        """Root mean square of the logarithm's error of this device's times. [ln]

        DeepRecSys's figures but one are ratios of a CPU's and a card's times, which do not tell whose error
        it is: two errors of one size, independent of each other, have a ratio of sqrt(2) of either.
        """
        whole = [self.is_of_one_device(point) for point in points]
        squares = [
            point.log_error**2 * (1.0 if own else 0.5) for point, own in zip(points, whole, strict=True)
        ]
        return sqrt(fmean(squares))

    def source(self, key: str) -> str:
        """Where a cost comes from: the figures, or its start where they say nothing about it."""
        parameter, spread = self.parameters[key], self.spreads[key]
        moved = abs(float(np.log(self.costs[key] / parameter.start)))
        if spread >= UNDECIDED * parameter.spread and moved <= parameter.spread:
            return f"assumed: {parameter.reason}"
        percent = f"+-{100 * np.expm1(spread):.0f} %"
        if key in self.pinned:
            percent += f", by {self.pinned[key]} alone"
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
    costs = {key: (value, entry.source(key)) for key, value in entry.costs.items()}
    costs |= {key: value for key, value in loaded.items() if key != "network_slowdown_spread"}
    charged = same_stack if entry.stack == HPCA else [entry]
    other_models = _each_once(point for one in charged for point in one.measured(unseen))
    other_cases = _each_once(point for one in charged for point in one.measured(one.left_out))
    count = len({point.model for point in other_models})
    names = tuple(sorted({point.model for point in entry.measured(unseen)}))
    halved = "" if entry.stack == HPCA else "; of each ratio of two devices, half the square to either"
    error = entry.own_error(other_models)
    errors = {
        "relative_error": (
            error,
            f"fitted: root mean square (logarithm) over {len(other_models)} points of {count} models "
            f"left out, one at a time{halved}",
        ),
        "relative_error_of_fitted_models": (
            entry.own_error(other_cases),
            f"fitted: root mean square (logarithm) over {len(other_cases)} points, each batch of a model "
            f"left out in turn, to first order{halved}",
        ),
    }
    if (spread := loaded.get("network_slowdown_spread")) is not None:
        errors["network_slowdown_spread"] = spread
    kinds = {kernel.family for name in names for kernel in lower(models[name])}
    return StackCosts(costs=costs, errors=errors, models=names, kinds=tuple(sorted(kinds)))


def _each_once(points: Iterable[Point]) -> list[Point]:
    """A ratio of two devices is a point of both."""
    return list({(point.figure, point.label, point.quantity): point for point in points}.values())


def rms_log_error(points: Sequence[Point]) -> float:
    """Root mean square of the logarithms of predicted over published. [ln]"""
    return float(np.sqrt(np.mean([point.log_error**2 for point in points])))
