"""Time of a query outside the node that a model runs on: a number, or a distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import Milliseconds, MillisecondsFromZero, within


class FixedTime(Frozen):
    """The same for every query. [ms]"""

    distribution: Literal["fixed"] = "fixed"
    time_ms: MillisecondsFromZero


class _ClippedTime(Frozen):
    """Times between two limits; no upper one by default. [ms]"""

    min_ms: MillisecondsFromZero = 0.0
    max_ms: Milliseconds = 1e9

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> Self:
        if self.min_ms > self.max_ms:
            raise ValueErrorAt(f"{self.min_ms:g} is more than max_ms, {self.max_ms:g}", ("min_ms",))
        return self


class LogNormalTime(_ClippedTime):
    """Log-normal, clipped to [min_ms, max_ms]; mu and sigma are of ln(ms)."""

    distribution: Literal["lognormal"] = "lognormal"
    mu: Annotated[float, within(-20, 20)]
    sigma: Annotated[float, Field(gt=0), within(1e-6, 10)]


class NormalTime(_ClippedTime):
    """Normal, clipped to [min_ms, max_ms]."""

    distribution: Literal["normal"] = "normal"
    mean_ms: MillisecondsFromZero
    std_ms: Milliseconds


class FileTime(Frozen):
    """Equiprobable times from a text file, one number a line. [ms]"""

    distribution: Literal["file"] = "file"
    file: Path


OutsideTime = Annotated[
    FixedTime | LogNormalTime | NormalTime | FileTime, Field(discriminator="distribution")
]
