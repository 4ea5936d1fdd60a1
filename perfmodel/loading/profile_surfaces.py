"""The measured part of a calibrated profile: surfaces of operators' times, and contention by operator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import isfinite, nan
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from perfmodel.domain.base import Frozen, OutdatedError, ValueErrorAt
from perfmodel.domain.bounds import Count, NonNegative, Positive, Signed
from perfmodel.domain.surface import LAW_NAMES, Surface, law_names
from perfmodel.units import NS

Source = Annotated[str, Field(pattern=r"^(datasheet|measured|fitted|assumed|published|derived): .+")]

COORDINATE_DECIMALS = 3
"""Of the residual's centres: a fit puts them where the file says that they are."""
FIT_ANEW = (
    "`perfplan dev refit MEASURED.csv PROFILE` fits the measurements anew, "
    "`perfplan calibrate --device cuda --resume --out PROFILE` those of an accelerator"
)
"""The way out for a profile that was fitted by another version."""
_WEIGHT = "weight"
"""Name of the last column of a residual."""


def _named(law: object) -> object:
    """Refuse a law that tells its terms apart by position, as profiles did once."""
    if isinstance(law, list):
        raise OutdatedError(f"expected coefficients by name, got a list of {len(law)}: {FIT_ANEW}", ())
    return law


class CoordinateSection(Frozen):
    """A coordinate of a residual: over which distance it changes, and the range that was measured."""

    scale: Positive
    low: Signed
    high: Signed

    @model_validator(mode="after")
    def _range_ascends(self) -> CoordinateSection:
        if self.high < self.low:
            raise ValueErrorAt(f"expected at least low, {self.low:g}, got {self.high:g}", ("high",))
        return self


class SurfaceSection(Frozen):
    """Times of one kind of call; `domain.surface` says how they are read, `domain.surface` what names mean.

    Attributes
    ----------
    call : str
        Family and variant of the kernels that it times, such as `activation.relu`.
    law_ns : dict
        Term to nanoseconds for each unit of its work. [ns]
    coordinates : dict
        Coordinate to its scale and range.
    amplitude : float
        Of the residual. [1]
    noise : float
        Of what the residual leaves. [1]
    relative_error : float
        Of times that the fit did not see: root mean square. [ln]
    noise_ns : float
        Of what it leaves of small calls. [ns]
    calls : int
        Measured calls behind the fit.
    residual : str
        A line of names, the coordinates and `weight`, then one line for each centre, separated by spaces.
    """

    call: str
    law_ns: Annotated[dict[str, NonNegative], BeforeValidator(_named)]
    coordinates: dict[str, CoordinateSection]
    amplitude: Positive
    noise: Positive
    noise_ns: NonNegative
    relative_error: NonNegative
    calls: Count
    source: Source
    residual: str

    @model_validator(mode="after")
    def _names_are_those_of_this_version(self) -> SurfaceSection:
        if self.call.partition(".")[0] not in LAW_NAMES:
            raise ValueErrorAt(f"expected family or family.variant, of {', '.join(LAW_NAMES)}", ("call",))
        terms, coordinates = law_names(self.call)
        _require_names(self.law_ns, terms, "law_ns")
        _require_names(self.coordinates, coordinates, "coordinates")
        return self

    @model_validator(mode="after")
    def _every_centre_has_all_coordinates(self) -> SurfaceSection:
        header, *lines = self.residual.splitlines() or [""]
        names = header.split()
        if sorted(names) != sorted((*self.coordinates, _WEIGHT)):
            expected = f"{' '.join(self.coordinates)} {_WEIGHT}"
            raise ValueErrorAt(f"line 1: expected the names {expected}", ("residual",))
        for number, line in enumerate(lines, start=2):
            if len(line.split()) != len(names):
                dims = len(self.coordinates)
                raise ValueErrorAt(f"line {number}: expected {dims} coordinates and a weight", ("residual",))
        if not all(map(isfinite, self._values)):
            number = next(
                number for number, line in enumerate(lines) if not all(map(isfinite, _numbers(line)))
            )
            got = lines[number].strip()
            raise ValueErrorAt(f"line {number + 2}: expected finite numbers, got {got}", ("residual",))
        return self

    def surface(self) -> Surface:
        """The surface in SI, terms and coordinates in the order of `domain.surface`."""
        terms, coordinates = law_names(self.call)
        ranges = [self.coordinates[name] for name in coordinates]
        columns = self._columns()
        return Surface(
            law={term: self.law_ns[term] * NS for term in terms},
            scales=np.array([each.scale for each in ranges]),
            amplitude=self.amplitude,
            noise=self.noise,
            noise_s=self.noise_ns * NS,
            points=np.column_stack([columns[name] for name in coordinates]),
            weights=columns[_WEIGHT],
            low=np.array([each.low for each in ranges]),
            high=np.array([each.high for each in ranges]),
            relative_error=self.relative_error,
        )

    def _columns(self) -> dict[str, npt.NDArray[np.float64]]:
        """The residual by column."""
        names = self.residual.partition("\n")[0].split()
        values = np.array(self._values).reshape(-1, len(names))
        return dict(zip(names, values.T, strict=True))

    @cached_property
    def _values(self) -> tuple[float, ...]:
        """The residual's numbers, line after line; a tuple, since profiles are compared."""
        return _numbers(self.residual.partition("\n")[2])


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers with spaces between; a NaN where one is none."""
    try:
        return tuple(map(float, text.split()))
    except ValueError:
        return (nan,)


def _require_names(got: Mapping[str, object], expected: Mapping[str, str], key: str) -> None:
    """Refuse other names than those of this version's law: a profile of another charges for other work."""
    missing = [name for name in expected if name not in got]
    unknown = [name for name in got if name not in expected]
    if missing or unknown:
        odd = (("missing", missing), ("unknown", unknown))
        which = "; ".join(f"{how} {', '.join(names)}" for how, names in odd if names)
        message = f"expected the names of this version, {which}: {FIT_ANEW}"
        raise OutdatedError(message, (key, *unknown[:1]))


def surface_section(call: str, surface: Surface, *, calls: int, source: str) -> dict[str, object]:
    """Turn a surface into the plain values of its section, rounded far below its error."""

    def rounded(value: float) -> float:
        return float(f"{value:.5g}")

    terms, coordinates = law_names(call)
    ranges = zip(coordinates, surface.scales, surface.low, surface.high, strict=True)
    centres = surface.points.round(COORDINATE_DECIMALS)
    lines = [
        " ".join(f"{value:g}" for value in (*centre, rounded(weight)))
        for centre, weight in zip(centres, surface.weights, strict=True)
    ]
    return {
        "call": call,
        "law_ns": {term: rounded(surface.law[term] / NS) for term in terms},
        "coordinates": {
            name: {"scale": rounded(scale), "low": rounded(low), "high": rounded(high)}
            for name, scale, low, high in ranges
        },
        "amplitude": rounded(surface.amplitude),
        "noise": rounded(surface.noise),
        "noise_ns": rounded(surface.noise_s / NS),
        "relative_error": float(f"{surface.relative_error:.4g}"),
        "calls": calls,
        "source": source,
        "residual": "\n".join([" ".join((*coordinates, _WEIGHT)), *lines]) + "\n",
    }
