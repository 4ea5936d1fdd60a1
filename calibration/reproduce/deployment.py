"""ISCA 2020's deployment: tuned against fixed batches on a fleet, under production sizes, over a day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, pi

import numpy as np

from calibration.published.observations import read_rows
from calibration.reproduce.evaluation import Compared, Section
from calibration.reproduce.scope import CPU, OTHER_CPU
from calibration.reproduce.study import Study, geometric_mean, production_sizes, study_node, study_service
from perfmodel.domain.fleet import Routing
from perfmodel.domain.workload import RateStage, StagedArrivals
from perfmodel.planning.tune.question import MEDIUM, Configuration
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.traffic import TrafficSource

FILE = "deployment_isca2020_text.csv"
HOURS, PEAK_HOUR = 24, 20
TROUGH = 0.4
"""Load of the quietest hour over the peak's: it swings by more than half over a day (HPCA 2022). [1]"""
HUNDREDS, HANDFUL = 300, 6
"""Nodes of the fleet, and of the handful that is to show the same; half of them of either server."""
DAY_QUERIES = 600_000
"""Of a fleet in a day: the day is shortened to as long as they take, since a queue forgets in a second."""
LOADS = (1.0, 0.75, 0.5)
"""At the peak, over what the fixed batch carries within its SLA: the published load is not stated. [1]"""
TAILS = (0.95, 0.99)
PERCENTILES = (0.5, 0.75, 0.9, 0.95, 0.99)

MISSES = "the fixed batch meets the SLA at no load"
SLACK = (
    "a fleet that runs at what the fixed batch carries is nearly idle once tuned: its batch of 25 pays for "
    "many requests, which gains within a search's list of rates do not show"
)
ANOTHER_MODEL = "din"
"""One attention unit here, the code's default; the paper's has 250."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A fleet's day with the fixed batch and with the tuned ones, the same queries for both.

    Attributes
    ----------
    load : float
        At the peak, over what the fixed batch carries within its SLA. [1]
    fixed_s, tuned_s : (5,) float
        `PERCENTILES` of latency over the day. [s]
    """

    load: float
    fixed_s: FloatArray
    tuned_s: FloatArray

    def reduction(self, percentile: float) -> float:
        """Latency with the fixed batch over that with the tuned ones. [1]"""
        at = PERCENTILES.index(percentile)
        return float(self.fixed_s[at] / self.tuned_s[at])


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model's fleet, with the fixed batch and tuned.

    Attributes
    ----------
    days : tuple of Day
        At each of `LOADS`.
    handful_s : (5,) float
        `PERCENTILES` of the tuned handful's latency, on the first day at the same load a node. [s]
    setting : str
        Loads and batches.
    """

    days: tuple[Day, ...]
    handful_s: FloatArray
    setting: str

    @property
    def handful_error(self) -> float:
        """How far the handful is off, at the percentile where that is most. [1]"""
        return float(np.abs(self.handful_s / self.days[0].tuned_s - 1.0).max())


def deployment_section(study: Study, day_queries: int = DAY_QUERIES) -> Section:
    """Tail latencies over a day, fixed over tuned; and a handful of nodes against hundreds."""
    found = {model: _deployed(study, model, day_queries) for model in study.plan.targets_ms}
    return Section(
        title="Tuned against a fixed batch on a fleet, over a day",
        prose=(
            f"{HUNDREDS} nodes, half Broadwell and half Skylake, cores alone; queries of production sizes "
            f"come at random in proportion to what a node carries with the fixed batch of "
            f"{study.plan.static_batch} within the medium SLA, which is the load at the peak; in the "
            f"quietest of {HOURS} hours it is {TROUGH:g} of that. Latencies are of all queries of the day. "
            "Assumed, since not published: the fixed batch, load, servers, models (all eight, a fleet "
            "each) and the day's shape. The load decides most, so that lighter ones stand below. "
            f"The handful are {HANDFUL} of such nodes, at the same load a node."
        ),
        rows=(*_means(found), *_by_model(found)),
    )


def published_deployment() -> dict[str, float]:
    """What was published of the deployment, by quantity."""
    return {row["quantity"]: float(row["value"]) for row in read_rows(FILE)}


def _means(found: dict[str, Deployment | None]) -> Iterator[Compared]:
    """Over the models whose fixed batch carries anything; lighter loads beside the published figure."""
    published = published_deployment()
    deployed = {model: each for model, each in found.items() if each is not None}
    mean = f"geometric mean of {len(deployed)} models"
    for number, load in enumerate(LOADS):
        for percentile in TAILS:
            name = f"p{100 * percentile:g}"
            stated = published[f"{name}_fixed_over_tuned"]
            days = {model: each.days[number].reduction(percentile) for model, each in deployed.items()}
            without = geometric_mean(gain for model, gain in days.items() if model != ANOTHER_MODEL)
            apart = "" if without is None else f"{without:.2f} without {ANOTHER_MODEL}, not the paper's"
            row = Compared(
                case=mean,
                quantity=f"{name} over the day, fixed over tuned [1]",
                predicted=geometric_mean(days.values()),
                setting=apart,
            )
            if number == 0:
                yield replace(row, published=stated, cause=SLACK)
            else:
                beside = "; ".join(filter(None, (apart, f"published {stated:g}")))
                yield replace(row, case=f"{mean}, {100 * load:g} % of that load", setting=beside)
    worst = max((each.handful_error for each in deployed.values()), default=None)
    yield Compared(
        case=f"{HANDFUL} nodes against {HUNDREDS}, the worst of {len(deployed)} models",
        quantity="largest error of p50 to p99 over the day [%]",
        predicted=None if worst is None else 100.0 * worst,
        setting=f"published: within {published['handful_percent']:g} %",
    )


def _by_model(found: dict[str, Deployment | None]) -> Iterator[Compared]:
    for model, deployed in found.items():
        for percentile in TAILS:
            yield Compared(
                case=model,
                quantity=f"p{100 * percentile:g} over the day, fixed over tuned [1]",
                predicted=None if deployed is None else deployed.days[0].reduction(percentile),
                setting=MISSES if deployed is None else deployed.setting,
                detail=True,
            )


def _deployed(study: Study, model: str, day_queries: int) -> Deployment | None:
    """A model's day; None where the fixed batch carries nothing on either server."""
    law, cpus = study.plan.sizes or production_sizes(), (CPU, OTHER_CPU)
    tunings = [study.case(model, cpu, None, MEDIUM) for cpu in cpus]
    carried = [tuning.static.latency_bounded_qps for tuning in tunings]
    services = [study_service(study_node(model, cpu, None), law.max_items) for cpu in cpus]
    if any(qps is None for qps in carried):
        return None
    peaks = [float(qps or 0.0) for qps in carried]
    fixed = [study.plan.static_batch] * len(cpus)
    tuned = [tuning.exhaustive.batch_size for tuning in tunings]
    over_tuned = " and ".join(f"{cpu} {size}" for cpu, size in zip(cpus, tuned, strict=True))
    peak = " and ".join(f"{qps:,.0f}" for qps in peaks)

    def latency_s(batch_sizes: list[int], load: float, num_nodes: int = HUNDREDS) -> FloatArray:
        return day_latency_s(
            services, batch_sizes, [load * peak for peak in peaks], law, num_nodes, day_queries
        )

    days = (Day(load=load, fixed_s=latency_s(fixed, load), tuned_s=latency_s(tuned, load)) for load in LOADS)
    return Deployment(
        days=tuple(days),
        handful_s=latency_s(tuned, LOADS[0], HANDFUL),
        setting=f"batch {over_tuned}; {peak} queries/s a node at the peak",
    )


