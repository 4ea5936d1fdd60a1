"""The error budget of an answer: what the calibration's error, and each 1 % of service time, do to it.

Service times are scaled and the same queries served again, so that what differs is due to the times alone. A
figure at other times is its ratio to the figure at the given times, both from the same queries, times the
answer's own figure, which may come from a longer run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

import numpy as np

from perfmodel.planning.node import ServingNode
from perfmodel.planning.rate.interval import GreatestRate, batch_means_apply, greatest_rate, queries_at
from perfmodel.planning.rate.search import RateSearch
from perfmodel.sim.arrays import BoolArray, FloatArray
from perfmodel.sim.backlog import SATURATED_FROM, overloaded_pool
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run import RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic, warm_up_queries
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import PoolLoads

STEP = 0.01
"""Change of all service times behind a sensitivity. [1]"""

BAND_QUERIES = 200_000
RATE_QUERIES = 200_000
INTERPRETED_QUERIES = 20_000
"""Queries served again: for latencies, for the greatest rate, and where only SimPy can serve them."""

Band = tuple[float | None, float | None]
"""Ends of a band; None: there the figure does not exist, since the load is unstable or no load is met."""


class Scale(NamedTuple):
    """Service times on the cores and on the accelerators over the given ones. [1]"""

    cpu: float
    accelerator: float


class Errors(NamedTuple):
    """Mean relative error that the profiles state of the service times; None without such a device. [1]"""

    cpu: float
    accelerator: float | None

    @property
    def shorter(self) -> Scale:
        """Times too long by the error; by a factor, where the error is all of the time."""
        return Scale(*(1.0 - error if error < 1.0 else 1.0 / (1.0 + error) for error in self._both))

    @property
    def longer(self) -> Scale:
        """Times too short by the error."""
        return Scale(*(1.0 + error for error in self._both))

    @property
    def _both(self) -> tuple[float, float]:
        return self.cpu, self.accelerator or 0.0


SCALES_OF_STEP = (Scale(1.0 - STEP, 1.0 - STEP), Scale(1.0 + STEP, 1.0 + STEP))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatencyBudget:
    """What the calibration leaves open about the latencies of a load.

    Attributes
    ----------
    bands_s : mapping of float to Band
        Latency by percentile with service times shorter and longer by the profiles' error. [s]
    responses : mapping of float to (float or None)
        By percentile, per cent of latency for each per cent of service time; None where unstable. [1]
    to_saturation : float
        By how much all service times may grow until the executors cannot keep up, all of them busy;
        negative where they already could not. [1]
    """

    bands_s: Mapping[float, Band]
    responses: Mapping[float, float | None]
    to_saturation: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateBudget:
    """What the calibration leaves open about the greatest rate.

    Attributes
    ----------
    band_qps : Band
        The rate with service times longer, and shorter, by the profiles' error; ends ascend. [queries/s]
    response : float or None
        Per cent of the rate for each per cent of service time: negative. [1]
    """

    band_qps: Band
    response: float | None


def calibration_errors(node: ServingNode) -> Errors:
    """Return what the node's profiles state."""
    card = node.accelerator if node.num_accelerators else None
    return Errors(node.cpu.relative_error, None if card is None else card.relative_error)


