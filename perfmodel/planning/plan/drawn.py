"""Power of nodes that draw it by their utilisation: load over capacity, spread so that it draws least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perfmodel.planning.plan.check import Placement, drained
from perfmodel.planning.plan.question import PlanQuestion


def drawn_w(
    question: PlanQuestion, placements: Sequence[Placement], demand_qps: Mapping[str, float]
) -> float:
    """Power of nodes under a load on an ordinary day: idle + (peak - idle) x utilisation. [W]

    Drained nodes are idle. What is beyond the nodes' capacity less headroom is not served, and draws nothing.
    """
    types = {each.name: each for each in question.node_types}
    idle_w = sum(each.nodes * (types[each.node_type].idle_w or 0.0) for each in placements)
    shared = any(len(each.services) > 1 for each in placements)
    loads_w = _shared_w if shared else _alone_w
    return idle_w + loads_w(question, placements, demand_qps)


def _time(question: PlanQuestion, placement: Placement) -> float:
    """Units' time that may be taken. [units]"""
    serving = placement.units - drained(placement.units, question.provision.maintenance)
    return serving * (1.0 - question.provision.headroom)


def _alone_w(
    question: PlanQuestion, placements: Sequence[Placement], demand_qps: Mapping[str, float]
) -> float:
    """Each service fills first the nodes on which a query takes least."""
    types = {each.name: each for each in question.node_types}
    total_w = 0.0
    left_qps = dict(demand_qps)
    each_w = [(question.load_w(each.services[0], types[each.node_type]), each) for each in placements]
    for watts, placement in sorted(each_w, key=lambda pair: pair[0]):
        (service,) = placement.services
        most_qps = _time(question, placement) * question.capacities[service, placement.node_type].low_qps
        load_qps = min(left_qps[service], most_qps)
        left_qps[service] -= load_qps
        total_w += load_qps * watts
    return total_w


def _shared_w(
    question: PlanQuestion, placements: Sequence[Placement], demand_qps: Mapping[str, float]
) -> float:
    """The least over all ways to share out the nodes' time: a linear programme in shares of demand."""
    types = {each.name: each for each in question.node_types}
    loads = [
        (index, service)
        for index, placement in enumerate(placements)
        for service in placement.services
        if demand_qps[service] > 0.0
    ]
    if not loads:
        return 0.0
    cost, time = [], []
    for index, service in loads:
        name = placements[index].node_type
        cost.append(demand_qps[service] * question.load_w(service, types[name]))
        time.append(demand_qps[service] / question.capacities[service, name].low_qps)
    served = sorted({service for _, service in loads})
    from scipy.optimize import linprog  # few plans draw power by utilisation

    # What is too much for the nodes is left out, as where nodes are not shared: at more than any of it costs.
    dear = 10.0 * max(1.0, *cost)
    found = linprog(
        [*cost, *([dear] * len(served))],
        A_ub=[
            [time[column] if index == row else 0.0 for column, (index, _) in enumerate(loads)]
            + [0.0] * len(served)
            for row in range(len(placements))
        ],
        b_ub=[_time(question, placement) + 1e-9 for placement in placements],
        A_eq=[
            [float(service == row) for _, service in loads] + [float(service == row) for service in served]
            for row in served
        ],
        b_eq=[1.0] * len(served),
        method="highs",
    )
    assert found.x is not None, "nothing has to be served"
    return float(np.dot(cost, found.x[: len(cost)]))