def day_latency_s(
    services: list[ServiceTimes],
    batch_sizes: list[int],
    peaks_qps: list[float],
    law: SizePmf,
    num_nodes: int,
    day_queries: int,
) -> FloatArray:
    """Percentiles of latency over a day of a fleet, random routing. [s]"""
    kinds = tuple(
        NodeKind(service=service, policy=Configuration(size).policy)
        for service, size in zip(services, batch_sizes, strict=True)
    )
    fleet = Fleet(kinds, (num_nodes // len(kinds),) * len(kinds))
    weights = fleet.weights(peaks_qps)
    rates = [float(weights.sum()) * share for share in hourly_shares()]
    hour_s = day_queries / sum(rates)
    arrivals = StagedArrivals(stages=tuple(RateStage(duration_s=hour_s, rate_qps=rate) for rate in rates))
    queries = TrafficSource(arrivals=arrivals, sizes=law).draw(day_queries, seed=1)
    record = simulate_fleet(queries, fleet, Routing.RANDOM, seed=1, weights=weights)
    ordered_s = np.sort(record.latency_s)
    return np.array([order_statistic(ordered_s, percentile) for percentile in PERCENTILES])


def hourly_shares() -> list[float]:
    """Load of each hour over the peak's, as plans of fleets have it. [1]"""
    swing = [(1.0 + cos(2.0 * pi * (hour - PEAK_HOUR) / HOURS)) / 2.0 for hour in range(HOURS)]
    return [TROUGH + (1.0 - TROUGH) * share for share in swing]
