"""Predictions for the very trace that is measured: simulated, rescaled to a level, or replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.serving.requests import requests_of
from calibration.serving.served import Served
from calibration.validation.anchor import Samples
from calibration.validation.summary import Summary, summary_of_records
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.query_times import QueryTimes
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.traffic import Queries, TrafficSource

ENOUGH = 20
"""Requests whose mean stands for a size; fewer are averaged with their neighbours."""

LEVEL_STEPS = 4
"""Fixed-point steps: contention, and so the mean service time, moves a little with the level."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The traffic of one validation: one or several runs, each from an empty server."""

    segments: tuple[Queries, ...]

    def predict(self, service: ServiceTimes, policy: Policy) -> Summary:
        """Simulate every segment."""
        records = [
            (simulate(queries, service, policy), _on_cores(queries, policy)) for queries in self.segments
        ]
        return summary_of_records(records)

    def percentile_s(self, service: ServiceTimes, policy: Policy, percentile: float) -> float:
        """A percentile over the queries of all segments, as simulated. [s]"""
        latencies = [simulate(queries, service, policy).latency_s for queries in self.segments]
        return order_statistic(np.sort(np.concatenate(latencies)), percentile)


@dataclass(frozen=True, slots=True)
class UnitTrace:
    """The same traffic at any rate: Poisson pieces are stretched, others drawn anew from the same numbers."""

    traffic: TrafficSource
    pieces: int
    per_piece: int
    seed: int

    def at_rate(self, rate_qps: float) -> Trace:
        """The pieces at a mean rate."""
        traffic = self.traffic.at_rate(rate_qps)
        return Trace(
            tuple(
                traffic.draw(self.per_piece, seed=self.seed, replication=piece)
                for piece in range(self.pieces)
            )
        )


def scaled(service: ServiceTimes, factor: float) -> ServiceTimes:
    """All times on the cores multiplied by a factor."""
    return service.scaled(factor, 1.0)


def level_factor(trace: Trace, service: ServiceTimes, policy: Policy, mean_service_s: float) -> float:
    """Factor on the service times with which the simulated mean service time is the one given. [1]"""
    factor = 1.0
    for _ in range(LEVEL_STEPS):
        factor *= mean_service_s / trace.predict(scaled(service, factor), policy).service_time_s
    return factor


def own_service_times(runs: Sequence[Served], like: ServiceTimes) -> ServiceTimes:
    """The mean service time of each batch size in the runs themselves, whoever else was busy."""
    mean_s = _own_means_s(runs, like.max_batch_items, offloaded=False)
    by_query = None if like.by_query is None else _own_by_query(runs, like.by_query)
    own = replace(like, cpu_s=np.repeat(mean_s[:, None], like.num_executors, axis=1), by_query=by_query)
    if like.accelerator_s is None or not any(served.requests.offloaded.any() for served in runs):
        return own
    return replace(own, accelerator_s=_own_means_s(runs, like.max_offload_items, offloaded=True))


def _own_by_query(runs: Sequence[Served], like: QueryTimes) -> QueryTimes:
    """The same of each length, with the query's work and without; what was not served: scaled as the rest."""
    samples = Samples.of(runs)
    tables = {0: np.array(like.cpu.with_s), 1: np.array(like.cpu.without_s)}
    _, largest, _ = like.cpu.with_s.shape
    found: dict[int, FloatArray] = {
        variety: smoothed_means_s(samples.num_items[mine], samples.service_s[mine], largest)
        for variety in np.unique(samples.variety).tolist()
        for mine in [samples.variety == variety]
    }
    expected = [tables[variety % 2][variety // 2].mean(axis=1) for variety in found]
    level = float(np.mean(list(found.values())) / np.mean(expected))
    for sent, table in tables.items():
        for kind in range(len(table)):
            mean_s = found.get(2 * kind + sent)
            table[kind] = table[kind] * level if mean_s is None else mean_s[:, None]
    return replace(like, cpu=replace(like.cpu, with_s=tables[0], without_s=tables[1]))


def _own_means_s(runs: Sequence[Served], largest: int, *, offloaded: bool) -> FloatArray:
    """Smoothed means of the requests on the cores, or of those on the accelerator. [s]"""
    chosen = [served.requests.offloaded == offloaded for served in runs]
    sizes = [served.requests.num_items[some] for served, some in zip(runs, chosen, strict=True)]
    service_s = [served.service_s[some] for served, some in zip(runs, chosen, strict=True)]
    return smoothed_means_s(np.concatenate(sizes), np.concatenate(service_s), largest)


def smoothed_means_s(num_items: IntArray, service_s: FloatArray, largest: int) -> FloatArray:
    """Mean of service times for each size, from a window of neighbours that holds enough requests. [s]

    Within a wider window the time is taken to grow with the square root of the size, halfway between
    calls that cost the same for any batch and arithmetic that grows with it.
    """
    order = np.argsort(num_items, kind="stable")
    sizes, times_s = num_items[order].astype(float), service_s[order]
    means_s = np.empty(largest)
    for size in range(1, largest + 1):
        width = 0
        window = _window(sizes, size, width)
        while window.stop - window.start < min(ENOUGH, len(sizes)):
            width = max(1, 2 * width)
            window = _window(sizes, size, width)
        growth = (size / float(sizes[window].mean())) ** 0.5
        means_s[size - 1] = float(times_s[window].mean()) * growth
    return means_s


def _window(sizes: FloatArray, size: int, width: int) -> slice:
    """Where sorted sizes lie within `width` of one."""
    first, last = np.searchsorted(sizes, [size - width, size + width + 1])
    return slice(int(first), int(last))


def _on_cores(queries: Queries, policy: Policy) -> int:
    """How many requests of a trace go to the cores."""
    return int((~requests_of(queries, policy).offloaded).sum())
