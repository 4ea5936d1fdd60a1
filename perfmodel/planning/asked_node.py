"""The node that a scenario asks for: devices, cores, where the tables are; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perfmodel.costmodel.footprint import require_fit, require_weights_fit
from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.scenario import (
    NodeChoice,
    TableAnchor,
    TableNodeChoice,
)
from perfmodel.domain.shards import ShardSettings
from perfmodel.domain.tiers import NodeTiers
from perfmodel.domain.unsteady import Unrest
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import LoadedScenario, NamedFiles
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.table_node import TableNode
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.scatter import slowest_of

if TYPE_CHECKING:
    from perfmodel.costmodel.rank_cache import NearMemory
    from perfmodel.costmodel.shard_places import ShardMachine, Shards
    from perfmodel.costmodel.tiers import Tiers
    from perfmodel.domain.near_memory import NearMemorySettings


_SHARDS_HELP = (
    "; `node.shards: {count: auto}` puts the tables on nodes of their own, `node.tiers` rows beyond memory"
)


def require_their_kinds(files: NamedFiles) -> None:
    """Refuse accelerators as the CPU, CPUs as accelerators, and accelerators of several kinds."""
    if not files.profiles:
        return
    if (shard := files.shard_profile) is not None and shard.profile.kind != "cpu":
        why = f"expected a cpu profile, got {shard.profile.name}, a {shard.profile.kind}"
        raise ValueErrorAt(why, shard.place)
    (cpu, _, place), *cards = files.profiles
    if cpu.kind != "cpu":
        raise ValueErrorAt(f"expected a cpu profile, got {cpu.name}, a {cpu.kind}", place)
    for card, _, place in cards:
        first = cards[0].profile
        if card.kind == "cpu":
            raise ValueErrorAt(f"expected an accelerator profile, got {card.name}, a cpu", place)
        if card.name != first.name:
            both = f"expected accelerators of one kind, got {first.name} and {card.name}"
            raise ValueErrorAt(both, place)


def node_of(choice: NodeChoice | TableNodeChoice, files: NamedFiles, devices: Sequence[Device]) -> AnyNode:
    """The node of either kind."""
    if isinstance(choice, NodeChoice):
        return _serving_node(choice, files, devices)
    assert files.service_times is not None, "read where it is named"
    return TableNode(
        table=files.service_times,
        executors=choice.executors,
        tdp_w=choice.tdp_w,
        relative_error=None if choice.error_percent is None else choice.error_percent / 100.0,
        scatter=choice.scatter,
        pauses=choice.pauses,
    )


def _serving_node(choice: NodeChoice, files: NamedFiles, devices: Sequence[Device]) -> ServingNode:
    """The CPU, first of the devices, with its cores and threads, and the accelerators; the model fits all."""
    assert files.model is not None, "what runs on profiles is named"
    devices, shard_machine = _apart(choice, devices)
    cpu, *accelerators = devices
    if choice.engine is not None:
        from perfmodel.planning.engine_changes import with_engine  # few scenarios change a stack's engine

        cpu = with_engine(cpu, choice.engine)
    cores, threads = choice.cores or cpu.engine.engines or cpu.num_cores, choice.threads
    if cores > cpu.num_threads:
        most = f"at most {cpu.num_threads} ({cpu.threads_in_words})"
        raise ValueErrorAt(f"expected {most}, got {cores}", ("node", "cores"))
    if threads > cores:
        raise ValueErrorAt(f"expected at most the {cores} cores, got {threads}", ("node", "threads"))
    if threads > 1 and not cpu.thread_scaling:
        unknown = f"expected 1, since the profile {cpu.name} does not know how threads scale, got {threads}"
        raise ValueErrorAt(unknown, ("node", "threads"))
    if choice.instances is not None:
        cpu = _pinned(cpu, choice.instances, cores, threads)
    scatter, pauses = choice.scatter, choice.pauses
    if choice.measured_unrest:
        measured = _measured_unrest(cpu)
        scatter, pauses = measured.scatter, measured.pauses
        cpu = replace(cpu, describes=f"{cpu.describes}; {measured.words} are in it")
    elif cpu.unrest is not None and scatter is None and not pauses:
        left = f"{cpu.unrest.words} are left out (node.measured_unrest=true puts them in)"
        cpu = replace(cpu, describes=f"{cpu.describes}; {left}")
    shards, shard_factors = None, None
    tiers: list[Tiers] = []
    if choice.shards is not None:
        shards, shard_factors = _shards(choice.shards, files.model, cpu, shard_machine)
        for card, named in zip(accelerators, files.profiles[1:], strict=True):
            try:
                require_weights_fit(files.model, card)
            except InputError as error:
                raise ValueErrorAt(str(error), named.place[:2]) from None
    elif choice.tiers is not None:
        tiers = _tiers(choice.tiers, files.model, devices)
    else:
        for device, named in zip(devices, files.profiles, strict=True):
            try:
                require_fit(files.model, device, copies=_copies_on(device, choice))
            except InputError as error:
                raise ValueErrorAt(str(error) + _SHARDS_HELP, named.place[:2]) from None
    return ServingNode(
        shards=shards,
        shard_factors=shard_factors,
        near_memory=None
        if choice.near_memory is None
        else _near_memory(choice.near_memory, files.model, cpu),
        tiers=tiers[0] if tiers else None,
        card_tiers=tiers[1] if len(tiers) > 1 else None,
        tier_settings=choice.tiers,
        shard_settings=choice.shards,
        model=files.model,
        cpu=cpu,
        cores=cores,
        threads=threads,
        instances=choice.instances,
        accelerator=accelerators[0] if accelerators else None,
        num_accelerators=len(accelerators),
        scatter=scatter,
        pauses=pauses,
        anchor=files.anchor,
        anchor_error=choice.anchor.error_percent / 100.0
        if isinstance(choice.anchor, TableAnchor) and choice.anchor.error_percent is not None
        else None,
    )


def _apart(choice: NodeChoice, devices: Sequence[Device]) -> tuple[Sequence[Device], ShardMachine | None]:
    """The node's own devices, and what its shards are on where that is of another kind: the last of them.

    Raises
    ------
    ValueErrorAt
        At the cores of the shards, where their CPU does not have as many.
    """
    own = devices[: 1 + len(choice.accelerators)]
    if choice.shards is None or choice.shards.node is None:
        return own, None
    from perfmodel.costmodel.shard_places import ShardMachine  # few nodes have shards

    cpu, cores = devices[-1], choice.shards.node.cores or devices[-1].num_cores
    if cores > cpu.num_threads:
        most = f"at most {cpu.num_threads} ({cpu.threads_in_words})"
        raise ValueErrorAt(f"expected {most}, got {cores}", ("node", "shards", "node", "cores"))
    return own, ShardMachine(device=cpu, cores=cores)


def _copies_on(device: Device, choice: NodeChoice) -> int:
    """Copies of the tables in a device's memory: one for each process, of which a card knows nothing."""
    return 1 if choice.instances is None or device.kind == "gpu" else choice.instances


