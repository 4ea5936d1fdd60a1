"""What a loaded node says that no single batch can: how much busy engines slow each other down.

What an engine does for each request beside its network is read in the public code, and timed by figures of
single models (`engine_costs`). What is left is one slow-down that grows linearly with the other busy engines
(clock, hyper-threads, caches, the system), for the interpreter's part and for the network apart. Both are
fitted to ISCA 2020 Fig. 15 (RMC1, targets above 60 ms) and Fig. 8 (RMC1 and RMC3): each point is a published
rate at a p95 target and a batch. How many engines ran is not published: 28, one a core, or 40, as the static
baseline says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import least_squares

from calibration.published.observations import read_rows
from perfmodel.costmodel.kernels import Floats
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.planning.node import ServingNode
from perfmodel.planning.rate.search import RateSearch
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource

SLA_FIGURE = "qps_vs_sla_isca2020_fig15.csv"
BATCH_FIGURE = "qps_vs_batch_isca2020_fig8.csv"
LEAST_TARGET_MS = 60.0
"""Targets of Fig. 15 up to here lie next to the least reachable p95 and say nothing of it. [ms]"""
SLA_BATCH = 512
"""Batch size behind Fig. 15, which does not state it: the best of RMC1 in Fig. 8. [items]"""
ENGINES = (40, 28)
"""The first is the profile's: the static baseline's number, and it misses the loaded figures by less."""
PROBE_QUERIES = 5_000
"""Of each probe of a rate: 4 % standard error, beside figures that are tens of per cent off."""
RATE_TOLERANCE = 0.02
"""Of a rate. [1]"""
TRIED = (0.25, 0.5, 1.0, 2.0)
"""Slow-downs less one at which rates are simulated; between them their logarithms are cubic. [1]"""
SIZES_TIMED = 24
"""Batch sizes whose times are worked out; between them times are linear to 1 %."""
UNREACHABLE = 0.1
"""Rate over the published one that stands for a target that no rate reaches. [1]"""
START, SPREAD = 0.5, 1.0
"""Prior of each slow-down less one, and its spread: cores at a lower clock, two threads on some. [1], [ln]"""
FAR = 0.3
"""Error from which on a point counts by its distance, not by its square: next to the least reachable p95 a
rate changes by a factor where times change by per cents. [ln]"""
MOST_OFF, TIME_BISECTIONS = 3.0, 7
"""How far off service times are thought to be at most, [1]; bisections of that: to 2 %."""
ERROR_SCALE = 0.3
"""Error of a rate that weighs as much as one spread of the prior. [ln]"""


Slowdowns = tuple[float, float]
"""Of conversion and of network, all engines busy. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCase:
    """A published rate of a loaded node.

    Attributes
    ----------
    figure, model : str
        Where it was published, and of what.
    p95_ms : float
        Target. [ms]
    batch_size : int
        Requests' largest. [items]
    qps : float
        Published. [queries/s]
    """

    figure: str
    model: str
    p95_ms: float
    batch_size: int
    qps: float

    @property
    def is_fitted(self) -> bool:
        """Whether the slow-downs are fitted to it."""
        return self.figure != SLA_FIGURE or self.p95_ms > LEAST_TARGET_MS

    @property
    def group(self) -> str:
        """What is left out together: the points of a model in a figure."""
        return f"{self.figure}, {self.model}"


def loaded_cases() -> list[LoadedCase]:
    """Every point of Fig. 15 and of Fig. 8."""
    rows = [(SLA_FIGURE, row) for row in read_rows(SLA_FIGURE)]
    rows += [(BATCH_FIGURE, row) for row in read_rows(BATCH_FIGURE)]
    return [
        LoadedCase(
            figure=figure,
            model=row["model"],
            p95_ms=float(row["p95_target_ms"]),
            batch_size=int(row.get("batch_size") or SLA_BATCH),
            qps=float(row["qps"]),
        )
        for figure, row in rows
    ]