def latency_budget(
    traffic: TrafficSource,
    service: ServiceTimes,
    policy: Policy,
    run: RunResult,
    errors: Errors,
    *,
    seed: int,
) -> LatencyBudget | None:
    """Serve the first queries of a run again with other service times; None where the run is unstable.

    Parameters
    ----------
    traffic, service, policy
        What the run was made of.
    run : RunResult
        Its percentiles are scaled.
    errors : Errors
        How wrong the service times are, as the profiles state it.
    seed : int
        The run's.
    """
    if run.record is None or not run.is_stable:
        return None
    most = BAND_QUERIES if policy.why_not_compiled is None else INTERPRETED_QUERIES
    num_queries = min(run.record.num_queries, most)
    warm_up = 0 if traffic.num_recorded is not None else warm_up_queries(num_queries)
    queries = traffic.draw(num_queries, seed=seed)
    wanted = sorted(run.percentiles)

    def at(scale: Scale) -> FloatArray | None:
        if policy.shedding is None and _most_loaded(run.alone, scale) >= 1.0:
            return None
        record = simulate(queries, service.scaled(*scale), policy)
        if policy.shedding is None and _is_overloaded(record, _most_loaded(run.contended, scale)):
            return None
        served = None if record.shed is None else record.served[warm_up:]
        return _percentiles_s(record.latency_s[warm_up:], served, wanted)

    shed = run.record.shed
    base_s = _percentiles_s(
        run.record.latency_s[warm_up:num_queries],
        None if shed is None else run.record.served[warm_up:num_queries],
        wanted,
    )
    with ThreadPoolExecutor(max_workers=2) as threads:  # the engines run without the GIL
        shorter, longer, *steps = threads.map(at, (errors.shorter, errors.longer, *SCALES_OF_STEP))
    bands: dict[float, Band] = {}
    responses: dict[float, float | None] = {}
    for index, percentile in enumerate(wanted):
        value_s, own_s = run.percentiles[percentile].value_s, float(base_s[index])
        low, high = (
            None if ends is None else value_s * float(ends[index]) / own_s for ends in (shorter, longer)
        )
        bands[percentile] = (low, high)
        responses[percentile] = _response(
            own_s, *(None if ends is None else float(ends[index]) for ends in steps)
        )
    return LatencyBudget(bands_s=bands, responses=responses, to_saturation=1.0 / max(run.contended) - 1.0)


def rate_budget(search: RateSearch, found: GreatestRate | None, errors: Errors) -> RateBudget | None:
    """Search again with other service times; None where no rate was found, or only SimPy could search."""
    if found is None or search.policy.why_not_compiled is not None:
        return None

    def at(scale: Scale) -> float | None:
        other = greatest_rate(
            replace(search, service=search.service.scaled(*scale), engine="auto", probe_queries=RATE_QUERIES),
            num_queries=RATE_QUERIES,
            near_qps=found.rate_qps / max(scale),
        )
        return None if other is None else other.rate_qps

    same_run = batch_means_apply(search) and found.num_queries == queries_at(search.sla, RATE_QUERIES)
    own = found.rate_qps if same_run else at(Scale(1.0, 1.0))
    if own is None:
        return None
    low, high = (
        None if rate is None else found.rate_qps * rate / own
        for rate in (at(errors.longer), at(errors.shorter))
    )
    return RateBudget(band_qps=(low, high), response=_response(own, *(at(scale) for scale in SCALES_OF_STEP)))


def _most_loaded(loads: PoolLoads, scale: Scale) -> float:
    """Utilisation of the busier pool at other service times, to which it is proportional. [1]"""
    return max(loads.cpu * scale.cpu, loads.accelerator * scale.accelerator)


def _is_overloaded(record: RunRecord, contended: float) -> bool:
    """Whether a backlog grew, or would have in a longer run: busy throughout, at a load beyond the cliff."""
    if overloaded_pool(record) is not None:
        return True
    return contended >= 1.0 and any(busy >= SATURATED_FROM for _, _, busy in record.shares)


def _response(own: float, shorter: float | None, longer: float | None) -> float | None:
    """Per cent for each per cent: from both sides, or from the one that exists."""
    if shorter is None and longer is None:
        return None
    if longer is None:
        assert shorter is not None
        return (own - shorter) / own / STEP
    if shorter is None:
        return (longer - own) / own / STEP
    return (longer - shorter) / own / (2.0 * STEP)


def _percentiles_s(
    latency_s: FloatArray, served: BoolArray | None, percentiles: Sequence[float]
) -> FloatArray:
    """Percentiles of the queries that were served; nan where none was. [s]"""
    values_s = latency_s if served is None else latency_s[served]
    if len(values_s) == 0:
        return np.full(len(percentiles), inf)
    ordered_s = np.sort(values_s)
    return np.array([order_statistic(ordered_s, percentile) for percentile in percentiles])
