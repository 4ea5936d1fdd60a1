"""Traffic: when queries arrive and how many items each one ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import (
    LEAST_RATE_QPS,
    MOST_PERIOD_S,
    MOST_RATE_QPS,
    Period,
    Positive,
    QueryItems,
    Rate,
    Seconds,
    within,
)

RateFromZero = Annotated[float, Field(ge=0), within(high=MOST_RATE_QPS)]
"""A rate that may vanish for a while. [queries/s]"""


class PoissonArrivals(Frozen):
    """Exponential gaps, independent: the usual model of many independent users."""

    process: Literal["poisson"] = "poisson"
    rate_qps: Rate


class IntegerMillisecondArrivals(Frozen):
    """Gaps that are Poisson-distributed whole milliseconds, as DeepRecSys's load generator draws them.

    Much smoother than a Poisson process: at a mean gap of m ms the squared coefficient of variation is 1/m.
    """

    process: Literal["deeprecsys-integer-ms"] = "deeprecsys-integer-ms"
    rate_qps: Rate


class ConstantArrivals(Frozen):
    """Equal gaps."""

    process: Literal["constant"] = "constant"
    rate_qps: Rate


class BurstyArrivals(Frozen):
    """A two-state Markov-modulated Poisson process: calm and burst, the mean rate kept.

    Attributes
    ----------
    burst_factor : float
        Rate in a burst over the rate in calm, > 1. [1]
    burst_fraction : float
        Long-run fraction of time spent in bursts, in (0, 1). [1]
    mean_burst_s : float
        Mean duration of a burst. [s]
    """

    process: Literal["mmpp"] = "mmpp"
    rate_qps: Rate
    burst_factor: Annotated[float, Field(gt=1), within(high=1e6)]
    burst_fraction: Annotated[float, Field(gt=0, lt=1), within(low=1e-6)]
    mean_burst_s: Seconds


class DiurnalArrivals(Frozen):
    """A Poisson process whose rate follows a sine over the period: rate·(1 + amplitude·sin)."""

    process: Literal["diurnal"] = "diurnal"
    rate_qps: Rate
    amplitude: Annotated[float, Field(ge=0, le=1, description="swing around the mean rate, 0 to 1")]
    period_s: Period = 86400.0


class RateStage(Frozen):
    """A stretch of time with one rate, or from one to another along a straight line.

    Attributes
    ----------
    duration_s : float
        How long. [s]
    rate_qps : float
        At its beginning; 0: nothing arrives. [queries/s]
    to_qps : float or None
        At its end; None: the same throughout. [queries/s]
    """

    duration_s: Period
    rate_qps: RateFromZero
    to_qps: RateFromZero | None = None

    @property
    def end_qps(self) -> float:
        """Rate at its end. [queries/s]"""
        return self.rate_qps if self.to_qps is None else self.to_qps

    @property
    def queries(self) -> float:
        """Mean number of arrivals."""
        return 0.5 * (self.rate_qps + self.end_qps) * self.duration_s


MOST_STAGES = 1000


class StagedArrivals(Frozen):
    """A Poisson process whose rate goes through stages (ramp, step, spike), over and over.

    `rate_qps` rescales all stages so that their mean rate becomes this; null keeps the rates as written.
    """

    process: Literal["stages"] = "stages"
    stages: Annotated[tuple[RateStage, ...], Field(min_length=1, max_length=MOST_STAGES, strict=False)]
    rate_qps: Rate | None = None

    @model_validator(mode="after")
    def _something_arrives(self) -> Self:
        if not self.written_qps >= LEAST_RATE_QPS:
            raise ValueErrorAt("expected a rate > 0 in at least one stage", ("stages",))
        if self.period_s > MOST_PERIOD_S:
            most = f"expected at most {MOST_PERIOD_S:.4g} s, a year, in all stages together"
            raise ValueErrorAt(f"{most}, got {self.period_s:.4g}", ("stages",))
        return self

    @property
    def period_s(self) -> float:
        """Of all stages together. [s]"""
        return sum(stage.duration_s for stage in self.stages)

    @property
    def written_qps(self) -> float:
        """Mean rate as the stages are written. [queries/s]"""
        return sum(stage.queries for stage in self.stages) / self.period_s


MOST_USERS = 1_000_000


class ClosedArrivals(Frozen):
    """A number of users, each of whom thinks, asks, waits for the answer, and thinks again.

    Attributes
    ----------
    users : int
        How many: no more queries are ever under way.
    think_s : float
        Mean time from an answer to the user's next query, exponential. [s]
    """

    process: Literal["closed"] = "closed"
    users: Annotated[int, Field(ge=1), within(high=MOST_USERS)]
    think_s: Seconds


class TraceArrivals(Frozen):
    """A recorded trace: CSV with `arrival_s` and optionally `num_items`, or another of the known formats.

    `rate_qps` rescales time so that the mean rate becomes this; null keeps the recorded times.
    """

    process: Literal["trace"] = "trace"
    file: Path
    rate_qps: Rate | None = None


Arrivals = Annotated[
    PoissonArrivals
    | IntegerMillisecondArrivals
    | ConstantArrivals
    | BurstyArrivals
    | DiurnalArrivals
    | StagedArrivals
    | ClosedArrivals
    | TraceArrivals,
    Field(discriminator="process"),
]


ListLength = Annotated[int, Field(ge=1), within(high=100_000)]
"""Behaviours in a query's history."""


