"""The measured part of a calibrated profile: surfaces of operators' times, and contention by operator."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import Count, NonNegative, Positive, Signed
from perfmodel.domain.surface import Surface
from perfmodel.units import NS

Source = Annotated[str, Field(pattern=r"^(datasheet|measured|fitted|assumed|published): .+")]

COORDINATE_DECIMALS = 3
"""Of the residual's centres: a fit puts them where the file says that they are."""


class SurfaceSection(Frozen):
    """Times of one kind of call; `domain.surface` says how they are read.

    Attributes
    ----------
    call : str
        Family and variant of the kernels that it times, such as `activation.relu`.
    law_ns : tuple of float
        Nanoseconds for each unit of work; `costmodel.surfaces` lists the units. [ns]
    scales, low, high : tuple of float
        By coordinate: over which distance the residual changes, and the range that was measured.
    amplitude, noise, relative_error : float
        Of the residual [1], of what it leaves [1], and of times that the fit did not see (root mean
        square, [ln]).
    noise_ns : float
        Of what it leaves of small calls. [ns]
    calls : int
        Measured calls behind the fit.
    residual : str
        One line for each centre: its coordinates and its weight, separated by spaces.
    """

    call: str
    law_ns: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    scales: tuple[Positive, ...]
    amplitude: Positive
    noise: Positive
    noise_ns: NonNegative
    relative_error: NonNegative
    calls: Count
    low: tuple[Signed, ...]
    high: tuple[Signed, ...]
    source: Source
    residual: str

    @model_validator(mode="after")
    def _dimensions_match(self) -> SurfaceSection:
        dims = len(self.scales)
        for key in ("low", "high"):
            if len(getattr(self, key)) != dims:
                raise ValueErrorAt(f"expected {dims} values, as in scales", (key,))
        for number, line in enumerate(self.residual.splitlines(), start=1):
            if len(line.split()) != dims + 1:
                raise ValueErrorAt(f"line {number}: expected {dims} coordinates and a weight", ("residual",))
        return self

    def surface(self) -> Surface:
        """The surface in SI."""
        try:
            values = np.array(self.residual.split(), dtype=float)
        except ValueError:
            raise ValueErrorAt("expected numbers", ("residual",)) from None
        table = values.reshape(-1, len(self.scales) + 1)
        return Surface(
            law=np.array(self.law_ns) * NS,
            scales=np.array(self.scales),
            amplitude=self.amplitude,
            noise=self.noise,
            noise_s=self.noise_ns * NS,
            points=table[:, :-1],
            weights=table[:, -1],
            low=np.array(self.low),
            high=np.array(self.high),
            relative_error=self.relative_error,
        )


def surface_section(call: str, surface: Surface, *, calls: int, source: str) -> dict[str, object]:
    """Turn a surface into the plain values of its section, rounded far below its error."""

    def rounded(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], digits: int = 5) -> list[float]:
        return [float(f"{value:.{digits}g}") for value in values]

    centres = surface.points.round(COORDINATE_DECIMALS)
    lines = [
        " ".join(f"{value:g}" for value in (*centre, float(f"{weight:.5g}")))
        for centre, weight in zip(centres, surface.weights, strict=True)
    ]
    return {
        "call": call,
        "law_ns": rounded(surface.law / NS),
        "scales": rounded(surface.scales),
        "amplitude": float(f"{surface.amplitude:.5g}"),
        "noise": float(f"{surface.noise:.5g}"),
        "noise_ns": float(f"{surface.noise_s / NS:.5g}"),
        "relative_error": float(f"{surface.relative_error:.4g}"),
        "calls": calls,
        "low": rounded(surface.low),
        "high": rounded(surface.high),
        "source": source,
        "residual": "\n".join(lines) + "\n",
    }
