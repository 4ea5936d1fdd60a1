"""The JSON document of `perfplan observe`."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from perfmodel.loading.inputs import input_files
from perfmodel.planning.observe.answer import Observation
from perfmodel.planning.observe.drift import LEVEL
from perfmodel.planning.observe.replay import WindowErrors, mean_error
from perfmodel.planning.observe.times import Pauses
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.trace import (
    BurstsDocument,
    DispersionDocument,
    DistributionDocument,
    EstimatedDocument,
    TimeDocument,
    bursts,
    dispersion,
    distribution,
    estimated,
)
from perfmodel.units import MS

VERSION = 1


@document
class ObservedTrafficDocument(TypedDict):
    """Traffic as a scenario has it: the process with its rate, and the sizes."""

    rate_qps: EstimatedDocument
    process: Literal["poisson", "mmpp", "trace"]
    process_reason: str
    interarrival_cv: float
    index_of_dispersion: list[DispersionDocument]
    bursts: BurstsDocument | None
    sizes: Literal["named", "fixed", "file", "trace"]
    size_distribution: str | None
    sizes_reason: str
    sizes_items: DistributionDocument


@document
class ServiceRowDocument(TypedDict):
    """A row of the table; busy is null where executors at work play no part."""

    items: int
    busy: int | None
    service_ms: float
    service_ci95_ms: list[float]
    std_ms: float
    p50_ms: float
    p99_ms: float
    requests: int


@document
class ScatterDocument(TypedDict):
    """Of requests around the mean of their size; distribution is null where there is none to speak of."""

    relative_std: EstimatedDocument
    distribution: Literal["lognormal", "factors"] | None


@document
class PausesDocument(TypedDict):
    """Pauses that held requests up."""

    scope: Literal["executor", "node"]
    rate_per_s: EstimatedDocument
    length_ms: EstimatedDocument
    lengths: Literal["constant", "exponential"]
    seen: int


@document
class ExecutorsDocument(TypedDict):
    """Executors; high is null where there may be more."""

    value: int
    low: int
    high: int | None
    exact: bool
    source: Literal["column", "waiting", "side by side"]
    reason: str


@document
class FiguresDocument(TypedDict):
    """A figure of each; null where too few queries lie beyond the percentile."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@document
class ReplayWindowDocument(TypedDict):
    """A stretch of the log, measured and simulated; the error is simulated over measured, less one."""

    from_s: float
    to_s: float
    queries: int
    measured_ms: FiguresDocument
    simulated_ms: FiguresDocument
    error_percent: FiguresDocument


@document
class ReplayDocument(TypedDict):
    """The log's arrivals served with the table's times: the whole, its windows, and their mean error."""

    whole: ReplayWindowDocument
    windows: list[ReplayWindowDocument]
    mean_absolute_error_percent: FiguresDocument


@document
class BacktestDocument(TypedDict):
    """The log brought to `plan_for_qps`: minutes whose percentile was beyond the SLA's limit."""

    rate_qps: float
    minutes: int
    minutes_missed: int
    percentile_ms: float


@document
class ObservedSlaDocument(TypedDict):
    """The percentile and its limit."""

    percentile: float
    latency_ms: float


@document
class DriftTestDocument(TypedDict):
    """One comparison with the scenario."""

    subject: Literal["rate", "sizes", "burstiness", "service times"]
    drifted: bool
    log: float
    scenario: float
    effect: float
    tolerance: float
    p_value: float
    test: str


@document
class DriftDocument(TypedDict):
    """Whether the load is still that of the scenario; level is that of all tests together."""

    scenario: str
    drifted: list[Literal["rate", "sizes", "burstiness", "service times"]]
    level: float
    tests: list[DriftTestDocument]
    notes: list[str]


@document
class ObserveDocument(Saved):
    """What a log says of its traffic and of the node that served it."""

    log: str
    format: str
    queries: int
    requests: int
    span_s: float
    time: TimeDocument
    ignored: list[str]
    traffic: ObservedTrafficDocument
    service_times: list[ServiceRowDocument]
    error_of_service_times_percent: float
    error_of_rows_percent: float
    scatter: ScatterDocument
    pauses: PausesDocument | None
    executors: ExecutorsDocument
    utilisation: float
    sla: ObservedSlaDocument
    replay: ReplayDocument
    latency_bounded_qps: float | None
    plan_for_qps: float | None
    backtest: BacktestDocument | None
    drift: DriftDocument | None
    scenario: dict[str, Any]
    files: list[str]
    notes: list[str]