@dataclass(frozen=True, kw_only=True)  # no slots: the law of sizes is kept
class LoadedNode:
    """Broadwell under load, its slow-downs still to be said.

    Attributes
    ----------
    cpu : Device
        With the costs of its kernels and of its engine.
    models : mapping
        By name.
    engines : int
        That serve.
    """

    cpu: Device
    models: Mapping[str, RecModel]
    engines: int

    @cached_property
    def sizes(self) -> SizePmf:
        """Sizes of the queries behind all figures."""
        sizes = named_sizes("deeprecsys-production")
        return SizePmf(sizes.num_items, sizes.probabilities)

    def service_times(self, model: str, slowdowns: Sequence[float]) -> ServiceTimes:
        """Service times of requests of every size, with these slow-downs of conversion and network."""
        node = ServingNode(model=self.models[model], cpu=slowed(self.cpu, *slowdowns), cores=self.engines)
        largest = self.sizes.max_items
        some = np.unique(np.geomspace(1, largest, SIZES_TIMED).round())
        seconds = node.in_flight_s(node.cpu_time(some[:, None], node.busy_cores[None, :]))
        every = np.arange(1.0, largest + 1)
        return ServiceTimes(cpu_s=np.stack([np.interp(every, some, column) for column in seconds.T], axis=1))

    def rates_qps(self, cases: Sequence[LoadedCase], slowdowns: Sequence[float]) -> list[float | None]:
        """Latency-bounded throughput of each case; None where no rate meets its target. [queries/s]"""
        service = {model: self.service_times(model, slowdowns) for model in {case.model for case in cases}}
        return [self._search(case, service[case.model]).greatest_rate_qps() for case in cases]

    def _search(self, case: LoadedCase, service: ServiceTimes) -> RateSearch:
        return RateSearch(
            traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=case.qps), sizes=self.sizes),
            service=service,
            policy=_split_at(case.batch_size),
            sla=SlaTarget(percentile=0.95, latency_ms=case.p95_ms),
            seed=1,
            tolerance=RATE_TOLERANCE,
            probe_queries=PROBE_QUERIES,
        )

    def log_errors(self, cases: Sequence[LoadedCase], slowdowns: Sequence[float]) -> list[float]:
        """Logarithm of predicted over published rate; a target out of reach as `UNREACHABLE`. [ln]"""
        rates = self.rates_qps(cases, slowdowns)
        return [
            log(max((rate or 0.0) / case.qps, UNREACHABLE)) for rate, case in zip(rates, cases, strict=True)
        ]

    def time_errors(self, cases: Sequence[LoadedCase], slowdowns: Sequence[float]) -> list[float]:
        """Logarithm of predicted service times over those that would give each published rate. [ln]

        Times s T at a rate q are T at the rate s q with a clock that runs s times as fast: s is bisected.
        """
        service = {model: self.service_times(model, slowdowns) for model in {case.model for case in cases}}
        errors = []
        for case in cases:
            shortest, longest = -log(MOST_OFF), log(MOST_OFF)
            for _ in range(TIME_BISECTIONS):
                middle = 0.5 * (shortest + longest)
                factor = exp(middle)
                faster = replace(case, p95_ms=case.p95_ms / factor, qps=case.qps * factor)
                if self._search(faster, service[case.model]).meets(faster.qps):
                    shortest = middle
                else:
                    longest = middle
            errors.append(-0.5 * (shortest + longest))
        return errors

    def errors_between(self, cases: Sequence[LoadedCase]) -> Callable[[Floats], Floats]:
        """Errors of the cases by the logarithms of both slow-downs less one, from rates at those `TRIED`."""
        tried = [
            [self.log_errors(cases, (1.0 + conversion, 1.0 + network)) for network in TRIED]
            for conversion in TRIED
        ]
        axis = np.log(TRIED)
        between = RegularGridInterpolator((axis, axis), np.array(tried), method="cubic")
        return lambda logs: np.asarray(between(logs)[0])

    def least_p95_ms(self, model: str, batch_size: int = SLA_BATCH) -> float:
        """95th percentile where each query finds the node idle: no slow-down from a loaded figure. [ms]"""
        times_s = self.service_times(model, (1.0, 1.0)).cpu_s[:, 0]
        at = int(np.searchsorted(np.cumsum(self.sizes.probabilities), 0.95 - 1e-9))
        return float(1e3 * times_s[min(int(self.sizes.values[at]), batch_size) - 1])


