"""A published evaluation, recomputed: every figure beside the published one, and what it is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from calibration.documents import (
    VERSION,
    ComparedDocument,
    DrawingDocument,
    ReproductionDocument,
    SectionDocument,
)
from calibration.published.observations import DATA
from calibration.published.profiles import DEFAULT_STACK
from perfmodel.loading.inputs import InputFile, input_files
from perfmodel.loading.shipped import find_file, shipped_names
from perfmodel.report.documents import saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure.

    Attributes
    ----------
    case : str
        Of what: a model, a server, an SLA.
    quantity : str
        What was computed, its unit in square brackets.
    predicted : float or None
        By the shipped profiles; None: it does not exist, as where no load meets the SLA.
    published : float or None
        None: nothing was published.
    setting : str
        What goes with the prediction, such as the batch size behind a gain; may be empty.
    cause : str
        Why it deviates, as far as that is known; may be empty.
    detail : bool
        Whether it is part of another figure or stands behind one: left out where space is short.
    """

    case: str
    quantity: str
    predicted: float | None
    published: float | None = None
    setting: str = ""
    cause: str = ""
    detail: bool = False

    @property
    def deviation(self) -> float | None:
        """Predicted over published, less 1; None where either does not exist. [1]"""
        if self.predicted is None or self.published is None:
            return None
        return self.predicted / self.published - 1.0

    def to_dict(self) -> ComparedDocument:
        """Return the entry of the JSON document."""
        deviation = self.deviation
        return {
            "case": self.case,
            "quantity": self.quantity,
            "predicted": self.predicted,
            "published": self.published,
            "deviation_percent": None if deviation is None else 100.0 * deviation,
            "setting": self.setting or None,
            "cause": self.cause or None,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points of one line in a plot; those without a value are left out."""

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlot:
    """Lines over one quantity."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False

    def to_dict(self) -> DrawingDocument:
        """Return the entry of the JSON document."""
        return {
            "title": self.title,
            "kind": "lines",
            "x_label": self.x_label,
            "y_label": self.y_label,
            "log_x": self.log_x,
            "log_y": self.log_y,
            "series": [
                {"name": line.name, "published": line.published, "x": list(line.x), "y": list(line.y)}
                for line in self.lines
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPlot:
    """Bars side by side in each group; `heights` has a name for each bar."""

    title: str
    y_label: str
    groups: tuple[str, ...]
    heights: dict[str, tuple[float | None, ...]]

    def to_dict(self) -> DrawingDocument:
        """Return the entry of the JSON document; what its name calls published is."""
        return {
            "title": self.title,
            "kind": "bars",
            "x_label": None,
            "y_label": self.y_label,
            "log_x": False,
            "log_y": False,
            "series": [
                {"name": name, "published": "published" in name, "x": list(self.groups), "y": list(each)}
                for name, each in self.heights.items()
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the evaluation: what it asks, what was found, how it looks."""

    title: str
    prose: str
    rows: tuple[Compared, ...]
    plots: tuple[LinePlot | BarPlot, ...] = ()

    def to_dict(self) -> SectionDocument:
        """Return the entry of the JSON document."""
        return {
            "title": self.title,
            "prose": self.prose,
            "rows": [row.to_dict() for row in self.rows],
            "drawings": [plot.to_dict() for plot in self.plots],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A whole evaluation.

    Attributes
    ----------
    name : str
        As `perfplan reproduce` knows it.
    title, source : str
        What was recomputed, and where it was published.
    sections : tuple of Section
        In the order of the page.
    simulated_queries : int
        In all searches; 0 where nothing was simulated.
    asked_queries : int or None
        Behind every final rate, where that was asked for; None: as many as the evaluation has by itself.
    """

    name: str
    title: str
    source: str
    sections: tuple[Section, ...]
    simulated_queries: int = 0
    asked_queries: int | None = None

    @property
    def command(self) -> str:
        """What asks for it again."""
        queries = "" if self.asked_queries is None else f" --queries {self.asked_queries}"
        return f"perfplan reproduce {self.name}{queries}"

    @property
    def compared(self) -> tuple[Compared, ...]:
        """All figures that have a published one, details left out."""
        rows = (row for section in self.sections for row in section.rows)
        return tuple(row for row in rows if row.published is not None and not row.detail)

    def to_dict(self) -> ReproductionDocument:
        """Return the JSON document."""
        return {
            **saved("reproduce", VERSION, published_inputs()),
            "evaluation": self.name,
            "title": self.title,
            "source": self.source,
            "sections": [section.to_dict() for section in self.sections],
            "simulated_queries": self.simulated_queries,
            "command": self.command,
        }


def published_inputs() -> tuple[InputFile, ...]:
    """What evaluations are computed from: published figures, models, and the profiles fitted to them."""
    models = [find_file("model", name) for name in shipped_names("model")]
    profiles = [find_file("profile", name) for name in sorted(DEFAULT_STACK)]
    figures = (
        each._replace(name=f"published/{Path(each.name).name}")
        for each in input_files(sorted(DATA.glob("*.csv")))
    )
    return (*figures, *input_files([*models, *profiles]))
