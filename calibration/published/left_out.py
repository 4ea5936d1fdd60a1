"""What fits say of a model whose figures they have not seen: each model left out, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from calibration.published.figures import HPCA, Models, Point, all_points
from calibration.published.fitted import Fitted, device_of
from calibration.published.stacks import fit_bare_kernels, fit_serving


def points_of_models_left_out(fitted: Sequence[Fitted], models: Models) -> list[Point]:
    """Times and ratios of every model in the figures, predicted by fits to the other models alone.

    A model that is left out is left out of every stage: a card that was fitted to it under one stack would
    carry it into the next. What the model under study takes no part in is not fitted again.

    Parameters
    ----------
    fitted : sequence of Fitted
        The fit to everything.
    models : mapping
        By name.
    """
    bare = {entry.device: entry for entry in fitted if entry.stack == HPCA}
    serving = [entry for entry in fitted if entry.stack != HPCA]
    found: list[Point] = []
    for model in models_of(bare.values()):
        found += _own(model, list(fit_bare_kernels(models, without=model).values()), models)
    for model in models_of(serving):
        found += _own(model, fit_serving(bare, models, without=model), models)
    return found


def models_of(fitted: Iterable[Fitted]) -> list[str]:
    """Models that the figures of some fits were measured with."""
    return sorted({point.model for entry in fitted for point in entry.measured(entry.left_out)})


def _own(model: str, fitted: Sequence[Fitted], models: Models) -> list[Point]:
    """The model's times and ratios, as fits without it predict them."""
    devices = dict(device_of(entry.device, entry.stack, entry.costs) for entry in fitted)
    figures = sorted({figure for entry in fitted for figure in entry.figures})
    points = [point for point in all_points(figures, models, devices) if point.model == model]
    return [point for point in points if point.headline and point.unit == "relative"]
