"""The best provision for one demand: the programme solved, and its answer checked by other code."""

from __future__ import annotations

from math import ceil, isfinite

from perfmodel.errors import PerfplanError
from perfmodel.planning.plan.answer import Optimum, Provisioned
from perfmodel.planning.plan.check import Placement, violations
from perfmodel.planning.plan.decomposition import cheapest
from perfmodel.planning.plan.programme import TOLERANCE, FloatArray, Programme, Solution, solve
from perfmodel.planning.plan.question import Pair, PlanQuestion, Way

PROVED = 10.0 * TOLERANCE
"""A gap up to which the solver's bound differs from its optimum by its rows' tolerance alone. [1]"""

PROVED_WITH_LOADS = 2e-6
"""The same where loads are variables, not whole: the solver meets their rows to 1e-6. [1]"""


def best(
    question: PlanQuestion, demand_qps: FloatArray, *, grid_g_per_kwh: float | None = None
) -> Optimum | None:
    """Find the best provision for a demand, by index of service; None: there is none. [queries/s]

    Raises
    ------
    PerfplanError
        If the solver ran out of time with nothing in hand, or what it found does not hold: never wrongly.
    """
    programme = question.programme(demand_qps, grid_g_per_kwh)
    solution = cheapest(programme)
    if solution.units is None:
        if solution.status == "infeasible":
            return None
        raise PerfplanError("plan: the integer programme ran out of time before it found any nodes")
    return _optimum(question, programme, demand_qps, solution, grid_g_per_kwh)


def _optimum(
    question: PlanQuestion,
    programme: Programme,
    demand_qps: FloatArray,
    solution: Solution,
    grid_g_per_kwh: float | None,
) -> Optimum:
    demands = {each.name: float(qps) for each, qps in zip(question.services, demand_qps, strict=True)}
    chosen = question.choosing(ways_taken(question, programme, solution))
    provisioned = Provisioned(
        question=chosen, placements=placements_of(question, programme, solution), demand_qps=demands
    )
    if wrong := violations(chosen, demands, provisioned.placements):
        raise PerfplanError(f"plan: what the integer programme found does not hold: {wrong[0]}")
    grid = question.mean_grid_g_per_kwh if grid_g_per_kwh is None else grid_g_per_kwh
    value = provisioned.objective_value(grid)
    if value is None:
        value = float(provisioned.num_nodes)
    return Optimum(
        provisioned=provisioned,
        objective_value=value,
        lower_bound=_lower_bound(question, programme, solution, value),
    )


def _lower_bound(question: PlanQuestion, programme: Programme, solution: Solution, value: float) -> float:
    """The solver's bound in the objective's own terms: whole nodes, what decides ties left out."""
    bound = solution.bound
    if not isfinite(bound):
        return 0.0
    if question.provision.objective == "nodes":
        ties = programme.tie_weight * float(programme.tie.max(initial=0.0)) * value
        bound = float(ceil(bound - ties - 1e-6))
    proved = PROVED if programme.load_cost is None else PROVED_WITH_LOADS
    return value if value - bound <= proved * max(1.0, value) else max(0.0, bound)


def placements_of(question: PlanQuestion, programme: Programme, solution: Solution) -> tuple[Placement, ...]:
    """The groups that have nodes, by name."""
    assert solution.units is not None, "something was found"
    found = []
    for index, group in enumerate(programme.groups):
        count = int(solution.units[index])
        if not count:
            continue
        names = tuple(question.services[service].name for service in group.services)
        loads = tuple(
            {
                name: float(load_qps[service, index])
                for name, service in zip(names, group.services, strict=True)
            }
            for load_qps in solution.loads_qps
        )
        found.append(
            Placement(
                node_type=group.unit or question.node_types[group.node_type].name,
                services=names,
                nodes=count * group.unit_nodes,
                loads_qps=loads if len(names) > 1 else (),
                unit_nodes=group.unit_nodes,
            )
        )
    return tuple(found)


def ways_taken(question: PlanQuestion, programme: Programme, solution: Solution) -> dict[Pair, Way]:
    """Of each pair that got nodes and has several ways to serve, the one that they serve in."""
    assert solution.units is not None, "something was found"
    found: dict[Pair, Way] = {}
    for alternatives in programme.one_of:
        group = programme.groups[alternatives[0]]
        name = group.unit or question.node_types[group.node_type].name
        pair = (question.services[group.services[0]].name, name)
        for way, index in zip(_ways_that_serve(question, pair), alternatives, strict=True):
            if solution.units[index]:
                found[pair] = way
    return found


def _ways_that_serve(question: PlanQuestion, pair: Pair) -> list[Way]:
    """In the order of their groups."""
    return [way for way in question.ways_of(*pair) if way.capacity.low_qps > 0.0]


def most_served(question: PlanQuestion, demand_qps: FloatArray) -> float:
    """The greatest factor, up to 1, on all demand that there are nodes for. [1]"""
    solution = solve(question.programme(demand_qps), most_served=True)
    return 0.0 if solution.units is None else min(1.0, solution.served)
