"""Autoscalers over the day: the perfect one, which is the hourly plan, and one that waits for its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import numpy.typing as npt

from perfmodel.planning.plan.answer import SECONDS_AN_HOUR, Baseline, HourPlan, Provisioned
from perfmodel.planning.plan.check import Placement
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.planning.plan.shared_rates import Placed, loads_together

Counts = npt.NDArray[np.int64]
"""Units of nodes that serve together, step by step."""

PERFECT = "the plan of each hour, without delay: nothing with its head-room and failures needs less"
SIMULATED = (
    "each service's static nodes scaled to load / (capacity x target utilisation), seen at the end of each "
    "interval; beyond those nodes as far as there is stock, the services in the file's order; a started node "
    "serves after the start-up, one that is no longer needed goes at once"
)


SIMULATED_SHARED = (
    "all nodes that serve the same services scaled to load / (capacity x target utilisation), each hour's "
    "load dealt out so that the static nodes' fullest are as little full as can be; seen at the end of each "
    "interval; beyond the static nodes as far as stock goes; a started node serves after the start-up, one "
    "that is no longer needed goes at once; what services cost each other on a node is not in it"
)


def perfect_autoscaler(hours: Sequence[HourPlan]) -> Baseline:
    """What the hours need, each for itself."""
    found = [hour.optimum.provisioned for hour in hours if hour.optimum is not None]
    if len(found) < len(hours):
        return _nothing(f"{PERFECT}; {len(hours) - len(found)} hours are infeasible")
    busiest = max(found, key=lambda provisioned: provisioned.num_nodes)
    return Baseline(
        feasible=True,
        num_nodes=busiest.num_nodes,
        power_w=_most([each.power_w for each in found]),
        price_usd_per_h=_most([each.price_usd_per_h for each in found]),
        node_hours=float(sum(each.num_nodes for each in found)),
        mean_power_w=_mean([each.power_w for each in found]),
        mean_price_usd_per_h=_mean([each.price_usd_per_h for each in found]),
        note=PERFECT,
        nodes=busiest.nodes,
    )


def simulated_autoscaler(question: PlanQuestion, static: Provisioned | None) -> Baseline:
    """Follow the day with nodes that need time to start.

    Load is fluid and constant within an hour; a service misses its SLA while its nodes' capacity is below its
    load. Nodes are the static provision's, scaled by the same factor in every type. A service's static nodes
    are there for it alone; more than those are what stock has left. Where nodes are shared, all that serve
    the same services are scaled together, and those miss their SLA there.
    """
    if static is None:
        return _nothing("there are no static nodes to scale")
    if question.provision.sharing:
        return _shared_autoscaler(question, static)
    settings = question.provision.autoscaler
    steps_an_hour = max(1, round(SECONDS_AN_HOUR / settings.interval_s))
    delay = ceil(settings.start_up_s / settings.interval_s)
    steps = steps_an_hour * len(question.hours)
    used = static.by_type
    left = {each.name: np.full(steps, each.most_nodes - used[each.name]) for each in question.node_types}
    on: dict[Placed, Counts] = {}
    missed = arrived = 0.0
    for service in question.services:
        fleet = static.units[service.name]
        rate_qps = {name: question.capacities[service.name, name].low_qps for name in fleet}
        full_qps = sum(count * rate_qps[name] for name, count in fleet.items())
        load_qps = np.repeat(np.array(service.demand_qps), steps_an_hour)
        wanted = load_qps / settings.target_utilisation / full_qps if full_qps > 0.0 else 0.0 * load_qps
        capacity_qps = np.zeros(steps)
        for name, count in fleet.items():
            each = question.unit_nodes(service.name, name)
            units = np.ceil(wanted * count - 1e-9).astype(np.int64)
            for kind, nodes in question.parts(name, each).items():
                units = np.minimum(units, count + left[kind] // nodes)
            for kind, nodes in question.parts(name, each).items():
                left[kind] -= nodes * np.maximum(0, units - count)
            on[name, (service.name,)], serving = _followed(units, delay)
            capacity_qps += serving * rate_qps[name]
        late = load_qps > capacity_qps * (1.0 + 1e-9)
        missed += float(load_qps[late].sum())
        arrived += float(load_qps.sum())
    missed_share = missed / arrived if arrived else 0.0
    return _over_the_day(question, on, steps_an_hour, missed_share, SIMULATED)


def _shared_autoscaler(question: PlanQuestion, static: Provisioned) -> Baseline:
    """The same of nodes that serve several services: a node's time is what is asked for."""
    settings = question.provision.autoscaler
    steps_an_hour = max(1, round(SECONDS_AN_HOUR / settings.interval_s))
    delay = ceil(settings.start_up_s / settings.interval_s)
    used = static.by_type
    steps = steps_an_hour * len(question.hours)
    left = {each.name: np.full(steps, each.most_nodes - used[each.name]) for each in question.node_types}
    units = {(each.node_type, each.services): each.units for each in static.placements}
    hourly = [_loads_of_hour(question, units, hour) for hour in range(len(question.hours))]
    on: dict[Placed, Counts] = {}
    missed = 0.0
    for placed, count in units.items():
        node_type, services = placed
        each = question.unit_nodes(services[0], node_type)
        load_qps = np.array([[loads.get((name, placed), 0.0) for name in services] for loads in hourly])
        unit_qps = np.array([question.capacities[name, node_type].low_qps for name in services])
        busy = np.repeat((load_qps / unit_qps).sum(axis=1), steps_an_hour)
        wanted = np.ceil(busy / settings.target_utilisation - 1e-9).astype(np.int64)
        for kind, nodes in question.parts(node_type, each).items():
            wanted = np.minimum(wanted, count + left[kind] // nodes)
        for kind, nodes in question.parts(node_type, each).items():
            left[kind] -= nodes * np.maximum(0, wanted - count)
        on[placed], serving = _followed(wanted, delay)
        late = busy > serving * (1.0 + 1e-9)
        missed += float(np.repeat(load_qps.sum(axis=1), steps_an_hour)[late].sum())
    arrived = steps_an_hour * float(sum(sum(service.demand_qps) for service in question.services))
    return _over_the_day(question, on, steps_an_hour, missed / arrived if arrived else 0.0, SIMULATED_SHARED)


def _loads_of_hour(
    question: PlanQuestion, units: Mapping[Placed, int], hour: int
) -> dict[tuple[str, Placed], float]:
    """What the static nodes are dealt of an hour's forecast. [queries/s]"""
    return loads_together(
        {each.name: each.demand_qps[hour] for each in question.services if each.demand_qps[hour] > 0.0},
        {pair: capacity.low_qps for pair, capacity in question.capacities.items()},
        units,
    )


def _followed(wanted: Counts, delay: int) -> tuple[Counts, Counts]:
    """Nodes that are on, and those of them that serve, step by step; the day before was like its last hour.

    What is wanted is seen one step late. A node serves `delay` steps after it was started: of those wanted
    now, as many as were wanted all along since then.
    """
    seen = np.roll(wanted, 1)
    on = seen.copy()
    serving = seen.copy()
    for back in range(1, delay + 1):
        serving = np.minimum(serving, np.roll(seen, back))
    return on, serving


def _over_the_day(
    question: PlanQuestion,
    on: Mapping[Placed, Counts],
    steps_an_hour: int,
    missed_share: float,
    note: str,
) -> Baseline:
    steps = steps_an_hour * len(question.hours)
    hourly: list[Provisioned] = []
    each = {placed: question.unit_nodes(placed[1][0], placed[0]) for placed in on}
    totals = np.sum([np.zeros(steps, np.int64), *(each[at] * units for at, units in on.items())], axis=0)
    # Steps of the same counts cost the same: most hours have few different ones.
    table = np.array(list(on.values())).T if on else np.zeros((steps, 0), np.int64)
    if question.by_utilisation:  # what they draw depends on the hour's load, too
        hours = np.repeat(np.arange(len(question.hours)), steps_an_hour)
        table = np.column_stack([table, hours])
    distinct, which, times = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    for counts in distinct:
        placements = tuple(
            Placement(*placed, int(count) * each[placed], unit_nodes=each[placed])
            for placed, count in zip(on, counts, strict=False)
            if count
        )
        hour = int(counts[-1]) if question.by_utilisation else 0
        load_qps = {each.name: each.demand_qps[hour] for each in question.services}
        hourly.append(Provisioned(question=question, placements=placements, demand_qps=load_qps))
    busiest = hourly[int(which.ravel()[int(np.argmax(totals))])]
    powers_w = [each.power_w for each in hourly]
    prices = [each.price_usd_per_h for each in hourly]
    return Baseline(
        feasible=missed_share == 0.0,
        num_nodes=busiest.num_nodes,
        power_w=_most(powers_w),
        price_usd_per_h=_most(prices),
        node_hours=float(totals.sum()) / steps_an_hour,
        mean_power_w=_mean(powers_w, times.tolist()),
        mean_price_usd_per_h=_mean(prices, times.tolist()),
        note=note,
        sla_missed_share=missed_share,
        nodes=busiest.nodes,
    )


def _most(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known, default=0.0) if len(known) == len(values) else None


def _mean(values: Sequence[float | None], times: Sequence[int] | None = None) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    return float(np.average(known, weights=times))


def _nothing(note: str) -> Baseline:
    return Baseline(
        feasible=False,
        num_nodes=None,
        power_w=None,
        price_usd_per_h=None,
        node_hours=None,
        mean_power_w=None,
        mean_price_usd_per_h=None,
        note=note,
    )
