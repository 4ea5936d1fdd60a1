"""How far a number is to be trusted."""

from enum import IntEnum
from typing import Literal

BasisLabel = Literal["measured", "interpolated", "fitted", "assumed", "extrapolated"]
"""The words for it that reports print, from best to worst."""

_LABELS: tuple[BasisLabel, ...] = ("measured", "interpolated", "fitted", "assumed", "extrapolated")


class Basis(IntEnum):
    """Where a time comes from, from best to worst; a sum is as weak as its weakest part."""

    MEASURED = 0  # this very point was measured
    INTERPOLATED = 1  # between measured points
    FITTED = 2  # a formula with constants fitted to measurements or published figures
    ASSUMED = 3  # a constant without a fit behind it plays a part
    EXTRAPOLATED = 4  # outside the calibrated range

    @property
    def label(self) -> BasisLabel:
        """The word that reports print."""
        return _LABELS[self]
