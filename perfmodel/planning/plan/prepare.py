"""From a loaded fleet file to the question: node types with their power and memory, services, capacities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import inf
from typing import Any

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.model import RecModel
from perfmodel.domain.provision import FleetFile
from perfmodel.domain.scenario import NodeChoice, TableNodeChoice
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.fleet_file import LoadedFleet, num_machines
from perfmodel.loading.inputs import input_files
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.loading.validated import parse_file
from perfmodel.planning.node import ServingNode
from perfmodel.planning.plan.capacities import PairAsked, find_capacities, with_count_of
from perfmodel.planning.plan.kept import digest_of
from perfmodel.planning.plan.kept_solutions import KeptSolutions
from perfmodel.planning.plan.question import MixedUnit, Pair, PairCapacity, PlanQuestion, Service, StockedType
from perfmodel.planning.plan.shard_counts import counts_tried
from perfmodel.planning.prepare import prepare_pairs
from perfmodel.threads import Tell, untold
from perfmodel.units import GIB, MS


def plan_question(
    loaded: LoadedFleet, *, mixed_stacks: bool = False, extrapolate: bool = False, tell: Tell = untold
) -> PlanQuestion:
    """Read what a plan needs, and find the capacities that the file does not give.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    InputError
        At the place in the fleet file, or in a file that it names, that cannot be used.
    ExtrapolationError
        If batches of a pair lie outside the calibrated range and `extrapolate` is not set.
    """
    read = cache(read_profile)
    types = tuple(_stocked_type(loaded, name, read) for name in loaded.fleet.node_types)
    with loaded.places():
        _require_power(loaded.fleet, types)
        _require_own_nodes(loaded)
        _require_patience(loaded)
    given: dict[Pair, PairCapacity] = {}
    refused: dict[Pair, str] = {}
    asked = []
    for service in loaded.fleet.services:
        for unit in loaded.fleet.services[service].units:
            on_unit, qps = loaded.on_unit(service, unit), loaded.fleet.capacity_given(service, unit)
            if qps is None:
                asked.append(PairAsked((service, unit), on_unit, tune=False))
            elif qps == 0.0:
                refused[service, unit] = f"{service}: capacity given as 0"
            else:
                given[service, unit] = PairCapacity(qps=qps, low_qps=qps, num_nodes=num_machines(on_unit))
        _ask_sharded(loaded, service, asked, given, refused)
        for node_type in loaded.fleet.node_types:
            qps = loaded.fleet.capacity_given(service, node_type)
            if (elsewhere := _tables_elsewhere(loaded, service, node_type)) is not None:
                refused[service, node_type] = elsewhere
            elif qps is None:
                tune = loaded.fleet.services[service].tune
                asked.append(
                    PairAsked(
                        (service, node_type),
                        loaded.on_node_type(service, node_type),
                        tune,
                        loaded.fleet.node_types[node_type].num_available,
                    )
                )
            elif qps == 0.0:
                refused[service, node_type] = f"{service}: capacity given as 0"
            else:
                given[service, node_type] = _given(loaded, service, node_type, qps)
    capacities = find_capacities(
        asked,
        confidence=loaded.fleet.provision.confidence,
        mixed_stacks=mixed_stacks,
        extrapolate=extrapolate,
        tell=tell,
    )
    question = PlanQuestion(
        name=loaded.name,
        services=tuple(
            Service(
                name=name,
                demand_qps=loaded.demand_qps[name],
                error=each.demand.error,
                model_bytes=_model_bytes(loaded.scenarios[name]) if loaded.fleet.provision.sharing else 0.0,
                num_stages=_num_stages(loaded.scenarios[name]),
            )
            for name, each in loaded.fleet.services.items()
        ),
        node_types=types,
        hours=loaded.hours,
        capacities={**given, **capacities.found},
        refused={**refused, **capacities.refused},
        prepared=capacities.prepared,
        ways=capacities.ways,
        tried=capacities.tried,
        slas={name: each.scenario.sla for name, each in loaded.scenarios.items()},
        provision=loaded.fleet.provision,
        grid_g_per_kwh=loaded.grid_g_per_kwh,
        mixed=tuple(
            MixedUnit(unit, service, types)
            for service, each in loaded.fleet.services.items()
            for unit, types in each.units.items()
        )
        + tuple(
            MixedUnit(unit, service, types, is_sharded=True)
            for service in loaded.fleet.services
            for unit, types in loaded.fleet.sharded_units.items()
        ),
        asked=_asked(loaded),
        inputs=input_files(loaded.paths()),
    )
    return replace(question, known=KeptSolutions(_digest(question)))


def _digest(question: PlanQuestion) -> str:
    """Digest of all that the programmes of a plan depend on; each of them is known by its own."""
    said = (question.services, question.node_types, question.hours, question.capacities, question.provision)
    return digest_of(
        {"solutions of": [*map(repr, said), repr(question.grid_g_per_kwh), repr(question.mixed)]}
    )


def _ask_sharded(
    loaded: LoadedFleet,
    service: str,
    asked: list[PairAsked],
    given: dict[Pair, PairCapacity],
    refused: dict[Pair, str],
) -> None:
    """Ask for the capacity of a service on units of a main node and shards of another type, or take it.

    Raises
    ------
    InputError
        At a capacity of such a unit, where the service fits the main node.
    """
    for unit, (_, holder) in loaded.fleet.sharded_units.items():
        qps = loaded.fleet.capacity_given(service, unit)
        if loaded.scenarios[service].scenario.pipeline is not None:
            refused[service, unit] = f"{service}: of several stages none has its tables on another node type"
        elif qps == 0.0:
            refused[service, unit] = f"{service}: capacity given as 0"
        elif qps is None:
            tune, most = loaded.fleet.services[service].tune, loaded.fleet.node_types[holder].num_available
            on_unit = loaded.on_sharded(service, unit)
            asked.append(PairAsked((service, unit), on_unit, tune, 1 + most, in_shards=True))
        else:
            known = _of_unit(loaded.on_sharded(service, unit), qps, is_staged=False)
            if known.num_shards == 0:
                why = f"expected none: {service} fits the main node without shards"
                raise loaded.source.error(why, "capacities", service, unit)
            given[service, unit] = known


def _tables_elsewhere(loaded: LoadedFleet, service: str, node_type: str) -> str | None:
    """Why a node type does not serve a service by itself: so many shards of another type are asked for."""
    of = loaded.fleet.node_types[node_type]
    if not of.shards_on or node_type in of.shards_on:
        return None
    assert isinstance(of.node, NodeChoice), "checked with shards_on"
    assert of.node.shards is not None, "checked with shards_on"
    if of.node.shards.count == "auto" or loaded.scenarios[service].scenario.pipeline is not None:
        return None
    return f"{service}: its tables lie on {of.node.shards.count} shards of {' or '.join(of.shards_on)}"


def _given(loaded: LoadedFleet, service: str, node_type: str, qps: float) -> PairCapacity:
    """A rate that the file knows: of a node, or of the node with those that hold its tables.

    Raises
    ------
    InputError
        At the node type's shards, where they cannot hold the tables.
    """
    choice = loaded.fleet.node_types[node_type].node
    pipeline = loaded.scenarios[service].scenario.pipeline
    if isinstance(choice, TableNodeChoice) or choice.shards is None:
        return PairCapacity(qps=qps, low_qps=qps, num_nodes=num_machines(loaded.scenarios[service]))
    return _of_unit(loaded.on_node_type(service, node_type), qps, is_staged=pipeline is not None)


def _of_unit(loaded: LoadedScenario, qps: float, *, is_staged: bool) -> PairCapacity:
    """A rate of a main node with those that hold its tables, as many as they take."""
    (pair,) = prepare_pairs([loaded], mixed_stacks=True)
    count = next(iter(counts_tried(pair, None)))
    question = with_count_of(pair, count).question()
    node = question.node
    shards = node.shards if isinstance(node, ServingNode) and not is_staged else None
    return PairCapacity(
        qps=qps,
        low_qps=qps,
        num_nodes=question.num_machines,
        num_shards=0 if shards is None else shards.num_shards,
    )


def _asked(loaded: LoadedFleet) -> Mapping[str, Any]:
    """The fleet as plain values."""
    data = loaded.source.data()
    assert isinstance(data, dict), "the top level of a fleet is a section"
    return data


def _stocked_type(loaded: LoadedFleet, name: str, read: object) -> StockedType:
    """A node type with the power and the memory of its profiles."""
    assert callable(read), "reads a profile"
    asked = loaded.fleet.node_types[name]
    on_it = loaded.on_node_type(next(iter(loaded.fleet.services)), name)
    tdp_w: float | None
    idle_w = peak_w = None
    if isinstance(asked.node, TableNodeChoice):
        tdp_w, memory_bytes = asked.node.tdp_w, inf
    else:
        choices = [on_it.cpu_profile(), *on_it.accelerator_profiles()]
        hardware = [read(choice.path).hardware for choice in choices]
        modules_w = _modules_w(asked.node, read(choices[0].path))
        tiers = asked.node.tiers
        more_w = modules_w + (0.0 if tiers is None else tiers.tdp_w)
        tdp_w = more_w + sum(each.tdp_w.value for each in hardware)
        idle_w = more_w + sum(each.idle_w.value for each in hardware)
        peak_w = more_w + sum(each.peak_w.value for each in hardware)
        memory_bytes = min(each.memory_gib.value for each in hardware) * GIB
        if tiers is not None and loaded.fleet.provision.sharing:
            why = "expected none with provision.sharing: whose rows lie where is worked out for one service"
            raise loaded.source.error(why, "node_types", name, "node", "tiers")
        if asked.node.instances is not None and loaded.fleet.provision.sharing:
            why = "expected none with provision.sharing: how often a model is in memory is counted once there"
            raise loaded.source.error(why, "node_types", name, "node", "instances")
    return StockedType(
        name=name,
        owned=asked.num_owned,
        available=asked.num_available,
        price_usd_per_h=asked.own_price_usd_per_h,
        buy_price_usd_per_h=asked.buy_price_usd_per_h,
        power_cap_w=inf if asked.power_cap_w is None else asked.power_cap_w,
        tdp_w=tdp_w,
        memory_bytes=memory_bytes,
        idle_w=idle_w,
        peak_w=peak_w,
    )


def _modules_w(choice: NodeChoice, cpu: ProfileFile) -> float:
    """Power of the logic in memory modules that do lookups. [W]"""
    if choice.near_memory is None:
        return 0.0
    from perfmodel.costmodel.rank_cache import near_memory  # few nodes have it

    return near_memory(choice.near_memory, cpu.device(cpu.default_stack)).units_w


def _model_bytes(loaded: LoadedScenario) -> float:
    if loaded.scenario.model is None:  # known by service times
        return 0.0
    model = parse_file(loaded.model_path(), RecModel)
    return float(model.embedding_bytes + model.dense_parameter_bytes)


def _num_stages(loaded: LoadedScenario) -> int:
    pipeline = loaded.scenario.pipeline
    return 1 if pipeline is None else 1 + len(pipeline.stages)


def _require_power(fleet: FleetFile, types: tuple[StockedType, ...]) -> None:
    """Refuse what is asked of power where that of a node is not known."""
    asked = fleet.provision
    for each in types:
        if asked.power == "by-utilisation" and (each.idle_w is None or each.peak_w is None):
            said = (
                "provision.power is by-utilisation: expected a node with a profile, which has idle_w and "
                "peak_w; of one known by its service times they are not known"
            )
            raise ValueErrorAt(said, ("node_types", each.name, "node"))
        if each.tdp_w is None:
            if asked.objective in ("power", "carbon"):
                needs = f"provision.objective is {asked.objective}: expected tdp_w of its node"
                raise ValueErrorAt(needs, ("node_types", each.name, "node"))
            if asked.power_cap_w is not None or each.power_cap_w < inf:
                raise ValueErrorAt("a power cap needs tdp_w of its node", ("node_types", each.name, "node"))


def _require_own_nodes(loaded: LoadedFleet) -> None:
    """Refuse stages on nodes that other services share, and power by what units of several types serve."""
    for name, service in loaded.fleet.services.items():
        if service.units and loaded.fleet.provision.power == "by-utilisation":
            why = "expected none with provision.power: by-utilisation: which of a unit's types is how busy"
            raise ValueErrorAt(f"{why} is not worked out", ("services", name, "units"))
    if loaded.fleet.sharded_units and loaded.fleet.provision.power == "by-utilisation":
        (main, _), *_ = loaded.fleet.sharded_units.values()
        why = "expected this type alone with provision.power: by-utilisation: which of two is how busy"
        raise ValueErrorAt(f"{why} is not worked out", ("node_types", main, "shards_on"))
    if not loaded.fleet.provision.sharing:
        return
    for name, each in loaded.scenarios.items():
        if each.scenario.pipeline is not None:
            alone = "expected one stage with provision.sharing: what stages and services cost each other"
            raise ValueErrorAt(f"{alone} on a node is not simulated", ("services", name, "scenario"))


def _require_patience(loaded: LoadedFleet) -> None:
    """Refuse clients that give up before an answer that is in time."""
    transient = loaded.fleet.provision.transient
    if transient is None or transient.timeout_ms is None:
        return
    for name, each in loaded.scenarios.items():
        limit_ms = each.scenario.sla.latency_s / MS
        if transient.timeout_ms < limit_ms:
            least = f"expected at least latency_ms of the SLA of {name}, {limit_ms:g}"
            said = f"{least}, got {transient.timeout_ms:g}"
            raise ValueErrorAt(said, ("provision", "transient", "timeout_ms"))
