"""How far a number is to be trusted."""

from enum import IntEnum
from typing import Literal

BasisLabel = Literal[
    "measured", "measured table", "interpolated", "fitted", "derived", "assumed", "extrapolated"
]
"""The words for it that reports print, from best to worst."""

_LABELS: tuple[BasisLabel, ...] = (
    "measured",
    "measured table",
    "interpolated",
    "fitted",
    "derived",
    "assumed",
    "extrapolated",
)


class Basis(IntEnum):
    """Where a time comes from, from best to worst; a sum is as weak as its weakest part."""

    MEASURED = 0  # this very point was measured
    TABLE = 1  # whoever wrote a table of service times says that it was measured
    INTERPOLATED = 2  # between measured points
    FITTED = 3  # a formula with constants fitted to measurements or published figures
    DERIVED = 4  # carried over from another machine by the ratios of their hardware
    ASSUMED = 5  # a constant without a fit behind it plays a part
    EXTRAPOLATED = 6  # outside the calibrated range

    @property
    def label(self) -> BasisLabel:
        """The word that reports print."""
        return _LABELS[self]