class NamedSizes(Frozen):
    """A published list of query sizes."""

    distribution: Literal["deeprecsys-production", "hercules-service", "mlperf-dlrm"]


class _ClippedSizes(Frozen):
    """Sizes between two limits."""

    min_items: QueryItems = 1
    max_items: QueryItems = 1000

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> Self:
        if self.min_items > self.max_items:
            raise ValueErrorAt(f"{self.min_items} is more than max_items, {self.max_items}", ("min_items",))
        return self


class LogNormalSizes(_ClippedSizes):
    """Log-normal sizes, rounded, clipped to [min_items, max_items]; mu and sigma are of ln(items)."""

    distribution: Literal["lognormal"] = "lognormal"
    mu: Annotated[float, within(-1000, 1000)]
    sigma: Annotated[float, Field(gt=0), within(1e-6, 1000)]


class NormalSizes(_ClippedSizes):
    """Normal sizes, rounded, clipped to [min_items, max_items]."""

    distribution: Literal["normal"] = "normal"
    mean_items: Positive
    std_items: Positive


class FixedSizes(Frozen):
    """Every query ranks the same number of items."""

    distribution: Literal["fixed"] = "fixed"
    num_items: QueryItems


class FileSizes(Frozen):
    """Sizes from a file: a list, equiprobable; a table of sizes and counts; or those of a trace."""

    distribution: Literal["file"] = "file"
    file: Path


class TraceSizes(Frozen):
    """The sizes recorded in the arrival trace (its column `num_items`), query by query."""

    distribution: Literal["trace"] = "trace"


QuerySizes = Annotated[
    NamedSizes | LogNormalSizes | NormalSizes | FixedSizes | FileSizes | TraceSizes,
    Field(discriminator="distribution"),
]


class FixedLengths(Frozen):
    """Every query's history is as long."""

    distribution: Literal["fixed"] = "fixed"
    length: ListLength


class _ClippedLengths(Frozen):
    """Lengths between two limits."""

    min_length: ListLength = 1
    max_length: ListLength = 1000

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueErrorAt(
                f"{self.min_length} is more than max_length, {self.max_length}", ("min_length",)
            )
        return self


class LogNormalLengths(_ClippedLengths):
    """Log-normal lengths, rounded, clipped to [min_length, max_length]; mu and sigma are of ln(length)."""

    distribution: Literal["lognormal"] = "lognormal"
    mu: Annotated[float, within(-1000, 1000)]
    sigma: Annotated[float, Field(gt=0), within(1e-6, 1000)]


class FileLengths(Frozen):
    """Equiprobable lengths from a text file, one whole number a line."""

    distribution: Literal["file"] = "file"
    file: Path


Lengths = Annotated[FixedLengths | LogNormalLengths | FileLengths, Field(discriminator="distribution")]


class Traffic(Frozen):
    """Arrivals and query sizes, drawn from independent random streams.

    `lengths` says how long the histories of the queries are, for a model with lists that vary; left out: all
    as long as the model file says.
    """

    arrivals: Arrivals
    query_sizes: QuerySizes
    lengths: Lengths | None = None

    @model_validator(mode="after")
    def _trace_sizes_need_a_trace(self) -> Traffic:
        if isinstance(self.query_sizes, TraceSizes) and not isinstance(self.arrivals, TraceArrivals):
            raise ValueErrorAt("distribution trace needs arrivals: process trace", ("query_sizes",))
        return self
