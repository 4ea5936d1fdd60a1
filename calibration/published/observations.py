"""Published values beside their predictions, and the files that hold them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from math import log
from pathlib import Path
from typing import Literal, NamedTuple

DATA = Path(__file__).parent

Unit = Literal["relative", "percentage points"]
Row = dict[str, str]

RELATIVE_SCALE = 0.10
"""Error of a time or a ratio that weighs as much as one spread of a parameter. [ln]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One published value beside its prediction.

    Attributes
    ----------
    figure, label, quantity : str
        File, the case (model, device, batch), and what was read off.
    published, predicted : float
        In the figure's unit.
    unit : {"relative", "percentage points"}
        How the error is counted.
    headline : bool
        Whether it counts towards the file's mean error; parts of a total do not.
    weight : float
        How much a fit cares: for a part, the square root of its share, so that a part of 2 % of the
        total does not pull like one of 90 %. [1]

    Examples
    --------
    >>> round(Case("fig8.csv", "rmc1, batch 16").ratio("latency [ms]", 0.20, 0.15).error, 2)
    -0.25
    """

    figure: str
    label: str
    quantity: str
    published: float
    predicted: float
    unit: Unit
    headline: bool = True
    weight: float = 1.0

    @property
    def model(self) -> str:
        """The model that was measured; of figures about a machine alone, what ran on it."""
        return self.label.partition(",")[0]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all other points."""
        return self.figure, self.label, self.quantity

    @property
    def case(self) -> tuple[str, str]:
        """Model, and batch or copies: the measurement that a point is a part of, on whatever device."""
        return self.model, self.label.rpartition(", ")[2]

    @property
    def log_error(self) -> float:
        """Logarithm of predicted over published; for times and ratios."""
        return log(max(self.predicted, 1e-12) / self.published)

    @property
    def error(self) -> float:
        """Signed: predicted over published - 1, or the difference of percentages."""
        if self.unit == "relative":
            return self.predicted / self.published - 1.0
        return self.predicted - self.published


class Case(NamedTuple):
    """What was measured: the file and the case in it. Makes the points read off there."""

    figure: str
    label: str

    def ratio(
        self,
        quantity: str,
        published: float,
        predicted: float,
        *,
        headline: bool = True,
        weight: float = 1.0,
    ) -> Point:
        """A time, a rate or a ratio, whose error is relative."""
        return Point(
            figure=self.figure,
            label=self.label,
            quantity=quantity,
            published=published,
            predicted=predicted,
            unit="relative",
            headline=headline,
            weight=weight,
        )

    def percentage(
        self, quantity: str, published: float, predicted: float, *, headline: bool = True
    ) -> Point:
        """A share, whose error is counted in percentage points."""
        return Point(
            figure=self.figure,
            label=self.label,
            quantity=quantity,
            published=published,
            predicted=predicted,
            unit="percentage points",
            headline=headline,
        )


@cache
def read_rows(file: str) -> list[Row]:
    """Read one of the data files beside this module, once: a fit asks for them thousands of times."""
    with (DATA / file).open(newline="") as lines:
        return list(csv.DictReader(lines))