def fitted_slowdowns(errors_at: Callable[[Floats], Floats], kept: Sequence[bool]) -> Slowdowns:
    """Slow-downs of conversion and network with all engines busy: least squares, far points by distance. [1]

    Parameters
    ----------
    errors_at : callable
        As of `LoadedNode.errors_between`.
    kept : (n,) bool
        Which of the cases count.
    """
    chosen = np.flatnonzero(kept)

    def residuals(logs: Floats) -> Floats:
        errors = errors_at(logs)[chosen] / FAR
        near = FAR / ERROR_SCALE * np.sign(errors) * np.sqrt(2.0 * (np.hypot(1.0, errors) - 1.0))
        return np.concatenate([near, (logs - log(START)) / SPREAD])

    inside = log(TRIED[0]), log(TRIED[-1])
    conversion, network = 1.0 + np.exp(least_squares(residuals, np.full(2, log(START)), bounds=inside).x)
    return float(conversion), float(network)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFit:
    """What a number of engines says of the loaded figures.

    Attributes
    ----------
    engines : int
        That serve.
    slowdowns : (float, float)
        Of conversion and network, fitted to all. [1]
    errors, unseen : (n,) float
        Of the rate of each of `loaded_cases`; and where the points of its group were left out. [ln]
    unseen_times : (n,) float
        Of its service times, left out: what a fit of rates says of times. [ln]
    least_p95_ms : float
        RMC1's, from times that no loaded figure gave. [ms]
    """

    engines: int
    slowdowns: Slowdowns
    errors: tuple[float, ...]
    unseen: tuple[float, ...]
    unseen_times: tuple[float, ...]
    least_p95_ms: float

    @property
    def spread(self) -> float:
        """Root mean square of the error of service times whose figure the fit had not seen. [ln]"""
        return float(np.sqrt(np.mean(np.square(self.unseen_times))))


def fit_loaded(cpu: Device, models: Mapping[str, RecModel], engines: int) -> LoadedFit:
    """Fit the slow-downs to all figures, and again without each model's points of each figure."""
    node, cases = LoadedNode(cpu=cpu, models=models, engines=engines), loaded_cases()
    errors_at = node.errors_between(cases)
    slowdowns = fitted_slowdowns(errors_at, [case.is_fitted for case in cases])
    unseen, unseen_times = dict[str, list[float]](), dict[str, list[float]]()
    for group in dict.fromkeys(case.group for case in cases):
        kept = [case.is_fitted and case.group != group for case in cases]
        without = fitted_slowdowns(errors_at, kept)
        unseen[group] = node.log_errors(cases, without)
        unseen_times[group] = node.time_errors(cases, without)
    return LoadedFit(
        engines=engines,
        slowdowns=slowdowns,
        errors=tuple(node.log_errors(cases, slowdowns)),
        unseen=tuple(unseen[case.group][number] for number, case in enumerate(cases)),
        unseen_times=tuple(unseen_times[case.group][number] for number, case in enumerate(cases)),
        least_p95_ms=node.least_p95_ms("dlrm-rmc1"),
    )


def loaded_table(fits: Sequence[LoadedFit]) -> Iterator[str]:
    """Every point of the loaded figures with each number of engines. Markdown."""
    heads = " | ".join(f"{fit.engines} engines | not seen" for fit in fits)
    yield f"| figure | model | p95 [ms] | batch | published [queries/s] | {heads} |"
    yield "|---|---|---|---|---|" + "---|---|" * len(fits)
    for number, case in enumerate(loaded_cases()):
        rates = " | ".join(
            f"{_rate(case, fit.errors[number])} | {_rate(case, fit.unseen[number])}" for fit in fits
        )
        said = f"{case.p95_ms:g} | {case.batch_size} | {case.qps:g}"
        yield f"| {case.figure} | {case.model} | {said} | {rates} |"
    yield ""
    for fit in fits:
        conversion, network = fit.slowdowns
        yield (
            f"{fit.engines} engines: conversion x {conversion:.2f}, network x {network:.2f} with all busy; "
            f"service times not seen off by {100 * fit.spread:.0f} % (root mean square); "
            f"dlrm-rmc1's least p95 {fit.least_p95_ms:.1f} ms (published: 55 to 57)"
        )


def _rate(case: LoadedCase, error: float) -> str:
    return "none" if error <= log(UNREACHABLE) else f"{case.qps * np.exp(error):.0f}"


def _split_at(batch_size: int) -> SplitAndOffload:
    return SplitAndOffload(batch_size=batch_size, offload_threshold_items=None)


def slowed(cpu: Device, conversion: float, network: float) -> Device:
    """The CPU with other slow-downs."""
    return replace(
        cpu, interference=replace(cpu.interference, conversion_factor=conversion, node_factor=network)
    )
