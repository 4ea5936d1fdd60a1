"""What fits say of a model whose figures they have not seen: each model left out, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from calibration.published.crossings import CROSSING, crossing_points
from calibration.published.figures import HPCA, Models, Point, all_points, is_deviation
from calibration.published.fitted import Fitted, device_of
from calibration.published.stacks import fit_bare_kernels, fit_serving
from perfmodel.loading.written import write_atomically

REPORTS = Path(__file__).resolve().parents[2] / "docs" / "reports"
FILE = "left-out-models.json"
ISCA_SPEEDUP, REPOSITORY_SPEEDUP = "gpu_speedup_isca2020_fig9.csv", "gpu_speedup_repository.csv"


def points_of_models_left_out(fitted: Sequence[Fitted], models: Models) -> list[Point]:
    """Times, ratios and shares of every model in the figures, predicted by fits to the other models alone.

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
        found += _own(model, list(fit_bare_kernels(models, without=model, near=bare).values()), models)
    for model in models_of(serving):
        found += _own(model, fit_serving(bare, models, without=model, near=serving), models)
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
    is_ratio : bool
        Of times on two devices: half the square of its error is charged to either.
    """

    fitted: str
    model: str
    case: str
    published: float
    predicted: float
    is_ratio: bool

    @property
    def stack(self) -> str:
        """The stack's name alone."""
        return self.fitted.partition("@")[2]

    @property
    def log_error(self) -> float:
        """Logarithm of predicted over published."""
        return log(self.predicted / self.published)


def write_left_out(fitted: Sequence[Fitted], unseen: Sequence[Point]) -> None:
    """Keep the predictions of models left out: a ratio of a CPU and a card under the names of both."""
    points = [
        LeftOutPoint(
            fitted=f"{entry.device}@{entry.stack}",
            model=point.model,
            case=f"{point.label}, {point.quantity}",
            published=point.published,
            predicted=float(f"{point.predicted:.5g}"),
            is_ratio=not entry.is_of_one_device(point),
        )
        for entry in fitted
        for point in entry.measured(unseen)
    ]
    write_atomically(REPORTS / FILE, json.dumps([asdict(point) for point in points], indent=1) + "\n")


def read_left_out() -> list[LeftOutPoint]:
    """The predictions that the last fit kept."""
    return [LeftOutPoint(**point) for point in json.loads((REPORTS / FILE).read_text(encoding="utf-8"))]


def left_out_table(fitted: Sequence[Fitted], unseen: Sequence[Point]) -> Iterator[str]:
    """The error of each stack on each model and figure that its fit did not see, and what one model pins."""
    yield ""
    yield "| stack | figure | model | values | mean error, not seen | worst |"
    yield "|---|---|---|---|---|---|"
    for stack in dict.fromkeys(entry.stack for entry in fitted):
        figures = {figure for entry in fitted if entry.stack == stack for figure in entry.figures}
        by_model: dict[tuple[str, str], list[Point]] = {}
        for point in unseen:
            if point.figure in figures and point.headline:
                said = f"{point.model}, left as deviations" if is_deviation(point) else point.model
                by_model.setdefault((point.figure, said), []).append(point)
        for (figure, model), own in sorted(by_model.items()):
            scale, unit = (100.0, "%") if own[0].unit == "relative" else (1.0, "pp")
            errors = [scale * point.error for point in own]
            mean, worst = fmean(abs(error) for error in errors), max(errors, key=abs)
            yield f"| {stack} | {figure} | {model} | {len(own)} | {mean:.1f} {unit} | {worst:+.1f} {unit} |"
    yield ""
    for entry in fitted:
        names = [f"{key} ({model})" for key, model in sorted(entry.pinned.items())]
        yield f"{entry.device}@{entry.stack}, pinned by one model alone: {', '.join(names) or 'nothing'}"


class Asked(NamedTuple):
    """Something that a fit is asked to say of models it has not seen.

    Attributes
    ----------
    what : str
        In words, with its unit.
    limit, found : float
        What is asked for at most, and what came out.
    """

    what: str
    limit: float
    found: float


def asked_of(unseen: Sequence[Point]) -> list[Asked]:
    """What is asked of models left out: means over figures, the worst model, and the worst cross-over."""
    speedups = [point for point in unseen if point.figure == REPOSITORY_SPEEDUP and point.headline]
    by_model = {
        name: 100.0 * fmean(abs(point.error) for point in speedups if point.model == name)
        for name in {point.model for point in speedups}
    }
    fig9 = [point for point in unseen if point.figure == ISCA_SPEEDUP and point.unit == "relative"]
    fig9 = [point for point in fig9 if point.headline]
    same = [point for point in fig9 if not is_deviation(point)]
    asked = [
        Asked("repository, speed-ups, mean [%]", 10.0, _mean_percent(speedups)),
        Asked("repository, speed-ups, mean of the worst model [%]", 20.0, max(by_model.values())),
    ]
    for name, marks in (("repository", ("repository",)), ("ISCA 2020 Fig. 6", ("isca2020_fig6",))):
        shares = [
            abs(point.error)
            for point in unseen
            if point.unit != "relative" and point.headline and "share" in point.figure
            if any(mark in point.figure for mark in marks)
        ]
        asked.append(Asked(f"{name}, shares, mean [points]", 2.5, fmean(shares)))
    asked += [
        Asked(
            "ISCA 2020 Fig. 9, speed-ups, mean, without RMC3's two deviations [%]", 25.0, _mean_percent(same)
        ),
        Asked("ISCA 2020 Fig. 9, speed-ups, mean, with them [%]", 25.0, _mean_percent(fig9)),
    ]
    asked += [
        Asked(f"{point.figure}, {point.model}: cross-over, factor off", 2.0, exp(abs(point.log_error)))
        for point in unseen
        if point.quantity == CROSSING
    ]
    return asked


def asked_table(unseen: Sequence[Point]) -> Iterator[str]:
    """What is asked of models left out beside what came out, and whether it holds. Markdown."""
    yield "| not seen | asked: at most | found | holds |"
    yield "|---|---|---|---|"
    for what, limit, found in asked_of(unseen):
        yield f"| {what} | {limit:g} | {found:.3g} | {'yes' if found <= limit else 'no'} |"


def _mean_percent(points: Sequence[Point]) -> float:
    return 100.0 * fmean(abs(point.error) for point in points)


def models_of(fitted: Iterable[Fitted]) -> list[str]:
    """Models that the figures of some fits were measured with."""
    return sorted({point.model for entry in fitted for point in entry.measured(entry.left_out)})


def _own(model: str, fitted: Sequence[Fitted], models: Models) -> list[Point]:
    """The model's times, ratios and shares, and its cross-over, as fits without it predict them."""
    devices = dict(device_of(entry.device, entry.stack, entry.costs) for entry in fitted)
    figures = sorted({figure for entry in fitted for figure in entry.figures})
    points = [point for point in all_points(figures, models, devices) if point.model == model]
    headlines = [point for point in points if point.headline]
    return [*headlines, *crossing_points(model, models, devices)]
