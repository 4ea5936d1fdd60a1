"""From the question to the answer: static, hour by hour, baselines, what safeties cost, why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perfmodel.planning.plan.answer import Binding, HourPlan, Optimum, PlanAnswer, SafetyCost
from perfmodel.planning.plan.autoscaler import perfect_autoscaler, simulated_autoscaler
from perfmodel.planning.plan.baselines import greedy, oblivious
from perfmodel.planning.plan.binding import binding_of, not_chosen
from perfmodel.planning.plan.growth import growth_notes, growth_of
from perfmodel.planning.plan.optimum import best
from perfmodel.planning.plan.programme import FloatArray
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.planning.plan.sharded import sharded_units
from perfmodel.planning.plan.sla_relief import asked_pairs, sla_reliefs
from perfmodel.planning.service_times import IDLE_ACCELERATOR
from perfmodel.threads import side_by_side


def plan(question: PlanQuestion, *, growth: Sequence[float] = (), extrapolate: bool = False) -> PlanAnswer:
    """Find the least nodes, power, money or carbon for a day of demand; nothing is simulated here.

    Parameters
    ----------
    growth : sequence of float
        Factors on all demand to plan for as well.
    extrapolate : bool
        Whether capacities were found outside the calibrated range too.
    """
    answer = _planned(question, growth, extrapolate)
    if question.known is not None:
        question.known.write()
    return answer


def _planned(question: PlanQuestion, growth: Sequence[float], extrapolate: bool) -> PlanAnswer:
    peak_qps = question.peak_qps
    static = best(question, peak_qps)
    asked = question
    # What serves a service together stays together all day: hours keep what the static provision chose.
    question = question.choosing({}) if static is None else static.provisioned.question
    by_name = _by_name(question, peak_qps)
    hours = plan_hours(question, peak_qps, static)
    return PlanAnswer(
        question=question,
        static=static,
        hours=hours,
        baselines={
            "greedy": greedy(question, by_name),
            "oblivious": oblivious(question, by_name),
            "perfect_autoscaler": perfect_autoscaler(hours),
            "simulated_autoscaler": simulated_autoscaler(
                question, None if static is None else static.provisioned
            ),
        },
        not_chosen=() if static is None else not_chosen(asked, peak_qps, static),
        safeties=() if static is None else safety_costs(asked, static),
        binding=None if static is not None else _binding(asked, peak_qps, extrapolate=extrapolate),
        notes=(*_notes(question, static, hours), *growth_notes(growth)),
        growth=growth_of(asked, growth) if growth else None,
        sharded=sharded_units(question),
    )


def _binding(question: PlanQuestion, peak_qps: FloatArray, *, extrapolate: bool) -> Binding:
    """What binds and what frees it, a longer latency of each SLA among it."""
    found = binding_of(question, peak_qps)
    return replace(found, frees=(*found.frees, *sla_reliefs(question, peak_qps, extrapolate=extrapolate)))


def plan_hours(question: PlanQuestion, peak_qps: FloatArray, static: Optimum | None) -> tuple[HourPlan, ...]:
    """Plan each hour for itself; hours that ask for the same are planned once, on all cores.

    An hour that asks for the largest demand of every service is planned as the static provision is.
    """
    asked: dict[tuple[object, ...], tuple[FloatArray, float | None]] = {}
    keys = []
    for index in range(len(question.hours)):
        planned_qps = question.planned_qps(index)
        grid = None if question.grid_g_per_kwh is None else question.grid_g_per_kwh[index]
        counts = grid if question.provision.objective == "carbon" else None
        key = (*_digits(planned_qps), counts)
        asked.setdefault(key, (planned_qps, grid))
        keys.append(key)
    peak_key = (*_digits(peak_qps), None)
    optima: dict[tuple[object, ...], Optimum | None] = {peak_key: static} if peak_key in asked else {}
    rest = {key: each for key, each in asked.items() if key not in optima}
    found = side_by_side(lambda each: best(question, each[0], grid_g_per_kwh=each[1]), rest.values())
    optima |= dict(zip(rest, found, strict=True))
    return tuple(
        HourPlan(
            hour=hour,
            demand_qps={each.name: each.demand_qps[index] for each in question.services},
            planned_qps=_by_name(question, question.planned_qps(index)),
            optimum=optima[keys[index]],
            grid_g_per_kwh=None if question.grid_g_per_kwh is None else question.grid_g_per_kwh[index],
        )
        for index, hour in enumerate(question.hours)
    )


def _digits(qps: FloatArray) -> tuple[float, ...]:
    """Rates without their last bits: both sides of a diurnal peak differ by those of a cosine."""
    return tuple(float(f"{each:.12g}") for each in qps)


def safety_costs(question: PlanQuestion, static: Optimum) -> tuple[SafetyCost, ...]:
    """What each safety costs: the static provision less the one without it, the others as they are."""
    asked = question.provision
    without = {}
    if asked.failures is not None and asked.failures.nodes:
        zones = asked.failures.model_copy(update={"nodes": 0})
        without["failures.nodes"] = question.asking(failures=zones)
    if asked.failures is not None and asked.failures.zones is not None:
        without["failures.zones"] = question.asking(
            failures=asked.failures.model_copy(update={"zones": None})
        )
    if asked.maintenance:
        without["maintenance"] = question.asking(maintenance=0.0)
    if asked.headroom or asked.headroom_in_failure:
        without["headroom"] = question.asking(headroom=0.0, headroom_in_failure=0.0)
    if any(service.error for service in question.services):
        without["forecast error"] = question.without_errors()
    if any(pair.low_qps != pair.qps for pair in question.capacities.values()):
        without["low end of capacities"] = question.by_central_estimates()
    found = side_by_side(lambda other: best(other, other.peak_qps), without.values())
    return tuple(
        SafetyCost(
            safety=safety,
            num_nodes=None
            if cheaper is None
            else static.provisioned.num_nodes - cheaper.provisioned.num_nodes,
            objective_value=None if cheaper is None else static.objective_value - cheaper.objective_value,
        )
        for safety, cheaper in zip(without, found, strict=True)
    )


def _by_name(question: PlanQuestion, qps: FloatArray) -> dict[str, float]:
    return {each.name: float(rate) for each, rate in zip(question.services, qps, strict=True)}


def _notes(question: PlanQuestion, static: Optimum | None, hours: Sequence[HourPlan]) -> tuple[str, ...]:
    notes = []
    infeasible = [hour.hour for hour in hours if hour.optimum is None]
    if static is None and not infeasible:
        notes.append(
            "each hour alone is feasible: it is the largest demand of every service at once that is not"
        )
    if infeasible:
        notes.append(f"{len(infeasible)} of {len(hours)} hours are infeasible: {_listed(infeasible)}")
    if static is not None and not static.is_optimal:
        notes.append(f"the static provision is within {100 * static.gap:.3g} % of the least")
    worst = max((hour.optimum.gap for hour in hours if hour.optimum is not None), default=0.0)
    if worst:
        notes.append(f"hours are within {100 * worst:.3g} % of the least")
    unknown = [each.name for each in question.node_types if each.tdp_w is None]
    if unknown:
        notes.append(f"power is not known of {', '.join(unknown)}")
    if question.provision.failures is not None and question.provision.sharing:
        notes.append(
            "nodes are shared: in the minutes after a failure services keep their shares of a node's time, "
            "and each group of nodes that serve the same loses what the failure takes of one"
        )
    if static is None and (
        given := [each.name for each in question.services if not asked_pairs(question, each.name)]
    ):
        notes.append(
            f"not worked out: from which SLA on the plan would be feasible, of {', '.join(given)}: "
            "capacities that are given do not follow it"
        )
    if static is not None and any(each.unit_nodes > 1 for each in static.provisioned.placements):
        notes.append(
            "a unit of several nodes is lost with any of them, and drained as a whole; it lies in one zone"
            + (", and serves one service" if question.provision.sharing else "")
        )
    for service in question.services:
        if service.num_stages > 1:
            units = {name: pair for (of, name), pair in question.capacities.items() if of == service.name}
            types = {each.name: each.node_types for each in question.mixed}
            told = ", ".join(
                f"{name} ({' and '.join(types[name])})" if name in types else f"{pair.num_nodes} {name}"
                for name, pair in units.items()
            )
            notes.append(
                f"{service.name} has {service.num_stages} stages, which serve in units of {told}: one type "
                "for all stages but where said, with the settings of the scenario"
            )
    if static is not None and (idle := _idle_accelerators(question, static)):
        notes.append(f"{', '.join(idle)}: {IDLE_ACCELERATOR}")
    if question.provision.sharing:
        notes.append(
            "nodes are shared: what services cost each other on a node is not in the capacities; only the "
            "simulation finds it, and a service that it leaves out may need more nodes than stated"
        )
    return tuple(notes)


def _idle_accelerators(question: PlanQuestion, static: Optimum) -> list[str]:
    """Services and node types of the plan whose nodes have accelerators that no query goes to."""
    found = []
    for placement in static.provisioned.placements:
        for service in placement.services:
            prepared = question.prepared.get((service, placement.node_type))
            if prepared is None:  # its capacity is given
                continue
            asked, found_with = prepared.loaded.scenario, question.capacities[service, placement.node_type]
            has_cards = bool(asked.node is not None and asked.node.accelerators)
            if has_cards and found_with.batch_size and found_with.offload_threshold_items is None:
                found.append(f"{service} on {placement.node_type}")
    return list(dict.fromkeys(found))


def _listed(hours: Sequence[int], most: int = 8) -> str:
    return ", ".join(map(str, hours[:most])) + (", …" if len(hours) > most else "")