def observe_document(found: Observation) -> ObserveDocument:
    """Return the document of an observation."""
    log, arrivals, sizes = found.log, found.arrivals, found.sizes
    recording = log.recording
    return {
        **saved("observe", VERSION, input_files([recording.path])),
        "log": str(recording.path),
        "format": recording.format,
        "queries": len(log.query_arrival_s),
        "requests": len(log.arrival_s),
        "span_s": log.span_s,
        "time": {"unit": recording.time_unit, "reason": recording.time_reason},
        "ignored": list(recording.ignored),
        "traffic": {
            "rate_qps": estimated(arrivals.rate_qps),
            "process": arrivals.process,
            "process_reason": arrivals.why,
            "interarrival_cv": arrivals.gap_cv,
            "index_of_dispersion": [dispersion(each) for each in arrivals.dispersions],
            "bursts": None if arrivals.bursts is None else bursts(arrivals.bursts),
            "sizes": sizes.kind,
            "size_distribution": sizes.name,
            "sizes_reason": sizes.why,
            "sizes_items": distribution(sizes.law),
        },
        "service_times": [
            {
                "items": row.items,
                "busy": row.busy,
                "service_ms": row.service_s.value / MS,
                "service_ci95_ms": [row.service_s.low / MS, row.service_s.high / MS],
                "std_ms": row.std_s / MS,
                "p50_ms": row.p50_s / MS,
                "p99_ms": row.p99_s / MS,
                "requests": row.count,
            }
            for row in found.times.rows
        ],
        "error_of_service_times_percent": 100.0 * found.times.relative_error,
        "error_of_rows_percent": 100.0 * found.times.row_error,
        "scatter": {
            "relative_std": estimated(found.times.relative_std),
            "distribution": None if found.times.scatter is None else found.times.scatter.distribution,
        },
        "pauses": None if found.times.pauses is None else _pauses(found.times.pauses),
        "executors": {
            "value": found.executors.number,
            "low": found.executors.number,
            "high": found.executors.number if found.executors.exact else None,
            "exact": found.executors.exact,
            "source": found.executors.source,
            "reason": found.executors.why,
        },
        "utilisation": found.utilisation,
        "sla": {"percentile": found.sla.percentile, "latency_ms": found.sla.latency_ms},
        "replay": _replay(found),
        "latency_bounded_qps": found.latency_bounded_qps,
        "plan_for_qps": found.plan_for_qps,
        "backtest": _backtest(found),
        "drift": _drift(found),
        "scenario": dict(found.scenario),
        "files": list(found.files),
        "notes": list(found.notes),
    }


def _pauses(pauses: Pauses) -> PausesDocument:
    return {
        "scope": pauses.scope,
        "rate_per_s": estimated(pauses.rate_per_s),
        "length_ms": estimated(pauses.length_s, MS),
        "lengths": pauses.lengths,
        "seen": pauses.seen,
    }


def _replay(found: Observation) -> ReplayDocument:
    whole, *windows = found.windows
    parts = windows or [whole]
    errors = [mean_error(parts, at) for at in range(4)]
    return {
        "whole": _window(whole),
        "windows": [_window(window) for window in windows],
        "mean_absolute_error_percent": _figures(errors, 0.01),
    }


def _window(window: WindowErrors) -> ReplayWindowDocument:
    return {
        "from_s": window.from_s,
        "to_s": window.to_s,
        "queries": window.queries,
        "measured_ms": _figures(window.measured_s, MS),
        "simulated_ms": _figures(window.simulated_s, MS),
        "error_percent": _figures(window.errors, 0.01),
    }


def _figures(values: tuple[float | None, ...] | list[float | None], unit: float) -> FiguresDocument:
    mean, p50, p95, p99 = (None if value is None else value / unit for value in values)
    return {"mean": mean, "p50": p50, "p95": p95, "p99": p99}


def _backtest(found: Observation) -> BacktestDocument | None:
    tested = found.backtest
    if tested is None:
        return None
    return {
        "rate_qps": tested.rate_qps,
        "minutes": tested.minutes,
        "minutes_missed": tested.missed,
        "percentile_ms": tested.percentile_s / MS,
    }


def _drift(found: Observation) -> DriftDocument | None:
    drift = found.drift
    if drift is None:
        return None
    return {
        "scenario": drift.scenario,
        "drifted": list(drift.drifted),
        "level": LEVEL,
        "tests": [
            {
                "subject": test.subject,
                "drifted": test.drifted,
                "log": test.log,
                "scenario": test.scenario,
                "effect": test.effect,
                "tolerance": test.tolerance,
                "p_value": test.p_value,
                "test": test.test,
            }
            for test in drift.tests
        ],
        "notes": list(drift.notes),
    }
