"""What makes service times unsteady: scatter between requests of one size, and pauses of executors."""

from __future__ import annotations

from math import log, log1p, sqrt
from statistics import NormalDist
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import Milliseconds, Positive, within
from perfmodel.units import MS

P99_DEVIATIONS = NormalDist().inv_cdf(0.99)
"""Standard deviations from the median to the 99th percentile of a normal law."""

MOST_PAUSED = 0.5
"""Of the time. A node that stands still for longer is no server with pauses. [1]"""


class LogNormalScatter(Frozen):
    """Log-normal factors of mean 1 on each service time; exactly one of the two says how wide.

    Attributes
    ----------
    relative_std : float or None
        Standard deviation of the times of one size over their mean. [1]
    p99_over_p50 : float or None
        Their 99th percentile over their median. [1]
    """

    distribution: Literal["lognormal"] = "lognormal"
    relative_std: Annotated[float, Field(gt=0), within(1e-6, 3.0)] | None = None
    p99_over_p50: Annotated[float, Field(gt=1), within(1.000001, 50.0)] | None = None

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if (self.relative_std is None) == (self.p99_over_p50 is None):
            raise ValueErrorAt("expected exactly one of relative_std, p99_over_p50", ())
        return self

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm. [ln]

        Examples
        --------
        >>> round(LogNormalScatter(relative_std=0.5).sigma, 4)
        0.4724
        >>> round(LogNormalScatter(p99_over_p50=2).sigma, 4)
        0.298
        """
        if self.relative_std is not None:
            return sqrt(log1p(self.relative_std**2))
        assert self.p99_over_p50 is not None, "checked above"
        return log(self.p99_over_p50) / P99_DEVIATIONS


class ListedScatter(Frozen):
    """Equiprobable factors, such as measured times over the mean of their size; divided by their own mean.

    Attributes
    ----------
    factors : tuple of float
        At least two, in any order. [1]
    """

    distribution: Literal["factors"] = "factors"
    factors: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=100_000)]


class ExponentialScatter(Frozen):
    """Exponential factors of mean 1: as uneven as in the textbook's queues."""

    distribution: Literal["exponential"]


ScatterSettings = LogNormalScatter | ListedScatter | ExponentialScatter

Scatter = Annotated[ScatterSettings, Field(discriminator="distribution")]
"""How service times of one size differ, as factors of mean 1, drawn for each request on its own."""


class PauseSettings(Frozen):
    """Times in which an executor, or the whole node, stands still: what runs there goes on afterwards.

    Attributes
    ----------
    rate_per_s : float
        Pauses per second of running time: of each core, or of the node. [1/s]
    length_ms : float
        Mean length. [ms]
    lengths : {"constant", "exponential"}
        Whether all are of that length, or exponentially distributed.
    scope : {"executor", "node"}
        Whether a pause stops one core, or all cores and accelerators at once.
    """

    rate_per_s: Annotated[float, Field(gt=0), within(1e-9, 1e6)]
    length_ms: Milliseconds
    lengths: Literal["constant", "exponential"] = "constant"
    scope: Literal["executor", "node"]

    @model_validator(mode="after")
    def _mostly_runs(self) -> Self:
        if self.load > MOST_PAUSED:
            raise ValueErrorAt(
                f"expected pauses for at most {MOST_PAUSED:g} of the time: rate_per_s x length_ms / 1000 is "
                f"{self.load:g}",
                ("length_ms",),
            )
        return self

    @property
    def length_s(self) -> float:
        """Mean length. [s]"""
        return self.length_ms * MS

    @property
    def load(self) -> float:
        """Paused time for each second of running time. [1]"""
        return self.rate_per_s * self.length_s


# Not strict: which description a node is has been looked up by then, and a list is no longer JSON's.
NodePauses = Annotated[tuple[PauseSettings, ...], Field(max_length=8, strict=False)]
"""Pauses of a few kinds, independent of each other."""


class Unrest(Frozen):
    """Scatter and pauses of a machine, as its calibration measured them with all its workers at work.

    Attributes
    ----------
    relative_std : float or None
        Standard deviation of processor times of one size over their mean; None: too few were measured. [1]
    pauses : tuple of PauseSettings
        Of single cores, and of the node.
    source : str
        What was measured, and what of it was left out.
    """

    relative_std: Annotated[float, Field(gt=0), within(1e-6, 3.0)] | None = None
    pauses: NodePauses = ()
    source: str

    @property
    def scatter(self) -> LogNormalScatter | None:
        """As a scenario states it."""
        return None if self.relative_std is None else LogNormalScatter(relative_std=self.relative_std)

    @property
    def words(self) -> str:
        """All of it in words."""
        parts = [] if self.relative_std is None else [f"scatter of {_figure(100 * self.relative_std)} %"]
        parts += [
            f"pauses of {'a core' if each.scope == 'executor' else 'the node'}, "
            f"{_figure(each.rate_per_s)} a second of {_figure(each.length_ms)} ms"
            for each in self.pauses
        ]
        return " and ".join(parts)


def _figure(value: float) -> str:
    """Two digits, and no exponent from a hundred up."""
    return f"{float(f'{value:.2g}'):g}"
