"""What fits say of a model whose figures they have not seen: each model left out, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import log
from pathlib import Path

from calibration.published.figures import HPCA, Models, Point, all_points
from calibration.published.fitted import Fitted, device_of
from calibration.published.stacks import fit_bare_kernels, fit_serving
from perfmodel.loading.written import write_atomically

REPORTS = Path(__file__).resolve().parents[2] / "docs" / "reports"
FILE = "left-out-models.json"
CARD = "gtx1080ti"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutPoint:
    """A time or a ratio as a fit without its model predicted it.

    Attributes
    ----------
    fitted : str
        The CPU and the stack of the fit, and the card beside it, if any.
    model, case : str
        What was left out, and what was measured of it.
    published, predicted : float
        In the figure's unit.
    """

    fitted: str
    model: str
    case: str
    published: float
    predicted: float

    @property
    def stack(self) -> str:
        """The stack's name alone."""
        return self.fitted.partition("@")[2]

    @property
    def log_error(self) -> float:
        """Logarithm of predicted over published."""
        return log(self.predicted / self.published)


def write_left_out(fitted: Sequence[Fitted], unseen: Sequence[Point]) -> None:
    """Keep the predictions of models left out: a ratio of a CPU and a card once, under the CPU's name."""
    points = [
        LeftOutPoint(
            fitted=f"{entry.device}@{entry.stack}",
            model=point.model,
            case=f"{point.label}, {point.quantity}",
            published=point.published,
            predicted=float(f"{point.predicted:.5g}"),
        )
        for entry in fitted
        if entry.device != CARD
        for point in entry.measured(unseen)
    ]
    write_atomically(REPORTS / FILE, json.dumps([asdict(point) for point in points], indent=1) + "\n")


def read_left_out() -> list[LeftOutPoint]:
    """The predictions that the last fit kept."""
    return [LeftOutPoint(**point) for point in json.loads((REPORTS / FILE).read_text(encoding="utf-8"))]


def models_of(fitted: Iterable[Fitted]) -> list[str]:
    """Models that the figures of some fits were measured with."""
    return sorted({point.model for entry in fitted for point in entry.measured(entry.left_out)})


def _own(model: str, fitted: Sequence[Fitted], models: Models) -> list[Point]:
    """The model's times and ratios, as fits without it predict them."""
    devices = dict(device_of(entry.device, entry.stack, entry.costs) for entry in fitted)
    figures = sorted({figure for entry in fitted for figure in entry.figures})
    points = [point for point in all_points(figures, models, devices) if point.model == model]
    return [point for point in points if point.headline and point.unit == "relative"]