def _pinned(cpu: Device, instances: int, cores: int, threads: int) -> Device:
    """The CPU with processes that are pinned to as many cores each, none of them in two sockets.

    Raises
    ------
    ValueErrorAt
        At `node.instances`, where cores cannot be shared out so, or nobody knows what copies cost.
    """
    place = ("node", "instances")
    if instances % cpu.sockets:
        one = f"expected a multiple of the {cpu.sockets} sockets of {cpu.name}, so that none lies in two"
        raise ValueErrorAt(f"{one}, got {instances}", place)
    if cores % instances or cores // instances % threads:
        of = f"{threads} threads" if threads > 1 else "as many"
        raise ValueErrorAt(f"expected a number that shares {cores} cores out by {of}, got {instances}", place)
    a_socket = instances / cpu.sockets
    if a_socket > 1.0 and cpu.surfaces:
        unknown = "what several copies of the tables cost each other in one L3 was not measured"
        raise ValueErrorAt(f"expected {cpu.sockets}, one a socket: {unknown}, got {instances}", place)
    return cpu if cpu.caches is None else replace(cpu, caches=replace(cpu.caches, table_copies=a_socket))


def _measured_unrest(cpu: Device) -> Unrest:
    """Scatter and pauses as the profile's calibration measured them."""
    if cpu.unrest is None:
        raise ValueErrorAt(
            f"expected false: nobody measured scatter and pauses of {cpu.name}, as perfplan calibrate does",
            ("node", "measured_unrest"),
        )
    return cpu.unrest


