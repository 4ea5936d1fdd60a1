"""The JSON document of `perfplan trace show`."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from perfmodel.loading.inputs import input_files
from perfmodel.planning.observe.bursts import Bursts
from perfmodel.planning.observe.dispersion import Dispersion
from perfmodel.planning.observe.estimated import Estimated
from perfmodel.planning.observe.traffic import ArrivalFit, Distribution, TrafficSummary
from perfmodel.report.documents import Saved, document, saved

VERSION = 1


@document
class EstimatedDocument(TypedDict):
    """A value with the ends of its 95 % interval."""

    value: float
    ci95: list[float]


@document
class DistributionDocument(TypedDict):
    """A law in a few figures: of sizes in items, of latencies in the unit of the file."""

    count: float
    distinct: int
    mean: float
    std: float
    min: float
    p50: float
    p95: float
    p99: float
    max: float


@document
class DispersionDocument(TypedDict):
    """Variance of the counts in windows over their mean: 1 of a Poisson process."""

    window_s: float
    windows: int
    index: float


@document
class BurstsDocument(TypedDict):
    """Calm and bursts, as `process: mmpp` has them."""

    burst_factor: EstimatedDocument
    burst_fraction: EstimatedDocument
    mean_burst_s: EstimatedDocument
    num_bursts: float


@document
class TimeDocument(TypedDict):
    """What the stamps were taken for, and why."""

    unit: str
    reason: str


@document
class TraceDocument(Saved):
    """What a file of recorded traffic says; null where its format does not give it."""

    file: str
    format: str
    gives: list[str]
    num_queries: float | None
    span_s: float | None
    rate_qps: EstimatedDocument | None
    interarrival_cv: float | None
    index_of_dispersion: list[DispersionDocument]
    process: Literal["poisson", "mmpp", "trace"] | None
    process_reason: str | None
    burst_length_s: float | None
    bursts: BurstsDocument | None
    sizes_items: DistributionDocument | None
    latencies: DistributionDocument | None
    time: TimeDocument | None
    ignored: list[str]
    notes: list[str]


def trace_document(found: TrafficSummary) -> TraceDocument:
    """Return the document of a summary."""
    recording, fit = found.recording, found.fit
    time: TimeDocument | None = None
    if recording.time_unit:
        time = {"unit": recording.time_unit, "reason": recording.time_reason}
    return {
        **saved("trace", VERSION, input_files([recording.path])),
        "file": str(recording.path),
        "format": recording.format,
        "gives": list(recording.gives),
        "num_queries": found.num_queries,
        "span_s": found.span_s,
        "rate_qps": None if found.rate_qps is None else estimated(found.rate_qps),
        "interarrival_cv": found.gap_cv,
        "index_of_dispersion": [dispersion(each) for each in found.dispersions],
        "process": None if fit is None else fit.process,
        "process_reason": None if fit is None else fit.why,
        "burst_length_s": burst_length_s(fit),
        "bursts": None if fit is None or fit.bursts is None else bursts(fit.bursts),
        "sizes_items": None if found.sizes is None else distribution(found.sizes),
        "latencies": None if found.latencies is None else distribution(found.latencies),
        "time": time,
        "ignored": list(recording.ignored),
        "notes": list(recording.notes),
    }


def burst_length_s(fit: ArrivalFit | None) -> float | None:
    """Mean length of a burst; None where no bursts stand out. [s]"""
    return None if fit is None or fit.bursts is None else fit.bursts.mean_s.value


def dispersion(each: Dispersion) -> DispersionDocument:
    """An index of dispersion and its window."""
    return {"window_s": each.window_s, "windows": each.windows, "index": each.index}


def estimated(value: Estimated, unit: float = 1.0) -> EstimatedDocument:
    """A value and its interval, in a unit."""
    return {"value": value.value / unit, "ci95": [value.low / unit, value.high / unit]}


def bursts(found: Bursts) -> BurstsDocument:
    """Calm and bursts."""
    return {
        "burst_factor": estimated(found.factor),
        "burst_fraction": estimated(found.fraction),
        "mean_burst_s": estimated(found.mean_s),
        "num_bursts": found.num_bursts,
    }


def distribution(law: Distribution) -> DistributionDocument:
    """A law in a few figures."""
    return {
        "count": law.count,
        "distinct": law.distinct,
        "mean": law.mean,
        "std": law.std,
        "min": law.least,
        "p50": law.p50,
        "p95": law.p95,
        "p99": law.p99,
        "max": law.greatest,
    }
