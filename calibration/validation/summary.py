"""The figures that prediction and measurement are compared by, and their signed errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibration.serving.served import Served, ServedQueries
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.records import RunRecord
from perfmodel.sim.statistics import order_statistic
from perfmodel.units import MS

PERCENTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one or several runs over the same trace gave; times in seconds.

    Attributes
    ----------
    percentiles_s : mapping
        p50, p95 and p99 of the latency, over the queries of all runs. [s]
    throughput_qps : float
        Queries over the makespans. [queries/s]
    service_time_s : float
        Mean time that a request holds a core. [s]
    utilisation : float
        Share of the cores' time in which they serve. [1]
    accelerator_service_time_s : float or None
        Mean time that a request holds the accelerator; None: none was offloaded. [s]
    """

    mean_s: float
    percentiles_s: Mapping[float, float]
    throughput_qps: float
    service_time_s: float
    utilisation: float
    accelerator_service_time_s: float | None = None

    def to_dict(self) -> dict[str, object]:
        """The summary as JSON, in the units of the interface."""
        latencies = {f"p{100 * share:g}": value / MS for share, value in self.percentiles_s.items()}
        return {
            "latency_ms": {"mean": self.mean_s / MS, **latencies},
            "throughput_qps": self.throughput_qps,
            "service_time_ms": self.service_time_s / MS,
            "utilisation": self.utilisation,
            "accelerator_service_time_ms": None
            if self.accelerator_service_time_s is None
            else self.accelerator_service_time_s / MS,
        }


def summary_of_runs(runs: list[tuple[Served, ServedQueries]]) -> Summary:
    """Summarise measured runs together."""
    services = np.concatenate([served.service_s[served.on_cores] for served, _ in runs])
    makespan_s = sum(served.makespan_s for served, _ in runs)
    offloaded_s = np.concatenate([served.service_s[~served.on_cores] for served, _ in runs])
    return _summary(
        np.concatenate([queries.latency_s for _, queries in runs]),
        makespan_s,
        services_s=float(services.sum()),
        num_requests=len(services),
        num_workers=runs[0][0].num_workers,
        accelerator_service_time_s=float(offloaded_s.mean()) if len(offloaded_s) else None,
    )


def summary_of_records(records: list[tuple[RunRecord, int]]) -> Summary:
    """Summarise simulated runs together; with each, how many requests the cores served.

    An offloaded query is one request: the runtime serves no policy that splits or joins them.
    """
    offloaded = sum(int(record.offloaded.sum()) for record, _ in records)
    busy_s = sum(record.accelerator_busy_s for record, _ in records)
    return _summary(
        np.concatenate([record.latency_s for record, _ in records]),
        sum(record.makespan_s for record, _ in records),
        services_s=sum(record.cpu_busy_s for record, _ in records),
        num_requests=sum(count for _, count in records),
        num_workers=records[0][0].num_executors,
        accelerator_service_time_s=busy_s / offloaded if offloaded else None,
    )


def _summary(
    latency_s: FloatArray,
    makespan_s: float,
    *,
    services_s: float,
    num_requests: int,
    num_workers: int,
    accelerator_service_time_s: float | None,
) -> Summary:
    ordered = np.sort(latency_s)
    return Summary(
        mean_s=float(latency_s.mean()),
        percentiles_s={share: order_statistic(ordered, share) for share in PERCENTILES},
        throughput_qps=len(latency_s) / makespan_s,
        service_time_s=services_s / max(1, num_requests),
        utilisation=services_s / (num_workers * makespan_s),
        accelerator_service_time_s=accelerator_service_time_s,
    )


def errors_percent(predicted: Summary, measured: Summary) -> dict[str, float | None]:
    """Signed errors of the prediction: positive where it is above the measurement. [%]"""
    errors = {
        f"p{100 * share:g}": _error(predicted.percentiles_s[share], measured.percentiles_s[share])
        for share in PERCENTILES
    }
    return errors | {
        "throughput": _error(predicted.throughput_qps, measured.throughput_qps),
        "service_time": _error(predicted.service_time_s, measured.service_time_s),
        "utilisation": _error(predicted.utilisation, measured.utilisation),
        "accelerator_service_time": _error(
            predicted.accelerator_service_time_s, measured.accelerator_service_time_s
        ),
    }


def _error(predicted: float | None, measured: float | None) -> float | None:
    return 100.0 * (predicted / measured - 1.0) if measured and predicted is not None else None