def _near_memory(settings: NearMemorySettings, model: RecModel, cpu: Device) -> NearMemory:
    """The memory whose modules do the lookups, of which the model has some."""
    from perfmodel.costmodel.near_memory import require_pooled  # few nodes have it
    from perfmodel.costmodel.rank_cache import near_memory

    try:
        require_pooled(model)
    except InputError as error:
        raise ValueErrorAt(str(error), ("node", "near_memory")) from None
    return near_memory(settings, cpu)


def _shards(
    settings: ShardSettings, model: RecModel, cpu: Device, machine: ShardMachine | None
) -> tuple[Shards, npt.NDArray[np.float64] | None]:
    """The tables on nodes of their own, and how the slowest answer scatters around its mean."""
    from perfmodel.costmodel.shard_places import place_tables  # few nodes have shards

    try:
        require_weights_fit(model, cpu)
        shards = place_tables(model, cpu, settings, on=machine)
    except InputError as error:
        raise ValueErrorAt(str(error), ("node", "shards")) from None
    if settings.scatter is None:
        return shards, None
    slowest, factors = slowest_of(settings.scatter, shards.num_shards)
    return replace(shards, slowest=slowest), factors


def _tiers(settings: NodeTiers, model: RecModel, devices: Sequence[Device]) -> list[Tiers]:
    """Where the rows are, for each of the node's devices."""
    from perfmodel.costmodel.tiers import place_rows  # few nodes have tiers

    try:
        return [place_rows(model, device, settings) for device in devices]
    except InputError as error:
        raise ValueErrorAt(str(error), ("node", "tiers")) from None


def misfit_of(loaded: LoadedScenario, model: RecModel | None, devices: Sequence[Device]) -> str | None:
    """Why a model does not fit a node, or the shards beside it; None: it does."""
    assert model is not None, "what runs on profiles is named"
    shards = loaded.profiled_node.shards
    devices, machine = _apart(loaded.profiled_node, devices)
    try:
        if shards is not None:
            from perfmodel.costmodel.shard_places import place_tables  # few nodes have shards

            for device in devices:
                require_weights_fit(model, device)
            place_tables(model, devices[0], shards, on=machine)
            return None
        if (tiers := loaded.profiled_node.tiers) is not None:
            from perfmodel.costmodel.tiers import place_rows  # few nodes have tiers

            for device in devices:
                place_rows(model, device, tiers)
            return None
        for device in devices:
            require_fit(model, device, copies=_copies_on(device, loaded.profiled_node))
        if loaded.profiled_node.near_memory is not None:
            from perfmodel.costmodel.near_memory import require_pooled  # few nodes have it

            require_pooled(model)
    except InputError as error:
        return str(error)
    return None


def with_lengths(node: ServingNode, law: SizePmf) -> ServingNode:
    """The node for queries with histories of these lengths; what is asked of one batch is of the mean one."""
    place = ("traffic", "lengths")
    if node.model.history_length is None:
        lacks = f"{node.model.name} has no list whose length varies (an embedding_bag with varies: true)"
        raise ValueErrorAt(lacks, place)
    try:
        for length in (law.values[0], law.max_items):
            node.model.with_length(int(length))
    except ValueErrorAt as error:
        raise ValueErrorAt(f"{node.model.name}: {error.message}", place) from None
    mean = node.model.with_length(max(1, round(law.mean_items)))
    return replace(node, model=mean, lengths=law if len(law.values) > 1 else None)


def price_usd_per_h(each_usd_per_h: float | None, node: AnyNode) -> float | None:
    """What a node costs with the machines that hold its tables, and the tiers that hold its rows. [USD/h]"""
    if each_usd_per_h is None:
        return None
    settings = node.shard_settings if isinstance(node, ServingNode) else None
    if settings is not None and settings.node is not None and settings.node.price_usd_per_h is not None:
        return each_usd_per_h + (node.num_machines - 1) * settings.node.price_usd_per_h
    tiers = node.tier_settings if isinstance(node, ServingNode) else None
    return node.num_machines * each_usd_per_h + (0.0 if tiers is None else tiers.price_usd_per_h)
